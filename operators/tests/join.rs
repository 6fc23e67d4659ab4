//! The join against its definition, over random histories of a chain: reorgs, finality, ticks of any size,
//! any number of workers, restarts at random ticks.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;
#[path = "reference/join.rs"]
mod reference;
#[path = "harness/sides.rs"]
mod sides;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray, Float64Array, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{Random, Relation, Shape, add, assert_same, cells, relation};
use highwater_engine::model::{Delta, Origin, Progress};
use highwater_engine::operator::{Output, Share, TablesOperator as _};
use highwater_operators::join::{Join, JoinColumn, JoinError, JoinKind, JoinSpec, PairCondition, Retain};
use proptest::prelude::*;
use reference::{Row, Verdict, joined};
use sides::{BLOCK, KEY, TEXT, Two, VALUE, WINDOW, Workers, history, rows_of_side, schema};

const KINDS: [JoinKind; 8] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::LeftSemi,
    JoinKind::LeftAnti,
    JoinKind::LeftMark,
    JoinKind::NullAwareAnti,
];

/// Left below right; a sum of five cannot be evaluated.
fn verdict(left: Option<i64>, right: Option<i64>) -> Verdict {
    match (left, right) {
        (Some(left), Some(right)) if left + right == 5 => Err(format!("{left} and {right} make five")),
        (Some(left), Some(right)) => Ok(left < right),
        _ => Ok(false),
    }
}

struct Below {
    /// Whether it asks for all columns.
    all: bool,
}

impl PairCondition for Below {
    fn columns(&self) -> Option<Vec<usize>> {
        (!self.all).then(|| vec![schema().fields().len() + VALUE, VALUE])
    }

