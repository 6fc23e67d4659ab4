//! `token_prices`: what the trades of a block say a token is worth.
//!
//! Definition: one row a token that was traded in the block against something of known worth, in the
//! order of the addresses. A trade of `dex_trades` with a value of at least [`LEAST_USD`] rests on one of
//! its sides (`usd_basis`); it prices the other. The price is the value of those trades over their
//! amounts, `source` the basis of most of that value. Trades of verified pools count alone where there
//! are any: others can be made by one party with itself at any price.
//!
//! A token that trades rest on and that no trade prices has a row too, with the worth that was taken as
//! known: the native coin in a block without a trade of it against dollars (`source` is `native`), coins
//! worth one dollar (`stable`), tokens of the user's table (`table`).
//!
//! No state: the rows of a block depend on its trades alone.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alloy_primitives::{U256, U512};
use arrow::array::cast::AsArray;
use arrow::array::types::{Float64Type, Int64Type};
use arrow::array::{Array, FixedSizeBinaryArray, Float64Array, StringArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::columns::{self, address_at, common_columns, fixed, floats, ints, texts, wide_at};
use super::worth::{Basis, Coins};
use super::{Address, BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows};

/// Smaller trades price nothing: one unit of a token for one of another is any price. Dollars.
pub const LEAST_USD: f64 = 1.0;

/// The relation.
pub(super) const RELATION: BlockRelation = BlockRelation {
    name: "token_prices",
    about: "One row a block and token that was traded against something of known worth: the block's \
            volume-weighted price of one smallest unit, in dollars.",
    inputs: &[InputTable {
        name: "dex_trades",
        columns: &[
            "chain",
            "chain_id",
            "token_sold",
            "token_bought",
            "amount_sold",
            "amount_bought",
            "trust",
            "amount_usd",
            "usd_basis",
        ],
        optional: false,
    }],
    schema,
    state: None,
    kernel: |settings| Box::new(TokenPrices::new(settings)),
};

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        columns::table(vec![
            columns::address("token_address"),
            Field::new("usd_per_raw_unit", DataType::Float64, false),
            Field::new("volume_usd", DataType::Float64, false),
            columns::int("trades"),
            columns::text("source"),
        ])
    });
    SCHEMA.clone()
}

/// The kernel of `token_prices`.
pub struct TokenPrices {
    coins: Coins,
}

/// The trades that count alike.
#[derive(Clone, Copy, Default)]
struct Tally {
    amount: U512,
    usd: f64,
    usd_by_basis: [f64; 3],
    trades: i64,
}

/// The trades of one token; the first that has any is the one that counts.
#[derive(Clone, Copy, Default)]
struct Tallies {
    /// Of verified pools, of others.
    priced: [Tally; 2],
    /// The same, for trades whose value rests on this very token.
    echoes: [Tally; 2],
}

const BASES: [Basis; 3] = [Basis::Stable, Basis::Native, Basis::Table];

impl Tally {
    fn add(&mut self, amount: U256, usd: f64, basis: Basis) {
        self.amount += U512::from(amount);
        self.usd += usd;
        self.usd_by_basis[basis as usize] += usd;
        self.trades += 1;
    }

    /// The basis of most of the value, the surer of two equals.
    fn source(&self) -> Basis {
        let mut most = Basis::Stable;
        for basis in BASES {
            if self.usd_by_basis[basis as usize] > self.usd_by_basis[most as usize] {
                most = basis;
            }
        }
        most
    }
}

impl Tallies {
    fn counted(&self) -> Option<&Tally> {
        self.priced.iter().chain(&self.echoes).find(|tally| tally.trades > 0)
    }
}

/// The trades of a block by column.
struct Trades<'a> {
    tokens: [&'a FixedSizeBinaryArray; 2],
    amounts: [&'a FixedSizeBinaryArray; 2],
    trust: &'a StringArray,
    usd: &'a Float64Array,
    basis: &'a StringArray,
}

impl<'a> Trades<'a> {
    fn of(batch: &'a RecordBatch) -> Trades<'a> {
        let fixed = |column: usize| batch.column(column).as_fixed_size_binary();
        Trades {
            tokens: [fixed(2), fixed(3)],
            amounts: [fixed(4), fixed(5)],
            trust: batch.column(6).as_string(),
            usd: batch.column(7).as_primitive::<Float64Type>(),
            basis: batch.column(8).as_string(),
        }
    }

    fn value(&self, row: usize) -> Option<(f64, Basis)> {
        let usd = self.usd.is_valid(row).then(|| self.usd.value(row)).filter(|usd| *usd >= LEAST_USD)?;
        let basis = self.basis.is_valid(row).then(|| self.basis.value(row))?;
        Some((usd, Basis::of(basis)?))
    }

    /// A side whose token is known and whose amount is not 0.
    fn side(&self, side: usize, row: usize) -> Option<(Address, U256)> {
        let amount = wide_at(self.amounts[side], row).filter(|amount| !amount.is_zero())?;
        Some((address_at(self.tokens[side], row)?, amount))
    }
}

impl TokenPrices {
    /// A kernel for what these settings know.
    pub fn new(settings: &Arc<MevSettings>) -> TokenPrices {
        TokenPrices { coins: Coins::of(settings) }
    }

    fn tally(&self, trades: &Trades<'_>, time_ms: i64) -> BTreeMap<Address, Tallies> {
        let mut tallies: BTreeMap<Address, Tallies> = BTreeMap::new();
        for row in 0..trades.usd.len() {
            let Some((usd, basis)) = trades.value(row) else { continue };
            let sides = [trades.side(0, row), trades.side(1, row)];
            let bears = |side: &Option<(Address, U256)>| {
                side.as_ref().is_some_and(|(token, _)| self.coins.bears(basis, token, time_ms))
            };
            let Some(bearer) = sides.iter().position(bears) else { continue };
            let class = usize::from(trades.trust.value(row) != "verified");
            if let Some((token, amount)) = sides[1 - bearer].filter(|(token, _)| !is_side(&sides[bearer], token)) {
                tallies.entry(token).or_default().priced[class].add(amount, usd, basis);
            }
            if let Some((token, amount)) = sides[bearer] {
                tallies.entry(token).or_default().echoes[class].add(amount, usd, basis);
            }
        }
        tallies
    }
}

fn is_side(side: &Option<(Address, U256)>, token: &Address) -> bool {
    side.as_ref().is_some_and(|(other, _)| other == token)
}

impl BlockKernel for TokenPrices {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let batch = &rows.tables[0];
        if batch.num_rows() == 0 {
            return RecordBatch::new_empty(schema());
        }
        let tallies = self.tally(&Trades::of(batch), rows.timestamp_ms);
        let priced: Vec<(&Address, &Tally)> =
            tallies.iter().filter_map(|(token, tallies)| Some((token, tallies.counted()?))).collect();
        let chain = batch.column(0).as_string::<i32>().value(0);
        let chain_id = batch.column(1).as_primitive::<Int64Type>().value(0);
        let mut columns = common_columns(chain, chain_id, &rows, priced.len());
        columns.push(fixed(20, priced.iter().map(|(token, _)| Some(token))));
        columns.push(floats(priced.iter().map(|(_, tally)| Some(tally.usd / f64::from(tally.amount)))));
        columns.push(floats(priced.iter().map(|(_, tally)| Some(tally.usd))));
        columns.push(ints(priced.iter().map(|(_, tally)| tally.trades)));
        columns.push(texts(priced.iter().map(|(_, tally)| tally.source().name())));
        RecordBatch::try_new(schema(), columns).expect("the columns are those of the schema")
    }
}
