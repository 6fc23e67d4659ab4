//! Rule A1: which transactions are atomic arbitrages. Pure: trades and transfers in, arbitrages out.
//!
//! 1. A transaction with at least two trades, not sent to an aggregator, a settlement or shared
//!    infrastructure, and without a fill of one: those trade for others. A plain router may be called; only the
//!    profit tells its users from arbitrageurs.
//! 2. The trades leave no token short (but for 0.1 % of what was sold), and over at least two pools they
//!    come back to where they started.
//! 3. What the actor is left with, by the transfers of the transaction, is short of nothing and more of
//!    something: kind `atomic`. The actor is the sender, the contract it called unless public, and whoever
//!    both pays pools and is paid by them without being a pool, a lender or public. What goes to the miner, or to
//!    somebody who pays nobody in the transaction, is a share of the profit and not taken from it. The native
//!    coin counts as its wrapped form; where traces are missing, trades of it are told by the trades alone. If
//!    the transfers leave the actor with nothing at all, the trades themselves tell the profit.
//! 4. Where trades come back only if all dollars count as one token, that is enough, but not through a public
//!    contract. Then, short of one stablecoin and richer in others by as much and more, it is of kind `stable`,
//!    unless coins of the sender itself are among it, who may just have swapped dollars.
//! 5. Anything else that passed 2 or 4 is `long_tail`, asked for by [`MevSettings::loose_matches`].
//!
//! Sources: mev-inspect-py (closed routes over at least two pools), Dune's `dex.atomic_arbitrages` (no token
//! short), brontes (kinds; balances instead of trades for the profit). Unlike the first two, transfers decide.

use alloy_primitives::{I256, U256};
use arrow::array::{AsArray, FixedSizeBinaryArray, StringArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::uint256_from_bytes;

use super::columns::{Trades, bytes_at};
use super::costs::Costs;
use super::sandwich_rule::difference;
use super::{Address, Confidence, InputTable, MevSettings, is_native_coin};

/// Of what was sold of a token, so small a part may be missing: one in …
const DUST: u64 = 1000;

/// `token_transfers`, as [`Transfers`] reads it.
pub(crate) const TOKEN_TRANSFERS: InputTable = InputTable {
    name: "token_transfers",
    columns: &["transaction_index", "token_standard", "token_address", "from_address", "to_address", "amount"],
    optional: false,
};

/// Token transfers of a block.
#[derive(Clone, Copy)]
pub(crate) struct Transfers<'a> {
    transaction_index: &'a [i64],
    standard: &'a StringArray,
    token: &'a FixedSizeBinaryArray,
    from: &'a FixedSizeBinaryArray,
    to: &'a FixedSizeBinaryArray,
    amount: &'a FixedSizeBinaryArray,
}

/// A transfer of a fungible token.
#[derive(Clone, Copy)]
struct Transfer<'a> {
    token: &'a [u8],
    from: &'a [u8],
    to: &'a [u8],
    amount: U256,
}

impl<'a> Transfers<'a> {
    /// Reads a batch of [`TOKEN_TRANSFERS`].
    pub(crate) fn of(batch: &'a RecordBatch) -> Self {
        let fixed = |index: usize| batch.column(index).as_fixed_size_binary();
        Transfers {
            transaction_index: batch.column(0).as_primitive::<Int64Type>().values(),
            standard: batch.column(1).as_string(),
            token: fixed(2),
            from: fixed(3),
            to: fixed(4),
            amount: fixed(5),
        }
    }

    /// Fungible tokens that a transaction moved. Wrapping is not among them.
    fn of_transaction(&self, transaction: i64) -> Vec<Transfer<'a>> {
        // Rows come in the order of the block.
        let start = self.transaction_index.partition_point(|index| *index < transaction);
        let count = self.transaction_index[start..].partition_point(|index| *index == transaction);
        (start..start + count)
            .filter(|row| self.standard.value(*row) == "erc20")
            .map(|row| Transfer {
                token: self.token.value(row),
                from: self.from.value(row),
                to: self.to.value(row),
                amount: uint256_from_bytes(self.amount.value(row)),
            })
            .collect()
    }
}

/// What kind of arbitrage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Short of nothing.
    Atomic,
    /// Short of one stable token and richer in its kin.
    Stable,
    /// A closed round of trades that the transfers do not confirm.
    LongTail,
}

impl Kind {
    /// The value of the column `kind`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Atomic => "atomic",
            Kind::Stable => "stable",
            Kind::LongTail => "long_tail",
        }
    }
}

