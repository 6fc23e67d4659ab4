//! Chain data into Highwater: live nodes, recordings of JSON-RPC answers, Parquet files, a seeded simulator.
//!
//! Each connector turns what it reads into [`BlockRun`](highwater_engine::model::BlockRun)s of Arrow
//! tables and knows nothing of what is done with them. A connector is a folder here and a line in
//! [`SOURCES`]. Nothing in this crate reads a random number, and nothing but the live connector a clock:
//! for time-outs, for pauses, and for rows about the endpoints.

mod columns;
pub mod evm;
#[cfg(feature = "evm")]
pub mod evm_rpc;
pub mod parquet;
mod range;
pub mod recording;
pub mod simulator;

use highwater_engine::source::SourceConnector;

/// Every kind of source.
pub const SOURCES: &[&dyn SourceConnector] = &[
    #[cfg(feature = "evm")]
    &evm_rpc::Evm,
    &recording::Recording,
    &parquet::Parquet,
    &simulator::Simulator,
];
