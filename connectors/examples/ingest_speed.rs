//! Thread CPU time from the JSON-RPC text of blocks with receipts to Arrow tables (every column of
//! blocks, transactions, logs and token transfers), beside parsing the same text into alloy's types.
//!
//! `cargo run --release -p highwater-connectors --example ingest_speed -- FOLDER [RUNS]`, where the folder
//! has `blocks.jsonl.gz` and `receipts.jsonl.gz`. The least of all runs counts; with the name of one
//! line as a third word only that is run, for a profiler.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use alloy_rpc_types_eth::{Block, TransactionReceipt};
use flate2::read::MultiGzDecoder;
use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
use highwater_connectors::evm::verify::Level;
use highwater_engine::clock::thread_cpu;
use highwater_engine::model::evm;
use highwater_engine::source::{ReadRequest, TableRequest};

type Work = fn(&[(String, String)]) -> usize;

const WORKS: [(&str, Work); 4] = [
    ("arrow, roots", |texts| to_arrow(texts, true, Level::Roots)),
    ("arrow, validated", |texts| to_arrow(texts, true, Level::Bloom)),
    ("arrow", |texts| to_arrow(texts, false, Level::Off)),
    ("alloy", to_alloy),
];

#[expect(clippy::print_stdout, reason = "the example's result")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder with blocks.jsonl.gz and receipts.jsonl.gz");
    let runs: usize = arguments.next().map_or(15, |runs| runs.parse().expect("a number of runs"));
    let only = arguments.next();
    let lines = |name| lines(&Path::new(&folder).join(name));
    let texts: Vec<_> = lines("blocks.jsonl.gz").into_iter().zip(lines("receipts.jsonl.gz")).collect();
    let works = WORKS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| name == only));
    let mut least: Vec<_> = works.map(|(name, work)| (*name, *work, Duration::MAX)).collect();
    // In turn, so that a machine that changes its speed changes it for all.
    for _ in 0..runs {
        for (_, work, least) in &mut least {
            let before = thread_cpu();
            black_box(work(&texts));
            *least = (thread_cpu() - before).min(*least);
        }
    }
    let bytes: usize = texts.iter().map(|(block, receipts)| block.len() + receipts.len()).sum();
    let last = least.last().expect("a work of that name").2.as_secs_f64();
    for (name, _, time) in &least {
        let seconds = time.as_secs_f64();
        println!(
            "{name:18} {:7.0} us, {:5.0} us a block, {:5.0} MB/s, {:.3} of the last",
            seconds * 1e6,
            seconds * 1e6 / texts.len() as f64,
            bytes as f64 / seconds / 1e6,
            seconds / last,
        );
    }
}

fn to_arrow(texts: &[(String, String)], validate: bool, verify: Level) -> usize {
    let tables = ["blocks", "transactions", "logs", "token_transfers"].map(|name| TableRequest {
        name: name.to_owned(),
        columns: (0..evm::schema(name).expect("a table of EVM sources").fields().len()).collect(),
    });
    let request = ReadRequest { tables: tables.into(), ..ReadRequest::default() };
    let settings = IngestSettings { validate, verify, ..IngestSettings::default() };
    let mut ingest = EvmIngest::new(&request, settings).expect("these tables exist");
    let mut rows = 0;
    for (block, receipts) in texts {
        ingest.push(&"the recording", block, Some(receipts), None).expect("a good block");
        // Block by block, as the readers of recordings and of nodes deliver.
        rows += black_box(ingest.finish()).expect("columns of one length").row_count();
    }
    rows
}

fn to_alloy(texts: &[(String, String)]) -> usize {
    let mut transactions = 0;
    for (block, receipts) in texts {
        let block: Block = serde_json::from_str(block).expect("a block");
        let receipts: Vec<TransactionReceipt> = serde_json::from_str(receipts).expect("receipts");
        transactions += block.transactions.len();
        black_box((block, receipts));
    }
    transactions
}

fn lines(path: &Path) -> Vec<String> {
    let file = File::open(path).expect("the file can be opened");
    BufReader::new(MultiGzDecoder::new(file)).lines().collect::<Result<_, _>>().expect("gzipped text")
}
