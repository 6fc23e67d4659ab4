//! 256-bit integers and other chain types as Arrow columns.
//!
//! | SQL | Arrow | extension name | bytes |
//! |---|---|---|---|
//! | `UINT256` | `FixedSizeBinary(32)` | `highwater.uint256` | big-endian |
//! | `INT256` | `FixedSizeBinary(32)` | `highwater.int256` | big-endian, value + 2^255 |
//! | `ADDRESS` | `FixedSizeBinary(20)` | none | |
//! | `HASH` | `FixedSizeBinary(32)` | none | |
//!
//! `Decimal256` ends at 76 digits and 2^256 - 1 has 78, hence bytes. Both encodings compare and sort
//! as bytes in numeric order, so that keys, min, max and statistics need no interpretation. INT256
//! holds the value plus 2^255 (its sign bit turned) for that reason; [`int256_to_twos`] gives the
//! two's complement that files and other programs expect.

use std::collections::HashMap;

use alloy_primitives::{I256, U256};
use arrow::array::{Array, FixedSizeBinaryArray, FixedSizeBinaryBuilder};
use arrow::datatypes::{DataType, Field, TimeUnit};

/// Metadata key of Arrow extension types.
pub const EXTENSION_KEY: &str = "ARROW:extension:name";
/// Extension name of unsigned 256-bit integers.
pub const UINT256: &str = "highwater.uint256";
/// Extension name of signed 256-bit integers.
pub const INT256: &str = "highwater.int256";

/// Extension name of signed 256-bit integers in files: two's complement, unlike in memory.
pub const INT256_TWOS: &str = "highwater.int256.twos";

/// The Arrow storage of both 256-bit types.
pub const WIDE_TYPE: DataType = DataType::FixedSizeBinary(32);
/// The Arrow type of an address.
pub const ADDRESS_TYPE: DataType = DataType::FixedSizeBinary(20);
/// The Arrow type of a hash.
pub const HASH_TYPE: DataType = DataType::FixedSizeBinary(32);

/// The Arrow type of block times: milliseconds, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// A `UINT256` column.
pub fn uint256_field(name: &str, nullable: bool) -> Field {
    Field::new(name, WIDE_TYPE, nullable).with_metadata(extension(UINT256))
}

/// An `INT256` column.
pub fn int256_field(name: &str, nullable: bool) -> Field {
    Field::new(name, WIDE_TYPE, nullable).with_metadata(extension(INT256))
}

/// A column of a type that SQL names for chain data, in any case: `ADDRESS`, `HASH` or `BYTES32`, `UINT256`, `INT256`.
pub fn named_type(name: &str) -> Option<Field> {
    Some(match name.to_ascii_uppercase().as_str() {
        "ADDRESS" => Field::new("", ADDRESS_TYPE, true),
        "HASH" | "BYTES32" => Field::new("", HASH_TYPE, true),
        "UINT256" => uint256_field("", true),
        "INT256" => int256_field("", true),
        _ => return None,
    })
}

/// The metadata of an extension type.
pub fn extension(name: &str) -> HashMap<String, String> {
    HashMap::from([(EXTENSION_KEY.to_owned(), name.to_owned())])
}

/// Which 256-bit integer a column holds, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wide {
    /// `UINT256`
    Unsigned,
    /// `INT256`
    Signed,
}

/// Tells whether a column is a 256-bit integer.
pub fn wide_kind(field: &Field) -> Option<Wide> {
    if field.data_type() != &WIDE_TYPE {
        return None;
    }
    match field.metadata().get(EXTENSION_KEY).map(String::as_str) {
        Some(UINT256) => Some(Wide::Unsigned),
        Some(INT256) => Some(Wide::Signed),
        _ => None,
    }
}

/// The stored bytes of an unsigned value.
pub fn uint256_to_bytes(value: U256) -> [u8; 32] {
    value.to_be_bytes()
}

/// The unsigned value of stored bytes.
///
/// # Panics
/// If there are not 32 bytes; columns of [`WIDE_TYPE`] always have.
pub fn uint256_from_bytes(bytes: &[u8]) -> U256 {
    U256::from_be_slice(bytes)
}

/// The stored bytes of a signed value.
pub fn int256_to_bytes(value: I256) -> [u8; 32] {
    let mut bytes: [u8; 32] = value.to_be_bytes();
    bytes[0] ^= 0x80;
    bytes
}

/// The signed value of stored bytes.
///
/// # Panics
/// If there are not 32 bytes; columns of [`WIDE_TYPE`] always have.
pub fn int256_from_bytes(bytes: &[u8]) -> I256 {
    let mut twos: [u8; 32] = bytes.try_into().expect("a 256-bit column has 32 bytes a value");
    twos[0] ^= 0x80;
    I256::from_be_bytes(twos)
}

/// Stored bytes of an `INT256` as big-endian two's complement.
pub fn int256_to_twos(bytes: &[u8]) -> [u8; 32] {
    let mut twos: [u8; 32] = bytes.try_into().expect("a 256-bit column has 32 bytes a value");
    twos[0] ^= 0x80;
    twos
}

/// A column of two's complement bytes, as files hold them, as the bytes of `INT256`.
///
/// # Panics
/// If the values do not have 32 bytes.
pub fn int256_array_from_twos(array: &FixedSizeBinaryArray) -> FixedSizeBinaryArray {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(array.len(), 32);
    for value in array {
        match value {
            // Turning the sign bit is its own inverse.
            Some(value) => builder.append_value(int256_to_twos(value)).expect("32 bytes fit 32 bytes"),
            None => builder.append_null(),
        }
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_bytes_sort_as_numbers() {
        let numbers = [I256::MIN, I256::MINUS_ONE, I256::ZERO, I256::ONE, I256::MAX];
        let bytes: Vec<_> = numbers.iter().map(|number| int256_to_bytes(*number)).collect();
        assert!(bytes.is_sorted());
        for (number, bytes) in numbers.iter().zip(&bytes) {
            assert_eq!(int256_from_bytes(bytes), *number);
            assert_eq!(I256::from_be_bytes(int256_to_twos(bytes)), *number);
        }
    }
}
