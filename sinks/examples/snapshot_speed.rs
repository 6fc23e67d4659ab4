//! CPU time of the Parquet snapshot on the deltas of a 5-minute window aggregate.
//!
//! ```text
//! cargo run --release -p highwater-sinks --example snapshot_speed -- [ticks] [rows a tick] [compression] [file_rows]
//! ```
//! 500 ticks of 100 blocks; each tick brings 12,000 changes of about 4 windows, a tenth of its rows replacing
//! one of the same tick; windows become final a tick later.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int64Array, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{ADDRESS_TYPE, timestamp_type};
use highwater_engine::model::{Delta, Progress};
use highwater_engine::options::Options;
use highwater_engine::sink::{Closing, SinkRequest, SinkTick};
use highwater_engine::testing::sink_request;

const WINDOW_MS: i64 = 300_000;
/// Windows a tick of 100 blocks of 12 seconds touches.
const WINDOWS: i64 = 4;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("to_address", ADDRESS_TYPE, true),
        Field::new("window_start", timestamp_type(), false),
        Field::new("window_end", timestamp_type(), false),
        Field::new("total", DataType::Int64, false),
        Field::new("failed", DataType::Int64, false),
        Field::new("gas", DataType::Decimal128(38, 0), true),
        Field::new("avg_gas_price", DataType::Float64, true),
        Field::new("max_gas_price", DataType::Decimal128(38, 0), true),
    ]))
}

/// A repeatable number from a number.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn delta(tick: u64, rows: usize) -> Delta {
    // About a tenth of the rows replace an earlier one: with its retraction that is two changes.
    let mut keys: Vec<(u64, i64, i64, i64)> = Vec::with_capacity(rows);
    let mut row = 0;
    while keys.len() < rows {
        let seed = mix(tick << 32 | row);
        let window = i64::try_from(tick).expect("few ticks") * WINDOWS + i64::try_from(seed % 4).expect("below 4");
        if seed.is_multiple_of(10) && !keys.is_empty() {
            let (address, window, total, _) = keys[usize::try_from(seed >> 8).expect("64 bits") % keys.len()];
            keys.push((address, window, total, -1));
            keys.push((address, window, total + 1, 1));
        } else {
            keys.push((seed, window, 1, 1));
        }
        row += 1;
    }
    let address = |seed: u64| {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&mix(seed).to_be_bytes());
        bytes[8..16].copy_from_slice(&seed.to_be_bytes());
        bytes
    };
    let addresses = FixedSizeBinaryArray::try_from_iter(keys.iter().map(|key| address(key.0))).expect("20 bytes each");
    let time = |shift: i64| {
        TimestampMillisecondArray::from_iter_values(keys.iter().map(|key| (key.1 + shift) * WINDOW_MS))
            .with_timezone("UTC")
    };
    let money = |factor: i128| {
        Decimal128Array::from_iter_values(keys.iter().map(|key| i128::from(key.0 >> 20) * factor + i128::from(key.2)))
            .with_precision_and_scale(38, 0)
            .expect("38 digits")
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(addresses),
        Arc::new(time(0)),
        Arc::new(time(1)),
        Arc::new(Int64Array::from_iter_values(keys.iter().map(|key| key.2))),
        Arc::new(Int64Array::from_iter_values(keys.iter().map(|key| key.2 / 3))),
        Arc::new(money(21_000)),
        Arc::new(Float64Array::from_iter_values(
            keys.iter().map(|key| f64::from(u32::try_from(key.0 >> 40).expect("24 bits"))),
        )),
        Arc::new(money(1)),
    ];
    let batch = RecordBatch::try_new(schema(), columns).expect("columns fit the schema");
    Delta::derived(batch, keys.iter().map(|key| key.3).collect())
}

/// User CPU time of this process in nanoseconds, from the kernel's count in ticks of 10 ms.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000_000
}

#[expect(clippy::print_stdout, reason = "the report of this program")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let ticks: u64 = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let rows: usize = arguments.next().map_or(Ok(12_000), |text| text.parse())?;
    let compression = arguments.next().unwrap_or_else(|| "zstd".to_owned());
    let file_rows = arguments.next().unwrap_or_else(|| "500000".to_owned());
    let folder = std::env::temp_dir().join(format!("highwater-snapshot-speed-{}", std::process::id()));
    let connector = highwater_sinks::SINKS.iter().find(|sink| sink.name() == "parquet").ok_or("no parquet sink")?;
    let request = SinkRequest {
        key: Some(vec![0, 1, 2]),
        closing: Some(Closing::Time(2)),
        ..sink_request("speed", "q1", schema())
    };
    let path = folder.display().to_string();
    let given = [("path", path), ("compression", compression), ("file_rows", file_rows)];
    let given = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut sink = connector.open(request, Options::new("sink \"speed\"", "", given))?;

    // The deltas are made in advance, in portions, so that only the sink is measured.
    let mut spent = 0;
    let mut changes = 0;
    for portion in (1..=ticks).step_by(50) {
        let last = ticks.min(portion + 49);
        let deltas: Vec<(u64, Delta)> = (portion..=last).map(|tick| (tick, delta(tick, rows))).collect();
        let start = cpu_ns();
        for (tick, delta) in &deltas {
            let time = i64::try_from(*tick)? * WINDOWS * WINDOW_MS;
            let progress = Progress {
                tick: *tick,
                head_number: tick * 100,
                now_ms: time,
                finalized_number: None,
                finalized_ms: Some(time - WINDOW_MS * WINDOWS),
                reorg: None,
                applied_blocks: 100,
                end_of_input: *tick == ticks,
                more_follow: false,
            };
            changes += delta.len();
            sink.commit(SinkTick { tick: *tick, progress: &progress, changes: std::slice::from_ref(delta) })?;
        }
        spent += cpu_ns() - start;
    }
    let commits = spent;
    let start = cpu_ns();
    let report = sink.finish()?;
    spent += cpu_ns() - start;
    let changes = u64::try_from(changes)?;
    println!("{changes} changes, {} rows, {}", report.inserted - report.retracted, report.place);
    println!("{} ns a change, {} ms of CPU", spent / changes.max(1), spent / 1_000_000);
    // With file_rows above the number of rows, commits write nothing: their cost is that of the state.
    println!("{} ns a change in commits", commits / changes.max(1));
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
