//! `sandwiches` and `sandwich_legs`: what [`super::sandwich_rule`] finds, with what it earned and cost.
//!
//! Both are functions of one block, so a reorg takes their rows back with the block. A transaction that is
//! part of several sandwiches (one for each pool) counts its gas in each of them. A sandwich whose front or back
//! also liquidates is a row with `superseded_by` (`precedence.rs`).

use std::sync::Arc;

use alloy_primitives::{I256, U256, keccak256};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{HASH_TYPE, int256_field, uint256_field};

use super::block_facts::BlockFacts;
use super::columns::{
    TRADE_COLUMNS, Trades, address, address_opt, binaries, bytes_at, common, evidence, fixed, fixed_lists, float_opt,
    floats, hash, int, int_lists, ints, list, signed, table, text, text_lists, text_opt, texts, texts_opt, unsigned,
};
use super::costs::{BLOCKS, Costs, Paid, TOKEN_PRICES, TRACES, TRANSACTIONS};
use super::precedence::{LIQUIDATIONS, Liquidating};
use super::sandwich_rule::{Leg, RULE_VERSION, Sandwich, detect, totals};
use super::victim_loss::{victim_loss, victim_loss_bound};
use super::{BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows};

const TRADES: InputTable = InputTable { name: "dex_trades", columns: TRADE_COLUMNS, optional: false };

/// The relation `sandwiches`.
pub const SANDWICHES: BlockRelation = BlockRelation {
    name: "sandwiches",
    about: "One row for each sandwich: an actor trades in front of others in a pool and undoes it behind them.",
    inputs: &[TRADES, TRANSACTIONS, TRACES, BLOCKS, TOKEN_PRICES, LIQUIDATIONS],
    schema: sandwich_schema,
    state: None,
    kernel: |settings| {
        Box::new(SandwichKernel { settings: settings.clone(), empty: RecordBatch::new_empty(sandwich_schema()) })
    },
};

/// The relation `sandwich_legs`.
pub const SANDWICH_LEGS: BlockRelation = BlockRelation {
    name: "sandwich_legs",
    about: "One row for each trade of a sandwich, with its role: front, victim or back.",
    inputs: &[TRADES],
    schema: leg_schema,
    state: None,
    kernel: |settings| Box::new(LegKernel { settings: settings.clone(), empty: RecordBatch::new_empty(leg_schema()) }),
};

fn sandwich_schema() -> SchemaRef {
    let mut columns = vec![
        hash("sandwich_id"),
        Field::new("pool", DataType::Binary, false),
        text("protocol"),
        address("attacker_eoa"),
        address_opt("attacker_contract"),
        address_opt("token_in"),
        address_opt("token_out"),
    ];
    for role in ["front", "victim", "back"] {
        columns.push(list(&format!("{role}_txs"), HASH_TYPE));
        columns.push(list(&format!("{role}_transaction_indexes"), DataType::Int64));
        columns.push(list(&format!("{role}_log_indexes"), DataType::Int64));
    }
    columns.extend([
        int("victim_count"),
        uint256_field("front_in", false),
        uint256_field("front_out", false),
        uint256_field("back_in", false),
        uint256_field("back_out", false),
        uint256_field("victim_in", false),
        float_opt("balance_ratio"),
        text("imbalance"),
        int256_field("gross_profit", false),
        uint256_field("gas_cost_wei", true),
        uint256_field("tip_wei", true),
        int256_field("net_profit", true),
        int256_field("victim_loss", true),
        uint256_field("victim_loss_bound", true),
        float_opt("profit_usd"),
        text("match"),
        text_opt("superseded_by"),
        text("confidence"),
        int("rule_version"),
        list("evidence", DataType::Utf8),
    ]);
    table(columns)
}

fn leg_schema() -> SchemaRef {
    table(vec![
        hash("sandwich_id"),
        text("role"),
        int("transaction_index"),
        int("log_index"),
        hash("transaction_hash"),
        address("tx_from"),
        address_opt("tx_to"),
        Field::new("pool", DataType::Binary, false),
        address_opt("token_sold"),
        address_opt("token_bought"),
        uint256_field("amount_sold", false),
        uint256_field("amount_bought", false),
    ])
}

/// Identifies a sandwich by its chain, block, pool and trades.
fn id(trades: &Trades<'_>, block_hash: &[u8; 32], sandwich: &Sandwich) -> [u8; 32] {
    let first = sandwich.fronts[0].rows[0];
    let mut bytes = trades.chain_id.value(first).to_be_bytes().to_vec();
    bytes.extend(block_hash);
    bytes.extend(trades.pool.value(first));
    for (role, legs) in [(0_u8, &sandwich.fronts), (1, &sandwich.victims), (2, &sandwich.backs)] {
        for row in legs.iter().flat_map(|leg| &leg.rows) {
            bytes.push(role);
            bytes.extend(trades.transaction_index[*row].to_be_bytes());
            bytes.extend(trades.log_index[*row].to_be_bytes());
        }
    }
    keccak256(bytes).0
}

