//! Columns to bytes.

use alloy_primitives::hex;
use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer};
use memchr::memchr2;

use super::{END, ESCAPE, HEX_20, HEX_32, Kind, NULL, Sign, VALUE};

/// Bytes of most text: an address.
const USUAL: usize = 21;

/// A column to be encoded.
pub(super) struct Column {
    values: Values,
    nulls: Option<NullBuffer>,
    /// What stood before the text so far.
    pub(super) forms: u8,
}

enum Values {
    Number { width: usize, sign: Sign, values: Buffer },
    Plain { width: usize, values: Buffer },
    Text(StringArray),
    Bytes(BinaryArray),
}

impl Column {
    pub(super) fn new(kind: Kind, column: &ArrayRef) -> Column {
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let buffer = |width: usize| {
            let data = column.to_data();
            data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width)
        };
        let values = match kind {
            Kind::Number(width, sign) => Values::Number { width, sign, values: buffer(width) },
            Kind::Plain(width) => Values::Plain { width, values: buffer(width) },
            Kind::Boolean => {
                let values: Vec<u8> = column.as_boolean().values().iter().map(u8::from).collect();
                Values::Plain { width: 1, values: values.into() }
            }
            Kind::Text => Values::Text(column.as_string().clone()),
            Kind::Bytes => Values::Bytes(column.as_binary().clone()),
        };
        Column { values, nulls, forms: 0 }
    }

    /// About as many bytes as a value takes.
    pub(super) fn width(&self) -> usize {
        match &self.values {
            Values::Number { width, .. } | Values::Plain { width, .. } => 1 + *width,
            Values::Text(_) | Values::Bytes(_) => USUAL,
        }
    }

    /// Appends the value of a row. NULL is zeros, whatever stands there.
    #[inline]
    pub(super) fn append(&mut self, row: usize, bytes: &mut Vec<u8>) {
        let is_null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        match &self.values {
            Values::Number { width, .. } | Values::Plain { width, .. } if is_null => {
                bytes.resize(bytes.len() + 1 + width, NULL);
            }
            Values::Text(_) | Values::Bytes(_) if is_null => bytes.push(NULL),
            Values::Number { width, sign, values } => append_number(&values[row * width..][..*width], *sign, bytes),
            Values::Plain { width, values } => {
                bytes.push(VALUE);
                bytes.extend_from_slice(&values[row * width..][..*width]);
            }
            Values::Text(values) => self.forms |= append_text(values.value(row).as_bytes(), bytes),
            Values::Bytes(values) => append_bytes(values.value(row), bytes),
        }
    }
}

/// A number, whose lowest byte is first.
#[inline]
fn append_number(value: &[u8], sign: Sign, bytes: &mut Vec<u8>) {
    if let Ok(value) = <[u8; 8]>::try_from(value) {
        let bits = u64::from_le_bytes(value);
        let ordered = bits ^ if sign.is_negative(value[7]) { u64::MAX } else { u64::from(sign.mask()) << 56 };
        let [a, b, c, d, e, f, g, h] = ordered.to_be_bytes();
        return bytes.extend_from_slice(&[VALUE, a, b, c, d, e, f, g, h]);
    }
    bytes.push(VALUE);
    let start = bytes.len();
    bytes.extend(value.iter().rev());
    if sign.is_negative(bytes[start]) {
        bytes[start..].iter_mut().for_each(|byte| *byte = !*byte);
    } else {
        bytes[start] ^= sign.mask();
    }
}

/// Text; what stands before it.
#[inline]
fn append_text(text: &[u8], bytes: &mut Vec<u8>) -> u8 {
    if let Some(address) = raw::<42, 40, 20>(text) {
        bytes.push(HEX_20);
        bytes.extend_from_slice(&address);
        return HEX_20;
    }
    if let Some(hash) = raw::<66, 64, 32>(text) {
        bytes.push(HEX_32);
        bytes.extend_from_slice(&hash);
        return HEX_32;
    }
    append_bytes(text, bytes);
    VALUE
}

/// The bytes of text that is their digits in lower case.
#[inline]
fn raw<const TEXT: usize, const DIGITS: usize, const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    let text = <&[u8; TEXT]>::try_from(text).ok()?;
    let (start, digits) = text.split_first_chunk::<2>()?;
    let digits = <&[u8; DIGITS]>::try_from(digits).ok()?;
    // Upper-case digits would come back as lower-case ones; of all digits only they lack this bit.
    let is_lower_case = digits.iter().fold(0x20, |bits, digit| bits & digit) != 0;
    let mut raw = [0; BYTES];
    let is_raw = start == b"0x" && is_lower_case && hex::decode_to_slice(digits, &mut raw).is_ok();
    is_raw.then_some(raw)
}

fn append_bytes(mut value: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(VALUE);
    while let Some(place) = memchr2(END, ESCAPE, value) {
        bytes.extend_from_slice(&value[..place]);
        bytes.extend_from_slice(&[ESCAPE, value[place] + 1]);
        value = &value[place + 1..];
    }
    bytes.extend_from_slice(value);
    bytes.push(END);
}
