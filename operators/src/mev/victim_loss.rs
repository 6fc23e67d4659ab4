//! What the victims of a sandwich would have got without it.
//!
//! Constant product pools (Uniswap V2) tell their reserves after each trade, so the state before the first
//! front is known: the trades of everybody else are run again from there. The pool's fee is not in its
//! events; the one that reproduces what the victims really got is taken, and none fits within 0.1 % (another
//! curve, a token that takes its own fee) the answer is NULL. The idea and the rescaling to the real outcome
//! are zeromev's; it has to guess the reserves, which are in the rows here.
//!
//! Concentrated liquidity (V3, V4) would need all ticks. There a bound without a model: each victim paid at
//! most the price that the fronts had moved to, instead of the one before them.

use alloy_primitives::{I256, U256, U512};

use super::columns::{Trades, int_at, wide_at};
use super::sandwich_rule::{Sandwich, difference, scale};

/// Parts of a million that pools of this kind keep; the first that fits best is taken.
const FEES_PIPS: [u64; 9] = [3000, 2500, 2000, 1700, 1600, 1000, 500, 100, 10_000];
const MILLION: u64 = 1_000_000;

/// A trade of the pool with the reserves it met: sold coin first.
struct Met {
    row: usize,
    /// 0 or 1: the coin sold.
    sold: usize,
    amount_in: U256,
    amount_out: U256,
    /// Of coin 0 and coin 1, before the trade.
    reserves: [U256; 2],
}

/// The loss of all victims in the token they bought; negative if the sandwich helped them.
pub(crate) fn victim_loss(trades: &Trades<'_>, sandwich: &Sandwich) -> Option<I256> {
    let met = trades_met(trades, sandwich)?;
    let is_of = |legs: &[super::sandwich_rule::Leg], row: usize| legs.iter().any(|leg| leg.rows.contains(&row));
    let victims: Vec<&Met> = met.iter().filter(|trade| is_of(&sandwich.victims, trade.row)).collect();
    let fee_pips = fee(trades, &victims)?;
    let mut reserves = met.first()?.reserves;
    let mut loss = I256::ZERO;
    for trade in &met {
        if is_of(&sandwich.fronts, trade.row) || is_of(&sandwich.backs, trade.row) {
            continue;
        }
        let alone = amount_out(trade.amount_in, reserves, trade.sold, fee_pips)?;
        let modelled = amount_out(trade.amount_in, trade.reserves, trade.sold, fee_pips)?;
        if is_of(&sandwich.victims, trade.row) {
            let would_have = scale(alone, trade.amount_out, modelled);
            loss = loss.checked_add(difference(would_have, trade.amount_out))?;
        }
        reserves[trade.sold] = reserves[trade.sold].checked_add(trade.amount_in)?;
        reserves[1 - trade.sold] = reserves[1 - trade.sold].checked_sub(alone)?;
    }
    Some(loss)
}

/// The trades of the pool from the first front to the last victim, if each met the reserves that the one
/// before it left.
fn trades_met(trades: &Trades<'_>, sandwich: &Sandwich) -> Option<Vec<Met>> {
    let first = sandwich.fronts[0].rows[0];
    let last = *sandwich.victims.last()?.rows.last()?;
    wide_at(trades.reserve0, first)?;
    let pool = trades.pool.value(first);
    let between = trades.position(first)..=trades.position(last);
    let mut rows: Vec<usize> = (0..trades.len())
        .filter(|row| between.contains(&trades.position(*row)) && trades.pool.value(*row) == pool)
        .collect();
    rows.sort_by_key(|row| trades.position(*row));
    let mut met: Vec<Met> = Vec::with_capacity(rows.len());
    let mut left: Option<[U256; 2]> = None;
    for row in rows {
        let after = [wide_at(trades.reserve0, row)?, wide_at(trades.reserve1, row)?];
        let sold = match (int_at(trades.sold_index, row)?, int_at(trades.bought_index, row)?) {
            (0, 1) => 0,
            (1, 0) => 1,
            _ => return None,
        };
        let (amount_in, amount_out) = (trades.sold(row), trades.bought(row));
        let mut reserves = after;
        reserves[sold] = after[sold].checked_sub(amount_in)?;
        reserves[1 - sold] = after[1 - sold].checked_add(amount_out)?;
        if left.is_some_and(|left| left != reserves) {
            return None;
        }
        left = Some(after);
        met.push(Met { row, sold, amount_in, amount_out, reserves });
    }
    Some(met)
}

