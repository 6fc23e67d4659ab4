//! Reference tables that are read again, while a scripted node delivers blocks.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use alloy_primitives::{Address, B256, U256};
use highwater_testnode::{Builder, Node, Transaction, address_of};
use serde_json::Value;

use crate::command::{Desk, accumulate, parse_lines, run};
use crate::live_command::Running;

/// Looks at the file at every tick.
const JOB: &str = "
CREATE TABLE watchlist (address ADDRESS NOT NULL, label TEXT NOT NULL)
WITH (connector = 'csv', path = 'watchlist.csv', reload = INTERVAL '0 seconds');
CREATE MATERIALIZED VIEW heads AS SELECT block_number, block_hash FROM eth.blocks;
CREATE MATERIALIZED VIEW seen AS
SELECT t.block_number, w.label, t.amount FROM eth.token_transfers t JOIN watchlist w ON w.address = t.to_address;
CREATE MATERIALIZED VIEW listed AS SELECT label, count(*) AS addresses FROM watchlist GROUP BY label;
CREATE SINK heads_out FROM heads WITH (connector = 'stdout');
CREATE SINK seen_out FROM seen WITH (connector = 'stdout');
CREATE SINK seen_file FROM seen WITH (connector = 'file', path = 'seen.jsonl');
CREATE SINK listed_file FROM listed WITH (connector = 'file', path = 'listed.jsonl');
";

fn person(name: &str) -> Address {
    address_of(1000 + u64::from(name.as_bytes()[0]))
}

/// A block in which both people get `salt` of a token.
fn push(builder: &mut Builder, parent: B256, salt: u64) -> B256 {
    let pay = |to| Transaction::token_transfer(address_of(1), address_of(2), to, U256::from(salt));
    builder.push(parent, &[pay(person("a")), pay(person("b"))])
}

/// Blocks on top of each other, each with its own amounts.
fn branch(builder: &mut Builder, mut parent: B256, salts: std::ops::RangeInclusive<u64>) -> Vec<B256> {
    salts
        .map(|salt| {
            parent = push(builder, parent, salt);
            parent
        })
        .collect()
}

fn list(desk: &Desk, rows: &[(&str, &str)]) {
    let mut text = "address,label\n".to_owned();
    rows.iter().for_each(|(name, label)| writeln!(text, "{},{label}", person(name)).unwrap());
    desk.write("watchlist.csv", text);
}

fn desk(node: &Node) -> Desk {
    Desk::new(&format!(
        "CREATE SOURCE eth WITH (connector = 'evm', url = '{}', from_block = 'earliest', confirmations = 12,
           poll_interval = '20 ms', request_timeout = '5 seconds');{JOB}",
        node.http_url()
    ))
}

/// Block, label and amount of the rows that are there.
fn seen(lines: &[Value]) -> BTreeSet<(u64, String, u64)> {
    let rows = accumulate(lines);
    assert!(rows.values().all(|diff| *diff == 1), "{rows:?}");
    let read = |row: Value| {
        let amount = row["amount"].as_str().unwrap().parse().unwrap();
        (row["block_number"].as_u64().unwrap(), row["label"].as_str().unwrap().to_owned(), amount)
    };
    rows.keys().map(|row| read(row.value())).collect()
}

fn expect(rows: &[(u64, &str, u64)]) -> BTreeSet<(u64, String, u64)> {
    rows.iter().map(|(block, label, amount)| (*block, (*label).to_owned(), *amount)).collect()
}

fn step(running: &Running, node: &Node) {
    assert_eq!(node.step(1), 1);
    running.wait_for_head_of(node);
}

