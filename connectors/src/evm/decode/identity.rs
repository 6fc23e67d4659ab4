//! Which tokens a pool traded, from the transfers of the same transaction and from its own name.
//!
//! A transfer has two sides, the payer's and the receiver's, and each pays for one swap at most. The
//! sold coin is what the pool received in the amount the event tells, the bought coin what it sent,
//! each the nearest before the event, else the nearest after it and before the pool's next event.
//! Coins that take a fee on the way split one payment into several: then a coin counts whose
//! payments add up. Where the fee leaves no transfer, one of the two payments may be smaller by
//! [`MOST_TENTHS_OF_FEE`], if no other fits. Where a pool's address follows from its tokens, that alone
//! decides.

use std::collections::HashMap;

use alloy_primitives::U256;

use super::factories::{self, Derived};
use super::rows::{Family, NewPool, PoolId, Standard, Swap, Transfer, Trust};
use super::word::{Address, NATIVE, Word, ZERO};

/// How many payments of a pool are looked at on each side of an event, which bounds the work a
/// hostile transaction can cause.
const REACH: usize = 64;

/// How many payments may add up to one.
const PARTS: usize = 16;

/// How many tenths of a payment a coin may keep for itself.
const MOST_TENTHS_OF_FEE: u64 = 3;

/// How many different coins of one pool are tried in pairs.
const COINS: usize = 6;

/// How many derivations are remembered.
const REMEMBERED: usize = 1 << 16;

/// Which way a payment went, seen from one of its parties.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Way {
    In,
    Out,
}

/// One side of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Side {
    party: Address,
    log: usize,
    way: Way,
    token: Address,
    amount: Word,
    /// Whether native coin became the token or the token became native coin.
    wraps: bool,
    used: bool,
}

type Question = (PoolId, [Address; 2], Option<u32>);

/// The payments of one transaction by party, and what is known of pools from their names alone.
#[derive(Debug, Default)]
pub(super) struct Identities {
    sides: Vec<Side>,
    /// A pure function remembered: what it holds changes no answer.
    derived: HashMap<Question, Option<Derived>>,
    /// Factories trusted besides the known ones.
    trusted: Vec<Address>,
}

/// What is looked for: a payment of a party.
#[derive(Clone, Copy)]
struct Sought<'a> {
    party: &'a Address,
    way: Way,
    amount: &'a Word,
    token: Option<&'a Address>,
    not: Option<&'a Address>,
    wraps: bool,
}

impl<'a> Sought<'a> {
    fn any(party: &'a Address, way: Way, amount: &'a Word) -> Sought<'a> {
        Sought { party, way, amount, token: None, not: None, wraps: false }
    }
}

impl Sought<'_> {
    fn is(&self, side: &Side) -> bool {
        side.amount == *self.amount && self.may_be_part(side)
    }

    fn may_be_part(&self, side: &Side) -> bool {
        side.way == self.way
            && !side.used
            && (side.wraps || !self.wraps)
            && self.token.is_none_or(|token| side.token == *token)
            && self.not.is_none_or(|token| side.token != *token)
    }
}

/// The coin of a payment and, if it is one transfer, its side of that.
type Payment = (Address, Option<usize>);

/// The logs between which the payments of an event are.
#[derive(Clone, Copy)]
struct Span {
    since: usize,
    at: usize,
    until: usize,
}

impl Identities {
    pub(super) fn new(trusted: Vec<Address>) -> Identities {
        Identities { trusted, ..Identities::default() }
    }

    /// Whether a contract is a known factory or holder of pools, or trusted.
    pub(super) fn trusts(&self, contract: &Address) -> bool {
        factories::named(contract).is_some() || self.trusted.contains(contract)
    }

    /// The factories trusted besides the known ones.
    pub(super) fn trusted(&self) -> &[Address] {
        &self.trusted
    }

