//! The incremental operators of Highwater, over signed Arrow batches.
//!
//! It owns what keeps state between ticks: aggregates, the first rows of an order, temporal filters,
//! joins to reference tables (fixed ones and those that change), and the gates of `EMIT ON …`; and the kernels that make relations of a chain's
//! tables block by block: trades with their values, MEV ([`mev`], run by [`block_fold`]). Every operator is one function of its
//! accumulated input, written naively in `tests/reference`, and answers each tick with what changed.
//!
//! It must never know: SQL, expressions, DataFusion, a source, a sink. Operators take column indices
//! of batches whose expressions are already evaluated.
//!
//! Read next: [`aggregate`] (the largest and the hot one), then any other file.

pub mod aggregate;
pub mod alert;
pub mod asof_join;
pub mod block_fold;
pub mod block_kernel;
pub mod broadcast_join;
mod codec;
pub mod components;
pub mod decode_event;
pub mod emit_gate;
mod float_keys;
pub mod join;
pub mod lookup_join;
pub mod mev;
pub mod multiset;
mod ordering;
pub mod over;
pub mod recursion;
mod rows;
pub mod session_window;
pub mod temporal_filter;
pub mod top_k;
