//! What came to a liquidator, by the transfers of its transaction.

use std::cmp::Reverse;

use alloy_primitives::U256;
use arrow::array::FixedSizeBinaryArray;
use arrow::array::Int64Array;
use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::record_batch::RecordBatch;

use super::Sum;
use crate::mev::Address;
use crate::mev::columns::{address_at, bytes_at, int_at, wide_at};

/// The transfers of a block, in its order.
pub(super) struct Transfers<'a> {
    transaction_index: &'a [i64],
    log_index: &'a Int64Array,
    token: &'a FixedSizeBinaryArray,
    from: &'a FixedSizeBinaryArray,
    to: &'a FixedSizeBinaryArray,
    amount: &'a FixedSizeBinaryArray,
}

impl<'a> Transfers<'a> {
    /// Reads the columns that the relation asks for.
    pub(super) fn of(batch: &'a RecordBatch) -> Transfers<'a> {
        let int = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        let fixed = |column: usize| batch.column(column).as_fixed_size_binary();
        Transfers {
            transaction_index: int(0).values(),
            log_index: int(1),
            token: fixed(2),
            from: fixed(3),
            to: fixed(4),
            amount: fixed(5),
        }
    }

    /// The rows of a transaction that are logs.
    fn of_transaction(&self, transaction: i64) -> impl Iterator<Item = (usize, i64)> + '_ {
        let start = self.transaction_index.partition_point(|index| *index < transaction);
        let rows =
            (start..self.transaction_index.len()).take_while(move |row| self.transaction_index[*row] == transaction);
        rows.filter_map(|row| Some((row, int_at(self.log_index, row)?)))
    }

    fn is_between(&self, row: usize, from: Option<&[u8]>, to: &[u8]) -> bool {
        bytes_at(self.to, row) == Some(to) && from.is_none_or(|from| bytes_at(self.from, row) == Some(from))
    }

    fn amount(&self, row: usize) -> U256 {
        wide_at(self.amount, row).unwrap_or_default()
    }

    /// What a liquidator got of the collateral that an event at a place says was seized.
    pub(super) fn received(&self, place: (i64, i64), (token, seized): Sum, liquidator: &Address) -> Option<Sum> {
        let (transaction, at) = place;
        let to_liquidator = self.of_transaction(transaction).filter(|(row, _)| {
            bytes_at(self.token, *row) == Some(&token)
                && self.is_between(*row, None, liquidator)
                && !self.amount(*row).is_zero()
                && self.amount(*row) <= seized
        });
        let (row, _) = to_liquidator.min_by_key(|(row, log)| (self.amount(*row) != seized, distance(*log, at)))?;
        let amount = self.amount(row);
        Some(self.redeemed(place, (token, amount), liquidator).unwrap_or((token, amount)))
    }

    /// What was bought from an auction of Maker, which counts every token with 18 decimals: the first transfer
    /// after the event of just that amount, in the units of a token of 18 decimals, else of 8, else of 6.
    pub(super) fn bought(&self, (transaction, at): (i64, i64), amount: U256) -> Option<Sum> {
        let in_units = |missing: u64| amount / U256::from(10).pow(U256::from(missing));
        [0, 10, 12].into_iter().map(in_units).filter(|amount| !amount.is_zero()).find_map(|amount| {
            let after = self.of_transaction(transaction).filter(|(_, log)| *log > at);
            let (row, _) = after.into_iter().find(|(row, _)| self.amount(*row) == amount)?;
            Some((address_at(self.token, row)?, amount))
        })
    }

    /// What a deposit paid out, if its holder gave it back after the place: the contract of the deposit
    /// takes its own token and pays another, the two next to each other.
    fn redeemed(&self, (transaction, at): (i64, i64), (deposit, amount): Sum, holder: &Address) -> Option<Sum> {
        let mut given_back = self.of_transaction(transaction).filter(|(row, log)| {
            *log > at
                && bytes_at(self.token, *row) == Some(&deposit)
                && self.is_between(*row, Some(holder), &deposit)
                && self.amount(*row) == amount
        });
        let (_, back_at) = given_back.next()?;
        let paid = self.of_transaction(transaction).filter(|(row, log)| {
            *log > at && bytes_at(self.token, *row) != Some(&deposit) && self.is_between(*row, Some(&deposit), holder)
        });
        let (row, _) = paid.min_by_key(|(_, log)| distance(*log, back_at))?;
        Some((address_at(self.token, row)?, self.amount(row)))
    }
}

/// How far a log is from a place: the nearer first, of two as near the earlier.
fn distance(log: i64, at: i64) -> (u64, Reverse<bool>) {
    (log.abs_diff(at), Reverse(log < at))
}