struct SandwichKernel {
    settings: Arc<MevSettings>,
    /// The answer for a block without any: made once, since most blocks have none.
    empty: RecordBatch,
}

/// A sandwich with what is computed from more than its own trades.
struct Finding<'a> {
    sandwich: &'a Sandwich,
    /// Row of the first trade.
    first: usize,
    contract: Option<&'a [u8]>,
    paid: Paid,
    gross: I256,
    net: Option<I256>,
    usd: Option<f64>,
    superseded_by: Option<&'static str>,
}

impl SandwichKernel {
    fn finding<'a>(
        &self,
        trades: &Trades<'a>,
        facts: &BlockFacts<'a>,
        (costs, liquidating): (&Costs<'_>, &Liquidating),
        sandwich: &'a Sandwich,
    ) -> Finding<'a> {
        let first = sandwich.fronts[0].rows[0];
        let attacker = sandwich.fronts.iter().chain(&sandwich.backs);
        let mut transactions: Vec<i64> = attacker.map(|leg| trades.transaction_index[leg.rows[0]]).collect();
        transactions.sort_unstable();
        let paid = costs.of_all(&transactions);
        let gross = sandwich.gross_profit();
        let token = bytes_at(trades.token_sold, first).map(|token| self.settings.wrapped(token));
        let native = token.is_some_and(|token| self.settings.wrapped_native.iter().any(|native| native == token));
        // The contract both sides go through, if it is the attacker's own.
        let own = |leg: &Leg| facts.own_contract(trades, leg.rows[0], &self.settings);
        let contract =
            own(&sandwich.fronts[0]).filter(|front| sandwich.backs.iter().any(|back| own(back) == Some(front)));
        Finding {
            sandwich,
            first,
            contract,
            gross,
            net: if native { paid.net(gross) } else { None },
            usd: costs.after_costs(token.and_then(|token| costs.value(token, gross)), &paid),
            superseded_by: liquidating.superseding(&transactions),
            paid,
        }
    }
}

impl BlockKernel for SandwichKernel {
    fn schema(&self) -> SchemaRef {
        self.empty.schema()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let trades = Trades::of(&rows.tables[0]);
        let sandwiches = detect(&trades, &self.settings);
        if sandwiches.is_empty() {
            return self.empty.clone();
        }
        let facts = BlockFacts::of(&trades, &trades.in_order(), &self.settings);
        let costs = Costs::of(&rows.tables[1..5], &self.settings);
        let liquidating = Liquidating::of(&rows.tables[5]);
        let finding = |sandwich| self.finding(&trades, &facts, (&costs, &liquidating), sandwich);
        let findings: Vec<Finding<'_>> = sandwiches.iter().map(finding).collect();
        let mut columns = common(&trades, &rows, findings.len());
        columns.extend(who(&trades, &rows.hash, &findings));
        columns.extend(places(&trades, &findings));
        columns.extend(amounts(&findings));
        columns.extend(worth(&trades, &findings));
        RecordBatch::try_new(self.empty.schema(), columns).expect("columns are those of the schema")
    }
}

fn who(trades: &Trades<'_>, block_hash: &[u8; 32], findings: &[Finding<'_>]) -> Vec<ArrayRef> {
    let all = || findings.iter();
    vec![
        fixed(32, all().map(|finding| Some(id(trades, block_hash, finding.sandwich)))),
        binaries(all().map(|finding| trades.pool.value(finding.first))),
        texts(all().map(|finding| trades.protocol.value(finding.first))),
        fixed(20, all().map(|finding| Some(trades.tx_from.value(finding.first)))),
        fixed(20, all().map(|finding| finding.contract)),
        fixed(20, all().map(|finding| bytes_at(trades.token_sold, finding.first))),
        fixed(20, all().map(|finding| bytes_at(trades.token_bought, finding.first))),
    ]
}

/// Hashes, transaction indexes and first log indexes of the legs, role by role.
fn places(trades: &Trades<'_>, findings: &[Finding<'_>]) -> Vec<ArrayRef> {
    let roles: [fn(&Sandwich) -> &Vec<Leg>; 3] =
        [|sandwich| &sandwich.fronts, |sandwich| &sandwich.victims, |sandwich| &sandwich.backs];
    let mut columns = Vec::with_capacity(9);
    for role in roles {
        let rows =
            |finding: &Finding<'_>| -> Vec<usize> { role(finding.sandwich).iter().map(|leg| leg.rows[0]).collect() };
        let each = || findings.iter().map(rows);
        let numbers = |of: &[i64]| int_lists(each().map(|rows| rows.into_iter().map(|row| of[row]).collect()));
        columns.push(fixed_lists(
            32,
            each().map(|rows| rows.into_iter().map(|row| trades.transaction_hash.value(row)).collect()),
        ));
        columns.push(numbers(trades.transaction_index));
        columns.push(numbers(trades.log_index));
    }
    columns
}

