//! `jit_liquidity`: what `jit_rule` finds, with its amounts, fees and cost.
//!
//! By default a function of one block, which any worker computes. With `SET mev.jit_blocks = '3'` a position may
//! shrink up to two blocks after it grew: the row is of the block in which it shrank and goes with that block,
//! and so with any block below; worth and prices are those of that block.
//!
//! A position that a sandwich or a liquidation goes with says so in `superseded_by` (`precedence.rs`).
//!
//! State: none for one block; else see `jit_memory.rs`, bounded by the blocks that are not final and those that
//! a position may live.

use std::sync::Arc;

use alloy_primitives::{U256, keccak256};
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::wide::{HASH_TYPE, uint256_field};
use highwater_engine::operator::StateSize;

use super::columns::{
    TRADE_COLUMNS, Trades, address, address_opt, binaries, bytes_at, common_columns, evidence, fixed, fixed_lists,
    float_opt, floats, hash, int, int_at, int_lists, ints, list, table, text, text_lists, text_opt, texts, texts_opt,
    unsigned, wide_at,
};
use super::costs::{BLOCKS, Costs, Paid, TOKEN_PRICES, TRACES, TRANSACTIONS};
use super::jit_memory::JitMemory;
use super::jit_rule::{Changes, Finding, LIQUIDITY_EVENTS, View};
use super::precedence::{LIQUIDATIONS, Liquidating, Precedence, attacks};
use super::sandwich_rule::{RULE_VERSION, difference};
use super::{BlockRelation, Confidence, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows, Memory};

/// The relation `jit_liquidity`.
pub const JIT_LIQUIDITY: BlockRelation = BlockRelation {
    name: "jit_liquidity",
    about: "One row for each position that grew and shrank around the trades of others, in one block or within \
            `mev.jit_blocks` of them; it is of the block in which it shrank.",
    inputs: &[
        InputTable { name: "dex_trades", columns: TRADE_COLUMNS, optional: false },
        TRANSACTIONS,
        TRACES,
        BLOCKS,
        TOKEN_PRICES,
        LIQUIDITY_EVENTS,
        LIQUIDATIONS,
    ],
    schema,
    state: Some((
        "position",
        "positions and trades of their pools in the last `mev.jit_blocks` blocks; none for one block",
    )),
    kernel: |settings| {
        let blocks = settings.look_back.jit_blocks;
        let memory = JitMemory::new(blocks);
        let empty = RecordBatch::new_empty(schema());
        Box::new(JitKernel { settings: settings.clone(), remembers: blocks > 1, memory, empty })
    },
};

fn schema() -> SchemaRef {
    table(vec![
        hash("jit_id"),
        Field::new("pool", DataType::Binary, false),
        text("protocol"),
        address("attacker_eoa"),
        address_opt("attacker_contract"),
        address_opt("owner"),
        Field::new("position_key", DataType::Binary, false),
        hash("mint_tx"),
        int("mint_block_number"),
        int("mint_transaction_index"),
        hash("burn_tx"),
        int("burn_transaction_index"),
        list("victim_txs", HASH_TYPE),
        list("victim_block_numbers", DataType::Int64),
        list("victim_transaction_indexes", DataType::Int64),
        int("tick_lower"),
        int("tick_upper"),
        uint256_field("liquidity", false),
        uint256_field("mint_amount0", true),
        uint256_field("mint_amount1", true),
        uint256_field("burn_amount0", true),
        uint256_field("burn_amount1", true),
        uint256_field("fees0", true),
        uint256_field("fees1", true),
        float_opt("fee_share"),
        uint256_field("gas_cost_wei", true),
        uint256_field("tip_wei", true),
        float_opt("profit_usd"),
        text_opt("superseded_by"),
        text("confidence"),
        int("rule_version"),
        list("evidence", DataType::Utf8),
    ])
}

struct JitKernel {
    settings: Arc<MevSettings>,
    /// Whether positions may live longer than one block.
    remembers: bool,
    memory: JitMemory,
    /// The answer for a block without any: made once, since most blocks have none.
    empty: RecordBatch,
}

impl BlockKernel for JitKernel {
    fn schema(&self) -> SchemaRef {
        self.empty.schema()
    }

    fn memory(&self) -> Memory {
        if self.remembers { Memory::Chain } else { Memory::None }
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let seen = self.memory.with_earlier(rows.number, &rows.tables[0], &rows.tables[5]);
        let view = seen.view(&self.settings);
        let found = view.find();
        if !self.remembers && found.findings.is_empty() {
            return self.empty.clone();
        }
        let costs = Costs::of(&rows.tables[1..5], &self.settings);
        if self.remembers {
            self.memory.keep(&seen, &view, &found, &costs);
        }
        if found.findings.is_empty() {
            return self.empty.clone();
        }
        // A finding has victims, so there are trades to name the chain.
        let (chain, chain_id) = (view.trades.chain.value(0), view.trades.chain_id.value(0));
        let mut columns = common_columns(chain, chain_id, &rows, found.findings.len());
        columns.extend(self.who(&view, &rows.hash, &found.findings));
        let superseded = self.superseded(&view, &rows, &found.findings);
        columns.extend(worth(&view, &Bills { costs: &costs, earlier: &seen.paid }, &found.findings, &superseded));
        RecordBatch::try_new(self.empty.schema(), columns).expect("columns are those of the schema")
    }

