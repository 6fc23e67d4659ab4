//! Rule S1: who sandwiched whom in a block. Pure: trades in, sandwiches out.
//!
//! One actor buys, others buy after it, the actor sells: the others paid more. The published detectors
//! differ in how they tell that one actor stands on both sides and how they avoid accidents; the rule
//! here, over the trades of one block, pool and pair of coins:
//!
//! 1. A *leg* is what one transaction traded in one direction. A transaction that traded both ways is left out.
//! 2. The identities of a leg are the sender of its transaction, and the contract it called, the recipient
//!    and the caller of the pool, as far as they are the actor's own: not labelled public, no pool, not called
//!    by four or more senders in the block, and not of a transaction in which a pool pays the sender (as a
//!    router does). Legs that share an identity, directly or over others, have one actor.
//! 3. The legs of an actor, in order, form runs of one direction. A run, the next run the other way, and at
//!    least one leg of the first direction by another actor between the first and the last of them: a
//!    sandwich. Runs are used once, from left to right.
//! 4. A leg of a transaction that left no token short over several pools (an arbitrage) carries nothing on
//!    and is no part of an attack; it can be a victim.
//! 5. What was bought in front must be what is sold behind: `exact` within 0.1 %, `partial` within a factor of
//!    two, or of 1.25 when only a contract, not the sender, is shared. Anything else is `loose`.
//!
//! Sources: mev-inspect-py's sandwich classifier (one pass, skip list of routers), Dune's `dex.sandwiches`
//! (same sender), Capponi, Jia, Wang, "The Evolution of Blockchain Virtue" (amounts within 0.1 %), brontes
//! (several fronts and victims of one sandwich), zeromev (balanced part, victim loss).
//!
//! Sorting dominates: O(n log n) for n trades of a block, without an allocation for each trade.

use alloy_primitives::{I256, U256, U512};

use super::block_facts::BlockFacts;
use super::columns::{Trades, bytes_at, int_at};
use super::{Confidence, MevSettings};

/// Version of the rule: the column `rule_version`.
pub const RULE_VERSION: i64 = 1;

/// What one transaction traded one way in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Rows of its trades, in the order of the block.
    pub rows: Vec<usize>,
    /// What it sold, all together.
    pub amount_in: U256,
    /// What it bought, all together.
    pub amount_out: U256,
}

/// How well the amounts of both sides agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Within 0.1 %.
    Exact,
    /// Within a factor of two, or of 1.25 when only a contract is shared.
    Partial,
    /// Neither.
    Loose,
}

impl Match {
    /// The value of the column `match`.
    pub fn name(self) -> &'static str {
        match self {
            Match::Exact => "exact",
            Match::Partial => "partial",
            Match::Loose => "loose",
        }
    }
}

/// One sandwich.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandwich {
    /// The attacker's legs before victims.
    pub fronts: Vec<Leg>,
    /// The legs of others in the direction of the fronts.
    pub victims: Vec<Leg>,
    /// The attacker's legs that undo the fronts.
    pub backs: Vec<Leg>,
    /// Whether a front and a back have the same sender.
    pub same_sender: bool,
    /// How well the amounts agree.
    pub matching: Match,
}

impl Sandwich {
    /// Sold by the fronts, bought by them, sold by the backs, bought by them.
    pub fn amounts(&self) -> [U256; 4] {
        let (front_in, front_out) = totals(&self.fronts);
        let (back_in, back_out) = totals(&self.backs);
        [front_in, front_out, back_in, back_out]
    }

    /// What the attacker earned of the token it started with, over the part of the amounts that agrees:
    /// the larger side counts as far as the other goes.
    pub fn gross_profit(&self) -> I256 {
        let [front_in, front_out, back_in, back_out] = self.amounts();
        if back_in > front_out {
            difference(scale(back_out, front_out, back_in), front_in)
        } else {
            difference(back_out, scale(front_in, back_in, front_out))
        }
    }

    /// How sure the rule is.
    pub fn confidence(&self) -> Confidence {
        match (self.matching, self.gross_profit().is_positive()) {
            (Match::Exact, true) => Confidence::High,
            (Match::Partial, true) => Confidence::Medium,
            _ => Confidence::Low,
        }
    }
}

/// Sums of what legs sold and bought.
pub(crate) fn totals(legs: &[Leg]) -> (U256, U256) {
    legs.iter().fold((U256::ZERO, U256::ZERO), |(sold, bought), leg| {
        (sold.saturating_add(leg.amount_in), bought.saturating_add(leg.amount_out))
    })
}

/// `value * numerator / denominator`, rounded down, the largest number if that does not fit; zero over zero.
pub(crate) fn scale(value: U256, numerator: U256, denominator: U256) -> U256 {
    if denominator.is_zero() {
        return U256::ZERO;
    }
    let wide: U512 = value.widening_mul(numerator);
    let scaled = wide / U512::from(denominator);
    if scaled > U512::from(U256::MAX) { U256::MAX } else { scaled.to() }
}

