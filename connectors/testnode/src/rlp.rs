//! Recursive length prefix encoding, as much of it as the hash of a header needs (yellow paper, appendix B).

use alloy_primitives::{B256, keccak256};
use serde_json::Value;

/// The header fields up to London in the order they are hashed; `true` marks a number.
const HEADER: [(&str, bool); 16] = [
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
];

/// The hash of a header that has the fields of London (EIP-1559) and none later.
pub(crate) fn header_hash(block: &Value) -> B256 {
    let mut content = Vec::new();
    for (name, is_number) in HEADER {
        let text = block[name].as_str().unwrap_or("0x").trim_start_matches("0x");
        let even = if text.len() % 2 == 1 { format!("0{text}") } else { text.to_owned() };
        let bytes = alloy_primitives::hex::decode(even).expect("the builder writes hexadecimal text");
        let leading = if is_number { bytes.iter().take_while(|byte| **byte == 0).count() } else { 0 };
        push_string(&mut content, &bytes[leading..]);
    }
    let mut list = Vec::new();
    push_prefix(&mut list, 0xc0, content.len());
    list.extend(content);
    keccak256(list)
}

fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    if !matches!(bytes, [0..0x80]) {
        push_prefix(out, 0x80, bytes.len());
    }
    out.extend(bytes);
}

fn push_prefix(out: &mut Vec<u8>, base: u8, len: usize) {
    if let Ok(short @ 0..56) = u8::try_from(len) {
        out.push(base + short);
        return;
    }
    let bytes = len.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    out.push(base + 55 + u8::try_from(significant.len()).expect("a length has at most eight bytes"));
    out.extend(significant);
}
