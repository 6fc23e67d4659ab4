//! `arbitrages`: what `arbitrage_rule` finds, with its route, profit, cost and trigger.
//!
//! A function of one block and of `previous_trades`, so a reorg takes its rows back with the block. The front and
//! back transactions of a sandwich are not arbitrages, whatever else they trade: the sandwich comes first. An
//! arbitrage in a transaction that liquidates, or that adds or takes just-in-time liquidity, is a row that says
//! so in `superseded_by` (`precedence.rs`).
//!
//! `trigger_distance` counts transactions of one block; it is NULL if the trigger is in the block before, and
//! `trigger_same_block` is false.

use std::sync::Arc;

use alloy_primitives::{I256, U256, hex, keccak256};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{ADDRESS_TYPE, int256_field, uint256_field};

use super::arbitrage_rule::{Arbitrage, Evidence, Hop, TOKEN_TRANSFERS, Transfers, find};
use super::arbitrage_trigger::{Actor, Candidates, Trigger, trigger};
use super::columns::{
    TRADE_COLUMNS, Trades, address, address_opt, binary_lists, bytes_at, common, evidence, fixed, fixed_lists,
    float_opt, floats, hash, hash_opt, int, int_opt, ints, ints_opt, list, signed, table, text, text_lists, text_opt,
    texts, texts_opt, unsigned,
};
use super::costs::{BLOCKS, Costs, Paid, TOKEN_PRICES, TRACES, TRANSACTIONS};
use super::precedence::{LIQUIDATIONS, Liquidating, Precedence, attacks};
use super::previous_trades::PREVIOUS_TRADES;
use super::sandwich_rule::RULE_VERSION;
use super::{Address, BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows};

/// The relation `arbitrages`.
pub const ARBITRAGES: BlockRelation = BlockRelation {
    name: "arbitrages",
    about: "One row for each transaction that trades in a round over several pools and keeps a profit.",
    inputs: &[
        InputTable { name: "dex_trades", columns: TRADE_COLUMNS, optional: false },
        TRANSACTIONS,
        TRACES,
        BLOCKS,
        TOKEN_PRICES,
        TOKEN_TRANSFERS,
        InputTable { name: "aggregator_trades", columns: &["transaction_index"], optional: true },
        InputTable { name: "flash_loans", columns: &["transaction_index", "lender"], optional: true },
        PREVIOUS_TRADES,
        LIQUIDATIONS,
        InputTable { name: "jit_liquidity", columns: &["mint_tx", "burn_tx"], optional: true },
    ],
    schema,
    state: None,
    kernel: |settings| {
        Box::new(ArbitrageKernel { settings: settings.clone(), empty: RecordBatch::new_empty(schema()) })
    },
};

fn schema() -> SchemaRef {
    table(vec![
        hash("arb_id"),
        int("transaction_index"),
        hash("transaction_hash"),
        text("kind"),
        address("account"),
        address_opt("contract"),
        list("pools", DataType::Binary),
        list("route_tokens", ADDRESS_TYPE),
        int("swap_count"),
        address("profit_token"),
        uint256_field("start_amount", false),
        uint256_field("end_amount", false),
        int256_field("profit", false),
        list("profit_vector", DataType::Utf8),
        uint256_field("gas_cost_wei", true),
        uint256_field("tip_wei", true),
        int256_field("net_profit", true),
        float_opt("profit_usd"),
        Field::new("flash_loan", DataType::Boolean, false),
        hash_opt("trigger_tx"),
        int_opt("trigger_distance"),
        Field::new("trigger_same_block", DataType::Boolean, true),
        text_opt("superseded_by"),
        text("confidence"),
        int("rule_version"),
        list("evidence", DataType::Utf8),
    ])
}

struct ArbitrageKernel {
    settings: Arc<MevSettings>,
    /// The answer for a block without any: made once, since most blocks have none.
    empty: RecordBatch,
}

/// An arbitrage with what is computed from more than its own trades.
struct Finding<'a> {
    arbitrage: Arbitrage<'a>,
    /// Row of the first trade.
    first: usize,
    /// Hops in the order of the route.
    route: Vec<Hop<'a>>,
    profit_token: &'a [u8],
    profit: I256,
    paid: Paid,
    net: Option<I256>,
    usd: Option<f64>,
    flash_loan: bool,
    /// The trade it answers.
    trigger: Option<Trigger<'a>>,
    superseded_by: Option<&'static str>,
}

/// What else a block tells of its arbitrages.
struct Around<'a> {
    /// Trades of the block before.
    previous: Candidates<'a>,
    liquidations: Liquidating,
    /// Hashes of transactions that add or take just-in-time liquidity, sorted.
    liquidity: Vec<&'a [u8]>,
}

