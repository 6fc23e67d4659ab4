//! Real logs as inputs of the target `decoders`: receipts on standard input, a JSON list or an event with
//! `receipts` a line; one file for each two neighbouring transactions with logs that decoders want.

use std::error::Error;
use std::fs;
use std::io::{BufRead, stdin};
use std::path::Path;

use highwater_connectors::evm::decode::testing::encode_log;
use serde_json::Value;

/// An input longer than this is read only by its front, so it is not written.
const LONGEST: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: seed FOLDER < RECEIPTS")?;
    let mut transactions = Vec::new();
    for line in stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let receipts = line.get("receipts").unwrap_or(&line).as_array();
        transactions.extend(receipts.into_iter().flatten().map(encode).filter(|logs| !logs.is_empty()));
    }
    let mut written = 0;
    for (number, pair) in transactions.chunks(2).enumerate() {
        let input = pair.concat();
        if input.len() <= LONGEST {
            fs::write(Path::new(&folder).join(format!("real-{number:05}")), input)?;
            written += 1;
        }
    }
    eprintln!("{written} inputs from {} transactions", transactions.len());
    Ok(())
}

/// The logs of a receipt, without those that no decoder wants.
fn encode(receipt: &Value) -> Vec<u8> {
    let logs = receipt["logs"].as_array().into_iter().flatten();
    let encoded = logs.filter_map(|log| {
        let topics = log["topics"].as_array()?.iter().map(|topic| bytes(topic)?.try_into().ok());
        encode_log(&bytes(&log["address"])?.try_into().ok()?, &topics.collect::<Option<Vec<_>>>()?, &bytes(&log["data"])?)
    });
    encoded.flatten().collect()
}

fn bytes(hex: &Value) -> Option<Vec<u8>> {
    let digits = hex.as_str()?.strip_prefix("0x")?;
    let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
    pairs.collect()
}
