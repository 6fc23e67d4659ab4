//! The ASOF join against its definition, over random histories of a chain.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;
#[path = "reference/asof_join.rs"]
mod reference;
#[path = "harness/sides.rs"]
mod sides;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, TimestampMillisecondArray};
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use harness::{Random, Relation, Shape, assert_same, cells, relation};
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, TablesOperator as _};
use highwater_operators::asof_join::{AsofClosing, AsofColumn, AsofCondition, AsofError, AsofJoin, AsofKind, AsofSpec};
use proptest::prelude::*;
use reference::{Row, met};
use sides::{KEY, TEXT, TIME, Two, VALUE, Workers, history, rows_of_side, schema};

const CONDITIONS: [AsofCondition; 4] =
    [AsofCondition::AtOrBefore, AsofCondition::Before, AsofCondition::AtOrAfter, AsofCondition::After];

fn random_spec(random: &mut Random, condition: AsofCondition) -> AsofSpec {
    let all = |column: fn(usize) -> AsofColumn| (0..schema().fields().len()).map(column);
    let columns: Vec<AsofColumn> = all(AsofColumn::Left).chain(all(AsofColumn::Right)).collect();
    let output = match random.chance(50) {
        true => columns,
        false => (0..random.index(5)).map(|_| random.pick(&columns)).collect(),
    };
    let left_ms = 2000 + 1000 * i64::from(random.chance(50));
    let closing = random.chance(50).then_some(AsofClosing { left_ms, right_ms: 2000 });
    let keys = random.pick(&[vec![], vec![KEY], vec![KEY], vec![TEXT, KEY]]);
    AsofSpec {
        left: schema(),
        right: schema(),
        keys: keys.into_iter().map(|key| (key, key)).collect(),
        times: (TIME, TIME),
        condition,
        kind: random.pick(&[AsofKind::Inner, AsofKind::Left]),
        closing,
        output,
    }
}

fn read(batch: &RecordBatch, keys: &[usize]) -> Vec<Row<Vec<u8>>> {
    let fields = batch.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let encoded = RowConverter::new(fields).unwrap().convert_columns(batch.columns()).unwrap();
    let times = batch.column(TIME).as_primitive::<TimestampMillisecondType>();
    let row = |row: usize| Row {
        keys: keys
            .iter()
            .map(|key| batch.column(*key).is_valid(row).then(|| cells(batch, row)[*key].clone()))
            .collect(),
        time: times.is_valid(row).then(|| times.value(row)),
        order: encoded.row(row).data().to_vec(),
    };
    (0..batch.num_rows()).map(row).collect()
}

fn defined(spec: &AsofSpec, left: &RecordBatch, right: &RecordBatch) -> Relation {
    let keys: Vec<usize> = spec.keys.iter().map(|(key, _)| *key).collect();
    let met = met(spec.condition, &read(left, &keys), &read(right, &keys));
    let text = |(row, met): (usize, Option<usize>)| {
        let cell = |column: &AsofColumn| match *column {
            AsofColumn::Left(column) => cells(left, row)[column].clone(),
            AsofColumn::Right(column) => met.map_or("~".to_owned(), |met| cells(right, met)[column].clone()),
        };
        spec.output.iter().map(cell).collect::<Vec<_>>().join("|")
    };
    let shown = met.into_iter().enumerate().filter(|(_, met)| met.is_some() || spec.kind == AsofKind::Left);
    relation(shown.map(text))
}

/// At most the rows that are not final, and looking back one for each key.
fn most_entries(closing: AsofClosing, finalized_ms: i64, left: &RecordBatch, right: &RecordBatch) -> usize {
    let horizon = finalized_ms - closing.left_ms.max(closing.right_ms);
    let rows: Vec<_> = [left, right].into_iter().flat_map(|batch| read(batch, &[TEXT, KEY])).collect();
    let keys: BTreeSet<&Vec<Option<String>>> = rows.iter().map(|row| &row.keys).collect();
    rows.iter().filter(|row| row.time.is_some_and(|time| time >= horizon)).count() + keys.len()
}

