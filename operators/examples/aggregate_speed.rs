//! Thread CPU time of the windowed aggregate of the README: per 5-minute window and address the count,
//! the failures, the sum and average of gas, and the highest price, over blocks of 100 rows.
//!
//! `cargo run --release -p highwater-operators --example aggregate_speed`

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{ADDRESS_TYPE, timestamp_type};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, TickOperator as _};
use highwater_operators::aggregate::{Aggregate, AggregateCall, AggregateFunction, AggregateSpec};

const BLOCKS: u64 = 50_000;
const ROWS: usize = 100;
const ADDRESSES: u64 = 1_000_000;
const BLOCK_MS: i64 = 12_000;
const WINDOW_MS: i64 = 300_000;

fn main() {
    for text in [false, true] {
        let blocks = workload(text);
        let key = if text { "text" } else { "binary" };
        for (blocks_a_tick, lag) in [(1, 0), (1, 64), (100, 0)] {
            report(key, &blocks, blocks_a_tick, lag);
        }
    }
}

#[expect(clippy::print_stdout, reason = "the example's result")]
fn report(key: &str, blocks: &[RecordBatch], blocks_a_tick: usize, lag: u64) {
    let mut aggregate = Aggregate::new("speed", spec(blocks[0].schema())).expect("a valid aggregate");
    let ticks: Vec<RecordBatch> = blocks
        .chunks(blocks_a_tick)
        .map(|blocks| concat_batches(&blocks[0].schema(), blocks).expect("one schema"))
        .collect();
    let (mut micros, mut changed, mut peak) = (Vec::with_capacity(ticks.len()), 0, 0);
    for (tick, batch) in ticks.into_iter().enumerate() {
        let progress = progress(tick as u64, blocks_a_tick as u64, lag);
        let delta = Delta::of_block(batch, 1, progress.head_number);
        let mut output = Output::default();
        let start = cpu_ns();
        aggregate.on_tick(vec![delta], &progress, &mut output);
        micros.push((cpu_ns() - start) as f64 / 1e3);
        changed += output.deltas.iter().map(Delta::len).sum::<usize>();
        if tick % 64 == 0 {
            peak = peak.max(aggregate.size().bytes);
        }
    }
    let rows = blocks.len() * ROWS;
    let per_row = micros.iter().sum::<f64>() * 1e3 / rows as f64;
    micros.sort_by(f64::total_cmp);
    let (p50, p99) = (micros[micros.len() / 2], micros[micros.len() * 99 / 100]);
    println!(
        "{key:6} key, {:5} rows a tick, final after {lag:2} blocks: {per_row:4.0} cpu-ns/row, \
         p50 {p50:6.1} us, p99 {p99:6.1} us a tick, {changed} changes, peak state {:.1} MB",
        blocks_a_tick * ROWS,
        peak as f64 / 1e6
    );
}

fn progress(tick: u64, blocks_a_tick: u64, lag: u64) -> Progress {
    let number = (tick + 1) * blocks_a_tick - 1;
    let head = BlockRef {
        number,
        hash: BlockHash::default(),
        parent: BlockHash::default(),
        timestamp_ms: i64::try_from(number).expect("small") * BLOCK_MS,
    };
    let mut progress = Progress::at(tick + 1, &head);
    progress.finalized_number = number.checked_sub(lag);
    progress.finalized_ms = progress.finalized_number.map(|number| i64::try_from(number).expect("small") * BLOCK_MS);
    progress
}

fn cpu_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn spec(input: SchemaRef) -> AggregateSpec {
    let call = |function, argument: Option<usize>, filter, name: &str| AggregateCall {
        filter,
        ..AggregateCall::new(function, Vec::from_iter(argument), name)
    };
    AggregateSpec {
        input,
        keys: vec![0, 1],
        calls: vec![
            call(AggregateFunction::CountAll, None, None, "total"),
            call(AggregateFunction::CountAll, None, Some(4), "failed"),
            call(AggregateFunction::Sum, Some(2), None, "gas"),
            call(AggregateFunction::Avg, Some(3), None, "average_price"),
            call(AggregateFunction::Max, Some(3), None, "highest_price"),
        ],
        closing: Some(0),
    }
}

/// Blocks with addresses drawn by Zipf's law.
fn workload(text: bool) -> Vec<RecordBatch> {
    let address_type = if text { DataType::Utf8 } else { ADDRESS_TYPE };
    let schema = Arc::new(Schema::new(vec![
        Field::new("window_end", timestamp_type(), false),
        Field::new("to_address", address_type, false),
        Field::new("gas", DataType::Int64, false),
        Field::new("price", DataType::Int64, false),
        Field::new("failed", DataType::Boolean, false),
    ]));
    let mut state = 42_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    (0..BLOCKS)
        .map(|number| {
            let time = i64::try_from(number).expect("small") * BLOCK_MS;
            let window = time - time % WINDOW_MS + WINDOW_MS;
            let ranks: Vec<u64> = (0..ROWS).map(|_| rank(random())).collect();
            let addresses: ArrayRef = if text {
                Arc::new(StringArray::from_iter_values(ranks.iter().map(|rank| format!("0x{:040x}", spread(*rank)))))
            } else {
                let bytes = ranks.iter().map(|rank| {
                    let mut address = [0; 20];
                    address[..8].copy_from_slice(&spread(*rank).to_be_bytes());
                    address
                });
                Arc::new(FixedSizeBinaryArray::try_from_iter(bytes).expect("20 bytes"))
            };
            let mut numbers = |limit: f64| -> ArrayRef {
                Arc::new(Int64Array::from_iter_values((0..ROWS).map(|_| whole(random() * limit))))
            };
            let (gas, price) = (numbers(1e6), numbers(1e11));
            let failed: ArrayRef = Arc::new(BooleanArray::from((0..ROWS).map(|_| random() < 0.03).collect::<Vec<_>>()));
            let windows = TimestampMillisecondArray::from_value(window, ROWS).with_timezone("UTC");
            RecordBatch::try_new(schema.clone(), vec![Arc::new(windows), addresses, gas, price, failed]).expect("fits")
        })
        .collect()
}

/// A rank with probability close to 1 / rank.
fn rank(uniform: f64) -> u64 {
    u64::try_from(whole((uniform * (ADDRESSES as f64).ln()).exp())).expect("not negative")
}

fn spread(rank: u64) -> u64 {
    rank.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[expect(clippy::cast_possible_truncation, reason = "values far below 2^53")]
fn whole(value: f64) -> i64 {
    value as i64
}
