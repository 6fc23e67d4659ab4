//! `simulator`: a made-up EVM chain with traffic, failures, attacks and reorgs, the same for every run.
//!
//! The plan says which block comes when, the market what swaps pay, the block maker what happens, and
//! two extra tables tell the truth about the planted attacks, so that a job can check itself.

mod block;
mod market;
mod options;
mod plan;
mod random;
mod reader;
mod truth;

use highwater_engine::model::evm;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::source::{ReadRequest, Source, SourceConnector, SourceError, SourceReader, TableSchema};

use options::Settings;

/// The connector `simulator`.
#[derive(Debug)]
pub struct Simulator;

impl SourceConnector for Simulator {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn about(&self) -> &'static str {
        "A made-up EVM chain: seeded traffic, failing transactions, swaps, planted attacks and reorgs."
    }

    fn options(&self) -> &'static [OptionDoc] {
        options::DOCS
    }

    fn open(&self, options: Options) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(SimulatorSource { settings: Settings::read(options)? }))
    }
}

struct SimulatorSource {
    settings: Settings,
}

impl Source for SimulatorSource {
    fn tables(&self) -> Vec<TableSchema> {
        let chain = evm::tables().iter().map(|table| (table.name, table.schema.clone()));
        let truth = truth::tables().iter().map(|(name, schema)| (*name, schema.clone()));
        chain.chain(truth).map(|(name, schema)| TableSchema { name: name.to_owned(), schema }).collect()
    }

    fn chain_id(&self) -> Option<u64> {
        Some(self.settings.chain_id)
    }

    fn block_count_hint(&self) -> Option<u64> {
        self.settings.blocks
    }

    fn start(self: Box<Self>, request: ReadRequest) -> Result<Box<dyn SourceReader>, SourceError> {
        Ok(Box::new(reader::SimulatorReader::start(self.settings, &request)?))
    }
}
