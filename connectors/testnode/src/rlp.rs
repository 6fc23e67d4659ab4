//! Recursive length prefix encoding (yellow paper, appendix B) of headers, transactions and receipts in JSON.

use alloy_primitives::{B256, hex, keccak256};
use serde_json::Value;

/// The header fields in the order they are hashed; `true` marks a number. Those after `nonce` came with later
/// forks (EIP-1559, 4895, 4844, 4788, 7685), and a header has them or not.
const HEADER: [(&str, bool); 21] = [
    ("parentHash", false),
    ("sha3Uncles", false),
    ("miner", false),
    ("stateRoot", false),
    ("transactionsRoot", false),
    ("receiptsRoot", false),
    ("logsBloom", false),
    ("difficulty", true),
    ("number", true),
    ("gasLimit", true),
    ("gasUsed", true),
    ("timestamp", true),
    ("extraData", false),
    ("mixHash", false),
    ("nonce", false),
    ("baseFeePerGas", true),
    ("withdrawalsRoot", false),
    ("blobGasUsed", true),
    ("excessBlobGas", true),
    ("parentBeaconBlockRoot", false),
    ("requestsHash", false),
];

/// The fields of a transaction without a type.
const TRANSACTION: [(&str, bool); 9] = [
    ("nonce", true),
    ("gasPrice", true),
    ("gas", true),
    ("to", false),
    ("value", true),
    ("input", false),
    ("v", true),
    ("r", true),
    ("s", true),
];

/// The hash of a block's header.
pub(crate) fn header_hash(block: &Value) -> B256 {
    let fields = HEADER.iter().filter(|(name, _)| !block[*name].is_null());
    keccak256(list(fields.map(|(name, is_number)| field(&block[*name], *is_number))))
}

/// A transaction without a type, as it is hashed and put in the trie.
pub(crate) fn transaction(transaction: &Value) -> Vec<u8> {
    list(TRANSACTION.iter().map(|(name, is_number)| field(&transaction[*name], *is_number)))
}

/// The receipt of a transaction without a type, as it is put in the trie.
pub(crate) fn receipt(receipt: &Value) -> Vec<u8> {
    let logs = receipt["logs"].as_array().into_iter().flatten().map(|log| {
        let topics = log["topics"].as_array().into_iter().flatten().map(|topic| field(topic, false));
        list([field(&log["address"], false), list(topics), field(&log["data"], false)])
    });
    list([
        field(&receipt["status"], true),
        field(&receipt["cumulativeGasUsed"], true),
        field(&receipt["logsBloom"], false),
        list(logs),
    ])
}

/// Hexadecimal text; what is absent is the empty string.
fn field(value: &Value, is_number: bool) -> Vec<u8> {
    let digits = value.as_str().unwrap_or("0x").trim_start_matches("0x");
    let even = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
    let bytes = hex::decode(even).expect("the fields of a block are hexadecimal text");
    let leading = if is_number { bytes.iter().take_while(|byte| **byte == 0).count() } else { 0 };
    string(&bytes[leading..])
}

/// A number.
pub(crate) fn number(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    string(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..])
}

/// A string of bytes.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    if matches!(bytes, [0..0x80]) {
        return bytes.to_vec();
    }
    [prefix(0x80, bytes.len()), bytes.to_vec()].concat()
}

/// A list of encoded items.
pub(crate) fn list(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let content: Vec<u8> = items.into_iter().flatten().collect();
    [prefix(0xc0, content.len()), content].concat()
}

fn prefix(base: u8, len: usize) -> Vec<u8> {
    if let Ok(short @ 0..56) = u8::try_from(len) {
        return vec![base + short];
    }
    let bytes = len.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let count = u8::try_from(significant.len()).expect("a length has at most eight bytes");
    [&[base + 55 + count], significant].concat()
}
