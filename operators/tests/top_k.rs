//! Top-k against its definition, over random histories.

mod harness;
#[path = "reference/top_k.rs"]
mod reference;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Shape, Workers, assert_same};
use highwater_engine::model::wide::timestamp_type;
use highwater_operators::top_k::{Ranking, TopK, TopKError, TopKSpec};
use proptest::prelude::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("window_end", timestamp_type(), true),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
    ]))
}

fn block_rows(random: &mut Random, time_ms: i64) -> RecordBatch {
    let count = random.index(6);
    let window = time_ms - time_ms.rem_euclid(60_000) + 60_000;
    let mut windows = Vec::new();
    let (mut names, mut amounts) = (Vec::new(), Vec::new());
    for _ in 0..count {
        windows.push((!random.chance(5)).then_some(window));
        names.push((!random.chance(10)).then(|| "n".repeat(random.index(3))));
        amounts.push((!random.chance(10)).then(|| i64::try_from(random.below(4)).expect("small")));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from(windows).with_timezone("UTC")),
        Arc::new(StringArray::from(names)),
        Arc::new(Int64Array::from(amounts)),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

fn random_spec(random: &mut Random) -> TopKSpec {
    let partition = random.pick(&[vec![], vec![0], vec![1], vec![1, 0]]);
    let closing = partition.iter().position(|index| *index == 0).filter(|_| random.chance(70));
    let mut options = || SortOptions { descending: random.chance(50), nulls_first: random.chance(50) };
    let sort = [(2, options()), (1, options())];
    let sort = sort[..random.index(3)].to_vec();
    TopKSpec {
        input: schema(),
        partition,
        sort,
        limit: 1 + random.index(4),
        offset: random.index(3),
        closing,
        ranking: random.pick(&[Ranking::RowNumber, Ranking::Rank, Ranking::DenseRank]),
        show_rank: random.chance(50).then(|| "number".to_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

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
        let key = (!spec.partition.is_empty()).then(|| spec.partition.clone());
        let make = spec.clone();
        let mut workers =
            Workers::new(count, key, move || Box::new(TopK::new("view", make.clone()).expect("a valid top-k")));
        for tick in 0..ticks {
            let step = history.step(tick + 1 == ticks);
            workers.tick(&step);
            let want = reference::top_k(&spec, &history.accumulated());
            assert_same(&workers.rows, &want, &format!("tick {tick} of {spec:?}"));
            prop_assert!(workers.errors.is_empty());
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
        let mut workers =
            Workers::new(1, None, move || Box::new(TopK::new("view", spec.clone()).expect("a valid top-k")));
        for _ in 0..shape.ticks {
            workers.tick(&history.step(false));
        }
        workers.tick(&history.revert_all());
        prop_assert!(workers.rows.is_empty());
        prop_assert_eq!(workers.entries(), 0);
    }
}

#[test]
fn a_partition_that_closes_must_have_a_time() {
    let mut spec = random_spec(&mut Random::new(1));
    (spec.partition, spec.closing) = (vec![1], Some(0));
    assert!(matches!(TopK::new("view", spec), Err(TopKError::Closing { position: 0 })));
}
