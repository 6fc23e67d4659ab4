//! Deposits of the OP stack: known answers, and roots of a trie that is built here by hand.
//!
//! Layouts: <https://specs.optimism.io/protocol/deposits.html>. The two transactions are the first ones of block
//! 0x798ad0b of OP Mainnet and of block 0x100000 of MegaETH.

use alloy_primitives::{hex, keccak256};
use serde_json::{Value, json};

use super::*;
use crate::evm::json::reader;

const ATTRIBUTES: &str = "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001";
const L1_BLOCK: &str = "0x4200000000000000000000000000000000000015";
const SOURCES: [&str; 2] = [
    "0x04e9a69416471ead93b02f0c279ab11ca0b635db5c1726a56faf22623bafde52",
    "0x79ab34de993de378f15eafd864cab321ca382dc65b7aa82d0cc10618e68041e6",
];
const GAS: [&str; 2] = ["0xf4240", "0x5f5e100"];
const INPUTS: [&str; 2] = [
    "0x440a5e200000146b000f79c50000000000000003000000006725333f000000000141e287000000000000000000000000000000000000000000000000000000012439ee7e0000000000000000000000000000000000000000000000000000000063f363e973e96e7145ff001c81b9562cba7b6104eeb12a2bc4ab9f07c27d45cd81a986620000000000000000000000006887246668a3b87f54deb3b94ba47a6f63f32985",
    "0x098999be00000558000c5fc50000000000000053000000006922225700000000016c074600000000000000000000000000000000000000000000000000000000041577640000000000000000000000000000000000000000000000000000000000000001f7c63d3b8cb8f194b5ac53452faf9f8c0d14f790e43e85a12558906bbe6a5adf000000000000000000000000b98c6b1a805b96707a43e1f1acfa163b68098fa6000000000000000000000000",
];
const HASHES: [&str; 2] = [
    "0xbc9329afac05556497441e2b3ee4c5d4da7ca0b2a4c212c212d0739e94a24df9",
    "0x243d39c7f6cd74a9a081a6fe4bdfce37ac6136b9454691aeeb9ed77998450cbc",
];
const NONCES: [&str; 2] = ["0x152ea95", "0xfffff"];

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// A number without zeros in front.
fn number(text: &str) -> Vec<u8> {
    let digits = text.trim_start_matches("0x");
    let digits = if digits.len().is_multiple_of(2) { digits.to_owned() } else { format!("0{digits}") };
    hex::decode(digits).unwrap().into_iter().skip_while(|byte| *byte == 0).collect()
}

