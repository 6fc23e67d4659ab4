//! Chains from files: a recorded run with competing branches, or a folder of JSON-RPC results.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::B256;
use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::chain::{Block, Chain, Traces, quantity};

impl Chain {
    /// A recorded run: a file of block events (`blocks.ndjson[.gz]`), with `traces.ndjson[.gz]` beside it or not.
    ///
    /// The node starts at the last block of `setup`, or at the first block if there is none. Each `head` and
    /// each `branch_old` is a step; a whole winning branch (`branch_new`) is one step, an atomic reorg.
    ///
    /// # Panics
    /// If a file cannot be read or a line is not what it should be.
    pub fn recorded(path: &Path) -> Chain {
        let mut traces = sibling(path, "traces.ndjson").map(|path| lines(&path));
        let mut chain = Chain::default();
        let mut branch: Option<B256> = None;
        for line in lines(path) {
            let line_traces = traces.as_mut().and_then(Iterator::next).unwrap_or_default();
            if line["block"].is_null() {
                continue;
            }
            let (event, block) = event(line, line_traces);
            if event == "branch_new" && branch == Some(block.parent) {
                chain.steps.pop();
            }
            branch = (event == "branch_new").then_some(block.hash);
            let heads = if event == "setup" || chain.blocks.is_empty() { &mut chain.before } else { &mut chain.steps };
            heads.push(block.hash);
            chain.blocks.push(Arc::new(block));
        }
        chain.chain_id = chain_id_of(&chain.blocks);
        chain
    }

    /// A folder with `blocks.jsonl[.gz]`, `receipts.jsonl[.gz]` and perhaps `traces.jsonl[.gz]`: line `n` of each
    /// is about the same block. The node starts at the first block; each further block is a step.
    ///
    /// # Panics
    /// If a file cannot be read or a line is not what it should be.
    pub fn folder(path: &Path) -> Chain {
        let blocks = sibling(&path.join("blocks"), "blocks.jsonl").expect("the folder has blocks");
        let mut receipts = sibling(&blocks, "receipts.jsonl").map(|path| lines(&path));
        let mut traces = sibling(&blocks, "traces.jsonl").map(|path| lines(&path));
        let mut chain = Chain::default();
        for block in lines(&blocks) {
            let receipts = receipts.as_mut().and_then(Iterator::next).unwrap_or_default();
            let parity = traces.as_mut().and_then(Iterator::next);
            let block = Block::new(block, list(receipts), Traces { parity, call_tracer: None });
            let heads = if chain.blocks.is_empty() { &mut chain.before } else { &mut chain.steps };
            heads.push(block.hash);
            chain.blocks.push(Arc::new(block));
        }
        chain.chain_id = chain_id_of(&chain.blocks);
        chain
    }
}

fn event(mut line: Value, mut traces: Value) -> (String, Block) {
    let event = line["event"].as_str().unwrap_or("head").to_owned();
    let given = |traces: &mut Value, name: &str| traces.get_mut(name).map(Value::take).filter(Value::is_array);
    let traces = Traces { parity: given(&mut traces, "trace_block"), call_tracer: given(&mut traces, "callTracer") };
    let block = Block::new(line["block"].take(), list(line["receipts"].take()), traces);
    (event, block)
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// The file `name` in the folder of `path`, plain or compressed.
fn sibling(path: &Path, name: &str) -> Option<PathBuf> {
    let plain = path.with_file_name(name);
    [plain.clone(), plain.with_file_name(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

fn lines(path: &Path) -> impl Iterator<Item = Value> + use<> {
    let file = File::open(path).unwrap_or_else(|error| panic!("opening {} failed: {error}", path.display()));
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let name = path.display().to_string();
    BufReader::new(reader).lines().enumerate().map(move |(index, line)| {
        let line = line.unwrap_or_else(|error| panic!("reading {name} failed: {error}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("line {} of {name}: {error}", index + 1))
    })
}

/// The chain id that the first transaction with one names; 1 if none does.
fn chain_id_of(blocks: &[Arc<Block>]) -> u64 {
    let transactions = blocks.iter().filter_map(|block| block.block["transactions"].as_array()).flatten();
    transactions.filter_map(|transaction| quantity(&transaction["chainId"])).next().unwrap_or(1)
}