impl Around<'_> {
    /// The kind of MEV that comes before an arbitrage, if the transaction is also of that.
    fn superseding(&self, transaction: i64, hash: &[u8]) -> Option<&'static str> {
        let is_jit = || self.liquidity.binary_search(&hash).is_ok();
        self.liquidations.superseding(&[transaction]).or_else(|| is_jit().then(|| Precedence::Jit.name()))
    }
}

impl BlockKernel for ArbitrageKernel {
    fn schema(&self) -> SchemaRef {
        self.empty.schema()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let trades = Trades::of(&rows.tables[0]);
        if trades.len() < 2 {
            return self.empty.clone();
        }
        let costs = Costs::of(&rows.tables[1..5], &self.settings);
        let evidence = Evidence {
            trades: &trades,
            transfers: Transfers::of(&rows.tables[5]),
            costs: &costs,
            fills: sorted(rows.tables[6].column(0).as_primitive::<Int64Type>().values().to_vec()),
            lenders: lenders(&rows.tables[7]),
            attacks: attacks(&trades, &self.settings),
            settings: &self.settings,
        };
        let arbitrages = find(&evidence);
        if arbitrages.is_empty() {
            return self.empty.clone();
        }
        let around = Around {
            previous: Candidates::of_previous(&rows.tables[8]),
            liquidations: Liquidating::of(&rows.tables[9]),
            liquidity: hashes(&rows.tables[10]),
        };
        let finding = |arbitrage| self.finding(&evidence, &around, arbitrage);
        let findings: Vec<Finding<'_>> = arbitrages.into_iter().map(finding).collect();
        let mut columns = common(&trades, &rows, findings.len());
        columns.extend(self.who(&trades, &rows.hash, &findings));
        columns.extend(worth(&trades, &findings));
        RecordBatch::try_new(self.empty.schema(), columns).expect("columns are those of the schema")
    }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values
}

fn lenders(batch: &RecordBatch) -> Vec<(i64, &[u8])> {
    let (transaction, lender) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_fixed_size_binary());
    sorted((0..batch.num_rows()).map(|row| (transaction.value(row), lender.value(row))).collect())
}

/// Hashes of all columns.
fn hashes(batch: &RecordBatch) -> Vec<&[u8]> {
    let columns = batch.columns().iter().map(|column| column.as_fixed_size_binary());
    sorted(columns.flat_map(|column| (0..column.len()).map(|row| column.value(row))).collect())
}

impl ArbitrageKernel {
    fn finding<'a>(&self, evidence: &Evidence<'_, 'a>, around: &Around<'a>, arbitrage: Arbitrage<'a>) -> Finding<'a> {
        let trades = evidence.trades;
        let first = arbitrage.hops[0].row;
        let transaction = trades.transaction_index[first];
        let (profit_token, profit) = self.main_profit(&arbitrage);
        let paid = evidence.costs.of_all(&[transaction]);
        let loans = evidence.lenders.partition_point(|(of, _)| *of < transaction);
        let usd = |(token, net): &(&[u8], I256)| evidence.costs.value(token, *net);
        let contract = bytes_at(trades.tx_to, first).filter(|to| self.own_contract(to));
        let actor = Actor { sender: trades.tx_from.value(first), contract };
        let gained = arbitrage.profit.iter().map(usd).try_fold(0.0, |sum, usd| Some(sum + usd?));
        Finding {
            first,
            route: route(&arbitrage.hops, profit_token),
            profit_token,
            profit,
            net: if self.is_native(profit_token) { paid.net(profit) } else { None },
            usd: evidence.costs.after_costs(gained, &paid),
            paid,
            flash_loan: evidence.lenders.get(loans).is_some_and(|(of, _)| *of == transaction),
            trigger: trigger(trades, &around.previous, &arbitrage.hops, &actor, &self.settings),
            superseded_by: around.superseding(transaction, trades.transaction_hash.value(first)),
            arbitrage,
        }
    }

    fn is_native(&self, token: &[u8]) -> bool {
        self.settings.wrapped_native.iter().any(|native| native == token)
    }

