//! CPU time of the join: a million trades against a thousand prices that are revised meanwhile.
//!
//! `cargo run --release -p highwater-operators --example join_speed`

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, TablesOperator as _};
use highwater_operators::join::{Join, JoinColumn, JoinKind, JoinSpec, Retain};

const TRADES: usize = 1_000_000;
const KEYS: i64 = 1000;

fn main() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::LeftSemi] {
        for rows in [100, 10_000] {
            for trades_a_revision in [usize::MAX, 1000] {
                report(kind, rows, trades_a_revision);
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the example's result")]
fn report(kind: JoinKind, rows: usize, trades_a_revision: usize) {
    let mut output_columns = vec![JoinColumn::Left(0), JoinColumn::Left(1), JoinColumn::Left(2)];
    if kind != JoinKind::LeftSemi {
        output_columns.push(JoinColumn::Right(1));
    }
    let spec = JoinSpec {
        left: trades_schema(),
        right: prices_schema(),
        keys: vec![(0, 0)],
        null_equals_null: false,
        kind,
        retain: Retain::Forever,
        output: output_columns,
    };
    let mut join = Join::new("speed", spec, None).expect("a valid join");
    let first = prices(&(0..KEYS).collect::<Vec<_>>(), |_| 1.0);
    let (mut ns, mut changed) = (0, 0);
    let mut run = |tick: usize, left: Vec<Delta>, right: Vec<Delta>| {
        let mut output = Output::default();
        let start = cpu_ns();
        join.on_tick(vec![left, right], &progress(tick), &mut output);
        ns += cpu_ns() - start;
        changed += output.deltas.iter().map(Delta::len).sum::<usize>();
    };
    run(0, Vec::new(), vec![Delta::derived(first, vec![1; 1000])]);
    let mut revision = 0;
    for tick in 1..=TRADES / rows {
        let left = Delta::of_block(trades(tick * rows, rows), 1, tick as u64);
        let due = i64::try_from((tick * rows) / trades_a_revision).expect("small");
        let revised: Vec<i64> = (revision..due).collect();
        let (old, new) = (|key: i64| (key / KEYS + 1) as f64, |key: i64| (key / KEYS + 2) as f64);
        let right = vec![
            Delta::derived(prices(&revised, old), vec![-1; revised.len()]),
            Delta::derived(prices(&revised, new), vec![1; revised.len()]),
        ];
        revision = due;
        run(tick, vec![left], right);
    }
    let megabytes = join.size().bytes as f64 / 1e6;
    println!(
        "{kind:?}, {rows:5} rows a tick, {revision:4} revisions: {:4.0} cpu-ns a trade, {changed} rows out, {:4.0} ns \
         each; state {megabytes:.0} MB",
        ns as f64 / TRADES as f64,
        ns as f64 / changed as f64
    );
}

fn trades_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("token", DataType::Int64, false),
        Field::new("pool", DataType::Int64, false),
        Field::new("amount", DataType::Float64, false),
    ]))
}

fn prices_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("token", DataType::Int64, false),
        Field::new("price", DataType::Float64, false),
    ]))
}

/// Trades from the `first` on; tokens and pools are spread over all.
fn trades(first: usize, rows: usize) -> RecordBatch {
    let spread = |row: usize| i64::try_from(row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).expect("24 bits");
    let rows = first..first + rows;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| spread(row) % KEYS))),
        Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| spread(row) / 7 % 300))),
        Arc::new(Float64Array::from_iter_values(rows.map(|row| row as f64))),
    ];
    RecordBatch::try_new(trades_schema(), columns).expect("columns fit")
}

fn prices(keys: &[i64], price: impl Fn(i64) -> f64) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(keys.iter().map(|key| key % KEYS))),
        Arc::new(Float64Array::from_iter_values(keys.iter().map(|key| price(*key)))),
    ];
    RecordBatch::try_new(prices_schema(), columns).expect("columns fit")
}

fn progress(tick: usize) -> Progress {
    let (hash, parent) = (BlockHash::default(), BlockHash::default());
    Progress::at(tick as u64, &BlockRef { number: tick as u64, hash, parent, timestamp_ms: 0 })
}

fn cpu_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
