//! Session windows against their definition, over random histories.

mod harness;
#[path = "reference/session_window.rs"]
mod reference;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Relation, Shape, Step, Workers, assert_same, relation};
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Route, TickOperator};
use highwater_operators::session_window::{SessionWindow, SessionWindowError, SessionWindowSpec};
use proptest::prelude::*;

/// How far before its block a row may be.
const JITTER_MS: i64 = 30_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("at", timestamp_type(), true),
        Field::new("amount", DataType::Int64, true),
    ]))
}

fn batch(rows: &[(Option<&str>, Option<i64>, Option<i64>)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(name, ..)| *name).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, at, _)| *at).collect::<TimestampMillisecondArray>().with_timezone("UTC")),
        Arc::new(rows.iter().map(|(.., amount)| *amount).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

fn block_rows(random: &mut Random, time_ms: i64) -> RecordBatch {
    let row = |random: &mut Random| {
        let name = (!random.chance(10)).then(|| random.pick(&["", "a", "b"]));
        let before_ms = 1000 * i64::try_from(random.below(31)).expect("small");
        let at = (!random.chance(5)).then_some(time_ms - before_ms.min(JITTER_MS));
        (name, at, (!random.chance(10)).then(|| i64::try_from(random.below(2)).expect("small")))
    };
    let rows: Vec<_> = (0..random.index(5)).map(|_| row(random)).collect();
    batch(&rows)
}

fn random_spec(random: &mut Random) -> SessionWindowSpec {
    SessionWindowSpec {
        input: schema(),
        time: 1,
        key: random.pick(&[vec![], vec![0], vec![2, 0]]),
        gap_ms: random.pick(&[1, 1000, 2000, 5000, 20_000, 200_000]),
        final_offset_ms: random.pick(&[None, Some(JITTER_MS)]),
    }
}

fn workers(spec: &SessionWindowSpec, count: usize) -> Workers<impl Fn() -> Box<dyn TickOperator> + use<>> {
    let key = (!spec.key.is_empty()).then(|| spec.key.clone());
    let spec = spec.clone();
    Workers::new(count, key, move || Box::new(SessionWindow::new("view", spec.clone()).expect("a valid window")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equals_its_definition_at_every_tick(
        seed in any::<u64>(), max_blocks in prop_oneof![Just(1_u64), Just(3), Just(100)], max_depth in 1..=12_u64,
        reorg_percent in 0..60_u64, lag in 0..20_u64, count in prop_oneof![Just(1_usize), Just(2), Just(4)],
        derived in any::<bool>(),
    ) {
        let ticks = if max_blocks == 100 { 6 } else { 30 };
        let shape = Shape { seed, ticks, max_blocks, max_depth, reorg_percent, lag, derived, mixed: true };
        let mut random = Random::new(seed ^ 1);
        let spec = random_spec(&mut random);
        let mut history = History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time));
        let mut workers = workers(&spec, count);
        for tick in 0..ticks {
            let step = history.step(tick + 1 == ticks);
            workers.tick(&step);
            let want = reference::session_window(&spec, &history.accumulated());
            assert_same(&workers.rows, &want, &format!("tick {tick} of {spec:?}"));
            assert_same(&workers.errors, &Relation::new(), "the errors");
            if random.chance(20) {
                workers.restart(random.pick(&[1, 2, 4]));
            }
        }
    }

    #[test]
    fn taking_everything_back_leaves_nothing(seed in any::<u64>()) {
        let shape = Shape {
            seed, ticks: 8, max_blocks: 4, max_depth: 6, reorg_percent: 30, lag: 1_000_000, derived: false, mixed: true,
        };
        let spec = random_spec(&mut Random::new(seed ^ 2));
        let mut history = History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time));
        let mut workers = workers(&spec, 1);
        for _ in 0..shape.ticks {
            workers.tick(&history.step(false));
        }
        workers.tick(&history.revert_all());
        prop_assert!(workers.rows.is_empty());
        prop_assert_eq!(workers.entries(), 0);
    }

    #[test]
    fn final_sessions_leave_memory_and_stay_published(seed in any::<u64>(), derived in any::<bool>()) {
        let shape =
            Shape { seed, ticks: 12, max_blocks: 4, max_depth: 6, reorg_percent: 30, lag: 3, derived, mixed: false };
        let spec = SessionWindowSpec { final_offset_ms: Some(JITTER_MS), ..random_spec(&mut Random::new(seed ^ 3)) };
        let mut history = History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time));
        let mut workers = workers(&spec, 1);
        for _ in 0..shape.ticks {
            workers.tick(&history.step(false));
        }
        let mut last = history.step(true);
        last.progress.finalized_ms = Some(last.progress.now_ms + JITTER_MS + spec.gap_ms);
        workers.tick(&last);
        prop_assert_eq!(workers.entries(), 0);
        assert_same(&workers.rows, &reference::session_window(&spec, &history.accumulated()), "what is published");
    }
}

fn step(tick: u64, finalized_ms: Option<i64>, deltas: Vec<Delta>) -> Step {
    let hash = BlockHash([0; 32]);
    let mut progress = Progress::at(tick, &BlockRef { number: tick, hash, parent: hash, timestamp_ms: 0 });
    progress.finalized_ms = finalized_ms;
    Step { deltas, progress }
}

/// Rows of one key at these seconds, added or taken back.
fn seconds(seconds: &[i64], diff: i64) -> Delta {
    let rows: Vec<_> = seconds.iter().map(|second| (Some("a"), Some(second * 1000), None)).collect();
    Delta::derived(batch(&rows), vec![diff; rows.len()])
}

