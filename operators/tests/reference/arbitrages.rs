//! Rule A1 by its definition: maps and searches, and no thought of speed.

use std::collections::{BTreeMap, BTreeSet};

use crate::chain_rows::TradeRow;

/// The native coin among the tokens of a pool.
pub(crate) const COIN: u8 = 0xee;

/// A transfer: transaction, token, from, to, amount.
pub(crate) type Transfer = (i64, u8, u8, u8, u128);
/// A native payment: transaction, from, to, amount.
pub(crate) type Payment = (i64, u8, u8, u128);

/// What happened in a block besides its trades.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) payments: Vec<Payment>,
    /// Transactions with a fill.
    pub(crate) fills: Vec<i64>,
    /// Transactions and lenders.
    pub(crate) loans: Vec<(i64, u8)>,
    pub(crate) miner: u8,
    /// Trades of the block before.
    pub(crate) previous: Vec<TradeRow>,
    /// Transactions that liquidate.
    pub(crate) liquidations: Vec<i64>,
    /// Transactions that add or take liquidity for a moment.
    pub(crate) liquidity: Vec<i64>,
}

/// What is known of addresses and tokens.
pub(crate) struct Known {
    pub(crate) public: Vec<u8>,
    /// Public addresses that trade for others.
    pub(crate) for_others: Vec<u8>,
    pub(crate) native: u8,
    /// Stablecoins and their decimals.
    pub(crate) stable: BTreeMap<u8, u32>,
    pub(crate) loose: bool,
}

/// Transaction, kind, and what was gained of each token.
pub(crate) type Found = (i64, &'static str, BTreeMap<u8, i128>);

#[derive(Clone, Debug)]
struct Hop {
    pool: u8,
    sold: u8,
    bought: u8,
    amounts: (i128, i128),
    native: bool,
}

/// The transaction that an arbitrage answers, and how many transactions it is away in its own block.
pub(crate) fn trigger(trades: &[TradeRow], around: &Around, known: &Known, own: i64) -> Option<(i64, Option<i64>)> {
    let transfers: Vec<Transfer> = around.transfers.iter().copied().filter(|transfer| transfer.0 == own).collect();
    let mine: Vec<&TradeRow> = trades.iter().filter(|trade| trade.transaction == own).collect();
    let hops: Vec<Hop> = mine.iter().filter_map(|trade| hop(trade, &transfers, known)).collect();
    let (from, to) = (mine[0].from, mine[0].to);
    let wrapped = |token| if token == COIN { known.native } else { token };
    let answers = |trade: &&TradeRow| {
        let (sold, bought) = (wrapped(trade.tokens.0), wrapped(trade.tokens.1));
        let same_contract = to != 0 && !known.public.contains(&to) && trade.to == to;
        let against = |hop: &Hop| hop.pool == trade.pool && hop.sold == bought && hop.bought == sold;
        trade.from != from && !same_contract && hops.iter().any(against)
    };
    let place = |trade: &&TradeRow| (trade.transaction, trade.log);
    let here = trades.iter().filter(|trade| trade.transaction < own).filter(answers).max_by_key(place);
    let before = around.previous.iter().filter(answers).max_by_key(place);
    let here = here.map(|trade| (trade.transaction, Some(own - trade.transaction)));
    here.or(before.map(|trade| (trade.transaction, None)))
}

/// The kind that comes before an arbitrage.
pub(crate) fn superseded(around: &Around, own: i64) -> &'static str {
    match (around.liquidations.contains(&own), around.liquidity.contains(&own)) {
        (true, _) => "liquidation",
        (false, true) => "jit",
        (false, false) => "-",
    }
}

fn signed(amount: u128) -> i128 {
    i128::try_from(amount).expect("test amounts are small")
}