    fn evaluate(&mut self, pairs: &RecordBatch) -> (BooleanArray, Vec<(usize, String)>) {
        let (left, right) = if self.all { (VALUE, schema().fields().len() + VALUE) } else { (1, 0) };
        assert_eq!(pairs.num_columns(), if self.all { 2 * schema().fields().len() } else { 2 });
        let value = |column: usize, row: usize| {
            let column = pairs.column(column).as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let (mut flags, mut errors) = (Vec::new(), Vec::new());
        for row in 0..pairs.num_rows() {
            match verdict(value(left, row), value(right, row)) {
                Ok(true) => flags.push(Some(true)),
                Ok(false) => flags.push(if row % 2 == 0 { None } else { Some(false) }),
                Err(reason) => {
                    flags.push(Some(true));
                    errors.push((row, reason));
                }
            }
        }
        (flags.into(), errors)
    }
}

/// A join of random form; whether it has a condition, and whether that reads all columns.
fn random_spec(random: &mut Random, kind: JoinKind) -> (JoinSpec, Option<bool>) {
    let (keys, retain) = match random.below(4) {
        _ if kind == JoinKind::NullAwareAnti => (vec![KEY], Retain::Forever),
        0 => (vec![BLOCK, KEY], Retain::Block),
        1 => (vec![KEY, WINDOW], Retain::KeyTime(1)),
        2 => (random.pick(&[vec![], vec![TEXT, KEY]]), Retain::Forever),
        _ => (vec![KEY], Retain::Forever),
    };
    let mut columns: Vec<JoinColumn> = (0..schema().fields().len()).map(JoinColumn::Left).collect();
    match kind {
        JoinKind::LeftMark => columns.push(JoinColumn::Mark),
        JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::NullAwareAnti => {}
        _ => columns.extend((0..schema().fields().len()).map(JoinColumn::Right)),
    }
    let output = match random.chance(50) {
        true => columns,
        false => (0..random.index(5)).map(|_| random.pick(&columns)).collect(),
    };
    let condition = (kind != JoinKind::NullAwareAnti && random.chance(50)).then(|| random.chance(30));
    let keys = keys.into_iter().map(|key| (key, key)).collect();
    let null_equals_null = random.chance(30);
    (JoinSpec { left: schema(), right: schema(), keys, null_equals_null, kind, retain, output }, condition)
}

fn make(spec: &JoinSpec, condition: Option<bool>) -> Join {
    let condition = condition.map(|all| Box::new(Below { all }) as Box<dyn PairCondition>);
    Join::new("view/join-0", spec.clone(), condition).unwrap()
}

fn read(batch: &RecordBatch, keys: &[usize]) -> (Vec<Row>, Vec<Vec<String>>) {
    let texts: Vec<Vec<String>> = (0..batch.num_rows()).map(|row| cells(batch, row)).collect();
    let values = batch.column(VALUE).as_primitive::<Int64Type>();
    let row = |row: usize| Row {
        keys: keys.iter().map(|key| batch.column(*key).is_valid(row).then(|| texts[row][*key].clone())).collect(),
        value: values.is_valid(row).then(|| values.value(row)),
    };
    ((0..batch.num_rows()).map(row).collect(), texts)
}

/// What the definition shows over these rows.
fn defined(spec: &JoinSpec, has_condition: bool, left: &RecordBatch, right: &RecordBatch) -> (Relation, Relation) {
    let keys: Vec<usize> = spec.keys.iter().map(|(key, _)| *key).collect();
    let ((left, left_texts), (right, right_texts)) = (read(left, &keys), read(right, &keys));
    let condition = |left: &Row, right: &Row| if has_condition { verdict(left.value, right.value) } else { Ok(true) };
    let (shown, errors) = joined(spec.kind, spec.null_equals_null, &left, &right, condition);
    let text = |(l, r, mark): (Option<usize>, Option<usize>, bool)| {
        let cell = |column: &JoinColumn| match *column {
            JoinColumn::Left(column) => l.map_or("~".to_owned(), |l| left_texts[l][column].clone()),
            JoinColumn::Right(column) => r.map_or("~".to_owned(), |r| right_texts[r][column].clone()),
            JoinColumn::Mark => mark.to_string(),
        };
        spec.output.iter().map(cell).collect::<Vec<_>>().join("|")
    };
    (relation(shown.into_iter().map(text)), relation(errors))
}

fn check(shape: Shape, workers: usize, kind: JoinKind) {
    let mut random = Random::new(shape.seed ^ 7);
    let (spec, condition) = random_spec(&mut random, kind);
    let whole = spec.output.len() >= schema().fields().len();
    // Rows that go only with their block are what keeping by block is for.
    let shape = Shape { derived: shape.derived && spec.retain != Retain::Block, ..shape };
    let mut history = history(shape);
    let mut workers = Workers::new(workers, make(&spec, condition).routes(), || Box::new(make(&spec, condition)));
    for tick in 0..shape.ticks {
        let step = if tick + 2 == shape.ticks { history.revert_all() } else { history.step(tick + 1 == shape.ticks) };
        let two = Two::of(&step.deltas);
        let origins: Vec<Origin> = step.deltas.iter().map(|delta| delta.origin).collect();
        let emitted = workers.tick(&two, &step.progress, whole);
        if spec.retain == Retain::Block {
            assert!(emitted.iter().all(|delta| origins.contains(&delta.origin)), "rows stay with their block");
        }
        let all = history.accumulated();
        let (rows, errors) = defined(&spec, condition.is_some(), &rows_of_side(&all, 0), &rows_of_side(&all, 1));
        let what = format!("tick {tick} of {kind:?} by {:?}, condition {condition:?}, {shape:?}", spec.keys);
        assert_same(&workers.rows, &rows, &what);
        assert_same(&workers.errors, &errors, &format!("errors at {what}"));
        if random.chance(25) {
            workers.restart(random.pick(&[1, 2, 3]));
        }
    }
    if spec.retain == Retain::Block {
        assert_eq!(workers.entries(), 0, "everything is final");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn equals_its_definition_at_every_tick((shape, workers) in sides::shapes(), kind in 0..8_usize) {
        check(shape, workers, KINDS[kind]);
    }
}

fn two_columns() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true), Field::new("row", DataType::Int64, false)]))
}

fn batch(rows: &[(i64, i64)]) -> RecordBatch {
    let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as arrow::array::ArrayRef;
    let columns = vec![column(rows.iter().map(|row| row.0).collect()), column(rows.iter().map(|row| row.1).collect())];
    RecordBatch::try_new(two_columns(), columns).unwrap()
}

