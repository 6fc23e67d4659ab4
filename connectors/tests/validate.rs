//! Every rule catches a real block that was broken in just that way, and leaves others alone.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::LazyLock;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use flate2::read::MultiGzDecoder;
use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
use highwater_engine::model::evm;
use highwater_engine::source::{ReadRequest, SourceError, TableRequest};
use serde_json::{Value, json};

use support::shared;

/// A real block with its receipts and traces.
#[derive(Clone)]
struct Sample {
    block: Value,
    receipts: Value,
    traces: Value,
}

static SAMPLE: LazyLock<Option<Sample>> = LazyLock::new(|| {
    let folder = shared("data/evm/mainnet-17686110-17686121")?;
    let second = |name: &str| -> Value {
        let file = BufReader::new(MultiGzDecoder::new(File::open(folder.join(name)).unwrap()));
        serde_json::from_str(&file.lines().nth(2).unwrap().unwrap()).unwrap()
    };
    let [block, receipts, traces] = ["blocks.jsonl.gz", "receipts.jsonl.gz", "traces.jsonl.gz"].map(second);
    Some(Sample { block, receipts, traces })
});

fn ingest(validate: bool) -> EvmIngest {
    let tables = evm::tables()
        .iter()
        .map(|table| TableRequest { name: table.name.to_owned(), columns: (0..table.schema.fields().len()).collect() });
    let request = ReadRequest { tables: tables.collect(), ..ReadRequest::default() };
    EvmIngest::new(&request, IngestSettings { validate, ..IngestSettings::default() }).unwrap()
}

fn push(ingest: &mut EvmIngest, sample: &Sample) -> Result<(), SourceError> {
    let [block, receipts, traces] = [&sample.block, &sample.receipts, &sample.traces].map(Value::to_string);
    ingest.push(&"the test", &block, Some(&receipts), Some(&traces)).map(|_| ())
}

/// Breaks the block and expects the rule; the next block is taken as if nothing had happened.
fn breaks(rule: &str, change: impl FnOnce(&mut Sample)) {
    let Some(sample) = SAMPLE.as_ref() else { return };
    let mut broken = sample.clone();
    change(&mut broken);
    let mut ingest = ingest(true);
    let error = push(&mut ingest, &broken).expect_err(rule);
    let SourceError::InvalidBlock { rule: found, detail, place, .. } = &error else { panic!("{error}") };
    assert_eq!(*found, rule, "{detail}");
    assert!(!detail.is_empty());
    assert_eq!(place, "the test");
    push(&mut ingest, sample).unwrap();
    let run = ingest.finish().unwrap();
    assert_eq!(run.blocks.len(), 1);
    for (table, rows) in evm::tables().iter().zip(&run.tables) {
        assert_eq!(rows.ends, [rows.batch.num_rows()]);
        let rare =
            ["pools", "liquidity_events", "liquidation_events", "aggregator_trades", "flash_loans", "oracle_updates"];
        assert!(rows.batch.num_rows() > 0 || rare.contains(&table.name), "{}", table.name);
    }
}

/// The index of a receipt that has at least two logs.
fn with_logs(sample: &Sample) -> usize {
    let receipts = sample.receipts.as_array().unwrap();
    receipts.iter().position(|receipt| receipt["logs"].as_array().unwrap().len() > 1).unwrap()
}

const OTHER: &str = "0x00000000000000000000000000000000000000000000000000000000000000ff";

#[test]
fn a_whole_block_passes() {
    let Some(sample) = SAMPLE.as_ref() else { return };
    push(&mut ingest(true), sample).unwrap();
}

#[test]
fn missing_field() {
    for field in ["hash", "number", "timestamp", "parentHash", "logsBloom", "gasUsed"] {
        breaks("missing-field", |sample| {
            sample.block.as_object_mut().unwrap().remove(field);
        });
    }
    for field in ["hash", "transactionIndex", "from", "nonce", "input"] {
        breaks("missing-field", |sample| sample.block["transactions"][3][field] = Value::Null);
    }
}

