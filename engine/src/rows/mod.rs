//! Rows as bytes, and tables of them: what operators and sinks hold between ticks.
//!
//! [`RowCodec`] makes the rows of `arrow-row`: of the router, of what is put in order by more than its columns'
//! natural order, and of saved state. [`PackedCodec`] makes the same rows of fewer bytes, for what stays in memory.
//! [`Arena`] holds the bytes of many rows, [`Index`] finds them, [`KeyTable`] is both for keys.

mod arena;
mod codec;
mod index;
mod key_table;
mod packed;

pub use arena::Arena;
pub use codec::RowCodec;
pub use index::{Hash, Index};
pub use key_table::KeyTable;
pub use packed::{Forms, PackedCodec, PackedRows};