    fn forget(&mut self, number: u64) {
        self.memory.forget(number);
    }

    fn finalize(&mut self, number: u64) {
        self.memory.finalize(number);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        if self.remembers { self.memory.save() } else { Ok(Vec::new()) }
    }

    fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        self.memory.load(state)
    }

    fn size(&self) -> StateSize {
        self.memory.size()
    }
}

impl JitKernel {
    /// For each position the kind that takes its transactions away from it; those of earlier blocks do not count.
    fn superseded(&self, view: &View<'_>, rows: &BlockRows<'_>, findings: &[Finding]) -> Vec<Option<&'static str>> {
        let liquidating = Liquidating::of(&rows.tables[6]);
        let attacks = attacks(&Trades::of(&rows.tables[0]), &self.settings);
        let of_position = |finding: &Finding| {
            let own = [finding.mint, finding.burn].into_iter().filter(|row| view.change_blocks[*row] == rows.number);
            let transactions: Vec<i64> = own.map(|row| view.changes.transaction_index[row]).collect();
            let attacks = transactions.iter().any(|transaction| attacks.binary_search(transaction).is_ok());
            liquidating.superseding(&transactions).or_else(|| attacks.then(|| Precedence::JitSandwich.name()))
        };
        findings.iter().map(of_position).collect()
    }

    fn who(&self, view: &View<'_>, block_hash: &[u8; 32], findings: &[Finding]) -> Vec<ArrayRef> {
        let (trades, changes) = (&view.trades, &view.changes);
        let all = || findings.iter();
        let height = |number: u64| i64::try_from(number).expect("heights fit 63 bits");
        let victims = |finding: &Finding| {
            // A transaction may trade more than once.
            let mut rows = finding.victims.clone();
            rows.dedup_by_key(|row| (view.trade_blocks[*row], trades.transaction_index[*row]));
            rows
        };
        let ticks =
            |column: &Int64Array| ints(all().map(|finding| column.value(finding.mint)).collect::<Vec<_>>().into_iter());
        let keys: Vec<Vec<u8>> = all().map(|finding| position_key(changes, finding.mint)).collect();
        let id = |finding: &Finding| {
            let mut bytes = trades.chain_id.value(0).to_be_bytes().to_vec();
            bytes.extend(block_hash);
            for row in [finding.mint, finding.burn] {
                bytes.extend(changes.log_index[row].to_be_bytes());
            }
            keccak256(bytes).0
        };
        vec![
            fixed(32, all().map(|finding| Some(id(finding)))),
            binaries(all().map(|finding| changes.pool.value(finding.mint))),
            texts(all().map(|finding| changes.protocol.value(finding.mint))),
            fixed(20, all().map(|finding| Some(changes.tx_from.value(finding.mint)))),
            fixed(20, all().map(|finding| changes.contract(finding.mint, &self.settings))),
            fixed(20, all().map(|finding| bytes_at(changes.owner, finding.mint))),
            binaries(keys.iter().map(Vec::as_slice)),
            fixed(32, all().map(|finding| Some(changes.transaction_hash.value(finding.mint)))),
            ints(all().map(|finding| height(view.change_blocks[finding.mint]))),
            ints(all().map(|finding| changes.transaction_index[finding.mint])),
            fixed(32, all().map(|finding| Some(changes.transaction_hash.value(finding.burn)))),
            ints(all().map(|finding| changes.transaction_index[finding.burn])),
            fixed_lists(
                32,
                all().map(|finding| {
                    victims(finding).into_iter().map(|row| trades.transaction_hash.value(row)).collect()
                }),
            ),
            int_lists(
                all().map(|finding| victims(finding).into_iter().map(|row| height(view.trade_blocks[row])).collect()),
            ),
            int_lists(
                all().map(|finding| victims(finding).into_iter().map(|row| trades.transaction_index[row]).collect()),
            ),
            ticks(changes.tick_lower),
            ticks(changes.tick_upper),
        ]
    }
}

/// Owner, ticks, and what else tells positions of one owner apart, one after the other.
fn position_key(changes: &Changes<'_>, row: usize) -> Vec<u8> {
    let mut key = bytes_at(changes.owner, row).unwrap_or_default().to_vec();
    key.extend(changes.tick_lower.value(row).to_be_bytes());
    key.extend(changes.tick_upper.value(row).to_be_bytes());
    key.extend(bytes_at(changes.salt, row).unwrap_or_default());
    key.extend(bytes_at(changes.token_id, row).unwrap_or_default());
    key
}

