//! The connector `simulator`: real enough to test detectors, and the truth about itself.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use highwater_engine::error::{Class, Classified};
use highwater_engine::source::{ReadRequest, SourceEvent, TableRequest};

use support::{Outcome, all_columns, follow, open, read, rows_by_block};

fn simulate(options: &[(&str, &str)], tables: &[&str]) -> Outcome {
    let source = open("simulator", options).unwrap();
    let request = all_columns(source.as_ref(), tables);
    let outcome = read(source, request);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome
}

fn ints(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn the_chain_has_the_length_and_reorgs_asked_for() {
    let options = [("blocks", "300"), ("transactions_per_block", "2"), ("reorg_rate", "0.2"), ("reorg_depth", "4")];
    let outcome = simulate(&options, &["blocks"]);
    let (chain, reorgs) = follow(&outcome.runs);
    assert_eq!(chain.len(), 300);
    assert!((30..90).contains(&reorgs.len()), "{}", reorgs.len());
    assert_eq!(reorgs.iter().max(), Some(&4));
    assert_eq!(reorgs.iter().min(), Some(&1));
    let branches: Vec<_> = outcome.runs.iter().map(|run| run.run.blocks.len()).filter(|blocks| *blocks > 1).collect();
    assert_eq!(branches, reorgs.iter().map(|depth| depth + 1).collect::<Vec<_>>(), "a branch is one run, one longer");
    let quiet = simulate(&[("blocks", "50"), ("reorg_rate", "0"), ("transactions_per_block", "1")], &["blocks"]);
    assert_eq!(quiet.runs.len(), 50);
    let other =
        simulate(&[("blocks", "50"), ("reorg_rate", "0"), ("transactions_per_block", "1"), ("seed", "2")], &["blocks"]);
    assert_ne!(rows_by_block(&quiet.runs)[7].0.hash, rows_by_block(&other.runs)[7].0.hash);
}

#[test]
fn a_replacement_holds_most_of_what_it_replaces() {
    let options = [("blocks", "60"), ("transactions_per_block", "40"), ("reorg_rate", "0.3"), ("reorg_depth", "2")];
    let outcome = simulate(&options, &["transactions"]);
    let mut seen: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    let (mut again, mut changed) = (0, 0);
    for (block, rows) in rows_by_block(&outcome.runs) {
        let hashes = rows[0].column_by_name("transaction_hash").unwrap().as_fixed_size_binary();
        let hashes: Vec<Vec<u8>> = hashes.iter().flatten().map(<[u8]>::to_vec).collect();
        if let Some(before) = seen.insert(block.number, hashes.clone()) {
            let kept = before.iter().filter(|hash| hashes.contains(hash)).count();
            assert!(kept * 10 >= before.len() * 5, "block {}: {kept} of {}", block.number, before.len());
            again += 1;
            changed += usize::from(before != hashes);
        }
    }
    assert!(again > 10);
    assert!(changed * 2 > again);
}

#[test]
fn failures_come_as_often_as_asked_and_leave_no_logs() {
    let options = [("blocks", "40"), ("transactions_per_block", "100"), ("failure_rate", "0.25"), ("reorg_rate", "0")];
    let outcome = simulate(&options, &["transactions"]);
    let (mut total, mut failed) = (0, 0);
    for (_, rows) in rows_by_block(&outcome.runs) {
        let success = rows[0].column_by_name("success").unwrap().as_boolean().clone();
        let logs = ints(&rows[0], "log_count");
        total += success.len();
        failed += success.len() - success.true_count();
        assert!((0..success.len()).all(|row| success.value(row) || logs[row] == 0));
    }
    assert!((3_000..5_000).contains(&total), "{total}");
    assert!((total / 5..total * 3 / 10).contains(&failed), "{failed} of {total}");
}

#[test]
fn the_truth_points_at_transactions_that_profit() {
    let options = [("blocks", "30"), ("sandwich_rate", "1"), ("arbitrage_rate", "1"), ("transactions_per_block", "20")];
    let outcome = simulate(&options, &["transactions", "token_transfers", "truth_sandwiches", "truth_arbitrages"]);
    let (mut sandwiches, mut arbitrages) = (0, 0);
    for (_, rows) in rows_by_block(&outcome.runs) {
        let [transactions, transfers, truth, profits] = rows.as_slice() else { panic!() };
        let hashes = transactions.column_by_name("transaction_hash").unwrap().as_fixed_size_binary();
        let senders = transactions.column_by_name("from_address").unwrap().as_fixed_size_binary();
        for row in 0..truth.num_rows() {
            let front = usize::try_from(ints(truth, "front_transaction_index")[row]).unwrap();
            let back = usize::try_from(ints(truth, "back_transaction_index")[row]).unwrap();
            assert!(front < back);
            for (name, index) in [("front_transaction_hash", front), ("back_transaction_hash", back)] {
                let named = truth.column_by_name(name).unwrap().as_fixed_size_binary();
                assert_eq!(named.value(row), hashes.value(index));
            }
            let attacker = truth.column_by_name("attacker").unwrap().as_fixed_size_binary();
            assert_eq!(attacker.value(row), senders.value(front));
            assert_eq!(attacker.value(row), senders.value(back));
            let profit = truth.column_by_name("profit").unwrap().as_fixed_size_binary();
            assert!(profit.value(row).iter().any(|byte| *byte != 0));
            sandwiches += 1;
        }
        for index in ints(profits, "transaction_index") {
            let moved = ints(transfers, "transaction_index").iter().filter(|other| **other == index).count();
            assert_eq!(moved, 3, "ether in, tokens across, ether out");
            arbitrages += 1;
        }
    }
    assert!(sandwiches > 20 && arbitrages > 20, "{sandwiches} {arbitrages}");
}

#[test]
fn speed_is_kept_by_saying_that_there_is_nothing_yet() {
    let source = open("simulator", &[("blocks", "3"), ("speed", "1000"), ("reorg_rate", "0")]).unwrap();
    let tables = vec![TableRequest { name: "blocks".into(), columns: vec![2] }];
    let mut reader = source.start(ReadRequest { tables, ..ReadRequest::default() }).unwrap();
    let mut kinds = String::new();
    loop {
        match reader.next().unwrap() {
            SourceEvent::Blocks { .. } => kinds.push('b'),
            SourceEvent::Idle => kinds.push('i'),
            SourceEvent::End => break,
            SourceEvent::Skipped { .. } => panic!("nothing is skipped"),
        }
    }
    assert_eq!(kinds, "bibibi");
}

#[test]
fn options_that_contradict_are_refused() {
    for options in [
        vec![("reorg_depth", "65")],
        vec![("failure_rate", "1.5")],
        vec![("block_time", "250 ms")],
        vec![("speed", "0")],
    ] {
        let error = open("simulator", &options).err().expect("refused");
        assert_eq!(error.class(), Class::USER, "{error}");
    }
}
