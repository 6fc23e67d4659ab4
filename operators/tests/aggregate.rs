//! The grouped aggregate against its definition, over random histories.

mod harness;
#[path = "reference/aggregate.rs"]
mod reference;

use std::sync::Arc;

use alloy_primitives::{I256, U256};
use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMillisecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Shape, Workers, assert_same, messages};
use highwater_engine::error::StateError;
use highwater_engine::model::wide::{
    ADDRESS_TYPE, int256_field, int256_to_bytes, timestamp_type, uint256_field, uint256_to_bytes,
};
use highwater_engine::model::{BlockRef, Delta, Origin, Progress};
use highwater_engine::operator::{BatchOperator as _, Output, Share, TickOperator};
use highwater_operators::aggregate::{
    Aggregate, AggregateCall, AggregateError, AggregateFunction as F, AggregateSpec, BlockAggregate,
};
use proptest::prelude::*;

const WINDOW_MS: i64 = 60_000;
const WINDOW: usize = 0;
const ADDRESS: usize = 1;
const NAME: usize = 2;
const AMOUNT: usize = 3;
const SMALL: usize = 4;
const PRICE: usize = 5;
const WIDE: usize = 6;
const SIGNED: usize = 7;
const MONEY: usize = 8;
const FLAG: usize = 9;
const OK: usize = 10;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("window_end", timestamp_type(), true),
        Field::new("address", ADDRESS_TYPE, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
        Field::new("small", DataType::Int32, false),
        Field::new("price", DataType::Float64, true),
        uint256_field("wide", true),
        int256_field("signed", false),
        Field::new("money", DataType::Decimal128(20, 2), true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("ok", DataType::Boolean, false),
    ]))
}

/// A few rows of a block, with values that hurt.
fn block_rows(random: &mut Random, time_ms: i64, nulls: bool) -> RecordBatch {
    let count = random.index(6);
    let present = |random: &mut Random| !nulls || !random.chance(15);
    let maybe = |random: &mut Random, value: u64| present(random).then_some(value);
    let mut columns: Vec<Vec<Option<u64>>> = vec![Vec::new(); 11];
    for _ in 0..count {
        for column in &mut columns {
            let value = random.next();
            column.push(maybe(random, value));
        }
    }
    let window = time_ms - time_ms.rem_euclid(WINDOW_MS) + WINDOW_MS;
    let floats = [0.1, -0.1, 1e300, -1e300, 5e-324, 3.0, f64::NAN, f64::INFINITY, 1e16, 0.0];
    let wides = [U256::MAX, U256::MAX >> 1, U256::from(7_u8), U256::ZERO, U256::from(u128::MAX)];
    let signed = [I256::MIN, I256::MAX, I256::ONE, I256::MINUS_ONE, I256::ZERO];
    let amounts = [i64::MAX, i64::MIN, 0, 1, -1, 5, 1_000_000];
    let pick = |value: u64, len: usize| usize::try_from(value % len as u64).expect("small");
    let small = |value: &Option<u64>| i32::try_from(value.unwrap_or(0) % 5).expect("small") - 2;
    let arrays: Vec<ArrayRef> = vec![
        // HOP gives a row to several windows: some go to the next one too.
        Arc::new(
            columns[0]
                .iter()
                .map(|value| value.map(|value| window + WINDOW_MS * i64::from(value % 3 == 0)))
                .collect::<TimestampMillisecondArray>()
                .with_timezone("UTC"),
        ),
        fixed(columns[1].iter().map(|value| value.map(|value| [u8::try_from(value % 3).expect("small"); 20])), 20),
        Arc::new(
            columns[2].iter().map(|value| value.map(|value| "x".repeat(pick(value, 4) * 13))).collect::<StringArray>(),
        ),
        Arc::new(columns[3].iter().map(|value| value.map(|value| amounts[pick(value, 7)])).collect::<Int64Array>()),
        Arc::new(columns[4].iter().map(small).collect::<Vec<i32>>().into_iter().map(Some).collect::<Int32Array>()),
        Arc::new(columns[5].iter().map(|value| value.map(|value| floats[pick(value, 10)])).collect::<Float64Array>()),
        fixed(columns[6].iter().map(|value| value.map(|value| uint256_to_bytes(wides[pick(value, 5)]))), 32),
        fixed(columns[7].iter().map(|value| Some(int256_to_bytes(signed[pick(value.unwrap_or(2), 5)]))), 32),
        Arc::new(
            columns[8]
                .iter()
                .map(|value| value.map(|value| i128::from(value % 2000) - 1000))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(20, 2)
                .expect("fits"),
        ),
        Arc::new(columns[9].iter().map(|value| value.map(|value| value % 2 == 0)).collect::<BooleanArray>()),
        Arc::new(columns[10].iter().map(|value| Some(value.unwrap_or(0) % 4 != 0)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema(), arrays).expect("columns fit")
}

fn fixed<const N: usize>(values: impl Iterator<Item = Option<[u8; N]>>, size: i32) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, size).expect("one size"))
}

