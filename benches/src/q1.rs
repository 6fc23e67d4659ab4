//! Per address and 5 minutes: transactions, failures, gas, average and highest price; from Parquet to Parquet.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::harness::{Knobs, Ran, add_costs, run_sql};
use crate::report;

/// What to run `q1` over, and how.
#[derive(Debug, Args)]
pub(crate) struct Q1Arguments {
    /// Folder with the generated `txs.parquet` and `meta.json`
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
    /// When rows go out
    #[arg(long, value_enum, default_value_t = EmitPolicy::Changes)]
    emit: EmitPolicy,
    /// Deliver blocks one by one, with finality so many blocks behind
    #[arg(long)]
    live_confirmations: Option<u64>,
    /// Read only so many blocks
    #[arg(long)]
    blocks: Option<u64>,
}

/// The emit policy of the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EmitPolicy {
    /// At once, with corrections
    Changes,
    /// Once, when final
    Finality,
}

pub(crate) fn run(arguments: &Q1Arguments) -> anyhow::Result<()> {
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
    let ran = run_sql(&job(&arguments.data, &out, arguments.emit), Path::new("."), knobs)?;
    let seconds = watch.elapsed().as_secs_f64();
    report(&result(arguments, &ran, seconds)?)
}

fn result(arguments: &Q1Arguments, ran: &Ran, seconds: f64) -> anyhow::Result<serde_json::Value> {
    let mut result = json!({
        "engine": "highwater",
        "query": "q1",
        "workers": arguments.workers,
        "blocks_per_tick": arguments.blocks_per_tick,
        "in_flight": arguments.in_flight,
        "emit": format!("{:?}", arguments.emit).to_lowercase(),
        "confirmations": arguments.live_confirmations,
    });
    add_costs(&mut result, ran, seconds)?;
    Ok(result)
}

/// The height after which `blocks` blocks have been read.
pub(crate) fn last_block(data: &Path, blocks: u64) -> anyhow::Result<u64> {
    let path = data.join("meta.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let meta: serde_json::Value = serde_json::from_str(&text)?;
    let first = meta["first_block"].as_u64().context("meta.json names no first block")?;
    Ok(first + blocks.max(1) - 1)
}

/// The job as a user writes it.
pub(crate) fn job(data: &Path, out: &Path, emit: EmitPolicy) -> String {
    let emit = match emit {
        EmitPolicy::Changes => "EMIT CHANGES",
        EmitPolicy::Finality => "EMIT ON FINALITY",
    };
    format!(
        "CREATE SOURCE eth WITH (connector = 'parquet', path = '{}', alias = 'txs=transactions',
  rename = 'to=to_address, block_time=block_timestamp');

CREATE MATERIALIZED VIEW q1 AS
SELECT to_address, window_start, window_end,
       count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed,
       sum(gas_used) AS gas, avg(gas_price) AS average_price, max(gas_price) AS highest_price
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '5 minutes')
GROUP BY to_address, window_start, window_end;

CREATE SINK rows FROM q1 WITH (connector = 'parquet', path = '{}', mode = 'snapshot') {emit};
",
        data.join("txs.parquet").display(),
        out.display()
    )
}
