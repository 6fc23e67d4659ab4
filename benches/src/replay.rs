//! What benchmarks that replay the generated workload have in common: their knobs and their result.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::harness::{Knobs, add_costs, run_sql};
use crate::report;

/// What to replay, and how.
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// Folder with the generated workload
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// At most so many blocks a tick; fewer, where they have many rows
    #[arg(long, default_value_t = 1000)]
    blocks_per_tick: usize,
    /// Ticks in flight; CPU of single ticks is exact with 1 only
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// Where the rows go (default: a folder that is removed)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Deliver blocks one by one, with finality so many blocks behind
    #[arg(long)]
    live_confirmations: Option<u64>,
    /// Read only so many blocks
    #[arg(long)]
    blocks: Option<u64>,
}

/// Runs the job that `job` makes of the folder with data and the folder for rows, and prints what it cost.
pub(crate) fn replay(
    query: &str,
    arguments: &ReplayArguments,
    job: impl Fn(&Path, &Path) -> String,
) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let out = arguments.out.clone().unwrap_or_else(|| temporary.path().to_owned());
    let knobs = Knobs {
        workers: arguments.workers,
        blocks_per_tick: arguments.blocks_per_tick,
        in_flight: arguments.in_flight,
        confirmations: arguments.live_confirmations,
        to_block: arguments.blocks.map(|blocks| last_block(&arguments.data, blocks)).transpose()?,
    };
    let watch = highwater_engine::clock::Stopwatch::start();
    let ran = run_sql(&job(&arguments.data, &out), Path::new("."), knobs)?;
    let seconds = watch.elapsed().as_secs_f64();
    let mut result = json!({
        "engine": "highwater",
        "query": query,
        "workers": arguments.workers,
        "blocks_per_tick": arguments.blocks_per_tick,
        "in_flight": arguments.in_flight,
        "confirmations": arguments.live_confirmations,
    });
    add_costs(&mut result, &ran, seconds)?;
    report(&result)
}

/// The height after which `blocks` blocks have been read.
pub(crate) fn last_block(data: &Path, blocks: u64) -> anyhow::Result<u64> {
    let first = meta(data)?["first_block"].as_u64().context("meta.json names no first block")?;
    Ok(first + blocks.max(1) - 1)
}

/// What `meta.json` says of a folder with data.
pub(crate) fn meta(data: &Path) -> anyhow::Result<serde_json::Value> {
    let path = data.join("meta.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}
