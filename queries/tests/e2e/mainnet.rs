//! Twelve blocks of Ethereum, with every total computed a second time from the JSON text alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use alloy_primitives::U256;
use serde_json::{Value, json};

use crate::chain::{lines, quantity, read_lines};
use crate::command::{Desk, Ran, shared, text};
use crate::rows::{Row, Table};

const FOLDER: &str = "data/evm/mainnet-17686110-17686121";
/// `Transfer(address,address,uint256)`
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

const JOB: &str = "
CREATE SOURCE eth WITH (connector = 'recording', path = 'chain');

CREATE MATERIALIZED VIEW minutes AS
SELECT window_start AS minute, count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed,
       sum(gas_used) AS gas_used, count(DISTINCT from_address) AS senders, sum(value) AS value_wei
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW transfers AS
SELECT window_start AS minute, count(*) AS transfers
FROM TUMBLE(eth.token_transfers, block_timestamp, INTERVAL '1 minute')
WHERE token_standard = 'erc20'
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW amounts WITH (unbounded = 'yes') AS
SELECT token_address, count(*) AS transfers, sum(amount) AS amount, min(amount) AS least, max(amount) AS most
FROM eth.token_transfers
WHERE token_standard = 'erc20'
GROUP BY token_address;

CREATE SINK minutes_out FROM minutes WITH (connector = 'parquet', path = 'minutes');
CREATE SINK transfers_out FROM transfers WITH (connector = 'parquet', path = 'transfers');
CREATE SINK amounts_out FROM amounts WITH (connector = 'parquet', path = 'amounts');
";

#[derive(Default)]
struct Minute {
    total: u64,
    failed: u64,
    gas_used: u64,
    senders: BTreeSet<String>,
    value: U256,
}

#[derive(Default)]
struct Expected {
    minutes: BTreeMap<u64, Minute>,
    transfers: BTreeMap<u64, u64>,
    amounts: BTreeMap<String, Vec<U256>>,
}

impl Expected {
    fn add(&mut self, block: &Value, receipts: &Value) {
        let start = quantity(&block["timestamp"]) / 60 * 60;
        let minute = self.minutes.entry(start).or_default();
        for transaction in block["transactions"].as_array().unwrap() {
            minute.total += 1;
            minute.senders.insert(transaction["from"].as_str().unwrap().to_lowercase());
            minute.value += wide(&transaction["value"]);
        }
        for receipt in receipts.as_array().unwrap() {
            minute.failed += u64::from(quantity(&receipt["status"]) == 0);
            minute.gas_used += quantity(&receipt["gasUsed"]);
            for log in receipt["logs"].as_array().unwrap() {
                let topics = log["topics"].as_array().unwrap();
                if topics.len() == 3 && topics[0] == TRANSFER && log["data"].as_str().unwrap().len() == 66 {
                    *self.transfers.entry(start).or_default() += 1;
                    let token = log["address"].as_str().unwrap().to_lowercase();
                    self.amounts.entry(token).or_default().push(wide(&log["data"]));
                }
            }
        }
    }

    fn minutes(&self) -> BTreeMap<Row, i64> {
        rows(self.minutes.iter().map(|(start, minute)| {
            json!({
                "minute": clock(*start), "total": minute.total, "failed": minute.failed,
                "gas_used": minute.gas_used.to_string(), "senders": minute.senders.len(),
                "value_wei": minute.value.to_string(),
            })
        }))
    }

    fn transfers(&self) -> BTreeMap<Row, i64> {
        rows(self.transfers.iter().map(|(start, count)| json!({ "minute": clock(*start), "transfers": count })))
    }

    fn amounts(&self) -> BTreeMap<Row, i64> {
        rows(self.amounts.iter().map(|(token, amounts)| {
            let sum = amounts.iter().fold(U256::ZERO, |sum, amount| sum.checked_add(*amount).unwrap());
            json!({
                "token_address": token, "transfers": amounts.len(), "amount": sum.to_string(),
                "least": amounts.iter().min().unwrap().to_string(),
                "most": amounts.iter().max().unwrap().to_string(),
            })
        }))
    }
}

