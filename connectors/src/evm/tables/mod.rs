//! Which value goes into which column: one file per table.
//!
//! Each `fill` appends all rows of one block to one column, so that the choice of the column is made
//! once a block and the loop over rows is tight.

mod aggregator_trades;
pub(crate) mod blocks;
pub(crate) mod decoded;
mod dex_swaps;
mod flash_loans;
mod inferred_swaps;
mod liquidation_events;
mod liquidity_events;
pub(crate) mod logs;
mod of_log;
mod oracle_updates;
mod pools;
mod token_transfers;
pub(crate) mod traces;
pub(crate) mod transactions;

use highwater_engine::model::BlockRef;

use super::decode::Feeds;
use super::field::{Fault, Field};
use crate::columns::Column;

/// The tables of an EVM source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Table {
    Blocks,
    Transactions,
    Logs,
    Traces,
    /// One that is made of logs.
    Decoded(Feeds),
}

/// The name of each table.
pub(crate) const TABLES: [(&str, Table); 13] = [
    ("blocks", Table::Blocks),
    ("transactions", Table::Transactions),
    ("logs", Table::Logs),
    ("token_transfers", Table::Decoded(Feeds::TRANSFERS)),
    ("traces", Table::Traces),
    ("dex_swaps", Table::Decoded(Feeds::SWAPS)),
    ("pools", Table::Decoded(Feeds::POOLS)),
    ("liquidity_events", Table::Decoded(Feeds::LIQUIDITY)),
    ("liquidation_events", Table::Decoded(Feeds::LIQUIDATIONS)),
    ("aggregator_trades", Table::Decoded(Feeds::AGGREGATORS)),
    ("flash_loans", Table::Decoded(Feeds::FLASH_LOANS)),
    ("oracle_updates", Table::Decoded(Feeds::ORACLES)),
    ("inferred_swaps", Table::Decoded(Feeds::INFERRED)),
];

/// The columns of `transactions` that only a receipt knows.
pub(crate) const RECEIPT_COLUMNS: [&str; 7] =
    ["effective_gas_price", "gas_used", "cumulative_gas_used", "success", "contract_address", "l1_fee", "log_count"];

/// What every row of a block says about where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) chain: &'a str,
    pub(crate) chain_id: u64,
    pub(crate) block: &'a BlockRef,
}

/// Fills one of the five common columns; false if `column` is none of them.
pub(crate) fn fill_common(column: &mut Column, place: Place<'_>, rows: usize) -> Result<bool, Fault> {
    match column.name() {
        "chain" => column.repeat_text(place.chain, rows)?,
        "chain_id" => column.repeat(Field::Number(place.chain_id), rows)?,
        "block_number" => column.repeat(Field::Number(place.block.number), rows)?,
        "block_hash" => column.repeat(Field::Bytes(&place.block.hash.0), rows)?,
        "block_timestamp" => column.repeat_time(place.block.timestamp_ms, rows),
        _ => return Ok(false),
    }
    Ok(true)
}

pub(crate) fn no_rule(table: &str, column: &Column) -> ! {
    unreachable!("nothing fills column {} of {table}: the schema and this file must be changed together", column.name())
}
