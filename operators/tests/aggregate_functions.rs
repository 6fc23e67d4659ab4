//! Statistics, ordered, collecting and sketching aggregates against their definitions, over random histories.

mod harness;
#[path = "reference/aggregate_functions.rs"]
mod reference;

use std::sync::Arc;

use alloy_primitives::{I256, U256};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int32Array,
    Int64Array, StringArray,
};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Relation, Shape, Workers, assert_same};
use highwater_engine::model::wide::{int256_field, int256_to_bytes, uint256_field, uint256_to_bytes};
use highwater_engine::model::{BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, TickOperator};
use highwater_operators::aggregate::{
    Aggregate, AggregateCall, AggregateError, AggregateFunction as F, AggregateParameters, AggregateSpec,
};
use proptest::prelude::*;

const KEY: usize = 0;
const NAME: usize = 1;
const AMOUNT: usize = 2;
const SMALL: usize = 3;
const PRICE: usize = 4;
const WIDE: usize = 5;
const SIGNED: usize = 6;
const MONEY: usize = 7;
const FLAG: usize = 8;
const QUARTERS: usize = 9;
const COLUMNS: usize = 10;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
        Field::new("small", DataType::Int32, true),
        Field::new("price", DataType::Float64, true),
        uint256_field("wide", true),
        int256_field("signed", true),
        Field::new("money", DataType::Decimal128(20, 2), true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("quarters", DataType::Float64, true),
    ]))
}

/// A few rows of a block: few values, so that they repeat, and values that hurt.
fn block_rows(random: &mut Random) -> RecordBatch {
    let count = random.index(6);
    let mut picks =
        || -> Vec<Option<usize>> { (0..count).map(|_| (!random.chance(15)).then(|| random.index(1000))).collect() };
    fn of<T: Clone>(picks: Vec<Option<usize>>, values: &[T]) -> Vec<Option<T>> {
        picks.into_iter().map(|pick| pick.map(|pick| values[pick % values.len()].clone())).collect()
    }
    let wides = [U256::MAX, U256::ZERO, U256::from(7_u8), U256::from(u128::MAX)].map(uint256_to_bytes);
    let signed = [I256::MIN, I256::MAX, I256::ONE, I256::MINUS_ONE, I256::ZERO].map(int256_to_bytes);
    let fixed = |values: Vec<Option<[u8; 32]>>| -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 32).expect("32 bytes"))
    };
    let money = of(picks(), &[1_i128, -250, 99_999, 0]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(of(picks(), &[1, 2]))),
        Arc::new(StringArray::from(of(picks(), &["", "a", "b|", "a much longer text than the others", "é"]))),
        Arc::new(Int64Array::from(of(picks(), &[5, -7, 0, 1, 1 << 30, -(1 << 30)]))),
        Arc::new(Int32Array::from(of(picks(), &[-2, -1, 0, 1, 2]))),
        Arc::new(Float64Array::from(of(picks(), &[0.1, -0.1, 1e300, 0.0, -0.0, f64::NAN, f64::INFINITY, 3.0]))),
        fixed(of(picks(), &wides)),
        fixed(of(picks(), &signed)),
        Arc::new(money.into_iter().collect::<Decimal128Array>().with_precision_and_scale(20, 2).expect("fits")),
        Arc::new(BooleanArray::from(of(picks(), &[true, true, false]))),
        Arc::new(Float64Array::from(of(picks(), &[0.25, -1.5, 1024.75, 0.0, 3.0, 1_000_000.25]))),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

const NUMBERS: [usize; 6] = [AMOUNT, SMALL, PRICE, WIDE, SIGNED, MONEY];
const OF_PAIRS: [F; 12] = [
    F::CovarPop,
    F::CovarSamp,
    F::Corr,
    F::RegrCount,
    F::RegrAvgX,
    F::RegrAvgY,
    F::RegrSxx,
    F::RegrSyy,
    F::RegrSxy,
    F::RegrSlope,
    F::RegrIntercept,
    F::RegrR2,
];

