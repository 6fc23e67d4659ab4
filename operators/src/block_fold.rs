//! Runs a [`BlockKernel`] over the blocks of each tick.
//!
//! Definition: for every tick, the accumulated output is the concatenation of the kernel's answers over
//! the canonical blocks, in order. `tests/block_fold.rs` holds the operator to it.
//!
//! State: that of the kernel; none for [`Memory::None`].
//! Reorg: the rows of a reverted block come again as input, its output is computed again and goes out
//! with the sign turned. A kernel that remembers first forgets the block, newest first.
//! Origin: every output delta is of the block its rows came from, so views over it stay linear.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatchOptions;
use arrow::array::cast::AsArray;
use arrow::array::types::{Int64Type, TimestampMillisecondType};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TablesOperator};

use crate::block_kernel::{BlockKernel, BlockRows, Memory};

/// The columns that every input has in front of what the kernel asked for.
pub const PLACE_COLUMNS: [&str; 3] = ["block_number", "block_hash", "block_timestamp"];

/// Rows collected before they are sent as one delta, in runs of final blocks.
const FINAL_ROWS: usize = 65_536;

/// A kernel as an operator.
pub struct BlockFold {
    kernel: Box<dyn BlockKernel>,
    /// For each input, an empty batch of the columns the kernel sees.
    empty: Vec<RecordBatch>,
    /// Which input each stream is.
    present: Vec<usize>,
    /// The columns of the kernel that go on.
    shown: Vec<usize>,
    finalized: Option<u64>,
}

/// The rows of one block, in pieces.
struct Gathered {
    hash: [u8; 32],
    timestamp_ms: i64,
    tables: Vec<Vec<RecordBatch>>,
}

impl BlockFold {
    /// An operator over inputs with these columns, each beginning with [`PLACE_COLUMNS`]. Of all inputs
    /// only those of the indices `present` are given, in this order; the others are always empty. Its rows
    /// have the columns `shown` of the kernel.
    ///
    /// # Panics
    /// If an input does not begin with them; the planner puts them there.
    pub fn new(
        kernel: Box<dyn BlockKernel>,
        inputs: &[SchemaRef],
        present: Vec<usize>,
        shown: Vec<usize>,
    ) -> BlockFold {
        let empty = inputs.iter().map(|schema| {
            let names: Vec<&str> = schema.fields().iter().take(3).map(|field| field.name().as_str()).collect();
            assert_eq!(names, PLACE_COLUMNS, "the first columns say which block a row is of");
            let fields: Vec<_> = schema.fields().iter().skip(PLACE_COLUMNS.len()).cloned().collect();
            RecordBatch::new_empty(Arc::new(Schema::new(fields)))
        });
        BlockFold { empty: empty.collect(), kernel, present, shown, finalized: None }
    }

    /// How rows of each input reach it.
    pub fn route(&self) -> Route {
        match self.kernel.memory() {
            Memory::None => Route::Key(vec![1]),
            Memory::Chain => Route::First,
        }
    }

    fn gather(&self, inputs: &[Vec<Delta>]) -> (BTreeMap<u64, Gathered>, BTreeMap<u64, Gathered>) {
        let (mut reverted, mut applied) = (BTreeMap::new(), BTreeMap::new());
        for (table, deltas) in self.present.iter().zip(inputs) {
            for delta in deltas {
                for (rows, diff) in blocks_of(delta) {
                    let side = if diff < 0 { &mut reverted } else { &mut applied };
                    self.add(side, *table, &rows);
                }
            }
        }
        (reverted, applied)
    }

    fn add(&self, side: &mut BTreeMap<u64, Gathered>, table: usize, rows: &RecordBatch) {
        let number = number_at(rows, 0);
        let gathered = side.entry(number).or_insert_with(|| Gathered {
            hash: rows.column(1).as_fixed_size_binary().value(0).try_into().expect("a block hash has 32 bytes"),
            timestamp_ms: rows.column(2).as_primitive::<TimestampMillisecondType>().value(0),
            tables: vec![Vec::new(); self.empty.len()],
        });
        gathered.tables[table].push(kernel_columns(rows, self.empty[table].schema()));
    }