/// A trade with its tokens, as far as the transfers had to tell them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop<'a> {
    pub(crate) row: usize,
    pub(crate) sold: &'a [u8],
    pub(crate) bought: &'a [u8],
    pub(crate) amount_in: U256,
    pub(crate) amount_out: U256,
    /// Whether one of the tokens is the native coin itself, which the tokens name as its wrapped form.
    pub(crate) native: bool,
}

/// One arbitrage.
#[derive(Debug)]
pub(crate) struct Arbitrage<'a> {
    pub(crate) hops: Vec<Hop<'a>>,
    pub(crate) kind: Kind,
    pub(crate) confidence: Confidence,
    /// What the actor gained and lost, by token, without zeros, sorted by token.
    pub(crate) profit: Vec<(&'a [u8], I256)>,
}

/// What [`find`] reads.
pub(crate) struct Evidence<'e, 'a> {
    pub(crate) trades: &'e Trades<'a>,
    pub(crate) transfers: Transfers<'a>,
    pub(crate) costs: &'e Costs<'a>,
    /// Transactions with a fill of an aggregator or a settlement, sorted.
    pub(crate) fills: Vec<i64>,
    /// Transactions and those who lent in them, sorted.
    pub(crate) lenders: Vec<(i64, &'a [u8])>,
    /// Transactions that are part of a sandwich as its front or back, sorted.
    pub(crate) attacks: Vec<i64>,
    pub(crate) settings: &'a MevSettings,
}

/// Finds the arbitrages of a block, in its order.
pub(crate) fn find<'a>(evidence: &Evidence<'_, 'a>) -> Vec<Arbitrage<'a>> {
    let trades = evidence.trades;
    let order = trades.in_order();
    let by_transaction = order.chunk_by(|a, b| trades.transaction_index[*a] == trades.transaction_index[*b]);
    by_transaction.filter(|rows| rows.len() >= 2).filter_map(|rows| evidence.judge(rows)).collect()
}

impl<'a> Evidence<'_, 'a> {
    fn judge(&self, rows: &[usize]) -> Option<Arbitrage<'a>> {
        let transaction = self.trades.transaction_index[rows[0]];
        let pool = |row: &usize| self.trades.pool.value(*row);
        if rows.iter().all(|row| pool(row) == pool(&rows[0])) || self.for_others(transaction, rows[0]) {
            return None;
        }
        let transfers = self.transfers.of_transaction(transaction);
        let hops: Vec<Hop<'a>> =
            rows.iter().filter_map(|row| hop(self.trades, &transfers, *row, self.settings)).collect();
        let public = bytes_at(self.trades.tx_to, rows[0]).is_none_or(|to| is_public(self.settings, to));
        let closed = is_round(self.trades, &hops);
        let kin: Vec<Hop<'a>> = hops.iter().map(|hop| in_families(self.settings, hop)).collect();
        if !closed && (public || !is_round(self.trades, &kin)) {
            return None;
        }
        let held = self.balance(transaction, &hops, &transfers);
        let balance = if closed && held.is_empty() { traded(&hops) } else { held };
        let sender = self.trades.tx_from.value(rows[0]);
        let own_coins = transfers.iter().any(|transfer| transfer.from == sender || transfer.to == sender);
        let kind = if is_gain(&hops, &balance) {
            Kind::Atomic
        } else if !public && !own_coins && is_gain(&kin, &merged(self.settings, &balance)) {
            Kind::Stable
        } else {
            Kind::LongTail
        };
        if kind == Kind::LongTail && !self.settings.loose_matches {
            return None;
        }
        let confidence = match kind {
            Kind::Atomic if closed && !public => Confidence::High,
            Kind::Atomic | Kind::Stable => Confidence::Medium,
            Kind::LongTail => Confidence::Low,
        };
        Some(Arbitrage { hops, kind, confidence, profit: balance })
    }

    /// Whether the transaction trades for others, or is told elsewhere.
    fn for_others(&self, transaction: i64, row: usize) -> bool {
        let kind = bytes_at(self.trades.tx_to, row)
            .and_then(|to| Address::try_from(to).ok())
            .and_then(|to| self.settings.labels.get(&to));
        kind.is_some_and(|label| matches!(label.kind.as_str(), "aggregator" | "settlement" | "infrastructure"))
            || self.fills.binary_search(&transaction).is_ok()
            || self.attacks.binary_search(&transaction).is_ok()
    }

    /// What the actor holds more and less of, by the transfers.
    fn balance(&self, transaction: i64, hops: &[Hop<'a>], transfers: &[Transfer<'a>]) -> Balance<'a> {
        let actors = self.actors(transaction, hops, transfers);
        // The native coin counts as its wrapped form, under the name that the trades use.
        let is_native = |token: &[u8]| self.settings.wrapped_native.iter().any(|wrapped| wrapped == token);
        let native = hops.iter().flat_map(|hop| [hop.sold, hop.bought]).find(|token| is_native(token));
        // Payments to and from the wrapping contract are wrapping.
        let payments = self.costs.payments(transaction).filter(|(from, to, _)| !is_native(from) && !is_native(to));
        let payments = payments.filter_map(|(from, to, amount)| Some(Transfer { token: native?, from, to, amount }));
        let moved: Vec<Transfer<'a>> = transfers.iter().copied().chain(payments).collect();
        let unseen = if hops.iter().any(|hop| hop.native) && !self.costs.has_traces() { native } else { None };
        let keeps = |to: &[u8]| {
            let pays = moved.iter().any(|transfer| transfer.from == to);
            let is_token = moved.iter().any(|transfer| transfer.token == to);
            Some(to) == self.costs.miner() || !pays && !is_token && to != [0; 20] && !self.is_pool(hops, to)
        };
        let mut balance = Balance::new();
        for Transfer { token, from, to, amount } in moved.iter().filter(|transfer| Some(transfer.token) != unseen) {
            match (actors.contains(from), actors.contains(to)) {
                (false, true) => add(&mut balance, token, difference(*amount, U256::ZERO)),
                (true, false) if !keeps(to) => add(&mut balance, token, difference(U256::ZERO, *amount)),
                _ => {}
            }
        }
        balance.extend(traded(hops).into_iter().filter(|(token, _)| Some(*token) == unseen));
        balance.retain(|(_, net)| !net.is_zero());
        balance.sort_unstable();
        balance
    }

    fn is_pool(&self, hops: &[Hop<'_>], address: &[u8]) -> bool {
        let holds =
            |hop: &Hop<'_>| [self.trades.pool.value(hop.row), self.trades.venue.value(hop.row)].contains(&address);
        hops.iter().any(holds)
    }

    fn actors(&self, transaction: i64, hops: &[Hop<'a>], transfers: &[Transfer<'a>]) -> Vec<&'a [u8]> {
        let trades = self.trades;
        let is_pool = |address: &[u8]| self.is_pool(hops, address);
        let is_lender = |address: &'a [u8]| self.lenders.binary_search(&(transaction, address)).is_ok();
        let mut actors = vec![trades.tx_from.value(hops[0].row)];
        actors.extend(bytes_at(trades.tx_to, hops[0].row).filter(|to| !is_public(self.settings, to) && !is_pool(to)));
        for paid in transfers.iter().filter(|transfer| is_pool(transfer.from)) {
            let other = paid.to;
            let pays = transfers.iter().any(|transfer| transfer.from == other && is_pool(transfer.to));
            let is_token = transfers.iter().any(|transfer| transfer.token == other);
            let stands_between = is_pool(other) || is_lender(other) || is_token || is_public(self.settings, other);
            if pays && !stands_between && Some(other) != self.costs.miner() && !actors.contains(&other) {
                actors.push(other);
            }
        }
        actors
    }
}

