//! Thread CPU time of window functions over one partition of 100,000 rows that come in order, 100 a tick, and of
//! 2,000 rows that then come and go again at random places, one a tick.
//!
//! `cargo run --release -p highwater-operators --example over_speed`

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, TickOperator as _};
use highwater_operators::over::{Bound, Distance, Frame, Over, OverCall, OverFunction, OverSpec, Units};

const ROWS: i64 = 100_000;
const TICK: i64 = 100;
const CHANGES: i64 = 1_000;

fn main() {
    let rows =
        |count| Frame { units: Units::Rows, start: Bound::Preceding(Distance::Count(count)), end: Bound::CurrentRow };
    let range =
        Frame { units: Units::Range, start: Bound::Preceding(Distance::Integer(1_000)), end: Bound::CurrentRow };
    report(
        "row_number, running sum",
        &[(OverFunction::RowNumber, Frame::DEFAULT), (OverFunction::Sum, Frame::DEFAULT)],
        true,
    );
    report("lag", &[(OverFunction::Lag { offset: 1 }, Frame::DEFAULT)], false);
    report("sum, 10 rows", &[(OverFunction::Sum, rows(10))], false);
    report("avg of floats, 10 rows", &[(OverFunction::Avg, rows(10))], false);
    report("max, a range of 1,000 rows", &[(OverFunction::Max, range)], false);
    report("sum, a range of 1,000 rows", &[(OverFunction::Sum, range)], false);
}

fn schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, false);
    Arc::new(Schema::new(vec![
        field("at", DataType::Int64),
        field("amount", DataType::Int64),
        field("price", DataType::Float64),
    ]))
}

fn delta(places: impl Iterator<Item = i64> + Clone, diff: i64) -> Delta {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(places.clone())),
        Arc::new(Int64Array::from_iter_values(places.clone().map(|place| place % 977))),
        Arc::new(Float64Array::from_iter_values(places.map(|place| (place % 977) as f64 / 8.0))),
    ];
    Delta::of_block(RecordBatch::try_new(schema(), columns).expect("the columns fit"), diff, 1)
}

/// `follows`: a change is followed to the end of the partition, so fewer are made.
#[expect(clippy::print_stdout, reason = "the example's result")]
fn report(name: &str, functions: &[(OverFunction, Frame)], follows: bool) {
    let call = |(function, frame): &(OverFunction, Frame)| OverCall {
        function: *function,
        arguments: match function {
            OverFunction::RowNumber => vec![],
            OverFunction::Avg => vec![2],
            _ => vec![1],
        },
        filter: None,
        frame: *frame,
        ignore_nulls: false,
        name: "call".to_owned(),
    };
    let spec = OverSpec {
        input: schema(),
        partition: vec![],
        sort: vec![(0, SortOptions::default())],
        calls: functions.iter().map(call).collect(),
        closing: None,
    };
    let mut over = Over::new("speed", spec).expect("a valid spec");
    let head = BlockRef { number: 1, hash: BlockHash::default(), parent: BlockHash::default(), timestamp_ms: 0 };
    let mut tick = 0;
    let mut run = |input: Delta| {
        tick += 1;
        let mut output = Output::default();
        let start = cpu_ns();
        over.on_tick(vec![input], &Progress::at(tick, &head), &mut output);
        cpu_ns() - start
    };
    let half = ROWS / TICK / 2;
    let mut append = |from: i64, to: i64| -> i64 {
        (from..to).map(|tick| run(delta((tick * TICK..(tick + 1) * TICK).map(|place| place * 2), 1))).sum()
    };
    let (first, second) = (append(0, half), append(half, 2 * half));
    let changes = if follows { CHANGES / 50 } else { CHANGES };
    let middle: i64 = (0..changes)
        .map(|change| {
            let place = change * 7_919 % ROWS * 2 + 1;
            run(delta(std::iter::once(place), 1)) + run(delta(std::iter::once(place), -1))
        })
        .sum();
    println!(
        "{name:28}: appending {} and then {} cpu-ns/row; {:.1} us a change elsewhere",
        first / (half * TICK),
        second / (half * TICK),
        middle as f64 / (2 * changes) as f64 / 1e3
    );
}

fn cpu_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
