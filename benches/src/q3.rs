//! The ten contracts with the most gas of every five minutes; from Parquet to Parquet.

use std::path::Path;

use crate::replay::{ReplayArguments, replay};

pub(crate) fn run(arguments: &ReplayArguments) -> anyhow::Result<()> {
    replay("q3", arguments, job)
}

/// The job as a user writes it.
fn job(data: &Path, out: &Path) -> String {
    format!(
        "CREATE SOURCE eth WITH (connector = 'parquet', path = '{}', alias = 'txs=transactions',
  rename = 'to=to_address, block_time=block_timestamp');

CREATE MATERIALIZED VIEW q3 AS
SELECT window_end, row_number() OVER (PARTITION BY window_end ORDER BY gas DESC, to_address) AS place, to_address, gas
FROM (
  SELECT window_end, to_address, sum(gas_used) AS gas
  FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '5 minutes')
  GROUP BY window_end, to_address
) QUALIFY place <= 10;

CREATE SINK rows FROM q3 WITH (connector = 'parquet', path = '{}', mode = 'snapshot');
",
        data.join("txs.parquet").display(),
        out.display()
    )
}
