//! Writes Parquet of every column type in every form of the sink, and the same rows as JSON lines, for
//! `tests/readers/check_readers.py`.
//!
//! ```text
//! cargo run -p highwater-sinks --example write_reader_fixture -- FOLDER
//! ```
//! `FOLDER/rows.jsonl` has the rows, `FOLDER/columns.json` the kind of each column, and each other
//! folder in it one form of the same rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    Float64Array, Int32Array, Int64Array, StringArray, TimestampMillisecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, i256};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{ADDRESS_TYPE, HASH_TYPE, int256_field, timestamp_type, uint256_field};
use highwater_engine::model::{Delta, Progress, format};
use highwater_engine::options::Options;
use highwater_engine::sink::{SinkRequest, SinkTick};
use highwater_engine::testing::sink_request;

type Failure = Box<dyn std::error::Error>;

/// Rows of the fixture; the last one is NULL wherever that is allowed.
const ROWS: usize = 6;

fn bytes<const N: usize>(values: [Option<[u8; N]>; ROWS]) -> Result<ArrayRef, Failure> {
    let size = i32::try_from(N)?;
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), size)?))
}

/// Stored bytes of small, large and extreme unsigned values.
fn unsigned() -> [Option<[u8; 32]>; ROWS] {
    let low = |value: u128| {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&value.to_be_bytes());
        Some(bytes)
    };
    let mut wide = [0; 32];
    wide[0] = 0x12;
    [low(0), low(10_u128.pow(38) - 1), low(10_u128.pow(38)), Some([0xff; 32]), Some(wide), None]
}

/// Stored bytes (value + 2^255) of small, negative and extreme signed values.
fn signed() -> [Option<[u8; 32]>; ROWS] {
    let low = |value: i128| {
        let mut bytes = if value < 0 { [0xff; 32] } else { [0; 32] };
        bytes[16..].copy_from_slice(&value.to_be_bytes());
        bytes[0] ^= 0x80;
        Some(bytes)
    };
    [low(-1), low(1 - 10_i128.pow(38)), low(-(10_i128.pow(38))), Some([0; 32]), Some([0xff; 32]), None]
}

fn columns() -> Result<Vec<(Field, &'static str, ArrayRef)>, Failure> {
    let nullable = |name: &str, kind: DataType| Field::new(name, kind, true);
    let times = [0, 1_700_000_000_000, 1_700_000_000_001, 253_402_300_799_999, -1];
    let times: TimestampMillisecondArray = times.into_iter().map(Some).chain([None]).collect();
    let decimals: Decimal128Array =
        [0, 1, -1, 10_i128.pow(38) - 1, 1 - 10_i128.pow(38)].into_iter().map(Some).chain([None]).collect();
    let scaled: Decimal128Array =
        [0, 1, -1, 123_456_789, 10_i128.pow(37)].into_iter().map(Some).chain([None]).collect();
    let sums: Decimal256Array = [0, 1, -1, 7, 10_i128.pow(38) - 1]
        .into_iter()
        .map(|value| Some(i256::from_i128(value)))
        .chain([None])
        .collect();
    let texts = vec![Some(""), Some("plain"), Some("quote \" and \\ and \n"), Some("蓝 é 🦀"), Some("a/b=c %"), None];
    let blobs: Vec<Option<&[u8]>> =
        vec![Some(b""), Some(b"\x00"), Some(b"\xff\xfe"), Some(b"text"), Some(&[7; 300]), None];
    let hash = |value: u8| Some([value; 32]);
    let address = |value: u8| Some([value; 20]);
    Ok(vec![
        (Field::new("id", DataType::Int64, false), "int", Arc::new(Int64Array::from_iter_values(0..6))),
        (
            nullable("big", DataType::Int64),
            "int",
            Arc::new(Int64Array::from(vec![Some(0), Some(i64::MAX), Some(i64::MIN), Some(1 << 53), Some(-1), None])),
        ),
        (
            nullable("small", DataType::Int32),
            "int",
            Arc::new(Int32Array::from(vec![Some(0), Some(i32::MAX), Some(i32::MIN), Some(7), Some(-1), None])),
        ),
        (
            nullable("natural", DataType::UInt64),
            "int",
            Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), Some(1 << 63), Some(7), Some(1), None])),
        ),
        (
            nullable("ratio", DataType::Float64),
            "float",
            Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::MAX), Some(5e-324), Some(-0.5), Some(1e23), None])),
        ),
        (
            nullable("success", DataType::Boolean),
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), Some(false), Some(true), None])),
        ),
        (nullable("wei", DataType::Decimal128(38, 0)), "decimal", Arc::new(decimals.with_precision_and_scale(38, 0)?)),
        (nullable("eth", DataType::Decimal128(38, 18)), "decimal", Arc::new(scaled.with_precision_and_scale(38, 18)?)),
        (nullable("sum", DataType::Decimal256(76, 0)), "decimal", Arc::new(sums.with_precision_and_scale(76, 0)?)),
        (uint256_field("amount", true), "uint256", bytes(unsigned())?),
        (int256_field("profit", true), "int256", bytes(signed())?),
        (
            nullable("account", ADDRESS_TYPE),
            "bytes",
            bytes([address(0), address(1), address(0x7f), address(0x80), address(0xff), None])?,
        ),
        (nullable("hash", HASH_TYPE), "bytes", bytes([hash(0), hash(1), hash(0x7f), hash(0x80), hash(0xff), None])?),
        (nullable("data", DataType::Binary), "bytes", Arc::new(BinaryArray::from(blobs))),
        (nullable("note", DataType::Utf8), "text", Arc::new(StringArray::from(texts))),
        (nullable("at", timestamp_type()), "timestamp", Arc::new(times.with_timezone("UTC"))),
        (
            nullable("day", DataType::Date32),
            "date",
            Arc::new(Date32Array::from(vec![Some(0), Some(19_675), Some(-1), Some(2_932_896), Some(1), None])),
        ),
    ])
}

