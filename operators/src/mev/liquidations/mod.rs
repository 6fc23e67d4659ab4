//! `liquidations`: what liquidators paid, got and earned.
//!
//! Rule L1: one row an event of `liquidation_events`, not one a transaction; beside what the event tells,
//!
//! * `received_token`, `received_amount`: what came to the liquidator. That is the transfer of the seized
//!   collateral to it, of the exact amount rather than of a smaller one (protocols keep a part), the
//!   nearest to the event; if it was a deposit that the liquidator redeemed in the same transaction, what
//!   the deposit paid out (`receipts.rs`). NULL where no transfer shows it.
//! * `bonus_bps`: `10,000 · (value(collateral) / value(debt) - 1)`.
//! * `profit_usd`: `value(received) - value(debt) - gas`; the gas of a transaction is shared equally by its
//!   rows. Both only with all prices, never with a 0 in the place of one.
//! * `trigger_tx`: the transaction of the nearest oracle update before the event in its block. Which feed
//!   prices which token is contract state that no event tells, so it may be the update of another asset.
//! * `linked_…`: the event that a later step goes back to (`links.rs`): the `bark` of a purchase from an
//!   auction of Maker, with the owner of the vault (`linked_borrower`) and the kind of collateral
//!   (`linked_market_id`); the absorption of what a Compound III market sells. NULL for all other events.
//!
//! Values are of coins worth one dollar, else the block's `token_prices`, else the user's table. Maker's
//! auctions name no tokens: what was paid counts as dollars, and what was bought is the first transfer after
//! the purchase, in its transaction, of just that amount. The beginnings of auctions and Compound III's
//! absorptions, which nobody buys, have no value.
//! Reference: mev-inspect's liquidations, by traces; here by events and transfers.
//!
//! State: what later steps go back to, for as many blocks as `mev.auction_blocks` and
//! `mev.compound_v3_blocks` say.

mod links;
mod receipts;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alloy_primitives::U256;
use arrow::array::cast::AsArray;
use arrow::array::types::{Float64Type, Int64Type};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::evm;
use highwater_engine::model::wide::uint256_field;
use highwater_engine::operator::StateSize;

use self::links::{Beginning, Link, Links, Steps};
use self::receipts::Transfers;
use super::columns::{
    self, GasPrices, address_at, bytes_at, fixed, floats, int_at, ints_opt, texts_opt, unsigned, wide_at,
};
use super::worth::Coins;
use super::{Address, BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows, Memory};

/// The columns of `liquidation_events`, all of them.
const EVENT_COLUMNS: [&str; 24] = [
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
    "event",
    "market",
    "market_id",
    "liquidator",
    "borrower",
    "debt_token",
    "collateral_token",
    "debt_repaid",
    "collateral_seized",
    "receive_wrapped",
    "bad_debt",
    "auction_id",
    "tx_from",
    "tx_to",
];

/// The relation.
pub(super) const RELATION: BlockRelation = BlockRelation {
    name: "liquidations",
    about: "One row a liquidation event, with what the liquidator received, the bonus and the profit where \
            prices are known, the oracle update before it, and for steps of a longer liquidation (auctions of \
            Maker, sales of Compound III) the event with which it began.",
    inputs: &[
        InputTable { name: "liquidation_events", columns: &EVENT_COLUMNS, optional: false },
        InputTable {
            name: "token_transfers",
            columns: &["transaction_index", "log_index", "token_address", "from_address", "to_address", "amount"],
            optional: false,
        },
        InputTable {
            name: "transactions",
            columns: &["transaction_index", "gas_used", "effective_gas_price", "gas_price", "l1_fee"],
            optional: false,
        },
        InputTable { name: "token_prices", columns: &["token_address", "usd_per_raw_unit"], optional: true },
        InputTable {
            name: "oracle_updates",
            columns: &["transaction_index", "log_index", "transaction_hash"],
            optional: true,
        },
    ],
    schema,
    state: Some((
        "auction, or market and asset",
        "auctions begun in the last `mev.auction_blocks` blocks and absorptions of the last `mev.compound_v3_blocks`",
    )),
    kernel: |settings| Box::new(Liquidations::new(settings)),
};

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let events = evm::schema("liquidation_events").expect("the engine defines liquidation_events");
        let mut fields = events.fields().to_vec();
        fields.extend(
            [
                columns::address_opt("received_token"),
                uint256_field("received_amount", true),
                uint256_field("gas_cost_wei", true),
                columns::float_opt("bonus_bps"),
                columns::float_opt("profit_usd"),
                columns::hash_opt("trigger_tx"),
                columns::text_opt("linked_event"),
                columns::int_opt("linked_block_number"),
                columns::hash_opt("linked_tx_hash"),
                columns::int_opt("linked_log_index"),
                columns::address_opt("linked_borrower"),
                columns::hash_opt("linked_market_id"),
            ]
            .map(|field: Field| Arc::new(field)),
        );
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}

/// The kernel of `liquidations`.
pub struct Liquidations {
    coins: Coins,
    links: Links,
}

