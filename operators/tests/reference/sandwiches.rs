//! Rule S1 by its definition: all pairs, sets, and no thought of speed.

use std::collections::BTreeSet;

/// A trade as the rule sees it. Addresses are small numbers, 0 is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trade {
    pub(crate) transaction: i64,
    pub(crate) log: i64,
    pub(crate) pool: u8,
    /// Coins by place, when the pool tells it.
    pub(crate) places: Option<(i64, i64)>,
    /// Coins by token, 0 when unknown.
    pub(crate) tokens: (u8, u8),
    pub(crate) amounts: (u128, u128),
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) recipient: u8,
    pub(crate) sender: u8,
}

/// Indexes of the trades of fronts, victims and backs, leg by leg, and how well the amounts agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) fronts: Vec<Vec<usize>>,
    pub(crate) victims: Vec<Vec<usize>>,
    pub(crate) backs: Vec<Vec<usize>>,
    pub(crate) matching: &'static str,
}

/// Direction of a trade: what goes in and what comes out, by place or by token.
fn direction(trade: &Trade) -> Option<(String, String)> {
    let (sold, bought) = match (trade.places, trade.tokens) {
        (Some((sold, bought)), _) => (format!("place {sold}"), format!("place {bought}")),
        (None, (0, _) | (_, 0)) => return None,
        (None, (sold, bought)) => (format!("token {sold}"), format!("token {bought}")),
    };
    (sold != bought).then_some((sold, bought))
}

fn turned(direction: &(String, String)) -> (String, String) {
    (direction.1.clone(), direction.0.clone())
}

fn closed(trades: &[Trade], transaction: i64) -> bool {
    let mine: Vec<&Trade> = trades.iter().filter(|trade| trade.transaction == transaction).collect();
    let pools: BTreeSet<u8> = mine.iter().map(|trade| trade.pool).collect();
    let tokens: BTreeSet<u8> = mine.iter().flat_map(|trade| [trade.tokens.0, trade.tokens.1]).collect();
    let short = |token: u8| {
        let sold: u128 = mine.iter().filter(|trade| trade.tokens.0 == token).map(|trade| trade.amounts.0).sum();
        let bought: u128 = mine.iter().filter(|trade| trade.tokens.1 == token).map(|trade| trade.amounts.1).sum();
        sold > bought && sold - bought > sold / 1000
    };
    pools.len() >= 2 && !tokens.contains(&0) && !tokens.iter().any(|token| short(*token))
}

fn identities(trades: &[Trade], trade: &Trade, public: &[u8]) -> BTreeSet<u8> {
    let mut own: BTreeSet<u8> = [trade.from].into_iter().filter(|from| !public.contains(from)).collect();
    let pays_sender =
        trades.iter().any(|other| other.transaction == trade.transaction && other.recipient == other.from);
    for address in [trade.to, trade.recipient, trade.sender] {
        let pool = trades.iter().any(|other| other.pool == address);
        let callers: BTreeSet<u8> = trades
            .iter()
            .filter(|other| other.to == address || other.sender == address)
            .map(|other| other.from)
            .collect();
        if address != 0 && !public.contains(&address) && !pool && callers.len() < 4 && !pays_sender {
            own.insert(address);
        }
    }
    own
}

struct Leg {
    rows: Vec<usize>,
    direction: (String, String),
    own: BTreeSet<u8>,
    actor: usize,
}

/// The trades come in the order of the block.
pub(crate) fn sandwiches(trades: &[Trade], public: &[u8], loose: bool) -> Vec<Found> {
    let mut found = Vec::new();
    let mut pairs: BTreeSet<(u8, (String, String))> = BTreeSet::new();
    for trade in trades {
        if let Some(direction) = direction(trade) {
            pairs.insert((trade.pool, direction.clone().min(turned(&direction))));
        }
    }
    for (pool, pair) in pairs {
        let legs = legs(trades, pool, &pair, public);
        let actors: BTreeSet<usize> = legs.iter().map(|leg| leg.actor).collect();
        for actor in actors {
            of_actor(trades, &legs, actor, loose, &mut found);
        }
    }
    found.sort();
    found
}

fn legs(trades: &[Trade], pool: u8, pair: &(String, String), public: &[u8]) -> Vec<Leg> {
    let of = |wanted: &(String, String), transaction: i64| -> Vec<usize> {
        let here = |row: &usize| {
            let trade = &trades[*row];
            trade.transaction == transaction && trade.pool == pool && direction(trade).as_ref() == Some(wanted)
        };
        (0..trades.len()).filter(here).collect()
    };
    let mut legs = Vec::new();
    let transactions: BTreeSet<i64> = trades.iter().map(|trade| trade.transaction).collect();
    for transaction in transactions {
        let (there, back) = (of(pair, transaction), of(&turned(pair), transaction));
        let (rows, direction) = match (there.is_empty(), back.is_empty()) {
            (false, true) => (there, pair.clone()),
            (true, false) => (back, turned(pair)),
            _ => continue,
        };
        let own = rows.iter().flat_map(|row| identities(trades, &trades[*row], public)).collect();
        legs.push(Leg { rows, direction, own, actor: legs.len() });
    }
    // Until nothing changes: legs that share an identity have the smaller of their actors.
    loop {
        let mut changed = false;
        for a in 0..legs.len() {
            for b in 0..legs.len() {
                if legs[a].actor < legs[b].actor && !legs[a].own.is_disjoint(&legs[b].own) {
                    legs[b].actor = legs[a].actor;
                    changed = true;
                }
            }
        }
        if !changed {
            return legs;
        }
    }
}

fn of_actor(trades: &[Trade], legs: &[Leg], actor: usize, loose: bool, found: &mut Vec<Found>) {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for (index, leg) in legs.iter().enumerate() {
        if leg.actor != actor || closed(trades, trades[leg.rows[0]].transaction) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if legs[run[0]].direction == leg.direction => run.push(index),
            _ => runs.push(vec![index]),
        }
    }
    let mut next = 0;
    while next + 1 < runs.len() {
        let (front, back) = (&runs[next], &runs[next + 1]);
        let victims: Vec<usize> = (front[0] + 1..*back.last().expect("runs are not empty"))
            .filter(|leg| legs[*leg].actor != actor && legs[*leg].direction == legs[front[0]].direction)
            .collect();
        next += 1;
        if victims.is_empty() {
            continue;
        }
        next += 1;
        let rows = |of: &[usize]| of.iter().map(|leg| legs[*leg].rows.clone()).collect::<Vec<_>>();
        let sum = |of: &[usize], amount: fn(&Trade) -> u128| -> u128 {
            of.iter().flat_map(|leg| &legs[*leg].rows).map(|row| amount(&trades[*row])).sum()
        };
        let senders = |of: &[usize]| -> BTreeSet<u8> { of.iter().map(|leg| trades[legs[*leg].rows[0]].from).collect() };
        let (bought, sold) = (sum(front, |trade| trade.amounts.1), sum(back, |trade| trade.amounts.0));
        let same_sender = !senders(front).is_disjoint(&senders(back));
        let matching = if bought.abs_diff(sold) * 1000 <= bought {
            "exact"
        } else if same_sender && bought <= 2 * sold && sold <= 2 * bought
            || !same_sender && 4 * bought <= 5 * sold && 4 * sold <= 5 * bought
        {
            "partial"
        } else {
            "loose"
        };
        if matching != "loose" || loose {
            found.push(Found { fronts: rows(front), victims: rows(&victims), backs: rows(back), matching });
        }
    }
}