/// `a - b`, held within what a signed number can say.
pub(crate) fn difference(a: U256, b: U256) -> I256 {
    let magnitude = I256::try_from(a.abs_diff(b)).unwrap_or(I256::MAX);
    if a >= b { magnitude } else { -magnitude }
}

/// A coin of a pool: its place where the pool tells it, else its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Coin<'a> {
    Place(i64),
    Token(&'a [u8]),
}

/// A trade in a pool with at least three of them.
#[derive(Clone, Copy)]
struct Trade<'a> {
    pair: (Coin<'a>, Coin<'a>),
    sells_first: bool,
    row: usize,
}

/// A leg while it is looked at: rows are a range of the trades of the pair.
#[derive(Clone, Copy)]
struct Side {
    start: usize,
    end: usize,
    sells_first: bool,
    actor: usize,
    attacks: bool,
}

/// Finds the sandwiches of a block, in the order of their first fronts, then of their pools.
///
/// With [`MevSettings::loose_matches`] those whose amounts do not agree are among them.
pub fn detect(trades: &Trades<'_>, settings: &MevSettings) -> Vec<Sandwich> {
    if trades.len() < 3 {
        return Vec::new();
    }
    let order = trades.in_order();
    let mut keyed: Vec<(u64, usize)> =
        order.iter().enumerate().map(|(rank, row)| (pool_key(trades.pool.value(*row)), rank)).collect();
    // Equal keys are almost always equal pools; the addresses themselves decide.
    let pool = |rank: usize| trades.pool.value(order[rank]);
    keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| pool(a.1).cmp(pool(b.1))).then(a.1.cmp(&b.1)));
    let mut search = Search { trades, settings, order: &order, facts: None, found: Vec::new() };
    let mut of_pool = Vec::new();
    for group in keyed.chunk_by(|a, b| a.0 == b.0 && pool(a.1) == pool(b.1)) {
        if group.len() >= 3 {
            search.pool(group.iter().map(|(_, rank)| order[*rank]), &mut of_pool);
        }
    }
    let mut found = search.found;
    found.sort_by_key(|sandwich| {
        let first = sandwich.fronts[0].rows[0];
        (trades.position(first), trades.pool.value(first))
    });
    found
}

/// Bytes of a pool's address that tell pools apart almost always, whatever zeros it begins with.
fn pool_key(pool: &[u8]) -> u64 {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    word(pool.first_chunk()) ^ word(pool.last_chunk()).rotate_left(29)
}

struct Search<'s, 'a> {
    trades: &'s Trades<'a>,
    settings: &'s MevSettings,
    order: &'s [usize],
    facts: Option<BlockFacts<'a>>,
    found: Vec<Sandwich>,
}

