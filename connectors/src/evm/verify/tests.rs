//! Real blocks of every fork are proven, and any change of a value that is hashed is noticed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use super::*;
use crate::evm::json::reader;

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    #[expect(clippy::disallowed_methods, reason = "the test must know whether it may be skipped")]
    let in_ci = std::env::var("CI").is_ok();
    assert!(!in_ci, "{} is missing", path.display());
    None
}

fn lines(path: &Path) -> impl Iterator<Item = String> {
    BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines().map(Result::unwrap)
}

fn verify(block: &str, receipts: Option<&str>) -> Result<Verified, Violation> {
    let block: Block<'_> = reader::from_str(block).unwrap();
    let receipts: Option<Vec<Receipt<'_>>> = receipts.map(|text| reader::from_str(text).unwrap());
    Verifier::default().check(&block, receipts.as_deref(), Level::Roots)
}

/// The blocks of a folder with their receipts.
fn folder(name: &str) -> Vec<(String, String)> {
    let Some(folder) = shared(&format!("data/evm/{name}")) else { return Vec::new() };
    lines(&folder.join("blocks.jsonl.gz")).zip(lines(&folder.join("receipts.jsonl.gz"))).collect()
}

/// The blocks of a recorded run with their receipts.
fn events(name: &str) -> Vec<(Value, Value)> {
    let Some(path) = shared(&format!("e2e/recorded/{name}")) else { return Vec::new() };
    let events = lines(&path).map(|line| serde_json::from_str::<Value>(&line).unwrap());
    events.filter(|event| event["block"].is_object()).map(|mut e| (e["block"].take(), e["receipts"].take())).collect()
}

#[test]
fn real_blocks_of_many_forks_are_wholly_verified() {
    for name in ["mainnet-17686110-17686121", "mainnet-forks"] {
        for (block, receipts) in folder(name) {
            assert_eq!(verify(&block, Some(&receipts)), Ok(Verified::Wholly), "{name}");
        }
    }
}

#[test]
fn wrong_gas_of_a_node_is_found() {
    let results: Vec<_> = folder("mainnet-mev-2021").iter().map(|(b, r)| verify(b, Some(r))).collect();
    let Some((last, wrong)) = results.split_last() else { return };
    assert_eq!(*last, Ok(Verified::Wholly));
    assert_eq!(wrong.len(), 3);
    for result in wrong {
        assert!(matches!(result, Err(Violation { rule: RECEIPTS_ROOT | GAS_USED | "number-range", .. })), "{result:?}");
    }
}

#[test]
fn recorded_runs_and_all_transaction_types_are_wholly_verified() {
    let mut kinds = std::collections::BTreeSet::new();
    for name in ["txtypes.ndjson.gz", "run40/blocks.ndjson.gz", "run200/blocks.ndjson.gz"] {
        for (block, receipts) in events(name) {
            for tx in block["transactions"].as_array().unwrap() {
                kinds.insert(tx["type"].as_str().unwrap().to_owned());
            }
            let result = verify(&block.to_string(), receipts.is_array().then(|| receipts.to_string()).as_deref());
            if block["transactions"].as_array().unwrap().iter().any(|tx| tx["blobs"].is_array()) {
                // Anvil 1.x hashes the blobs themselves into the root, which is not what EIP-4844 says.
                assert_eq!(result.unwrap_err().rule, TRANSACTIONS_ROOT);
                continue;
            }
            assert_eq!(result, Ok(Verified::Wholly), "{name} {}", block["number"]);
        }
    }
    if !kinds.is_empty() {
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["0x0", "0x1", "0x2", "0x3", "0x4"]);
    }
}

#[test]
fn both_sides_of_an_old_fork() {
    let Some(folder) = shared("data/evm/reorg-dao-1920000") else { return };
    let read = |name: &str| {
        let value: Value = serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap();
        value.get("result").unwrap_or(&value).to_string()
    };
    assert_eq!(verify(&read("eth-1920000.json"), None), Ok(Verified::Wholly));
    let Ok(Verified::Partly(unchecked)) = verify(&read("etc-1920000.json"), None) else { panic!("Parity's old shape") };
    assert_eq!(unchecked[0].reason, "mixHash is not given");
}

