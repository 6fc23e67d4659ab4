//! First alert of a contract with more than 20 % failures in five minutes, then ten minutes of silence; from Parquet
//! to Parquet.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::harness::{Knobs, add_costs, run_sql};
use crate::q1::last_block;
use crate::report;

/// What to run `q6` over, and how.
#[derive(Debug, Args)]
pub(crate) struct Q6Arguments {
    /// Folder with the generated `txs.parquet`
    #[arg(long)]
    data: PathBuf,
    /// Worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Blocks a tick
    #[arg(long, default_value_t = 100)]
    blocks_per_tick: usize,
    /// Ticks in flight
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    /// Where the rows go (default: a folder that is removed)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Deliver blocks one by one, with finality so many blocks behind
    #[arg(long)]
    live_confirmations: Option<u64>,
    /// Instead: a fifth of all transactions as findings of an alert block by block, a group a contract
    #[arg(long)]
    storm: bool,
    /// Read only so many blocks
    #[arg(long)]
    blocks: Option<u64>,
}

pub(crate) fn run(arguments: &Q6Arguments) -> anyhow::Result<()> {
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
    let job = if arguments.storm { storm(&arguments.data, &out) } else { job(&arguments.data, &out) };
    let ran = run_sql(&job, Path::new("."), knobs)?;
    let seconds = watch.elapsed().as_secs_f64();
    let mut result = json!({
        "engine": "highwater",
        "query": if arguments.storm { "alert storm" } else { "q6" },
        "workers": arguments.workers,
        "blocks_per_tick": arguments.blocks_per_tick,
        "in_flight": arguments.in_flight,
        "confirmations": arguments.live_confirmations,
    });
    add_costs(&mut result, &ran, seconds)?;
    report(&result)
}

/// The job as a user writes it.
fn job(data: &Path, out: &Path) -> String {
    format!(
        "CREATE SOURCE eth WITH (connector = 'parquet', path = '{}', alias = 'txs=transactions',
  rename = 'to=to_address, block_time=block_timestamp');

CREATE MATERIALIZED VIEW failure_rate AS
SELECT to_address, window_start, window_end, count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '5 minutes')
GROUP BY to_address, window_start, window_end;

CREATE ALERT failing FROM (SELECT * FROM failure_rate WHERE total >= 20 AND failed * 5 > total)
WITH (key = 'to_address', dedup_key = 'to_address', dedup_for = INTERVAL '10 minutes') EMIT ON WINDOW CLOSE;

CREATE SINK rows FROM (SELECT entity, first_seen_at, occurrences FROM alerts)
WITH (connector = 'parquet', path = '{}', mode = 'snapshot', unbounded = 'yes');
",
        data.join("txs.parquet").display(),
        out.display()
    )
}

/// A million findings of a hundred thousand groups.
fn storm(data: &Path, out: &Path) -> String {
    format!(
        "CREATE SOURCE eth WITH (connector = 'parquet', path = '{}', alias = 'txs=transactions',
  rename = 'to=to_address, block_time=block_timestamp');

CREATE ALERT storm FROM (
  SELECT block_number, to_address, tx_index % 2 AS half, gas_price, success FROM eth.transactions WHERE tx_index < 20
) WITH (
  key = 'to_address, half', severity = 'CASE WHEN success THEN ''low'' ELSE ''high'' END',
  reason = '{{{{ gas_price }}}} wei', cool_after = INTERVAL '5 minutes', resolve_after = INTERVAL '15 minutes');

CREATE SINK told FROM storm WITH (connector = 'file', path = '{}', cooldown = INTERVAL '15 minutes');
",
        data.join("txs.parquet").display(),
        out.join("told.jsonl").display()
    )
}
