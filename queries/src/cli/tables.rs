//! Reference tables from files: CSV and Parquet.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{I256, U256, hex};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, StringArray};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::BoxError;
use highwater_engine::model::wide::{self, Wide, wide_kind};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A reference table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("reading {path} failed")]
    Read { path: String, source: BoxError },
    #[error("{path} has no column \"{column}\"")]
    MissingColumn { path: String, column: String },
    #[error("{path}:{line}: {value:?} is not a {expected} (column \"{column}\")")]
    Value { path: String, line: usize, value: String, expected: String, column: String },
}

fn read_error(path: &Path, source: impl Into<BoxError>) -> TableError {
    TableError::Read { path: path.display().to_string(), source: source.into() }
}

/// Reads a Parquet file: all columns, or the declared ones.
pub(super) fn read_parquet(path: &Path, declared: Option<&SchemaRef>) -> Result<RecordBatch, TableError> {
    let file = File::open(path).map_err(|source| read_error(path, source))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|source| read_error(path, source))?;
    let schema = builder.schema().clone();
    let reader = builder.build().map_err(|source| read_error(path, source))?;
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|source| read_error(path, source))?;
    let batch = concat_batches(&schema, &batches).map_err(|source| read_error(path, source))?;
    let batch = with_int256(&batch).map_err(|source| read_error(path, source))?;
    let Some(declared) = declared else { return Ok(batch) };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(declared.fields().len());
    for field in declared.fields() {
        let column = batch.column_by_name(field.name()).ok_or_else(|| TableError::MissingColumn {
            path: path.display().to_string(),
            column: field.name().clone(),
        })?;
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = cast_with_options(column, field.data_type(), &options).map_err(|source| read_error(path, source))?;
        columns.push(cast);
    }
    RecordBatch::try_new(declared.clone(), columns).map_err(|source| read_error(path, source))
}

/// Signed 256-bit columns of our own files as they are in memory.
fn with_int256(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_twos =
        |field: &Field| field.metadata().get(wide::EXTENSION_KEY).is_some_and(|name| name == wide::INT256_TWOS);
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if is_twos(field) {
            fields.push(Arc::new(wide::int256_field(field.name(), field.is_nullable())));
            columns.push(Arc::new(wide::int256_array_from_twos(column.as_fixed_size_binary())) as ArrayRef);
        } else {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Reads a CSV file with a header line. Columns that are not declared get the narrowest type that all
/// values have, of `BIGINT`, `ADDRESS`, `HASH`, `TEXT`. An empty field is NULL.
pub(super) fn read_csv(path: &Path, declared: Option<&SchemaRef>) -> Result<RecordBatch, TableError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_path(path)
        .map_err(|source| read_error(path, source))?;
    let header = reader.headers().map_err(|source| read_error(path, source))?.clone();
    let mut cells: Vec<Vec<Option<String>>> = vec![Vec::new(); header.len()];
    for record in reader.records() {
        let record = record.map_err(|source| read_error(path, source))?;
        for (column, cell) in cells.iter_mut().zip(record.iter()) {
            column.push(Some(cell.to_owned()).filter(|cell| !cell.is_empty()));
        }
    }
    let schema = match declared {
        Some(declared) => declared.clone(),
        None => {
            let fields = header.iter().zip(&cells).map(|(name, cells)| Field::new(name, infer(cells), true));
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        }
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let index = header.iter().position(|name| name == field.name()).ok_or_else(|| TableError::MissingColumn {
            path: path.display().to_string(),
            column: field.name().clone(),
        })?;
        columns.push(typed_column(path, field, &cells[index])?);
    }
    RecordBatch::try_new(schema, columns).map_err(|source| read_error(path, source))
}

fn infer(cells: &[Option<String>]) -> DataType {
    let all =
        |test: fn(&str) -> bool| cells.iter().flatten().all(|cell| test(cell)) && cells.iter().any(Option::is_some);
    if all(|cell| cell.parse::<i64>().is_ok()) {
        DataType::Int64
    } else if all(|cell| is_hex(cell, 20)) {
        wide::ADDRESS_TYPE
    } else if all(|cell| is_hex(cell, 32)) {
        wide::HASH_TYPE
    } else {
        DataType::Utf8
    }
}

fn is_hex(cell: &str, bytes: usize) -> bool {
    cell.starts_with("0x") && hex::decode(cell).is_ok_and(|decoded| decoded.len() == bytes)
}

/// Text cells as a column; the header is line 1.
pub(super) fn typed_column(path: &Path, field: &Field, cells: &[Option<String>]) -> Result<ArrayRef, TableError> {
    if let DataType::FixedSizeBinary(width) = field.data_type() {
        return fixed_column(path, field, cells, *width);
    }
    let text = StringArray::from_iter(cells.iter().map(Option::as_deref));
    let cast = if field.data_type() == &DataType::Boolean {
        Arc::new(BooleanArray::from_iter(cells.iter().map(|cell| {
            cell.as_deref().and_then(|cell| match cell.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "1" => Some(true),
                "false" | "f" | "no" | "0" => Some(false),
                _ => None,
            })
        })))
    } else {
        let options = CastOptions { safe: true, ..CastOptions::default() };
        cast_with_options(&text, field.data_type(), &options).map_err(|source| read_error(path, source))?
    };
    match (0..text.len()).find(|row| cast.is_null(*row) && !text.is_null(*row)) {
        Some(row) => Err(value_error(path, field, row, text.value(row))),
        None => Ok(cast),
    }
}

