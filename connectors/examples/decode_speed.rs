//! Thread CPU time of decoding the logs of real blocks: for each table made of logs alone, and for all.
//! What reading the JSON text of block and receipts takes is measured by itself and taken off.
//!
//! `cargo run --release -p highwater-connectors --example decode_speed -- FOLDER`, where the folder has
//! `blocks.jsonl.gz` and `receipts.jsonl.gz`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
use highwater_engine::clock::thread_cpu;
use highwater_engine::model::evm;
use highwater_engine::source::{ReadRequest, SourceError, TableRequest};

const ROUNDS: usize = 30;

/// The tables made of logs.
const DECODED: [&str; 9] = [
    "token_transfers",
    "dex_swaps",
    "pools",
    "liquidity_events",
    "liquidation_events",
    "aggregator_trades",
    "flash_loans",
    "oracle_updates",
    "inferred_swaps",
];

#[expect(clippy::print_stdout, reason = "the example's result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give the folder of the blocks")?);
    let (blocks, receipts) = (lines(&folder, "blocks.jsonl.gz")?, lines(&folder, "receipts.jsonl.gz")?);
    let blocks: Vec<_> = blocks.into_iter().zip(receipts).collect();
    let text = micros_a_block(&blocks, &[("logs", false)])?;
    println!("{} blocks", blocks.len());
    println!("{text:8.0} us a block: reading the text of block and receipts");
    for table in DECODED {
        let micros = micros_a_block(&blocks, &[(table, true)])? - text;
        println!("{micros:8.0} us a block: {table}");
    }
    let decoded: Vec<_> = DECODED.iter().map(|table| (*table, true)).collect();
    let micros = micros_a_block(&blocks, &decoded)? - text;
    println!("{micros:8.0} us a block: all tables made of logs");
    let all = evm::tables().iter().map(|table| (table.name, true)).filter(|(name, _)| *name != "traces");
    let micros = micros_a_block(&blocks, &all.collect::<Vec<_>>())?;
    println!("{micros:8.0} us a block: text to all tables but traces");
    Ok(())
}

fn lines(folder: &Path, name: &str) -> Result<Vec<String>, std::io::Error> {
    BufReader::new(MultiGzDecoder::new(std::fs::File::open(folder.join(name))?)).lines().collect()
}

/// The least time of all rounds, with every column of each table or with none.
fn micros_a_block(blocks: &[(String, String)], tables: &[(&str, bool)]) -> Result<f64, SourceError> {
    let wanted = tables.iter().map(|(name, with_columns)| {
        let columns = evm::schema(name).map_or(0, |schema| schema.fields().len());
        TableRequest { name: (*name).to_owned(), columns: (0..if *with_columns { columns } else { 0 }).collect() }
    });
    let request = ReadRequest { tables: wanted.collect(), ..ReadRequest::default() };
    let settings = IngestSettings { validate: false, ..IngestSettings::default() };
    let mut ingest = EvmIngest::new(&request, settings)?;
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = thread_cpu();
        for (block, receipts) in blocks {
            ingest.push(&"the example", block, Some(receipts), None)?;
        }
        ingest.finish()?;
        least = least.min(thread_cpu() - start);
    }
    Ok(least.as_secs_f64() * 1e6 / blocks.len() as f64)
}
