//! The kernel of Highwater: logical time, blocks, signed columnar deltas, the contracts of sources,
//! operators and sinks, and the runtime that drives them on timely dataflow.
//!
//! It owns the one theorem of the project: for every view and every tick, the sum of all deltas
//! emitted up to that tick equals the view evaluated from scratch over the canonical chain.
//!
//! It must never know: an RPC client, a SQL dialect, HTTP, a file format of a chain.
//!
//! Read in this order: [`model`] (what flows), [`chain`] (how a fork becomes one change set),
//! [`operator`] (what keeps state), [`rows`] (as what), [`runtime`] (how ticks run), [`job`] (source to sink).

pub mod chain;
pub mod clock;
pub mod consolidate;
pub mod error;
pub mod feed;
pub mod job;
pub mod journal;
pub mod metrics;
pub mod model;
pub mod operator;
pub mod options;
pub mod rows;
pub mod runtime;
pub mod sink;
pub mod source;
pub mod state;
pub mod testing;

/// The logical time of the dataflow: the number of one atomic change of the canonical chain.
///
/// A tick is a new block, or a reorg (old blocks out and new blocks in, together), or in catch-up a
/// run of consecutive blocks. Ticks start at 1 and have no gaps. Block height is data, never time.
pub type Tick = u64;
