//! Hex text to bytes, and the checksum of addresses (EIP-55): shared by several functions and by
//! the planner, which turns hex literals into bytes.

use alloy_primitives::Address;
use datafusion_common::{Result, exec_datafusion_err, exec_err};

/// The value of a hex digit.
fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Hex digits without their optional `0x`.
pub(crate) fn strip_prefix(text: &str) -> &str {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text)
}

/// Appends the bytes of hex text, with or without `0x`.
///
/// # Errors
/// If the digits are odd in number, or not hex.
pub(crate) fn decode_hex(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let digits = strip_prefix(text).as_bytes();
    if !digits.len().is_multiple_of(2) {
        return exec_err!("'{text}' has an odd number of hex digits");
    }
    out.reserve(digits.len() / 2);
    for pair in digits.chunks_exact(2) {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            _ => return exec_err!("'{text}' is not hex: digits are 0 to 9 and a to f"),
        }
    }
    Ok(())
}

/// The `N` bytes of hex text.
///
/// # Errors
/// If the text is not hex of that length.
pub(crate) fn decode_fixed<const N: usize>(text: &str) -> Result<[u8; N]> {
    let digits = strip_prefix(text).as_bytes();
    if digits.len() != 2 * N {
        return exec_err!("'{text}' has {} hex digits, {} are needed for {N} bytes", digits.len(), 2 * N);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return exec_err!("'{text}' is not hex: digits are 0 to 9 and a to f"),
        }
    }
    Ok(bytes)
}

/// The bytes of an address in hex; with letters of both cases, their checksum must hold.
///
/// # Errors
/// If the length or a digit is wrong, or the checksum.
pub(crate) fn decode_address(text: &str) -> Result<[u8; 20]> {
    let bytes =
        decode_fixed::<20>(text).map_err(|error| exec_datafusion_err!("not an address: {}", error.message()))?;
    let digits = strip_prefix(text);
    let mixed = digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
    if mixed {
        let mut buffer = [0; 42];
        let right = checksum(&bytes, &mut buffer);
        if strip_prefix(right) != digits {
            return exec_err!(
                "'{text}' fails the checksum of addresses (EIP-55): a digit is wrong, or write it in lower case"
            );
        }
    }
    Ok(bytes)
}

/// The checksummed text of an address, in the given buffer.
pub(crate) fn checksum<'a>(bytes: &[u8; 20], buffer: &'a mut [u8; 42]) -> &'a str {
    Address::from(*bytes).to_checksum_raw(buffer, None)
}
