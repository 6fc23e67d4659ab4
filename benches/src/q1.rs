//! Per address and 5 minutes: transactions, failures, gas, average and highest price; from Parquet to Parquet.

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::replay::{ReplayArguments, replay};

/// What to run `q1` over, and how.
#[derive(Debug, Args)]
pub(crate) struct Q1Arguments {
    #[command(flatten)]
    replay: ReplayArguments,
    /// When rows go out
    #[arg(long, value_enum, default_value_t = EmitPolicy::Changes)]
    emit: EmitPolicy,
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
    let query = match arguments.emit {
        EmitPolicy::Changes => "q1",
        EmitPolicy::Finality => "q1 on finality",
    };
    replay(query, &arguments.replay, |data, out| job(data, out, arguments.emit))
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