#[test]
fn an_address_counts_from_the_next_block_and_half_a_file_changes_nothing() {
    let mut builder = Builder::new(31_337);
    let genesis = builder.genesis();
    let old = branch(&mut builder, genesis, 1..=4);
    let new = branch(&mut builder, old[1], 13..=15);
    let node = Node::start(builder.into_chain(old[0], &[old[1], old[2], old[3], new[2]]));
    let desk = desk(&node);
    list(&desk, &[("a", "first")]);
    let metrics = desk.at("metrics.txt");
    let running = Running::start(&["run", &desk.job, "--metrics", &metrics]);
    running.wait_for_head_of(&node);
    list(&desk, &[("a", "first"), ("b", "second")]);
    step(&running, &node);
    desk.write("watchlist.csv", format!("address,label\n{},first\n0x12", person("a")));
    step(&running, &node);
    running.wait_for_message("the warning", |line| {
        line.contains("cannot be read again") && line.contains("watchlist.csv") && line.contains("WARN")
    });
    list(&desk, &[("b", "third")]);
    step(&running, &node);
    let before = [(1, "first", 1), (2, "first", 2), (2, "second", 2)];
    let printed = expect(&[&before[..], &[(3, "first", 3), (3, "second", 3), (4, "third", 4)]].concat());
    running.wait_for_line("block 4", |line| line.contains("third"));
    std::fs::remove_file(desk.path("watchlist.csv")).unwrap();
    // Takes back blocks 3 and 4 as they were joined, and joins three others with the list of now.
    step(&running, &node);
    let ran = running.interrupt().succeeds();
    let all = ran.lines_of("seen_out");
    let reorg = all.iter().position(|line| line["diff"] == -1).unwrap();
    assert_eq!(seen(&all[..reorg]), printed);
    let after = expect(&[&before[..], &[(3, "third", 13), (4, "third", 14), (5, "third", 15)]].concat());
    assert_eq!(seen(&all), after);
    let listed = accumulate(&parse_lines(&desk.read("listed.jsonl")));
    let listed: Vec<&str> = listed.keys().map(|row| row.0.as_str()).collect();
    assert!(matches!(listed.as_slice(), [only] if only.contains("third")), "{listed:?}");
    let metrics = std::fs::read_to_string(metrics).unwrap();
    for count in [
        "highwater_table_reloads_total{table=\"watchlist\"} 2",
        "highwater_table_reload_errors_total{table=\"watchlist\"} 2",
    ] {
        assert!(metrics.contains(count), "{count} is not in\n{metrics}");
    }
}

/// Stops, changes the list in the pause, goes on with more workers, dies, and takes back blocks from before all that.
#[test]
fn a_restart_keeps_what_blocks_were_joined_with() {
    let mut builder = Builder::new(31_337);
    let genesis = builder.genesis();
    let old = branch(&mut builder, genesis, 1..=4);
    let new = branch(&mut builder, old[0], 12..=15);
    let node = Node::start(builder.into_chain(old[0], &[old[1], old[2], old[3], new[3]]));
    let desk = desk(&node);
    let state = desk.at("state");
    list(&desk, &[("a", "first")]);
    let start = |workers: &str| Running::start(&["run", &desk.job, "--state", &state, "--workers", workers]);
    let running = start("1");
    running.wait_for_head_of(&node);
    step(&running, &node);
    running.interrupt().succeeds();
    let found = || seen(&parse_lines(&desk.read("seen.jsonl")));
    let before = [(1, "first", 1), (2, "first", 2)];
    assert_eq!(found(), expect(&before));

    list(&desk, &[("a", "renamed"), ("b", "added")]);
    node.step(1);
    let running = start("4");
    running.wait_for_head_of(&node);
    assert_eq!(running.kill().code, None);
    // Dead after its checkpoint: block 3 is read again, and nothing of the list is lost.
    let running = start("2");
    step(&running, &node);
    running.interrupt().succeeds();
    let later = [(3, "added", 3), (3, "renamed", 3), (4, "added", 4), (4, "renamed", 4)];
    assert_eq!(found(), expect(&[&before[..], &later].concat()));

    list(&desk, &[("b", "last")]);
    let running = start("3");
    step(&running, &node);
    running.interrupt().succeeds();
    let last = [(1, "first", 1), (2, "last", 12), (3, "last", 13), (4, "last", 14), (5, "last", 15)];
    assert_eq!(found(), expect(&last));
}

#[test]
fn a_table_that_is_wrong_at_the_start_is_an_error() {
    let builder = Builder::new(31_337);
    let genesis = builder.genesis();
    let node = Node::start(builder.into_chain(genesis, &[]));
    let desk = desk(&node);
    run(&["check", &desk.job]).fails(2, &["table \"watchlist\" cannot be opened", "watchlist.csv"]);
    desk.write("watchlist.csv", "address,label\n0x12,short\n");
    desk.run(&[]).fails(2, &["watchlist.csv:2", "\"0x12\" is not a hexadecimal value of 20 bytes"]);
}