impl<'a> Search<'_, 'a> {
    /// Looks at the trades of one pool, which come in the order of the block.
    fn pool(&mut self, rows: impl Iterator<Item = usize>, scratch: &mut Vec<Trade<'a>>) {
        scratch.clear();
        scratch.extend(rows.filter_map(|row| trade(self.trades, row)));
        if !scratch.is_sorted_by_key(|trade| trade.pair) {
            scratch.sort_by_key(|trade| trade.pair);
        }
        for pair in scratch.chunk_by(|a, b| a.pair == b.pair) {
            if pair.len() >= 3 && pair.iter().any(|trade| trade.sells_first != pair[0].sells_first) {
                self.pair(pair);
            }
        }
    }

    fn pair(&mut self, pair: &[Trade<'a>]) {
        let mut sides = sides(self.trades, pair);
        // With every address taken for an identity no actor gets smaller: enough to rule most pools out.
        let trades = self.trades;
        name_actors(&mut sides, |side, ids| {
            for trade in &pair[side.start..side.end] {
                ids.push(trades.tx_from.value(trade.row));
                let others = [trades.tx_to, trades.recipient, trades.sender];
                ids.extend(others.into_iter().filter_map(|column| bytes_at(column, trade.row)));
            }
        });
        if !any_two_sided(&sides) {
            return;
        }
        let facts = self.facts.get_or_insert_with(|| BlockFacts::of(trades, self.order, self.settings));
        name_actors(&mut sides, |side, ids| {
            for trade in &pair[side.start..side.end] {
                ids.extend(facts.identities(trades, trade.row, self.settings));
            }
        });
        for side in &mut sides {
            side.attacks = !facts.is_closed(trades, pair[side.start].row);
        }
        if any_two_sided(&sides) {
            self.actors(pair, &sides);
        }
    }

    fn actors(&mut self, pair: &[Trade<'a>], sides: &[Side]) {
        let mut mine: Vec<usize> = (0..sides.len()).filter(|side| sides[*side].attacks).collect();
        mine.sort_by_key(|side| sides[*side].actor);
        for legs in mine.chunk_by(|a, b| sides[*a].actor == sides[*b].actor) {
            let runs: Vec<&[usize]> = legs.chunk_by(|a, b| sides[*a].sells_first == sides[*b].sells_first).collect();
            let mut next = 0;
            while let [front, back, ..] = &runs[next..] {
                next += if self.runs(pair, sides, front, back) { 2 } else { 1 };
            }
        }
    }

    /// Whether there are victims between the two runs; the sandwich is kept if its amounts agree.
    fn runs(&mut self, pair: &[Trade<'a>], sides: &[Side], front: &[usize], back: &[usize]) -> bool {
        let (first, last) = (front[0], back[back.len() - 1]);
        let victim = |side: &usize| {
            sides[*side].actor != sides[first].actor && sides[*side].sells_first == sides[first].sells_first
        };
        let victims: Vec<usize> = (first + 1..last).filter(victim).collect();
        if victims.is_empty() {
            return false;
        }
        let legs = |of: &[usize]| of.iter().map(|side| leg(self.trades, pair, &sides[*side])).collect::<Vec<_>>();
        let sender = |side: &usize| self.trades.tx_from.value(pair[sides[*side].start].row);
        let same_sender = front.iter().any(|a| back.iter().any(|b| sender(a) == sender(b)));
        let (fronts, backs) = (legs(front), legs(back));
        let matching = matching(totals(&fronts).1, totals(&backs).0, same_sender);
        if matching != Match::Loose || self.settings.loose_matches {
            self.found.push(Sandwich { fronts, victims: legs(&victims), backs, same_sender, matching });
        }
        true
    }
}

fn matching(front_out: U256, back_in: U256, same_sender: bool) -> Match {
    let within = |numerator: u64, denominator: u64| {
        let at_most = |a: U256, b: U256| {
            let (left, right): (U512, U512) =
                (a.widening_mul(U256::from(denominator)), b.widening_mul(U256::from(numerator)));
            left <= right
        };
        at_most(front_out, back_in) && at_most(back_in, front_out)
    };
    let apart: U512 = front_out.abs_diff(back_in).widening_mul(U256::from(1000));
    if apart <= U512::from(front_out) {
        Match::Exact
    } else if if same_sender { within(2, 1) } else { within(5, 4) } {
        Match::Partial
    } else {
        Match::Loose
    }
}

fn trade<'a>(trades: &Trades<'a>, row: usize) -> Option<Trade<'a>> {
    let (sold, bought) = match (int_at(trades.sold_index, row), int_at(trades.bought_index, row)) {
        (Some(sold), Some(bought)) => (Coin::Place(sold), Coin::Place(bought)),
        _ => (Coin::Token(bytes_at(trades.token_sold, row)?), Coin::Token(bytes_at(trades.token_bought, row)?)),
    };
    let sells_first = sold < bought;
    let pair = if sells_first { (sold, bought) } else { (bought, sold) };
    (sold != bought).then_some(Trade { pair, sells_first, row })
}

/// One leg for each transaction that trades the pair one way.
fn sides(trades: &Trades<'_>, pair: &[Trade<'_>]) -> Vec<Side> {
    let mut sides = Vec::with_capacity(pair.len());
    let mut start = 0;
    for transaction in pair.chunk_by(|a, b| trades.transaction_index[a.row] == trades.transaction_index[b.row]) {
        let sells_first = transaction[0].sells_first;
        let end = start + transaction.len();
        if transaction.iter().all(|trade| trade.sells_first == sells_first) {
            sides.push(Side { start, end, sells_first, actor: 0, attacks: true });
        }
        start = end;
    }
    sides
}

fn leg(trades: &Trades<'_>, pair: &[Trade<'_>], side: &Side) -> Leg {
    let rows: Vec<usize> = pair[side.start..side.end].iter().map(|trade| trade.row).collect();
    let sum =
        |amount: &dyn Fn(usize) -> U256| rows.iter().fold(U256::ZERO, |sum, row| sum.saturating_add(amount(*row)));
    let (amount_in, amount_out) = (sum(&|row| trades.sold(row)), sum(&|row| trades.bought(row)));
    Leg { rows, amount_in, amount_out }
}

/// Whether an actor traded both ways.
fn any_two_sided(sides: &[Side]) -> bool {
    // An actor is named by its first leg.
    sides.iter().any(|side| side.attacks && side.sells_first != sides[side.actor].sells_first)
        || sides.iter().any(|side| !sides[side.actor].attacks)
}

/// Gives legs that share an identity, directly or over others, the index of the first of them as actor.
fn name_actors<'a>(sides: &mut [Side], mut identities: impl FnMut(&Side, &mut Vec<&'a [u8]>)) {
    let (mut ids, mut owned) = (Vec::new(), Vec::with_capacity(sides.len() * 4));
    for (index, side) in sides.iter_mut().enumerate() {
        ids.clear();
        identities(side, &mut ids);
        owned.extend(ids.iter().map(|id| (*id, index)));
        side.actor = index;
    }
    owned.sort_unstable();
    for pair in owned.windows(2) {
        if pair[0].0 == pair[1].0 {
            let (a, b) = (root(sides, pair[0].1), root(sides, pair[1].1));
            sides[a.max(b)].actor = a.min(b);
        }
    }
    for index in 0..sides.len() {
        sides[index].actor = root(sides, index);
    }
}

fn root(sides: &[Side], mut index: usize) -> usize {
    while sides[index].actor != index {
        index = sides[index].actor;
    }
    index
}
