//! Sandwiches in a folder of trades: the relation `sandwiches`, from Parquet to Parquet.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::harness::{Knobs, add_costs, run_sql};
use crate::report;

/// What to run `q2` over, and how.
#[derive(Debug, Args)]
pub(crate) struct Q2Arguments {
    /// Folder with `dex_trades.parquet`, made by `prepare_q2.py`
    #[arg(long)]
    data: PathBuf,
    /// Worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Blocks a tick
    #[arg(long, default_value_t = 100)]
    blocks_per_tick: usize,
    /// Ticks in flight; CPU of single ticks is exact with 1 only
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    /// Where the rows go (default: a folder that is removed)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Deliver blocks one by one, with finality so many blocks behind
    #[arg(long)]
    live_confirmations: Option<u64>,
}

pub(crate) fn run(arguments: &Q2Arguments) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let out = arguments.out.clone().unwrap_or_else(|| temporary.path().to_owned());
    let knobs = Knobs {
        workers: arguments.workers,
        blocks_per_tick: arguments.blocks_per_tick,
        in_flight: arguments.in_flight,
        confirmations: arguments.live_confirmations,
        to_block: None,
    };
    let watch = highwater_engine::clock::Stopwatch::start();
    let ran = run_sql(&job(&arguments.data, &out), Path::new("."), knobs)?;
    let seconds = watch.elapsed().as_secs_f64();
    let mut result = json!({
        "engine": "highwater",
        "query": "q2",
        "workers": arguments.workers,
        "blocks_per_tick": arguments.blocks_per_tick,
        "in_flight": arguments.in_flight,
        "confirmations": arguments.live_confirmations,
    });
    add_costs(&mut result, &ran, seconds)?;
    report(&result)
}

/// The job as a user writes it. The amounts of the workload are random, so they agree with nothing.
fn job(data: &Path, out: &Path) -> String {
    format!(
        "CREATE SOURCE eth WITH (connector = 'parquet', path = '{}');
SET mev.loose_matches = 'on';
CREATE SINK rows FROM (
  SELECT block_number, front_transaction_indexes[1] AS front, back_transaction_indexes[1] AS back, victim_count
  FROM eth.sandwiches
) WITH (connector = 'parquet', path = '{}', mode = 'snapshot');
",
        data.join("dex_trades.parquet").display(),
        out.display()
    )
}
