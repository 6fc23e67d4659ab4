//! How values are shown to people and in JSON: hex for bytes, decimal text for wide integers.
//!
//! | Arrow | text | JSON |
//! |---|---|---|
//! | integers, floats, booleans | as is | number, boolean (integers beyond 2^53 too: JSON readers of amounts must read exactly) |
//! | `Decimal128`, `Decimal256` | exact decimal | string |
//! | `UINT256`, `INT256` | exact decimal | string |
//! | binary | `0x…` | string |
//! | timestamps | `2023-11-14T22:13:20Z`, with fraction only if there is one | string |

use std::fmt::Write as _;

use alloy_primitives::hex::encode_to_slice;
use arrow::array::{
    Array, AsArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, GenericListArray, OffsetSizeTrait,
    StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use arrow::temporal_conversions;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::wide::{Wide, int256_from_bytes, uint256_from_bytes, wide_kind};

/// Appends the value as text for people; nothing for NULL.
pub fn write_text(out: &mut String, field: &Field, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        return;
    }
    match array.data_type() {
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int8 => push(out, array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => push(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => push(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => push(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => push(out, array.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => push(out, array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => push(out, array.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => push(out, array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => push(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => push(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, _) => {
            let array: &Decimal128Array = array.as_primitive::<Decimal128Type>();
            out.push_str(&array.value_as_string(row));
        }
        DataType::Decimal256(_, _) => {
            let array: &Decimal256Array = array.as_primitive::<Decimal256Type>();
            out.push_str(&array.value_as_string(row));
        }
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Binary => hex(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => hex(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => hex(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => fixed(out, field, array.as_fixed_size_binary(), row),
        DataType::Timestamp(unit, _) => timestamp(out, array, row, *unit),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            match temporal_conversions::date32_to_datetime(days) {
                Some(date) => push(out, date.date()),
                None => push(out, days),
            }
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) => write_json(out, field, array, row),
        _ => other(out, array, row),
    }
}

/// Appends the value as JSON.
pub fn write_json(out: &mut String, field: &Field, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Float32 if !array.as_primitive::<Float32Type>().value(row).is_finite() => out.push_str("null"),
        DataType::Float64 if !array.as_primitive::<Float64Type>().value(row).is_finite() => out.push_str("null"),
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64 => write_text(out, field, array, row),
        DataType::List(element) => list(out, element, array.as_list::<i32>(), row),
        DataType::LargeList(element) => list(out, element, array.as_list::<i64>(), row),
        DataType::Struct(fields) => {
            out.push('{');
            let array = array.as_struct();
            for (index, (field, column)) in fields.iter().zip(array.columns()).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                json_string(out, field.name());
                out.push(':');
                write_json(out, field, column, row);
            }
            out.push('}');
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            out.push('"');
            write_text(out, field, array, row);
            out.push('"');
        }
        _ => {
            let mut text = String::new();
            write_text(&mut text, field, array, row);
            json_string(out, &text);
        }
    }
}

/// Appends one row as a JSON object of all columns.
pub fn write_json_row(out: &mut String, batch: &RecordBatch, row: usize) {
    out.push('{');
    write_json_fields(out, batch, row);
    out.push('}');
}

/// Appends `"name":value` pairs of all columns, without braces.
pub fn write_json_fields(out: &mut String, batch: &RecordBatch, row: usize) {
    let schema = batch.schema_ref();
    for (index, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
        if index > 0 {
            out.push(',');
        }
        json_string(out, field.name());
        out.push(':');
        write_json(out, field, column, row);
    }
}

/// Appends text as a JSON string with quotes and escapes.
pub fn json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends `0x` and lower-case hex.
pub fn hex(out: &mut String, bytes: &[u8]) {
    out.reserve(2 + 2 * bytes.len());
    out.push_str("0x");
    for part in bytes.chunks(32) {
        let mut digits = [0; 64];
        let digits = &mut digits[..2 * part.len()];
        encode_to_slice(part, digits).expect("two digits a byte");
        out.push_str(std::str::from_utf8(digits).expect("digits are ASCII"));
    }
}

/// What [`hex`] makes of every value of a column, as a column.
///
/// # Panics
/// If the text has 2^31 bytes.
pub fn hex_column(array: &FixedSizeBinaryArray) -> StringArray {
    let width = 2 + 2 * array.value_size();
    let mut text = vec![b'0'; width * array.len()];
    for (row, text) in text.chunks_exact_mut(width).enumerate() {
        text[1] = b'x';
        encode_to_slice(array.value(row), &mut text[2..]).expect("two digits a byte");
    }
    let offsets = OffsetBuffer::from_repeated_length(width, array.len());
    StringArray::try_new(offsets, text.into(), array.nulls().cloned()).expect("digits are ASCII")
}

/// A count with thousands separated, for people: `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

fn fixed(out: &mut String, field: &Field, array: &FixedSizeBinaryArray, row: usize) {
    match wide_kind(field) {
        Some(Wide::Unsigned) => push(out, uint256_from_bytes(array.value(row))),
        Some(Wide::Signed) => push(out, int256_from_bytes(array.value(row))),
        None => hex(out, array.value(row)),
    }
}

/// A time in milliseconds as text: `2023-11-14T22:13:20Z`.
pub fn timestamp_text(ms: i64) -> String {
    match temporal_conversions::timestamp_ms_to_datetime(ms) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string(),
        None => ms.to_string(),
    }
}

fn timestamp(out: &mut String, array: &dyn Array, row: usize, unit: TimeUnit) {
    let time = match unit {
        TimeUnit::Second => {
            temporal_conversions::timestamp_s_to_datetime(array.as_primitive::<TimestampSecondType>().value(row))
        }
        TimeUnit::Millisecond => {
            temporal_conversions::timestamp_ms_to_datetime(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        TimeUnit::Microsecond => {
            temporal_conversions::timestamp_us_to_datetime(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        TimeUnit::Nanosecond => {
            temporal_conversions::timestamp_ns_to_datetime(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
    };
    match time {
        Some(time) => push(out, time.format("%Y-%m-%dT%H:%M:%S%.fZ")),
        None => other(out, array, row),
    }
}

fn list<O: OffsetSizeTrait>(out: &mut String, element: &Field, array: &GenericListArray<O>, row: usize) {
    let values = array.value(row);
    out.push('[');
    for index in 0..values.len() {
        if index > 0 {
            out.push(',');
        }
        write_json(out, element, &values, index);
    }
    out.push(']');
}

fn other(out: &mut String, array: &dyn Array, row: usize) {
    match ArrayFormatter::try_new(array, &FormatOptions::default()) {
        Ok(formatter) => push(out, formatter.value(row)),
        Err(_) => out.push('?'),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampMillisecondArray};
    use arrow::datatypes::Schema;

    use super::super::wide::{WIDE_TYPE, timestamp_type, uint256_field};
    use super::*;

    #[test]
    fn counts_for_people() {
        assert_eq!([7, 123_456, 1_234_567].map(grouped), ["7", "123,456", "1,234,567"]);
    }

    #[test]
    fn hex_of_any_length() {
        for len in [0_usize, 1, 20, 31, 32, 33, 100] {
            let bytes: Vec<u8> = (0..len).map(|byte| u8::try_from(byte * 7 % 256).expect("below 256")).collect();
            let expected = bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
            let mut text = String::new();
            hex(&mut text, &bytes);
            assert_eq!(text, expected);
            let values = [Some(&bytes), None, Some(&bytes)];
            let width = i32::try_from(len).expect("small");
            let column = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), width);
            let column = hex_column(&column.expect("values of one length"));
            assert_eq!(column.iter().collect::<Vec<_>>(), [Some(&expected[..]), None, Some(&expected[..])]);
        }
    }

    #[test]
    fn json_of_chain_values() {
        let schema = Schema::new(vec![
            uint256_field("amount", false),
            Field::new("hash", WIDE_TYPE, false),
            Field::new("at", timestamp_type(), false),
            Field::new("note", DataType::Utf8, true),
        ]);
        let wide: ArrayRef =
            Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once([255_u8; 32])).expect("32 bytes"));
        let columns: Vec<ArrayRef> = vec![
            wide.clone(),
            wide,
            Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_500]).with_timezone("UTC")),
            Arc::new(StringArray::from(vec![Some("a\"b\u{1}")])),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit");
        let mut json = String::new();
        write_json_row(&mut json, &batch, 0);
        let max = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        let hash = "f".repeat(64);
        let note = "\"a\\\"b\\u0001\"";
        assert_eq!(
            json,
            format!(r#"{{"amount":"{max}","hash":"0x{hash}","at":"2023-11-14T22:13:20.500Z","note":{note}}}"#)
        );
    }

    #[test]
    fn lists_are_json_for_people_and_programs() {
        let amount = uint256_field("item", true);
        let one = {
            let mut one = [0; 32];
            one[31] = 1;
            one
        };
        let values = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(one), None].into_iter(), 32);
        let values: ArrayRef = Arc::new(values.expect("32 bytes"));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 0]);
        let list = arrow::array::ListArray::new(Arc::new(amount), offsets, values, None);
        let field = Field::new("amounts", list.data_type().clone(), false);
        for (row, expected) in [(0, r#"["1",null]"#), (1, "[]")] {
            let (mut text, mut json) = (String::new(), String::new());
            write_text(&mut text, &field, &list, row);
            write_json(&mut json, &field, &list, row);
            assert_eq!((text.as_str(), json.as_str()), (expected, expected));
        }
    }
}