fn ten_seconds(final_offset_ms: Option<i64>) -> SessionWindowSpec {
    SessionWindowSpec { input: schema(), time: 1, key: vec![0], gap_ms: 10_000, final_offset_ms }
}

/// Rows at `(second, from, until)`.
fn rows(windows: &[(i64, i64, i64)]) -> Relation {
    let time = |second: &i64| format!("1970-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    relation(windows.iter().map(|(at, from, until)| format!("a|{}|~|{}|{}", time(at), time(from), time(until))))
}

#[test]
fn exactly_the_gap_apart_starts_a_session() {
    let mut workers = workers(&ten_seconds(None), 1);
    workers.tick(&step(1, None, vec![seconds(&[0, 9, 19], 1)]));
    assert_same(&workers.rows, &rows(&[(0, 0, 19), (9, 0, 19), (19, 19, 29)]), "the sessions");
}

#[test]
fn only_rows_whose_window_changed_are_given_again() {
    let mut workers = workers(&ten_seconds(None), 1);
    let given = |deltas: Vec<Delta>| deltas.iter().map(Delta::len).sum::<usize>();
    assert_eq!(given(workers.tick_through(&step(1, None, vec![seconds(&[0, 5, 9, 30, 35], 1)]))), 5);
    assert_eq!(given(workers.tick_through(&step(2, None, vec![seconds(&[5], 1)]))), 1, "within a session");
    assert_eq!(given(workers.tick_through(&step(3, None, vec![seconds(&[5, 5], -1)]))), 1, "out of its midst");
    let bridge = vec![seconds(&[15, 22], 1)];
    assert_eq!(given(workers.tick_through(&step(4, None, bridge))), 4 + 4 + 2, "two sessions become one");
    assert_same(&workers.rows, &rows(&[0, 9, 15, 22, 30, 35].map(|at| (at, 0, 45))), "the session");
    let there_and_back = vec![seconds(&[22], -1), seconds(&[22], 1)];
    assert_eq!(given(workers.tick_through(&step(5, None, there_and_back))), 0, "nothing changed");
    assert_eq!(given(workers.tick_through(&step(6, None, vec![seconds(&[22], -1)]))), 6 + 5, "it splits");
    let parts = [(0, 0, 25), (9, 0, 25), (15, 0, 25), (30, 30, 45), (35, 30, 45)];
    assert_same(&workers.rows, &rows(&parts), "the parts");
}

#[test]
fn a_row_for_a_final_time_is_an_error() {
    let mut workers = workers(&ten_seconds(Some(5000)), 1);
    workers.tick(&step(1, Some(29_999), vec![seconds(&[0, 9, 15], 1)]));
    assert_eq!(workers.entries(), 3, "the window ends at 25 s, which is final at 30 s");
    workers.tick(&step(2, Some(30_000), vec![seconds(&[25], 1)]));
    assert_eq!(workers.entries(), 1);
    let published = rows(&[(0, 0, 25), (9, 0, 25), (15, 0, 25), (25, 25, 35)]);
    assert_same(&workers.rows, &published, "what is published");
    workers.restart(2);
    workers.tick(&step(3, Some(30_000), vec![seconds(&[24], 1), seconds(&[25], 1)]));
    assert_eq!(workers.errors.len(), 1);
    let error = workers.errors.keys().next().expect("one error");
    assert!(error.starts_with("session already closed|{"), "{error}");
    assert_eq!(workers.rows[rows(&[(25, 25, 35)]).keys().next().expect("a row")], 2);
    workers.tick(&step(4, Some(30_000), vec![seconds(&[24], -1)]));
    assert!(workers.errors.is_empty(), "the error goes with its row");
}

#[test]
fn both_zeros_are_one_key() {
    let input = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Float64, true),
        Field::new("at", timestamp_type(), true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![0.0, -0.0])),
        Arc::new(TimestampMillisecondArray::from(vec![1000, 2000]).with_timezone("UTC")),
    ];
    let delta = Delta::derived(RecordBatch::try_new(input.clone(), columns).expect("columns fit"), vec![1, 1]);
    let spec = SessionWindowSpec { input, ..ten_seconds(None) };
    let mut workers = workers(&spec, 1);
    workers.tick(&step(1, None, vec![delta]));
    assert!(workers.rows.keys().all(|row| row.ends_with("|1970-01-01T00:00:01Z|1970-01-01T00:00:12Z")));
}

#[test]
fn a_window_needs_a_time_a_gap_and_its_columns() {
    let valid = ten_seconds(None);
    let with = |spec: SessionWindowSpec| SessionWindow::new("view", spec).err();
    let no_time = SessionWindowSpec { time: 0, ..valid.clone() };
    assert!(matches!(with(no_time), Some(SessionWindowError::Time { index: 0 })));
    let no_gap = SessionWindowSpec { gap_ms: 0, ..valid.clone() };
    assert!(matches!(with(no_gap), Some(SessionWindowError::Gap { gap_ms: 0 })));
    let no_column = SessionWindowSpec { key: vec![7], ..valid.clone() };
    assert!(matches!(with(no_column), Some(SessionWindowError::MissingColumn { index: 7 })));
    let all = SessionWindow::new("view", SessionWindowSpec { key: vec![], ..valid }).expect("a valid window");
    assert_eq!(all.route(), Route::First);
}
