//! Window functions against their definition, over random histories.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;
#[path = "reference/over.rs"]
mod reference;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray as _, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMillisecondArray,
};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Shape, Workers, assert_same};
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, TickOperator as _};
use highwater_operators::over::{Bound, Distance, Frame, Over, OverCall, OverError, OverFunction, OverSpec, Units};
use proptest::prelude::*;

const WINDOW: usize = 0;
const NAME: usize = 1;
const AMOUNT: usize = 2;
const PRICE: usize = 3;
const COST: usize = 4;
const PAID: usize = 5;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("window_end", timestamp_type(), true),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
        Field::new("price", DataType::Float64, true),
        Field::new("cost", DataType::Decimal128(10, 2), true),
        Field::new("paid", DataType::Boolean, true),
    ]))
}

fn block_rows(random: &mut Random, time_ms: i64, most: usize, values: u64) -> RecordBatch {
    let count = random.index(most);
    let window = time_ms - time_ms.rem_euclid(60_000) + 60_000;
    let prices = [0.0, -0.0, 0.25, 1.5, -2.75, 3.0, 4.0, f64::NAN, f64::INFINITY];
    let mut pick = |nulls: u64, limit: u64| (!random.chance(nulls)).then(|| random.below(limit));
    let rows: Vec<[Option<u64>; 6]> = (0..count)
        .map(|_| [pick(5, 1), pick(10, 3), pick(15, values), pick(15, 9), pick(15, values), pick(10, 2)])
        .collect();
    let number = |value: u64| i64::try_from(value).unwrap();
    let column = |index: usize| rows.iter().map(move |row| row[index]);
    let costs: Decimal128Array = column(COST).map(|cost| cost.map(|cost| i128::from(cost) * 50 - 100)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(column(WINDOW).map(|w| w.map(|_| window)).collect::<TimestampMillisecondArray>().with_timezone("UTC")),
        Arc::new(column(NAME).map(|n| n.map(|n| "n".repeat(usize::try_from(n).unwrap()))).collect::<StringArray>()),
        Arc::new(column(AMOUNT).map(|a| a.map(|a| number(a) - 2)).collect::<Int64Array>()),
        Arc::new(column(PRICE).map(|p| p.map(|p| prices[usize::try_from(p).unwrap()])).collect::<Float64Array>()),
        Arc::new(costs.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(column(PAID).map(|p| p.map(|p| p == 1)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn random_spec(random: &mut Random, partitions: &[Vec<usize>], bounded: bool) -> OverSpec {
    let partition = random.pick(partitions);
    let closing = partition.iter().position(|index| *index == WINDOW).filter(|_| random.chance(70));
    let mut options = || SortOptions { descending: random.chance(50), nulls_first: random.chance(50) };
    let all = [AMOUNT, PRICE, COST, NAME].map(|index| (index, options()));
    let first = random.index(3);
    let sort = match random.index(4) {
        0 if !bounded => vec![],
        1 => vec![all[first], all[3]],
        _ => vec![all[first]],
    };
    let distance = (sort.len() == 1).then(|| sort[0].0);
    let calls =
        (0..1 + random.index(3)).map(|index| random_call(random, format!("call{index}"), distance, bounded)).collect();
    OverSpec { input: schema(), partition, sort, calls, closing }
}

fn random_call(random: &mut Random, name: String, axis: Option<usize>, bounded: bool) -> OverCall {
    use OverFunction as F;
    let numbers = [
        F::RowNumber,
        F::Rank,
        F::DenseRank,
        F::PercentRank,
        F::CumeDist,
        F::Ntile(1 + i64::from(random.chance(70)) * 3),
    ];
    let offset = i64::try_from(random.index(7)).unwrap() - 2;
    let shifts = [F::Lag { offset }, F::Lead { offset }];
    let places = [F::FirstValue, F::LastValue, F::NthValue(1 + i64::try_from(random.index(3)).unwrap())];
    let aggregates = [F::Count, F::CountAll, F::Sum, F::Avg, F::Min, F::Max];
    let function = match random.index(if bounded { 6 } else { 9 }) {
        0 => random.pick(&shifts),
        1 => random.pick(&places),
        2..=5 => random.pick(&aggregates),
        6 => F::Ewma { alpha: random.pick(&[0.0, 0.5, 0.3, 1.0]) },
        _ => random.pick(&numbers),
    };
    let any = [WINDOW, NAME, AMOUNT, PRICE, COST, PAID];
    let first = match function {
        F::Sum | F::Avg | F::Ewma { .. } => random.pick(&[AMOUNT, PRICE, COST]),
        _ => random.pick(&any),
    };
    let arguments = match function {
        F::CountAll => vec![],
        _ if numbers.contains(&function) => vec![],
        F::Lag { .. } | F::Lead { .. } if random.chance(40) => vec![first, first],
        _ => vec![first],
    };
    let filter = (aggregates.contains(&function) && random.chance(30)).then_some(PAID);
    let ignore_nulls = random.chance(40);
    OverCall { function, arguments, filter, frame: random_frame(random, axis, bounded), ignore_nulls, name }
}

fn random_frame(random: &mut Random, axis: Option<usize>, bounded: bool) -> Frame {
    let units = random.pick(&[Units::Rows, Units::Range, Units::Groups]);
    let mut distance = || match (units, axis) {
        (Units::Range, Some(PRICE)) => Some(Distance::Float(random.pick(&[0.0, 0.5, 2.0]))),
        (Units::Range, Some(COST)) => Some(Distance::Integer(random.pick(&[0, 50, 120]))),
        (Units::Range, Some(_)) => Some(Distance::Integer(random.pick(&[0, 1, 3]))),
        (Units::Range, None) => None,
        _ => Some(Distance::Count(random.below(4))),
    };
    let bounds = [
        Some(Bound::UnboundedPreceding).filter(|_| !bounded),
        distance().map(Bound::Preceding),
        Some(Bound::CurrentRow),
        distance().map(Bound::Following),
        Some(Bound::UnboundedFollowing).filter(|_| !bounded),
    ];
    loop {
        let (start, end) = (random.index(5), random.index(5));
        if let (Some(start_bound), Some(end_bound), true) = (bounds[start], bounds[end], start <= end)
            && start < 4
            && end > 0
        {
            // The same bound twice, or another distance of the same kind.
            return Frame { units, start: start_bound, end: end_bound };
        }
    }
}

fn check(shape: Shape, spec: &OverSpec, count: usize, most: usize, values: u64) {
    let mut random = Random::new(shape.seed ^ 1);
    let rows = move |random: &mut Random, _, time| block_rows(random, time, most, values);
    let mut history = History::new(shape, schema(), rows);
    let key = (!spec.partition.is_empty()).then(|| spec.partition.clone());
    let output = spec.output_schema().unwrap();
    let make = spec.clone();
    let mut workers = Workers::new(count, key, move || Box::new(Over::new("view", make.clone()).unwrap()));
    for tick in 0..shape.ticks {
        let step = history.step(tick + 1 == shape.ticks);
        workers.tick(&step);
        let want = reference::over(spec, &output, &history.accumulated());
        assert_same(&workers.rows, &want, &format!("tick {tick} of {spec:?}"));
        assert!(workers.errors.is_empty());
        if random.chance(20) {
            workers.restart(random.pick(&[1, 2, 4]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn equals_its_definition_at_every_tick(
        seed in any::<u64>(), max_blocks in prop_oneof![Just(1_u64), Just(3), Just(20)], max_depth in 1..=12_u64,
        reorg_percent in 0..60_u64, lag in 0..20_u64, count in prop_oneof![Just(1_usize), Just(2), Just(4)],
        derived in any::<bool>(), bounded in any::<bool>(),
    ) {
        let ticks = if max_blocks == 20 { 6 } else { 20 };
        let shape = Shape { seed, ticks, max_blocks, max_depth, reorg_percent, lag, derived, mixed: true };
        let partitions = [vec![], vec![WINDOW], vec![NAME], vec![NAME, WINDOW]];
        let spec = random_spec(&mut Random::new(seed ^ 2), &partitions, bounded);
        check(shape, &spec, count, 6, 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Partitions of many chunks that grow and shrink at all places.
    #[test]
    fn equals_its_definition_in_long_partitions(seed in any::<u64>(), wide in any::<bool>(), bounded in any::<bool>()) {
        let shape = Shape {
            seed, ticks: 14, max_blocks: 3, max_depth: 12, reorg_percent: 40, lag: 1_000_000, derived: false, mixed: true,
        };
        let spec = random_spec(&mut Random::new(seed ^ 3), &[vec![]], bounded);
        check(shape, &spec, 1, 40, if wide { 1_000 } else { 5 });
    }

    #[test]
    fn taking_everything_back_leaves_nothing(seed in any::<u64>(), bounded in any::<bool>()) {
        let shape = Shape {
            seed, ticks: 8, max_blocks: 4, max_depth: 6, reorg_percent: 30, lag: 1_000_000, derived: false, mixed: true,
        };
        let spec = random_spec(&mut Random::new(seed ^ 4), &[vec![], vec![WINDOW], vec![NAME]], bounded);
        let mut history =
            History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time, 12, 5));
        let mut workers = Workers::new(1, None, move || Box::new(Over::new("view", spec.clone()).unwrap()));
        for _ in 0..shape.ticks {
            workers.tick(&history.step(false));
        }
        workers.tick(&history.revert_all());
        prop_assert!(workers.rows.is_empty());
        prop_assert_eq!(workers.entries(), 0);
    }
}

/// Calls over one order of `amount`, with a default frame where it has no meaning.
fn calls(functions: &[(OverFunction, Option<Frame>)]) -> OverSpec {
    let call = |(index, (function, frame)): (usize, &(OverFunction, Option<Frame>))| OverCall {
        function: *function,
        arguments: match function {
            OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank => vec![],
            _ => vec![COST],
        },
        filter: None,
        frame: frame.unwrap_or(Frame::DEFAULT),
        ignore_nulls: false,
        name: format!("call{index}"),
    };
    OverSpec {
        input: schema(),
        partition: vec![],
        sort: vec![(AMOUNT, SortOptions::default())],
        calls: functions.iter().enumerate().map(call).collect(),
        closing: None,
    }
}

/// Rows of these amounts, with these costs.
fn rows(rows: &[(i64, i128)]) -> RecordBatch {
    let null = |field: &Arc<Field>| arrow::array::new_null_array(field.data_type(), rows.len());
    let mut columns: Vec<ArrayRef> = schema().fields().iter().map(null).collect();
    columns[AMOUNT] = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>());
    let costs = rows.iter().map(|row| Some(row.1)).collect::<Decimal128Array>();
    columns[COST] = Arc::new(costs.with_precision_and_scale(10, 2).unwrap());
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn run(over: &mut Over, batch: RecordBatch, diff: i64) -> Output {
    let head = BlockRef { number: 1, hash: BlockHash([0; 32]), parent: BlockHash([0; 32]), timestamp_ms: 0 };
    let mut output = Output::default();
    over.on_tick(vec![Delta::of_block(batch, diff, 1)], &Progress::at(1, &head), &mut output);
    output
}

/// Rows read and rows emitted for one row that comes and goes, with so many rows in the partition.
fn work(spec: &OverSpec, length: i64, amount: i64) -> (u64, usize) {
    let mut over = Over::new("view", spec.clone()).unwrap();
    let all: Vec<(i64, i128)> = (0..length).map(|place| (place * 2, i128::from(place % 7))).collect();
    run(&mut over, rows(&all), 1);
    let (mut read, mut emitted) = (over.read_rows(), 0);
    for diff in [1, -1] {
        let output = run(&mut over, rows(&[(amount, 3)]), diff);
        emitted += output.deltas.iter().map(Delta::len).sum::<usize>();
    }
    read = over.read_rows() - read;
    (read, emitted)
}

#[test]
fn a_row_at_the_end_costs_the_same_in_a_long_partition() {
    use OverFunction as F;
    let frame = |units, start, end| Some(Frame { units, start, end });
    let preceding = Bound::Preceding(Distance::Count(5));
    let spec = calls(&[
        (F::RowNumber, None),
        (F::Rank, None),
        (F::DenseRank, None),
        (F::Sum, None),
        (F::Avg, frame(Units::Rows, Bound::UnboundedPreceding, Bound::CurrentRow)),
        (F::Max, frame(Units::Rows, Bound::UnboundedPreceding, preceding)),
        (F::FirstValue, None),
        (F::Sum, frame(Units::Rows, preceding, Bound::CurrentRow)),
        (F::Min, frame(Units::Range, Bound::Preceding(Distance::Integer(20)), Bound::CurrentRow)),
        (F::Lag { offset: 3 }, None),
        (F::Ewma { alpha: 0.2 }, None),
    ]);
    let (short, short_emitted) = work(&spec, 1_000, 1_000_000);
    let (long, long_emitted) = work(&spec, 50_000, 1_000_000);
    assert!(short <= 200 && long <= 200, "read {short} rows of 1,000 and {long} of 50,000");
    assert_eq!((short_emitted, long_emitted), (2, 2));
}

#[test]
fn a_row_in_the_middle_touches_what_sees_it() {
    use OverFunction as F;
    let around = Frame {
        units: Units::Rows,
        start: Bound::Preceding(Distance::Count(5)),
        end: Bound::Following(Distance::Count(2)),
    };
    let spec = calls(&[(F::Sum, Some(around)), (F::Lag { offset: 1 }, None), (F::Lead { offset: 2 }, None)]);
    let (short, _) = work(&spec, 1_000, 501);
    let (long, _) = work(&spec, 50_000, 501);
    assert_eq!(short, long);
    assert!(long <= 40, "read {long} rows");
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_until_it_does() {
    let input = Arc::new(Schema::new(vec![
        Field::new("at", DataType::Int64, false),
        Field::new("amount", DataType::Decimal128(38, 0), false),
    ]));
    let call = OverCall {
        function: OverFunction::Sum,
        arguments: vec![1],
        filter: None,
        frame: Frame::DEFAULT,
        ignore_nulls: false,
        name: "total".to_owned(),
    };
    let sort = vec![(0, SortOptions::default())];
    let spec = OverSpec { input: input.clone(), partition: vec![], sort, calls: vec![call], closing: None };
    let mut over = Over::new("view", spec).unwrap();
    let most = 10_i128.pow(38) - 1;
    let batch = |at: i64, amount: i128| {
        let amounts = Decimal128Array::from_value(amount, 1).with_precision_and_scale(38, 0).unwrap();
        RecordBatch::try_new(input.clone(), vec![Arc::new(Int64Array::from(vec![at])), Arc::new(amounts)]).unwrap()
    };
    assert_eq!(run(&mut over, batch(2, most), 1).deltas.len(), 1);
    let output = run(&mut over, batch(1, 1), 1);
    let deltas = &output.deltas[0];
    let changes: Vec<(i64, i64)> = (0..deltas.len())
        .map(|row| (deltas.batch.column(0).as_primitive::<Int64Type>().value(row), deltas.diffs.at(row)))
        .collect();
    assert_eq!(changes, [(1, 1), (2, -1)]);
    let error = &output.errors[0];
    assert_eq!(error.batch.column(0).as_string::<i32>().value(0), "the sum \"total\" does not fit its type");
    let output = run(&mut over, batch(1, 1), -1);
    assert_eq!((output.errors[0].len(), output.errors[0].diffs.at(0)), (1, -1));
    let deltas = &output.deltas[0];
    let back = (0..deltas.len()).find(|row| deltas.diffs.at(*row) == 1).unwrap();
    assert_eq!(deltas.batch.column(2).as_primitive::<Decimal128Type>().value(back), most);
}

#[test]
fn a_row_that_never_came_cannot_be_taken_back() {
    let mut over = Over::new("view", calls(&[(OverFunction::RowNumber, None)])).unwrap();
    assert!(run(&mut over, rows(&[(1, 1)]), -1).failure.is_some());
}

#[test]
fn what_sql_does_not_allow_is_refused() {
    let frame = |units, start, end| Some(Frame { units, start, end });
    let (near, row) = (Bound::Preceding(Distance::Count(1)), Bound::CurrentRow);
    for frame in [
        frame(Units::Rows, row, near),
        frame(Units::Range, near, row),
        frame(Units::Rows, Bound::UnboundedFollowing, Bound::UnboundedFollowing),
        frame(Units::Range, Bound::Preceding(Distance::Integer(-1)), row),
        frame(Units::Range, Bound::Preceding(Distance::Float(1.0)), row),
    ] {
        let error = Over::new("view", calls(&[(OverFunction::Sum, frame)])).err().unwrap();
        assert!(matches!(error, OverError::Frame { .. }), "{frame:?}: {error}");
    }
    for function in [OverFunction::NthValue(0), OverFunction::Ntile(2), OverFunction::Ewma { alpha: 2.0 }] {
        assert!(matches!(Over::new("view", calls(&[(function, None)])), Err(OverError::Call { .. })), "{function:?}");
    }
    assert!(matches!(Over::new("view", calls(&[])), Err(OverError::NoCalls)));
}
