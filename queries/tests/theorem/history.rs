//! Random chains: blocks with rows, forks of depth one to twelve, transactions that come again.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{HASH_TYPE, timestamp_type};
use highwater_engine::model::{BlockHash, BlockRef, BlockRun, TableRows};
use highwater_engine::source::SourceEvent;
use proptest::prelude::*;

/// How many blocks are on top of a final block.
pub(crate) const CONFIRMATIONS: u64 = 13;

/// One row of the table `eth.events`, without the columns of its block.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) transaction: u8,
    pub(crate) key: Option<i64>,
    pub(crate) text: Option<&'static str>,
    pub(crate) amount: i64,
    pub(crate) weight: f64,
    pub(crate) flag: Option<bool>,
}

/// One block with its rows.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) block: BlockRef,
    pub(crate) rows: Vec<Row>,
    pub(crate) moves: Vec<Move>,
}

/// One row of the table `eth.moves`, without the columns of its block.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) key: Option<i64>,
    pub(crate) text: Option<&'static str>,
    pub(crate) value: Option<i64>,
}

/// What a source hands over: runs of blocks, each canonical when it comes.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) runs: Vec<Vec<Block>>,
}

pub(crate) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("block_number", DataType::Int64, false),
            Field::new("block_hash", HASH_TYPE, false),
            Field::new("block_timestamp", timestamp_type(), false),
            Field::new("transaction_hash", HASH_TYPE, false),
            Field::new("k", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("a", DataType::Int64, false),
            Field::new("w", DataType::Float64, false),
            Field::new("b", DataType::Boolean, true),
        ]))
    });
    SCHEMA.clone()
}

/// The rows of blocks as a batch.
pub(crate) fn batch(blocks: &[Block]) -> RecordBatch {
    let rows: Vec<(&BlockRef, &Row)> =
        blocks.iter().flat_map(|block| block.rows.iter().map(|row| (&block.block, row))).collect();
    let hashes = |hash: &dyn Fn(&(&BlockRef, &Row)) -> [u8; 32]| -> ArrayRef {
        let values = rows.iter().map(|row| Some(hash(row)));
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 32).unwrap())
    };
    let numbers = rows.iter().map(|(block, _)| i64::try_from(block.number).unwrap());
    let times = rows.iter().map(|(block, _)| block.timestamp_ms);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers)),
        hashes(&|(block, _)| block.hash.0),
        Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC")),
        hashes(&transaction_hash),
        Arc::new(Int64Array::from_iter(rows.iter().map(|(_, row)| row.key))),
        Arc::new(StringArray::from_iter(rows.iter().map(|(_, row)| row.text))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, row)| row.amount))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, row)| row.weight))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|(_, row)| row.flag))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub(crate) fn moves_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("block_number", DataType::Int64, false),
            Field::new("block_hash", HASH_TYPE, false),
            Field::new("block_timestamp", timestamp_type(), false),
            Field::new("k", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("v", DataType::Int64, true),
        ]))
    });
    SCHEMA.clone()
}

/// The moves of blocks as a batch.
pub(crate) fn moves_batch(blocks: &[Block]) -> RecordBatch {
    let rows: Vec<(&BlockRef, &Move)> =
        blocks.iter().flat_map(|block| block.moves.iter().map(|row| (&block.block, row))).collect();
    let hashes = rows.iter().map(|(block, _)| Some(block.hash.0));
    let times = rows.iter().map(|(block, _)| block.timestamp_ms);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(block, _)| i64::try_from(block.number).unwrap()))),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(hashes, 32).unwrap()),
        Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(Int64Array::from_iter(rows.iter().map(|(_, row)| row.key))),
        Arc::new(StringArray::from_iter(rows.iter().map(|(_, row)| row.text))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|(_, row)| row.value))),
    ];
    RecordBatch::try_new(moves_schema(), columns).unwrap()
}

/// A transaction is in one block of a chain; on another branch it is in a block of the same height.
fn transaction_hash((block, row): &(&BlockRef, &Row)) -> [u8; 32] {
    let mut hash = [row.transaction; 32];
    hash[..8].copy_from_slice(&block.number.to_be_bytes());
    hash
}

impl History {
    /// The canonical chain after the first `count` blocks that were delivered (counted in whole ticks).
    pub(crate) fn canonical_after(&self, count: usize) -> Vec<Block> {
        let mut chain: Vec<Block> = Vec::new();
        for block in self.runs.iter().flatten().take(count) {
            while chain.last().is_some_and(|last| last.block.hash != block.block.parent) {
                chain.pop();
            }
            chain.push(block.clone());
        }
        chain
    }