fn header(short: u8, length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(length) if length < 56 => vec![short + length],
        Ok(length) => vec![short + 56, length],
        Err(_) => [&[short + 57][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [byte] if *byte < 0x80 => vec![*byte],
        _ => [header(0x80, bytes.len()), bytes.to_vec()].concat(),
    }
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let items = items.concat();
    [header(0xc0, items.len()), items].concat()
}

/// The root of two values under the keys `rlp(0) = 80` and `rlp(1) = 01`, which part at the first half-byte:
/// a branch with two leaves, whose last half-bytes 0 and 1 are an odd rest.
fn root_of_two(values: [&[u8]; 2]) -> String {
    let leaf = |path: u8, value: &[u8]| string(&keccak256(list(&[string(&[path]), string(value)])).0);
    let mut branch = vec![string(&[]); 17];
    branch[8] = leaf(0x30, values[0]);
    branch[0] = leaf(0x31, values[1]);
    keccak256(list(&branch)).to_string()
}

fn deposit(index: usize) -> Vec<u8> {
    let nothing = string(&[]);
    let fields = [
        string(&bytes(SOURCES[index])),
        string(&bytes(ATTRIBUTES)),
        string(&bytes(L1_BLOCK)),
        nothing.clone(),
        nothing.clone(),
        string(&number(GAS[index])),
        nothing,
        string(&bytes(INPUTS[index])),
    ];
    [vec![0x7e], list(&fields)].concat()
}

/// A receipt without logs; with the nonce and its version since Canyon.
fn receipt(index: usize, canyon: bool) -> Vec<u8> {
    let gas = if index == 0 { "0xb741" } else { "0x16e82" };
    let mut fields = vec![string(&[1]), string(&number(gas)), string(&[0; 256]), list(&[])];
    if canyon {
        fields.extend([string(&number(NONCES[index])), string(&[1])]);
    }
    [vec![0x7e], list(&fields)].concat()
}

fn block(canyon: bool) -> (Value, Value) {
    let transactions = (0..2).map(|index| {
        json!({
            "type": "0x7e", "transactionIndex": format!("{index:#x}"), "hash": HASHES[index],
            "sourceHash": SOURCES[index], "from": ATTRIBUTES, "to": L1_BLOCK, "value": "0x0", "gas": GAS[index],
            "input": INPUTS[index], "nonce": NONCES[index], "gasPrice": "0x0",
            // A node leaves out or writes as zero what is nothing.
            "mint": if index == 0 { json!("0x0") } else { Value::Null }, "v": "0x0", "r": "0x0", "s": "0x0",
        })
    });
    let receipts = (0..2).map(|index| {
        let mut receipt = json!({
            "type": "0x7e", "transactionIndex": format!("{index:#x}"), "status": "0x1", "gasUsed": "0xb741",
            "cumulativeGasUsed": if index == 0 { "0xb741" } else { "0x16e82" }, "logs": [],
            "depositNonce": NONCES[index],
        });
        if canyon {
            receipt["depositReceiptVersion"] = json!("0x1");
        }
        receipt
    });
    let receipts: Value = receipts.collect();
    let block = json!({
        "number": "0x1", "transactions": transactions.collect::<Value>(),
        "transactionsRoot": root_of_two([&deposit(0), &deposit(1)]),
        "receiptsRoot": root_of_two([&receipt(0, canyon), &receipt(1, canyon)]),
    });
    (block, receipts)
}

fn verify(block: &Value, receipts: &Value) -> Result<Verified, Violation> {
    let (block, receipts) = (block.to_string(), receipts.to_string());
    let receipts: Vec<Receipt<'_>> = reader::from_str(&receipts).unwrap();
    Verifier::default().check(&reader::from_str(&block).unwrap(), Some(&receipts), Level::Roots)
}

#[test]
fn real_deposits_hash_to_what_their_chains_say() {
    for (index, hash) in HASHES.iter().enumerate() {
        assert_eq!(keccak256(deposit(index)).to_string(), *hash);
    }
}

/// Only the header is not there to be hashed.
#[test]
fn roots_of_deposits_are_those_built_by_hand() {
    for canyon in [false, true] {
        let (block, receipts) = block(canyon);
        let Ok(Verified::Partly(unchecked)) = verify(&block, &receipts) else {
            panic!("{:?}", verify(&block, &receipts))
        };
        assert_eq!(unchecked.iter().map(|item| item.rule).collect::<Vec<_>>(), [HEADER_HASH]);
    }
}

#[test]
fn every_altered_value_of_a_deposit_is_noticed() {
    let (block, receipts) = block(true);
    for (key, value) in [
        ("sourceHash", json!(HASHES[0])),
        ("from", json!(L1_BLOCK)),
        ("to", Value::Null),
        ("mint", json!("0x1")),
        ("value", json!("0x1")),
        ("gas", json!("0x1")),
        ("isSystemTx", json!(true)),
        ("input", json!("0x")),
    ] {
        let mut block = block.clone();
        block["transactions"][0][key] = value;
        assert_eq!(verify(&block, &receipts).unwrap_err().rule, TRANSACTION_HASH, "{key}");
    }
    for (key, value) in [
        ("depositNonce", json!("0x1")),
        ("depositReceiptVersion", json!("0x2")),
        ("depositReceiptVersion", Value::Null),
    ] {
        let mut receipts = receipts.clone();
        receipts[0][key] = value;
        assert_eq!(verify(&block, &receipts).unwrap_err().rule, RECEIPTS_ROOT, "{key}");
    }
}
