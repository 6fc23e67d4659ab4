//! Drives operators through random histories of a chain and compares them with naive definitions.
#![allow(dead_code, missing_docs, reason = "each test binary uses its part of the harness")]

pub(crate) mod fold;
pub(crate) mod kernel;
pub(crate) mod tables;

use std::collections::BTreeMap;

use arrow::array::{Array, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Diffs, Origin, Progress, format};
use highwater_engine::operator::{Output, Share, TickOperator};

/// A small deterministic generator: the seed comes from proptest.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("below a usize")
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.index(values.len())].clone()
    }

    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for index in (1..values.len()).rev() {
            let other = self.index(index + 1);
            values.swap(index, other);
        }
    }
}

#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) time_ms: i64,
    pub(crate) rows: RecordBatch,
}

/// The shape of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) ticks: usize,
    pub(crate) max_blocks: u64,
    pub(crate) max_depth: u64,
    pub(crate) reorg_percent: u64,
    pub(crate) lag: u64,
    /// Send rows as if a stateful operator had made them.
    pub(crate) derived: bool,
    /// A multi-block tick may be sent as one delta a sign with a change for each row.
    pub(crate) mixed: bool,
}

/// A chain that grows and takes blocks back.
pub(crate) struct History<F> {
    pub(crate) shape: Shape,
    pub(crate) random: Random,
    pub(crate) canonical: Vec<Block>,
    pub(crate) finalized: Option<(u64, i64)>,
    pub(crate) tick: u64,
    schema: SchemaRef,
    rows: F,
}

/// One tick: its deltas and its progress.
pub(crate) struct Step {
    pub(crate) deltas: Vec<Delta>,
    pub(crate) progress: Progress,
}

impl<F: FnMut(&mut Random, u64, i64) -> RecordBatch> History<F> {
    pub(crate) fn new(shape: Shape, schema: SchemaRef, rows: F) -> History<F> {
        History {
            shape,
            random: Random::new(shape.seed),
            canonical: Vec::new(),
            finalized: None,
            tick: 0,
            schema,
            rows,
        }
    }

    /// All rows of the canonical chain.
    pub(crate) fn accumulated(&self) -> RecordBatch {
        concat_batches(&self.schema, self.canonical.iter().map(|block| &block.rows)).expect("one schema")
    }

    pub(crate) fn step(&mut self, end_of_input: bool) -> Step {
        let reverted = self.revert();
        let depth = reverted.len() as u64;
        let count =
            if depth > 0 { 1 + self.random.below(depth + 1) } else { 1 + self.random.below(self.shape.max_blocks) };
        let applied: Vec<Block> = (0..count).map(|_| self.grow()).collect();
        self.finish(reverted, applied, end_of_input)
    }

    /// Takes everything back that is not final.
    pub(crate) fn revert_all(&mut self) -> Step {
        let final_blocks = self.canonical.iter().filter(|block| self.is_final(block.number)).count();
        let reverted = self.canonical.split_off(final_blocks);
        self.finish(reverted, Vec::new(), false)
    }

    fn is_final(&self, number: u64) -> bool {
        self.finalized.is_some_and(|(finalized, _)| number <= finalized)
    }

    fn revert(&mut self) -> Vec<Block> {
        if !self.random.chance(self.shape.reorg_percent) {
            return Vec::new();
        }
        let free = self.canonical.iter().filter(|block| !self.is_final(block.number)).count();
        let wanted = 1 + self.random.index(usize::try_from(self.shape.max_depth).expect("small"));
        let depth = wanted.min(free).min(self.canonical.len().saturating_sub(1));
        self.canonical.split_off(self.canonical.len() - depth)
    }

    fn grow(&mut self) -> Block {
        let (number, before) =
            self.canonical.last().map_or((100, 1_700_000_000_000), |block| (block.number, block.time_ms));
        let time_ms = before + 1000 * i64::try_from(1 + self.random.below(20)).expect("small");
        let rows = (self.rows)(&mut self.random, number + 1, time_ms);
        let block = Block { number: number + 1, time_ms, rows };
        self.canonical.push(block.clone());
        block
    }