    /// As a source would send it: these tables, by name and columns. The cursor is the index of the run.
    pub(crate) fn events(&self, tables: &[(String, Vec<usize>)]) -> Vec<SourceEvent> {
        (0..)
            .zip(&self.runs)
            .map(|(cursor, blocks)| {
                let rows = |(name, columns): &(String, Vec<usize>)| {
                    let moves = name == "moves";
                    let mut ends = Vec::new();
                    for block in blocks {
                        let count = if moves { block.moves.len() } else { block.rows.len() };
                        ends.push(ends.last().copied().unwrap_or(0) + count);
                    }
                    let batch = if moves { moves_batch(blocks) } else { batch(blocks) };
                    TableRows { batch: batch.project(columns).unwrap(), ends }
                };
                let run = BlockRun {
                    blocks: blocks.iter().map(|block| block.block).collect(),
                    tables: tables.iter().map(rows).collect(),
                };
                let head = blocks.last().map_or(0, |block| block.block.number);
                SourceEvent::Blocks { run, cursor, finalized: head.checked_sub(CONFIRMATIONS) }
            })
            .collect()
    }
}

/// A step of a history: rows of new blocks, and how many blocks they replace.
#[derive(Clone, Debug)]
struct Step {
    depth: usize,
    blocks: Vec<(u8, Vec<Row>, Vec<Move>)>,
    /// Rows of replaced blocks come again in the new ones.
    again: bool,
}

fn row() -> impl Strategy<Value = Row> {
    let texts = prop::option::weighted(0.85, prop::sample::select(vec!["a", "b", "c", "weth"]));
    let key = prop::option::weighted(0.9, -2_i64..4);
    let weight = (-8_i32..8).prop_map(|halves| f64::from(halves) * 0.5);
    let flag = prop::option::weighted(0.9, any::<bool>());
    (0_u8..40, key, texts, -50_i64..100, weight, flag).prop_map(|(transaction, key, text, amount, weight, flag)| Row {
        transaction,
        key,
        text,
        amount,
        weight,
        flag,
    })
}

fn step(rows: usize) -> impl Strategy<Value = Step> {
    let blocks = prop::collection::vec(
        (1_u8..30, prop::collection::vec(row(), 0..rows), prop::collection::vec(moved(), 0..rows)),
        1..4,
    );
    let depth = prop_oneof![6 => Just(0_usize), 2 => 1_usize..4, 1 => 4_usize..=12];
    (depth, blocks, any::<bool>()).prop_map(|(depth, blocks, again)| Step { depth, blocks, again })
}

fn moved() -> impl Strategy<Value = Move> {
    let texts = prop::option::weighted(0.85, prop::sample::select(vec!["a", "b", "weth"]));
    (prop::option::weighted(0.85, -2_i64..4), texts, prop::option::weighted(0.85, -3_i64..30))
        .prop_map(|(key, text, value)| Move { key, text, value })
}

/// Histories of up to 40 deliveries.
pub(crate) fn history() -> impl Strategy<Value = History> {
    prop::collection::vec(step(6), 4..40).prop_map(|steps| assemble(&steps))
}

/// Histories of so few rows that what grows with their square can be told from scratch at every tick.
pub(crate) fn short_history() -> impl Strategy<Value = History> {
    prop::collection::vec(step(3), 2..14).prop_map(|steps| assemble(&steps))
}

fn assemble(steps: &[Step]) -> History {
    let mut chain: Vec<Block> = Vec::new();
    let mut highest = 0_u64;
    let mut runs = Vec::new();
    for (branch, step) in (1_u64..).zip(steps) {
        // Never below finality: that is an error and has its own tests.
        let open = chain.iter().filter(|block| block.block.number + CONFIRMATIONS > highest).count();
        let depth = step.depth.min(open.saturating_sub(1)).min(chain.len().saturating_sub(1));
        let replaced = chain.split_off(chain.len() - depth);
        let mut run = Vec::new();
        // A branch that replaces blocks is at least as long as what it replaces, as on a real chain.
        let count = step.blocks.len().max(depth);
        for index in 0..count {
            let (seconds, rows, moves) = &step.blocks[index % step.blocks.len()];
            let new = index < step.blocks.len();
            let mut rows = if new { rows.clone() } else { Vec::new() };
            let mut moves = if new { moves.clone() } else { Vec::new() };
            if step.again
                && let Some(old) = replaced.get(index)
            {
                rows.extend(old.rows.clone());
                moves.extend(old.moves.clone());
            }
            let block = child(chain.last(), branch, i64::from(*seconds));
            chain.push(Block { block, rows, moves });
            run.push(chain.last().cloned().unwrap());
        }
        highest = highest.max(chain.last().map_or(0, |block| block.block.number));
        runs.push(run);
    }
    History { runs }
}

fn child(parent: Option<&Block>, branch: u64, seconds: i64) -> BlockRef {
    let (number, parent_hash, time) = match parent {
        Some(parent) => (parent.block.number + 1, parent.block.hash, parent.block.timestamp_ms),
        None => (1, BlockHash::default(), 1_700_000_000_000),
    };
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&branch.to_be_bytes());
    hash[24..].copy_from_slice(&number.to_be_bytes());
    BlockRef { number, hash: BlockHash(hash), parent: parent_hash, timestamp_ms: time + seconds * 1000 }
}