/// Net amounts by token.
type Balance<'a> = Vec<(&'a [u8], I256)>;

fn add<'a>(balance: &mut Balance<'a>, token: &'a [u8], amount: I256) {
    match balance.iter_mut().find(|entry| entry.0 == token) {
        Some(entry) => entry.1 = entry.1.saturating_add(amount),
        None => balance.push((token, amount)),
    }
}

fn is_public(settings: &MevSettings, address: &[u8]) -> bool {
    Address::try_from(address).is_ok_and(|address| address == [0; 20] || settings.is_public(&address))
}

/// What the trades alone leave.
fn traded<'a>(hops: &[Hop<'a>]) -> Balance<'a> {
    let mut balance = Balance::new();
    for hop in hops {
        add(&mut balance, hop.sold, difference(U256::ZERO, hop.amount_in));
        add(&mut balance, hop.bought, difference(hop.amount_out, U256::ZERO));
    }
    balance.retain(|(_, net)| !net.is_zero());
    balance.sort_unstable();
    balance
}

/// Whether something was gained and nothing lost but dust.
fn is_gain(hops: &[Hop<'_>], balance: &Balance<'_>) -> bool {
    let dust = |token: &[u8]| {
        let sold = hops.iter().filter(|hop| hop.sold == token);
        sold.fold(U256::ZERO, |sum, hop| sum.saturating_add(hop.amount_in)) / U256::from(DUST)
    };
    let short = |(token, net): &(&[u8], I256)| net.is_negative() && net.unsigned_abs() > dust(token);
    balance.iter().any(|(_, net)| net.is_positive()) && !balance.iter().any(short)
}

/// A trade with both tokens. Where the event did not tell one, it is the token that reached or left the pool
/// in the amount nearest to the trade's.
fn hop<'a>(trades: &Trades<'a>, transfers: &[Transfer<'a>], row: usize, settings: &'a MevSettings) -> Option<Hop<'a>> {
    let (amount_in, amount_out) = (trades.sold(row), trades.bought(row));
    let (sold, bought) = (bytes_at(trades.token_sold, row), bytes_at(trades.token_bought, row));
    let holder = [trades.pool.value(row), trades.venue.value(row)];
    let nearest = |other: Option<&'a [u8]>, amount: U256, side: fn(&Transfer<'a>) -> &'a [u8]| {
        transfers
            .iter()
            .filter(|transfer| holder.contains(&side(transfer)) && Some(transfer.token) != other)
            .min_by_key(|transfer| transfer.amount.abs_diff(amount))
            .map(|transfer| transfer.token)
    };
    let sold = sold.or_else(|| nearest(bought, amount_in, |transfer| transfer.to))?;
    let bought = bought.or_else(|| nearest(Some(sold), amount_out, |transfer| transfer.from))?;
    let native = is_native_coin(sold) || is_native_coin(bought);
    let (sold, bought) = (settings.wrapped(sold), settings.wrapped(bought));
    (sold != bought).then_some(Hop { row, sold, bought, amount_in, amount_out, native })
}

