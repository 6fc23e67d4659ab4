//! The set operations against their definition, over random histories of a chain.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;
#[path = "reference/multiset.rs"]
mod reference;
#[path = "harness/sides.rs"]
mod sides;

use std::sync::Arc;

use arrow::array::Float64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{Random, Relation, Shape, assert_same, relation, text};
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, Share, TablesOperator as _};
use highwater_operators::multiset::{Multiset, MultisetError, SetOperation};
use proptest::prelude::*;
use reference::combined;
use sides::{KEY, TEXT, Two, VALUE, Workers, history, rows_of_side, schema};

const OPERATIONS: [SetOperation; 2] = [SetOperation::IntersectAll, SetOperation::ExceptAll];

fn check(shape: Shape, workers: usize, operation: SetOperation, columns: &[usize]) {
    let mut random = Random::new(shape.seed ^ 9);
    let narrow: SchemaRef = Arc::new(schema().project(columns).unwrap());
    let make = || Multiset::new("view/multiset-0", narrow.clone(), &narrow, operation).unwrap();
    let mut history = history(shape);
    let mut workers = Workers::new(workers, make().routes(), || Box::new(make()));
    for tick in 0..shape.ticks {
        let step = if tick + 2 == shape.ticks { history.revert_all() } else { history.step(tick + 1 == shape.ticks) };
        let project = |delta: Delta| delta.with_batch(delta.batch.project(columns).unwrap());
        let two = Two(Two::of(&step.deltas).0.map(|deltas| deltas.into_iter().map(project).collect()));
        workers.tick(&two, &step.progress, true);
        let all = history.accumulated();
        let rows = |side: i64| -> Relation {
            let batch = rows_of_side(&all, side).project(columns).unwrap();
            relation((0..batch.num_rows()).map(|row| text(&batch, row)))
        };
        let (left, right) = (rows(0), rows(1));
        assert_same(&workers.rows, &combined(operation, &left, &right), &format!("tick {tick} of {operation:?}"));
        let mut distinct: Vec<&String> = left.keys().chain(right.keys()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(workers.entries(), distinct.len(), "what is in neither input is forgotten");
        if random.chance(25) {
            workers.restart(random.pick(&[1, 2, 3]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equals_its_definition_at_every_tick((shape, workers) in sides::shapes(), operation in 0..2_usize, form in 0..4_usize) {
        let columns = [&[KEY][..], &[TEXT, KEY], &[KEY, VALUE, TEXT], &[]];
        check(shape, workers, OPERATIONS[operation], columns[form]);
    }
}

#[test]
fn there_is_one_zero_and_one_nan() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
    let batch = |values: &[f64]| {
        RecordBatch::try_new(schema.clone(), vec![Arc::new(Float64Array::from(values.to_vec()))]).unwrap()
    };
    let mut operator = Multiset::new("view", schema.clone(), &schema, SetOperation::IntersectAll).unwrap();
    let (left, right) = (batch(&[0.0, f64::NAN, 1.0]), batch(&[-0.0, -f64::NAN]));
    let inputs = [left, right].map(|batch| vec![Delta::derived(batch.clone(), vec![1; batch.num_rows()])]);
    let mut output = Output::default();
    let progress = Progress::at(1, &highwater_engine::testing::block(b'a', 1, None));
    operator.on_tick(inputs.into(), &progress, &mut output);
    assert_eq!(output.deltas.iter().map(Delta::len).sum::<usize>(), 2);
}

/// Rows of the right may be NULL where those of the left never are; they are kept, saved and loaded.
#[test]
fn the_right_may_be_null_where_the_left_is_not() {
    let schema = |nullable| -> SchemaRef { Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, nullable)])) };
    let delta = |nullable, values: Vec<Option<f64>>, diff: i64| {
        let diffs = vec![diff; values.len()];
        Delta::derived(
            RecordBatch::try_new(schema(nullable), vec![Arc::new(Float64Array::from(values))]).unwrap(),
            diffs,
        )
    };
    let make = || Multiset::new("view", schema(false), &schema(true), SetOperation::ExceptAll).unwrap();
    let progress = |tick| Progress::at(tick, &highwater_engine::testing::block(b'a', tick, None));
    let (mut operator, mut output) = (make(), Output::default());
    let inputs = vec![vec![delta(false, vec![Some(1.0), Some(2.0)], 1)], vec![delta(true, vec![None, Some(1.0)], 1)]];
    operator.on_tick(inputs, &progress(1), &mut output);
    assert_eq!(output.deltas.iter().map(Delta::len).sum::<usize>(), 1);
    let mut restarted = make();
    restarted.load(&operator.save().unwrap(), Share::ALL).unwrap();
    let (mut output, inputs) = (Output::default(), vec![vec![], vec![delta(true, vec![None, Some(1.0)], -1)]]);
    restarted.on_tick(inputs, &progress(2), &mut output);
    assert_eq!(output.deltas.iter().map(Delta::len).sum::<usize>(), 1);
    assert_eq!(restarted.size().entries, 2);
}

#[test]
fn inputs_must_have_one_form() {
    let narrow: SchemaRef = Arc::new(schema().project(&[KEY]).unwrap());
    let refused = Multiset::new("view", schema(), &narrow, SetOperation::ExceptAll).err();
    assert!(matches!(refused, Some(MultisetError::Columns { .. })));
}
