//! Rule J1: which positions came and went around the trades of others. Pure: changes of liquidity and trades in.
//!
//! In one pool, within a block or a few (`mev.jit_blocks`): a position grows (mint), others trade through its
//! range, it shrinks again (burn) by at least 99 % of what it grew. The position is the one with the same owner, ticks, salt and, where the position
//! manager holds it, token. Without a token both changes must have the same sender or the same contract of
//! their own, since an owner may hold the positions of many. Each burn belongs to the first mint that it
//! fits, and each mint has one burn. A trade counts if it is of neither transaction nor of their sender or contract, and if the ticks it
//! passed, from where the trade before left the price to where it left it, touch the range; trades before the
//! block of the mint do not tell the price.
//!
//! Constant product pools cannot concentrate liquidity and have no such rows. Sources: brontes (mint and
//! burn tokens, victims between), Uniswap's event documentation.

use alloy_primitives::U256;
use arrow::array::{Array, AsArray, BinaryArray, FixedSizeBinaryArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::columns::{Trades, bytes_at, int_at, wide_at};
use super::{Address, InputTable, MevSettings};

/// `liquidity_events`, as [`Changes`] reads it.
pub(crate) const LIQUIDITY_EVENTS: InputTable = InputTable {
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
};

/// The changes of liquidity of one block by column.
pub(crate) struct Changes<'a> {
    pub(crate) transaction_index: &'a [i64],
    pub(crate) log_index: &'a [i64],
    pub(crate) transaction_hash: &'a FixedSizeBinaryArray,
    pub(crate) protocol: &'a StringArray,
    pub(crate) pool: &'a BinaryArray,
    pub(crate) kind: &'a StringArray,
    pub(crate) owner: &'a FixedSizeBinaryArray,
    pub(crate) tick_lower: &'a Int64Array,
    pub(crate) tick_upper: &'a Int64Array,
    pub(crate) salt: &'a FixedSizeBinaryArray,
    pub(crate) token_id: &'a FixedSizeBinaryArray,
    pub(crate) liquidity: &'a FixedSizeBinaryArray,
    pub(crate) amount0: &'a FixedSizeBinaryArray,
    pub(crate) amount1: &'a FixedSizeBinaryArray,
    pub(crate) tx_from: &'a FixedSizeBinaryArray,
    pub(crate) tx_to: &'a FixedSizeBinaryArray,
}

impl<'a> Changes<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Self {
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

    /// Whether a row is of a kind and changed a range.
    pub(crate) fn is_of_kind(&self, row: usize, kind: &str) -> bool {
        self.kind.value(row) == kind
            && self.tick_lower.is_valid(row)
            && self.tick_upper.is_valid(row)
            && (kind == "collect" || wide_at(self.liquidity, row).is_some_and(|liquidity| !liquidity.is_zero()))
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
    pub(crate) fn contract(&self, row: usize, settings: &MevSettings) -> Option<&'a [u8]> {
        own_contract(bytes_at(self.tx_to, row), settings)
    }
}

fn own_contract<'a>(called: Option<&'a [u8]>, settings: &MevSettings) -> Option<&'a [u8]> {
    called.filter(|to| Address::try_from(*to).is_ok_and(|address| !settings.is_public(&address)))
}

/// One position that came and went: rows of changes and of trades.
pub(crate) struct Finding {
    pub(crate) mint: usize,
    pub(crate) burn: usize,
    pub(crate) collect: Option<usize>,
    pub(crate) victims: Vec<usize>,
}

/// A mint, by the height of its block and its log.
pub(crate) type MintPlace = (u64, i64);

/// What the rule looks at: the block in which positions may shrink, and what is remembered of blocks before.
pub(crate) struct View<'a> {
    pub(crate) settings: &'a MevSettings,
    pub(crate) trades: Trades<'a>,
    pub(crate) changes: Changes<'a>,
    /// The block of each trade.
    pub(crate) trade_blocks: Vec<u64>,
    /// The block of each change.
    pub(crate) change_blocks: Vec<u64>,
    /// Mints of blocks before that had their burn, sorted.
    pub(crate) used: Vec<MintPlace>,
}

/// Where something happened: block, transaction, log.
type Place = (u64, i64, i64);