fn fixed_column(path: &Path, field: &Field, cells: &[Option<String>], width: i32) -> Result<ArrayRef, TableError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(cells.len(), width);
    for (row, cell) in cells.iter().enumerate() {
        let Some(cell) = cell else {
            builder.append_null();
            continue;
        };
        let bytes = match wide_kind(field) {
            Some(Wide::Unsigned) => parse_unsigned(cell).map(|value| wide::uint256_to_bytes(value).to_vec()),
            Some(Wide::Signed) => cell.parse::<I256>().ok().map(|value| wide::int256_to_bytes(value).to_vec()),
            None => hex::decode(cell).ok(),
        };
        let appended = bytes.is_some_and(|bytes| builder.append_value(bytes).is_ok());
        if !appended {
            return Err(value_error(path, field, row, cell));
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn parse_unsigned(cell: &str) -> Option<U256> {
    match cell.strip_prefix("0x") {
        Some(digits) => U256::from_str_radix(digits, 16).ok(),
        None => U256::from_str_radix(cell, 10).ok(),
    }
}

fn value_error(path: &Path, field: &Field, row: usize, value: &str) -> TableError {
    let expected = match (wide_kind(field), field.data_type()) {
        (Some(Wide::Unsigned), _) => "UINT256".to_owned(),
        (Some(Wide::Signed), _) => "INT256".to_owned(),
        (None, DataType::FixedSizeBinary(width)) => format!("hexadecimal value of {width} bytes"),
        (None, _) => crate::plan::sql_type(field),
    };
    TableError::Value {
        path: path.display().to_string(),
        line: row + 2,
        value: value.to_owned(),
        expected,
        column: field.name().clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::FixedSizeBinaryArray;
    use arrow::datatypes::Int64Type;
    use highwater_engine::model::wide::uint256_field;

    use super::*;

    fn csv(text: &str, declared: Option<Schema>) -> Result<RecordBatch, TableError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        read_csv(&path, declared.map(Arc::new).as_ref())
    }

    #[test]
    fn types_are_inferred() {
        let text = "token,decimals,name\n0x00000000000000000000000000000000000000aa,18,A B\n,,\n";
        let batch = csv(text, None).unwrap();
        let types: Vec<_> = batch.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [wide::ADDRESS_TYPE, DataType::Int64, DataType::Utf8]);
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 18);
        assert!(batch.column(0).is_null(1));
    }

    #[test]
    fn declared_types_are_read_and_mistakes_have_a_line() {
        let declared = Schema::new(vec![uint256_field("supply", false)]);
        let max = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        let batch = csv(&format!("supply\n{max}\n"), Some(declared.clone())).unwrap();
        assert_eq!(batch.column(0).as_fixed_size_binary().value(0), [255; 32]);
        let error = csv("supply\n1\n-1\n", Some(declared)).unwrap_err().to_string();
        assert!(error.ends_with("t.csv:3: \"-1\" is not a UINT256 (column \"supply\")"), "{error}");
    }

    #[test]
    fn our_own_signed_columns_come_back_as_they_were() {
        let numbers = [I256::MIN, I256::MINUS_ONE, I256::ONE];
        let twos = numbers.map(|number| number.to_be_bytes::<32>());
        let metadata = wide::extension(wide::INT256_TWOS);
        let field = Field::new("x", wide::WIDE_TYPE, false).with_metadata(metadata);
        let column: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(twos.into_iter()).unwrap());
        let file = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
        let batch = with_int256(&file).unwrap();
        assert_eq!(wide_kind(batch.schema().field(0)), Some(Wide::Signed));
        let values = batch.column(0).as_fixed_size_binary();
        assert_eq!([0, 1, 2].map(|row| wide::int256_from_bytes(values.value(row))), numbers);
    }
}