fn random_spec(random: &mut Random) -> AggregateSpec {
    let keys = random.pick(&[
        vec![],
        vec![NAME],
        vec![WINDOW],
        vec![WINDOW, ADDRESS],
        vec![NAME, WINDOW],
        vec![ADDRESS, SMALL, FLAG],
    ]);
    let closing = keys.iter().position(|key| *key == WINDOW).filter(|_| random.chance(80));
    let numbers = [AMOUNT, SMALL, PRICE, WIDE, SIGNED, MONEY];
    let call = |random: &mut Random, index: usize| {
        let distinct = random.chance(20);
        let (function, argument) = match random.below(10) {
            0 => (F::CountAll, None),
            1 | 2 => (F::Count, Some(random.index(11))),
            3 | 4 => (F::Sum, Some(random.pick(&numbers))),
            5 => (F::Avg, Some(random.pick(&numbers))),
            6 => (F::Min, Some(random.index(11))),
            7 => (F::Max, Some(random.index(11))),
            8 => {
                let function = random.pick(&[F::VarPop, F::VarSamp, F::StddevPop, F::StddevSamp]);
                (function, Some(random.pick(&[AMOUNT, SMALL, PRICE])))
            }
            _ => (random.pick(&[F::BoolAnd, F::BoolOr]), Some(FLAG)),
        };
        let filter = random.chance(30).then(|| random.pick(&[FLAG, OK]));
        let call = AggregateCall::new(function, Vec::from_iter(argument), format!("call_{index}"));
        AggregateCall { filter, distinct: distinct && argument.is_some(), ..call }
    };
    let calls = (0..random.index(6)).map(|index| call(random, index)).collect();
    AggregateSpec { input: schema(), keys, calls, closing }
}

fn make(spec: &AggregateSpec) -> impl Fn() -> Box<dyn TickOperator> + use<> {
    let spec = spec.clone();
    move || Box::new(Aggregate::new("view", spec.clone()).expect("a valid aggregate"))
}

fn route(spec: &AggregateSpec) -> Option<Vec<usize>> {
    (!spec.keys.is_empty()).then(|| spec.keys.clone())
}

fn check_history(shape: Shape, workers: usize) {
    let mut random = Random::new(shape.seed ^ 1);
    let spec = random_spec(&mut random);
    let nulls = random.chance(60);
    let mut history = History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time, nulls));
    let mut workers = Workers::new(workers, route(&spec), make(&spec));
    for tick in 0..shape.ticks {
        let step = history.step(tick + 1 == shape.ticks);
        workers.tick(&step);
        let (rows, errors) = reference::aggregate(&spec, &history.accumulated());
        assert_same(&workers.rows, &rows, &format!("tick {tick} of {spec:?}"));
        assert_eq!(messages(&workers.errors), errors, "errors at tick {tick} of {spec:?}");
        if random.chance(15) {
            workers.restart(random.pick(&[1, 2, 4]));
        }
    }
}

