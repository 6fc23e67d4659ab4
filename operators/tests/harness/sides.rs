//! Random histories of two relations of one chain, and workers that run an operator over both.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, StringArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{Delta, Diffs, Progress};
use highwater_engine::operator::{Output, Route, Share, TablesOperator};
use proptest::prelude::*;

use crate::harness::{History, Random, Relation, Shape, add, route, text};

/// Columns of both relations.
pub(crate) const BLOCK: usize = 0;
pub(crate) const WINDOW: usize = 1;
pub(crate) const KEY: usize = 2;
pub(crate) const TEXT: usize = 3;
pub(crate) const VALUE: usize = 4;
pub(crate) const TIME: usize = 5;

/// The columns of both relations.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(both().project(&[0, 1, 2, 3, 4, 5]).unwrap())
}

/// With the relation of each row at the end.
fn both() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("block", DataType::Int64, false),
        Field::new("window_end", timestamp_type(), true),
        Field::new("key", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
        Field::new("time", timestamp_type(), true),
        Field::new("side", DataType::Int64, false),
    ]))
}

fn small(random: &mut Random, limit: u64, null_percent: u64) -> Option<i64> {
    (!random.chance(null_percent)).then(|| i64::try_from(random.below(limit)).unwrap())
}

/// Few distinct values, so that rows are equal, match, and are NULL often.
fn block_rows(random: &mut Random, number: u64, time_ms: i64) -> RecordBatch {
    let count = if random.chance(20) { 0 } else { random.index(9) };
    let window = time_ms - time_ms.rem_euclid(60_000) + 60_000;
    let numbers = vec![i64::try_from(number).unwrap(); count];
    let windows: Vec<_> = (0..count).map(|_| (!random.chance(5)).then_some(window)).collect();
    let keys: Vec<_> = (0..count).map(|_| small(random, 4, 15)).collect();
    let texts: Vec<_> = (0..count).map(|_| (!random.chance(15)).then(|| random.pick(&["", "a", "bc"]))).collect();
    let values: Vec<_> = (0..count).map(|_| small(random, 5, 15)).collect();
    // Times of rows lie up to two seconds before their block.
    let times: Vec<_> = (0..count).map(|_| small(random, 3, 5).map(|late| time_ms - 1000 * late)).collect();
    let sides: Vec<_> = (0..count).map(|_| i64::from(random.chance(40))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(numbers)),
        Arc::new(TimestampMillisecondArray::from(windows).with_timezone("UTC")),
        Arc::new(Int64Array::from(keys)),
        Arc::new(StringArray::from(texts)),
        Arc::new(Int64Array::from(values)),
        Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC")),
        Arc::new(Int64Array::from(sides)),
    ];
    RecordBatch::try_new(both(), columns).unwrap()
}

pub(crate) type Rows = fn(&mut Random, u64, i64) -> RecordBatch;

/// A chain whose blocks have rows of both relations.
pub(crate) fn history(shape: Shape) -> History<Rows> {
    History::new(shape, both(), block_rows)
}

/// The rows of one relation.
pub(crate) fn rows_of_side(batch: &RecordBatch, side: i64) -> RecordBatch {
    let schema = schema();
    let rows = places(batch, side);
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    take_record_batch(batch, &UInt32Array::from(rows)).unwrap().project(&columns).unwrap()
}

fn places(batch: &RecordBatch, side: i64) -> Vec<u32> {
    let sides = batch.columns().last().unwrap().as_primitive::<Int64Type>();
    (0_u32..).zip(sides.values()).filter(|(_, other)| **other == side).map(|(row, _)| row).collect()
}

/// The deltas of each relation.
pub(crate) struct Two(pub(crate) [Vec<Delta>; 2]);

impl Two {
    pub(crate) fn of(deltas: &[Delta]) -> Two {
        let part = |side: i64| {
            let of_side = |delta: &Delta| {
                let rows = places(&delta.batch, side);
                let diffs = match &delta.diffs {
                    Diffs::Uniform(diff) => Diffs::Uniform(*diff),
                    Diffs::Rows(diffs) => Diffs::Rows(rows.iter().map(|row| diffs[*row as usize]).collect()),
                };
                Delta { batch: rows_of_side(&delta.batch, side), diffs, origin: delta.origin }
            };
            deltas.iter().map(of_side).collect()
        };
        Two([part(0), part(1)])
    }
}

