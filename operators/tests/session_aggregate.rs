//! Sessions with what is computed of each, against their definition: the aggregate of the rows with their windows.

mod harness;
#[path = "reference/aggregate.rs"]
mod reference;
#[path = "reference/session_window.rs"]
mod sessions;

use std::sync::Arc;

use alloy_primitives::U256;
use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Relation, Shape, Step, Workers, assert_same, messages, relation};
use highwater_engine::error::StateError;
use highwater_engine::model::wide::{timestamp_type, uint256_field, uint256_to_bytes};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Route, Share, TickOperator};
use highwater_operators::aggregate::{AggregateCall, AggregateFunction as F, AggregateSpec};
use highwater_operators::session_window::{
    SessionAggregate, SessionAggregateError, SessionAggregateSpec, SessionKey, SessionWindowSpec,
};
use proptest::prelude::*;

/// How far before its block a row may be.
const JITTER_MS: i64 = 30_000;

const NAME: usize = 0;
const AT: usize = 1;
const AMOUNT: usize = 2;
const WIDE: usize = 3;
const FLAG: usize = 4;

struct Row {
    name: Option<&'static str>,
    at: Option<i64>,
    amount: Option<i64>,
    wide: Option<U256>,
    flag: Option<bool>,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("at", timestamp_type(), true),
        Field::new("amount", DataType::Int64, true),
        uint256_field("wide", true),
        Field::new("flag", DataType::Boolean, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let wides = rows.iter().map(|row| row.wide.map(uint256_to_bytes));
    let wides = FixedSizeBinaryArray::try_from_sparse_iter_with_size(wides, 32).expect("of one size");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.name).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.at).collect::<TimestampMillisecondArray>().with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.amount).collect::<Int64Array>()),
        Arc::new(wides),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

fn block_rows(random: &mut Random, time_ms: i64) -> RecordBatch {
    let row = |random: &mut Random| {
        let before_ms = 1000 * i64::try_from(random.below(31)).expect("small");
        Row {
            name: (!random.chance(10)).then(|| random.pick(&["", "a", "b"])),
            at: (!random.chance(5)).then_some(time_ms - before_ms.min(JITTER_MS)),
            amount: (!random.chance(10)).then(|| random.pick(&[0, 1, 7, i64::MAX, i64::MIN])),
            // Two of the largest are more than a sum can hold.
            wide: (!random.chance(10)).then(|| random.pick(&[U256::ZERO, U256::from(5_u8), U256::MAX])),
            flag: (!random.chance(10)).then(|| random.chance(50)),
        }
    };
    let rows: Vec<_> = (0..random.index(5)).map(|_| row(random)).collect();
    batch(&rows)
}

fn sessions_of(key: Vec<usize>, gap_ms: i64, final_offset_ms: Option<i64>) -> SessionWindowSpec {
    SessionWindowSpec { input: schema(), time: AT, key, gap_ms, final_offset_ms }
}

fn random_spec(random: &mut Random) -> SessionAggregateSpec {
    let key = random.pick(&[vec![], vec![NAME], vec![FLAG, NAME]]);
    let mut keys: Vec<SessionKey> =
        (0..key.len()).map(SessionKey::Key).chain([SessionKey::WindowStart, SessionKey::WindowEnd]).collect();
    for place in (1..keys.len()).rev() {
        keys.swap(place, random.index(place + 1));
    }
    let gap_ms = random.pick(&[1, 1000, 2000, 5000, 20_000, 200_000]);
    let final_offset_ms = random.pick(&[None, Some(JITTER_MS)]);
    let call = |random: &mut Random, index: usize| {
        let (function, argument) = random.pick(&[
            (F::CountAll, None),
            (F::Count, Some(AMOUNT)),
            (F::Sum, Some(AMOUNT)),
            (F::Sum, Some(WIDE)),
            (F::Min, Some(AMOUNT)),
            (F::Max, Some(NAME)),
            (F::Max, Some(AT)),
            (F::BoolOr, Some(FLAG)),
        ]);
        let distinct = argument.is_some() && random.chance(20);
        let filter = random.chance(30).then_some(FLAG);
        AggregateCall {
            filter,
            distinct,
            ..AggregateCall::new(function, Vec::from_iter(argument), format!("c{index}"))
        }
    };
    let calls = (0..random.index(4)).map(|index| call(random, index)).collect();
    SessionAggregateSpec { sessions: sessions_of(key, gap_ms, final_offset_ms), keys, calls }
}

