//! Typed access to the cells of chain tables.

use std::sync::Arc;

use alloy_primitives::U256;
use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;

use super::Address;

/// Rust's rendering of the columns of a batch.
///
/// # Panics
/// All methods, if the column has another type: the planner has compared the types with the schema.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a>(pub(super) &'a RecordBatch);

impl<'a> Cells<'a> {
    pub(super) fn len(self) -> usize {
        self.0.num_rows()
    }

    pub(super) fn integers(self, column: usize) -> &'a Int64Array {
        self.0.column(column).as_primitive::<Int64Type>()
    }

    pub(super) fn text(self, column: usize) -> &'a StringArray {
        self.0.column(column).as_string::<i32>()
    }

    pub(super) fn fixed(self, column: usize) -> &'a FixedSizeBinaryArray {
        self.0.column(column).as_fixed_size_binary()
    }
}

/// The number, unless it is NULL.
pub(super) fn integer_at(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

/// The text, unless it is NULL.
pub(super) fn text_at(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// The bytes of a fixed width, unless they are NULL.
///
/// # Panics
/// If the column has another width.
pub(super) fn bytes_at<const N: usize>(column: &FixedSizeBinaryArray, row: usize) -> Option<[u8; N]> {
    column.is_valid(row).then(|| column.value(row).try_into().expect("the width of the column is that of its type"))
}

/// The 256-bit amount, unless it is NULL.
pub(super) fn amount_at(column: &FixedSizeBinaryArray, row: usize) -> Option<U256> {
    column.is_valid(row).then(|| U256::from_be_slice(column.value(row)))
}

/// A column of addresses, hashes or amounts.
pub(super) fn fixed_column<const N: usize>(values: impl ExactSizeIterator<Item = Option<[u8; N]>>) -> ArrayRef {
    let width = i32::try_from(N).expect("a few bytes");
    let mut column = FixedSizeBinaryBuilder::with_capacity(values.len(), width);
    for value in values {
        match value {
            Some(value) => column.append_value(value).expect("the width is that of the column"),
            None => column.append_null(),
        }
    }
    Arc::new(column.finish())
}

/// A column of amounts.
pub(super) fn amount_column(values: impl ExactSizeIterator<Item = Option<U256>>) -> ArrayRef {
    fixed_column(values.map(|value| value.map(|value| value.to_be_bytes::<32>())))
}

/// A column of texts.
pub(super) fn text_column<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// The address at which EVM protocols without a token contract book the native coin.
pub(super) const NATIVE: Address = [0; 20];