fn simple(kind: JoinKind) -> JoinSpec {
    JoinSpec {
        left: two_columns(),
        right: two_columns(),
        keys: vec![(0, 0)],
        null_equals_null: false,
        kind,
        retain: Retain::Forever,
        output: vec![JoinColumn::Left(1)],
    }
}

fn progress(tick: u64) -> Progress {
    Progress::at(tick, &highwater_engine::testing::block(b'a', 10, None))
}

/// A price that changes meets each trade once: the old pair goes, the new one comes, and nothing else is said.
#[test]
fn a_changed_row_takes_its_pairs_along() {
    let spec = JoinSpec { output: vec![JoinColumn::Left(1), JoinColumn::Right(1)], ..simple(JoinKind::Inner) };
    let mut join = Join::new("join", spec, None).unwrap();
    let trades = batch(&(0..1000).map(|trade| (1, trade)).collect::<Vec<_>>());
    let mut output = Output::default();
    let price = Delta::derived(batch(&[(1, 70)]), vec![1]);
    join.on_tick(vec![vec![Delta::of_block(trades, 1, 5)], vec![price]], &progress(1), &mut output);
    assert_eq!(output.deltas.iter().map(Delta::len).sum::<usize>(), 1000);
    let mut output = Output::default();
    let change = Delta::derived(batch(&[(1, 70), (1, 71)]), vec![-1, 1]);
    let trade = Delta::of_block(batch(&[(1, 5)]), -1, 5);
    join.on_tick(vec![vec![trade], vec![change]], &progress(2), &mut output);
    let total: i64 = output.deltas.iter().flat_map(|delta| (0..delta.len()).map(|row| delta.diffs.at(row))).sum();
    assert_eq!((output.deltas.iter().map(Delta::len).sum::<usize>(), total), (1999, -1));
    assert_eq!(join.size().entries, 1000);
}

/// Only the first and the last match of a key say something to a semi join.
#[test]
fn a_second_match_changes_nothing() {
    let mut join = Join::new("join", simple(JoinKind::LeftSemi), None).unwrap();
    let mut run = |tick: u64, left: &[(i64, i64)], right: &[(i64, i64)], diff: i64| {
        let mut output = Output::default();
        let inputs = [left, right].map(|rows| vec![Delta::derived(batch(rows), vec![diff; rows.len()])]);
        join.on_tick(inputs.into(), &progress(tick), &mut output);
        output.deltas.iter().map(Delta::len).sum::<usize>()
    };
    assert_eq!(run(1, &[(1, 1), (1, 2), (2, 3)], &[], 1), 0);
    assert_eq!(run(2, &[], &[(1, 8)], 1), 2);
    assert_eq!(run(3, &[], &[(1, 9)], 1), 0);
    assert_eq!(run(4, &[], &[(1, 8)], -1), 0);
    assert_eq!(run(5, &[], &[(1, 9)], -1), 2);
    assert_eq!(run(6, &[(1, 1), (1, 2), (2, 3)], &[], -1), 0);
    assert_eq!(join.size().entries, 0);
}

/// A row counts as often as it came, also where 32 bits cannot say it: while it comes, while it goes, and in a saved state.
#[test]
fn a_row_may_be_there_billions_of_times() {
    let many = 3 << 32;
    for kind in [JoinKind::Inner, JoinKind::Left] {
        let spec = JoinSpec { output: vec![JoinColumn::Left(1), JoinColumn::Right(1)], ..simple(kind) };
        let mut join = Join::new("join", spec.clone(), None).unwrap();
        let mut shown = Relation::default();
        let mut run = |join: &mut Join, tick: u64, left: i64, right: i64| {
            let mut output = Output::default();
            let inputs =
                [(5, left), (7, right)].map(|(row, diff)| vec![Delta::derived(batch(&[(1, row)]), vec![diff])]);
            join.on_tick(inputs.into(), &progress(tick), &mut output);
            for delta in &output.deltas {
                (0..delta.len())
                    .for_each(|row| add(&mut shown, cells(&delta.batch, row).join("|"), delta.diffs.at(row)));
            }
            shown.clone()
        };
        let pairs = |count: i64| Relation::from([("5|7".to_owned(), count)]);
        assert_eq!(run(&mut join, 1, many, 2), pairs(2 * many));
        assert_eq!(run(&mut join, 2, many, 0), pairs(4 * many));
        let mut restored = Join::new("join", spec, None).unwrap();
        restored.load(&join.save().unwrap(), Share::ALL).unwrap();
        assert_eq!(run(&mut restored, 3, 1 - 2 * many, 0), pairs(2));
        let most = i64::from(i32::MAX);
        assert_eq!(run(&mut restored, 4, most, 0), pairs(2 * (most + 1)));
        assert_eq!(run(&mut restored, 5, -1, 0), pairs(2 * most));
        assert_eq!(run(&mut restored, 6, -most, -2), Relation::default());
        assert_eq!(restored.size().entries, 0);
    }
}