fn amounts(findings: &[Finding<'_>]) -> Vec<ArrayRef> {
    let all = || findings.iter();
    let amount = |index: usize| unsigned(all().map(|finding| Some(finding.sandwich.amounts()[index])));
    let sides = |finding: &Finding<'_>| {
        let [_, front_out, back_in, _] = finding.sandwich.amounts();
        (front_out, back_in)
    };
    let ratio = |finding: &Finding<'_>| {
        let (front_out, back_in) = sides(finding);
        (front_out != U256::ZERO).then(|| f64::from(back_in) / f64::from(front_out))
    };
    let imbalance = |finding: &Finding<'_>| match sides(finding) {
        (front_out, back_in) if back_in > front_out => "back_heavy",
        (front_out, back_in) if back_in < front_out => "front_heavy",
        _ => "none",
    };
    vec![
        ints(all().map(|finding| i64::try_from(finding.sandwich.victims.len()).expect("a block's trades fit"))),
        amount(0),
        amount(1),
        amount(2),
        amount(3),
        unsigned(all().map(|finding| Some(totals(&finding.sandwich.victims).0))),
        floats(all().map(ratio)),
        texts(all().map(imbalance)),
    ]
}

fn worth(trades: &Trades<'_>, findings: &[Finding<'_>]) -> Vec<ArrayRef> {
    let all = || findings.iter();
    let evidence = |finding: &Finding<'_>| -> Vec<String> {
        let Sandwich { fronts, victims, backs, .. } = finding.sandwich;
        let rows = [fronts, victims, backs].into_iter().flatten().flat_map(|leg| &leg.rows);
        rows.map(|row| evidence(trades.transaction_hash.value(*row), trades.log_index[*row])).collect()
    };
    vec![
        signed(all().map(|finding| Some(finding.gross))),
        unsigned(all().map(|finding| finding.paid.gas)),
        unsigned(all().map(|finding| finding.paid.tip)),
        signed(all().map(|finding| finding.net)),
        signed(all().map(|finding| victim_loss(trades, finding.sandwich))),
        unsigned(all().map(|finding| victim_loss_bound(trades, finding.sandwich))),
        floats(all().map(|finding| finding.usd)),
        texts(all().map(|finding| finding.sandwich.matching.name())),
        texts_opt(all().map(|finding| finding.superseded_by)),
        texts(all().map(|finding| finding.sandwich.confidence().name())),
        ints(all().map(|_| RULE_VERSION)),
        text_lists(all().map(evidence)),
    ]
}

struct LegKernel {
    settings: Arc<MevSettings>,
    /// The answer for a block without any: made once, since most blocks have none.
    empty: RecordBatch,
}

impl BlockKernel for LegKernel {
    fn schema(&self) -> SchemaRef {
        self.empty.schema()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let trades = Trades::of(&rows.tables[0]);
        let sandwiches = detect(&trades, &self.settings);
        if sandwiches.is_empty() {
            return self.empty.clone();
        }
        let mut legs: Vec<([u8; 32], &str, usize)> = Vec::new();
        for sandwich in &sandwiches {
            let id = id(&trades, &rows.hash, sandwich);
            for (role, of) in [("front", &sandwich.fronts), ("victim", &sandwich.victims), ("back", &sandwich.backs)] {
                legs.extend(of.iter().flat_map(|leg| &leg.rows).map(|row| (id, role, *row)));
            }
        }
        let each = || legs.iter().map(|(_, _, row)| *row);
        let mut columns = common(&trades, &rows, legs.len());
        columns.extend([
            fixed(32, legs.iter().map(|(id, _, _)| Some(id))),
            texts(legs.iter().map(|(_, role, _)| *role)),
            ints(each().map(|row| trades.transaction_index[row])),
            ints(each().map(|row| trades.log_index[row])),
            fixed(32, each().map(|row| Some(trades.transaction_hash.value(row)))),
            fixed(20, each().map(|row| Some(trades.tx_from.value(row)))),
            fixed(20, each().map(|row| bytes_at(trades.tx_to, row))),
            binaries(each().map(|row| trades.pool.value(row))),
            fixed(20, each().map(|row| bytes_at(trades.token_sold, row))),
            fixed(20, each().map(|row| bytes_at(trades.token_bought, row))),
            unsigned(each().map(|row| Some(trades.sold(row)))),
            unsigned(each().map(|row| Some(trades.bought(row)))),
        ]);
        RecordBatch::try_new(self.empty.schema(), columns).expect("columns are those of the schema")
    }
}
