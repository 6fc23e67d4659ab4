//! `parquet`: chain history from column files: our own, cryo's, anybody's.
//!
//! Every file is a table; block heights must ascend. Runs are cut out of the batches that the Parquet
//! reader makes without copying rows. Everything read is final.

mod blocks;
mod convert;
mod layout;
mod mapping;
mod options;
mod reader;
mod stream;
mod table;

use std::sync::Arc;

use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::source::{ReadRequest, Source, SourceConnector, SourceError, SourceReader, TableSchema};

use options::Settings;
use table::Table;

/// The connector `parquet`.
#[derive(Debug)]
pub struct Parquet;

impl SourceConnector for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn about(&self) -> &'static str {
        "Chain history from Parquet files: Highwater's own, cryo's, or any that have a block number."
    }

    fn options(&self) -> &'static [OptionDoc] {
        options::DOCS
    }

    fn open(&self, options: Options) -> Result<Box<dyn Source>, SourceError> {
        let settings = Settings::read(options)?;
        let tables = table::open_all(&settings)?;
        Ok(Box::new(ParquetSource { settings, tables }))
    }
}

struct ParquetSource {
    settings: Settings,
    tables: Vec<Arc<Table>>,
}

impl Source for ParquetSource {
    fn tables(&self) -> Vec<TableSchema> {
        let offered = self.tables.iter();
        offered.map(|table| TableSchema { name: table.name.clone(), schema: table.schema.clone() }).collect()
    }

    fn chain_id(&self) -> Option<u64> {
        Some(self.settings.chain_id)
    }

    fn blocks_per_tick(&self) -> usize {
        self.settings.blocks_per_tick
    }

    fn block_count_hint(&self) -> Option<u64> {
        self.tables.iter().find(|table| table.name == "blocks").and_then(|table| table.row_count())
    }

    fn start(self: Box<Self>, request: ReadRequest) -> Result<Box<dyn SourceReader>, SourceError> {
        Ok(Box::new(reader::ParquetReader::start(&self.settings, &self.tables, &request)?))
    }
}
