//! `evm`: follows a live node over JSON-RPC, HTTP and WebSocket.
//!
//! ```text
//! heads      somebody has a new block           newHeads, polling: wake-ups, never facts
//! follow     what is delivered, and when        history, parent hashes, finality
//! branch     reorgs                             the block two branches share; suspicion
//! fetch      one block with receipts, traces    by hash near the head, by height in history
//! pool       which endpoint is asked            weights, breaker, limiter, samples, metrics
//! call       one request                        alloy's transports, kinds of failure, no secrets
//! pool_book  coins of pools that no log tells   asked by eth_call if wanted, delivered with the block
//! ```
//!
//! All of it runs on one thread of its own; blocks leave it through a bounded queue.
//!
//! The cursor is the height of the newest delivered block. A job that goes on hands over the blocks it knows
//! ([`ReadRequest::known`]); following begins above them, and when the chain has left them in the meantime
//! the first block that does not link is walked back by hash to the block they share. Nothing is delivered twice.

mod branch;
mod breaker;
mod call;
mod endpoint;
mod fetch;
mod finality;
mod follow;
mod header;
mod heads;
mod intake;
mod limiter;
mod meters;
mod notes;
mod options;
mod outlet;
mod pool;
mod pool_book;
mod pool_call;
mod reader;
mod receipts;
mod record;
mod samples;
mod tls;
mod window;

use highwater_engine::model::evm;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::source::{ReadRequest, Source, SourceConnector, SourceError, SourceReader, TableSchema};
use serde_json::value::RawValue;

use options::Settings;

/// The connector `evm`.
#[derive(Debug)]
pub struct Evm;

impl SourceConnector for Evm {
    fn name(&self) -> &'static str {
        "evm"
    }

    fn about(&self) -> &'static str {
        "A live EVM chain, followed over JSON-RPC at one or several nodes, history first if wanted."
    }

    fn options(&self) -> &'static [OptionDoc] {
        options::DOCS
    }

    fn open(&self, options: Options) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(EvmSource { settings: Settings::read(options)? }))
    }
}

struct EvmSource {
    settings: Settings,
}

impl Source for EvmSource {
    fn tables(&self) -> Vec<TableSchema> {
        let chain =
            evm::tables().iter().map(|table| TableSchema { name: table.name.to_owned(), schema: table.schema.clone() });
        let samples = TableSchema { name: samples::TABLE.to_owned(), schema: samples::schema() };
        chain.chain([samples]).collect()
    }

    /// Of history. New blocks close their tick at once.
    fn blocks_per_tick(&self) -> usize {
        self.settings.batch
    }

    fn start(self: Box<Self>, request: ReadRequest) -> Result<Box<dyn SourceReader>, SourceError> {
        Ok(Box::new(reader::LiveReader::start(self.settings, request)?))
    }
}

/// Parameters of a request from their JSON text.
fn params(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("written here, from numbers and hashes")
}
