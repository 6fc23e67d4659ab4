//! `jit_liquidity`: liquidity that is there only for the trades of others in between (rule J1).
//!
//! In one block and pool: a position grows (mint), others trade through its range, it shrinks again (burn) by at
//! least 99 % of what it grew. The position is the one with the same owner, ticks, salt and, where the position
//! manager holds it, token. Without a token both changes must have the same sender or the same contract of
//! their own, since an owner may hold the positions of many. Each burn belongs to the first mint that it
//! fits. A trade counts if it is of neither transaction nor of their sender or contract, and if the ticks it
//! passed, from where the trade before left the price to where it left it, touch the range.
//!
//! Constant product pools cannot concentrate liquidity and have no such rows. Sources: brontes (mint and
//! burn tokens, victims between), Uniswap's event documentation. A function of one block, so a reorg takes its
//! rows back with the block.

use std::sync::Arc;

use alloy_primitives::{U256, keccak256};
use arrow::array::{Array, AsArray, BinaryArray, FixedSizeBinaryArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{HASH_TYPE, uint256_field};

use super::columns::{
    TRADE_COLUMNS, Trades, address, address_opt, binaries, bytes_at, common_columns, evidence, fixed, fixed_lists,
    float_opt, floats, hash, int, int_at, int_lists, ints, list, table, text, text_lists, texts, unsigned, wide_at,
};
use super::costs::{BLOCKS, Costs, Paid, TOKEN_PRICES, TRACES, TRANSACTIONS};
use super::sandwich_rule::{RULE_VERSION, difference};
use super::{Address, BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows};

/// The relation `jit_liquidity`.
pub const JIT_LIQUIDITY: BlockRelation = BlockRelation {
    name: "jit_liquidity",
    about: "One row for each position that grew and shrank in one block around the trades of others.",
    inputs: &[
        InputTable { name: "dex_trades", columns: TRADE_COLUMNS, optional: false },
        TRANSACTIONS,
        TRACES,
        BLOCKS,
        TOKEN_PRICES,
        InputTable {
            name: "liquidity_events",
            columns: &[
                "transaction_index",
                "log_index",
                "transaction_hash",
                "protocol",
                "pool",
                "kind",
                "owner",
                "tick_lower",
                "tick_upper",
                "salt",
                "token_id",
                "liquidity",
                "amount0",
                "amount1",
                "tx_from",
                "tx_to",
            ],
            optional: false,
        },
    ],
    schema,
    state: None,
    kernel: |settings| Box::new(JitKernel { settings: settings.clone(), schema: schema() }),
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
        hash("burn_tx"),
        list("victim_txs", HASH_TYPE),
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
        text("confidence"),
        int("rule_version"),
        list("evidence", DataType::Utf8),
    ])
}

/// The changes of liquidity of one block by column.
struct Changes<'a> {
    transaction_index: &'a [i64],
    log_index: &'a [i64],
    transaction_hash: &'a FixedSizeBinaryArray,
    protocol: &'a StringArray,
    pool: &'a BinaryArray,
    kind: &'a StringArray,
    owner: &'a FixedSizeBinaryArray,
    tick_lower: &'a Int64Array,
    tick_upper: &'a Int64Array,
    salt: &'a FixedSizeBinaryArray,
    token_id: &'a FixedSizeBinaryArray,
    liquidity: &'a FixedSizeBinaryArray,
    amount0: &'a FixedSizeBinaryArray,
    amount1: &'a FixedSizeBinaryArray,
    tx_from: &'a FixedSizeBinaryArray,
    tx_to: &'a FixedSizeBinaryArray,
}