fn options(random: &mut Random) -> SortOptions {
    SortOptions { descending: random.chance(50), nulls_first: random.chance(50) }
}

fn random_call(random: &mut Random, index: usize, sketches: bool) -> AggregateCall {
    let any = random.index(COLUMNS);
    let (function, arguments) = match random.below(if sketches { 9 } else { 7 }) {
        0 | 1 => {
            let columns = random.pick(&[[AMOUNT, SMALL], [SMALL, QUARTERS], [QUARTERS, QUARTERS], [QUARTERS, AMOUNT]]);
            (random.pick(&OF_PAIRS), columns.to_vec())
        }
        2 => (F::PercentileCont, vec![random.pick(&NUMBERS)]),
        3 => (random.pick(&[F::PercentileDisc, F::Mode]), vec![any]),
        4 => (random.pick(&[F::BitAnd, F::BitOr, F::BitXor]), vec![random.pick(&[AMOUNT, SMALL, WIDE, SIGNED])]),
        5 if random.chance(50) => (random.pick(&[F::MinBy, F::MaxBy]), vec![any, random.index(COLUMNS)]),
        5 => {
            let numbers = [AMOUNT, SMALL, PRICE, QUARTERS];
            (random.pick(&[F::MinBy, F::MaxBy]), vec![random.pick(&numbers), random.pick(&numbers)])
        }
        6 if random.chance(20) => (F::StringAgg, vec![NAME]),
        6 if random.chance(10) => (F::SingleValue, vec![any]),
        6 => (random.pick(&[F::ArrayAgg, F::FirstValue, F::LastValue, F::NthValue]), vec![any]),
        7 => (F::ApproxDistinct, vec![any]),
        _ => (random.pick(&[F::ApproxQuantile, F::Histogram]), vec![random.pick(&NUMBERS)]),
    };
    let mut call = AggregateCall::new(function, arguments, format!("call_{index}"));
    call.distinct = random.chance(25) && !matches!(function, F::SingleValue | F::MinBy | F::MaxBy | F::Mode);
    if function == F::ArrayAgg && call.arguments == [PRICE] {
        // Lists are compared as JSON, where NaN and NULL are one.
        call.arguments = vec![QUARTERS];
    }
    if function.is_within_group() && random.chance(60) {
        call.order_by = vec![(call.arguments[0], options(random))];
    }
    if function.takes_order() && (function.is_ordered() || random.chance(40)) {
        let columns = if call.distinct { vec![call.arguments[0]] } else { (0..COLUMNS).collect() };
        call.order_by = (0..random.index(3)).map(|_| (random.pick(&columns), options(random))).collect();
    }
    call.filter = random.chance(30).then_some(FLAG);
    call.parameters = AggregateParameters {
        fraction: random.pick(&[0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]),
        separator: random.pick(&["", ", "]).to_owned(),
        position: random.pick(&[1, 2, 3, -1, -2]),
        relative_error: random.pick(&[0.01, 0.3]),
        ignore_nulls: random.chance(30),
    };
    call
}

fn random_spec(random: &mut Random, sketches: bool) -> AggregateSpec {
    let keys = random.pick(&[vec![], vec![KEY], vec![FLAG, KEY]]);
    let calls = (0..1 + random.index(5)).map(|index| random_call(random, index, sketches)).collect();
    AggregateSpec { input: schema(), keys, calls, closing: None }
}

fn make(spec: &AggregateSpec) -> impl Fn() -> Box<dyn TickOperator> + use<> {
    let spec = spec.clone();
    move || Box::new(Aggregate::new("view", spec.clone()).expect("a valid aggregate"))
}

fn messages(errors: &Relation) -> Vec<String> {
    let message = |(row, count): (&String, &i64)| {
        vec![row.split('|').next().unwrap_or_default().to_owned(); usize::try_from(*count).expect("not negative")]
    };
    let mut messages: Vec<String> = errors.iter().flat_map(message).collect();
    messages.sort();
    messages
}

