//! Chains from files: a recorded run with competing branches, or a folder of JSON-RPC results.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::B256;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chain::{Block, Chain, Json, Traces, quantity};

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
            let line_traces = traces.as_mut().and_then(Iterator::next);
            let line: Event<'_> = parse(&line);
            let Some(block) = line.block else { continue };
            let traces = line_traces.as_deref().map(|text| traces_of(&parse(text))).unwrap_or_default();
            let block = Block::from_text(block.get(), line.receipts.map_or("[]", RawValue::get), traces);
            let wins = line.event.as_deref() == Some("branch_new");
            if wins && branch == Some(block.parent) {
                chain.steps.pop();
            }
            branch = wins.then_some(block.hash);
            let before = line.event.as_deref() == Some("setup") || chain.blocks.is_empty();
            let heads = if before { &mut chain.before } else { &mut chain.steps };
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
            let receipts = receipts.as_mut().and_then(Iterator::next);
            let parity = traces.as_mut().and_then(Iterator::next).map(|text| Json::new(&text));
            let receipts = receipts.as_deref().unwrap_or("[]");
            let block = Block::from_text(&block, receipts, Traces { parity, call_tracer: None });
            let heads = if chain.blocks.is_empty() { &mut chain.before } else { &mut chain.steps };
            heads.push(block.hash);
            chain.blocks.push(Arc::new(block));
        }
        chain.chain_id = chain_id_of(&chain.blocks);
        chain
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default)]
    event: Option<String>,
    #[serde(borrow, default)]
    block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    receipts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct EventTraces<'a> {
    #[serde(borrow, default)]
    trace_block: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "callTracer")]
    call_tracer: Option<&'a RawValue>,
}

fn traces_of(line: &EventTraces<'_>) -> Traces {
    let json = |raw: Option<&RawValue>| raw.map(|raw| Json::new(raw.get()));
    Traces { parity: json(line.trace_block), call_tracer: json(line.call_tracer) }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("a recorded line cannot be read: {error}"))
}

/// The file `name` in the folder of `path`, plain or compressed.
fn sibling(path: &Path, name: &str) -> Option<PathBuf> {
    let plain = path.with_file_name(name);
    [plain.clone(), plain.with_file_name(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

fn lines(path: &Path) -> impl Iterator<Item = String> + use<> {
    let file = File::open(path).unwrap_or_else(|error| panic!("opening {} failed: {error}", path.display()));
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let name = path.display().to_string();
    let lines = BufReader::new(reader).lines();
    lines.map(move |line| line.unwrap_or_else(|error| panic!("reading {name} failed: {error}")))
}

/// The chain id that the first transaction with one names; 1 if none does. Looks at a few blocks only.
fn chain_id_of(blocks: &[Arc<Block>]) -> u64 {
    const LOOK_AT: usize = 8;
    let transactions = blocks.iter().take(LOOK_AT).filter_map(|block| block.body()["transactions"].as_array());
    transactions.flatten().filter_map(|transaction| quantity(&transaction["chainId"])).next().unwrap_or(1)
}
