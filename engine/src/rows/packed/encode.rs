//! Columns to bytes.

use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer};
use memchr::memchr2;

use super::{END, ESCAPE, HEX_20, HEX_32, Kind, NULL, Sign, TEXT_20, TEXT_32, VALUE};

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

    /// Bytes of every value, if they are equally many as far as their lengths tell.
    pub(super) fn even_width(&self) -> Option<usize> {
        match &self.values {
            Values::Number { width, .. } | Values::Plain { width, .. } => Some(1 + width),
            Values::Text(values) if self.nulls.is_none() => match even_length(values.value_offsets())? {
                TEXT_20 => Some(1 + 20),
                TEXT_32 => Some(1 + 32),
                _ => None,
            },
            Values::Text(_) | Values::Bytes(_) => None,
        }
    }

    /// Writes all values, each to its place in a row of zeros; what stands before the text. `None` where text is not
    /// of the form that its length tells. Only for columns of even width.
    pub(super) fn write(&self, fields: Fields<'_>) -> Option<u8> {
        let nulls = self.nulls.as_ref();
        match &self.values {
            Values::Number { width, sign, values } => {
                match width {
                    1 => write_each::<1>(values, nulls, fields, |value| ordered(value, *sign)),
                    2 => write_each::<2>(values, nulls, fields, |value| ordered(value, *sign)),
                    4 => write_each::<4>(values, nulls, fields, |value| ordered(value, *sign)),
                    8 => write_each::<8>(values, nulls, fields, |value| ordered(value, *sign)),
                    16 => write_each::<16>(values, nulls, fields, |value| ordered(value, *sign)),
                    32 => write_each::<32>(values, nulls, fields, |value| ordered(value, *sign)),
                    _ => return None,
                }
                Some(0)
            }
            Values::Plain { width, values } => {
                match width {
                    20 => write_each::<20>(values, nulls, fields, |value| value),
                    32 => write_each::<32>(values, nulls, fields, |value| value),
                    _ => {
                        for (number, field) in fields.of(1 + width).enumerate() {
                            if nulls.is_none_or(|nulls| nulls.is_valid(number)) {
                                field[0] = VALUE;
                                field[1..].copy_from_slice(&values[number * width..][..*width]);
                            }
                        }
                    }
                }
                Some(0)
            }
            Values::Text(values) => {
                let start = usize::try_from(*values.value_offsets().first()?).ok()?;
                let text = &values.value_data()[start..];
                match even_length(values.value_offsets())? {
                    TEXT_20 => write_texts::<TEXT_20, 20>(text, HEX_20, fields),
                    TEXT_32 => write_texts::<TEXT_32, 32>(text, HEX_32, fields),
                    _ => None,
                }
            }
            Values::Bytes(_) => None,
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

/// The bytes of one column in rows of even width.
pub(super) struct Fields<'a> {
    /// All rows.
    pub(super) bytes: &'a mut [u8],
    /// Bytes of a row.
    pub(super) row: usize,
    /// Where in a row the column starts.
    pub(super) place: usize,
}

impl<'a> Fields<'a> {
    #[inline]
    fn of(self, width: usize) -> impl Iterator<Item = &'a mut [u8]> {
        let Fields { bytes, row, place } = self;
        bytes.chunks_exact_mut(row).map(move |row| &mut row[place..][..width])
    }
}

/// The length of all values, if it is one.
fn even_length(offsets: &[i32]) -> Option<usize> {
    let length = offsets.get(1)? - offsets[0];
    // Without a branch a pair, so that many are compared at once.
    let uneven = offsets.windows(2).fold(0, |uneven, pair| uneven | ((pair[1] - pair[0]) ^ length));
    usize::try_from(length).ok().filter(|_| uneven == 0)
}

/// Values of a width that is known here, so that none is a call.
#[inline]
fn write_each<const WIDTH: usize>(
    values: &[u8],
    nulls: Option<&NullBuffer>,
    fields: Fields<'_>,
    ordered: impl Fn([u8; WIDTH]) -> [u8; WIDTH],
) {
    let (values, _) = values.as_chunks::<WIDTH>();
    let write = |(field, value): (&mut [u8], &[u8; WIDTH])| {
        field[0] = VALUE;
        field[1..].copy_from_slice(&ordered(*value));
    };
    let fields = fields.of(1 + WIDTH).zip(values);
    match nulls {
        None => fields.for_each(write),
        Some(nulls) => fields.zip(nulls).filter(|(_, is_valid)| *is_valid).for_each(|(field, _)| write(field)),
    }
}

