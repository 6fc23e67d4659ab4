//! Thread CPU time of the first ten rows of each of 1,000 partitions: 200,000 updates of (key, value) pairs
//! after 100,000 pairs have come, in ticks of 1,000; each takes the old pair back and adds the new one.
//!
//! `cargo run --release -p highwater-operators --example top_k_speed`

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, TickOperator as _};
use highwater_operators::top_k::{Ranking, TopK, TopKSpec};

const PARTITIONS: u64 = 1_000;
const KEYS: u64 = 100_000;
const UPDATES: usize = 200_000;
const TICK: usize = 1_000;

fn main() {
    for ranking in [Ranking::RowNumber, Ranking::Rank] {
        for show_rank in [false, true] {
            report(ranking, show_rank);
        }
    }
}

fn schema() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![field("partition"), field("key"), field("value")]))
}

/// Rows as `[partition, key, value]` with their change.
fn delta(rows: &[([i64; 3], i64)]) -> Delta {
    let column =
        |index: usize| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0[index]))) };
    let batch = RecordBatch::try_new(schema(), vec![column(0), column(1), column(2)]).expect("the columns fit");
    Delta::derived(batch, rows.iter().map(|row| row.1).collect())
}

#[expect(clippy::print_stdout, reason = "the example's result")]
fn report(ranking: Ranking, show_rank: bool) {
    let descending = SortOptions { descending: true, nulls_first: true };
    let spec = TopKSpec {
        input: schema(),
        partition: vec![0],
        sort: vec![(2, descending)],
        limit: 10,
        offset: 0,
        closing: None,
        ranking,
        show_rank: show_rank.then(|| "rank".to_owned()),
    };
    let mut top = TopK::new("speed", spec).expect("a valid top-k");
    let mut state = 42_u64;
    let mut random = move |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % limit).expect("31 bits")
    };
    let row = |key: i64, value: i64| [key % i64::try_from(PARTITIONS).expect("small"), key, value];
    let mut values: Vec<i64> = (0..KEYS).map(|_| random(1_000_000)).collect();
    let all: Vec<([i64; 3], i64)> = (0_i64..).zip(&values).map(|(key, value)| (row(key, *value), 1)).collect();
    let head = BlockRef { number: 1, hash: BlockHash::default(), parent: BlockHash::default(), timestamp_ms: 0 };
    let mut tick = 0;
    let mut run = |rows: &[([i64; 3], i64)]| {
        tick += 1;
        let input = vec![delta(rows)];
        let mut output = Output::default();
        let start = cpu_ns();
        top.on_tick(input, &Progress::at(tick, &head), &mut output);
        (cpu_ns() - start, output.deltas.iter().map(Delta::len).sum::<usize>())
    };
    let filling: i64 = all.chunks(TICK).map(|rows| run(rows).0).sum();
    let (mut updating, mut changed) = (0, 0);
    for _ in 0..UPDATES / TICK {
        let mut rows = Vec::with_capacity(2 * TICK);
        for _ in 0..TICK {
            let (key, value) = (random(KEYS), random(1_000_000));
            let old = &mut values[usize::try_from(key).expect("a key")];
            rows.extend([(row(key, *old), -1), (row(key, value), 1)]);
            *old = value;
        }
        let (spent, rows) = run(&rows);
        updating += spent;
        changed += rows;
    }
    println!(
        "{ranking:?}, rank shown {show_rank:5}: filling {} cpu-ns/row, updating {} cpu-ns/update, {changed} changes",
        filling / i64::try_from(KEYS).expect("small"),
        updating / i64::try_from(UPDATES).expect("small"),
    );
}

fn cpu_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