fn shapes() -> impl Strategy<Value = (Shape, usize)> {
    let kinds = prop_oneof![Just((30, 1)), Just((30, 3)), Just((6, 100))];
    let parts = (any::<u64>(), kinds, 1..=12_u64, 0..60_u64, 0..20_u64, any::<bool>(), any::<bool>());
    (parts, prop_oneof![Just(1_usize), Just(2), Just(4)]).prop_map(
        |((seed, (ticks, max_blocks), max_depth, reorg_percent, lag, derived, mixed), workers)| {
            (Shape { seed, ticks, max_blocks, max_depth, reorg_percent, lag, derived, mixed }, workers)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equals_its_definition_at_every_tick((shape, workers) in shapes()) {
        check_history(shape, workers);
    }

    #[test]
    fn taking_everything_back_leaves_nothing(seed in any::<u64>(), derived in any::<bool>()) {
        let shape = Shape {
            seed, ticks: 8, max_blocks: 4, max_depth: 6, reorg_percent: 30, lag: 1_000_000, derived, mixed: true,
        };
        let mut random = Random::new(seed ^ 2);
        let spec = random_spec(&mut random);
        let mut history = History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time, true));
        let mut workers = Workers::new(2, route(&spec), make(&spec));
        for _ in 0..shape.ticks {
            workers.tick(&history.step(false));
        }
        workers.tick(&history.revert_all());
        let (rows, errors) = reference::aggregate(&spec, &history.accumulated());
        assert_same(&workers.rows, &rows, "after taking everything back");
        prop_assert!(errors.is_empty() && workers.errors.is_empty());
        prop_assert_eq!(workers.rows.len(), usize::from(spec.keys.is_empty()));
        if !spec.keys.is_empty() {
            prop_assert_eq!(workers.entries(), 0);
        }
    }
}

#[test]
fn a_block_local_aggregate_is_linear() {
    let call = |function: F, argument: usize| AggregateCall {
        filter: Some(OK),
        ..AggregateCall::new(function, [argument], function.to_string())
    };
    let distinct = AggregateCall { distinct: true, ..call(F::Count, MONEY) };
    let calls = vec![call(F::Sum, AMOUNT), call(F::Max, NAME), call(F::Sum, WIDE), distinct];
    let spec = AggregateSpec { input: schema(), keys: vec![ADDRESS, FLAG], calls, closing: None };
    let mut operator = BlockAggregate::new(spec.clone()).expect("a valid aggregate");
    let mut random = Random::new(5);
    for _ in 0..50 {
        let batch = block_rows(&mut random, 1_700_000_000_000, true);
        let (rows, errors) = reference::aggregate(&spec, &batch);
        for diff in [1, -1] {
            let mut output = Output::default();
            operator.on_delta(Delta::of_block(batch.clone(), diff, 9), &mut output);
            // The same rows, once each way in one delta, are taken apart by sign.
            let twice = concat_batches(&schema(), [&batch, &batch]).expect("one schema");
            let diffs = (0..twice.num_rows()).map(|row| if row < batch.num_rows() { diff } else { -diff }).collect();
            let mut mixed = Output::default();
            operator.on_delta(Delta::derived(twice, diffs), &mut mixed);
            for (deltas, want) in [(output.deltas, rows.clone()), (mixed.deltas, harness::Relation::new())] {
                let mut got = harness::Relation::new();
                for delta in deltas {
                    (0..delta.len()).for_each(|row| {
                        harness::add(&mut got, harness::text(&delta.batch, row), delta.diffs.at(row) * diff);
                    });
                }
                assert_same(&got, &want, "a block-local aggregate");
            }
            let mut failed = harness::Relation::new();
            for delta in &output.errors {
                assert_eq!(delta.origin, Origin::Block(9));
                (0..delta.len()).for_each(|row| {
                    harness::add(&mut failed, harness::text(&delta.batch, row), delta.diffs.at(row) * diff);
                });
            }
            assert_eq!(messages(&failed), errors);
        }
    }
}

