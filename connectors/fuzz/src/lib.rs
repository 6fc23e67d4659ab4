//! What the fuzz targets do with their bytes, as plain functions, which a test drives on a stable compiler too.

use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
use highwater_connectors::evm::verify::Level;
use highwater_engine::model::evm;
use highwater_engine::source::{ReadRequest, TableRequest};

/// Reads up to three lines as a block, its receipts and its traces. Whatever they are, nothing panics, a
/// refused block leaves nothing behind, and all columns of a taken one have one length.
pub fn json_ingest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let (block, receipts, traces) = (lines.next().unwrap_or(""), lines.next(), lines.next());
    for (validate, verify) in [(false, Level::Off), (true, Level::Bloom), (false, Level::Roots)] {
        let tables = evm::tables().iter().map(|table| TableRequest {
            name: table.name.to_owned(),
            columns: (0..table.schema.fields().len()).collect(),
        });
        let request = ReadRequest { tables: tables.collect(), ..ReadRequest::default() };
        let settings = IngestSettings { validate, verify, ..IngestSettings::default() };
        let mut ingest = EvmIngest::new(&request, settings).expect("these are the tables there are");
        let taken = ingest.push(&"the fuzzer", block, receipts, traces).is_ok();
        let run = ingest.finish().expect("columns of one length");
        assert_eq!(run.blocks.len(), usize::from(taken));
        assert!(run.tables.iter().all(|table| table.ends.len() == run.blocks.len()));
        assert!(taken || run.row_count() == 0, "a refused block left rows behind");
    }
}