/// A token under the name of its family, and by how many powers of ten its unit is larger than the family's.
fn family<'a>(settings: &MevSettings, token: &'a [u8]) -> (&'a [u8], u32) {
    const DOLLARS: &[u8] = b"dollars";
    const NATIVE: &[u8] = b"native";
    let Ok(address) = Address::try_from(token) else { return (token, 0) };
    match settings.stablecoins.get(&address) {
        Some(decimals) => (DOLLARS, 18_u32.saturating_sub(*decimals)),
        None if settings.wrapped_native.contains(&address) => (NATIVE, 0),
        None => (token, 0),
    }
}

/// The amount in the unit of the family.
fn in_family_unit(amount: U256, powers: u32) -> U256 {
    amount.saturating_mul(U256::from(10).saturating_pow(U256::from(powers)))
}

/// The balance with token kin taken together.
fn merged<'a>(settings: &MevSettings, balance: &Balance<'a>) -> Balance<'a> {
    let mut merged = Balance::new();
    for (token, net) in balance {
        let (name, powers) = family(settings, token);
        let amount = difference(in_family_unit(net.unsigned_abs(), powers), U256::ZERO);
        add(&mut merged, name, if net.is_negative() { -amount } else { amount });
    }
    merged
}

fn in_families<'a>(settings: &MevSettings, hop: &Hop<'a>) -> Hop<'a> {
    let ((sold, sold_powers), (bought, bought_powers)) = (family(settings, hop.sold), family(settings, hop.bought));
    let amount_in = in_family_unit(hop.amount_in, sold_powers);
    Hop { sold, bought, amount_in, amount_out: in_family_unit(hop.amount_out, bought_powers), ..*hop }
}

/// Whether the trades leave no token short and come back, over at least two pools, to where they started.
fn is_round(trades: &Trades<'_>, hops: &[Hop<'_>]) -> bool {
    is_gain(hops, &traded(hops)) && comes_back(trades, hops)
}

/// Whether a walk over trades of two pools comes back to its first token.
fn comes_back(trades: &Trades<'_>, hops: &[Hop<'_>]) -> bool {
    // reach[i][j]: from what hop i bought one can go on to hop j.
    let count = hops.len();
    let mut reach = vec![false; count * count];
    for (i, from) in hops.iter().enumerate() {
        for (j, to) in hops.iter().enumerate() {
            reach[i * count + j] = from.bought == to.sold;
        }
    }
    for via in 0..count {
        for i in 0..count {
            if reach[i * count + via] {
                for j in 0..count {
                    reach[i * count + j] |= reach[via * count + j];
                }
            }
        }
    }
    let pool = |hop: usize| trades.pool.value(hops[hop].row);
    (0..count).any(|i| (i + 1..count).any(|j| reach[i * count + j] && reach[j * count + i] && pool(i) != pool(j)))
}
