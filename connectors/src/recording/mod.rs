//! `recording`: answers of an EVM node, written to files, read as if they came from the node.
//!
//! Two forms are understood. A folder of JSON-RPC results, one a line, is history (`folder.rs`). A file
//! of events, one a line, is a chain as it was seen live, competing branches included (`events.rs`); the option
//! `record` of the connector `evm` writes it (`append.rs`).

#[cfg(feature = "evm")]
mod append;
mod events;
mod folder;
mod lines;
mod options;

use highwater_engine::model::evm;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::source::{ReadRequest, Source, SourceConnector, SourceError, SourceReader, TableSchema};

use crate::evm::ingest::{EvmIngest, IngestSettings};
#[cfg(feature = "evm")]
pub(crate) use append::Appender;
use options::{Files, Settings};

/// The connector `recording`.
#[derive(Debug)]
pub struct Recording;

impl SourceConnector for Recording {
    fn name(&self) -> &'static str {
        "recording"
    }

    fn about(&self) -> &'static str {
        "Blocks, receipts and traces that were recorded from an EVM node as JSON lines."
    }

    fn options(&self) -> &'static [OptionDoc] {
        options::DOCS
    }

    fn open(&self, options: Options) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(RecordingSource { settings: Settings::read(options)? }))
    }
}

struct RecordingSource {
    settings: Settings,
}

impl Source for RecordingSource {
    fn tables(&self) -> Vec<TableSchema> {
        evm::tables()
            .iter()
            .map(|table| TableSchema { name: table.name.to_owned(), schema: table.schema.clone() })
            .collect()
    }

    fn chain_id(&self) -> Option<u64> {
        Some(self.settings.chain_id)
    }

    fn block_count_hint(&self) -> Option<u64> {
        match &self.settings.files {
            Files::Folder { blocks, .. } => lines::count_lines(blocks),
            Files::Events { blocks, .. } => lines::count_lines(blocks),
        }
    }

    fn start(self: Box<Self>, request: ReadRequest) -> Result<Box<dyn SourceReader>, SourceError> {
        let settings = IngestSettings {
            chain: self.settings.chain.clone(),
            chain_id: self.settings.chain_id,
            validate: self.settings.validate,
            verify: self.settings.verify,
            factories: self.settings.factories.clone(),
        };
        let ingest = EvmIngest::new(&request, settings)?;
        match &self.settings.files {
            Files::Folder { .. } => Ok(Box::new(folder::FolderReader::start(&self.settings, ingest, &request)?)),
            Files::Events { .. } => Ok(Box::new(events::EventReader::start(&self.settings, ingest, &request)?)),
        }
    }
}