    /// Takes the payments of the next transaction.
    pub(super) fn begin(&mut self, transfers: &[Transfer]) {
        self.sides.clear();
        for transfer in transfers.iter().filter(|transfer| transfer.standard.is_fungible()) {
            let Transfer { at, token, from, to, amount, standard, .. } = *transfer;
            let wraps = standard != Standard::Erc20;
            let side = |party, way| Side { party, log: at.log, way, token, amount, wraps, used: false };
            self.sides.extend([side(from, Way::Out), side(to, Way::In)]);
        }
        self.sides.sort_unstable();
    }

    /// The range of a party's sides, and where in it the first is that is not before `at`.
    fn of_party(&self, party: &Address, at: usize) -> (std::ops::Range<usize>, usize) {
        let start = self.sides.partition_point(|side| side.party < *party);
        let rest = &self.sides[start..];
        let count = rest.partition_point(|side| side.party == *party);
        let middle = start + rest[..count].partition_point(|side| side.log < at);
        (start..start + count, middle)
    }

    /// The only coin that a party was paid, or paid out, in an amount; nothing if others agree too.
    pub(super) fn only_coin(&self, party: &Address, way: Way, amount: &Word) -> Option<Address> {
        let (range, _) = self.of_party(party, 0);
        let sought = Sought::any(party, way, amount);
        let mut found = self.sides[range].iter().filter(|side| sought.is(side));
        let first = found.next()?.token;
        found.next().is_none().then_some(first)
    }

    /// The coin that a party was paid, or paid out, in an amount nearest to the log `at`; the payment is used up.
    pub(super) fn take(&mut self, party: &Address, way: Way, amount: &Word, at: usize) -> Option<Address> {
        let index = self.find(Sought::any(party, way, amount), Span { since: 0, at, until: usize::MAX })?;
        let side = &mut self.sides[index];
        side.used = true;
        Some(side.token)
    }

    fn find(&self, sought: Sought<'_>, span: Span) -> Option<usize> {
        if *sought.amount == ZERO {
            return None;
        }
        let (range, middle) = self.of_party(sought.party, span.at);
        let before = (range.start..middle).rev().take(REACH).find(|index| sought.is(&self.sides[*index]));
        before.or_else(|| {
            let mut after = (middle..range.end).take(REACH).take_while(|index| self.sides[*index].log < span.until);
            after.find(|index| sought.is(&self.sides[*index]))
        })
    }

    /// A coin whose payments between the pool's last event and this one add up to the amount.
    fn find_sum(&self, sought: Sought<'_>, span: Span) -> Option<Address> {
        let (range, middle) = self.of_party(sought.party, span.at);
        let sides = &self.sides[range.start..middle];
        let near = || sides.iter().rev().take(PARTS).take_while(|side| side.log >= span.since);
        let paid = |side: &&Side| sought.may_be_part(side);
        let wanted = U256::from_be_bytes(*sought.amount);
        let mut last = None;
        for side in near().filter(paid) {
            if last == Some(side.token) {
                continue;
            }
            last = Some(side.token);
            let amounts = near().filter(paid).filter(|other| other.token == side.token);
            let sum = amounts.fold(U256::ZERO, |sum, side| sum.saturating_add(U256::from_be_bytes(side.amount)));
            if sum == wanted {
                return last;
            }
        }
        None
    }

    /// The only payment that is the amount less a fee.
    fn find_less_fee(&self, sought: Sought<'_>, span: Span) -> Option<Payment> {
        let (range, middle) = self.of_party(sought.party, span.at);
        let near = middle.saturating_sub(REACH).max(range.start)..(middle + REACH).min(range.end);
        let told = U256::from_be_bytes(*sought.amount);
        let (ten, most) = (U256::from(10), U256::from(MOST_TENTHS_OF_FEE));
        let most_fee = told / ten * most + told % ten * most / ten;
        let fits = |index: &usize| {
            let side = &self.sides[*index];
            let fee = told.checked_sub(U256::from_be_bytes(side.amount));
            let is_fee = fee.is_some_and(|fee| !fee.is_zero() && fee <= most_fee);
            is_fee && side.log >= span.since && side.log < span.until && sought.may_be_part(side)
        };
        let mut found = near.filter(fits);
        let only = found.next()?;
        found.next().is_none().then(|| (self.sides[only].token, Some(only)))
    }

