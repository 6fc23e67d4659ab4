//! `dex_trades`: swaps with their tokens, prices and values in dollars.
//!
//! Definition: the rows of `dex_swaps` in their order, with
//!
//! * `token_sold`, `token_bought`, `trust` completed by what earlier positions of the chain told of the
//!   pool ([`registry`]);
//! * `price`: smallest units of one coin for a smallest unit of the other. Which is priced in which does
//!   not depend on the direction of the trade: the coin with the lower index in the pool is priced, where
//!   the event counts no coins the one with the lower address;
//! * `amount_usd` and `usd_basis`: the value of a trade that is at least `balanced`. A side worth one
//!   dollar is it exactly (`stable`); else a side in the native coin at its price just before the trade
//!   ([`native_price`], `native`); else a side in the user's price table (`table`); in each case the sold
//!   side first. NULL where nothing is known: a value is never guessed, and never 0.
//!
//! State: pools, a few samples of the native price; for each open block what it changed, so that it can
//! be taken back. It grows by the pools of the chain, about 200 bytes each.

mod derived;
mod native_price;
mod registry;
mod saved;

use std::sync::{Arc, LazyLock};

use alloy_primitives::U256;
use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::evm;
use highwater_engine::operator::StateSize;

use self::native_price::{LEAST_USD, Sample};
use self::registry::{Leg, PoolKey, Resolved, Trust, pool_key};
use self::saved::{Changes, Memories};
use super::cells::{Cells, amount_at, bytes_at, fixed_column, integer_at, text_column};
use super::worth::{Basis, Coins};
use super::{Address, BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows, Memory};

/// The columns of `dex_swaps`, all of them.
const SWAP_COLUMNS: [&str; 30] = [
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

/// Places in [`SWAP_COLUMNS`].
mod swap {
    pub(super) const TRANSACTION_INDEX: usize = 5;
    pub(super) const LOG_INDEX: usize = 6;
    pub(super) const POOL: usize = 10;
    pub(super) const VENUE: usize = 11;
    pub(super) const SOLD_INDEX: usize = 12;
    pub(super) const BOUGHT_INDEX: usize = 13;
    pub(super) const TOKEN_SOLD: usize = 14;
    pub(super) const TOKEN_BOUGHT: usize = 15;
    pub(super) const AMOUNT_SOLD: usize = 16;
    pub(super) const AMOUNT_BOUGHT: usize = 17;
    pub(super) const TRUST: usize = 27;
}

const POOL_COLUMNS: [&str; 7] = ["transaction_index", "log_index", "pool", "factory", "listed", "token0", "token1"];

/// The relation.
pub(super) const RELATION: BlockRelation = BlockRelation {
    name: "dex_trades",
    about: "One row a swap, with its tokens as far as the chain has told them, a price that does not depend on \
            the direction, and the value in dollars where one side has a known worth.",
    inputs: &[
        InputTable { name: "dex_swaps", columns: &SWAP_COLUMNS, optional: false },
        InputTable { name: "pools", columns: &POOL_COLUMNS, optional: true },
    ],
    schema,
    state: Some(("pool", "the pools that the chain has; changes of open blocks until finality")),
    kernel: |settings| Box::new(DexTrades::new(settings)),
};

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let swaps = evm::schema("dex_swaps").expect("the engine defines dex_swaps");
        let mut fields = swaps.fields().to_vec();
        fields.push(Arc::new(Field::new("price", DataType::Float64, true)));
        fields.push(Arc::new(Field::new("amount_usd", DataType::Float64, true)));
        fields.push(Arc::new(Field::new("usd_basis", DataType::Utf8, true)));
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}

/// The kernel of `dex_trades`.
pub struct DexTrades {
    coins: Coins,
    memories: Memories,
}

/// Where a log stands in its block.
type Place = (i64, i64);

/// A swap and everything that is known of it.
struct Trade {
    key: Option<PoolKey>,
    indexes: [Option<i64>; 2],
    amounts: [U256; 2],
    /// What the decoder said, before pools were asked.
    own_trust: Trust,
    resolved: Resolved,
}

impl DexTrades {
    /// A kernel without memories.
    pub fn new(settings: &Arc<MevSettings>) -> DexTrades {
        DexTrades { coins: Coins::of(settings), memories: Memories::default() }
    }

