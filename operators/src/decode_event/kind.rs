//! Types of the contract ABI: <https://docs.soliditylang.org/en/latest/abi-spec.html#types>.

use std::fmt;

use arrow::datatypes::{DataType, Field};
use highwater_engine::model::wide::{ADDRESS_TYPE, HASH_TYPE, int256_field, uint256_field};

/// Bytes of a word: what one value takes in topics and data.
pub const WORD: usize = 32;

/// A type of the contract ABI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbiType {
    /// `address`
    Address,
    /// `bool`
    Bool,
    /// `uintN`: the number of bits, a multiple of 8 up to 256.
    Uint(usize),
    /// `intN`: the number of bits, a multiple of 8 up to 256.
    Int(usize),
    /// `bytesN`: 1 to 32 bytes.
    FixedBytes(usize),
    /// `function`: an address and a selector.
    Function,
    /// `bytes`
    Bytes,
    /// `string`
    Text,
    /// `T[]`
    Array(Box<AbiType>),
    /// `T[n]`, not of length 0.
    FixedArray(Box<AbiType>, usize),
    /// `(T, …)`, not empty.
    Tuple(Vec<Component>),
}

/// A part of a tuple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its type.
    pub kind: AbiType,
}

impl AbiType {
    /// Whether a value is not where its type's turn is, but where an offset there says.
    pub fn is_dynamic(&self) -> bool {
        match self {
            AbiType::Bytes | AbiType::Text | AbiType::Array(_) => true,
            AbiType::FixedArray(element, _) => element.is_dynamic(),
            AbiType::Tuple(components) => components.iter().any(|component| component.kind.is_dynamic()),
            _ => false,
        }
    }

    /// The bytes that a value takes where its type's turn is: the value itself, or an offset.
    pub fn head_size(&self) -> usize {
        if self.is_dynamic() {
            return WORD;
        }
        match self {
            AbiType::FixedArray(element, len) => element.head_size().saturating_mul(*len),
            AbiType::Tuple(components) => {
                components.iter().fold(0, |size, component| size.saturating_add(component.kind.head_size()))
            }
            _ => WORD,
        }
    }

    /// Whether a value is one word. An indexed parameter of another type is only known by its hash.
    pub fn is_word(&self) -> bool {
        !matches!(
            self,
            AbiType::Bytes | AbiType::Text | AbiType::Array(_) | AbiType::FixedArray(..) | AbiType::Tuple(_)
        )
    }

    /// Whether whole numbers of the type fit 63 bits, so that they are `BIGINT`.
    pub(super) fn is_small(&self) -> bool {
        match self {
            AbiType::Uint(bits) => *bits < 64,
            AbiType::Int(bits) => *bits <= 64,
            _ => false,
        }
    }

    /// The column of a value: integers that fit 63 bits are `BIGINT`, others `UINT256` and `INT256`; arrays and tuples
    /// are JSON text.
    pub fn field(&self, name: &str) -> Field {
        let data_type = match self {
            AbiType::Address => ADDRESS_TYPE,
            AbiType::Bool => DataType::Boolean,
            AbiType::Uint(_) | AbiType::Int(_) if self.is_small() => DataType::Int64,
            AbiType::Uint(_) => return uint256_field(name, false),
            AbiType::Int(_) => return int256_field(name, false),
            AbiType::FixedBytes(width) => DataType::FixedSizeBinary(i32::try_from(*width).unwrap_or(32)),
            AbiType::Function => DataType::FixedSizeBinary(24),
            AbiType::Bytes => DataType::Binary,
            AbiType::Text | AbiType::Array(_) | AbiType::FixedArray(..) | AbiType::Tuple(_) => DataType::Utf8,
        };
        Field::new(name, data_type, false)
    }
}

impl fmt::Display for AbiType {
    /// As it stands in the text whose hash is the topic.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AbiType::Address => f.write_str("address"),
            AbiType::Bool => f.write_str("bool"),
            AbiType::Uint(bits) => write!(f, "uint{bits}"),
            AbiType::Int(bits) => write!(f, "int{bits}"),
            AbiType::FixedBytes(width) => write!(f, "bytes{width}"),
            AbiType::Function => f.write_str("function"),
            AbiType::Bytes => f.write_str("bytes"),
            AbiType::Text => f.write_str("string"),
            AbiType::Array(element) => write!(f, "{element}[]"),
            AbiType::FixedArray(element, len) => write!(f, "{element}[{len}]"),
            AbiType::Tuple(components) => {
                for (index, component) in components.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "(" } else { "," }, component.kind)?;
                }
                f.write_str(")")
            }
        }
    }
}

/// A parameter of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its type.
    pub kind: AbiType,
    /// Whether it is in a topic.
    pub indexed: bool,
}

impl Parameter {
    /// Whether only the hash of its value is known.
    pub fn is_hashed(&self) -> bool {
        self.indexed && !self.kind.is_word()
    }

    /// Its column under this name.
    pub fn field(&self, name: &str) -> Field {
        if self.is_hashed() { Field::new(name, HASH_TYPE, false) } else { self.kind.field(name) }
    }
}
