//! `EMIT ON FINALITY`: every row once, when it can no longer change, and never corrected.

mod harness;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Relation, Shape, Workers, assert_same, relation, text};
use highwater_engine::model::Progress;
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::sink::Closing;
use highwater_operators::emit_gate::{EmitGate, EmitPolicy};
use proptest::prelude::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("block", DataType::Int64, false),
        Field::new("window_end", timestamp_type(), false),
        Field::new("amount", DataType::Int64, false),
    ]))
}

fn block_rows(random: &mut Random, number: u64, time_ms: i64) -> RecordBatch {
    let count = random.index(4);
    let window = time_ms - time_ms.rem_euclid(60_000) + 60_000;
    let amounts: Vec<i64> = (0..count).map(|_| i64::try_from(random.below(2)).expect("small")).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(i64::try_from(number).expect("small"), count)),
        Arc::new(TimestampMillisecondArray::from_value(window, count).with_timezone("UTC")),
        Arc::new(Int64Array::from(amounts)),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

/// The canonical rows that are final.
fn expected(closing: Option<Closing>, rows: &RecordBatch, progress: &Progress) -> Relation {
    let is_final = |row: &usize| match closing {
        Some(Closing::Time(column)) => {
            progress.is_time_final(rows.column(column).as_primitive::<TimestampMillisecondType>().value(*row))
        }
        _ => {
            let number = rows.column(0).as_primitive::<Int64Type>().value(*row);
            progress.end_of_input || progress.is_final(u64::try_from(number).expect("a height"))
        }
    };
    relation((0..rows.num_rows()).filter(is_final).map(|row| text(rows, row)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shows_what_is_final_and_nothing_else(
        seed in any::<u64>(), max_blocks in prop_oneof![Just(1_u64), Just(3), Just(100)], max_depth in 1..=12_u64,
        reorg_percent in 0..60_u64, lag in 0..20_u64, count in prop_oneof![Just(1_usize), Just(2), Just(4)],
        closing in prop_oneof![Just(None), Just(Some(Closing::Time(1))), Just(Some(Closing::Block(0)))],
    ) {
        let ticks = if max_blocks == 100 { 6 } else { 30 };
        let derived = closing.is_some();
        let shape = Shape { seed, ticks, max_blocks, max_depth, reorg_percent, lag, derived, mixed: true };
        let mut random = Random::new(seed ^ 1);
        let mut history = History::new(shape, schema(), block_rows);
        let mut workers = Workers::new(count, Some(vec![0, 1, 2]), move || {
            Box::new(EmitGate::new("sink", &schema(), EmitPolicy::OnFinality { closing }).expect("a valid gate"))
        });
        let mut shown = Relation::new();
        for tick in 0..ticks {
            let step = history.step(tick + 1 == ticks);
            workers.tick(&step);
            let want = expected(closing, &history.accumulated(), &step.progress);
            assert_same(&workers.rows, &want, &format!("tick {tick} with {closing:?}"));
            for (row, count) in &shown {
                prop_assert!(workers.rows.get(row) >= Some(count), "{row} was taken back");
            }
            shown = workers.rows.clone();
            prop_assert!(workers.errors.is_empty());
            if random.chance(20) {
                workers.restart(random.pick(&[1, 2, 4]));
            }
        }
        prop_assert_eq!(workers.entries(), 0);
    }
}