#[test]
fn hash_mismatch() {
    breaks("hash-mismatch", |sample| sample.block["transactions"][3]["blockHash"] = json!(OTHER));
    breaks("hash-mismatch", |sample| sample.block["transactions"][3]["blockNumber"] = json!("0x1"));
}

#[test]
fn duplicate_transaction_index() {
    breaks("duplicate-transaction-index", |sample| {
        sample.block["transactions"][3]["transactionIndex"] = json!("0x2");
    });
}

#[test]
fn empty_logs_nonzero_bloom() {
    breaks("empty-logs-nonzero-bloom", |sample| {
        for receipt in sample.receipts.as_array_mut().unwrap() {
            receipt["logs"] = json!([]);
        }
    });
}

#[test]
fn missing_log() {
    breaks("missing-log", |sample| {
        let index = with_logs(sample);
        sample.receipts[index]["logs"] = json!([]);
    });
}

#[test]
fn log_not_in_bloom() {
    breaks("log-not-in-bloom", |sample| {
        let index = with_logs(sample);
        sample.receipts[index]["logs"][0]["topics"][0] = json!(OTHER);
    });
    breaks("log-not-in-bloom", |sample| {
        let index = with_logs(sample);
        sample.receipts[index]["logs"][0]["address"] = json!("0x00000000000000000000000000000000000000fe");
    });
    breaks("log-not-in-bloom", |sample| sample.block["logsBloom"] = json!(format!("0x{}", "0".repeat(512))));
}

#[test]
fn log_block_mismatch() {
    breaks("log-block-mismatch", |sample| {
        let index = with_logs(sample);
        sample.receipts[index]["logs"][1]["blockHash"] = json!(OTHER);
    });
}

#[test]
fn log_transaction_mismatch() {
    breaks("log-transaction-mismatch", |sample| {
        let index = with_logs(sample);
        sample.receipts[index]["logs"][1]["transactionHash"] = json!(OTHER);
    });
    breaks("log-transaction-mismatch", |sample| {
        let index = with_logs(sample);
        sample.receipts[index]["logs"][1]["transactionIndex"] = json!("0xfff");
    });
}

#[test]
fn duplicate_log_index() {
    breaks("duplicate-log-index", |sample| {
        let index = with_logs(sample);
        sample.receipts[index]["logs"][1]["logIndex"] = sample.receipts[index]["logs"][0]["logIndex"].clone();
    });
}

#[test]
fn receipt_count() {
    breaks("receipt-count", |sample| {
        sample.receipts.as_array_mut().unwrap().pop();
    });
    breaks("receipt-count", |sample| {
        let last = sample.receipts[0].clone();
        sample.receipts.as_array_mut().unwrap().push(last);
    });
}

#[test]
fn receipt_transaction_mismatch() {
    breaks("receipt-transaction-mismatch", |sample| sample.receipts[3]["transactionHash"] = json!(OTHER));
    breaks("receipt-transaction-mismatch", |sample| sample.receipts[3]["transactionIndex"] = json!("0x2"));
}

#[test]
fn receipt_block_mismatch() {
    breaks("receipt-block-mismatch", |sample| sample.receipts[3]["blockHash"] = json!(OTHER));
}

#[test]
fn traces_that_do_not_belong() {
    breaks("missing-traces", |sample| sample.traces = json!([]));
    breaks("trace-transaction-unknown", |sample| sample.traces[0]["transactionHash"] = json!(OTHER));
}

#[test]
fn number_range() {
    breaks("number-range", |sample| sample.block["transactions"][3]["nonce"] = json!("0x8000000000000000"));
    breaks("number-range", |sample| sample.block["timestamp"] = json!("0xffffffffffffffff"));
    breaks("number-range", |sample| sample.block["number"] = json!("0xffffffffffffffffff"));
    breaks("number-range", |sample| {
        sample.block["transactions"][3]["gasPrice"] = json!(format!("0x{}", "f".repeat(32)))
    });
}

#[test]
fn bad_hex() {
    breaks("bad-hex", |sample| sample.block["transactions"][3]["from"] = json!("0x1234"));
    breaks("bad-hex", |sample| sample.block["transactions"][3]["input"] = json!("0xabc"));
    breaks("bad-hex", |sample| sample.block["transactions"][3]["value"] = json!("12"));
}