/// The operator after all these rows in one tick.
fn at_once(spec: &AggregateSpec, rows: &RecordBatch) -> (Aggregate, Relation) {
    let mut operator = Aggregate::new("view", spec.clone()).expect("a valid aggregate");
    let head = BlockRef { number: 1, hash: Default::default(), parent: Default::default(), timestamp_ms: 0 };
    let mut output = Output::default();
    let rows = vec![Delta::derived(rows.clone(), vec![1; rows.num_rows()])];
    operator.on_tick(rows, &Progress::at(1, &head), &mut output);
    let mut shown = Relation::new();
    for delta in output.deltas {
        (0..delta.len())
            .for_each(|row| harness::add(&mut shown, harness::text(&delta.batch, row), delta.diffs.at(row)));
    }
    (operator, shown)
}

fn check_history(shape: Shape, workers: usize, sketches: bool) {
    let mut random = Random::new(shape.seed ^ 1);
    let spec = random_spec(&mut random, sketches);
    let mut history = History::new(shape, schema(), |random: &mut Random, _, _| block_rows(random));
    let route = (!spec.keys.is_empty()).then(|| spec.keys.clone());
    let mut workers = Workers::new(workers, route, make(&spec));
    for tick in 0..shape.ticks {
        workers.tick(&history.step(tick + 1 == shape.ticks));
        let what = format!("tick {tick} of {spec:?}");
        let accumulated = history.accumulated();
        let (operator, shown) = at_once(&spec, &accumulated);
        assert_same(&workers.rows, &shown, &what);
        if !sketches {
            let (rows, errors) = reference::aggregate(&spec, &accumulated);
            assert_same(&workers.rows, &rows, &what);
            assert_eq!(messages(&workers.errors), errors, "errors at {what}");
        }
        if workers.operators.len() == 1 {
            // What was taken back has left no trace.
            let saved = workers.operators[0].save().expect("saves");
            assert_eq!(saved, operator.save().expect("saves"), "{what}");
        }
        if random.chance(15) {
            workers.restart(random.pick(&[1, 2, 4]));
        }
    }
}