fn check(shape: Shape, workers: usize, condition: AsofCondition) {
    let mut random = Random::new(shape.seed ^ 5);
    let spec = random_spec(&mut random, condition);
    let whole = spec.output.len() > schema().fields().len();
    let make = || AsofJoin::new("view/asof-join-0", spec.clone()).unwrap();
    let mut history = history(shape);
    let mut workers = Workers::new(workers, make().routes(), || Box::new(make()));
    for tick in 0..shape.ticks {
        let step = if tick + 2 == shape.ticks { history.revert_all() } else { history.step(tick + 1 == shape.ticks) };
        workers.tick(&Two::of(&step.deltas), &step.progress, whole);
        let all = history.accumulated();
        let (left, right) = (rows_of_side(&all, 0), rows_of_side(&all, 1));
        let what = format!("tick {tick} of {spec:?}, {shape:?}");
        assert_same(&workers.rows, &defined(&spec, &left, &right), &what);
        assert!(workers.errors.is_empty(), "{:?}", workers.errors);
        let looks_back = matches!(condition, AsofCondition::AtOrBefore | AsofCondition::Before);
        if let (Some(closing), Some(finalized_ms), true) = (spec.closing, step.progress.finalized_ms, looks_back) {
            assert!(workers.entries() <= most_entries(closing, finalized_ms, &left, &right), "{what}");
        }
        if random.chance(25) {
            workers.restart(random.pick(&[1, 2, 3]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn equals_its_definition_at_every_tick((shape, workers) in sides::shapes(), condition in 0..4_usize) {
        check(shape, workers, CONDITIONS[condition]);
    }
}

/// A change of a right row says something of the left rows up to its neighbour, and of no other.
#[test]
fn a_right_row_touches_the_left_rows_up_to_its_neighbour() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("t", timestamp_type(), false)]));
    let spec = AsofSpec {
        left: schema.clone(),
        right: schema.clone(),
        keys: vec![],
        times: (0, 0),
        condition: AsofCondition::AtOrBefore,
        kind: AsofKind::Left,
        closing: Some(AsofClosing { left_ms: 5, right_ms: 0 }),
        output: vec![AsofColumn::Left(0), AsofColumn::Right(0)],
    };
    let mut join = AsofJoin::new("join", spec).unwrap();
    let rows = |times: &[i64], diff: i64| {
        let column = TimestampMillisecondArray::from(times.to_vec()).with_timezone("UTC");
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]).unwrap();
        vec![Delta::derived(batch, vec![diff; times.len()])]
    };
    let mut run = |finalized_ms: i64, left: Vec<Delta>, right: Vec<Delta>| {
        let mut progress = Progress::at(1, &highwater_engine::testing::block(b'a', 10, None));
        progress.finalized_ms = Some(finalized_ms);
        let mut output = Output::default();
        join.on_tick(vec![left, right], &progress, &mut output);
        let count = |deltas: &[Delta]| deltas.iter().map(Delta::len).sum::<usize>();
        (count(&output.deltas), count(&output.errors), join.size().entries)
    };
    let every: Vec<i64> = (0..1000).collect();
    assert_eq!(run(0, rows(&every, 1), rows(&[0, 500], 1)), (1000, 0, 1002));
    assert_eq!(run(0, vec![], rows(&[490], 1)), (20, 0, 1003));
    assert_eq!(run(0, vec![], rows(&[490], -1)), (20, 0, 1002));
    // Of the left rows those from 600 on stay, and of the right rows the one that they meet.
    assert_eq!(run(605, vec![], vec![]), (0, 0, 401));
    assert_eq!(run(605, rows(&[599, 600], 1), rows(&[599], 1)), (1, 2, 401));
}

#[test]
fn what_cannot_be_built_is_refused() {
    let spec = random_spec(&mut Random::new(1), AsofCondition::AtOrBefore);
    let refused = |spec: AsofSpec| AsofJoin::new("join", spec).err();
    let times = AsofSpec { times: (TIME, VALUE), ..spec.clone() };
    assert!(matches!(refused(times), Some(AsofError::Times { .. })));
    let keys = AsofSpec { keys: vec![(KEY, TEXT)], ..spec.clone() };
    assert!(matches!(refused(keys), Some(AsofError::Keys { .. })));
    let missing = AsofSpec { output: vec![AsofColumn::Left(77)], ..spec };
    assert!(matches!(refused(missing), Some(AsofError::MissingColumn { side: "left", index: 77 })));
}
