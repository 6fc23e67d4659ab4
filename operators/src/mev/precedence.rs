//! Which kind of MEV comes first where several rules fit, and `mev_transactions`: what each transaction is.
//!
//! A transaction may fit several rules: an arbitrage that liquidates on its way, a sandwich whose front adds
//! liquidity. Counting rows of every relation would count it twice. So `sandwiches`, `jit_liquidity` and
//! `arbitrages` say in `superseded_by` which kind takes a row's transactions away from it: rows of different
//! relations `WHERE superseded_by IS NULL` share no transaction of their block. And in `mev_transactions` each transaction that any rule
//! named as an actor's has one row with the kind that comes first, in the order below, and all that fit.
//!
//! The order, that of brontes: liquidation, sandwich with just-in-time liquidity, sandwich, liquidity, arbitrage.
//!
//! A sandwich and a position of just-in-time liquidity that share a transaction are one thing, a
//! `jit_sandwich`: so are all transactions of both. Victims have no rows. The front and back of a sandwich are
//! no arbitrages even where they fit that rule (`arbitrages.rs`). A position that grew in an earlier block has
//! no row for the transaction in which it grew: when that block was told, nobody could know.
//!
//! A function of one block and of relations that go with the block; no state.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::columns::{Trades, common_columns, fixed, hash, hash_opt, int, ints, list, table, text, text_lists, texts};
use super::sandwich_rule::detect;
use super::{BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows};

/// Kinds of MEV, those that come first before the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precedence {
    /// An event of a liquidation.
    Liquidation,
    /// A sandwich whose actor also adds liquidity for its victims.
    JitSandwich,
    /// The front or the back of a sandwich.
    Sandwich,
    /// Liquidity that comes and goes around trades.
    Jit,
    /// A round of trades.
    Arbitrage,
}

impl Precedence {
    /// The value of the columns `kind` and `superseded_by`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Precedence::Liquidation => "liquidation",
            Precedence::JitSandwich => "jit_sandwich",
            Precedence::Sandwich => "sandwich",
            Precedence::Jit => "jit",
            Precedence::Arbitrage => "arbitrage",
        }
    }
}

/// `liquidation_events`, as [`Liquidating`] reads it.
pub(crate) const LIQUIDATIONS: InputTable =
    InputTable { name: "liquidation_events", columns: &["transaction_index"], optional: true };

/// The transactions of a block with an event of a liquidation, sorted.
pub(crate) struct Liquidating(Vec<i64>);

impl Liquidating {
    /// Reads a batch of [`LIQUIDATIONS`].
    pub(crate) fn of(batch: &RecordBatch) -> Liquidating {
        let mut transactions = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        transactions.sort_unstable();
        Liquidating(transactions)
    }

    /// The kind that comes before all others, if one of the transactions is of it.
    pub(crate) fn superseding(&self, transactions: &[i64]) -> Option<&'static str> {
        let any = transactions.iter().any(|transaction| self.0.binary_search(transaction).is_ok());
        any.then(|| Precedence::Liquidation.name())
    }
}

/// Transactions that are the front or the back of a sandwich, sorted.
pub(crate) fn attacks(trades: &Trades<'_>, settings: &MevSettings) -> Vec<i64> {
    let sandwiches = detect(trades, settings);
    let legs = sandwiches.iter().flat_map(|sandwich| sandwich.fronts.iter().chain(&sandwich.backs));
    let mut transactions: Vec<i64> = legs.map(|leg| trades.transaction_index[leg.rows[0]]).collect();
    transactions.sort_unstable();
    transactions
}

/// The relation `mev_transactions`.
pub const MEV_TRANSACTIONS: BlockRelation = BlockRelation {
    name: "mev_transactions",
    about: "One row for each transaction of a searcher, with the one kind that comes first (`liquidation`, \
            `jit_sandwich`, `sandwich`, `jit`, `arbitrage`), all `kinds` that fit, and the row of that kind it \
            belongs to: `mev_id` is a `sandwich_id`, `jit_id` or `arb_id`, NULL for liquidations.",
    inputs: &[
        InputTable {
            name: "sandwich_legs",
            columns: &["chain", "chain_id", "transaction_index", "transaction_hash", "sandwich_id", "role"],
            optional: false,
        },
        InputTable {
            name: "arbitrages",
            columns: &["chain", "chain_id", "transaction_index", "transaction_hash", "arb_id"],
            optional: false,
        },
        InputTable {
            name: "jit_liquidity",
            columns: &[
                "chain",
                "chain_id",
                "burn_transaction_index",
                "burn_tx",
                "jit_id",
                "mint_transaction_index",
                "mint_tx",
                "mint_block_number",
            ],
            optional: true,
        },
        InputTable {
            name: "liquidation_events",
            columns: &["chain", "chain_id", "transaction_index", "transaction_hash"],
            optional: true,
        },
    ],
    schema,
    state: None,
    kernel: |_| Box::new(MevTransactions),
};

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        table(vec![
            int("transaction_index"),
            hash("transaction_hash"),
            text("kind"),
            list("kinds", DataType::Utf8),
            hash_opt("mev_id"),
        ])
    });
    SCHEMA.clone()
}

