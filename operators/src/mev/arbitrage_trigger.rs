//! What an arbitrage answers: the trade that moved a pool the way the arbitrage moves it back.
//!
//! Step 5 of rule A1: the nearest earlier trade of another actor in the same block, else in the block before,
//! in a pool of the arbitrage and against its direction. Another actor has another sender, and where the
//! arbitrage goes through a contract of its own, does not call it.

use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::array::{BinaryArray, FixedSizeBinaryArray};
use arrow::record_batch::RecordBatch;

use super::MevSettings;
use super::arbitrage_rule::Hop;
use super::columns::{Trades, bytes_at};

/// Trades among which a trigger is looked for, by column.
#[derive(Clone, Copy)]
pub(crate) struct Candidates<'a> {
    transaction_index: &'a [i64],
    log_index: &'a [i64],
    transaction_hash: &'a FixedSizeBinaryArray,
    pool: &'a BinaryArray,
    token_sold: &'a FixedSizeBinaryArray,
    token_bought: &'a FixedSizeBinaryArray,
    tx_from: &'a FixedSizeBinaryArray,
    tx_to: &'a FixedSizeBinaryArray,
}

impl<'a> Candidates<'a> {
    /// The trades of the block itself.
    pub(crate) fn of_block(trades: &Trades<'a>) -> Candidates<'a> {
        Candidates {
            transaction_index: trades.transaction_index,
            log_index: trades.log_index,
            transaction_hash: trades.transaction_hash,
            pool: trades.pool,
            token_sold: trades.token_sold,
            token_bought: trades.token_bought,
            tx_from: trades.tx_from,
            tx_to: trades.tx_to,
        }
    }

    /// Those of the block before: a batch of [`super::previous_trades::PREVIOUS_TRADES`].
    pub(crate) fn of_previous(batch: &'a RecordBatch) -> Candidates<'a> {
        let int = |index: usize| batch.column(index).as_primitive::<Int64Type>().values();
        let fixed = |index: usize| batch.column(index).as_fixed_size_binary();
        Candidates {
            transaction_index: int(0),
            log_index: int(1),
            transaction_hash: fixed(2),
            pool: batch.column(3).as_binary(),
            token_sold: fixed(4),
            token_bought: fixed(5),
            tx_from: fixed(6),
            tx_to: fixed(7),
        }
    }

    /// The last trade against one of the hops by another actor, of transactions before a place if one is given.
    fn last_against(
        &self,
        actor: &Actor<'_>,
        hops: &[AgainstHop<'_>],
        before: Option<i64>,
        settings: &MevSettings,
    ) -> Option<usize> {
        let wrapped =
            |tokens: &'a FixedSizeBinaryArray, row| bytes_at(tokens, row).map(|token| settings.wrapped(token));
        let answers = |row: usize, hop: &AgainstHop<'_>| {
            self.pool.value(row) == hop.pool
                && wrapped(self.token_sold, row) == Some(hop.sold)
                && wrapped(self.token_bought, row) == Some(hop.bought)
        };
        (0..self.transaction_index.len())
            .filter(|row| before.is_none_or(|before| self.transaction_index[*row] < before))
            .filter(|row| self.tx_from.value(*row) != actor.sender)
            .filter(|row| actor.contract.is_none() || bytes_at(self.tx_to, *row) != actor.contract)
            .filter(|row| hops.iter().any(|hop| answers(*row, hop)))
            .max_by_key(|row| (self.transaction_index[*row], self.log_index[*row]))
    }
}

/// Who makes the arbitrage.
pub(crate) struct Actor<'a> {
    pub(crate) sender: &'a [u8],
    /// The contract it called, if that is its own.
    pub(crate) contract: Option<&'a [u8]>,
}

/// What a trade against a hop looks like.
struct AgainstHop<'a> {
    pool: &'a [u8],
    sold: &'a [u8],
    bought: &'a [u8],
}

/// The trade that an arbitrage answers.
pub(crate) struct Trigger<'a> {
    pub(crate) transaction_hash: &'a [u8],
    /// How many transactions after it, within one block.
    pub(crate) distance: Option<i64>,
}

/// The trade that the arbitrage of these hops answers.
pub(crate) fn trigger<'a>(
    trades: &Trades<'a>,
    previous: &Candidates<'a>,
    hops: &[Hop<'_>],
    actor: &Actor<'_>,
    settings: &MevSettings,
) -> Option<Trigger<'a>> {
    let against =
        hops.iter().map(|hop| AgainstHop { pool: trades.pool.value(hop.row), sold: hop.bought, bought: hop.sold });
    let against: Vec<AgainstHop<'_>> = against.collect();
    let own = trades.transaction_index[hops[0].row];
    let here = Candidates::of_block(trades);
    if let Some(row) = here.last_against(actor, &against, Some(own), settings) {
        let distance = Some(own - here.transaction_index[row]);
        return Some(Trigger { transaction_hash: here.transaction_hash.value(row), distance });
    }
    let row = previous.last_against(actor, &against, None, settings)?;
    Some(Trigger { transaction_hash: previous.transaction_hash.value(row), distance: None })
}
