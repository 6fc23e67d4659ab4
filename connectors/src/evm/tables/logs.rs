//! `logs`: one row a log, in the order of the block.

use crate::columns::Column;
use crate::evm::field::Fault;
use crate::evm::json::Log;

pub(crate) fn fill(column: &mut Column, rows: &[&Log<'_>]) -> Result<(), Fault> {
    match column.name() {
        "transaction_index" => column.fields(rows.iter().map(|log| log.transaction_index)),
        "log_index" => column.fields(rows.iter().map(|log| log.log_index)),
        "transaction_hash" => column.fields(rows.iter().map(|log| log.transaction_hash)),
        "address" => column.fields(rows.iter().map(|log| log.address)),
        "topic0" => column.fields(rows.iter().map(|log| log.topics.get(0))),
        "topic1" => column.fields(rows.iter().map(|log| log.topics.get(1))),
        "topic2" => column.fields(rows.iter().map(|log| log.topics.get(2))),
        "topic3" => column.fields(rows.iter().map(|log| log.topics.get(3))),
        "data" => column.fields(rows.iter().map(|log| log.data)),
        "n_data_bytes" => column.ints(rows.iter().map(|log| {
            let bytes = log.data.byte_len()?;
            i64::try_from(bytes).map(Some).map_err(|_| Fault::TooLarge)
        })),
        _ => super::no_rule("logs", column),
    }
}
