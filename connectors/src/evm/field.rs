//! One value of chain data as it arrives: hex text, a JSON number or bytes.

use std::fmt;

use alloy_primitives::hex;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A value of a block, transaction, receipt, log or trace, not yet interpreted.
///
/// JSON gives [`Field::Hex`] and [`Field::Number`], generated chains [`Field::Bytes`] and [`Field::Number`].
/// Interpretation waits until a column wants the value, so that what nobody reads costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field<'a> {
    /// Not given, or `null`.
    #[default]
    Absent,
    /// `0x` and hex digits.
    Hex(&'a str),
    /// Raw bytes; a number has its most significant byte first.
    Bytes(&'a [u8]),
    /// A whole number.
    Number(u64),
}

/// Why a value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there and must be.
    Missing,
    /// It is not `0x` and hex digits.
    NotHex,
    /// It is larger than its column holds.
    TooLarge,
    /// It has not the right number of bytes.
    Length {
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing => f.write_str("is missing"),
            Fault::NotHex => f.write_str("is not hexadecimal text starting with 0x"),
            Fault::TooLarge => f.write_str("is too large for its column"),
            Fault::Length { expected, got } => write!(f, "has {got} bytes instead of {expected}"),
        }
    }
}

/// The value of each hex digit; `0xff` for every other byte.
const DIGITS: [u8; 256] = digits();

const fn digits() -> [u8; 256] {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 10 {
        table[b'0' as usize + digit as usize] = digit;
        digit += 1;
    }
    digit = 0;
    while digit < 6 {
        table[b'a' as usize + digit as usize] = 10 + digit;
        table[b'A' as usize + digit as usize] = 10 + digit;
        digit += 1;
    }
    table
}

fn hex_digits(text: &str) -> Result<&[u8], Fault> {
    match text.as_bytes() {
        [b'0', b'x' | b'X', digits @ ..] => Ok(digits),
        _ => Err(Fault::NotHex),
    }
}

/// At most 32 digits, as a number.
fn parse_digits(digits: &[u8]) -> Result<u128, Fault> {
    let (high, low) = digits.split_at(digits.len().saturating_sub(16));
    Ok(u128::from(parse_short(high)?) << 64 | u128::from(parse_short(low)?))
}

/// At most 16 digits, as a number.
#[inline]
fn parse_short(digits: &[u8]) -> Result<u64, Fault> {
    let (mut value, mut seen) = (0u64, 0u8);
    for digit in digits {
        let digit = DIGITS[usize::from(*digit)];
        seen |= digit;
        value = (value << 4) | u64::from(digit & 0x0f);
    }
    if seen > 0x0f { Err(Fault::NotHex) } else { Ok(value) }
}

impl<'a> Field<'a> {
    /// Whether nothing is given.
    pub fn is_absent(self) -> bool {
        self == Field::Absent
    }

