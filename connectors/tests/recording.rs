//! The connector `recording` on real chains and on broken files.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Int64Type;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use highwater_engine::error::{Class, Classified};
use highwater_engine::source::{ReadRequest, SourceError, TableRequest};
use serde_json::Value;

use support::{Delivered, Outcome, all_columns, follow, open, read, rows_by_block, shared};

fn read_recording(path: &Path, more: &[(&str, &str)], tables: &[&str]) -> Outcome {
    let mut options = vec![("path", path.to_str().unwrap())];
    options.extend_from_slice(more);
    let source = match open("recording", &options) {
        Ok(source) => source,
        Err(error) => return Outcome { error: Some(error), ..Outcome::default() },
    };
    let request = all_columns(source.as_ref(), tables);
    read(source, request)
}

fn unzip(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn zip(path: &Path, text: &str) {
    let mut gz = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    gz.finish().unwrap();
}

fn table(outcome: &Outcome, index: usize) -> impl Iterator<Item = &RecordBatch> {
    outcome.runs.iter().map(move |delivered| &delivered.run.tables[index].batch)
}

#[test]
fn competing_branches_arrive_as_the_reorgs_they_were() {
    for (name, depths) in [("run40", vec![1, 2, 3, 5, 1, 2]), ("run200", vec![1, 2, 3, 5, 7, 1, 2])] {
        let Some(folder) = shared(&format!("e2e/recorded/{name}")) else { return };
        let outcome = read_recording(&folder.join("blocks.ndjson.gz"), &[], &["transactions"]);
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let truth: Value = serde_json::from_str(&fs::read_to_string(folder.join("truth.json")).unwrap()).unwrap();
        let (chain, reorgs) = follow(&outcome.runs);
        assert_eq!(reorgs, depths, "{name}");
        let head = chain.last().unwrap();
        assert_eq!(head.hash.to_string(), truth["meta"]["headHash"].as_str().unwrap());
        assert_eq!(head.number, truth["meta"]["head"].as_u64().unwrap());
        assert_eq!(chain.len(), usize::try_from(head.number).unwrap() + 1);
        let replaced: Vec<_> = truth["reorgs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reorg| reorg["replacement"].as_array().unwrap().len())
            .collect();
        let branches: Vec<_> =
            outcome.runs.iter().map(|delivered| delivered.run.blocks.len()).filter(|blocks| *blocks > 1).collect();
        assert_eq!(branches, replaced, "a new branch is one run");
        assert_eq!(outcome.runs.last().unwrap().finalized, Some(head.number - 64));
    }
}

#[test]
fn a_line_without_a_block_only_announces() {
    let Some(folder) = shared("e2e/recorded/run40") else { return };
    let text = unzip(&folder.join("blocks.ndjson.gz"));
    let lines: Vec<_> = text.lines().skip(40).take(8).collect();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("blocks.ndjson");
    fs::write(&path, lines.join("\n")).unwrap();
    let plain = read_recording(&path, &[], &["transactions"]);
    let announced: Vec<_> =
        lines.iter().flat_map(|line| [r#"{"seq":1,"event":"head","number":41,"hash":"0x00"}"#, line, ""]).collect();
    fs::write(&path, announced.join("\n")).unwrap();
    let with = read_recording(&path, &[], &["transactions"]);
    assert!(with.error.is_none(), "{:?}", with.error);
    assert_eq!(rows_by_block(&plain.runs), rows_by_block(&with.runs));
}

/// Counts what the JSON says, without any of our code.
fn expected(folder: &Path) -> (u64, u64, u64, u64) {
    let (mut transactions, mut failed, mut gas, mut logs) = (0, 0, 0, 0);
    for line in unzip(&folder.join("receipts.jsonl.gz")).lines() {
        let receipts: Value = serde_json::from_str(line).unwrap();
        for receipt in receipts.as_array().unwrap() {
            transactions += 1;
            failed += u64::from(receipt["status"] == "0x0");
            gas += u64::from_str_radix(&receipt["gasUsed"].as_str().unwrap()[2..], 16).unwrap();
            logs += u64::try_from(receipt["logs"].as_array().unwrap().len()).unwrap();
        }
    }
    (transactions, failed, gas, logs)
}

#[test]
fn totals_of_real_blocks_are_those_of_the_json() {
    let Some(folder) = shared("data/evm/mainnet-17686110-17686121") else { return };
    let outcome = read_recording(&folder, &[], &["blocks", "transactions", "logs", "token_transfers"]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(follow(&outcome.runs).0.len(), 12);
    let (transactions, failed, gas, logs) = expected(&folder);
    let rows = |index| table(&outcome, index).map(|batch| u64::try_from(batch.num_rows()).unwrap()).sum::<u64>();
    assert_eq!(rows(1), transactions);
    assert_eq!(rows(2), logs);
    let mut found = (0, 0);
    for batch in table(&outcome, 1) {
        let success: &BooleanArray = batch.column_by_name("success").unwrap().as_boolean();
        found.0 += u64::try_from(success.len() - success.true_count()).unwrap();
        let used = batch.column_by_name("gas_used").unwrap().as_primitive::<Int64Type>();
        found.1 += used.values().iter().map(|gas| u64::try_from(*gas).unwrap()).sum::<u64>();
    }
    assert_eq!(found, (failed, gas));
    assert!(rows(3) > transactions / 2, "{} transfers", rows(3));
    assert!(outcome.skipped < rows(3) / 20, "{} skipped", outcome.skipped);
    let finals: Vec<_> = outcome.runs.iter().map(|delivered| delivered.finalized).collect();
    assert_eq!(finals, (17_686_110..=17_686_121).map(Some).collect::<Vec<_>>());
}

#[test]
fn scattered_heights_need_the_option() {
    let Some(folder) = shared("data/evm/mainnet-forks") else { return };
    let outcome = read_recording(&folder, &[], &["blocks"]);
    assert_eq!(outcome.runs.len(), 1, "what came before the gap was delivered");
    let error = outcome.error.expect("a gap is an error");
    assert!(error.to_string().contains("blocks 4370001 to 4864589 are missing"), "{error}");
    assert_eq!(error.class(), Class::EXTERNAL);
    let outcome = read_recording(&folder, &[("gaps", "allow")], &["blocks"]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(follow(&outcome.runs).0.len(), 22);
}

#[test]
fn wrong_numbers_of_a_node_are_named_or_become_null() {
    let Some(folder) = shared("data/evm/mainnet-mev-2021") else { return };
    let outcome = read_recording(&folder, &[("gaps", "allow")], &["transactions"]);
    assert!(
        matches!(outcome.error, Some(SourceError::InvalidBlock { rule: "number-range", .. })),
        "{:?}",
        outcome.error
    );
    let options = [("gaps", "allow"), ("validate", "off")];
    let outcome = read_recording(&folder, &options, &["transactions", "traces"]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(follow(&outcome.runs).0.len(), 4);
    let nulls: usize = table(&outcome, 0).map(|batch| batch.column_by_name("gas_used").unwrap().null_count()).sum();
    assert!(nulls > 0);
    let rewards = table(&outcome, 1).flat_map(|batch| {
        let kinds = batch.column_by_name("trace_type").unwrap().as_string::<i32>();
        kinds.iter().flatten().filter(|kind| *kind == "reward")
    });
    assert_eq!(rewards.count(), 4, "one reward a block");
}

#[test]
fn old_blocks_and_all_transaction_types_are_read() {
    let Some(path) = shared("e2e/recorded/txtypes.ndjson.gz") else { return };
    let outcome = read_recording(&path, &[], &["transactions"]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let column = |name: &str| -> Vec<Option<i64>> {
        table(&outcome, 0)
            .flat_map(|batch| {
                batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(column("transaction_type"), [0, 2, 2, 3, 4, 2].map(Some));
    assert_eq!(column("blob_hash_count"), [None, None, None, Some(1), None, None]);
    assert_eq!(column("chain_id"), [31_337; 6].map(Some), "taken from the transactions");
    let created: Vec<_> = table(&outcome, 0)
        .flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)))
        .map(|(batch, row)| {
            let null = |name| batch.column_by_name(name).unwrap().is_null(row);
            (null("to_address"), null("contract_address"), null("selector"))
        })
        .collect();
    assert_eq!(created.last(), Some(&(true, false, true)), "a creation has a contract and no selector");
    assert!(created[..5].iter().all(|row| *row == (false, true, true)));
}

#[test]
fn a_missing_file_is_named_only_when_it_is_needed() {
    let Some(folder) = shared("data/evm/mainnet-17686110-17686121") else { return };
    let place = tempfile::tempdir().unwrap();
    let text = unzip(&folder.join("blocks.jsonl.gz"));
    fs::write(place.path().join("blocks.jsonl"), text.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap();
    let outcome = read_recording(place.path(), &[], &["blocks"]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let source = open("recording", &[("path", place.path().to_str().unwrap())]).unwrap();
    // to_address and value stand in the block itself.
    let request = ReadRequest {
        tables: vec![TableRequest { name: "transactions".into(), columns: vec![2, 9, 10] }],
        ..ReadRequest::default()
    };
    assert!(read(source, request).error.is_none());
    for tables in [["logs"], ["token_transfers"], ["transactions"]] {
        let error = read_recording(place.path(), &[], &tables).error.expect("receipts are needed");
        assert!(error.to_string().contains("receipts.jsonl.gz: the recording has no receipts"), "{error}");
        assert_eq!(error.class(), Class::EXTERNAL);
    }
    let error = read_recording(place.path(), &[], &["traces"]).error.expect("traces are needed");
    assert!(error.to_string().contains("no traces"), "{error}");
}

#[test]
fn a_truncated_file_loses_nothing_before_the_cut() {
    let Some(folder) = shared("e2e/recorded/run40") else { return };
    let text: String =
        unzip(&folder.join("blocks.ndjson.gz")).lines().take(60).map(|line| format!("{line}\n")).collect();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("blocks.ndjson.gz");
    zip(&path, &text);
    let whole = read_recording(&path, &[], &["transactions"]);
    assert!(whole.error.is_none());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let cut = read_recording(&path, &[], &["transactions"]);
    let error = cut.error.expect("a truncated file is an error");
    assert_eq!(error.class(), Class::EXTERNAL);
    assert!(error.to_string().contains("blocks.ndjson.gz line "), "{error}");
    assert!(error.to_string().contains("ends too early"), "{error}");
    assert!(cut.runs.len() > 20);
    assert_eq!(rows_by_block(&cut.runs), rows_by_block(&whole.runs[..cut.runs.len()]));
}

#[test]
fn text_that_is_no_json_or_no_utf8_is_named_with_its_line() {
    let Some(folder) = shared("e2e/recorded/run40") else { return };
    let text = unzip(&folder.join("blocks.ndjson.gz"));
    let first: Vec<_> = text.lines().take(2).collect();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("blocks.ndjson");
    for (bad, says) in [
        (&b"{\"block\": {\"number\": "[..], "cannot be read"),
        (&b"{\"event\": \"h\xff\"}"[..], "not UTF-8"),
        (&b"{\"block\": {\"number\": [1]}}"[..], "cannot be read"),
    ] {
        let mut bytes = first.join("\n").into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(bad);
        fs::write(&path, bytes).unwrap();
        let outcome = read_recording(&path, &[], &["blocks"]);
        assert_eq!(outcome.runs.len(), 2);
        let error = outcome.error.unwrap();
        assert!(error.to_string().contains("blocks.ndjson line 3: "), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.class(), Class::EXTERNAL);
    }
}

#[test]
fn both_trace_shapes_give_the_same_calls() {
    let Some(folder) = shared("e2e/recorded/run40") else { return };
    let place = tempfile::tempdir().unwrap();
    let piece = |file: &str| -> Vec<String> {
        unzip(&folder.join(file)).lines().skip(41).take(12).map(str::to_owned).collect()
    };
    fs::write(place.path().join("blocks.ndjson"), piece("blocks.ndjson.gz").join("\n")).unwrap();
    let mut shapes = Vec::new();
    for shape in ["trace_block", "callTracer"] {
        let lines: Vec<_> = piece("traces.ndjson.gz")
            .iter()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                serde_json::json!({ shape: line[shape] }).to_string()
            })
            .collect();
        fs::write(place.path().join("traces.ndjson"), lines.join("\n")).unwrap();
        let outcome = read_recording(place.path(), &[], &["traces"]);
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        shapes.push(outcome);
    }
    let mut failed = 0;
    for (parity, geth) in table(&shapes[0], 0).zip(table(&shapes[1], 0)) {
        for column in [
            "transaction_index",
            "transaction_hash",
            "trace_address",
            "trace_type",
            "from_address",
            "subtraces",
            "success",
            "value",
        ] {
            assert_eq!(parity.column_by_name(column), geth.column_by_name(column), "{column}");
        }
        let success = parity.column_by_name("success").unwrap().as_boolean();
        let errors = parity.column_by_name("error").unwrap();
        failed += success.len() - success.true_count();
        assert!((0..success.len()).all(|row| errors.is_null(row) || !success.value(row)));
    }
    assert!(failed > 0);
}

#[test]
fn a_path_that_is_nothing_is_the_users_mistake() {
    let place = tempfile::tempdir().unwrap();
    let error = read_recording(&place.path().join("absent"), &[], &["blocks"]).error.unwrap();
    assert_eq!(error.class(), Class::USER);
    assert!(matches!(&error, SourceError::Option(option) if option.name() == "path"), "{error}");
}

#[test]
fn nothing_is_lost_between_confirmations() {
    let Some(folder) = shared("e2e/recorded/run40") else { return };
    let outcome = read_recording(&folder, &[("confirmations", "7")], &["blocks"]);
    for Delivered { run, finalized, .. } in &outcome.runs {
        assert_eq!(*finalized, run.blocks.last().unwrap().number.checked_sub(7));
    }
}