/// Large deltas are taken one by one and small ones together, what only comes is not told apart from what was there:
/// the pairs are the same.
#[test]
fn deltas_of_any_size_have_their_pairs() {
    let spec = JoinSpec {
        output: vec![JoinColumn::Left(0), JoinColumn::Left(1), JoinColumn::Right(1)],
        ..simple(JoinKind::Inner)
    };
    let mut join = Join::new("join", spec, None).unwrap();
    let mut random = Random::new(3);
    let (mut rows, mut shown): ([Vec<(i64, i64)>; 2], Relation) = Default::default();
    for tick in 1..8 {
        let mut inputs: [Vec<Delta>; 2] = Default::default();
        for (side, deltas) in inputs.iter_mut().enumerate() {
            // A change of 4,096 rows stands by itself.
            let sizes = if side == 0 { [5_000, 3, 2, 4_096, 1] } else { [900, 0, 2, 1, 0] };
            for size in sizes {
                let taken = if tick < 4 && side == 0 { 0 } else { random.index(size / 2 + 1).min(rows[side].len()) };
                let mut changes: Vec<((i64, i64), i64)> = rows[side].drain(..taken).map(|row| (row, -1)).collect();
                for _ in taken..size {
                    let row = (small(&mut random, 4_000), small(&mut random, 3));
                    rows[side].push(row);
                    changes.push((row, 1));
                }
                let of_rows = batch(&changes.iter().map(|(row, _)| *row).collect::<Vec<_>>());
                deltas.push(Delta::derived(of_rows, changes.iter().map(|(_, diff)| *diff).collect()));
            }
        }
        let mut output = Output::default();
        join.on_tick(inputs.into(), &progress(tick), &mut output);
        for delta in &output.deltas {
            (0..delta.len()).for_each(|row| add(&mut shown, cells(&delta.batch, row).join("|"), delta.diffs.at(row)));
        }
        let mut by_key: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        rows[1].iter().for_each(|(key, row)| by_key.entry(*key).or_default().push(*row));
        let pairs = rows[0].iter().flat_map(|(key, left)| {
            by_key.get(key).into_iter().flatten().map(move |right| format!("{key}|{left}|{right}"))
        });
        assert_same(&shown, &relation(pairs), &format!("tick {tick}"));
    }
    assert!(join.size().entries <= rows.iter().map(Vec::len).sum());
}

fn small(random: &mut Random, limit: u64) -> i64 {
    i64::try_from(random.below(limit)).unwrap()
}

#[test]
fn what_cannot_be_built_is_refused() {
    let refused = |spec: JoinSpec| Join::new("join", spec, None).err();
    let missing = JoinSpec { keys: vec![(0, 7)], ..simple(JoinKind::Inner) };
    assert!(matches!(refused(missing), Some(JoinError::MissingColumn { side: "right", index: 7 })));
    let column = JoinSpec { output: vec![JoinColumn::Right(0)], ..simple(JoinKind::LeftSemi) };
    assert!(matches!(refused(column), Some(JoinError::OutputColumn { .. })));
    let time = JoinSpec { retain: Retain::KeyTime(0), ..simple(JoinKind::Inner) };
    assert!(matches!(refused(time), Some(JoinError::KeyTime { position: 0 })));
    let keys = JoinSpec { keys: vec![], ..simple(JoinKind::NullAwareAnti) };
    assert!(matches!(refused(keys), Some(JoinError::NullAware)));
}

