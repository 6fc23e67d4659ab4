//! Recursive length prefix encoding, as much of it as the hash of a header needs (yellow paper, appendix B).

use alloy_primitives::{B256, keccak256};
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

/// The hash of a block's header.
pub(crate) fn header_hash(block: &Value) -> B256 {
    let mut content = Vec::new();
    for (name, is_number) in HEADER {
        let Some(text) = block[name].as_str() else { continue };
        let digits = text.trim_start_matches("0x");
        let even = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
        let bytes = alloy_primitives::hex::decode(even).expect("a header is hexadecimal text");
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::chain::Chain;

    #[test]
    fn hashes_real_headers() {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
        if !shared.exists() {
            #[expect(clippy::disallowed_methods, reason = "the test must know whether it may be skipped")]
            let in_ci = std::env::var("CI").is_ok();
            assert!(!in_ci, "{} is missing", shared.display());
            return;
        }
        // Before London, and Prague.
        let forks = Chain::folder(&shared.join("data/evm/mainnet-forks"));
        let devnet = Chain::recorded(&shared.join("e2e/recorded/run40/blocks.ndjson.gz"));
        for block in [forks, devnet].iter().flat_map(Chain::blocks) {
            assert_eq!(header_hash(block.body()), block.hash, "block {}", block.number);
        }
    }
}