/// `attacks` are transactions in front of or behind the victims of a sandwich.
pub(crate) fn arbitrages(trades: &[TradeRow], around: &Around, known: &Known, attacks: &BTreeSet<i64>) -> Vec<Found> {
    let transactions: BTreeSet<i64> = trades.iter().map(|trade| trade.transaction).collect();
    let mut found = Vec::new();
    for transaction in transactions {
        let mine: Vec<&TradeRow> = trades.iter().filter(|trade| trade.transaction == transaction).collect();
        let pools: BTreeSet<u8> = mine.iter().map(|trade| trade.pool).collect();
        let to = mine[0].to;
        let left_out = around.fills.contains(&transaction) || attacks.contains(&transaction);
        if pools.len() < 2 || known.for_others.contains(&to) || left_out {
            continue;
        }
        let transfers: Vec<Transfer> =
            around.transfers.iter().copied().filter(|transfer| transfer.0 == transaction).collect();
        let hops: Vec<Hop> = mine.iter().filter_map(|trade| hop(trade, &transfers, known)).collect();
        let public = to == 0 || known.public.contains(&to);
        let held = held(&mine, &hops, &transfers, around, known);
        let kin = |balance: &BTreeMap<u8, i128>| -> BTreeMap<u8, i128> {
            let mut merged = BTreeMap::new();
            for (token, net) in balance {
                let (name, unit) = family(*token, known);
                *merged.entry(name).or_insert(0) += net * unit;
            }
            merged
        };
        let renamed: Vec<Hop> = hops
            .iter()
            .map(|hop| {
                let ((sold, from), (bought, to)) = (family(hop.sold, known), family(hop.bought, known));
                Hop { sold, bought, amounts: (hop.amounts.0 * from, hop.amounts.1 * to), ..*hop }
            })
            .collect();
        let own_round = round(&hops);
        let own_coins = transfers.iter().any(|transfer| transfer.2 == mine[0].from || transfer.3 == mine[0].from);
        let judged = if own_round && held.is_empty() {
            Some(("atomic", traded(&hops)))
        } else if (own_round || !public && round(&renamed)) && gains(&held, &hops) {
            Some(("atomic", held))
        } else if (own_round || round(&renamed)) && !public && !own_coins && gains(&kin(&held), &renamed) {
            Some(("stable", held))
        } else if known.loose && (own_round || !public && round(&renamed)) {
            Some(("long_tail", held))
        } else {
            None
        };
        found.extend(judged.map(|(kind, balance)| (transaction, kind, balance)));
    }
    found
}

/// All stablecoins are one token of 18 decimals.
fn family(token: u8, known: &Known) -> (u8, i128) {
    match known.stable.get(&token) {
        Some(decimals) => (255, 10_i128.pow(18 - decimals)),
        None => (token, 1),
    }
}

fn hop(trade: &TradeRow, transfers: &[Transfer], known: &Known) -> Option<Hop> {
    let nearest = |other: u8, amount: u128, of: fn(&Transfer) -> u8| {
        let mut seen: Vec<&Transfer> =
            transfers.iter().filter(|transfer| of(transfer) == trade.pool && transfer.1 != other).collect();
        seen.sort_by_key(|transfer| transfer.4.abs_diff(amount));
        seen.first().map(|transfer| transfer.1)
    };
    let (mut sold, mut bought) = trade.tokens;
    if sold == 0 {
        sold = nearest(bought, trade.amounts.0, |transfer| transfer.3)?;
    }
    if bought == 0 {
        bought = nearest(sold, trade.amounts.1, |transfer| transfer.2)?;
    }
    let amounts = (signed(trade.amounts.0), signed(trade.amounts.1));
    let native = sold == COIN || bought == COIN;
    let wrapped = |token| if token == COIN { known.native } else { token };
    let (sold, bought) = (wrapped(sold), wrapped(bought));
    (sold != bought).then_some(Hop { pool: trade.pool, sold, bought, amounts, native })
}