#[test]
fn receipts_in_another_order_are_joined_by_index() {
    let Some(sample) = SAMPLE.as_ref() else { return };
    let mut shuffled = sample.clone();
    shuffled.receipts.as_array_mut().unwrap().reverse();
    shuffled.block["transactions"].as_array_mut().unwrap().reverse();
    let (mut one, mut two) = (ingest(true), ingest(true));
    push(&mut one, sample).unwrap();
    push(&mut two, &Sample { traces: sample.traces.clone(), ..shuffled.clone() }).unwrap_err();
    // Traces name positions, which only an ordered block has.
    shuffled.block["transactions"].as_array_mut().unwrap().reverse();
    push(&mut two, &shuffled).unwrap();
    let (one, two) = (one.finish().unwrap(), two.finish().unwrap());
    for (one, two) in one.tables.iter().zip(&two.tables) {
        assert_eq!(one.batch, two.batch);
    }
}

#[test]
fn logs_that_only_look_like_transfers_are_skipped_and_counted() {
    let Some(sample) = SAMPLE.as_ref() else { return };
    let transfer = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    let mut strange = sample.clone();
    let mut changed = 0;
    for receipt in strange.receipts.as_array_mut().unwrap() {
        for log in receipt["logs"].as_array_mut().unwrap() {
            let is_erc20 = log["topics"][0] == transfer && log["topics"].as_array().unwrap().len() == 3;
            if is_erc20 && changed < 3 {
                match changed {
                    0 => log["data"] = json!("0x1234"),
                    1 => log["topics"][1] = json!(format!("0x{}", "ff".repeat(32))),
                    _ => log["topics"] = json!([transfer]),
                }
                changed += 1;
            }
        }
    }
    assert_eq!(changed, 3);
    let (mut plain, mut other) = (ingest(false), ingest(false));
    push(&mut plain, sample).unwrap();
    push(&mut other, &strange).unwrap();
    let before = plain.take_skipped().map_or(0, |skipped| skipped.count);
    let after = other.take_skipped().expect("three logs do not decode");
    assert_eq!(after.count, before + 3);
    assert!(after.reason.contains("is not a token transfer"), "{}", after.reason);
    let rows = |ingest: &mut EvmIngest| ingest.finish().unwrap().tables[3].batch.num_rows();
    assert_eq!(rows(&mut plain), rows(&mut other) + 3);
}

#[test]
fn what_old_and_other_chains_lack_or_add_is_null_or_kept() {
    let Some(sample) = SAMPLE.as_ref() else { return };
    let mut other = sample.clone();
    let block = other.block.as_object_mut().unwrap();
    block.remove("baseFeePerGas");
    block.insert("somethingNew".to_owned(), json!({ "deep": [1, "x\n", null] }));
    other.block["transactions"][0]["type"] = json!("0x7e");
    for receipt in other.receipts.as_array_mut().unwrap() {
        let receipt = receipt.as_object_mut().unwrap();
        receipt.remove("status");
        receipt.remove("effectiveGasPrice");
        receipt.insert("root".to_owned(), json!(OTHER));
        receipt.insert("l1Fee".to_owned(), json!("0x57f2d0d43d4"));
    }
    let mut ingest = ingest(true);
    push(&mut ingest, &other).unwrap();
    let run = ingest.finish().unwrap();
    let (blocks, transactions) = (&run.tables[0].batch, &run.tables[1].batch);
    let column = |name: &str| transactions.column_by_name(name).unwrap();
    assert_eq!(blocks.column_by_name("base_fee_per_gas").unwrap().null_count(), 1);
    assert_eq!(column("success").null_count(), transactions.num_rows(), "before Byzantium nobody knew");
    assert_eq!(column("effective_gas_price"), column("gas_price"));
    assert_eq!(column("transaction_type").as_primitive::<Int64Type>().value(0), 0x7e);
    let fees = column("l1_fee").as_fixed_size_binary();
    assert_eq!(fees.value(0)[24..], 0x57f_2d0d_43d4_u64.to_be_bytes());
}
