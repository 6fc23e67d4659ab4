//! `blocks`: one row a block.

use std::iter::once;

use crate::columns::Column;
use crate::evm::field::{Fault, Field};
use crate::evm::json::Block;

pub(crate) fn fill(column: &mut Column, block: &Block<'_>) -> Result<(), Fault> {
    let field = match column.name() {
        "parent_hash" => block.parent_hash,
        "miner" => block.miner.or(block.author),
        "gas_limit" => block.gas_limit,
        "gas_used" => block.gas_used,
        "base_fee_per_gas" => block.base_fee_per_gas,
        "transaction_count" => Field::Number(u64::try_from(block.transactions.len()).map_err(|_| Fault::TooLarge)?),
        "size" => block.size,
        "difficulty" => block.difficulty,
        "total_difficulty" => block.total_difficulty,
        "extra_data" => block.extra_data,
        "logs_bloom" => block.logs_bloom,
        "state_root" => block.state_root,
        "transactions_root" => block.transactions_root,
        "receipts_root" => block.receipts_root,
        "withdrawals_root" => block.withdrawals_root,
        "parent_beacon_block_root" => block.parent_beacon_block_root,
        "blob_gas_used" => block.blob_gas_used,
        "excess_blob_gas" => block.excess_blob_gas,
        _ => super::no_rule("blocks", column),
    };
    column.fields(once(field))
}
