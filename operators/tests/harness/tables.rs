//! Makes rows of chain tables by column name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, FixedSizeBinaryBuilder, Float64Builder,
    Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_operators::mev::InputTable;

use super::kernel::KernelBlock;

/// A cell; what a row does not name is NULL, or if that is not allowed 0, false, empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Wei(i128),
    /// Of a 256-bit column.
    Amount(u128),
    Bytes(Vec<u8>),
    Text(String),
    Bool(bool),
    Float(f64),
}

pub(crate) type Row = BTreeMap<&'static str, Cell>;

/// The columns of a table that an input asks for.
pub(crate) fn input_schema(table: &SchemaRef, input: &InputTable) -> SchemaRef {
    let places: Vec<usize> = input.columns.iter().map(|name| table.index_of(name).expect("a column")).collect();
    Arc::new(table.project(&places).expect("columns of the table"))
}

/// Rows of a block; the common columns are those of the block.
pub(crate) fn batch(schema: &SchemaRef, block: &KernelBlock, rows: &[Row]) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| {
        let cells: Vec<Cell> = rows.iter().map(|row| common(field.name(), block, row)).collect();
        column(field, &cells)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(schema.fields().clone())), columns.collect(), &options)
        .expect("the cells fit the columns")
}

fn common(name: &str, block: &KernelBlock, row: &Row) -> Cell {
    match name {
        "chain" => Cell::Text("test".to_owned()),
        "chain_id" => Cell::Int(1),
        "block_number" => Cell::Int(i64::try_from(block.number).expect("small")),
        "block_hash" => Cell::Bytes(block.hash.to_vec()),
        "block_timestamp" => Cell::Int(block.timestamp_ms),
        _ => row.get(name).cloned().unwrap_or(Cell::Null),
    }
}

/// Appends each cell, or NULL, or where that is not allowed the empty value.
macro_rules! fill {
    ($builder:expr, $field:expr, $cells:expr, $pattern:pat => $value:expr, $empty:expr) => {{
        let mut builder = $builder;
        for cell in $cells {
            match cell {
                $pattern => builder.append_value($value),
                Cell::Null if $field.is_nullable() => builder.append_null(),
                Cell::Null => builder.append_value($empty),
                other => panic!("{other:?} in the column {}", $field.name()),
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    }};
}

fn column(field: &Field, cells: &[Cell]) -> ArrayRef {
    match field.data_type() {
        DataType::Int64 => fill!(Int64Builder::new(), field, cells, Cell::Int(value) => *value, 0),
        DataType::Float64 => fill!(Float64Builder::new(), field, cells, Cell::Float(value) => *value, 0.0),
        DataType::Utf8 => fill!(StringBuilder::new(), field, cells, Cell::Text(value) => value, ""),
        DataType::Binary => fill!(BinaryBuilder::new(), field, cells, Cell::Bytes(value) => value, []),
        DataType::Boolean => fill!(BooleanBuilder::new(), field, cells, Cell::Bool(value) => *value, false),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let builder = TimestampMillisecondBuilder::new().with_timezone("UTC");
            fill!(builder, field, cells, Cell::Int(value) => *value, 0)
        }
        DataType::Decimal128(precision, scale) => {
            let builder = Decimal128Builder::new();
            let builder = builder.with_precision_and_scale(*precision, *scale).expect("a decimal of the schema");
            fill!(builder, field, cells, Cell::Wei(value) => *value, 0)
        }
        DataType::FixedSizeBinary(width) => fixed(field, *width, cells),
        other => panic!("no cells of type {other}"),
    }
}

fn fixed(field: &Field, width: i32, cells: &[Cell]) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::new(width);
    for cell in cells {
        let bytes = match cell {
            Cell::Amount(amount) => [&[0; 16][..], &amount.to_be_bytes()].concat(),
            Cell::Bytes(bytes) => bytes.clone(),
            Cell::Null if field.is_nullable() => {
                builder.append_null();
                continue;
            }
            Cell::Null => vec![0; usize::try_from(width).expect("a width")],
            other => panic!("{other:?} in the column {}", field.name()),
        };
        builder.append_value(bytes).expect("the width of the column");
    }
    Arc::new(builder.finish())
}

/// The cells of a batch, row by row; amounts must fit 128 bits.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<BTreeMap<String, Cell>> {
    let schema = batch.schema();
    let row = |row: usize| {
        let cell = |(field, column): (&Arc<Field>, &ArrayRef)| (field.name().clone(), cell_at(field, column, row));
        schema.fields().iter().zip(batch.columns()).map(cell).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

fn cell_at(field: &Field, column: &ArrayRef, row: usize) -> Cell {
    use arrow::array::AsArray;
    use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type, TimestampMillisecondType};
    use highwater_engine::model::wide::wide_kind;
    if column.is_null(row) {
        return Cell::Null;
    }
    match field.data_type() {
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Cell::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        DataType::Boolean => Cell::Bool(column.as_boolean().value(row)),
        DataType::Timestamp(..) => Cell::Int(column.as_primitive::<TimestampMillisecondType>().value(row)),
        DataType::Decimal128(..) => Cell::Wei(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::FixedSizeBinary(_) if wide_kind(field).is_some() => {
            let bytes = column.as_fixed_size_binary().value(row);
            assert!(bytes[..16].iter().all(|byte| *byte == 0), "amounts of tests fit 128 bits");
            Cell::Amount(u128::from_be_bytes(bytes[16..].try_into().expect("16 bytes")))
        }
        DataType::FixedSizeBinary(_) => Cell::Bytes(column.as_fixed_size_binary().value(row).to_vec()),
        other => panic!("no cells of type {other}"),
    }
}
