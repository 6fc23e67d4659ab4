//! Chain data into Highwater: recordings of JSON-RPC answers, Parquet files, a seeded simulator.
//!
//! Each connector turns what it reads into [`BlockRun`](highwater_engine::model::BlockRun)s of Arrow
//! tables and knows nothing of what is done with them. A connector is a folder here and a line in
//! [`SOURCES`]. Nothing in this crate reads a clock or a random number.

mod columns;
pub mod evm;
pub mod parquet;
mod range;
pub mod recording;
pub mod simulator;

use highwater_engine::source::SourceConnector;

/// Every kind of source.
pub const SOURCES: &[&dyn SourceConnector] = &[&recording::Recording, &parquet::Parquet, &simulator::Simulator];
