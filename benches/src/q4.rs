//! Trades at the newest price of their token and hour, as volume of a pool and hour; prices are corrected later, and
//! what was sold at them with them; from Parquet to Parquet.

use std::path::Path;

use clap::Args;

use crate::replay::{ReplayArguments, replay};

#[derive(Debug, Args)]
pub(crate) struct Q4Arguments {
    #[command(flatten)]
    replay: ReplayArguments,
    /// Leave addresses the text that the files have
    #[arg(long)]
    text: bool,
    /// How the written file is compressed; DuckDB's way, unless something else is asked for
    #[arg(long, default_value = "snappy")]
    compression: String,
}

pub(crate) fn run(arguments: &Q4Arguments) -> anyhow::Result<()> {
    replay("q4", &arguments.replay, |data, out| job(data, out, arguments))
}

/// The job as a user writes it. A price may be corrected at any time, so trades are kept for ever.
fn job(data: &Path, out: &Path, arguments: &Q4Arguments) -> String {
    let types = if arguments.text { "" } else { ",\n  types = 'pool=ADDRESS, token=ADDRESS, token_sold=ADDRESS'" };
    format!(
        "CREATE SOURCE eth WITH (connector = 'parquet', path = '{}',
  rename = 'arrive_block=block_number, block_time=block_timestamp'{types});

CREATE MATERIALIZED VIEW newest_price WITH (unbounded = 'yes') AS
SELECT token, hour, max_by(price, revision) AS price FROM eth.prices GROUP BY token, hour;

CREATE MATERIALIZED VIEW q4 WITH (unbounded = 'yes') AS
SELECT pool, window_start AS hour, count(*) AS total, sum(amount_sold * price) AS volume
FROM TUMBLE(eth.trades, block_timestamp, INTERVAL '1 hour') JOIN newest_price ON token = token_sold AND hour = window_start
GROUP BY pool, window_start;

CREATE SINK rows FROM q4 WITH (connector = 'parquet', path = '{}', mode = 'snapshot', binary = 'hex', compression = '{}');
",
        data.display(),
        out.display(),
        arguments.compression
    )
}