/// Histories and a number of workers.
pub(crate) fn shapes() -> impl Strategy<Value = (Shape, usize)> {
    let parts =
        (any::<u64>(), prop_oneof![Just(1_u64), Just(3), Just(30)], 1..=8_u64, 0..60_u64, 0..12_u64, any::<bool>());
    (parts, 1..=3_usize).prop_map(|((seed, max_blocks, max_depth, reorg_percent, lag, mixed), workers)| {
        let ticks = if max_blocks == 30 { 5 } else { 16 };
        // Which relations come from stateful operators.
        let derived = mixed && seed % 3 == 0;
        (Shape { seed, ticks, max_blocks, max_depth, reorg_percent, lag, derived, mixed }, workers)
    })
}

/// Several workers that run one operator, and everything they have emitted, added up.
pub(crate) struct Workers<M> {
    make: M,
    routes: [Route; 2],
    operators: Vec<Box<dyn TablesOperator>>,
    pub(crate) rows: Relation,
    /// By reason.
    pub(crate) errors: Relation,
}

impl<M: Fn() -> Box<dyn TablesOperator>> Workers<M> {
    pub(crate) fn new(count: usize, routes: [Route; 2], make: M) -> Workers<M> {
        let mut workers =
            Workers { make, routes, operators: Vec::new(), rows: Relation::new(), errors: Relation::new() };
        workers.start(count, &[]);
        workers
    }

    fn start(&mut self, count: usize, state: &[RecordBatch]) {
        self.operators = (0..count).map(|_| (self.make)()).collect();
        for (index, operator) in self.operators.iter_mut().enumerate() {
            operator.load(state, Share { index, peers: count }).unwrap();
        }
    }

    /// Stops all workers and starts this many from what they saved.
    pub(crate) fn restart(&mut self, count: usize) {
        let state: Vec<RecordBatch> = self.operators.iter().flat_map(|operator| operator.save().unwrap()).collect();
        self.start(count, &state);
    }

    pub(crate) fn entries(&self) -> usize {
        self.operators.iter().map(|operator| operator.size().entries).sum()
    }

    /// Runs one tick and gives what was emitted. `net`: a row must not both come and go.
    pub(crate) fn tick(&mut self, two: &Two, progress: &Progress, net: bool) -> Vec<Delta> {
        let peers = self.operators.len();
        let mut inputs = vec![vec![Vec::new(), Vec::new()]; peers];
        for (side, (deltas, how)) in two.0.iter().zip(&self.routes).enumerate() {
            let key = match how {
                Route::Key(key) => Some(key.as_slice()),
                Route::First | Route::Local => None,
            };
            for delta in deltas {
                route(delta, key, peers).into_iter().for_each(|(worker, part)| inputs[worker][side].push(part));
            }
        }
        let (mut emitted, mut added) = (Vec::new(), BTreeMap::<String, bool>::new());
        for (operator, inputs) in self.operators.iter_mut().zip(inputs) {
            let mut output = Output::default();
            operator.on_tick(inputs, progress, &mut output);
            for delta in &output.deltas {
                for row in 0..delta.len() {
                    let (text, diff) = (text(&delta.batch, row), delta.diffs.at(row));
                    assert_ne!(diff, 0, "a change of nothing: {text}");
                    let sign = *added.entry(text.clone()).or_insert(diff > 0);
                    assert!(!net || sign == (diff > 0), "tick {}: changes cancel: {text}", progress.tick);
                    add(&mut self.rows, text, diff);
                }
            }
            for delta in &output.errors {
                let reasons = delta.batch.column(0).as_string::<i32>();
                (0..delta.len())
                    .for_each(|row| add(&mut self.errors, reasons.value(row).to_owned(), delta.diffs.at(row)));
            }
            emitted.extend(output.deltas);
        }
        emitted
    }
}
