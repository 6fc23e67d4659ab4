//! The tables made of logs: which rows go into which.

use super::{
    aggregator_trades, dex_swaps, flash_loans, inferred_swaps, liquidation_events, liquidity_events, of_log,
    oracle_updates, pools, token_transfers,
};
use crate::columns::Column;
use crate::evm::decode::Feeds;
use crate::evm::decode::rows::{At, Decoded};
use crate::evm::field::Fault;
use crate::evm::json::Receipt;

/// How many rows the block has of a table.
pub(crate) fn count(rows: &Decoded, table: Feeds) -> usize {
    match table {
        Feeds::TRANSFERS => rows.transfers.len(),
        Feeds::SWAPS => rows.swaps.len(),
        Feeds::POOLS => rows.pools.len(),
        Feeds::LIQUIDITY => rows.liquidity.len(),
        Feeds::LIQUIDATIONS => rows.liquidations.len(),
        Feeds::AGGREGATORS => rows.aggregator_trades.len(),
        Feeds::FLASH_LOANS => rows.flash_loans.len(),
        Feeds::INFERRED => rows.inferred_swaps.len(),
        _ => rows.oracle_updates.len(),
    }
}

/// Appends the rows of one block to one column of a table. `receipts` are those the rows point into.
pub(crate) fn fill(column: &mut Column, rows: &Decoded, table: Feeds, receipts: &[&Receipt<'_>]) -> Result<(), Fault> {
    match table {
        Feeds::TRANSFERS => of(column, receipts, &rows.transfers, |row| row.at, token_transfers::fill),
        Feeds::SWAPS => of(column, receipts, &rows.swaps, |row| row.at, dex_swaps::fill),
        Feeds::POOLS => of(column, receipts, &rows.pools, |row| row.at, pools::fill),
        Feeds::LIQUIDITY => of(column, receipts, &rows.liquidity, |row| row.at, liquidity_events::fill),
        Feeds::LIQUIDATIONS => of(column, receipts, &rows.liquidations, |row| row.at, liquidation_events::fill),
        Feeds::AGGREGATORS => of(column, receipts, &rows.aggregator_trades, |row| row.at, aggregator_trades::fill),
        Feeds::FLASH_LOANS => of(column, receipts, &rows.flash_loans, |row| row.at, flash_loans::fill),
        Feeds::INFERRED => of(column, receipts, &rows.inferred_swaps, |row| row.at, inferred_swaps::fill),
        _ => of(column, receipts, &rows.oracle_updates, |row| row.at, oracle_updates::fill),
    }
}

fn of<R>(
    column: &mut Column,
    receipts: &[&Receipt<'_>],
    rows: &[R],
    at: fn(&R) -> At,
    fill: fn(&mut Column, &[R]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if of_log::fill(column, receipts, rows.iter().map(at))? {
        return Ok(());
    }
    fill(column, rows)
}
