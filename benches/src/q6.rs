//! First alert of a contract with more than 20 % failures in five minutes, then ten minutes of silence; from Parquet
//! to Parquet.

use std::path::Path;

use clap::Args;

use crate::replay::{ReplayArguments, replay};

/// What to run `q6` over, and how.
#[derive(Debug, Args)]
pub(crate) struct Q6Arguments {
    #[command(flatten)]
    replay: ReplayArguments,
    /// Instead: a fifth of all transactions as findings of an alert block by block, a group a contract
    #[arg(long)]
    storm: bool,
}

pub(crate) fn run(arguments: &Q6Arguments) -> anyhow::Result<()> {
    match arguments.storm {
        true => replay("alert storm", &arguments.replay, storm),
        false => replay("q6", &arguments.replay, job),
    }
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