struct MevTransactions;

/// What a transaction is part of: identifiers of rows.
#[derive(Default)]
struct Parts<'a> {
    hash: &'a [u8],
    liquidates: bool,
    sandwiches: Vec<&'a [u8]>,
    positions: Vec<&'a [u8]>,
    arbitrages: Vec<&'a [u8]>,
}

/// The transactions that rules named, by their place in the block.
#[derive(Default)]
struct Named<'a>(BTreeMap<i64, Parts<'a>>);

impl<'a> Named<'a> {
    fn of(rows: &BlockRows<'a>) -> Named<'a> {
        let [legs, arbitrages, positions, liquidations] = rows.tables else {
            panic!("the kernel gets the tables that the relation declares")
        };
        let mut named = Named::default();
        let roles = legs.column(5).as_string::<i32>();
        named.note(legs, [2, 3], |parts, row| {
            if roles.value(row) != "victim" {
                parts.sandwiches.push(legs.column(4).as_fixed_size_binary().value(row));
            }
        });
        named.note(arbitrages, [2, 3], |parts, row| {
            parts.arbitrages.push(arbitrages.column(4).as_fixed_size_binary().value(row));
        });
        let position = |row: usize| positions.column(4).as_fixed_size_binary().value(row);
        let minted_in = positions.column(7).as_primitive::<Int64Type>();
        named.note(positions, [2, 3], |parts, row| parts.positions.push(position(row)));
        named.note(positions, [5, 6], |parts, row| {
            if u64::try_from(minted_in.value(row)) == Ok(rows.number) {
                parts.positions.push(position(row));
            }
        });
        named.note(liquidations, [2, 3], |parts, _| parts.liquidates = true);
        // Victims, and mints of earlier blocks.
        named.0.retain(|_, parts| !parts.is_nothing());
        named
    }

    /// Notes the transactions whose index and hash are in two columns of a table.
    fn note(&mut self, table: &'a RecordBatch, place: [usize; 2], mut add: impl FnMut(&mut Parts<'a>, usize)) {
        let [index, hash] = place;
        let (index, hash) =
            (table.column(index).as_primitive::<Int64Type>(), table.column(hash).as_fixed_size_binary());
        for row in 0..table.num_rows() {
            let parts = self.0.entry(index.value(row)).or_default();
            parts.hash = hash.value(row);
            add(parts, row);
        }
    }

    /// Sandwiches and positions that share a transaction, sorted.
    fn composed(&self) -> Vec<&'a [u8]> {
        let both = self.0.values().filter(|parts| !parts.sandwiches.is_empty() && !parts.positions.is_empty());
        let mut ids: Vec<&[u8]> =
            both.flat_map(|parts| parts.sandwiches.iter().chain(&parts.positions).copied()).collect();
        ids.sort_unstable();
        ids
    }
}

/// A kind with the row it is told in.
type Fit<'a> = (Precedence, Option<&'a [u8]>);

impl<'a> Parts<'a> {
    fn is_nothing(&self) -> bool {
        !self.liquidates && [&self.sandwiches, &self.positions, &self.arbitrages].into_iter().all(Vec::is_empty)
    }

    /// The kinds that fit, in order, each with the row it is told in.
    fn kinds(&self, composed: &[&[u8]]) -> Vec<Fit<'a>> {
        let both = self.sandwiches.iter().chain(&self.positions).find(|id| composed.binary_search(id).is_ok());
        let told = [
            (Precedence::JitSandwich, both),
            (Precedence::Sandwich, self.sandwiches.first()),
            (Precedence::Jit, self.positions.first()),
            (Precedence::Arbitrage, self.arbitrages.first()),
        ];
        let liquidation = self.liquidates.then_some((Precedence::Liquidation, None));
        let told = told.into_iter().filter_map(|(kind, id)| Some((kind, Some(*id?))));
        liquidation.into_iter().chain(told).collect()
    }
}

impl BlockKernel for MevTransactions {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let Some(first) = rows.tables.iter().find(|table| table.num_rows() > 0) else {
            return RecordBatch::new_empty(schema());
        };
        let named = Named::of(&rows);
        let composed = named.composed();
        let kinds: Vec<Vec<Fit<'_>>> = named.0.values().map(|parts| parts.kinds(&composed)).collect();
        let chain = first.column(0).as_string::<i32>().value(0);
        let chain_id = first.column(1).as_primitive::<Int64Type>().value(0);
        let mut columns = common_columns(chain, chain_id, &rows, kinds.len());
        columns.extend([
            ints(named.0.keys().copied()),
            fixed(32, named.0.values().map(|parts| Some(parts.hash))),
            texts(kinds.iter().map(|kinds| kinds[0].0.name())),
            text_lists(kinds.iter().map(|kinds| kinds.iter().map(|(kind, _)| kind.name().to_owned()).collect())),
            fixed(32, kinds.iter().map(|kinds| kinds[0].1)),
        ]);
        RecordBatch::try_new(schema(), columns).expect("the columns are those of the schema")
    }
}
