//! Decoded tables over real blocks: what comes out, and that it agrees with itself.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::LazyLock;

use alloy_primitives::{U256, hex};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use flate2::read::MultiGzDecoder;
use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
use highwater_engine::model::evm;
use highwater_engine::source::{ReadRequest, TableRequest};

use support::shared;

/// Every table of a range of real blocks by its name.
type Tables = BTreeMap<&'static str, RecordBatch>;

fn lines(path: &Path) -> Vec<String> {
    BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines().map(Result::unwrap).collect()
}

/// All decoded tables of a folder of blocks and receipts.
fn decode(folder: &str) -> Option<Tables> {
    let folder = shared(folder)?;
    let (blocks, receipts) = (lines(&folder.join("blocks.jsonl.gz")), lines(&folder.join("receipts.jsonl.gz")));
    let tables: Vec<_> = evm::tables().iter().filter(|table| table.name != "traces").collect();
    let wanted = tables
        .iter()
        .map(|table| TableRequest { name: table.name.to_owned(), columns: (0..table.schema.fields().len()).collect() });
    let request = ReadRequest { tables: wanted.collect(), ..ReadRequest::default() };
    let settings = IngestSettings { validate: false, ..IngestSettings::default() };
    let mut ingest = EvmIngest::new(&request, settings).unwrap();
    for (block, receipts) in blocks.iter().zip(&receipts) {
        ingest.push(&"the test", block, Some(receipts), None).unwrap();
    }
    let run = ingest.finish().unwrap();
    Some(tables.iter().map(|table| table.name).zip(run.tables.into_iter().map(|table| table.batch)).collect())
}

static MAINNET_2023: LazyLock<Option<Tables>> = LazyLock::new(|| decode("data/evm/mainnet-17686110-17686121"));

/// A value as a reader would write it.
fn text(batch: &RecordBatch, column: &str, row: usize) -> String {
    let array = batch.column_by_name(column).unwrap();
    if array.is_null(row) {
        return "-".to_owned();
    }
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Binary => hex::encode_prefixed(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(20) => hex::encode_prefixed(array.as_fixed_size_binary().value(row)),
        DataType::FixedSizeBinary(_) => U256::from_be_slice(array.as_fixed_size_binary().value(row)).to_string(),
        other => panic!("{other}"),
    }
}

fn row(batch: &RecordBatch, columns: &[&str], row: usize) -> String {
    columns.iter().map(|column| text(batch, column, row)).collect::<Vec<_>>().join(" ")
}

/// How many rows there are of each combination of values.
fn counts(batch: &RecordBatch, columns: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for index in 0..batch.num_rows() {
        *counts.entry(row(batch, columns, index)).or_insert(0) += 1;
    }
    counts
}

#[test]
fn swaps_of_real_blocks_by_protocol_and_trust() {
    let Some(tables) = MAINNET_2023.as_ref() else { return };
    let swaps = counts(&tables["dex_swaps"], &["protocol", "version", "trust"]);
    println!("{swaps:#?}");
    assert_eq!(swaps["uniswap v2 verified"], 372);
    assert_eq!(swaps["uniswap v2 balanced"], 4, "two pairs of factories that are not listed");
    assert_eq!(swaps["uniswap v3 verified"], 216);
    assert_eq!(swaps["sushiswap v2 verified"], 19);
    assert_eq!(swaps["sushiswap v3 verified"], 4);
    assert_eq!(swaps["shibaswap v2 verified"], 7);
    assert_eq!(swaps["pancakeswap v3 verified"], 10);
}

#[test]
fn changes_of_liquidity_have_the_position_that_holds_them() {
    let Some(tables) = MAINNET_2023.as_ref() else { return };
    let columns = ["version", "kind", "token_id", "liquidity", "amount0", "amount1"];
    let events = &tables["liquidity_events"];
    let rows: Vec<_> = (0..events.num_rows()).map(|index| row(events, &columns, index)).collect();
    for expected in [
        "v2 mint - - 103258571449190912595 7755413731697387",
        "v3 mint 536835 133613868198716559 0 8799999999999999947",
        "v3 burn 534348 44171035980577902 0 30642141665",
        "v3 collect 534348 - 193480778596052556 31011422580",
    ] {
        assert!(rows.iter().any(|row| row == expected), "{expected} in {rows:#?}");
    }
}
