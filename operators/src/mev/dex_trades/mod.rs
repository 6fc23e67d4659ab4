//! `dex_trades`: swaps with their tokens, prices and values in dollars.
//!
//! Definition: the rows of `dex_swaps` in their order, with
//!
//! * `token_sold`, `token_bought`, `trust` completed by what earlier positions of the chain told of the
//!   pool (`registry.rs`);
//! * `price`: smallest units of one coin for a smallest unit of the other. Which is priced in which does
//!   not depend on the direction of the trade: the coin with the lower index in the pool is priced, where
//!   the event counts no coins the one with the lower address;
//! * `amount_usd` and `usd_basis`: the value of a trade that is at least `balanced`. A side worth one
//!   dollar is it exactly (`stable`); else a side in the native coin at its price just before the trade
//!   (`native_price.rs`, `native`); else a side in the user's price table (`table`); in each case the sold
//!   side first. NULL where nothing is known: a value is never guessed, and never 0.
//!
//! State: pools, a few samples of the native price; for each open block what it changed, so that it can
//! be taken back. It grows by the pools of the chain, about 200 bytes each.

mod input;
mod native_price;
mod registry;
mod saved;

use std::sync::{Arc, LazyLock};

use alloy_primitives::U256;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::evm;
use highwater_engine::operator::StateSize;

use self::input::{Announcement, Announcements, POOL_COLUMNS, Place, SWAP_COLUMNS, Swaps};
use self::native_price::{LEAST_USD, Sample};
use self::registry::{PoolKey, Resolved, Trust};
use self::saved::{Changes, Memories};
use super::columns::{fixed, floats, texts, texts_opt};
use super::worth::{Basis, Coins};
use super::{Address, BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows, Memory};

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

    /// Hears the announcements up to a place; they are in the order of the block. What a node was asked about a
    /// swap stands at the place of that swap.
    fn announce(&mut self, pools: Announcements<'_>, next: &mut usize, upto: Option<Place>, changes: &mut Changes) {
        while *next < pools.len() && upto.is_none_or(|upto| pools.place(*next) <= upto) {
            if let Some(Announcement { key, witness, coins }) = pools.at(*next) {
                self.memories.registry.announce(&key, witness, coins, &mut changes.pools);
            }
            *next += 1;
        }
    }

    fn trade(&mut self, swaps: Swaps<'_>, row: usize, changes: &mut Changes) -> Trade {
        let (key, legs, own_trust) = (swaps.key(row), swaps.legs(row), swaps.trust(row));
        let [sold, bought] = legs;
        let resolved = match &key {
            Some(key) => self.memories.registry.resolve(key, legs, own_trust, &mut changes.pools),
            None => Resolved { sold: sold.token, bought: bought.token, trust: own_trust },
        };
        Trade { key, indexes: [sold.index, bought.index], amounts: swaps.amounts(row), own_trust, resolved }
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
        columns[input::TOKEN_SOLD] = fixed(20, self.sold.into_iter());
        columns[input::TOKEN_BOUGHT] = fixed(20, self.bought.into_iter());
        columns[input::TRUST] = texts(self.trust.iter().map(|trust| trust.name()));
        columns.push(floats(self.price.into_iter()));
        columns.push(floats(self.worth.iter().map(|worth| worth.map(|(usd, _)| usd))));
        columns.push(texts_opt(self.worth.iter().map(|worth| worth.map(|(_, basis)| basis.name()))));
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
        let (swaps, pools) = (Swaps::of(&rows.tables[0]), Announcements::of(&rows.tables[1]));
        let (mut changes, mut next_pool) = (Changes::default(), 0);
        let mut made = Made::with_capacity(swaps.len());
        for row in 0..swaps.len() {
            self.announce(pools, &mut next_pool, Some(swaps.place(row)), &mut changes);
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