    /// This value, or `other` if nothing is given.
    pub fn or(self, other: Field<'a>) -> Field<'a> {
        if self.is_absent() { other } else { self }
    }

    /// As a number of up to 128 bits.
    pub fn u128(self) -> Result<u128, Fault> {
        match self {
            Field::Absent => Err(Fault::Missing),
            Field::Number(number) => Ok(u128::from(number)),
            Field::Hex(text) => {
                let digits = hex_digits(text)?;
                match digits.len() {
                    0 => Err(Fault::NotHex),
                    1..=32 => parse_digits(digits),
                    _ => wide_from_digits(digits).and_then(u128_from_wide),
                }
            }
            Field::Bytes(_) => self.wide().and_then(u128_from_wide),
        }
    }

    /// As a number of up to 64 bits.
    pub fn u64(self) -> Result<u64, Fault> {
        match self {
            Field::Number(number) => Ok(number),
            Field::Hex(text) if (3..=18).contains(&text.len()) => parse_short(hex_digits(text)?),
            _ => u64::try_from(self.u128()?).map_err(|_| Fault::TooLarge),
        }
    }

    /// As a number of up to 63 bits: what a `BIGINT` column holds.
    pub fn i64(self) -> Result<i64, Fault> {
        i64::try_from(self.u64()?).map_err(|_| Fault::TooLarge)
    }

    /// As a number of up to 256 bits, most significant byte first.
    pub fn wide(self) -> Result<[u8; 32], Fault> {
        let mut wide = [0; 32];
        match self {
            Field::Absent => return Err(Fault::Missing),
            Field::Number(number) => wide[24..].copy_from_slice(&number.to_be_bytes()),
            Field::Hex(text) => return wide_from_digits(hex_digits(text)?),
            Field::Bytes(bytes) => {
                let start = 32usize.checked_sub(bytes.len()).ok_or(Fault::TooLarge)?;
                wide[start..].copy_from_slice(bytes);
            }
        }
        Ok(wide)
    }

    /// As exactly `N` bytes.
    pub fn fixed<const N: usize>(self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes exactly the bytes that `out` has room for.
    pub fn write_to(self, out: &mut [u8]) -> Result<(), Fault> {
        match self {
            Field::Absent | Field::Number(_) => Err(Fault::Missing),
            Field::Bytes(bytes) if bytes.len() == out.len() => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            Field::Bytes(bytes) => Err(Fault::Length { expected: out.len(), got: bytes.len() }),
            Field::Hex(text) => {
                let digits = hex_digits(text)?;
                if digits.len() != 2 * out.len() {
                    return Err(Fault::Length { expected: out.len(), got: digits.len() / 2 });
                }
                hex::decode_to_slice(digits, out).map_err(|_| Fault::NotHex)
            }
        }
    }

    /// Appends all its bytes.
    pub fn append_to(self, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Field::Absent | Field::Number(_) => Err(Fault::Missing),
            Field::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Field::Hex(text) => {
                let digits = hex_digits(text)?;
                if digits.len() % 2 != 0 {
                    return Err(Fault::NotHex);
                }
                let start = out.len();
                out.resize(start + digits.len() / 2, 0);
                hex::decode_to_slice(digits, &mut out[start..]).map_err(|_| Fault::NotHex)
            }
        }
    }

    /// How many bytes it has.
    pub fn byte_len(self) -> Result<usize, Fault> {
        match self {
            Field::Absent | Field::Number(_) => Err(Fault::Missing),
            Field::Bytes(bytes) => Ok(bytes.len()),
            Field::Hex(text) => Ok(hex_digits(text)?.len() / 2),
        }
    }

    /// Whether both hold the same bytes, in whatever form.
    pub fn same_bytes<const N: usize>(self, other: Field<'_>) -> bool {
        match (self, other) {
            (Field::Hex(one), Field::Hex(two)) if one == two => true,
            _ => matches!((self.fixed::<N>(), other.fixed::<N>()), (Ok(one), Ok(two)) if one == two),
        }
    }
}

fn wide_from_digits(digits: &[u8]) -> Result<[u8; 32], Fault> {
    if digits.is_empty() {
        return Err(Fault::NotHex);
    }
    let leading = digits.len().saturating_sub(64);
    if parse_excess(&digits[..leading])? {
        return Err(Fault::TooLarge);
    }
    let digits = &digits[leading..];
    let (high, low) = digits.split_at(digits.len().saturating_sub(32));
    let mut wide = [0; 32];
    wide[..16].copy_from_slice(&parse_digits(high)?.to_be_bytes());
    wide[16..].copy_from_slice(&parse_digits(low)?.to_be_bytes());
    Ok(wide)
}

/// Whether digits beyond the 64th say anything but zero.
fn parse_excess(digits: &[u8]) -> Result<bool, Fault> {
    if digits.iter().any(|digit| DIGITS[usize::from(*digit)] > 0x0f) {
        return Err(Fault::NotHex);
    }
    Ok(digits.iter().any(|digit| *digit != b'0'))
}

fn u128_from_wide(wide: [u8; 32]) -> Result<u128, Fault> {
    let (high, low) = wide.split_at(16);
    if high.iter().any(|byte| *byte != 0) {
        return Err(Fault::TooLarge);
    }
    Ok(u128::from_be_bytes(low.try_into().expect("half of 32 bytes is 16 bytes")))
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hex text, a whole number or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Hex(text))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Field<'de>, E> {
        // Only text with escapes is not borrowed, and hex digits need none.
        Err(E::custom("escaped characters in hex text"))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number))
    }

    fn visit_unit<E: Error>(self) -> Result<Field<'de>, E> {
        Ok(Field::Absent)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hex_quantities_read_back(value: [u8; 32], shift in 0usize..256) {
            let value = U256::from_be_bytes(value) >> shift;
            let text = format!("{value:#x}");
            prop_assert_eq!(Field::Hex(&text).wide(), Ok(value.to_be_bytes()));
            prop_assert_eq!(Field::Hex(&text).u128().ok(), u128::try_from(value).ok());
            prop_assert_eq!(Field::Hex(&text).u64().ok(), u64::try_from(value).ok());
        }

        #[test]
        fn any_text_is_refused_or_read(text in "\\PC{0,80}") {
            let field = Field::Hex(&text);
            let valid = text.len() > 2 && text.starts_with("0x") && text[2..].bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(field.u64() != Err(Fault::NotHex), valid || text.starts_with("0X") && field.u64().is_ok());
        }
    }

    #[test]
    fn limits() {
        assert_eq!(Field::Hex("0x8000000000000000").i64(), Err(Fault::TooLarge));
        assert_eq!(Field::Hex("0x7fffffffffffffff").i64(), Ok(i64::MAX));
        assert_eq!(Field::Hex("0x").u64(), Err(Fault::NotHex));
        assert_eq!(Field::Hex("0x0g").u64(), Err(Fault::NotHex));
        assert_eq!(Field::Hex("12").u64(), Err(Fault::NotHex));
        assert_eq!(Field::Hex("0x0102").fixed::<3>(), Err(Fault::Length { expected: 3, got: 2 }));
        assert_eq!(Field::Hex("0xABcd").fixed::<2>(), Ok([0xab, 0xcd]));
        let long = format!("0x00{}", "f".repeat(64));
        assert_eq!(Field::Hex(&long).wide(), Ok([0xff; 32]));
        assert_eq!(Field::Hex(&format!("0x1{}", "0".repeat(64))).wide(), Err(Fault::TooLarge));
    }
}
