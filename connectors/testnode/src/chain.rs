//! Blocks as a node knows them, and the order in which they become the head.

use std::sync::{Arc, OnceLock};

use alloy_primitives::B256;
use serde::Deserialize;
use serde_json::Value;

/// What a node knows of one block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: B256,
    /// Hash of the block below.
    pub parent: B256,
    block: Json,
    receipts: Json,
    traces: Traces,
}

/// JSON as text, and parsed when somebody looks inside: most answers need only the text.
#[derive(Clone, Debug)]
pub(crate) struct Json {
    text: Box<str>,
    value: OnceLock<Value>,
}

impl Json {
    pub(crate) fn new(text: &str) -> Json {
        Json { text: text.into(), value: OnceLock::new() }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn value(&self) -> &Value {
        self.value.get_or_init(|| serde_json::from_str(&self.text).expect("the text was JSON when it was taken in"))
    }
}

/// The traces of a block, by the API that gives them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces {
    /// The answer of `trace_block`.
    pub(crate) parity: Option<Json>,
    /// The answer of `debug_traceBlockByHash` with the `callTracer`.
    pub(crate) call_tracer: Option<Json>,
}

/// What has to be known of a block before anybody looks inside.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    number: Value,
    hash: B256,
    parent_hash: B256,
}

impl Block {
    /// A block from what a node answers: the block with whole transactions, and its receipts.
    ///
    /// # Panics
    /// If number, hash or parent hash are missing or no hexadecimal text.
    pub fn new(block: &Value, receipts: &[Value]) -> Block {
        let receipts = Value::from(receipts.to_vec()).to_string();
        Block::from_text(&block.to_string(), &receipts, Traces::default())
    }

    pub(crate) fn from_text(block: &str, receipts: &str, traces: Traces) -> Block {
        let place: Place = serde_json::from_str(block).unwrap_or_else(|error| panic!("no block: {error}"));
        Block {
            number: quantity(&place.number).expect("the number of a block is hexadecimal text"),
            hash: place.hash,
            parent: place.parent_hash,
            block: Json::new(block),
            receipts: Json::new(receipts),
            traces,
        }
    }

    /// The answer of `eth_getBlockByHash(hash, true)`.
    pub fn body(&self) -> &Value {
        self.block.value()
    }

    /// The answer of `eth_getBlockReceipts(hash)`.
    pub fn receipts(&self) -> &[Value] {
        self.receipts.value().as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// All logs in order; `removed` says whether they are announced as taken back.
    pub fn logs(&self, removed: bool) -> Vec<Value> {
        let lists = self.receipts().iter().filter_map(|receipt| receipt["logs"].as_array());
        let mut logs: Vec<Value> = lists.flatten().cloned().collect();
        for log in &mut logs {
            log["removed"] = Value::Bool(removed);
        }
        logs
    }

    /// The header as `newHeads` announces it.
    pub(crate) fn header(&self) -> Value {
        const ABSENT: [&str; 5] = ["transactions", "size", "withdrawals", "uncles", "totalDifficulty"];
        let fields = self.body().as_object().into_iter().flatten();
        fields.filter(|(name, _)| !ABSENT.contains(&name.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// The block as text, with whole transactions.
    pub(crate) fn text(&self) -> &str {
        self.block.text()
    }

    /// The receipts as text.
    pub(crate) fn receipts_text(&self) -> &str {
        self.receipts.text()
    }

    pub(crate) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// The block with the hashes of its transactions.
    pub(crate) fn with_hashes(&self) -> Value {
        let fields = self.body().as_object().into_iter().flatten();
        let hashes = |value: &Value| {
            let transactions = value.as_array().into_iter().flatten();
            transactions.map(|transaction| transaction["hash"].clone()).collect::<Value>()
        };
        let field = |(name, value): (&String, &Value)| {
            (name.clone(), if name == "transactions" { hashes(value) } else { value.clone() })
        };
        fields.map(field).collect()
    }
}

/// Blocks, the head to start with, and the heads that follow.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    pub(crate) chain_id: u64,
    pub(crate) blocks: Vec<Arc<Block>>,
    /// Heads before the node starts, set one after the other and announced to nobody.
    pub(crate) before: Vec<B256>,
    /// One head a step. A step to a block of another branch is a reorg.
    pub(crate) steps: Vec<B256>,
}

impl Chain {
    /// A chain from known blocks: `head` is where the node starts, `steps` are the heads that follow.
    pub fn new(chain_id: u64, blocks: Vec<Arc<Block>>, head: B256, steps: &[B256]) -> Chain {
        Chain { chain_id, blocks, before: vec![head], steps: steps.to_vec() }
    }

    /// All blocks, of every branch.
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Makes the node start `count` steps later.
    #[must_use]
    pub fn started_after(mut self, count: usize) -> Chain {
        let later = self.steps.split_off(count.min(self.steps.len()));
        self.before.append(&mut self.steps);
        self.steps = later;
        self
    }
}

/// Reads a number that is hexadecimal text or a JSON number.
pub(crate) fn quantity(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => u64::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
        other => other.as_u64(),
    }
}

/// Reads a hash.
pub(crate) fn hash(value: &Value) -> Option<B256> {
    value.as_str()?.parse().ok()
}

/// A number as JSON-RPC writes it.
pub(crate) fn hex(number: u64) -> Value {
    Value::String(format!("{number:#x}"))
}
