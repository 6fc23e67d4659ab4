//! The contract ABI as its specification writes it: `enc` of values, each type by its own rule, with nothing shared
//! with the decoder. Besides, what a value is as JSON.
//! <https://docs.soliditylang.org/en/latest/abi-spec.html#formal-specification-of-the-encoding>

use alloy_primitives::{I256, U256, hex};
use serde_json::json;

/// A value with its type.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Address([u8; 20]),
    Bool(bool),
    Uint(usize, U256),
    Int(usize, I256),
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    Text(String),
    /// Its elements, and one that shows their type; whether the number of elements is part of the type.
    List(Vec<Value>, Box<Value>, bool),
    /// Parts, with or without names.
    Tuple(Vec<(String, Value)>),
}

impl Value {
    /// As a contract writes the type.
    pub(crate) fn kind(&self) -> String {
        match self {
            Value::Address(_) => "address".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Uint(bits, _) => format!("uint{bits}"),
            Value::Int(bits, _) => format!("int{bits}"),
            Value::Fixed(bytes) => format!("bytes{}", bytes.len()),
            Value::Bytes(_) => "bytes".to_owned(),
            Value::Text(_) => "string".to_owned(),
            Value::List(items, _, true) => format!("{}[{}]", items[0].kind(), items.len()),
            Value::List(_, element, false) => format!("{}[]", element.kind()),
            Value::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(|(name, part)| format!("{} {name}", part.kind())).collect();
                format!("tuple({})", parts.join(", "))
            }
        }
    }

    pub(crate) fn is_dynamic(&self) -> bool {
        match self {
            Value::Bytes(_) | Value::Text(_) | Value::List(_, _, false) => true,
            Value::List(items, _, true) => items.iter().any(Value::is_dynamic),
            Value::Tuple(parts) => parts.iter().any(|(_, part)| part.is_dynamic()),
            _ => false,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Value::Address(bytes) => [&[0; 12][..], bytes].concat(),
            Value::Bool(value) => U256::from(*value).to_be_bytes_vec(),
            Value::Uint(_, value) => value.to_be_bytes_vec(),
            Value::Int(_, value) => value.to_be_bytes::<32>().to_vec(),
            Value::Fixed(bytes) => padded(bytes),
            Value::Bytes(bytes) => [length(bytes.len()), padded(bytes)].concat(),
            Value::Text(text) => [length(text.len()), padded(text.as_bytes())].concat(),
            Value::List(items, _, true) => sequence(items.iter()),
            Value::List(items, _, false) => [length(items.len()), sequence(items.iter())].concat(),
            Value::Tuple(parts) => sequence(parts.iter().map(|(_, part)| part)),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let hexed = |bytes: &[u8]| json!(hex::encode_prefixed(bytes));
        match self {
            Value::Address(bytes) => hexed(bytes),
            Value::Bool(value) => json!(value),
            Value::Uint(bits, value) if *bits < 64 => json!(value.to::<u64>()),
            Value::Uint(_, value) => json!(value.to_string()),
            Value::Int(bits, value) if *bits <= 64 => json!(value.as_i64()),
            Value::Int(_, value) => json!(value.to_string()),
            Value::Fixed(bytes) | Value::Bytes(bytes) => hexed(bytes),
            Value::Text(text) => json!(text),
            Value::List(items, _, _) => items.iter().map(Value::json).collect(),
            Value::Tuple(parts) if parts.iter().all(|(name, _)| !name.is_empty()) => {
                parts.iter().map(|(name, part)| (name.clone(), part.json())).collect()
            }
            Value::Tuple(parts) => parts.iter().map(|(_, part)| part.json()).collect(),
        }
    }
}

/// Heads, then tails: the encoding of values side by side.
pub(crate) fn sequence<'v>(values: impl Iterator<Item = &'v Value> + Clone) -> Vec<u8> {
    let head = |value: &Value| if value.is_dynamic() { 32 } else { value.encode().len() };
    let heads: usize = values.clone().map(head).sum();
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for value in values {
        if value.is_dynamic() {
            front.extend(length(heads + back.len()));
            back.extend(value.encode());
        } else {
            front.extend(value.encode());
        }
    }
    [front, back].concat()
}

fn length(len: usize) -> Vec<u8> {
    U256::from(len).to_be_bytes_vec()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(32), 0);
    padded
}