    /// The coins sold and bought according to the payments, which are then used up, and how well those agree.
    fn match_payments(&mut self, party: &Address, swap: &Swap, span: Span) -> Option<([Address; 2], Trust)> {
        let into = Sought { token: swap.token_sold.as_ref(), ..Sought::any(party, Way::In, &swap.paid_in) };
        let out_of = Sought { token: swap.token_bought.as_ref(), ..Sought::any(party, Way::Out, &swap.paid_out) };
        // Who holds many pools settles with many at once.
        let may_keep_fee = swap.family != Family::V4 && swap.pool == PoolId::Address(*party);
        let less_fee = |sought| if may_keep_fee { self.find_less_fee(sought, span) } else { None };
        let ([sold, bought], trust) = if let Some(sold) = self.payment(into, swap, span) {
            let out_of = Sought { not: Some(&sold.0), ..out_of };
            match self.payment(out_of, swap, span) {
                Some(bought) => ([sold, bought], Trust::Balanced),
                None => ([sold, less_fee(out_of)?], Trust::Taxed),
            }
        } else {
            let bought = self.payment(out_of, swap, span)?;
            ([less_fee(Sought { not: Some(&bought.0), ..into })?, bought], Trust::Taxed)
        };
        for index in [sold.1, bought.1].into_iter().flatten() {
            self.sides[index].used = true;
        }
        Some(([sold.0, bought.0], trust))
    }

    fn payment(&self, sought: Sought<'_>, swap: &Swap, span: Span) -> Option<Payment> {
        let whole = self.find(sought, span).map(|index| (self.sides[index].token, Some(index)));
        let whole = whole.or_else(|| Some((self.find_sum(sought, span)?, None)));
        whole.or_else(|| {
            let (Family::Contract | Family::V4, Some(buyer)) = (swap.family, &swap.sender) else { return None };
            // Native coin leaves no log, but who buys it often wraps it, and who sells it unwraps it before.
            let way = if sought.way == Way::In { Way::Out } else { Way::In };
            let wrapped = Sought { wraps: true, ..Sought::any(buyer, way, sought.amount) };
            self.find(wrapped, span).map(|index| (NATIVE, Some(index)))
        })
    }

    fn derive(&mut self, swap: &Swap, tokens: [Address; 2]) -> Option<Derived> {
        let question = (swap.pool, tokens, swap.fee_pips);
        if let Some(answer) = self.derived.get(&question) {
            return *answer;
        }
        if self.derived.len() >= REMEMBERED {
            self.derived.clear();
        }
        let pair = [&tokens[0], &tokens[1]];
        let answer = factories::derive(swap.family, &swap.pool, pair, swap.fee_pips, &self.trusted);
        self.derived.insert(question, answer);
        answer
    }

    /// The pair among the coins the pool moved that its name follows from.
    fn derive_from_payments(&mut self, party: &Address, swap: &Swap, span: Span) -> Option<([Address; 2], Derived)> {
        let (range, middle) = self.of_party(party, span.at);
        let near = middle.saturating_sub(REACH).max(range.start)..(middle + REACH).min(range.end);
        let mut coins = [[0; 20]; COINS];
        let mut count = 0;
        if swap.family == Family::V4 {
            count = 1; // The zero address is the native coin, whose payments leave no log.
        }
        for side in &self.sides[near] {
            if count < COINS && !coins[..count].contains(&side.token) {
                coins[count] = side.token;
                count += 1;
            }
        }
        let coins = &mut coins[..count];
        coins.sort_unstable();
        for (index, token0) in coins.iter().enumerate() {
            for token1 in &coins[index + 1..] {
                if let Some(derived) = self.derive(swap, [*token0, *token1]) {
                    return Some(([*token0, *token1], derived));
                }
            }
        }
        None
    }
}

