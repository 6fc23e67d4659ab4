//! The root of a list, as headers hold it for transactions and receipts (yellow paper, appendix D).

use alloy_primitives::{B256, keccak256};

use crate::rlp::{list, number, string};

/// The root of the trie that has each item under the encoding of its index.
pub(crate) fn root(items: impl IntoIterator<Item = Vec<u8>>) -> B256 {
    let nibbles = |key: Vec<u8>| key.into_iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).collect();
    let mut leaves: Vec<Leaf> = (0..).map(number).map(nibbles).zip(items).collect();
    leaves.sort_unstable();
    match leaves.as_slice() {
        [] => keccak256(string(&[])),
        leaves => keccak256(node(leaves, 0)),
    }
}

/// The rest of the key in nibbles, and the item.
type Leaf = (Vec<u8>, Vec<u8>);

/// The encoding of the node that holds these leaves, whose keys agree up to `depth`.
///
/// No key of a list is the beginning of another, so a branch never holds an item itself.
fn node(leaves: &[Leaf], depth: usize) -> Vec<u8> {
    let (first, item) = &leaves[0];
    if leaves.len() == 1 {
        return list([path(&first[depth..], true), string(item)]);
    }
    let last = &leaves[leaves.len() - 1].0;
    let shared = first[depth..].iter().zip(&last[depth..]).take_while(|(one, other)| one == other).count();
    if shared > 0 {
        let below = node(leaves, depth + shared);
        return list([path(&first[depth..depth + shared], false), reference(below)]);
    }
    let children = (0..16).map(|nibble| {
        let from = leaves.partition_point(|(key, _)| key[depth] < nibble);
        let to = leaves.partition_point(|(key, _)| key[depth] <= nibble);
        if from == to { string(&[]) } else { reference(node(&leaves[from..to], depth + 1)) }
    });
    list(children.chain([string(&[])]))
}

/// Short nodes stand in their parent, others by their hash.
fn reference(node: Vec<u8>) -> Vec<u8> {
    if node.len() < 32 { node } else { string(&keccak256(node)[..]) }
}

/// Nibbles with their parity and whether they end at a leaf.
fn path(nibbles: &[u8], leaf: bool) -> Vec<u8> {
    let flag = if leaf { 2 } else { 0 };
    let (mut bytes, even) = match nibbles.split_first() {
        Some((first, rest)) if nibbles.len() % 2 == 1 => (vec![(flag + 1) << 4 | first], rest),
        _ => (vec![flag << 4], nibbles),
    };
    bytes.extend(even.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
    string(&bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::chain::Chain;
    use crate::{Builder, rlp};

    fn has_no_type(transaction: &Value) -> bool {
        transaction["type"].is_null() || transaction["type"] == "0x0"
    }

    /// Checks hash and roots of the blocks, and returns how many had their roots checked.
    fn check(chain: &Chain) -> usize {
        let mut checked = 0;
        for block in chain.blocks() {
            let body = block.body();
            assert_eq!(rlp::header_hash(body), block.hash, "block {}", block.number);
            let transactions = body["transactions"].as_array().unwrap();
            if transactions.iter().all(has_no_type) {
                checked += 1;
                let found = root(transactions.iter().map(rlp::transaction));
                assert_eq!(json!(found), body["transactionsRoot"], "block {}", block.number);
                let found = root(block.receipts().iter().map(rlp::receipt));
                assert_eq!(json!(found), body["receiptsRoot"], "block {}", block.number);
            }
        }
        checked
    }

    #[test]
    fn real_blocks_have_these_hashes_and_roots() {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
        if !shared.exists() {
            #[expect(clippy::disallowed_methods, reason = "the test must know whether it may be skipped")]
            let in_ci = std::env::var("CI").is_ok();
            assert!(!in_ci, "{} is missing", shared.display());
            return;
        }
        // From Byzantium to Berlin, with up to hundreds of transactions; and Prague.
        assert!(check(&Chain::folder(&shared.join("data/evm/mainnet-forks"))) > 10);
        assert!(check(&Chain::recorded(&shared.join("e2e/recorded/run40/blocks.ndjson.gz"))) > 0);
    }

    #[test]
    fn built_blocks_have_them_too() {
        let mut builder = Builder::new(31_337);
        let blocks = builder.extend(builder.genesis(), 12);
        assert_eq!(check(&builder.into_chain(blocks[11], &[])), 13);
    }
}