/// The same value with another last digit, or another number, or one item less.
fn altered(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) if text.len() > 2 => {
            let (head, last) = text.split_at(text.len() - 1);
            Some(json!(format!("{head}{}", if last == "1" { "2" } else { "1" })))
        }
        Value::String(_) => Some(json!("0x01")),
        Value::Array(items) if !items.is_empty() => Some(json!(items[1..])),
        _ => None,
    }
}

fn alter(value: &mut Value, pointer: &str) -> bool {
    let value = value.pointer_mut(pointer).unwrap();
    let altered = altered(value);
    let changes = altered.is_some();
    *value = altered.unwrap_or_default();
    changes
}

/// Alters each named member of the object at `place`; every change must be noticed.
fn all_are_noticed(block: &Value, receipts: &Value, in_block: bool, place: &str, keys: &[&str]) {
    for key in keys {
        let (mut block, mut receipts) = (block.clone(), receipts.clone());
        let changed = alter(if in_block { &mut block } else { &mut receipts }, &format!("{place}/{key}"));
        let result = verify(&block.to_string(), Some(&receipts.to_string()));
        assert!(changed && result.is_err(), "{place}/{key}: {result:?}");
    }
}

/// The same for a transaction whose own hash is right, though the root of its block is not.
fn all_change_the_hash(block: &Value, keys: &[&str]) {
    assert_eq!(verify(&block.to_string(), None).unwrap_err().rule, TRANSACTIONS_ROOT);
    for key in keys {
        let mut block = block.clone();
        assert!(alter(&mut block, &format!("/transactions/0/{key}")));
        assert_eq!(verify(&block.to_string(), None).unwrap_err().rule, TRANSACTION_HASH, "{key}");
    }
}

const HEADER: [&str; 19] = [
    "hash",
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "baseFeePerGas",
    "withdrawalsRoot",
    "difficulty",
    "transactions",
];

#[test]
fn every_altered_value_is_noticed() {
    // The smallest, for it is verified again and again.
    let Some((block, receipts)) = folder("mainnet-17686110-17686121").into_iter().nth(2) else { return };
    let (block, receipts): (Value, Value) =
        (serde_json::from_str(&block).unwrap(), serde_json::from_str(&receipts).unwrap());
    all_are_noticed(&block, &receipts, true, "", &HEADER);
    let transactions = block["transactions"].as_array().unwrap();
    let old = transactions.iter().position(|tx| tx["type"] == "0x0").unwrap();
    let new = transactions.iter().position(|tx| tx["type"] == "0x2").unwrap();
    let keys = ["hash", "nonce", "gas", "to", "value", "input", "type", "transactionIndex", "r", "s"];
    all_are_noticed(&block, &receipts, true, &format!("/transactions/{old}"), &keys);
    all_are_noticed(&block, &receipts, true, &format!("/transactions/{old}"), &["gasPrice", "v"]);
    all_are_noticed(&block, &receipts, true, &format!("/transactions/{new}"), &keys);
    let keys = ["chainId", "maxFeePerGas", "maxPriorityFeePerGas", "yParity"];
    all_are_noticed(&block, &receipts, true, &format!("/transactions/{new}"), &keys);
    let logged = receipts.as_array().unwrap().iter().position(|r| r["logs"].as_array().unwrap().len() > 1).unwrap();
    let keys = ["status", "cumulativeGasUsed", "gasUsed", "logs", "transactionIndex"];
    all_are_noticed(&block, &receipts, false, &format!("/{logged}"), &keys);
    all_are_noticed(&block, &receipts, false, &format!("/{logged}/logs/1"), &["address", "data", "topics", "logIndex"]);
    all_are_noticed(&block, &receipts, false, &format!("/{logged}/logs/1/topics"), &["0"]);
}

#[test]
fn every_altered_value_of_new_transactions_is_noticed() {
    for (block, receipts) in events("txtypes.ndjson.gz") {
        let Some(tx) = block["transactions"].get(0) else { continue };
        let header = ["blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"];
        all_are_noticed(&block, &receipts, true, "", &header);
        let (place, kind) = ("/transactions/0", tx["type"].as_str().unwrap());
        match kind {
            "0x3" => {
                let keys = ["blobVersionedHashes", "blobVersionedHashes/0", "maxFeePerBlobGas", "yParity"];
                all_change_the_hash(&block, &keys);
            }
            "0x4" => {
                let keys = ["authorizationList", "authorizationList/0/address", "authorizationList/0/nonce"];
                all_are_noticed(&block, &receipts, true, place, &keys);
                let keys = ["chainId", "yParity", "r", "s"].map(|key| format!("authorizationList/0/{key}"));
                all_are_noticed(&block, &receipts, true, place, &keys.each_ref().map(String::as_str));
            }
            _ => {}
        }
    }
}

