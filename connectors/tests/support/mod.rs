//! What the test suites share: real data, opening a source, reading it to its end.

#![allow(dead_code, reason = "every suite uses a part of this")]

use std::path::{Path, PathBuf};

use highwater_connectors::SOURCES;
use highwater_engine::model::{BlockRef, BlockRun};
use highwater_engine::options::Options;
use highwater_engine::source::{ReadRequest, Source, SourceError, SourceEvent, TableRequest};

/// A folder of the real data, or `None` where it is not kept. In CI it must be there.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    #[expect(clippy::disallowed_methods, reason = "the test must know whether it may be skipped")]
    let in_ci = std::env::var("CI").is_ok();
    assert!(!in_ci, "{} is missing", path.display());
    None
}

pub(crate) fn open(connector: &str, given: &[(&str, &str)]) -> Result<Box<dyn Source>, SourceError> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let connector = SOURCES.iter().find(|source| source.name() == connector).expect("the connector is listed");
    connector.open(Options::new("source \"eth\"", "/nowhere", given))
}

/// Every column of the tables named; of all tables if none is named.
pub(crate) fn all_columns(source: &dyn Source, names: &[&str]) -> ReadRequest {
    let tables = source.tables();
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    let tables = tables
        .iter()
        .filter(|table| wanted(&table.name))
        .map(|table| TableRequest { name: table.name.clone(), columns: (0..table.schema.fields().len()).collect() });
    ReadRequest { tables: tables.collect(), ..ReadRequest::default() }
}

/// One delivered run.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) run: BlockRun,
    pub(crate) cursor: u64,
    pub(crate) finalized: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) runs: Vec<Delivered>,
    pub(crate) skipped: u64,
    pub(crate) error: Option<SourceError>,
}

pub(crate) fn read(source: Box<dyn Source>, request: ReadRequest) -> Outcome {
    let mut outcome = Outcome::default();
    let mut reader = match source.start(request) {
        Ok(reader) => reader,
        Err(error) => {
            outcome.error = Some(error);
            return outcome;
        }
    };
    loop {
        match reader.next() {
            Ok(SourceEvent::Blocks { run, cursor, finalized }) => {
                check_run(&run);
                outcome.runs.push(Delivered { run, cursor, finalized });
            }
            Ok(SourceEvent::Skipped { count, .. }) => outcome.skipped += count,
            Ok(SourceEvent::Idle) => {}
            Ok(SourceEvent::End) => return outcome,
            Err(error) => {
                outcome.error = Some(error);
                return outcome;
            }
        }
    }
}

/// What every run must be: ends that fit, blocks that link.
pub(crate) fn check_run(run: &BlockRun) {
    assert!(!run.blocks.is_empty());
    for pair in run.blocks.windows(2) {
        assert_eq!(pair[0].hash, pair[1].parent);
        assert!(pair[0].number < pair[1].number);
    }
    for table in &run.tables {
        assert_eq!(table.ends.len(), run.blocks.len());
        assert!(table.ends.is_sorted());
        assert_eq!(table.ends.last().copied(), Some(table.batch.num_rows()));
    }
}

/// Follows the parent hashes; returns the canonical chain and, for each reorg, how many blocks it took back.
pub(crate) fn follow(runs: &[Delivered]) -> (Vec<BlockRef>, Vec<usize>) {
    let mut chain: Vec<BlockRef> = Vec::new();
    let mut reorgs = Vec::new();
    for Delivered { run, .. } in runs {
        let first = run.blocks[0];
        if let Some(head) = chain.last()
            && head.hash != first.parent
        {
            let fork = chain.iter().rposition(|block| block.hash == first.parent);
            let keep = fork.map_or_else(
                || {
                    assert_eq!(chain[0].parent, first.parent, "block {} has an unknown parent", first.number);
                    0
                },
                |fork| fork + 1,
            );
            reorgs.push(chain.len() - keep);
            chain.truncate(keep);
        }
        chain.extend(&run.blocks);
    }
    (chain, reorgs)
}

/// The rows of every block, in order of delivery: block, table, rows.
pub(crate) fn rows_by_block(runs: &[Delivered]) -> Vec<(BlockRef, Vec<arrow::record_batch::RecordBatch>)> {
    let mut rows = Vec::new();
    for Delivered { run, .. } in runs {
        for (index, block) in run.blocks.iter().enumerate() {
            rows.push((*block, run.tables.iter().map(|table| table.slice(index, index + 1)).collect()));
        }
    }
    rows
}