fn traded(hops: &[Hop]) -> BTreeMap<u8, i128> {
    let mut balance = BTreeMap::new();
    for hop in hops {
        *balance.entry(hop.sold).or_insert(0) -= hop.amounts.0;
        *balance.entry(hop.bought).or_insert(0) += hop.amounts.1;
    }
    balance.retain(|_, net| *net != 0);
    balance
}

/// Something gained, nothing lost but a thousandth of what was sold.
fn gains(balance: &BTreeMap<u8, i128>, hops: &[Hop]) -> bool {
    let sold = |token: u8| hops.iter().filter(|hop| hop.sold == token).map(|hop| hop.amounts.0).sum::<i128>();
    balance.values().any(|net| *net > 0) && balance.iter().all(|(token, net)| *net >= -(sold(*token) / 1000))
}

/// No token short, and a way over two pools from a hop back to itself.
fn round(hops: &[Hop]) -> bool {
    let reached = |from: usize| -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut ends = vec![hops[from].bought];
        while let Some(token) = ends.pop() {
            for (index, hop) in hops.iter().enumerate() {
                if hop.sold == token && seen.insert(index) {
                    ends.push(hop.bought);
                }
            }
        }
        seen
    };
    let back = (0..hops.len())
        .any(|a| reached(a).into_iter().any(|b| hops[a].pool != hops[b].pool && reached(b).contains(&a)));
    gains(&traded(hops), hops) && back
}

/// What the actor holds more or less of after the transaction.
fn held(
    mine: &[&TradeRow],
    hops: &[Hop],
    transfers: &[Transfer],
    around: &Around,
    known: &Known,
) -> BTreeMap<u8, i128> {
    let transaction = mine[0].transaction;
    let pools: BTreeSet<u8> = hops.iter().map(|hop| hop.pool).collect();
    let mut actors = BTreeSet::from([mine[0].from]);
    if mine[0].to != 0 && !known.public.contains(&mine[0].to) && !pools.contains(&mine[0].to) {
        actors.insert(mine[0].to);
    }
    for other in 1..=255 {
        let paid = transfers.iter().any(|transfer| pools.contains(&transfer.2) && transfer.3 == other);
        let pays = transfers.iter().any(|transfer| transfer.2 == other && pools.contains(&transfer.3));
        let excluded = pools.contains(&other)
            || known.public.contains(&other)
            || around.loans.contains(&(transaction, other))
            || transfers.iter().any(|transfer| transfer.1 == other)
            || around.miner == other;
        if paid && pays && !excluded {
            actors.insert(other);
        }
    }
    let native_traded = hops.iter().any(|hop| hop.sold == known.native || hop.bought == known.native);
    let payments = around
        .payments
        .iter()
        .filter(|payment| native_traded && payment.0 == transaction)
        .filter(|payment| payment.1 != known.native && payment.2 != known.native)
        .map(|payment| (payment.0, known.native, payment.1, payment.2, payment.3));
    let moved: Vec<Transfer> = transfers.iter().copied().chain(payments).collect();
    let keeps = |to: u8| {
        let pays = moved.iter().any(|transfer| transfer.2 == to);
        let is_token = moved.iter().any(|transfer| transfer.1 == to);
        to == around.miner || !pays && !is_token && !pools.contains(&to)
    };
    // Without any trace of native payments the trades tell what happened to the native coin.
    let unseen = hops.iter().any(|hop| hop.native) && around.payments.is_empty();
    let mut balance = BTreeMap::new();
    for (_, token, from, to, amount) in moved.iter().copied().filter(|transfer| !(unseen && transfer.1 == known.native))
    {
        if actors.contains(&to) && !actors.contains(&from) {
            *balance.entry(token).or_insert(0) += signed(amount);
        }
        if actors.contains(&from) && !actors.contains(&to) && !keeps(to) {
            *balance.entry(token).or_insert(0) -= signed(amount);
        }
    }
    if let Some(net) = traded(hops).get(&known.native).filter(|_| unseen) {
        balance.insert(known.native, *net);
    }
    balance.retain(|_, net| *net != 0);
    balance
}