fn write(folder: &Path, name: &str, options: &[(&str, &str)], batch: &RecordBatch) -> Result<(), Failure> {
    let connector = highwater_sinks::SINKS.iter().find(|sink| sink.name() == "parquet").ok_or("no parquet sink")?;
    let request = SinkRequest { key: Some(vec![0]), ..sink_request(name, name, batch.schema()) };
    let mut given = vec![("path".to_owned(), name.to_owned())];
    given.extend(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let mut sink = connector.open(request, Options::new("sink \"fixture\"", folder, given))?;
    let progress = Progress {
        tick: 1,
        head_number: 46,
        now_ms: 1_700_000_000_000,
        finalized_number: None,
        finalized_ms: None,
        reorg: None,
        applied_blocks: 1,
        end_of_input: true,
        more_follow: false,
    };
    let delta = Delta::derived(batch.clone(), vec![1; batch.num_rows()]);
    sink.commit(SinkTick { tick: 1, progress: &progress, changes: &[delta] })?;
    sink.finish()?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give a folder")?);
    std::fs::create_dir_all(&folder)?;
    let columns = columns()?;
    let kinds: serde_json::Map<String, serde_json::Value> =
        columns.iter().map(|(field, kind, _)| (field.name().clone(), (*kind).into())).collect();
    std::fs::write(folder.join("columns.json"), serde_json::to_vec(&kinds)?)?;
    let schema = Schema::new(columns.iter().map(|(field, _, _)| field.clone()).collect::<Vec<_>>());
    let batch = RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|column| column.2).collect())?;
    let mut lines = String::new();
    for row in 0..batch.num_rows() {
        format::write_json_row(&mut lines, &batch, row);
        lines.push('\n');
    }
    std::fs::write(folder.join("rows.jsonl"), lines)?;

    write(&folder, "snapshot", &[], &batch)?;
    write(&folder, "all_words", &[("uint256", "binary,d128,f64,string"), ("compression", "snappy")], &batch)?;
    write(&folder, "hex", &[("binary", "hex"), ("compression", "none")], &batch)?;
    write(&folder, "changelog", &[("mode", "changelog")], &batch)?;
    write(&folder, "by_date", &[("partition_by", "date(at)")], &batch)?;
    write(&folder, "by_number", &[("partition_by", "small"), ("mode", "changelog")], &batch)?;
    write(&folder, "by_text", &[("partition_by", "note")], &batch)?;
    write(&folder, "many_files", &[("file_rows", "2"), ("row_group_rows", "1")], &batch)?;
    Ok(())
}