    fn finish(&mut self, reverted: Vec<Block>, applied: Vec<Block>, end_of_input: bool) -> Step {
        self.tick += 1;
        let head = self.canonical.last().map_or((100, 1_700_000_000_000), |block| (block.number, block.time_ms));
        let lag = if end_of_input { 0 } else { self.random.below(self.shape.lag + 1) + self.shape.lag / 2 };
        let newly = self
            .canonical
            .iter()
            .rfind(|block| block.number + lag <= head.0)
            .map(|block| (block.number, block.time_ms));
        if self.shape.lag < 1_000_000 {
            self.finalized = self.finalized.max(newly);
        }
        let head_ref =
            BlockRef { number: head.0, hash: BlockHash([0; 32]), parent: BlockHash([0; 32]), timestamp_ms: head.1 };
        let mut progress = Progress::at(self.tick, &head_ref);
        progress.finalized_number = self.finalized.map(|(number, _)| number);
        progress.finalized_ms = self.finalized.map(|(_, time)| time);
        progress.end_of_input = end_of_input;
        progress.applied_blocks = applied.len() as u64;
        let deltas = self.deltas(reverted, applied, &progress);
        Step { deltas, progress }
    }

    fn deltas(&mut self, reverted: Vec<Block>, applied: Vec<Block>, progress: &Progress) -> Vec<Delta> {
        let mut deltas: Vec<Delta> =
            reverted.iter().map(|block| Delta::of_block(block.rows.clone(), -1, block.number)).collect();
        let (done, open): (Vec<Block>, Vec<Block>) =
            applied.into_iter().partition(|block| progress.is_final(block.number));
        if let Some(last) = done.last() {
            if self.random.chance(50) {
                let batch = concat_batches(&self.schema, done.iter().map(|block| &block.rows)).expect("one schema");
                deltas.push(Delta::of_block(batch, 1, last.number));
            } else {
                deltas.extend(done.iter().map(|block| Delta::of_block(block.rows.clone(), 1, block.number)));
            }
        }
        deltas.extend(open.iter().map(|block| Delta::of_block(block.rows.clone(), 1, block.number)));
        self.random.shuffle(&mut deltas);
        if self.shape.derived || self.shape.mixed {
            self.mix(&mut deltas);
        }
        deltas
    }

    /// Gives some deltas a change for each row, and all the origin of a stateful operator if asked.
    fn mix(&mut self, deltas: &mut Vec<Delta>) {
        for delta in deltas.iter_mut() {
            if self.random.chance(50) {
                let diffs = (0..delta.len()).map(|row| delta.diffs.at(row)).collect::<Vec<_>>();
                delta.diffs = Diffs::Rows(diffs.into());
            }
            if self.shape.derived {
                delta.origin = Origin::Derived;
            }
        }
        if self.shape.derived && self.random.chance(30) {
            let batch = concat_batches(&self.schema, deltas.iter().map(|delta| &delta.batch)).expect("one schema");
            let diffs = deltas.iter().flat_map(|delta| (0..delta.len()).map(|row| delta.diffs.at(row))).collect();
            *deltas = vec![Delta::derived(batch, diffs)];
        }
    }
}

/// A relation as text rows with their multiplicity.
pub(crate) type Relation = BTreeMap<String, i64>;

/// One row as text: cells with bars between, NULL as `~`.
pub(crate) fn text(batch: &RecordBatch, row: usize) -> String {
    cells(batch, row).join("|")
}

pub(crate) fn cells(batch: &RecordBatch, row: usize) -> Vec<String> {
    let schema = batch.schema();
    let cell = |(field, column): (&std::sync::Arc<arrow::datatypes::Field>, &arrow::array::ArrayRef)| {
        if column.is_null(row) {
            return "~".to_owned();
        }
        let mut text = String::new();
        format::write_text(&mut text, field, column, row);
        text
    };
    schema.fields().iter().zip(batch.columns()).map(cell).collect()
}

pub(crate) fn relation(rows: impl IntoIterator<Item = String>) -> Relation {
    let mut relation = Relation::new();
    rows.into_iter().for_each(|row| *relation.entry(row).or_default() += 1);
    relation
}

pub(crate) fn add(relation: &mut Relation, row: String, diff: i64) {
    let count = relation.entry(row.clone()).or_default();
    *count += diff;
    if *count == 0 {
        relation.remove(&row);
    }
}

/// The messages of an error relation, in order.
pub(crate) fn messages(errors: &Relation) -> Vec<String> {
    let message = |(row, count): (&String, &i64)| {
        let count = usize::try_from(*count).expect("an error never has a negative count");
        vec![row.split('|').next().unwrap_or_default().to_owned(); count]
    };
    let mut messages: Vec<String> = errors.iter().flat_map(message).collect();
    messages.sort();
    messages
}

/// Several workers that run one operator, and everything they have emitted, added up.
pub(crate) struct Workers<M> {
    make: M,
    /// Columns whose equal values meet at one worker; `None`: all rows go to the first.
    key: Option<Vec<usize>>,
    pub(crate) operators: Vec<Box<dyn TickOperator>>,
    pub(crate) rows: Relation,
    pub(crate) errors: Relation,
}

