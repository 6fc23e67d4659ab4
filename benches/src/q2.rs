//! Sandwiches in a folder of trades: the relation `sandwiches`, from Parquet to Parquet.

use std::path::Path;

use crate::replay::{ReplayArguments, replay};

pub(crate) fn run(arguments: &ReplayArguments) -> anyhow::Result<()> {
    replay("q2", arguments, job)
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