/// What goes and what comes are deltas of their own where they are large, and one where they are small.
#[test]
fn changes_of_any_number_of_groups_add_up() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("pool", DataType::Int64, false),
        Field::new("amount", DataType::Int64, false),
    ]));
    let newest = AggregateCall::new(F::Max, [1], "newest".to_owned());
    let spec = AggregateSpec { input: schema.clone(), keys: vec![0], calls: vec![newest], closing: None };
    let mut operator = Aggregate::new("view", spec).expect("a valid aggregate");
    let (mut known, mut shown) = (std::collections::BTreeMap::<i64, i64>::new(), harness::Relation::new());
    for (tick, (groups, deltas)) in [(9_000, 1), (6_000, 2), (4_000, 1), (9_000, 2)].into_iter().enumerate() {
        let tick = i64::try_from(tick).expect("small");
        let rows = |from: i64, to: i64| {
            let amounts = (from..to).map(|pool| pool * 10 + tick).collect::<Int64Array>();
            let columns: Vec<ArrayRef> = vec![Arc::new((from..to).collect::<Int64Array>()), Arc::new(amounts)];
            Delta::of_block(RecordBatch::try_new(schema.clone(), columns).expect("one length"), 1, 5)
        };
        known.extend((0..groups).map(|pool| (pool, pool * 10 + tick)));
        let progress =
            Progress::at(u64::try_from(tick).expect("small"), &highwater_engine::testing::block(b'a', 5, None));
        let mut output = Output::default();
        // Each pool once, in large and in small deltas.
        let input = vec![rows(0, 10), rows(10, 20), rows(20, groups - 4_096), rows(groups - 4_096, groups)];
        let input = if groups > 4_200 { input } else { vec![rows(0, 10), rows(10, groups)] };
        operator.on_tick(input, &progress, &mut output);
        assert_eq!(output.deltas.len(), deltas, "tick {tick}");
        for delta in &output.deltas {
            (0..delta.len()).for_each(|row| {
                harness::add(&mut shown, harness::text(&delta.batch, row), delta.diffs.at(row));
            });
        }
        let (pools, amounts): (Vec<i64>, Vec<i64>) = known.iter().map(|(pool, newest)| (*pool, *newest)).unzip();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(pools)), Arc::new(Int64Array::from(amounts))];
        let want = RecordBatch::try_new(operator.output_schema().clone(), columns).expect("one length");
        let want = harness::relation((0..want.num_rows()).map(|row| harness::text(&want, row)));
        assert_same(&shown, &want, &format!("tick {tick}"));
    }
}

#[test]
fn a_row_for_a_closed_window_is_an_error_row() {
    let spec = AggregateSpec { input: schema(), keys: vec![WINDOW], calls: vec![], closing: Some(0) };
    let mut operator = Aggregate::new("view", spec).expect("a valid aggregate");
    let head = BlockRef { number: 5, hash: Default::default(), parent: Default::default(), timestamp_ms: 300_000 };
    let mut progress = Progress::at(1, &head);
    (progress.finalized_number, progress.finalized_ms) = (Some(5), Some(300_000));
    let mut output = Output::default();
    operator.on_tick(Vec::new(), &progress, &mut output);
    let mut random = Random::new(7);
    let batch = std::iter::repeat_with(|| block_rows(&mut random, 1_000, false)).find(|batch| batch.num_rows() > 2);
    let batch = batch.expect("some block has rows");
    let rows = batch.num_rows();
    operator.on_tick(vec![Delta::of_block(batch, 1, 6)], &progress, &mut output);
    assert!(output.deltas.is_empty());
    assert_eq!(output.errors.iter().map(Delta::len).sum::<usize>(), rows);
    assert_eq!(operator.size().entries, 0);
}

#[test]
fn what_is_not_defined_is_refused() {
    let spec = |function, argument: Option<usize>, keys: Vec<usize>, closing| AggregateSpec {
        input: schema(),
        keys,
        calls: vec![AggregateCall::new(function, Vec::from_iter(argument), "x")],
        closing,
    };
    let error = |spec| Aggregate::new("view", spec).err().expect("refused");
    assert_eq!(error(spec(F::Sum, Some(NAME), vec![], None)).to_string(), "sum is not defined for Utf8");
    assert!(matches!(error(spec(F::Max, None, vec![], None)), AggregateError::Arguments { .. }));
    assert!(matches!(error(spec(F::Max, Some(99), vec![], None)), AggregateError::MissingColumn { index: 99, .. }));
    assert!(matches!(error(spec(F::Max, Some(AMOUNT), vec![NAME], Some(0))), AggregateError::Closing { .. }));
    let saved = Aggregate::new("view", spec(F::Max, Some(AMOUNT), vec![NAME], None)).expect("valid").save();
    let mut other = Aggregate::new("view", spec(F::Max, Some(PRICE), vec![NAME], None)).expect("valid");
    let error = other.load(&saved.expect("saves"), Share::ALL).expect_err("another function");
    assert!(matches!(error, StateError::Mismatch { .. }), "{error}");
}