    fn compute(&mut self, number: u64, gathered: Gathered) -> RecordBatch {
        let tables: Vec<RecordBatch> = gathered
            .tables
            .into_iter()
            .zip(&self.empty)
            .map(|(pieces, empty)| match pieces.as_slice() {
                [] => empty.clone(),
                [one] => one.clone(),
                many => concat_batches(empty.schema_ref(), many).expect("pieces of one table have one schema"),
            })
            .collect();
        let rows = BlockRows { number, hash: gathered.hash, timestamp_ms: gathered.timestamp_ms, tables: &tables };
        let rows = self.kernel.block(rows);
        rows.project(&self.shown).expect("the columns that go on are columns of the kernel")
    }

    fn revert(&mut self, reverted: BTreeMap<u64, Gathered>, output: &mut Output) {
        let remembers = self.kernel.memory() == Memory::Chain;
        for (number, gathered) in reverted.into_iter().rev() {
            if remembers {
                self.kernel.forget(number);
            }
            let rows = self.compute(number, gathered);
            if remembers {
                self.kernel.forget(number);
            }
            if rows.num_rows() > 0 {
                output.deltas.push(Delta::of_block(rows, -1, number));
            }
        }
    }

    fn apply(&mut self, applied: BTreeMap<u64, Gathered>, progress: &Progress, output: &mut Output) {
        let mut run = FinalRun::default();
        for (number, gathered) in applied {
            let rows = self.compute(number, gathered);
            if rows.num_rows() == 0 {
                continue;
            }
            if progress.is_final(number) {
                run.push(rows, number, output);
            } else {
                output.deltas.push(Delta::of_block(rows, 1, number));
            }
        }
        run.send(output);
    }
}

impl TablesOperator for BlockFold {
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, progress: &Progress, output: &mut Output) {
        let (reverted, applied) = self.gather(&inputs);
        self.revert(reverted, output);
        self.apply(applied, progress, output);
        if let Some(number) = progress.finalized_number.filter(|number| self.finalized < Some(*number)) {
            self.finalized = Some(number);
            self.kernel.finalize(number);
        }
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        self.kernel.save()
    }

    fn load(&mut self, state: &[RecordBatch], _: Share) -> Result<(), StateError> {
        if state.is_empty() { Ok(()) } else { self.kernel.load(state) }
    }

    fn size(&self) -> StateSize {
        self.kernel.size()
    }
}

/// Rows of final blocks that go out together.
#[derive(Default)]
struct FinalRun {
    pieces: Vec<RecordBatch>,
    rows: usize,
    last: u64,
}

impl FinalRun {
    fn push(&mut self, rows: RecordBatch, number: u64, output: &mut Output) {
        self.rows += rows.num_rows();
        self.last = number;
        self.pieces.push(rows);
        if self.rows >= FINAL_ROWS {
            self.send(output);
        }
    }

    fn send(&mut self, output: &mut Output) {
        let Some(first) = self.pieces.first() else { return };
        let rows = concat_batches(first.schema_ref(), &self.pieces).expect("a kernel has one schema");
        output.deltas.push(Delta::of_block(rows, 1, self.last));
        self.pieces.clear();
        self.rows = 0;
    }
}

/// The stretches of a delta that are of one block and have one sign.
fn blocks_of(delta: &Delta) -> impl Iterator<Item = (RecordBatch, i64)> + '_ {
    let numbers = delta.batch.column(0).as_primitive::<Int64Type>();
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == delta.len() {
            return None;
        }
        let (number, diff) = (numbers.value(start), delta.diffs.at(start));
        let same = |row: &usize| numbers.value(*row) == number && delta.diffs.at(*row) == diff;
        let end = (start..delta.len()).take_while(same).last().map_or(start, |last| last + 1);
        let rows = delta.batch.slice(start, end - start);
        start = end;
        Some((rows, diff))
    })
}

fn number_at(rows: &RecordBatch, row: usize) -> u64 {
    u64::try_from(rows.column(0).as_primitive::<Int64Type>().value(row)).expect("block numbers are not negative")
}

/// The columns after [`PLACE_COLUMNS`], whose schema is `schema`.
fn kernel_columns(rows: &RecordBatch, schema: SchemaRef) -> RecordBatch {
    let columns = rows.columns()[PLACE_COLUMNS.len()..].to_vec();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options).expect("a part of a batch is a batch")
}