/// What transactions paid: those of the block, and those of the mints before it, which are the first changes.
struct Bills<'b, 'a> {
    costs: &'b Costs<'a>,
    earlier: &'b [Paid],
}

impl Bills<'_, '_> {
    fn paid(&self, changes: &Changes<'_>, finding: &Finding) -> Paid {
        let burn = changes.transaction_index[finding.burn];
        match self.earlier.get(finding.mint) {
            Some(mint) => mint.and(self.costs.of_all(&[burn])),
            None => self.costs.of_all(&[changes.transaction_index[finding.mint], burn]),
        }
    }
}

fn worth(
    view: &View<'_>,
    bills: &Bills<'_, '_>,
    findings: &[Finding],
    superseded: &[Option<&'static str>],
) -> Vec<ArrayRef> {
    let (trades, changes, costs) = (&view.trades, &view.changes, bills.costs);
    let all = || findings.iter();
    let amounts = [changes.amount0, changes.amount1];
    let minted = |place: usize| unsigned(all().map(move |finding| wide_at(amounts[place], finding.mint)));
    let burned = |place: usize| unsigned(all().map(move |finding| wide_at(amounts[place], finding.burn)));
    let fees = |place: usize| unsigned(all().map(move |finding| fees(changes, finding, place)));
    let paid: Vec<Paid> = all().map(|finding| bills.paid(changes, finding)).collect();
    let usd = |(finding, paid): (&Finding, &Paid)| costs.after_costs(gained_usd(trades, changes, costs, finding), paid);
    let evidence_of = |finding: &Finding| {
        let change = |row: usize| evidence(changes.transaction_hash.value(row), changes.log_index[row]);
        let trade = |row: &usize| evidence(trades.transaction_hash.value(*row), trades.log_index[*row]);
        let last = [Some(finding.burn), finding.collect].into_iter().flatten();
        std::iter::once(change(finding.mint)).chain(finding.victims.iter().map(trade)).chain(last.map(change)).collect()
    };
    vec![
        unsigned(all().map(|finding| wide_at(changes.liquidity, finding.mint))),
        minted(0),
        minted(1),
        burned(0),
        burned(1),
        fees(0),
        fees(1),
        floats(all().map(|finding| fee_share(trades, changes, finding))),
        unsigned(paid.iter().map(|paid| paid.gas)),
        unsigned(paid.iter().map(|paid| paid.tip)),
        floats(all().zip(&paid).map(usd)),
        texts_opt(superseded.iter().copied()),
        texts(all().map(|finding| confidence(view, finding).name())),
        ints(all().map(|_| RULE_VERSION)),
        text_lists(all().map(evidence_of)),
    ]
}

/// Within one block nobody can provide liquidity by chance; over several, a short-lived position may be just that.
fn confidence(view: &View<'_>, finding: &Finding) -> Confidence {
    let in_one_block = view.change_blocks[finding.mint] == view.change_blocks[finding.burn];
    if in_one_block { Confidence::High } else { Confidence::Medium }
}

/// What was collected beyond what the burn released; `None` if nothing was collected with it.
fn fees(changes: &Changes<'_>, finding: &Finding, place: usize) -> Option<U256> {
    let column = [changes.amount0, changes.amount1][place];
    wide_at(column, finding.collect?)?.checked_sub(wide_at(column, finding.burn)?)
}

/// The part of the liquidity that trades met which was the position's, averaged over the victims that ended
/// in its range.
fn fee_share(trades: &Trades<'_>, changes: &Changes<'_>, finding: &Finding) -> Option<f64> {
    let range = changes.tick_lower.value(finding.mint)..changes.tick_upper.value(finding.mint);
    let own = f64::from(wide_at(changes.liquidity, finding.mint)?);
    let shares = finding.victims.iter().filter_map(|row| {
        let inside = int_at(trades.tick, *row).is_some_and(|tick| range.contains(&tick));
        let all = inside.then(|| wide_at(trades.liquidity, *row)).flatten()?;
        (!all.is_zero()).then(|| (own / f64::from(all)).min(1.0))
    });
    let (sum, count) = shares.fold((0.0, 0.0), |(sum, count), share| (sum + share, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// What came back, fees included, over what went in, in dollars.
fn gained_usd(trades: &Trades<'_>, changes: &Changes<'_>, costs: &Costs<'_>, finding: &Finding) -> Option<f64> {
    let mut gained = 0.0;
    for (place, column) in (0_i64..).zip([changes.amount0, changes.amount1]) {
        let back = wide_at(column, finding.collect.unwrap_or(finding.burn))?;
        let token = finding.victims.iter().find_map(|row| {
            let of = |index, token| if int_at(index, *row) == Some(place) { bytes_at(token, *row) } else { None };
            of(trades.sold_index, trades.token_sold).or_else(|| of(trades.bought_index, trades.token_bought))
        });
        gained += costs.value(token?, difference(back, wide_at(column, finding.mint)?))?;
    }
    Some(gained)
}
