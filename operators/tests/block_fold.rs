//! Kernels over random histories: at every tick what was emitted is the kernel's answer over the
//! canonical blocks, for kernels that remember and for those that do not.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "harness/mod.rs"]
mod harness;

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, TimestampMillisecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Relation, Shape, add, assert_same, relation, text};
use highwater_engine::error::StateError;
use highwater_engine::model::wide::{HASH_TYPE, timestamp_type};
use highwater_engine::model::{Delta, Origin};
use highwater_engine::operator::{Output, Share, StateSize, TablesOperator};
use highwater_operators::block_fold::BlockFold;
use highwater_operators::block_kernel::{BlockKernel, BlockRows, Memory};
use proptest::prelude::*;

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("block_number", DataType::Int64, false),
        Field::new("block_hash", HASH_TYPE, false),
        Field::new("block_timestamp", timestamp_type(), false),
        Field::new("value", DataType::Int64, false),
    ]))
}

fn output_schema() -> SchemaRef {
    let int = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![int("number"), int("left"), int("right"), int("before")]))
}

/// Per block: the sums of both inputs, and with memory the sum of all blocks before.
struct Sums {
    memory: Memory,
    total: i64,
    open: Vec<(u64, i64)>,
}

fn sum(batch: &RecordBatch) -> i64 {
    batch.column(0).as_primitive::<Int64Type>().values().iter().sum()
}

fn row(number: u64, left: i64, right: i64, before: i64) -> RecordBatch {
    let column = |value| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let number = i64::try_from(number).unwrap();
    RecordBatch::try_new(output_schema(), [number, left, right, before].map(column).to_vec()).unwrap()
}

impl BlockKernel for Sums {
    fn schema(&self) -> SchemaRef {
        output_schema()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let (left, right) = (sum(&rows.tables[0]), sum(&rows.tables[1]));
        let before = self.total;
        if self.memory == Memory::Chain {
            self.total += left + right;
            self.open.push((rows.number, left + right));
        }
        row(rows.number, left, right, before)
    }

    fn memory(&self) -> Memory {
        self.memory
    }

    fn forget(&mut self, number: u64) {
        let (newest, sum) = self.open.pop().expect("a block that was applied");
        assert_eq!(newest, number, "blocks are forgotten newest first");
        self.total -= sum;
    }

    fn finalize(&mut self, number: u64) {
        self.open.retain(|(open, _)| *open > number);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let mut rows = vec![row(0, self.total, 0, 0)];
        rows.extend(self.open.iter().map(|(number, sum)| row(*number, *sum, 0, 0)));
        Ok(rows)
    }

    fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        let value = |batch: &RecordBatch, column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
        self.total = value(&state[0], 1);
        let open = state[1..].iter().map(|batch| (u64::try_from(value(batch, 0)).unwrap(), value(batch, 1)));
        self.open = open.collect();
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.open.len(), bytes: 0 }
    }
}

fn fold(memory: Memory) -> BlockFold {
    let kernel = Sums { memory, total: 0, open: Vec::new() };
    BlockFold::new(Box::new(kernel), &[input_schema(), input_schema()], vec![0, 1], vec![0, 1, 2, 3])
}

fn block_rows(random: &mut Random, number: u64, time_ms: i64) -> RecordBatch {
    let count = random.index(5);
    let hash: [u8; 32] = std::array::from_fn(|at| if at < 8 { number.to_be_bytes()[at] } else { 7 });
    let values: Vec<i64> = (0..count).map(|_| i64::try_from(random.below(100)).unwrap()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![i64::try_from(number).unwrap(); count])),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size((0..count).map(|_| Some(hash)), 32).unwrap()),
        Arc::new(TimestampMillisecondArray::from(vec![time_ms; count]).with_timezone("UTC")),
        Arc::new(Int64Array::from(values)),
    ];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

/// Even values are the left input, odd ones the right.
fn split(delta: &Delta, side: i64) -> Delta {
    let values = delta.batch.column(3).as_primitive::<Int64Type>();
    let mask: BooleanArray = values.values().iter().map(|value| Some(value % 2 == side)).collect();
    let batch = filter_record_batch(&delta.batch, &mask).unwrap();
    let diffs = (0..delta.len()).filter(|row| mask.value(*row)).map(|row| delta.diffs.at(row)).collect::<Vec<_>>();
    let diffs = highwater_engine::model::Diffs::Rows(diffs.into());
    Delta { batch, diffs, origin: delta.origin }
}

/// The answers over the canonical blocks that have rows.
fn oracle(canonical: &[harness::Block], memory: Memory) -> Relation {
    let mut before = 0;
    let mut rows = Vec::new();
    for block in canonical.iter().filter(|block| block.rows.num_rows() > 0) {
        let values = block.rows.column(3).as_primitive::<Int64Type>().values();
        let side = |side| values.iter().filter(|value| **value % 2 == side).sum::<i64>();
        rows.push(text(&row(block.number, side(0), side(1), before), 0));
        if memory == Memory::Chain {
            before += values.iter().sum::<i64>();
        }
    }
    relation(rows)
}

proptest! {
    #[test]
    fn what_was_emitted_is_the_answer_over_the_canonical_chain(
        seed: u64, remembers: bool, restarts in 0u64..40, max_blocks in 1u64..8, lag in 1u64..8,
    ) {
        let memory = if remembers { Memory::Chain } else { Memory::None };
        let shape = Shape {
            seed, ticks: 25, max_blocks, max_depth: 6, reorg_percent: 35, lag, derived: false, mixed: false,
        };
        let mut history = History::new(shape, input_schema(), block_rows);
        let mut operator = fold(memory);
        let mut rows = Relation::new();
        for tick in 0..shape.ticks {
            let step = history.step(tick + 1 == shape.ticks);
            let side = |side| step.deltas.iter().map(move |delta| split(delta, side)).filter(|delta| !delta.is_empty());
            let mut output = Output::default();
            operator.on_tick(vec![side(0).collect(), side(1).collect()], &step.progress, &mut output);
            for delta in &output.deltas {
                prop_assert!(matches!(delta.origin, Origin::Block(_)), "rows go with their block");
                (0..delta.len()).for_each(|row| add(&mut rows, text(&delta.batch, row), delta.diffs.at(row)));
            }
            assert_same(&rows, &oracle(&history.canonical, memory), &format!("tick {tick}"));
            if history.random.below(100) < restarts {
                let state = operator.save().unwrap();
                operator = fold(memory);
                operator.load(&state, Share::ALL).unwrap();
            }
        }
        if remembers {
            prop_assert!(operator.size().entries <= 1, "final blocks are not kept for forgetting");
        }
    }
}
