//! Thread CPU of the dataflow for one live block: blocks one by one, one in flight, finality behind.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::harness::{Knobs, run_sql};
use crate::meter::Samples;
use crate::q1::{EmitPolicy, job};
use crate::replay::last_block;
use crate::report;

/// Which blocks, and how far finality is behind.
#[derive(Debug, Args)]
pub(crate) struct LatencyArguments {
    /// Folder with the generated `txs.parquet` and `meta.json`
    #[arg(long)]
    data: PathBuf,
    /// Blocks to feed
    #[arg(long, default_value_t = 10_000)]
    blocks: u64,
    /// Blocks between the head and the newest final block
    #[arg(long, default_value_t = 64)]
    confirmations: u64,
}

pub(crate) fn run(arguments: &LatencyArguments) -> anyhow::Result<()> {
    let out = tempfile::tempdir()?;
    let knobs = Knobs {
        workers: 1,
        blocks_per_tick: 1,
        in_flight: 1,
        confirmations: Some(arguments.confirmations),
        to_block: Some(last_block(&arguments.data, arguments.blocks)?),
    };
    let ran = run_sql(&job(&arguments.data, out.path(), EmitPolicy::Changes), Path::new("."), knobs)?;
    let ticks = Samples::new(ran.tick_cpu);
    report(&json!({
        "engine": "highwater",
        "query": "q1",
        "mode": "live",
        "confirmations": arguments.confirmations,
        "blocks": ran.summary.blocks,
        "rows_per_block": ran.summary.rows / ran.summary.blocks.max(1),
        "tick_cpu_p50_us": ticks.micros(50),
        "tick_cpu_p90_us": ticks.micros(90),
        "tick_cpu_p99_us": ticks.micros(99),
        "tick_cpu_max_us": ticks.micros(100),
        "tick_wall_p50_us": Samples::new(vec![ran.summary.tick_p50]).micros(50),
        "tick_wall_p99_us": Samples::new(vec![ran.summary.tick_p99]).micros(50),
    }))
}