impl<M: Fn() -> Box<dyn TickOperator>> Workers<M> {
    pub(crate) fn new(count: usize, key: Option<Vec<usize>>, make: M) -> Workers<M> {
        let mut workers = Workers { make, key, operators: Vec::new(), rows: Relation::new(), errors: Relation::new() };
        workers.start(count, &[]);
        workers
    }

    fn start(&mut self, count: usize, state: &[RecordBatch]) {
        self.operators = (0..count).map(|_| (self.make)()).collect();
        for (index, operator) in self.operators.iter_mut().enumerate() {
            operator.load(state, Share { index, peers: count }).expect("the state fits");
        }
    }

    /// Stops all workers and starts this many from what they saved.
    pub(crate) fn restart(&mut self, count: usize) {
        let state: Vec<RecordBatch> =
            self.operators.iter().flat_map(|operator| operator.save().expect("saves")).collect();
        self.start(count, &state);
    }

    pub(crate) fn entries(&self) -> usize {
        self.operators.iter().map(|operator| operator.size().entries).sum()
    }

    /// Runs one tick; the changes must not cancel each other.
    pub(crate) fn tick(&mut self, step: &Step) {
        self.tick_through(step);
    }

    /// Runs one tick and gives what was emitted.
    pub(crate) fn tick_through(&mut self, step: &Step) -> Vec<Delta> {
        let mut emitted = Vec::new();
        let peers = self.operators.len();
        let mut inputs: Vec<Vec<Delta>> = vec![Vec::new(); peers];
        for delta in &step.deltas {
            for (worker, part) in route(delta, self.key.as_deref(), peers) {
                inputs[worker].push(part);
            }
        }
        let mut signs: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        for (operator, input) in self.operators.iter_mut().zip(inputs) {
            let mut output = Output::default();
            operator.on_tick(input, &step.progress, &mut output);
            for (delta, is_error) in
                output.deltas.iter().map(|d| (d, false)).chain(output.errors.iter().map(|d| (d, true)))
            {
                for row in 0..delta.len() {
                    let (text, diff) = (text(&delta.batch, row), delta.diffs.at(row));
                    assert_ne!(diff, 0, "a change of nothing: {text}");
                    let seen = signs.entry(format!("{is_error} {text}")).or_default();
                    if diff > 0 {
                        seen.0 = true
                    } else {
                        seen.1 = true
                    }
                    assert!(!(seen.0 && seen.1), "tick {}: changes cancel: {text}", step.progress.tick);
                    add(if is_error { &mut self.errors } else { &mut self.rows }, text, diff);
                }
            }
            emitted.extend(output.deltas);
        }
        emitted
    }
}

pub(crate) fn route(delta: &Delta, key: Option<&[usize]>, peers: usize) -> Vec<(usize, Delta)> {
    let Some(key) = key.filter(|_| peers > 1) else { return vec![(0, delta.clone())] };
    let schema = delta.batch.schema();
    let fields = key.iter().map(|index| SortField::new(schema.field(*index).data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("keys encode");
    let columns: Vec<_> = key.iter().map(|index| delta.batch.column(*index).clone()).collect();
    let encoded = converter.convert_columns(&columns).expect("keys encode");
    let mut owned: Vec<Vec<u32>> = vec![Vec::new(); peers];
    for row in 0..delta.len() {
        owned[Share::owner(encoded.row(row).data(), peers)].push(u32::try_from(row).expect("few rows"));
    }
    let part = |rows: Vec<u32>| {
        let diffs = match &delta.diffs {
            Diffs::Uniform(diff) => Diffs::Uniform(*diff),
            Diffs::Rows(_) => Diffs::Rows(rows.iter().map(|row| delta.diffs.at(*row as usize)).collect()),
        };
        let batch = take_record_batch(&delta.batch, &UInt32Array::from(rows)).expect("rows of the batch");
        Delta { batch, diffs, origin: delta.origin }
    };
    owned.into_iter().map(part).enumerate().filter(|(_, part)| !part.is_empty()).collect()
}

/// Compares two relations and names the first differences.
pub(crate) fn assert_same(got: &Relation, want: &Relation, what: &str) {
    if got == want {
        return;
    }
    let mut lines = Vec::new();
    for (row, count) in got {
        if want.get(row) != Some(count) {
            lines.push(format!("  got  {count} x {row}"));
        }
    }
    for (row, count) in want {
        if got.get(row) != Some(count) {
            lines.push(format!("  want {count} x {row}"));
        }
    }
    lines.truncate(20);
    panic!("{what} differs:\n{}", lines.join("\n"));
}
