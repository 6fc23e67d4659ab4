//! What the trades of a block tell about its addresses and transactions, beyond one pool.
//!
//! Sharing an address makes two transactions one actor only if the address is somebody's own. Labels name
//! the well-known routers; these facts catch the rest: pools, contracts that many senders call in one
//! block, and contracts that pay out to whoever called them.

use alloy_primitives::U256;

use super::columns::{Trades, bytes_at};
use super::{Address, MevSettings};

/// A contract that so many senders of one block trade through serves everybody.
const SENDERS_OF_A_PUBLIC_CONTRACT: usize = 4;
/// A transaction may end with so small a part of what it sold missing and still be closed: one in …
const CLOSED_TOLERANCE: u64 = 1000;

/// Facts of one block, computed when the first suspicion comes up.
#[derive(Debug, Default)]
pub(crate) struct BlockFacts<'a> {
    /// Pools, venues and contracts that serve everybody, sorted.
    shared: Vec<&'a [u8]>,
    /// Transactions in which a pool paid the sender of the transaction, sorted.
    paying_sender: Vec<i64>,
    /// Transactions that bought at least what they sold of every token, sorted.
    closed: Vec<i64>,
}

impl<'a> BlockFacts<'a> {
    /// Facts of the trades; `order` holds their rows in the order of the block.
    pub(crate) fn of(trades: &Trades<'a>, order: &[usize], settings: &MevSettings) -> Self {
        let mut facts = BlockFacts { shared: busy_contracts(trades), ..BlockFacts::default() };
        for row in 0..trades.len() {
            facts.shared.push(trades.venue.value(row));
            facts.shared.push(trades.pool.value(row));
        }
        facts.shared.sort_unstable();
        facts.shared.dedup();
        for transaction in order.chunk_by(|a, b| trades.transaction_index[*a] == trades.transaction_index[*b]) {
            let index = trades.transaction_index[transaction[0]];
            if transaction.iter().any(|row| bytes_at(trades.recipient, *row) == Some(trades.tx_from.value(*row))) {
                facts.paying_sender.push(index);
            }
            if is_closed(trades, transaction, settings) {
                facts.closed.push(index);
            }
        }
        facts
    }

    /// Whether the transaction of the row is a closed round of trades, which carries nothing on.
    pub(crate) fn is_closed(&self, trades: &Trades<'_>, row: usize) -> bool {
        self.closed.binary_search(&trades.transaction_index[row]).is_ok()
    }

    /// The addresses that stand for whoever made the trade: the sender, unless it sends for many (an exchange), and
    /// contracts that are its own.
    pub(crate) fn identities(
        &self,
        trades: &Trades<'a>,
        row: usize,
        settings: &MevSettings,
    ) -> impl Iterator<Item = &'a [u8]> {
        let from = trades.tx_from.value(row);
        let from = Address::try_from(from).is_ok_and(|known| !settings.is_public(&known)).then_some(from);
        let pays_sender = self.paying_sender.binary_search(&trades.transaction_index[row]).is_ok();
        let own = [trades.tx_to, trades.recipient, trades.sender].map(|column| {
            let address = bytes_at(column, row)?;
            (!pays_sender && !self.serves_everybody(address, settings)).then_some(address)
        });
        from.into_iter().chain(own.into_iter().flatten())
    }

    /// The contract that the transaction of the row called, if it is the sender's own.
    pub(crate) fn own_contract(&self, trades: &Trades<'a>, row: usize, settings: &MevSettings) -> Option<&'a [u8]> {
        let called = bytes_at(trades.tx_to, row)?;
        self.identities(trades, row, settings).find(|own| *own == called)
    }

    fn serves_everybody(&self, address: &[u8], settings: &MevSettings) -> bool {
        let Ok(known) = Address::try_from(address) else { return true };
        known == [0; 20] || settings.is_public(&known) || self.shared.binary_search(&address).is_ok()
    }
}

/// Contracts that at least [`SENDERS_OF_A_PUBLIC_CONTRACT`] senders of the block trade through.
fn busy_contracts<'a>(trades: &Trades<'a>) -> Vec<&'a [u8]> {
    let mut callers: Vec<(&[u8], &[u8])> = Vec::with_capacity(trades.len() * 2);
    for row in 0..trades.len() {
        let from = trades.tx_from.value(row);
        callers.extend([trades.tx_to, trades.sender].into_iter().filter_map(|to| Some((bytes_at(to, row)?, from))));
    }
    callers.sort_unstable();
    callers.dedup();
    let by_contract = callers.chunk_by(|a, b| a.0 == b.0);
    by_contract.filter(|calls| calls.len() >= SENDERS_OF_A_PUBLIC_CONTRACT).map(|calls| calls[0].0).collect()
}

/// Whether the trades of one transaction, over at least two pools, leave no token short.
fn is_closed(trades: &Trades<'_>, rows: &[usize], settings: &MevSettings) -> bool {
    if !rows.iter().any(|row| trades.pool.value(*row) != trades.pool.value(rows[0])) {
        return false;
    }
    // (token, sold, bought); a transaction has few tokens.
    let mut tokens: Vec<(&[u8], U256, U256)> = Vec::new();
    let mut add = |token, sold, bought| match tokens.iter_mut().find(|entry| entry.0 == token) {
        Some(entry) => {
            entry.1 = entry.1.saturating_add(sold);
            entry.2 = entry.2.saturating_add(bought);
        }
        None => tokens.push((token, sold, bought)),
    };
    for row in rows {
        let (Some(sold), Some(bought)) = (bytes_at(trades.token_sold, *row), bytes_at(trades.token_bought, *row))
        else {
            return false;
        };
        add(settings.wrapped(sold), trades.sold(*row), U256::ZERO);
        add(settings.wrapped(bought), U256::ZERO, trades.bought(*row));
    }
    tokens.iter().all(|(_, sold, bought)| sold.saturating_sub(*bought) <= *sold / U256::from(CLOSED_TOLERANCE))
}
