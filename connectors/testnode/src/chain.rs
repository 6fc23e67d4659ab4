//! Blocks as a node knows them, and the order in which they become the head.

use std::sync::Arc;

use alloy_primitives::B256;
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
    /// The answer of `eth_getBlockByHash(hash, true)`.
    pub block: Value,
    /// The answer of `eth_getBlockReceipts(hash)`.
    pub receipts: Vec<Value>,
    /// What the trace APIs answer.
    pub traces: Traces,
}

/// The traces of a block, by the API that gives them.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// The answer of `trace_block`.
    pub parity: Option<Value>,
    /// The answer of `debug_traceBlockByHash` with the `callTracer`.
    pub call_tracer: Option<Value>,
}

impl Block {
    /// A block from the JSON of a node.
    ///
    /// # Panics
    /// If number, hash or parent hash are missing or no hexadecimal text.
    pub fn new(block: Value, receipts: Vec<Value>, traces: Traces) -> Block {
        Block {
            number: quantity(&block["number"]).expect("the block has a number"),
            hash: hash(&block["hash"]).expect("the block has a hash"),
            parent: hash(&block["parentHash"]).expect("the block has a parent hash"),
            block,
            receipts,
            traces,
        }
    }

    /// All logs in order; `removed` says whether they are announced as taken back.
    pub fn logs(&self, removed: bool) -> Vec<Value> {
        let lists = self.receipts.iter().filter_map(|receipt| receipt["logs"].as_array());
        let mut logs: Vec<Value> = lists.flatten().cloned().collect();
        for log in &mut logs {
            log["removed"] = Value::Bool(removed);
        }
        logs
    }

    /// The header as `newHeads` announces it.
    pub(crate) fn header(&self) -> Value {
        let mut header = self.block.clone();
        if let Some(fields) = header.as_object_mut() {
            for absent in ["transactions", "size", "withdrawals", "uncles", "totalDifficulty"] {
                fields.remove(absent);
            }
        }
        header
    }

    /// The block with whole transactions or with their hashes.
    pub(crate) fn body(&self, full: bool) -> Value {
        let mut block = self.block.clone();
        if !full && let Some(transactions) = block["transactions"].as_array_mut() {
            for transaction in transactions {
                *transaction = transaction["hash"].take();
            }
        }
        block
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