fn wide(value: &Value) -> U256 {
    U256::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

fn rows(values: impl Iterator<Item = Value>) -> BTreeMap<Row, i64> {
    values.map(|value| (Row::of_json(&value), 1)).collect()
}

/// The recording is of one day.
fn clock(seconds: u64) -> String {
    const MIDNIGHT: u64 = 1_689_206_400;
    let since = seconds.checked_sub(MIDNIGHT).filter(|since| *since < 86_400).unwrap();
    format!("2023-07-13T{:02}:{:02}:{:02}Z", since / 3600, since / 60 % 60, since % 60)
}

/// The recording, unpacked once on a desk: a debug build unpacks slowly.
fn unpacked(folder: &Path) -> (Desk, Vec<(Value, Value)>) {
    let desk = Desk::new(JOB);
    let blocks = read_lines(&folder.join("blocks.jsonl.gz"));
    let receipts = read_lines(&folder.join("receipts.jsonl.gz"));
    assert_eq!(blocks.len(), receipts.len());
    desk.write("chain/blocks.jsonl", lines(&blocks));
    desk.write("chain/receipts.jsonl", lines(&receipts));
    (desk, blocks.into_iter().zip(receipts).collect())
}

fn assert_equal(desk: &Desk, out: &str, expected: &Expected) {
    let contents = |view: &str| Table::read(&desk.path(out).join(view)).contents();
    assert_eq!(contents("minutes"), expected.minutes());
    assert_eq!(contents("transfers"), expected.transfers());
    assert_eq!(contents("amounts"), expected.amounts());
}

#[test]
fn totals_of_mainnet_equal_an_independent_computation() {
    let Some(folder) = shared(FOLDER) else { return };
    let (desk, chain) = unpacked(&folder);
    let mut expected = Expected::default();
    chain.iter().for_each(|(block, receipts)| expected.add(block, receipts));
    assert!(expected.amounts.len() > 50);
    let ran: Ran = desk.run(&["--out", &desk.at("all"), "--workers", "2"]).succeeds();
    assert_eq!(ran.summary()["blocks"], 12);
    assert_equal(&desk, "all", &expected);

    let (first, last) = (17_686_113, 17_686_118);
    let mut part = Expected::default();
    let within = |block: &Value| (first..=last).contains(&quantity(&block["number"]));
    chain.iter().filter(|(block, _)| within(block)).for_each(|(block, receipts)| part.add(block, receipts));
    let (first, last) = (first.to_string(), last.to_string());
    let out = desk.at("part");
    let arguments = ["replay", &desk.job, "--from", &first, "--to", &last, "--out", &out];
    let ran = crate::command::run(&arguments).succeeds();
    assert_eq!(ran.summary()["blocks"], 6);
    assert_equal(&desk, "part", &part);
}

/// What is on disk compressed reads the same.
#[test]
fn the_compressed_folder_reads_the_same() {
    let Some(folder) = shared(FOLDER) else { return };
    let desk = Desk::new(JOB);
    let set = format!("eth.path={}", text(&folder));
    let out = desk.at("out");
    let arguments = ["replay", &desk.job, "--to", "17686111", "--set", &set, "--out", &out];
    assert_eq!(crate::command::run(&arguments).succeeds().summary()["blocks"], 2);
    let blocks = read_lines(&folder.join("blocks.jsonl.gz"));
    let receipts = read_lines(&folder.join("receipts.jsonl.gz"));
    let mut expected = Expected::default();
    blocks.iter().zip(&receipts).take(2).for_each(|(block, receipts)| expected.add(block, receipts));
    assert_equal(&desk, "out", &expected);
}

/// Who takes tokens out of five wallets or more and gives them nothing, said once more over the logs alone.
fn takers(receipts: &[Value]) -> BTreeSet<String> {
    const DEPOSIT: &str = "0xe1fffcc4923d04b559f4d29a8bfc6cda04eb5b0d3c460751c2402c5c5cc9109c";
    const WITHDRAWAL: &str = "0x7fcf532c15f0a6db0bd6d0e038bea71d30d808c7d98cb3bf7268a95bf5081b65";
    const ZERO: &str = "0x0000000000000000000000000000000000000000";
    let address = |topic: &Value| format!("0x{}", &topic.as_str().unwrap().to_lowercase()[26..]);
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for receipt in receipts {
        let (mut gives, mut gets) = (BTreeSet::new(), BTreeSet::new());
        for log in receipt["logs"].as_array().unwrap() {
            let topics = log["topics"].as_array().unwrap();
            if log["data"].as_str().unwrap().len() != 66 || wide(&log["data"]).is_zero() {
                continue;
            }
            match (topics.first().and_then(Value::as_str), topics.len()) {
                (Some(TRANSFER), 3) => {
                    gives.insert(address(&topics[1]));
                    gets.insert(address(&topics[2]));
                }
                (Some(DEPOSIT), 2) => drop(gets.insert(address(&topics[1]))),
                (Some(WITHDRAWAL), 2) => drop(gives.insert(address(&topics[1]))),
                _ => {}
            }
        }
        let own = [receipt["from"].as_str(), receipt["to"].as_str(), Some(ZERO)];
        let own: BTreeSet<String> = own.into_iter().flatten().map(str::to_lowercase).collect();
        let taken = gives.difference(&gets).filter(|wallet| !own.contains(*wallet)).cloned();
        owners.entry(receipt["from"].as_str().unwrap().to_lowercase()).or_default().extend(taken);
    }
    owners.into_iter().filter(|(_, owners)| owners.len() >= 5).map(|(taker, _)| taker).collect()
}

#[test]
fn approval_drains_are_found() {
    let Some(folder) = shared(FOLDER) else { return };
    let receipts = read_lines(&folder.join("receipts.jsonl.gz"));
    let receipts: Vec<Value> =
        receipts.iter().flat_map(|block| block_receipts(block).as_array().unwrap().clone()).collect();
    let job = text(&crate::command::here("jobs/approval_drain.sql"));
    let desk = Desk::new("");
    let path = format!("eth.path={}", text(&folder));
    let ran = crate::command::run(&["run", &job, "--set", &path, "--out", &desk.at("out")]).succeeds();
    let told: BTreeSet<String> = ran
        .lines_of("drains_out")
        .iter()
        .filter(|line| line["row"]["kind"] == "fire")
        .map(|line| line["row"]["group_key"].as_str().unwrap().to_owned())
        .collect();
    // Exchanges that sweep deposit addresses, in these blocks.
    assert_eq!(told, takers(&receipts));
    assert!(told.len() > 2, "{told:?}");
}

/// The receipts of a line: the answer of `eth_getBlockReceipts`, or what is around it.
fn block_receipts(line: &Value) -> &Value {
    if line.is_array() { line } else { &line["receipts"] }
}
