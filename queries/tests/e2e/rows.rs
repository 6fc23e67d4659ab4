//! Rows of views, read back from Parquet and from JSON lines into one form.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use alloy_primitives::{U256, hex};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Number, Value};

/// A row as JSON text with its columns in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row(pub(crate) String);

impl Row {
    pub(crate) fn of_json(value: &Value) -> Row {
        let sorted: BTreeMap<&String, &Value> = value.as_object().unwrap().iter().collect();
        Row(serde_json::to_string(&sorted).unwrap())
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap()
    }
}

/// A folder of Parquet files as its manifest lists them.
pub(crate) struct Table {
    batches: Vec<RecordBatch>,
}

impl Table {
    pub(crate) fn read(folder: &Path) -> Table {
        let manifest = std::fs::read(folder.join("_manifest.json"))
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let mut batches = Vec::new();
        for file in manifest["files"].as_array().unwrap() {
            let file = File::open(folder.join(file["file"].as_str().unwrap())).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
            batches.extend(reader.map(Result::unwrap));
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(manifest["rows"], rows, "the manifest counts rows");
        Table { batches }
    }

    /// Columns and their types.
    pub(crate) fn columns(&self) -> Vec<String> {
        let Some(batch) = self.batches.first() else { return Vec::new() };
        batch.schema().fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect()
    }

    /// The rows in the order of the files.
    pub(crate) fn values(&self) -> Vec<Value> {
        self.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| row_value(batch, row))).collect()
    }

    /// The rows of a snapshot.
    pub(crate) fn contents(&self) -> BTreeMap<Row, i64> {
        let mut contents = BTreeMap::new();
        for value in self.values() {
            *contents.entry(Row::of_json(&value)).or_insert(0) += 1;
        }
        contents
    }

    /// The changes of a change log: tick, row, sign.
    pub(crate) fn changes(&self) -> Vec<(i64, Row, i64)> {
        let change = |mut value: Value| {
            let fields = value.as_object_mut().unwrap();
            let tick = fields["_tick"].as_i64().unwrap();
            let diff = fields["_diff"].as_i64().unwrap();
            fields.retain(|name, _| !name.starts_with('_') && name != "finality");
            (tick, Row::of_json(&value), diff)
        };
        self.values().into_iter().map(change).collect()
    }
}

/// The sum of the changes up to a tick.
pub(crate) fn sum_up_to(changes: &[(i64, Row, i64)], tick: i64) -> BTreeMap<Row, i64> {
    let mut contents = BTreeMap::new();
    for (_, row, diff) in changes.iter().filter(|(at, _, _)| *at <= tick) {
        *contents.entry(row.clone()).or_insert(0) += diff;
    }
    contents.retain(|_, diff| *diff != 0);
    contents
}

fn row_value(batch: &RecordBatch, row: usize) -> Value {
    let schema = batch.schema();
    let mut fields = serde_json::Map::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let name = field.name();
        if let Some(wide) = name.strip_suffix("_d128")
            && batch.column_by_name(wide).is_some()
        {
            continue;
        }
        let value = match batch.column_by_name(&format!("{name}_d128")) {
            Some(narrow) => wide_value(column.as_ref(), narrow.as_ref(), row),
            None => cell(column.as_ref(), row),
        };
        fields.insert(name.clone(), value);
    }
    Value::Object(fields)
}

/// A 256-bit integer: its bytes and, where it fits, its decimal column say the same.
fn wide_value(bytes: &dyn Array, narrow: &dyn Array, row: usize) -> Value {
    if bytes.is_null(row) {
        return Value::Null;
    }
    let text = U256::from_be_slice(bytes.as_fixed_size_binary().value(row)).to_string();
    if narrow.is_valid(row) {
        assert_eq!(array_value_to_string(narrow, row).unwrap(), text);
    } else {
        assert!(text.len() > 38, "{text} fits a decimal of 38 digits");
    }
    Value::String(text)
}

fn cell(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt64 => {
            array_value_to_string(column, row).unwrap().parse::<i64>().unwrap().into()
        }
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::FixedSizeBinary(_) => hex::encode_prefixed(column.as_fixed_size_binary().value(row)).into(),
        DataType::Binary => hex::encode_prefixed(column.as_binary::<i32>().value(row)).into(),
        _ => array_value_to_string(column, row).unwrap().into(),
    }
}

/// Whole floats are written without a point, as JSON lines do.
fn float(value: f64) -> Value {
    let text = format!("{value}");
    match text.parse::<i64>() {
        Ok(whole) => whole.into(),
        Err(_) => Value::Number(Number::from_f64(value).unwrap()),
    }
}