fn shapes() -> impl Strategy<Value = (Shape, usize)> {
    let parts = (any::<u64>(), 1..=12_u64, 0..60_u64, any::<bool>(), any::<bool>());
    (parts, prop_oneof![Just(1_usize), Just(1), Just(2), Just(4)]).prop_map(
        |((seed, max_depth, reorg_percent, derived, mixed), workers)| {
            let shape = Shape { seed, ticks: 20, max_blocks: 3, max_depth, reorg_percent, lag: 5, derived, mixed };
            (shape, workers)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equal_their_definitions_at_every_tick((shape, workers) in shapes()) {
        check_history(shape, workers, false);
    }

    #[test]
    fn sketches_do_not_remember_what_was_taken_back((shape, workers) in shapes()) {
        check_history(shape, workers, true);
    }

    #[test]
    fn taking_everything_back_leaves_nothing(seed in any::<u64>(), derived in any::<bool>()) {
        let shape = Shape {
            seed, ticks: 6, max_blocks: 4, max_depth: 6, reorg_percent: 30, lag: 1_000_000, derived, mixed: true,
        };
        let spec = AggregateSpec { keys: vec![KEY], ..random_spec(&mut Random::new(seed ^ 2), true) };
        let mut history = History::new(shape, schema(), |random: &mut Random, _, _| block_rows(random));
        let mut workers = Workers::new(1, Some(spec.keys.clone()), make(&spec));
        (0..shape.ticks).for_each(|_| workers.tick(&history.step(false)));
        workers.tick(&history.revert_all());
        prop_assert!(workers.rows.is_empty() && workers.errors.is_empty());
        prop_assert_eq!(workers.entries(), 0);
    }

    /// The promise of the sketches, in numbers.
    #[test]
    fn sketches_keep_their_bounds(
        values in prop::collection::vec(prop_oneof![-1e9..1e9_f64, -1.0..1.0_f64, Just(0.0), Just(1e-300)], 1..200),
        fraction in 0.0..=1.0_f64,
        error in prop_oneof![Just(0.001), Just(0.01), Just(0.2)],
    ) {
        let input = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
        let rows = RecordBatch::try_new(input.clone(), vec![Arc::new(Float64Array::from(values.clone()))]).expect("fits");
        let calls = [F::PercentileDisc, F::ApproxQuantile, F::Histogram].map(|function| {
            let parameters = AggregateParameters { fraction, relative_error: error, ..Default::default() };
            AggregateCall { parameters, ..AggregateCall::new(function, [0], function.to_string()) }
        });
        let spec = AggregateSpec { input, keys: vec![], calls: calls.to_vec(), closing: None };
        let mut operator = Aggregate::new("view", spec).expect("a valid aggregate");
        let head = BlockRef { number: 1, hash: Default::default(), parent: Default::default(), timestamp_ms: 0 };
        let mut output = Output::default();
        operator.on_tick(vec![Delta::derived(rows, vec![1; values.len()])], &Progress::at(1, &head), &mut output);
        let row = &output.deltas[0].batch;
        let exact = row.column(0).as_primitive::<Float64Type>().value(0);
        let about = row.column(1).as_primitive::<Float64Type>().value(0);
        prop_assert!((about - exact).abs() <= error * exact.abs(), "{} for {}", about, exact);
        let buckets = row.column(2).as_list::<i32>().value(0);
        let buckets = buckets.as_struct();
        let doubles = |index: usize| buckets.column(index).as_primitive::<Float64Type>();
        let mut total = 0;
        for bucket in 0..buckets.len() {
            let (low, high) = (doubles(0).value(bucket), doubles(1).value(bucket));
            let count = buckets.column(2).as_primitive::<Int64Type>().value(bucket);
            let within = values.iter().filter(|value| low <= **value && **value <= high).count();
            prop_assert!(count > 0 && within >= usize::try_from(count).expect("positive"));
            prop_assert!(high - low <= 2.1 * error * low.abs().max(high.abs()));
            total += count;
        }
        prop_assert_eq!(usize::try_from(total).expect("positive"), values.len());
    }
}

#[test]
fn what_is_not_defined_is_refused() {
    let error = |call: AggregateCall| {
        let spec = AggregateSpec { input: schema(), keys: vec![], calls: vec![call], closing: None };
        Aggregate::new("view", spec).err().expect("refused")
    };
    let call = |function, arguments: &[usize]| AggregateCall::new(function, arguments, "x");
    assert!(matches!(error(call(F::Corr, &[AMOUNT])), AggregateError::Arguments { function: F::Corr }));
    assert_eq!(error(call(F::Corr, &[NAME, AMOUNT])).to_string(), "corr is not defined for Utf8");
    assert_eq!(error(call(F::BitOr, &[PRICE])).to_string(), "bit_or is not defined for Float64");
    assert!(matches!(error(call(F::StringAgg, &[AMOUNT])), AggregateError::ArgumentType { .. }));
    let order = vec![(AMOUNT, SortOptions::default())];
    for function in [F::Sum, F::Mode] {
        let call = AggregateCall { order_by: order.clone(), ..call(function, &[SMALL]) };
        assert!(matches!(error(call), AggregateError::Order { .. }));
    }
    let distinct = AggregateCall { distinct: true, order_by: order, ..call(F::ArrayAgg, &[SMALL]) };
    assert!(matches!(error(distinct), AggregateError::Order { .. }));
    for parameters in [
        AggregateParameters { fraction: 1.1, ..Default::default() },
        AggregateParameters { fraction: f64::NAN, ..Default::default() },
        AggregateParameters { relative_error: 0.0, ..Default::default() },
    ] {
        let call = AggregateCall { parameters, ..call(F::ApproxQuantile, &[SMALL]) };
        assert!(matches!(error(call), AggregateError::Parameter { .. }));
    }
}
