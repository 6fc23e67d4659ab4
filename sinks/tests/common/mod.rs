//! A small view with a key, windows that close, and a 256-bit amount; and random histories of it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this module")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::consolidate::Consolidator;
use highwater_engine::model::wide::{ADDRESS_TYPE, timestamp_type, uint256_field};
use highwater_engine::model::{Delta, Progress, Reorg, format};
use highwater_engine::options::Options;
use highwater_engine::sink::{Closing, Sink, SinkConnector, SinkError, SinkRequest, SinkTick};
use highwater_engine::testing::sink_request;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

pub const WINDOW_MS: i64 = 300_000;
pub const START_MS: i64 = 1_700_000_100_000;

/// One row: address number, window number, total, failed.
pub type Row = (u8, u8, i64, i64);

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("to_address", ADDRESS_TYPE, true),
        Field::new("window_start", timestamp_type(), false),
        Field::new("window_end", timestamp_type(), false),
        Field::new("total", DataType::Int64, false),
        Field::new("failed", DataType::Int64, true),
        uint256_field("volume", true),
    ]))
}

pub fn request() -> SinkRequest {
    SinkRequest {
        key: Some(vec![0, 1, 2]),
        closing: Some(Closing::Time(2)),
        order: vec![(3, true)],
        ..sink_request("failing", "failure_rate", schema())
    }
}

pub fn window_end(window: u8) -> i64 {
    START_MS + (i64::from(window) + 1) * WINDOW_MS
}

pub fn batch(rows: &[Row]) -> RecordBatch {
    let addresses: Vec<Option<[u8; 20]>> = rows.iter().map(|row| (row.0 != 9).then_some([row.0; 20])).collect();
    let addresses = FixedSizeBinaryArray::try_from_sparse_iter_with_size(addresses.into_iter(), 20).unwrap();
    let times = |at: fn(u8) -> i64| {
        TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| at(row.1))).with_timezone("UTC")
    };
    let volumes: Vec<Option<[u8; 32]>> = rows
        .iter()
        .map(|row| {
            let mut bytes = [0; 32];
            bytes[24..].copy_from_slice(&row.2.to_be_bytes());
            // Every third total stands for an amount beyond 38 digits.
            bytes[0] = u8::from(row.2 % 3 == 0);
            (row.3 != 0).then_some(bytes)
        })
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(addresses),
        Arc::new(times(|window| window_end(window) - WINDOW_MS)),
        Arc::new(times(window_end)),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| (row.3 != 7).then_some(row.3)))),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(volumes.into_iter(), 32).unwrap()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The changes of one tick.
#[derive(Clone, Debug)]
pub struct Tick {
    pub changes: Vec<(Row, i64)>,
    pub progress: Progress,
}

pub fn progress(tick: u64, finalized_ms: Option<i64>) -> Progress {
    Progress {
        tick,
        head_number: 100 + tick,
        now_ms: START_MS + i64::try_from(tick).unwrap() * 60_000,
        finalized_number: None,
        finalized_ms,
        reorg: None,
        applied_blocks: 1,
        end_of_input: false,
        more_follow: false,
    }
}

pub fn reorg(ancestor_number: u64) -> Option<Reorg> {
    Some(Reorg { ancestor_number, depth: 1, replaced_by: 1 })
}

/// Commits a tick in the form the sink asks for.
pub fn commit(sink: &mut dyn Sink, tick: &Tick) -> Result<(), SinkError> {
    let deltas: Vec<Delta> = if tick.changes.is_empty() {
        Vec::new()
    } else {
        let rows: Vec<Row> = tick.changes.iter().map(|(row, _)| *row).collect();
        let diffs: Vec<i64> = tick.changes.iter().map(|(_, diff)| *diff).collect();
        vec![Delta::derived(batch(&rows), diffs)]
    };
    let changes = if sink.canonical_order() {
        let consolidator = Consolidator::new(schema(), Some(&[0, 1, 2])).unwrap();
        consolidator.consolidate(&deltas).unwrap().into_iter().collect()
    } else {
        deltas
    };
    sink.commit(SinkTick { tick: tick.progress.tick, progress: &tick.progress, changes: &changes })
}

pub fn open(
    connector: &dyn SinkConnector,
    request: SinkRequest,
    base: &Path,
    given: &[(&str, &str)],
) -> Result<Box<dyn Sink>, SinkError> {
    connector.open(request, options(base, given))
}

pub fn options(base: &Path, given: &[(&str, &str)]) -> Options {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options::new("sink \"failing\"", base, given)
}

/// Rows as JSON with their counts.
pub type Bag = BTreeMap<String, i64>;

pub fn bag_of(batch: &RecordBatch, diff: impl Fn(usize) -> i64, bag: &mut Bag) {
    for row in 0..batch.num_rows() {
        let mut text = String::new();
        format::write_json_row(&mut text, batch, row);
        let count = bag.entry(text.clone()).or_default();
        *count += diff(row);
        if *count == 0 {
            bag.remove(&text);
        }
    }
}

pub fn expected(rows: &BTreeMap<(u8, u8), (i64, i64)>) -> Bag {
    let rows: Vec<Row> = rows.iter().map(|(key, value)| (key.0, key.1, value.0, value.1)).collect();
    let mut bag = Bag::new();
    bag_of(&batch(&rows), |_| 1, &mut bag);
    bag
}

pub fn manifest(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(dir.join("_manifest.json")).unwrap()).unwrap()
}

/// Files the manifest lists.
pub fn listed(dir: &Path) -> Vec<String> {
    let manifest = manifest(dir);
    let files = manifest["files"].as_array().unwrap();
    files.iter().map(|part| part["file"].as_str().unwrap().to_owned()).collect()
}

/// All files in the folder but the manifest.
pub fn present(dir: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.retain(|name| name != "_manifest.json");
    found.sort();
    found
}

pub fn read_batches(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// The view columns of the files the manifest lists, with their counts.
pub fn read_view(dir: &Path) -> Bag {
    let mut bag = Bag::new();
    for file in listed(dir) {
        for batch in read_batches(&dir.join(file)) {
            let diffs = batch
                .column_by_name("_diff")
                .map(|column| column.as_any().downcast_ref::<Int64Array>().unwrap().clone());
            let names: Vec<usize> =
                schema().fields().iter().map(|field| batch.schema().index_of(field.name()).unwrap()).collect();
            let view = batch.project(&names).unwrap();
            bag_of(&view, |row| diffs.as_ref().map_or(1, |diffs| diffs.value(row)), &mut bag);
        }
    }
    bag
}
