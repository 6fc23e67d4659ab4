//! The temporal filter and the window-close gate against their definitions, over random histories.

mod harness;
#[path = "reference/temporal_filter.rs"]
mod reference;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Shape, Workers, assert_same};
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::operator::TickOperator;
use highwater_operators::emit_gate::{EmitGate, EmitPolicy};
use highwater_operators::temporal_filter::{TemporalFilter, TemporalFilterSpec};
use proptest::prelude::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("from", timestamp_type(), true),
        Field::new("until", DataType::Int64, true),
    ]))
}

fn block_rows(random: &mut Random, time_ms: i64) -> RecordBatch {
    let count = random.index(5);
    let mut around = |spread: u64, nulls: u64| -> Vec<Option<i64>> {
        let time = |random: &mut Random| time_ms - 20_000 + 1000 * i64::try_from(random.below(spread)).expect("small");
        (0..count).map(|_| (!random.chance(nulls)).then(|| time(random))).collect()
    };
    let (from, until) = (around(60, 20), around(120, 20));
    let names: Vec<String> = (0..count).map(|_| "n".repeat(random.index(3))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(names)),
        Arc::new(TimestampMillisecondArray::from(from).with_timezone("UTC")),
        Arc::new(Int64Array::from(until)),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

fn check(shape: Shape, count: usize, spec: &TemporalFilterSpec, make: impl Fn() -> Box<dyn TickOperator>) {
    let mut random = Random::new(shape.seed ^ 1);
    let mut history = History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time));
    // Equal output rows must meet for the harness to see that changes do not cancel.
    let mut workers = Workers::new(count, Some(spec.output.clone()), make);
    for tick in 0..shape.ticks {
        let step = history.step(tick + 1 == shape.ticks);
        workers.tick(&step);
        let want = reference::temporal_filter(spec, &history.accumulated(), step.progress.now_ms);
        assert_same(&workers.rows, &want, &format!("tick {tick} of {spec:?}"));
        if random.chance(20) {
            workers.restart(random.pick(&[1, 2, 4]));
        }
    }
}

fn shapes() -> impl Strategy<Value = (Shape, usize)> {
    let parts = (any::<u64>(), prop_oneof![Just(1_u64), Just(3), Just(100)], 1..=12_u64, 0..60_u64, 0..20_u64);
    (parts, any::<bool>(), prop_oneof![Just(1_usize), Just(2), Just(4)]).prop_map(
        |((seed, max_blocks, max_depth, reorg_percent, lag), derived, workers)| {
            let ticks = if max_blocks == 100 { 6 } else { 30 };
            (Shape { seed, ticks, max_blocks, max_depth, reorg_percent, lag, derived, mixed: true }, workers)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equals_its_definition_at_every_tick((shape, workers) in shapes(), bounds in 1..4_u8) {
        let spec = TemporalFilterSpec {
            input: schema(),
            valid_from: (bounds & 1 != 0).then_some(1),
            valid_until: (bounds & 2 != 0).then_some(2),
            output: vec![0, 2],
        };
        let make = spec.clone();
        let make = move || -> Box<dyn TickOperator> {
            Box::new(TemporalFilter::new("view", make.clone()).expect("a valid filter"))
        };
        check(shape, workers, &spec, make);
    }

    #[test]
    fn the_window_gate_is_a_filter_from_its_time((shape, workers) in shapes()) {
        let spec =
            TemporalFilterSpec { input: schema(), valid_from: Some(1), valid_until: None, output: vec![0, 1, 2] };
        let make = || -> Box<dyn TickOperator> {
            Box::new(EmitGate::new("sink", &schema(), EmitPolicy::OnWindowClose { time: 1 }).expect("a valid gate"))
        };
        check(shape, workers, &spec, make);
    }

    #[test]
    fn state_ends_with_the_last_bound(seed in any::<u64>(), derived in any::<bool>()) {
        let shape =
            Shape { seed, ticks: 12, max_blocks: 4, max_depth: 6, reorg_percent: 30, lag: 3, derived, mixed: false };
        let spec =
            TemporalFilterSpec { input: schema(), valid_from: Some(1), valid_until: Some(2), output: vec![0] };
        let mut history = History::new(shape, schema(), |random: &mut Random, _, time| block_rows(random, time));
        let mut workers = Workers::new(1, None, move || {
            Box::new(TemporalFilter::new("view", spec.clone()).expect("a valid filter"))
        });
        for _ in 0..shape.ticks {
            workers.tick(&history.step(false));
        }
        let mut last = history.step(true);
        last.deltas.clear();
        last.progress.now_ms += 1_000_000;
        last.progress.finalized_ms = Some(last.progress.now_ms);
        workers.tick(&last);
        prop_assert_eq!(workers.entries(), 0);
    }
}