/// Finds the tokens of the swaps of one transaction, and how far each can be believed. All lists are
/// those of that transaction.
pub(super) fn name_swaps(swaps: &mut [Swap], pools: &[NewPool], identities: &mut Identities) {
    for index in 0..swaps.len() {
        let swap = swaps[index];
        let same = |other: &&Swap| other.venue == swap.venue;
        let single = matches!(swap.pool, PoolId::Address(pool) if pool == swap.venue);
        let span = Span {
            since: swaps[..index].iter().rev().take(REACH).find(same).map_or(0, |before| before.at.log),
            at: swap.at.log,
            until: match swaps[index + 1..].iter().take(REACH).find(same) {
                Some(next) if single => next.at.log,
                _ => usize::MAX,
            },
        };
        name_swap(&mut swaps[index], pools, span, identities);
    }
}

fn name_swap(swap: &mut Swap, pools: &[NewPool], span: Span, identities: &mut Identities) {
    if swap.family == Family::Told {
        trust_told(swap, span, identities);
        return;
    }
    let announced = pools.iter().rev().find(|pool| pool.listed && pool.pool == swap.pool);
    if let Some(pool) = announced {
        swap.venue_name = pool.venue_name;
        swap.fee_pips = swap.fee_pips.or(pool.fee_pips);
        set_tokens(swap, [pool.token0, pool.token1], Trust::Verified);
        return;
    }
    let party = swap.venue;
    let matched = identities.match_payments(&party, swap, span);
    let matched = matched.filter(|([sold, bought], _)| fits_order(swap, sold, bought));
    if !swap.family.has_derived_name() {
        if let Some((tokens, trust)) = matched {
            set_traded(swap, tokens, trust);
        }
        return;
    }
    let pair = matched.map(|([sold, bought], _)| [sold.min(bought), sold.max(bought)]);
    let derived = pair.and_then(|pair| Some((pair, identities.derive(swap, pair)?)));
    let derived = derived.or_else(|| identities.derive_from_payments(&party, swap, span));
    let believable = swap.family != Family::V4 || identities.trusts(&swap.venue);
    if let Some((pair, derived)) = derived.filter(|_| believable) {
        swap.venue_name = derived.venue_name;
        swap.fee_pips = derived.fee_pips;
        set_tokens(swap, pair, Trust::Verified);
    } else if let Some((tokens, trust)) = matched {
        set_traded(swap, tokens, trust);
    }
}

impl Family {
    fn has_derived_name(self) -> bool {
        matches!(self, Family::V2 | Family::V3 | Family::V4)
    }
}

/// Pairs number their coins in the order of the addresses.
fn fits_order(swap: &Swap, sold: &Address, bought: &Address) -> bool {
    swap.family == Family::Contract || (swap.sold_index == Some(0)) == (sold < bought)
}

/// Sets the tokens of a pair from coin 0 and coin 1.
fn set_tokens(swap: &mut Swap, [token0, token1]: [Address; 2], trust: Trust) {
    let tokens = if swap.sold_index == Some(0) { [token0, token1] } else { [token1, token0] };
    set_traded(swap, tokens, trust);
}

fn set_traded(swap: &mut Swap, [sold, bought]: [Address; 2], trust: Trust) {
    (swap.token_sold, swap.token_bought, swap.trust) = (Some(sold), Some(bought), trust);
}

/// An event that tells its tokens is believed if it comes from a known contract, or if payments agree.
fn trust_told(swap: &mut Swap, span: Span, identities: &mut Identities) {
    let pool = match swap.pool {
        PoolId::Address(pool) => pool,
        PoolId::Id(_) => swap.venue,
    };
    let mut paid = identities.match_payments(&pool, swap, span);
    if paid.is_none() && pool != swap.venue {
        paid = identities.match_payments(&swap.venue, swap, span);
    }
    if identities.trusts(&swap.venue) {
        swap.trust = Trust::Verified;
    } else if let Some((_, trust)) = paid {
        swap.trust = trust;
    }
}
