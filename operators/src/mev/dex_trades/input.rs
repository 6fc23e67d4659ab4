//! The rows that the trades are made of.

use alloy_primitives::U256;
use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::array::{BinaryArray, BooleanArray, FixedSizeBinaryArray, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;

use super::registry::{Leg, PoolKey, Trust, Witness, pool_key};
use crate::mev::Address;
use crate::mev::columns::{address_at, int_at, wide_at};

/// The columns of `dex_swaps`, all of them.
pub(super) const SWAP_COLUMNS: [&str; 30] = [
    "chain",
    "chain_id",
    "block_number",
    "block_hash",
    "block_timestamp",
    "transaction_index",
    "log_index",
    "transaction_hash",
    "protocol",
    "version",
    "pool",
    "venue",
    "sold_index",
    "bought_index",
    "token_sold",
    "token_bought",
    "amount_sold",
    "amount_bought",
    "sender",
    "recipient",
    "reserve0",
    "reserve1",
    "sqrt_price_x96",
    "tick",
    "liquidity",
    "fee_pips",
    "source",
    "trust",
    "tx_from",
    "tx_to",
];

const TRANSACTION_INDEX: usize = 5;
const LOG_INDEX: usize = 6;
const POOL: usize = 10;
const VENUE: usize = 11;
const SOLD_INDEX: usize = 12;
const BOUGHT_INDEX: usize = 13;
/// Place of `token_sold`.
pub(super) const TOKEN_SOLD: usize = 14;
/// Place of `token_bought`.
pub(super) const TOKEN_BOUGHT: usize = 15;
const AMOUNT_SOLD: usize = 16;
const AMOUNT_BOUGHT: usize = 17;
/// Place of `trust`.
pub(super) const TRUST: usize = 27;

/// The columns of `pools` that are read.
pub(super) const POOL_COLUMNS: [&str; 10] =
    ["transaction_index", "log_index", "pool", "factory", "listed", "token0", "token1", "index0", "index1", "source"];

/// Where a log stands in its block.
pub(super) type Place = (i64, i64);

/// The swaps of a block.
#[derive(Clone, Copy)]
pub(super) struct Swaps<'a> {
    transaction_index: &'a [i64],
    log_index: &'a [i64],
    pool: &'a BinaryArray,
    venue: &'a FixedSizeBinaryArray,
    indexes: [&'a Int64Array; 2],
    tokens: [&'a FixedSizeBinaryArray; 2],
    amounts: [&'a FixedSizeBinaryArray; 2],
    trust: &'a StringArray,
}

impl<'a> Swaps<'a> {
    /// Reads a batch of [`SWAP_COLUMNS`].
    pub(super) fn of(batch: &'a RecordBatch) -> Swaps<'a> {
        let int = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        let fixed = |column: usize| batch.column(column).as_fixed_size_binary();
        Swaps {
            transaction_index: int(TRANSACTION_INDEX).values(),
            log_index: int(LOG_INDEX).values(),
            pool: batch.column(POOL).as_binary(),
            venue: fixed(VENUE),
            indexes: [int(SOLD_INDEX), int(BOUGHT_INDEX)],
            tokens: [fixed(TOKEN_SOLD), fixed(TOKEN_BOUGHT)],
            amounts: [fixed(AMOUNT_SOLD), fixed(AMOUNT_BOUGHT)],
            trust: batch.column(TRUST).as_string(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.transaction_index.len()
    }

    pub(super) fn place(&self, row: usize) -> Place {
        (self.transaction_index[row], self.log_index[row])
    }

    pub(super) fn key(&self, row: usize) -> Option<PoolKey> {
        pool_key(&address_at(self.venue, row)?, self.pool.value(row))
    }

    /// The sold side and the bought one.
    pub(super) fn legs(&self, row: usize) -> [Leg; 2] {
        [0, 1].map(|side| Leg { index: int_at(self.indexes[side], row), token: address_at(self.tokens[side], row) })
    }

    /// What was sold and what was bought.
    pub(super) fn amounts(&self, row: usize) -> [U256; 2] {
        self.amounts.map(|amounts| wide_at(amounts, row).unwrap_or_default())
    }

    pub(super) fn trust(&self, row: usize) -> Trust {
        Trust::of(self.trust.value(row))
    }
}

/// The announcements of a block, in its order.
#[derive(Clone, Copy)]
pub(super) struct Announcements<'a> {
    transaction_index: &'a [i64],
    log_index: &'a [i64],
    pool: &'a BinaryArray,
    factory: &'a FixedSizeBinaryArray,
    listed: &'a BooleanArray,
    tokens: [&'a FixedSizeBinaryArray; 2],
    indexes: [&'a Int64Array; 2],
    source: &'a StringArray,
}

/// Somebody says what a pool holds.
pub(super) struct Announcement {
    pub(super) key: PoolKey,
    pub(super) witness: Witness,
    pub(super) coins: [(i64, Address); 2],
}

impl<'a> Announcements<'a> {
    /// Reads a batch of [`POOL_COLUMNS`].
    pub(super) fn of(batch: &'a RecordBatch) -> Announcements<'a> {
        let int = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        let fixed = |column: usize| batch.column(column).as_fixed_size_binary();
        Announcements {
            transaction_index: int(0).values(),
            log_index: int(1).values(),
            pool: batch.column(2).as_binary(),
            factory: fixed(3),
            listed: batch.column(4).as_boolean(),
            tokens: [fixed(5), fixed(6)],
            indexes: [int(7), int(8)],
            source: batch.column(9).as_string(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.transaction_index.len()
    }

    pub(super) fn place(&self, row: usize) -> Place {
        (self.transaction_index[row], self.log_index[row])
    }

    pub(super) fn at(&self, row: usize) -> Option<Announcement> {
        let pool = self.pool.value(row);
        // A pool without a contract of its own speaks through its factory.
        let venue = match pool.try_into() {
            Ok(own) => own,
            Err(_) => address_at(self.factory, row)?,
        };
        let [Some(token0), Some(token1)] = self.tokens.map(|tokens| address_at(tokens, row)) else { return None };
        let key = pool_key(&venue, pool)?;
        let witness = match (self.listed.value(row), self.source.value(row)) {
            (true, _) => Witness::Factory,
            (false, "call") => Witness::Pool,
            (false, _) => Witness::Stranger,
        };
        let [index0, index1] = self.indexes.map(|indexes| indexes.value(row));
        Some(Announcement { key, witness, coins: [(index0, token0), (index1, token1)] })
    }
}

#[cfg(test)]
mod tests {
    use highwater_engine::model::evm;

    use super::*;

    #[test]
    fn all_columns_of_the_swaps_are_taken() {
        let swaps = evm::schema("dex_swaps").expect("the engine defines dex_swaps");
        let names: Vec<&str> = swaps.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, SWAP_COLUMNS);
        let places = [POOL, VENUE, BOUGHT_INDEX, TOKEN_SOLD, AMOUNT_BOUGHT, TRUST].map(|place| SWAP_COLUMNS[place]);
        assert_eq!(places, ["pool", "venue", "bought_index", "token_sold", "amount_bought", "trust"]);
    }
}
