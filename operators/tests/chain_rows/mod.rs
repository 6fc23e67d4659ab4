//! Batches of chain tables from small numbers.

use std::sync::Arc;

use alloy_primitives::U256;
use arrow::array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

/// The address with this number; 0 is NULL.
pub(crate) fn address(number: u8) -> Option<[u8; 20]> {
    (number != 0).then_some([number; 20])
}

pub(crate) fn fixed<const N: usize>(values: impl IntoIterator<Item = Option<[u8; N]>>) -> ArrayRef {
    let width = i32::try_from(N).expect("small");
    let mut builder = FixedSizeBinaryBuilder::new(width);
    for value in values {
        match value {
            Some(value) => builder.append_value(value).expect("one width"),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

pub(crate) fn wide(values: impl IntoIterator<Item = Option<u128>>) -> ArrayRef {
    fixed(values.into_iter().map(|value| value.map(|value| U256::from(value).to_be_bytes::<32>())))
}

pub(crate) fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn pools(values: impl IntoIterator<Item = u8>) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(values.into_iter().map(|value| [value; 20])))
}

/// A batch with these columns.
pub(crate) fn batch(names: &[&str], columns: Vec<ArrayRef>) -> RecordBatch {
    let field = |(name, column): (&&str, &ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let fields: Vec<Field> = names.iter().zip(&columns).map(field).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

/// A batch without rows.
pub(crate) fn empty(columns: &[(&str, DataType)]) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    RecordBatch::new_empty(Arc::new(Schema::new(fields)))
}

/// The hash of the transaction with this index.
pub(crate) fn transaction_hash(index: i64) -> [u8; 32] {
    let mut hash = [7; 32];
    hash[24..].copy_from_slice(&index.to_be_bytes());
    hash
}

/// The value of a column of addresses or hashes.
pub(crate) fn value(column: &FixedSizeBinaryArray, row: usize) -> Vec<u8> {
    column.value(row).to_vec()
}