    /// Hears the announcements before a place; they are in the order of the block.
    fn announce(&mut self, pools: Cells<'_>, next: &mut usize, before: Option<Place>, changes: &mut Changes) {
        let place = |row: usize| (pools.integers(0).value(row), pools.integers(1).value(row));
        while *next < pools.len() && before.is_none_or(|before| place(*next) < before) {
            let row = *next;
            *next += 1;
            let pool = pools.0.column(2).as_binary::<i32>().value(row);
            let address = |column: usize| bytes_at(pools.fixed(column), row);
            let (Some(factory), Some(token0), Some(token1)) = (address(3), address(5), address(6)) else { continue };
            // A pool without a contract of its own speaks through its factory.
            let venue = if pool.len() == 20 { pool.try_into().expect("20 bytes") } else { factory };
            let Some(key) = pool_key(&venue, pool) else { continue };
            let listed = pools.0.column(4).as_boolean().value(row);
            self.memories.registry.announce(key, listed, [token0, token1], &mut changes.pools);
        }
    }

    fn trade(&mut self, swaps: Cells<'_>, row: usize, changes: &mut Changes) -> Trade {
        let index = |column| integer_at(swaps.integers(column), row);
        let token = |column| bytes_at(swaps.fixed(column), row);
        let amount = |column| amount_at(swaps.fixed(column), row).unwrap_or_default();
        let sold = Leg { index: index(swap::SOLD_INDEX), token: token(swap::TOKEN_SOLD) };
        let bought = Leg { index: index(swap::BOUGHT_INDEX), token: token(swap::TOKEN_BOUGHT) };
        let own_trust = Trust::of(swaps.text(swap::TRUST).value(row));
        let venue: Option<Address> = token(swap::VENUE);
        let pool = swaps.0.column(swap::POOL).as_binary::<i32>().value(row);
        let key = venue.and_then(|venue| pool_key(&venue, pool));
        let resolved = match &key {
            Some(key) => self.memories.registry.resolve(key, [sold, bought], own_trust, &mut changes.pools),
            None => Resolved { sold: sold.token, bought: bought.token, trust: own_trust },
        };
        let amounts = [amount(swap::AMOUNT_SOLD), amount(swap::AMOUNT_BOUGHT)];
        Trade { key, indexes: [sold.index, bought.index], amounts, own_trust, resolved }
    }

    /// The value of a trade and what it rests on.
    fn worth(&self, trade: &Trade, time_ms: i64) -> Option<(f64, Basis)> {
        if trade.resolved.trust == Trust::Unverified {
            return None;
        }
        let tokens = [trade.resolved.sold, trade.resolved.bought];
        let sides = || tokens.iter().zip(trade.amounts).filter_map(|(token, amount)| Some((token.as_ref()?, amount)));
        let sides = || sides().filter(|(_, amount)| !amount.is_zero());
        let stable = sides().find_map(|(token, amount)| self.coins.stable_usd(token, amount));
        let native = || {
            let (_, amount) = sides().find(|(token, _)| self.coins.is_native(token))?;
            Some(f64::from(amount) * self.memories.price.at(time_ms)?)
        };
        let table = || sides().find_map(|(token, amount)| self.coins.table_usd(token, amount, time_ms));
        let value = stable.map(|usd| (usd, Basis::Stable));
        let value = value.or_else(|| native().map(|usd| (usd, Basis::Native)));
        value.or_else(|| table().map(|usd| (usd, Basis::Table)))
    }

    /// Learns the price of the native coin from a trade that is worth so much.
    fn note_price(&mut self, trade: &Trade, worth: Option<(f64, Basis)>, rows: &BlockRows<'_>, changes: &mut Changes) {
        let Some((usd, Basis::Stable)) = worth.filter(|(usd, _)| *usd >= LEAST_USD) else { return };
        // An announcement alone moves no money: the swap's own transfers must have agreed.
        let trust = trade.resolved.trust;
        let (Some(pool), true) = (trade.key, trust == Trust::Verified || trade.own_trust >= Trust::Balanced) else {
            return;
        };
        let tokens = [trade.resolved.sold, trade.resolved.bought];
        let is_native = |token: &Option<Address>| token.is_some_and(|token| self.coins.is_native(&token));
        let Some(side) = tokens.iter().position(is_native).filter(|side| !trade.amounts[*side].is_zero()) else {
            return;
        };
        changes.price.get_or_insert_with(|| self.memories.price.clone());
        let usd = usd / f64::from(trade.amounts[side]);
        self.memories.price.note(Sample { block: rows.number, time_ms: rows.timestamp_ms, pool, usd }, trust);
    }
}