impl<'a> Changes<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        let int = |index: usize| batch.column(index).as_primitive::<Int64Type>();
        let fixed = |index: usize| batch.column(index).as_fixed_size_binary();
        Changes {
            transaction_index: int(0).values(),
            log_index: int(1).values(),
            transaction_hash: fixed(2),
            protocol: batch.column(3).as_string(),
            pool: batch.column(4).as_binary(),
            kind: batch.column(5).as_string(),
            owner: fixed(6),
            tick_lower: int(7),
            tick_upper: int(8),
            salt: fixed(9),
            token_id: fixed(10),
            liquidity: fixed(11),
            amount0: fixed(12),
            amount1: fixed(13),
            tx_from: fixed(14),
            tx_to: fixed(15),
        }
    }

    fn position(&self, row: usize) -> (i64, i64) {
        (self.transaction_index[row], self.log_index[row])
    }

    /// Rows of a kind that changed a range, in the order of the block.
    fn of_kind(&self, kind: &str) -> Vec<usize> {
        let changes = |row: &usize| {
            self.kind.value(*row) == kind
                && self.tick_lower.is_valid(*row)
                && self.tick_upper.is_valid(*row)
                && (kind == "collect" || wide_at(self.liquidity, *row).is_some_and(|liquidity| !liquidity.is_zero()))
        };
        let mut rows: Vec<usize> = (0..self.pool.len()).filter(changes).collect();
        rows.sort_by_key(|row| self.position(*row));
        rows
    }

    fn same_position(&self, a: usize, b: usize) -> bool {
        let same = |column: &FixedSizeBinaryArray| bytes_at(column, a) == bytes_at(column, b);
        self.pool.value(a) == self.pool.value(b)
            && same(self.owner)
            && same(self.salt)
            && same(self.token_id)
            && int_at(self.tick_lower, a) == int_at(self.tick_lower, b)
            && int_at(self.tick_upper, a) == int_at(self.tick_upper, b)
    }

    /// The contract that the transaction called, if it is its sender's own.
    fn contract(&self, row: usize, settings: &MevSettings) -> Option<&'a [u8]> {
        own_contract(bytes_at(self.tx_to, row), settings)
    }
}

fn own_contract<'a>(called: Option<&'a [u8]>, settings: &MevSettings) -> Option<&'a [u8]> {
    called.filter(|to| Address::try_from(*to).is_ok_and(|address| !settings.is_public(&address)))
}

/// One position that came and went: rows of changes and of trades.
struct Finding {
    mint: usize,
    burn: usize,
    collect: Option<usize>,
    victims: Vec<usize>,
}

struct JitKernel {
    settings: Arc<MevSettings>,
    schema: SchemaRef,
}

impl BlockKernel for JitKernel {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let (trades, changes) = (Trades::of(&rows.tables[0]), Changes::of(&rows.tables[5]));
        let findings = self.find(&trades, &changes);
        if findings.is_empty() {
            return RecordBatch::new_empty(self.schema.clone());
        }
        let costs = Costs::of(&rows.tables[1..5], &self.settings);
        // A finding has victims, so there are trades to name the chain.
        let (chain, chain_id) = (trades.chain.value(0), trades.chain_id.value(0));
        let mut columns = common_columns(chain, chain_id, &rows, findings.len());
        columns.extend(self.who(&trades, &changes, &rows.hash, &findings));
        columns.extend(worth(&trades, &changes, &costs, &findings));
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns are those of the schema")
    }
}

impl JitKernel {
    /// Positions that came and went, in the order of their mints.
    fn find(&self, trades: &Trades<'_>, changes: &Changes<'_>) -> Vec<Finding> {
        let (mints, collects) = (changes.of_kind("mint"), changes.of_kind("collect"));
        let mut burns = changes.of_kind("burn");
        let mut findings = Vec::new();
        for mint in mints {
            let Some(at) = burns.iter().position(|burn| self.undoes(changes, mint, *burn)) else { continue };
            let burn = burns.remove(at);
            let victims = self.victims(trades, changes, mint, burn);
            if !victims.is_empty() {
                let collect = collects.iter().copied().find(|collect| {
                    changes.same_position(burn, *collect)
                        && changes.transaction_index[*collect] == changes.transaction_index[burn]
                        && changes.position(*collect) > changes.position(burn)
                });
                findings.push(Finding { mint, burn, collect, victims });
            }
        }
        findings
    }

    fn undoes(&self, changes: &Changes<'_>, mint: usize, burn: usize) -> bool {
        let enough = |minted: U256, burned: U256| {
            burned.saturating_mul(U256::from(100)) >= minted.saturating_mul(U256::from(99))
        };
        let contract = |row: usize| changes.contract(row, &self.settings);
        let one_party = changes.token_id.is_valid(mint)
            || changes.tx_from.value(mint) == changes.tx_from.value(burn)
            || contract(mint).is_some() && contract(mint) == contract(burn);
        changes.position(burn) > changes.position(mint)
            && changes.same_position(mint, burn)
            && one_party
            && wide_at(changes.liquidity, mint)
                .zip(wide_at(changes.liquidity, burn))
                .is_some_and(|(minted, burned)| enough(minted, burned))
    }

