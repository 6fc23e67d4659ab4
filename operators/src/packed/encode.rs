//! Columns to bytes.

use alloy_primitives::hex;
use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer};

use super::{HEX_20, HEX_32, Kind, LONG};

/// Bytes of most text: an address.
const USUAL: usize = 21;

/// A column to be encoded.
pub(super) struct Column {
    values: Values,
    pub(super) nulls: Option<NullBuffer>,
}

enum Values {
    Fixed { width: usize, values: Buffer },
    Text(StringArray),
    Bytes(BinaryArray),
}

impl Column {
    pub(super) fn new(kind: Kind, column: &ArrayRef) -> Column {
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let values = match kind {
            Kind::Fixed(width) => {
                let data = column.to_data();
                let values = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
                Values::Fixed { width, values }
            }
            Kind::Boolean => {
                let values: Vec<u8> = column.as_boolean().values().iter().map(u8::from).collect();
                Values::Fixed { width: 1, values: values.into() }
            }
            Kind::Text => Values::Text(column.as_string().clone()),
            Kind::Bytes => Values::Bytes(column.as_binary().clone()),
        };
        Column { values, nulls }
    }

    /// About as many bytes as a value takes.
    pub(super) fn width(&self) -> usize {
        match &self.values {
            Values::Fixed { width, .. } => *width,
            Values::Text(_) | Values::Bytes(_) => USUAL,
        }
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// A NULL is zeros, whatever stands there.
    #[inline]
    pub(super) fn append(&self, row: usize, bytes: &mut Vec<u8>) {
        match &self.values {
            Values::Fixed { width, .. } if self.is_null(row) => bytes.resize(bytes.len() + width, 0),
            Values::Fixed { width: 8, values } => bytes.extend_from_slice(&values[row * 8..row * 8 + 8]),
            Values::Fixed { width, values } => bytes.extend_from_slice(&values[row * width..(row + 1) * width]),
            Values::Text(_) | Values::Bytes(_) if self.is_null(row) => bytes.push(0),
            Values::Text(values) => packed_text(values.value(row).as_bytes(), bytes),
            Values::Bytes(values) => packed_bytes(values.value(row), bytes),
        }
    }
}

fn packed_text(text: &[u8], bytes: &mut Vec<u8>) {
    let tag = match text {
        [b'0', b'x', digits @ ..] if digits.len() == 40 => HEX_20,
        [b'0', b'x', digits @ ..] if digits.len() == 64 => HEX_32,
        _ => return packed_bytes(text, bytes),
    };
    let digits = &text[2..];
    let mut raw = [0; 32];
    let raw = &mut raw[..digits.len() / 2];
    // Upper-case digits would come back as lower-case ones; of all digits only they lack this bit.
    let is_lower_case = digits.iter().fold(0x20, |bits, digit| bits & digit) != 0;
    if !is_lower_case || hex::decode_to_slice(digits, raw).is_err() {
        return packed_bytes(text, bytes);
    }
    bytes.push(tag);
    bytes.extend_from_slice(raw);
}

fn packed_bytes(value: &[u8], bytes: &mut Vec<u8>) {
    match u8::try_from(value.len()) {
        Ok(len) if len < LONG => bytes.push(len),
        _ => {
            bytes.push(LONG);
            let len = u32::try_from(value.len()).expect("a value is shorter than 4 GiB");
            bytes.extend_from_slice(&len.to_le_bytes());
        }
    }
    bytes.extend_from_slice(value);
}
