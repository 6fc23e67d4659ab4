//! The conversions themselves: one array in, one array out, nothing copied that need not be. Text that becomes bytes
//! comes as views or as a dictionary, text that stays may come as one.

use std::sync::Arc;

use alloy_primitives::{U256, hex};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int32Array, PrimitiveArray,
    StringViewArray, TimestampMillisecondArray,
};
use arrow::buffer::Buffer;
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{
    DataType, Decimal128Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use highwater_engine::model::wide::int256_array_from_twos;

use super::mapping::Convert;

/// The values of a dictionary, and what they become.
#[derive(Debug)]
struct Dictionary {
    values: ArrayRef,
    /// `None`: one of them does not fit.
    converted: Option<ArrayRef>,
}

/// Brings a column to its offered type, batch after batch. Values of a dictionary are converted once, and not once
/// for every row.
#[derive(Debug, Default)]
pub(super) struct Converter {
    known: Option<Dictionary>,
}

impl Converter {
    /// Converts a batch. Fails on the first value that does not fit.
    pub(super) fn convert(&mut self, array: &ArrayRef, how: Convert) -> Result<ArrayRef, ArrowError> {
        let Some(dictionary) = array.as_dictionary_opt::<Int32Type>().filter(|_| how.is_to_bytes()) else {
            return convert(array, how);
        };
        let values = dictionary.values();
        let known = match self.known.take() {
            Some(known) if known.values.to_data().ptr_eq(&values.to_data()) => known,
            _ => {
                let converted = convert(&cast(values, &DataType::Utf8View)?, how).ok();
                Dictionary { values: values.clone(), converted }
            }
        };
        match &self.known.insert(known).converted {
            Some(converted) => gather(converted, dictionary.keys()),
            // Rows may not have the value that does not fit.
            None => convert(&cast(array, &DataType::Utf8View)?, how),
        }
    }
}

/// The value of each key.
fn gather(values: &ArrayRef, keys: &Int32Array) -> Result<ArrayRef, ArrowError> {
    match values.as_fixed_size_binary_opt().filter(|values| values.null_count() == 0) {
        Some(values) if values.value_length() == 20 => gather_fixed::<20>(values, keys),
        Some(values) if values.value_length() == 32 => gather_fixed::<32>(values, keys),
        _ => take(values, keys, None),
    }
}

/// Addresses and hashes, none of which is NULL: of a width that is known here, so that none is a call.
fn gather_fixed<const WIDTH: usize>(values: &FixedSizeBinaryArray, keys: &Int32Array) -> Result<ArrayRef, ArrowError> {
    let (values, _) = values.value_data().as_chunks::<WIDTH>();
    // A key that is NULL may be any number.
    let value = |key: &i32| usize::try_from(*key).ok().and_then(|key| values.get(key)).copied().unwrap_or([0; WIDTH]);
    let bytes: Vec<[u8; WIDTH]> = keys.values().iter().map(value).collect();
    let width = i32::try_from(WIDTH).expect("addresses and hashes are short");
    let bytes = Buffer::from_vec(bytes.into_flattened());
    Ok(Arc::new(FixedSizeBinaryArray::try_new(width, bytes, keys.nulls().cloned())?))
}

/// Brings an array to its offered type; one that becomes bytes is no dictionary.
fn convert(array: &ArrayRef, how: Convert) -> Result<ArrayRef, ArrowError> {
    match how {
        Convert::Same => Ok(array.clone()),
        Convert::Int => cast(array, &DataType::Int64),
        Convert::Wei => cast(array, &DataType::Decimal128(38, 0)),
        Convert::Time => time(array),
        Convert::Seconds => seconds(array),
        Convert::Text => cast(array, &DataType::Utf8),
        Convert::Fixed(width) => fixed(array, width),
        Convert::Bytes => bytes(array),
        Convert::Wide => wide(array),
        Convert::Twos => Ok(Arc::new(int256_array_from_twos(array.as_fixed_size_binary()))),
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

fn utc(array: TimestampMillisecondArray) -> ArrayRef {
    Arc::new(array.with_timezone("UTC"))
}

fn overflow(what: impl std::fmt::Display) -> ArrowError {
    ArrowError::ComputeError(format!("{what} does not fit"))
}

fn time(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, _) = array.data_type() else { return Err(overflow(array.data_type())) };
    let array: TimestampMillisecondArray = match unit {
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().clone(),
        TimeUnit::Second => array
            .as_primitive::<TimestampSecondType>()
            .try_unary(|seconds| seconds.checked_mul(1000).ok_or_else(|| overflow(seconds)))?,
        TimeUnit::Microsecond => {
            array.as_primitive::<TimestampMicrosecondType>().unary(|micros| micros.div_euclid(1_000))
        }
        TimeUnit::Nanosecond => {
            array.as_primitive::<TimestampNanosecondType>().unary(|nanos| nanos.div_euclid(1_000_000))
        }
    };
    Ok(utc(array))
}

fn seconds(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let seconds = cast(array, &DataType::Int64)?;
    let millis: PrimitiveArray<TimestampMillisecondType> = seconds
        .as_primitive::<Int64Type>()
        .try_unary(|seconds| seconds.checked_mul(1000).ok_or_else(|| overflow(seconds)))?;
    Ok(utc(millis))
}

/// Calls `each` with the bytes of every value; text is read as hex.
fn for_each_bytes(
    array: &ArrayRef,
    mut each: impl FnMut(Option<&[u8]>) -> Result<(), ArrowError>,
) -> Result<(), ArrowError> {
    match array.data_type() {
        DataType::Utf8View => {
            let mut scratch = Vec::new();
            for value in array.as_string_view() {
                let Some(value) = value else {
                    each(None)?;
                    continue;
                };
                let digits = value.strip_prefix("0x").unwrap_or(value);
                scratch.clear();
                scratch.resize(digits.len() / 2, 0);
                hex::decode_to_slice(digits, &mut scratch).map_err(|_| overflow(format_args!("the text {value:?}")))?;
                each(Some(&scratch))?;
            }
            Ok(())
        }
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().try_for_each(each),
        _ => cast(array, &DataType::Binary)?.as_binary::<i32>().iter().try_for_each(each),
    }
}

fn fixed(array: &ArrayRef, width: i32) -> Result<ArrayRef, ArrowError> {
    if let Some(views) = array.as_string_view_opt() {
        return fixed_from_hex(views, width);
    }
    let mut out = FixedSizeBinaryBuilder::with_capacity(array.len(), width);
    for_each_bytes(array, |value| {
        match value {
            Some(value) => out.append_value(value)?,
            None => out.append_null(),
        }
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

/// Bytes of one length from text, which is read as hex.
fn fixed_from_hex(text: &StringViewArray, width: i32) -> Result<ArrayRef, ArrowError> {
    let each = usize::try_from(width).expect("a width is not negative");
    let mut bytes = vec![0; each * text.len()];
    for (value, place) in text.iter().zip(bytes.chunks_exact_mut(each)) {
        if let Some(value) = value {
            hex::decode_to_slice(value, place)
                .map_err(|_| ArrowError::ComputeError(format!("the text {value:?} is not {width} bytes in hex")))?;
        }
    }
    Ok(Arc::new(FixedSizeBinaryArray::try_new(width, bytes.into(), text.nulls().cloned())?))
}

fn bytes(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let mut out = BinaryBuilder::with_capacity(array.len(), 0);
    for_each_bytes(array, |value| {
        out.append_option(value);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn wide(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let mut out = FixedSizeBinaryBuilder::with_capacity(array.len(), 32);
    let mut push = |value: Option<[u8; 32]>| -> Result<(), ArrowError> {
        match value {
            Some(value) => out.append_value(value)?,
            None => out.append_null(),
        }
        Ok(())
    };
    match array.data_type() {
        DataType::Utf8View => {
            for text in array.as_string_view() {
                push(text.map(wide_from_text).transpose()?)?;
            }
        }
        DataType::Decimal128(_, _) => {
            for value in array.as_primitive::<Decimal128Type>() {
                push(value.map(wide_from_int).transpose()?)?;
            }
        }
        from if from.is_integer() => {
            for value in cast(array, &DataType::Decimal128(38, 0))?.as_primitive::<Decimal128Type>() {
                push(value.map(wide_from_int).transpose()?)?;
            }
        }
        _ => for_each_bytes(array, |value| push(value.map(wide_from_bytes).transpose()?))?,
    }
    Ok(Arc::new(out.finish()))
}

fn wide_from_text(text: &str) -> Result<[u8; 32], ArrowError> {
    let value: U256 = text.trim().parse().map_err(|_| overflow(format_args!("the text {text:?}")))?;
    Ok(value.to_be_bytes())
}

fn wide_from_int(value: i128) -> Result<[u8; 32], ArrowError> {
    let value = u128::try_from(value).map_err(|_| overflow(value))?;
    Ok(U256::from(value).to_be_bytes())
}

fn wide_from_bytes(bytes: &[u8]) -> Result<[u8; 32], ArrowError> {
    let start = 32usize.checked_sub(bytes.len()).ok_or_else(|| overflow(format_args!("{} bytes", bytes.len())))?;
    let mut wide = [0; 32];
    wide[start..].copy_from_slice(bytes);
    Ok(wide)
}