    fn victims(&self, trades: &Trades<'_>, changes: &Changes<'_>, mint: usize, burn: usize) -> Vec<usize> {
        let pool = changes.pool.value(mint);
        let mut here: Vec<usize> = (0..trades.len()).filter(|row| trades.pool.value(*row) == pool).collect();
        here.sort_by_key(|row| trades.position(*row));
        let of_actor = |row: usize| {
            let contract = own_contract(bytes_at(trades.tx_to, row), &self.settings);
            [mint, burn].into_iter().any(|change| {
                trades.transaction_index[row] == changes.transaction_index[change]
                    || trades.tx_from.value(row) == changes.tx_from.value(change)
                    || contract.is_some() && contract == changes.contract(change, &self.settings)
            })
        };
        let between = |row: usize| {
            let position = trades.position(row);
            changes.position(mint) < position && position < changes.position(burn)
        };
        let before = |index: usize| index.checked_sub(1).and_then(|earlier| int_at(trades.tick, here[earlier]));
        (0..here.len())
            .filter(|index| between(here[*index]) && !of_actor(here[*index]))
            .filter(|index| touches(changes, mint, before(*index), int_at(trades.tick, here[*index])))
            .map(|index| here[index])
            .collect()
    }

    fn who(
        &self,
        trades: &Trades<'_>,
        changes: &Changes<'_>,
        block_hash: &[u8; 32],
        findings: &[Finding],
    ) -> Vec<arrow::array::ArrayRef> {
        let all = || findings.iter();
        let victims = |finding: &Finding| {
            // A transaction may trade more than once.
            let mut rows = finding.victims.clone();
            rows.dedup_by_key(|row| trades.transaction_index[*row]);
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
            fixed(32, all().map(|finding| Some(changes.transaction_hash.value(finding.burn)))),
            fixed_lists(
                32,
                all().map(|finding| {
                    victims(finding).into_iter().map(|row| trades.transaction_hash.value(row)).collect()
                }),
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

/// Whether a trade that moved the price from one tick to another went through the range of a position. Where
/// no trade before tells the tick, what the mint had to pay tells on which side of the range the price stood.
fn touches(changes: &Changes<'_>, mint: usize, before: Option<i64>, after: Option<i64>) -> bool {
    let (lower, upper) = (changes.tick_lower.value(mint), changes.tick_upper.value(mint));
    let Some(after) = after else { return true };
    let paid = |column| wide_at(column, mint).is_some_and(|amount| !amount.is_zero());
    let before = before.unwrap_or(match (paid(changes.amount0), paid(changes.amount1)) {
        (true, false) => lower - 1,
        (false, true) => upper,
        _ => lower,
    });
    before.min(after) < upper && before.max(after) >= lower
}

fn worth(
    trades: &Trades<'_>,
    changes: &Changes<'_>,
    costs: &Costs<'_>,
    findings: &[Finding],
) -> Vec<arrow::array::ArrayRef> {
    let all = || findings.iter();
    let amounts = [changes.amount0, changes.amount1];
    let minted = |place: usize| unsigned(all().map(move |finding| wide_at(amounts[place], finding.mint)));
    let burned = |place: usize| unsigned(all().map(move |finding| wide_at(amounts[place], finding.burn)));
    let fees = |place: usize| unsigned(all().map(move |finding| fees(changes, finding, place)));
    let paid: Vec<Paid> = all().map(|finding| paid(changes, costs, finding)).collect();
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
        texts(all().map(|_| super::Confidence::High.name())),
        ints(all().map(|_| RULE_VERSION)),
        text_lists(all().map(evidence_of)),
    ]
}

fn paid(changes: &Changes<'_>, costs: &Costs<'_>, finding: &Finding) -> Paid {
    costs.of_all(&[changes.transaction_index[finding.mint], changes.transaction_index[finding.burn]])
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
