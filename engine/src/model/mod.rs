//! What flows through the engine: blocks, deltas, progress, and the column types of chain data.

pub mod alert;
mod block;
pub mod chain_profile;
mod delta;
pub mod evm;
pub mod format;
mod progress;
mod regions;
pub mod wide;

pub use block::{BlockHash, BlockRef, BlockRun, TableRows};
pub use delta::{Delta, Diffs, Origin, error_delta, errors_schema};
pub use progress::{Progress, Reorg};
pub use regions::{RegionColumn, Regions};