    /// The token that the profit is told in: the wrapped native coin, a stablecoin, or what its first trade sold.
    fn main_profit<'a>(&self, arbitrage: &Arbitrage<'a>) -> (&'a [u8], I256) {
        let gains = || arbitrage.profit.iter().filter(|(_, net)| net.is_positive()).copied();
        let is_stable = |token: &[u8]| {
            Address::try_from(token).is_ok_and(|address| self.settings.stablecoins.contains_key(&address))
        };
        let sold_first = |token: &[u8]| arbitrage.hops.iter().any(|hop| hop.sold == token);
        gains()
            .find(|(token, _)| self.is_native(token))
            .or_else(|| gains().find(|(token, _)| is_stable(token)))
            .or_else(|| gains().find(|(token, _)| sold_first(token)))
            .or_else(|| gains().next())
            .or_else(|| arbitrage.profit.first().copied())
            .unwrap_or((arbitrage.hops[0].sold, I256::ZERO))
    }

    fn own_contract(&self, address: &[u8]) -> bool {
        Address::try_from(address).is_ok_and(|address| !self.settings.is_public(&address))
    }

    fn who(&self, trades: &Trades<'_>, block_hash: &[u8; 32], findings: &[Finding<'_>]) -> Vec<ArrayRef> {
        let all = || findings.iter();
        let contract = |finding: &Finding<'_>| bytes_at(trades.tx_to, finding.first).filter(|to| self.own_contract(to));
        vec![
            fixed(32, all().map(|finding| Some(id(trades, block_hash, finding.first)))),
            ints(all().map(|finding| trades.transaction_index[finding.first])),
            fixed(32, all().map(|finding| Some(trades.transaction_hash.value(finding.first)))),
            texts(all().map(|finding| finding.arbitrage.kind.name())),
            fixed(20, all().map(|finding| Some(trades.tx_from.value(finding.first)))),
            fixed(20, all().map(contract)),
            binary_lists(all().map(|finding| finding.route.iter().map(|hop| trades.pool.value(hop.row)).collect())),
            fixed_lists(20, all().map(tokens)),
            ints(all().map(|finding| i64::try_from(finding.route.len()).expect("a block's trades fit"))),
        ]
    }
}

/// What the route sells first, then what each hop buys.
fn tokens<'a>(finding: &Finding<'a>) -> Vec<&'a [u8]> {
    let first = finding.route.first().map(|hop| hop.sold);
    first.into_iter().chain(finding.route.iter().map(|hop| hop.bought)).collect()
}

/// Identifies an arbitrage by its chain, block and transaction.
fn id(trades: &Trades<'_>, block_hash: &[u8; 32], row: usize) -> [u8; 32] {
    let mut bytes = trades.chain_id.value(row).to_be_bytes().to_vec();
    bytes.extend(block_hash);
    bytes.extend(trades.transaction_hash.value(row));
    keccak256(bytes).0
}

/// The hops one after the other from a token on; those that do not join come last, in the order of the block.
/// Pools that pay before they are paid write their events in the reverse order.
fn route<'a>(hops: &[Hop<'a>], from: &'a [u8]) -> Vec<Hop<'a>> {
    let (mut left, mut route) = (hops.to_vec(), Vec::with_capacity(hops.len()));
    let mut at = from;
    while let Some(next) = left.iter().position(|hop| hop.sold == at) {
        let hop = left.remove(next);
        at = hop.bought;
        route.push(hop);
    }
    route.extend(left);
    route
}

fn worth(trades: &Trades<'_>, findings: &[Finding<'_>]) -> Vec<ArrayRef> {
    let all = || findings.iter();
    let start = |finding: &Finding<'_>| sum(finding, |hop| (hop.sold == finding.profit_token).then_some(hop.amount_in));
    let end =
        |finding: &Finding<'_>| sum(finding, |hop| (hop.bought == finding.profit_token).then_some(hop.amount_out));
    let vector = |finding: &Finding<'_>| {
        let shown = |(token, net): &(&[u8], I256)| format!("{}:{net}", hex::encode_prefixed(token));
        finding.arbitrage.profit.iter().map(shown).collect()
    };
    let shown = |hop: &Hop<'_>| evidence(trades.transaction_hash.value(hop.row), trades.log_index[hop.row]);
    vec![
        fixed(20, all().map(|finding| Some(finding.profit_token))),
        unsigned(all().map(|finding| Some(start(finding)))),
        unsigned(all().map(|finding| Some(end(finding)))),
        signed(all().map(|finding| Some(finding.profit))),
        text_lists(all().map(vector)),
        unsigned(all().map(|finding| finding.paid.gas)),
        unsigned(all().map(|finding| finding.paid.tip)),
        signed(all().map(|finding| finding.net)),
        floats(all().map(|finding| finding.usd)),
        Arc::new(all().map(|finding| Some(finding.flash_loan)).collect::<BooleanArray>()),
        fixed(32, all().map(|finding| finding.trigger.as_ref().map(|trigger| trigger.transaction_hash))),
        ints_opt(all().map(|finding| finding.trigger.as_ref()?.distance)),
        Arc::new(all().map(|finding| Some(finding.trigger.as_ref()?.distance.is_some())).collect::<BooleanArray>()),
        texts_opt(all().map(|finding| finding.superseded_by)),
        texts(all().map(|finding| finding.arbitrage.confidence.name())),
        ints(all().map(|_| RULE_VERSION)),
        text_lists(all().map(|finding| finding.arbitrage.hops.iter().map(shown).collect())),
    ]
}

fn sum<'a>(finding: &Finding<'a>, amount: impl Fn(&Hop<'a>) -> Option<U256>) -> U256 {
    finding.route.iter().filter_map(amount).fold(U256::ZERO, U256::saturating_add)
}