/// The fee that explains best what the victims got, each within 0.1 %.
fn fee(trades: &Trades<'_>, victims: &[&Met]) -> Option<u64> {
    let told = int_at(trades.fee_pips, victims.first()?.row).and_then(|pips| u64::try_from(pips).ok());
    let told = told.map(|pips| [pips]);
    let candidates = told.as_ref().map_or(&FEES_PIPS[..], |pips| &pips[..]);
    let mut best: Option<(U256, u64)> = None;
    for pips in candidates {
        let off = victims.iter().try_fold(U256::ZERO, |sum, victim| {
            let modelled = amount_out(victim.amount_in, victim.reserves, victim.sold, *pips)?;
            let off = modelled.abs_diff(victim.amount_out);
            (off.checked_mul(U256::from(1000))? <= victim.amount_out).then(|| sum.saturating_add(off))
        });
        if let Some(off) = off
            && best.is_none_or(|(least, _)| off < least)
        {
            best = Some((off, *pips));
        }
    }
    best.map(|(_, pips)| pips)
}

/// What a constant product pool gives for an amount.
fn amount_out(amount_in: U256, reserves: [U256; 2], sold: usize, fee_pips: u64) -> Option<U256> {
    let kept: U512 = amount_in.widening_mul(U256::from(MILLION.checked_sub(fee_pips)?));
    let whole: U512 = reserves[sold].widening_mul(U256::from(MILLION));
    let denominator = whole.checked_add(kept)?;
    let numerator = kept.checked_mul(U512::from(reserves[1 - sold]))?;
    U256::checked_from_limbs_slice((numerator.checked_div(denominator)?).as_limbs())
}

/// At most what the victims overpaid, in the token they sold, from prices alone; `None` where the pool does
/// not tell prices.
pub(crate) fn victim_loss_bound(trades: &Trades<'_>, sandwich: &Sandwich) -> Option<U256> {
    let first = sandwich.fronts[0].rows[0];
    let sells_zero = int_at(trades.sold_index, first)? == 0;
    let before = price_before(trades, first, sells_zero)?;
    let mut bound = U256::ZERO;
    for victim in &sandwich.victims {
        let position = trades.position(victim.rows[0]);
        let fronts = sandwich.fronts.iter().flat_map(|leg| &leg.rows);
        let moved = fronts.filter(|row| trades.position(**row) < position).max_by_key(|row| trades.position(**row))?;
        let after = wide_at(trades.sqrt_price_x96, *moved)?;
        // The price of what the victim buys, in what it sells: turned over when it sells coin 0.
        let (low, high) = if sells_zero { (after, before) } else { (before, after) };
        bound = bound.checked_add(overpaid(victim.amount_in, low, high)?)?;
    }
    Some(bound)
}

/// `amount * (high² / low² - 1)`, zero if the price did not rise.
fn overpaid(amount: U256, low: U256, high: U256) -> Option<U256> {
    let (low, high): (U512, U512) = (low.widening_mul(low), high.widening_mul(high));
    let rise = high.saturating_sub(low);
    let scaled = rise.checked_mul(U512::from(amount))?.checked_div(low)?;
    U256::checked_from_limbs_slice(scaled.as_limbs())
}

/// The square root of the pool's price before a trade: what the trade before it in the block left, else
/// worked back from what the trade took out and the liquidity it ended in.
fn price_before(trades: &Trades<'_>, row: usize, sells_zero: bool) -> Option<U256> {
    let after = wide_at(trades.sqrt_price_x96, row)?;
    let pool = trades.pool.value(row);
    let earlier = (0..trades.len())
        .filter(|other| trades.position(*other) < trades.position(row) && trades.pool.value(*other) == pool)
        .max_by_key(|other| trades.position(*other));
    if let Some(price) = earlier.and_then(|other| wide_at(trades.sqrt_price_x96, other)) {
        return Some(price);
    }
    let liquidity: U512 = U512::from(wide_at(trades.liquidity, row)?) << 96;
    let out = trades.bought(row);
    if sells_zero {
        // Coin 1 came out: sqrt(before) = sqrt(after) + out / L.
        let scaled: U512 = U512::from(out) << 192;
        let step = scaled.checked_div(liquidity)?;
        after.checked_add(U256::checked_from_limbs_slice(step.as_limbs())?)
    } else {
        // Coin 0 came out: 1 / sqrt(before) = 1 / sqrt(after) + out / L.
        let numerator = liquidity.checked_mul(U512::from(after))?;
        let step: U512 = out.widening_mul(after);
        U256::checked_from_limbs_slice(numerator.checked_div(liquidity.checked_add(step)?)?.as_limbs())
    }
}