/// The marker of text, all of which is digits of so many bytes.
#[inline]
fn write_texts<const TEXT: usize, const BYTES: usize>(text: &[u8], marker: u8, fields: Fields<'_>) -> Option<u8> {
    for (field, text) in fields.of(1 + BYTES).zip(text.chunks_exact(TEXT)) {
        field[0] = marker;
        field[1..].copy_from_slice(&raw::<TEXT, BYTES>(text)?);
    }
    Some(marker)
}

/// A number, whose lowest byte is first, as bytes that compare as numbers do.
#[inline]
fn ordered<const WIDTH: usize>(mut value: [u8; WIDTH], sign: Sign) -> [u8; WIDTH] {
    value.reverse();
    let turned = if sign.is_negative(value[0]) { u8::MAX } else { 0 };
    value[0] ^= sign.mask() & !turned;
    value.map(|byte| byte ^ turned)
}

/// A number, whose lowest byte is first.
#[inline]
fn append_number(value: &[u8], sign: Sign, bytes: &mut Vec<u8>) {
    bytes.push(VALUE);
    if let Ok(value) = <[u8; 8]>::try_from(value) {
        return bytes.extend_from_slice(&ordered(value, sign));
    }
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
    if let Some(address) = raw::<TEXT_20, 20>(text) {
        bytes.push(HEX_20);
        bytes.extend_from_slice(&address);
        return HEX_20;
    }
    if let Some(hash) = raw::<TEXT_32, 32>(text) {
        bytes.push(HEX_32);
        bytes.extend_from_slice(&hash);
        return HEX_32;
    }
    append_bytes(text, bytes);
    VALUE
}

/// The bytes of text that is their digits in lower case.
#[inline]
fn raw<const TEXT: usize, const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    let text = <&[u8; TEXT]>::try_from(text).ok()?;
    let (start, digits) = text.split_first_chunk::<2>()?;
    let (digits, _) = digits.as_chunks::<8>();
    let (mut raw, mut wrong) = ([0; BYTES], 0);
    for (raw, digits) in raw.as_chunks_mut::<4>().0.iter_mut().zip(digits) {
        let (bytes, other) = from_digits(u64::from_le_bytes(*digits));
        *raw = bytes;
        wrong |= other;
    }
    (start == b"0x" && wrong == 0).then_some(raw)
}

/// Four bytes from their eight digits, the first of which is the lowest byte; not zero beside them if these are not
/// digits in lower case. Eight at a time in one register: an address in 4.8 ns where `hex` and a check of its case
/// take 7.6.
#[inline]
fn from_digits(digits: u64) -> ([u8; 4], u64) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Letters, and no digit, have bit 6, and are numbered from one there.
    let letter = digits >> 6 & EACH;
    let values = (digits & (0xf * EACH)) + letter * 9;
    let is_letter = (values + 6 * EACH) >> 4 & EACH;
    let digits_again = values + u64::from(b'0') * EACH + is_letter * u64::from(b'a' - b'9' - 1);
    let wrong = (digits_again ^ digits) | (values & (0xf0 * EACH));
    // Neighbours become one byte in every second place; then these move together.
    let bytes = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let bytes = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    let [a, b, _, _, c, d, ..] = bytes.to_le_bytes();
    ([a, b, c, d], wrong)
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

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    #[test]
    fn only_digits_in_lower_case_are_bytes() {
        let address = b"0x00112233445566778899aabbccddeeff0a1b2c3d";
        for place in 0..address.len() {
            for byte in 0..=u8::MAX {
                let mut text = *address;
                text[place] = byte;
                let lower_case = text.starts_with(b"0x") && !text.iter().any(u8::is_ascii_uppercase);
                // Its own prefix is not one of digits.
                let expected = hex::decode(&text[2..]).ok().filter(|bytes| bytes.len() == 20 && lower_case);
                assert_eq!(raw::<TEXT_20, 20>(&text).map(|raw| raw.to_vec()), expected);
            }
        }
    }
}
