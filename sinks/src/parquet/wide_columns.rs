//! 256-bit integers in the forms that readers of Parquet know.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, StringBuilder};
use arrow::buffer::MutableBuffer;
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use highwater_engine::model::format;
use highwater_engine::model::wide::{Wide, int256_to_twos, wide_kind};

/// 10^38: the first number that `Decimal128(38, 0)` does not hold.
const DECIMAL_END: u128 = 10_u128.pow(38);

/// Bytes of `INT256` in memory as two's complement.
pub(super) fn twos_complement(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let array = column.as_fixed_size_binary();
    let mut bytes = MutableBuffer::with_capacity(array.len() * 32);
    for row in 0..array.len() {
        bytes.extend_from_slice(&int256_to_twos(array.value(row)));
    }
    Ok(Arc::new(FixedSizeBinaryArray::try_new(32, bytes.into(), array.nulls().cloned())?))
}

/// Exact decimals, NULL where 38 digits are not enough.
pub(super) fn as_decimal(column: &ArrayRef, kind: Wide) -> Result<ArrayRef, ArrowError> {
    let array = column.as_fixed_size_binary();
    let decimals: Decimal128Array = (0..array.len())
        .map(|row| {
            if array.is_null(row) {
                return None;
            }
            match kind {
                Wide::Unsigned => unsigned_decimal(array.value(row)),
                Wide::Signed => signed_decimal(&int256_to_twos(array.value(row))),
            }
        })
        .collect();
    Ok(Arc::new(decimals.with_precision_and_scale(38, 0)?))
}

fn unsigned_decimal(bytes: &[u8]) -> Option<i128> {
    let (high, low) = bytes.split_at(16);
    if high.iter().any(|byte| *byte != 0) {
        return None;
    }
    let value = u128::from_be_bytes(low.try_into().expect("half of 32 bytes"));
    if value < DECIMAL_END { i128::try_from(value).ok() } else { None }
}

fn signed_decimal(twos: &[u8; 32]) -> Option<i128> {
    let (high, low) = twos.split_at(16);
    let value = i128::from_be_bytes(low.try_into().expect("half of 32 bytes"));
    let extension = if value < 0 { 0xff } else { 0 };
    (high.iter().all(|byte| *byte == extension) && value.unsigned_abs() < DECIMAL_END).then_some(value)
}

/// The nearest double.
pub(super) fn as_double(field: &Field, column: &ArrayRef) -> ArrayRef {
    let mut text = String::new();
    let doubles: Float64Array = (0..column.len())
        .map(|row| {
            if column.is_null(row) {
                return None;
            }
            text.clear();
            format::write_text(&mut text, field, column, row);
            // Reading decimal text rounds correctly, which scaling two 128-bit halves does not.
            Some(text.parse::<f64>().expect("a 256-bit integer prints as digits"))
        })
        .collect();
    Arc::new(doubles)
}

/// Exact text: decimal digits of 256-bit integers, `0x…` of other bytes.
pub(super) fn as_text(field: &Field, column: &ArrayRef) -> ArrayRef {
    if let Some(bytes) = column.as_fixed_size_binary_opt()
        && wide_kind(field).is_none()
    {
        return Arc::new(format::hex_column(bytes));
    }
    let mut builder = StringBuilder::new();
    let mut text = String::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            builder.append_null();
        } else {
            text.clear();
            format::write_text(&mut text, field, column, row);
            builder.append_value(&text);
        }
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: i128) -> [u8; 32] {
        let mut bytes = if value < 0 { [0xff; 32] } else { [0; 32] };
        bytes[16..].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    #[test]
    fn decimals_end_at_38_digits() {
        let end = i128::try_from(DECIMAL_END).expect("10^38 < 2^127");
        assert_eq!(unsigned_decimal(&bytes(end - 1)), Some(end - 1));
        assert_eq!(unsigned_decimal(&bytes(end)), None);
        assert_eq!(unsigned_decimal(&[0xff; 32]), None);
        assert_eq!(signed_decimal(&bytes(-7)), Some(-7));
        assert_eq!(signed_decimal(&bytes(1 - end)), Some(1 - end));
        assert_eq!(signed_decimal(&bytes(-end)), None);
        let mut beyond = bytes(5);
        beyond[0] = 1;
        assert_eq!(signed_decimal(&beyond), None);
    }
}
