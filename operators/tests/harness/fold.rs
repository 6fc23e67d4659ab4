//! Runs a kernel as the operator it becomes, beside the history that the kernel itself is driven through: whole
//! ticks of several blocks, in pieces and together, with restarts; on two workers, or on one if it remembers.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatchOptions, TimestampMillisecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{HASH_TYPE, timestamp_type};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, TablesOperator};
use highwater_operators::block_fold::BlockFold;
use highwater_operators::block_kernel::BlockKernel;

use super::kernel::KernelBlock;
use super::{Random, Relation, add, assert_same, relation, text};

const WORKERS: usize = 2;

/// Two workers of one relation and what they have emitted, added up.
pub(crate) struct Folded {
    workers: Vec<BlockFold>,
    inputs: Vec<SchemaRef>,
    columns: usize,
    random: Random,
    rows: Relation,
    tick: u64,
}

/// What one tick brings.
pub(crate) struct Tick<'t> {
    pub(crate) reverted: &'t [KernelBlock],
    pub(crate) applied: &'t [KernelBlock],
    pub(crate) finalized: u64,
}

impl Folded {
    /// Workers over tables like those of this block.
    pub(crate) fn new(make: &impl Fn() -> Box<dyn BlockKernel>, like: &KernelBlock, seed: u64) -> Folded {
        let inputs: Vec<SchemaRef> = like.tables.iter().map(placed_schema).collect();
        let columns = make().schema().fields().len();
        let rows = Relation::new();
        let mut folded = Folded { workers: Vec::new(), inputs, columns, random: Random::new(seed), rows, tick: 0 };
        folded.start(make, &[]);
        folded
    }

    fn start(&mut self, make: &impl Fn() -> Box<dyn BlockKernel>, state: &[RecordBatch]) {
        let all: Vec<usize> = (0..self.inputs.len()).collect();
        let worker = || BlockFold::new(make(), &self.inputs, all.clone(), (0..self.columns).collect());
        let peers = if matches!(worker().route(), Route::First) { 1 } else { WORKERS };
        self.workers = (0..peers).map(|_| worker()).collect();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.load(state, Share { index, peers }).expect("the state fits");
        }
    }

    /// New workers go on from what these saved.
    pub(crate) fn restart(&mut self, make: &impl Fn() -> Box<dyn BlockKernel>) {
        let state: Vec<RecordBatch> = self.workers.iter().flat_map(|worker| worker.save().expect("saves")).collect();
        self.start(make, &state);
    }

    pub(crate) fn tick(&mut self, tick: &Tick<'_>) {
        self.tick += 1;
        let head = tick.applied.last().or(tick.reverted.first()).expect("a tick has blocks");
        let head = BlockRef {
            number: head.number,
            hash: BlockHash(head.hash),
            parent: BlockHash([0; 32]),
            timestamp_ms: head.timestamp_ms,
        };
        let mut progress = Progress::at(self.tick, &head);
        progress.finalized_number = (tick.finalized > 0).then_some(tick.finalized);
        let peers = self.workers.len();
        for worker in 0..peers {
            let is_mine = |block: &&KernelBlock| usize::from(block.hash[0]) % peers == worker;
            let reverted: Vec<&KernelBlock> = tick.reverted.iter().filter(is_mine).collect();
            let applied: Vec<&KernelBlock> = tick.applied.iter().filter(is_mine).collect();
            let inputs = (0..self.inputs.len())
                .map(|table| {
                    let mut deltas = self.deltas(table, &reverted, -1);
                    deltas.extend(self.deltas(table, &applied, 1));
                    deltas
                })
                .collect();
            let mut output = Output::default();
            self.workers[worker].on_tick(inputs, &progress, &mut output);
            for delta in &output.deltas {
                (0..delta.len()).for_each(|row| add(&mut self.rows, text(&delta.batch, row), delta.diffs.at(row)));
            }
        }
    }

    /// The rows of blocks, one delta each or all in one.
    fn deltas(&mut self, table: usize, blocks: &[&KernelBlock], diff: i64) -> Vec<Delta> {
        let with_rows = blocks.iter().filter(|block| block.tables[table].num_rows() > 0);
        let pieces: Vec<(u64, RecordBatch)> =
            with_rows.map(|block| (block.number, placed(&self.inputs[table], block, table))).collect();
        match pieces.last() {
            Some((last, _)) if diff > 0 && self.random.chance(50) => {
                let all = pieces.iter().map(|(_, rows)| rows);
                vec![Delta::of_block(concat_batches(&self.inputs[table], all).expect("one schema"), diff, *last)]
            }
            _ => pieces.into_iter().map(|(number, rows)| Delta::of_block(rows, diff, number)).collect(),
        }
    }

    /// What was emitted is what the kernel says of the canonical blocks.
    pub(crate) fn compare(&self, outputs: &[RecordBatch]) {
        let rows = outputs.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| text(batch, row)));
        assert_same(&self.rows, &relation(rows), "what the operator emitted");
    }
}

fn placed_schema(table: &RecordBatch) -> SchemaRef {
    let mut fields = vec![
        Field::new("block_number", DataType::Int64, false),
        Field::new("block_hash", HASH_TYPE, false),
        Field::new("block_timestamp", timestamp_type(), false),
    ];
    fields.extend(table.schema().fields().iter().map(|field| field.as_ref().clone()));
    Arc::new(Schema::new(fields))
}

fn placed(schema: &SchemaRef, block: &KernelBlock, table: usize) -> RecordBatch {
    let rows = &block.tables[table];
    let count = rows.num_rows();
    let hashes = std::iter::repeat_n(Some(block.hash), count);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![i64::try_from(block.number).expect("small"); count])),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(hashes, 32).expect("hashes")),
        Arc::new(TimestampMillisecondArray::from(vec![block.timestamp_ms; count]).with_timezone("UTC")),
    ];
    columns.extend_from_slice(rows.columns());
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).expect("the columns of the schema")
}