/// The events of a block by column.
struct Events<'a> {
    transaction_index: &'a [i64],
    log_index: &'a [i64],
    event: &'a StringArray,
    liquidator: &'a FixedSizeBinaryArray,
    debt: [&'a FixedSizeBinaryArray; 2],
    collateral: [&'a FixedSizeBinaryArray; 2],
}

impl<'a> Events<'a> {
    fn of(batch: &'a RecordBatch) -> Events<'a> {
        let int = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
        let fixed = |column: usize| batch.column(column).as_fixed_size_binary();
        Events {
            transaction_index: int(5),
            log_index: int(6),
            event: batch.column(10).as_string(),
            liquidator: fixed(13),
            debt: [fixed(15), fixed(17)],
            collateral: [fixed(16), fixed(18)],
        }
    }
}

impl Events<'_> {
    /// A purchase from an auction of Maker.
    fn taken(&self, row: usize) -> Option<Taken> {
        let is_take = self.event.value(row) == "take";
        let paid = wide_at(self.debt[1], row).filter(|_| is_take)?;
        Some(Taken { paid_usd: f64::from(paid) / RADS, bought: wide_at(self.collateral[1], row)? })
    }
}

/// Units in a DAI, as Maker counts what is owed.
const RADS: f64 = 1e45;

/// What was paid in an auction and what for.
#[derive(Clone, Copy)]
struct Taken {
    paid_usd: f64,
    /// In units of 10^-18 of a token, whatever its decimals.
    bought: U256,
}

/// A token and how much of it.
type Sum = (Address, U256);

fn sum_at([token, amount]: [&FixedSizeBinaryArray; 2], row: usize) -> Option<Sum> {
    Some((address_at(token, row)?, wide_at(amount, row)?))
}

/// What the tokens of a block are worth.
struct Prices<'a> {
    coins: &'a Coins,
    block: BTreeMap<Address, f64>,
    time_ms: i64,
}

impl Prices<'_> {
    fn usd(&self, (token, amount): Sum) -> Option<f64> {
        let traded = || self.block.get(&token).map(|usd| f64::from(amount) * usd);
        let stable = self.coins.stable_usd(&token, amount);
        stable.or_else(traded).or_else(|| self.coins.table_usd(&token, amount, self.time_ms))
    }

    fn gas_usd(&self, wei: U256) -> Option<f64> {
        self.coins.wrapped_native().find_map(|token| self.usd((*token, wei)))
    }
}

/// The gas of each transaction, wei; those without a receipt are left out.
fn gas_costs(transactions: &RecordBatch) -> BTreeMap<i64, U256> {
    let index = transactions.column(0).as_primitive::<Int64Type>();
    let used = transactions.column(1).as_primitive::<Int64Type>();
    let price = GasPrices::of(transactions, [2, 3]);
    let l1_fee = transactions.column(4).as_fixed_size_binary();
    let cost = |row: usize| {
        let used = U256::try_from(int_at(used, row)?).ok()?;
        let fee = wide_at(l1_fee, row).unwrap_or_default();
        Some((index.value(row), used.saturating_mul(price.at(row)?).saturating_add(fee)))
    };
    (0..transactions.num_rows()).filter_map(cost).collect()
}

fn block_prices(prices: &RecordBatch) -> BTreeMap<Address, f64> {
    let tokens = prices.column(0).as_fixed_size_binary();
    let usd = prices.column(1).as_primitive::<Float64Type>();
    (0..prices.num_rows()).filter_map(|row| Some((address_at(tokens, row)?, usd.value(row)))).collect()
}

/// The columns that the kernel adds, a row at a time.
#[derive(Default)]
struct Found {
    received: Option<Sum>,
    gas_wei: Option<U256>,
    bonus_bps: Option<f64>,
    profit_usd: Option<f64>,
    trigger: Option<[u8; 32]>,
}

impl Liquidations {
    /// A kernel for what these settings know.
    pub fn new(settings: &Arc<MevSettings>) -> Liquidations {
        Liquidations { coins: Coins::of(settings), links: Links::new(&settings.look_back) }
    }