/// Smallest units of the coin that comes second for one of the coin that comes first, by index or address.
fn price(trade: &Trade) -> Option<f64> {
    let sold_is_first = match (trade.indexes, trade.resolved.sold, trade.resolved.bought) {
        ([Some(sold), Some(bought)], _, _) if sold != bought => sold < bought,
        (_, Some(sold), Some(bought)) if sold != bought => sold < bought,
        _ => return None,
    };
    let [sold, bought] = trade.amounts;
    let (first, second) = if sold_is_first { (sold, bought) } else { (bought, sold) };
    (!first.is_zero() && !second.is_zero()).then(|| f64::from(second) / f64::from(first))
}

/// The columns that the kernel makes.
struct Made {
    sold: Vec<Option<Address>>,
    bought: Vec<Option<Address>>,
    trust: Vec<Trust>,
    price: Vec<Option<f64>>,
    worth: Vec<Option<(f64, Basis)>>,
}

impl Made {
    fn with_capacity(rows: usize) -> Made {
        Made {
            sold: Vec::with_capacity(rows),
            bought: Vec::with_capacity(rows),
            trust: Vec::with_capacity(rows),
            price: Vec::with_capacity(rows),
            worth: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, trade: &Trade, worth: Option<(f64, Basis)>) {
        self.sold.push(trade.resolved.sold);
        self.bought.push(trade.resolved.bought);
        self.trust.push(trade.resolved.trust);
        self.price.push(price(trade));
        self.worth.push(worth);
    }

    fn finish(self, swaps: &RecordBatch) -> RecordBatch {
        let mut columns = swaps.columns().to_vec();
        columns[swap::TOKEN_SOLD] = fixed_column(self.sold.into_iter());
        columns[swap::TOKEN_BOUGHT] = fixed_column(self.bought.into_iter());
        columns[swap::TRUST] = text_column(self.trust.iter().map(|trust| Some(trust.name())));
        let usd = self.worth.iter().map(|worth| worth.map(|(usd, _)| usd)).collect::<Float64Array>();
        let basis = text_column(self.worth.iter().map(|worth| worth.map(|(_, basis)| basis.name())));
        columns.extend([Arc::new(Float64Array::from(self.price)) as ArrayRef, Arc::new(usd), basis]);
        RecordBatch::try_new(schema(), columns).expect("the columns are those of dex_swaps and three more")
    }
}

impl BlockKernel for DexTrades {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn memory(&self) -> Memory {
        Memory::Chain
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let (swaps, pools) = (Cells(&rows.tables[0]), Cells(&rows.tables[1]));
        let (mut changes, mut next_pool) = (Changes::default(), 0);
        let mut made = Made::with_capacity(swaps.len());
        for row in 0..swaps.len() {
            let place = |column| swaps.integers(column).value(row);
            let before = (place(swap::TRANSACTION_INDEX), place(swap::LOG_INDEX));
            self.announce(pools, &mut next_pool, Some(before), &mut changes);
            let trade = self.trade(swaps, row, &mut changes);
            let worth = self.worth(&trade, rows.timestamp_ms);
            self.note_price(&trade, worth, &rows, &mut changes);
            made.push(&trade, worth);
        }
        self.announce(pools, &mut next_pool, None, &mut changes);
        self.memories.keep(rows.number, changes);
        made.finish(&rows.tables[0])
    }

    fn forget(&mut self, number: u64) {
        self.memories.forget(number);
    }

    fn finalize(&mut self, number: u64) {
        self.memories.finalize(number);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        self.memories.save()
    }

    fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        self.memories.load(state)
    }

    fn size(&self) -> StateSize {
        self.memories.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_columns_of_the_swaps_are_taken() {
        let swaps = evm::schema("dex_swaps").expect("the engine defines dex_swaps");
        let names: Vec<&str> = swaps.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, SWAP_COLUMNS);
        assert_eq!(SWAP_COLUMNS[swap::TRUST], "trust");
        assert_eq!(SWAP_COLUMNS[swap::AMOUNT_BOUGHT], "amount_bought");
        assert_eq!(SWAP_COLUMNS[swap::POOL], "pool");
    }
}