/// What comes for a key that is closed is told of, not joined with what is left.
#[test]
fn rows_of_a_closed_key_are_errors() {
    let time = highwater_engine::model::wide::timestamp_type();
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("window_end", time, false)]));
    let spec = JoinSpec {
        left: schema.clone(),
        right: schema.clone(),
        retain: Retain::KeyTime(0),
        output: vec![JoinColumn::Left(0)],
        ..simple(JoinKind::Left)
    };
    let mut join = Join::new("join", spec, None).unwrap();
    let rows = |times: &[i64]| {
        let column = TimestampMillisecondArray::from(times.to_vec()).with_timezone("UTC");
        vec![Delta::derived(
            RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]).unwrap(),
            vec![1; times.len()],
        )]
    };
    let mut run = |tick: u64, finalized_ms: i64, left: &[i64]| {
        let progress = Progress { finalized_ms: Some(finalized_ms), ..progress(tick) };
        let mut output = Output::default();
        join.on_tick(vec![rows(left), rows(&[])], &progress, &mut output);
        let count = |deltas: &[Delta]| deltas.iter().map(Delta::len).sum::<usize>();
        (count(&output.deltas), count(&output.errors), join.size().entries)
    };
    assert_eq!(run(1, 10, &[10, 20, 30]), (3, 0, 2));
    assert_eq!(run(2, 20, &[10, 20]), (1, 1, 1));
    assert_eq!(run(3, 20, &[10, 20, 21]), (1, 2, 2));
}

#[test]
fn floats_have_one_zero() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
    let spec = JoinSpec {
        left: schema.clone(),
        right: schema.clone(),
        output: vec![JoinColumn::Left(0), JoinColumn::Right(0)],
        ..simple(JoinKind::Inner)
    };
    let mut join = Join::new("join", spec, None).unwrap();
    let rows = |values: &[f64]| {
        let column = Arc::new(Float64Array::from(values.to_vec()));
        vec![Delta::derived(RecordBatch::try_new(schema.clone(), vec![column]).unwrap(), vec![1; values.len()])]
    };
    let mut output = Output::default();
    join.on_tick(vec![rows(&[0.0, f64::NAN]), rows(&[-0.0, -f64::NAN])], &progress(1), &mut output);
    let shown: Vec<String> = (0..2).map(|row| harness::text(&output.deltas[0].batch, row)).collect();
    assert_eq!(shown, ["0|-0", "NaN|NaN"]);
}

/// Keys of the right may be NULL where those of the left never are; with `null_equals_null` they are kept, saved and
/// loaded.
#[test]
fn the_right_may_be_null_where_the_left_is_not() {
    let schema = |nullable| -> SchemaRef { Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, nullable)])) };
    let rows = |nullable, values: Vec<Option<f64>>, diff: i64| {
        let (diffs, column) = (vec![diff; values.len()], Arc::new(Float64Array::from(values)));
        vec![Delta::derived(RecordBatch::try_new(schema(nullable), vec![column]).unwrap(), diffs)]
    };
    let make = || {
        let spec = JoinSpec {
            left: schema(false),
            right: schema(true),
            output: vec![JoinColumn::Left(0)],
            null_equals_null: true,
            ..simple(JoinKind::LeftSemi)
        };
        Join::new("join", spec, None).unwrap()
    };
    let mut join = make();
    let mut output = Output::default();
    join.on_tick(
        vec![rows(false, vec![Some(1.0)], 1), rows(true, vec![None, Some(1.0)], 1)],
        &progress(1),
        &mut output,
    );
    assert_eq!(output.deltas.iter().map(Delta::len).sum::<usize>(), 1);
    let mut restarted = make();
    restarted.load(&join.save().unwrap(), Share::ALL).unwrap();
    let mut output = Output::default();
    restarted.on_tick(vec![vec![], rows(true, vec![None, Some(1.0)], -1)], &progress(2), &mut output);
    assert_eq!(output.deltas.iter().map(Delta::len).sum::<usize>(), 1);
    assert_eq!(restarted.size().entries, 1);
}