    fn find(&self, rows: &BlockRows<'_>, events: &Events<'_>) -> Vec<Found> {
        let [_, transfers, transactions, prices, oracle] = rows.tables else {
            panic!("the kernel gets the tables that the relation declares")
        };
        let transfers = Transfers::of(transfers);
        let gas = gas_costs(transactions);
        let prices = Prices { coins: &self.coins, block: block_prices(prices), time_ms: rows.timestamp_ms };
        let one = |row: usize| {
            let transaction = events.transaction_index[row];
            let place = (transaction, events.log_index[row]);
            let (debt, collateral) = (sum_at(events.debt, row), sum_at(events.collateral, row));
            let liquidator = address_at(events.liquidator, row);
            let received = collateral.zip(liquidator).and_then(|(sum, to)| transfers.received(place, sum, &to));
            let taken = events.taken(row);
            let received = received.or_else(|| transfers.bought(place, taken?.bought));
            let in_transaction = events.transaction_index.iter().filter(|index| **index == transaction).count();
            let gas_wei = gas.get(&transaction).copied();
            let gas_usd = gas_wei.and_then(|wei| prices.gas_usd(wei)).map(|usd| usd / in_transaction as f64);
            let debt_usd = debt.and_then(|sum| prices.usd(sum)).or_else(|| taken.map(|taken| taken.paid_usd));
            let seized_usd = collateral.and_then(|sum| prices.usd(sum));
            let received_usd = received.and_then(|sum| prices.usd(sum));
            Found {
                received,
                gas_wei,
                bonus_bps: bonus_bps(seized_usd.or(received_usd), debt_usd),
                profit_usd: profit_usd(received_usd.or(seized_usd), debt_usd, gas_usd),
                trigger: trigger(oracle, place),
            }
        };
        (0..events.log_index.len()).map(one).collect()
    }
}

fn bonus_bps(collateral_usd: Option<f64>, debt_usd: Option<f64>) -> Option<f64> {
    let debt_usd = debt_usd.filter(|usd| *usd > 0.0)?;
    Some(10_000.0 * (collateral_usd? / debt_usd - 1.0))
}

fn profit_usd(received_usd: Option<f64>, debt_usd: Option<f64>, gas_usd: Option<f64>) -> Option<f64> {
    Some(received_usd? - debt_usd? - gas_usd?)
}

/// The transaction of the last update before a place; updates are in the order of the block.
fn trigger(oracle: &RecordBatch, place: (i64, i64)) -> Option<[u8; 32]> {
    let index = |column: usize| oracle.column(column).as_primitive::<Int64Type>().values();
    let (transactions, logs) = (index(0), index(1));
    let last = (0..oracle.num_rows()).rfind(|row| (transactions[*row], logs[*row]) < place)?;
    let hash = bytes_at(oracle.column(2).as_fixed_size_binary(), last)?;
    Some(hash.try_into().expect("a hash has 32 bytes"))
}

impl BlockKernel for Liquidations {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let batch = &rows.tables[0];
        if batch.num_rows() == 0 {
            return RecordBatch::new_empty(schema());
        }
        let steps = Steps::of(batch);
        self.links.keep(rows.number, &steps);
        let found = self.find(&rows, &Events::of(batch));
        let links: Vec<Option<Link<'_>>> =
            (0..found.len()).map(|row| self.links.link(rows.number, &steps, row)).collect();
        let mut columns = batch.columns().to_vec();
        columns.push(fixed(20, found.iter().map(|found| found.received.map(|(token, _)| token))));
        columns.push(unsigned(found.iter().map(|found| found.received.map(|(_, amount)| amount))));
        columns.push(unsigned(found.iter().map(|found| found.gas_wei)));
        columns.push(floats(found.iter().map(|found| found.bonus_bps)));
        columns.push(floats(found.iter().map(|found| found.profit_usd)));
        columns.push(fixed(32, found.iter().map(|found| found.trigger)));
        columns.extend(linked(&links));
        RecordBatch::try_new(schema(), columns).expect("the columns are those of liquidation_events and twelve more")
    }

    fn memory(&self) -> Memory {
        Memory::Chain
    }

    fn forget(&mut self, number: u64) {
        self.links.forget(number);
    }

    fn finalize(&mut self, number: u64) {
        self.links.finalize(number);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        self.links.save()
    }

    fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        self.links.load(state)
    }

    fn size(&self) -> StateSize {
        self.links.size()
    }
}

/// The columns that tell the links.
fn linked(links: &[Option<Link<'_>>]) -> [ArrayRef; 6] {
    let names = links.iter().map(|link| link.map(|(event, _)| event));
    let to = || links.iter().map(|link| link.map(|(_, beginning)| beginning));
    let height = |beginning: &Beginning| i64::try_from(beginning.block).expect("heights fit 63 bits");
    [
        texts_opt(names),
        ints_opt(to().map(|beginning| beginning.map(height))),
        fixed(32, to().map(|beginning| Some(beginning?.transaction_hash))),
        ints_opt(to().map(|beginning| Some(beginning?.log_index))),
        fixed(20, to().map(|beginning| beginning?.borrower)),
        fixed(32, to().map(|beginning| beginning?.market_id)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_columns_of_the_events_are_taken() {
        let events = evm::schema("liquidation_events").expect("the engine defines liquidation_events");
        let names: Vec<&str> = events.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, EVENT_COLUMNS);
        let places = [13, 15, 16, 17, 18].map(|place| EVENT_COLUMNS[place]);
        assert_eq!(places, ["liquidator", "debt_token", "collateral_token", "debt_repaid", "collateral_seized"]);
        let places = [7, 10, 11, 12, 14, 21].map(|place| EVENT_COLUMNS[place]);
        assert_eq!(places, ["transaction_hash", "event", "market", "market_id", "borrower", "auction_id"]);
    }
}