/// The rows and the messages of errors by definition.
fn definition(spec: &SessionAggregateSpec, input: &RecordBatch) -> (Relation, Vec<String>) {
    let rows = sessions::session_rows(&spec.sessions, input);
    let width = input.num_columns();
    let keys = spec.keys.iter().map(|key| match key {
        SessionKey::Key(index) => spec.sessions.key[*index],
        SessionKey::WindowStart => width,
        SessionKey::WindowEnd => width + 1,
    });
    let grouping =
        AggregateSpec { input: rows.schema(), keys: keys.collect(), calls: spec.calls.clone(), closing: None };
    reference::aggregate(&grouping, &rows)
}

fn workers(spec: &SessionAggregateSpec, count: usize) -> Workers<impl Fn() -> Box<dyn TickOperator> + use<>> {
    let key = (!spec.sessions.key.is_empty()).then(|| spec.sessions.key.clone());
    let spec = spec.clone();
    Workers::new(count, key, move || Box::new(SessionAggregate::new("view", spec.clone()).expect("a valid aggregate")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

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
            let (rows, errors) = definition(&spec, &history.accumulated());
            assert_same(&workers.rows, &rows, &format!("tick {tick} of {spec:?}"));
            prop_assert_eq!(messages(&workers.errors), errors);
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
        prop_assert!(workers.rows.is_empty() && workers.errors.is_empty());
        prop_assert_eq!(workers.entries(), 0);
    }

    #[test]
    fn final_sessions_leave_memory_and_stay_published(seed in any::<u64>(), derived in any::<bool>()) {
        let shape =
            Shape { seed, ticks: 12, max_blocks: 4, max_depth: 6, reorg_percent: 30, lag: 3, derived, mixed: false };
        let mut spec = random_spec(&mut Random::new(seed ^ 3));
        spec.sessions.final_offset_ms = Some(JITTER_MS);
        let mut history = History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time));
        let mut workers = workers(&spec, 1);
        for _ in 0..shape.ticks {
            workers.tick(&history.step(false));
        }
        let mut last = history.step(true);
        last.progress.finalized_ms = Some(last.progress.now_ms + JITTER_MS + spec.sessions.gap_ms);
        workers.tick(&last);
        prop_assert_eq!(workers.entries(), 0);
        let (rows, errors) = definition(&spec, &history.accumulated());
        assert_same(&workers.rows, &rows, "what is published");
        prop_assert_eq!(messages(&workers.errors), errors);
    }
}

fn step(tick: u64, finalized_ms: Option<i64>, deltas: Vec<Delta>) -> Step {
    let hash = BlockHash([0; 32]);
    let mut progress = Progress::at(tick, &BlockRef { number: tick, hash, parent: hash, timestamp_ms: 0 });
    progress.finalized_ms = finalized_ms;
    Step { deltas, progress }
}

/// Rows of one key at these seconds, added or taken back; the second is their amount.
fn seconds(seconds: &[i64], diff: i64) -> Delta {
    let row =
        |second: &i64| Row { name: Some("a"), at: Some(second * 1000), amount: Some(*second), wide: None, flag: None };
    let rows: Vec<_> = seconds.iter().map(row).collect();
    Delta::derived(batch(&rows), vec![diff; rows.len()])
}

/// The largest amount of sessions ten seconds apart.
fn largest(final_offset_ms: Option<i64>) -> SessionAggregateSpec {
    SessionAggregateSpec {
        sessions: sessions_of(vec![NAME], 10_000, final_offset_ms),
        keys: vec![SessionKey::Key(0), SessionKey::WindowStart, SessionKey::WindowEnd],
        calls: vec![AggregateCall::new(F::Max, [AMOUNT], "largest")],
    }
}