/// What [`View::find`] finds.
pub(crate) struct Found {
    /// Positions that came and went around trades, in the order of their mints.
    pub(crate) findings: Vec<Finding>,
    /// Mints that had their burn in this block, around trades or not.
    pub(crate) used: Vec<usize>,
}

impl View<'_> {
    fn change_place(&self, row: usize) -> Place {
        (self.change_blocks[row], self.changes.transaction_index[row], self.changes.log_index[row])
    }

    fn trade_place(&self, row: usize) -> Place {
        (self.trade_blocks[row], self.trades.transaction_index[row], self.trades.log_index[row])
    }

    /// The mint of a row.
    pub(crate) fn mint_place(&self, row: usize) -> MintPlace {
        (self.change_blocks[row], self.changes.log_index[row])
    }

    /// Rows of a kind that changed a range, in the order of the chain.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<usize> {
        let mut rows: Vec<usize> =
            (0..self.change_blocks.len()).filter(|row| self.changes.is_of_kind(*row, kind)).collect();
        rows.sort_by_key(|row| self.change_place(*row));
        rows
    }

    /// Positions that shrank in the block.
    pub(crate) fn find(&self) -> Found {
        let mut mints = self.of_kind("mint");
        mints.retain(|mint| self.used.binary_search(&self.mint_place(*mint)).is_err());
        // Blocks before are remembered by their mints alone: burns and collects are of this block.
        let collects = self.of_kind("collect");
        let mut found = Found { findings: Vec::new(), used: Vec::new() };
        for burn in self.of_kind("burn") {
            let Some(at) = mints.iter().position(|mint| self.undoes(*mint, burn)) else { continue };
            let mint = mints.remove(at);
            found.used.push(mint);
            let victims = self.victims(mint, burn);
            if !victims.is_empty() {
                let collect = collects.iter().copied().find(|collect| {
                    self.changes.same_position(burn, *collect)
                        && self.changes.transaction_index[*collect] == self.changes.transaction_index[burn]
                        && self.change_place(*collect) > self.change_place(burn)
                });
                found.findings.push(Finding { mint, burn, collect, victims });
            }
        }
        found.findings.sort_by_key(|finding| self.change_place(finding.mint));
        found
    }

    fn undoes(&self, mint: usize, burn: usize) -> bool {
        let enough = |minted: U256, burned: U256| {
            burned.saturating_mul(U256::from(100)) >= minted.saturating_mul(U256::from(99))
        };
        let changes = &self.changes;
        let contract = |row: usize| changes.contract(row, self.settings);
        let one_party = changes.token_id.is_valid(mint)
            || changes.tx_from.value(mint) == changes.tx_from.value(burn)
            || contract(mint).is_some() && contract(mint) == contract(burn);
        self.change_place(burn) > self.change_place(mint)
            && changes.same_position(mint, burn)
            && one_party
            && wide_at(changes.liquidity, mint)
                .zip(wide_at(changes.liquidity, burn))
                .is_some_and(|(minted, burned)| enough(minted, burned))
    }

    fn victims(&self, mint: usize, burn: usize) -> Vec<usize> {
        let (trades, changes) = (&self.trades, &self.changes);
        let pool = changes.pool.value(mint);
        let mut here: Vec<usize> = (0..trades.len())
            .filter(|row| trades.pool.value(*row) == pool && self.trade_blocks[*row] >= self.change_blocks[mint])
            .collect();
        here.sort_by_key(|row| self.trade_place(*row));
        let of_actor = |row: usize| {
            let contract = own_contract(bytes_at(trades.tx_to, row), self.settings);
            [mint, burn].into_iter().any(|change| {
                let (block, transaction, _) = self.change_place(change);
                (self.trade_blocks[row], trades.transaction_index[row]) == (block, transaction)
                    || trades.tx_from.value(row) == changes.tx_from.value(change)
                    || contract.is_some() && contract == changes.contract(change, self.settings)
            })
        };
        let between = |row: usize| {
            let place = self.trade_place(row);
            self.change_place(mint) < place && place < self.change_place(burn)
        };
        let before = |index: usize| index.checked_sub(1).and_then(|earlier| int_at(trades.tick, here[earlier]));
        (0..here.len())
            .filter(|index| between(here[*index]) && !of_actor(here[*index]))
            .filter(|index| touches(changes, mint, before(*index), int_at(trades.tick, here[*index])))
            .map(|index| here[index])
            .collect()
    }
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