#[test]
fn dropped_and_swapped_items_are_noticed() {
    let Some((block, receipts)) = folder("mainnet-forks").pop() else { return };
    let (block, receipts): (Value, Value) =
        (serde_json::from_str(&block).unwrap(), serde_json::from_str(&receipts).unwrap());
    let mut fewer = (block.clone(), receipts.clone());
    fewer.0["transactions"].as_array_mut().unwrap().pop();
    fewer.1.as_array_mut().unwrap().pop();
    let rule =
        |(block, receipts): &(Value, Value)| verify(&block.to_string(), Some(&receipts.to_string())).unwrap_err().rule;
    assert_eq!(rule(&fewer), TRANSACTIONS_ROOT);
    fewer.0 = block.clone();
    assert_eq!(rule(&fewer), RECEIPTS_ROOT);
    let mut turned = (block, receipts);
    turned.0["transactions"].as_array_mut().unwrap().reverse();
    assert_eq!(
        verify(&turned.0.to_string(), Some(&turned.1.to_string())),
        Ok(Verified::Wholly),
        "indices give the order"
    );
    turned.0["transactions"][0]["transactionIndex"] = json!("0x0");
    assert_eq!(rule(&turned), INDEX);
}

#[test]
fn what_is_not_known_is_said_and_not_judged() {
    let Some((block, receipts)) = folder("mainnet-17686110-17686121").into_iter().next() else { return };
    let value: Value = serde_json::from_str(&block).unwrap();
    let partly = |block: &Value, receipts: &str| match verify(&block.to_string(), Some(receipts)) {
        Ok(Verified::Partly(unchecked)) => unchecked,
        other => panic!("{other:?}"),
    };
    let mut of_a_later_fork = value.clone();
    of_a_later_fork["inclusionListHash"] = value["stateRoot"].clone();
    assert_eq!(verify(&of_a_later_fork.to_string(), Some(&receipts)), Ok(Verified::Wholly), "it was not hashed");
    of_a_later_fork["hash"] = value["stateRoot"].clone();
    let [unchecked] = &partly(&of_a_later_fork, &receipts)[..] else { panic!("only the header") };
    assert_eq!(
        (unchecked.rule, &*unchecked.reason),
        (HEADER_HASH, "the block has the unknown field inclusionListHash")
    );
    let mut strange = value;
    strange["transactions"][3]["type"] = json!("0x55");
    let unchecked = partly(&strange, &receipts);
    assert_eq!(unchecked.iter().map(|item| item.rule).collect::<Vec<_>>(), [TRANSACTIONS_ROOT, RECEIPTS_ROOT]);
    assert_eq!(unchecked[0].reason, "a transaction is of the unknown type 0x55");
}

#[test]
fn levels_below_do_not_need_what_roots_need() {
    let Some((block, receipts)) = folder("mainnet-17686110-17686121").into_iter().next() else { return };
    let block: Block<'_> = reader::from_str(&block).unwrap();
    let block = Block { text: "", ..block };
    let receipts: Vec<Receipt<'_>> = reader::from_str(&receipts).unwrap();
    let mut verifier = Verifier::default();
    for level in [Level::Off, Level::Bloom] {
        assert_eq!(verifier.check(&block, Some(&receipts), level), Ok(Verified::Wholly));
    }
    assert!(matches!(verifier.check(&block, Some(&receipts), Level::Roots), Ok(Verified::Partly(_))));
}

#[test]
fn withdrawals_are_written_as_alloy_writes_them() {
    let text = r#"{"index":"0x0","validatorIndex":"0x1f4","address":"0x00000000000000000000000000000000000000fe","amount":"0xff00ff00"}"#;
    let theirs: alloy_rpc_types_eth::Withdrawal = serde_json::from_str(text).unwrap();
    let mut rlp = Rlp::default();
    seal::encode_withdrawal(&mut rlp, &reader::from_str(text).unwrap()).unwrap();
    assert_eq!(rlp.out, alloy_rlp::encode(theirs));
}