/// Rows of `(from, until, largest)`.
fn rows(windows: &[(i64, i64, i64)]) -> Relation {
    let time = |second: &i64| format!("1970-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    relation(windows.iter().map(|(from, until, largest)| format!("a|{}|{}|{largest}", time(from), time(until))))
}

#[test]
fn a_session_grows_joins_and_splits() {
    let mut workers = workers(&largest(None), 1);
    let given = |deltas: Vec<Delta>| deltas.iter().map(Delta::len).sum::<usize>();
    assert_eq!(given(workers.tick_through(&step(1, None, vec![seconds(&[0, 5, 30], 1)]))), 2);
    assert_eq!(given(workers.tick_through(&step(2, None, vec![seconds(&[3], 1)]))), 0, "within, and not the largest");
    assert_eq!(given(workers.tick_through(&step(3, None, vec![seconds(&[12, 21], 1)]))), 3, "two sessions become one");
    assert_same(&workers.rows, &rows(&[(0, 40, 30)]), "one session");
    assert_eq!(given(workers.tick_through(&step(4, None, vec![seconds(&[12], -1)]))), 3, "it splits");
    assert_same(&workers.rows, &rows(&[(0, 15, 5), (21, 40, 30)]), "the parts");
    assert_eq!(given(workers.tick_through(&step(5, None, vec![seconds(&[0], -1)]))), 2, "it begins later");
    assert_same(&workers.rows, &rows(&[(3, 15, 5), (21, 40, 30)]), "the parts");
}

#[test]
fn the_end_moves_where_no_result_changes() {
    let mut spec = largest(None);
    spec.calls[0].function = F::Min;
    let mut workers = workers(&spec, 1);
    workers.tick(&step(1, None, vec![seconds(&[0], 1)]));
    workers.tick(&step(2, None, vec![seconds(&[7], 1)]));
    assert_same(&workers.rows, &rows(&[(0, 17, 0)]), "a later end");
    workers.tick(&step(3, None, vec![seconds(&[7], -1)]));
    assert_same(&workers.rows, &rows(&[(0, 10, 0)]), "the end of before");
}

#[test]
fn a_row_for_a_final_time_is_an_error() {
    let mut workers = workers(&largest(Some(5000)), 1);
    workers.tick(&step(1, Some(30_000), vec![seconds(&[0, 9, 15], 1)]));
    assert_eq!(workers.entries(), 0, "the window ends at 25 s, which is final at 30 s");
    workers.tick(&step(2, Some(30_000), vec![seconds(&[25], 1)]));
    workers.restart(2);
    workers.tick(&step(3, Some(30_000), vec![seconds(&[24, 26], 1)]));
    assert_same(&workers.rows, &rows(&[(0, 25, 15), (25, 36, 26)]), "what is published");
    let error = workers.errors.keys().next().expect("one error");
    assert!(error.starts_with("session already closed|{"), "{error}");
}

#[test]
fn keys_are_those_of_the_sessions() {
    let with = |spec: SessionAggregateSpec| SessionAggregate::new("view", spec).err();
    let no_end = SessionAggregateSpec { keys: vec![SessionKey::Key(0), SessionKey::WindowStart], ..largest(None) };
    assert!(matches!(with(no_end), Some(SessionAggregateError::Keys { count: 1, .. })));
    let twice = vec![SessionKey::WindowStart, SessionKey::WindowStart, SessionKey::WindowEnd];
    assert!(matches!(
        with(SessionAggregateSpec { keys: twice, ..largest(None) }),
        Some(SessionAggregateError::Keys { .. })
    ));
    let schema = schema();
    let fields = schema.fields().iter().map(|field| match field.name().as_str() {
        "name" => field.as_ref().clone().with_data_type(DataType::Float64),
        _ => field.as_ref().clone(),
    });
    let mut float = largest(None);
    float.sessions.input = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    assert!(matches!(with(float), Some(SessionAggregateError::KeyType { index: 0, .. })));
    let mut no_time = largest(None);
    no_time.sessions.time = AMOUNT;
    assert!(matches!(with(no_time), Some(SessionAggregateError::Sessions(_))));
    let mut unknown = largest(None);
    unknown.calls[0].arguments = vec![9];
    assert!(matches!(with(unknown), Some(SessionAggregateError::Aggregate(_))));
    let all = SessionAggregateSpec {
        sessions: sessions_of(vec![], 1, None),
        keys: vec![SessionKey::WindowEnd, SessionKey::WindowStart],
        calls: Vec::new(),
    };
    assert_eq!(SessionAggregate::new("view", all).expect("a valid aggregate").route(), Route::First);
}

#[test]
fn state_of_other_calls_is_refused() {
    let saved = SessionAggregate::new("view", largest(None)).expect("a valid aggregate").save().expect("saves");
    let mut other = largest(None);
    other.calls[0].function = F::Min;
    let mut other = SessionAggregate::new("view", other).expect("a valid aggregate");
    assert!(matches!(other.load(&saved, Share::ALL), Err(StateError::Mismatch { .. })));
}
