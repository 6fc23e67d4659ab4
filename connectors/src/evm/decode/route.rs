//! Coins of Uniswap V4's swaps along a route.
//!
//! The contract of all V4 pools settles a coin once, at the end: what one swap pays out and the next is paid with
//! moves in no transfer. Two V4 swaps of one sender, one after the other, of which the first pays out exactly what
//! the second is paid with, are links of a route and share that coin. The coin at either end is the only one that
//! the contract was paid, or paid out, in the amount. A swap both of whose coins are found so gets them; nothing
//! proves them, so it stays unverified. A swap with one coin open keeps none.

use super::identity::{Identities, Way};
use super::rows::{Family, Swap};
use super::word::Address;

/// Names what is left open of the V4 swaps of one transaction.
pub(super) fn name_routes(swaps: &mut [Swap], identities: &Identities) {
    let is_open = |swap: &Swap| swap.family == Family::V4 && swap.token_sold.is_none() && swap.token_bought.is_none();
    if !swaps.iter().any(is_open) {
        return;
    }
    let mut ends: Vec<[Option<Address>; 2]> = swaps.iter().map(|swap| ends(swap, identities)).collect();
    for index in 1..swaps.len() {
        let (before, after) = (ends[index - 1][1], ends[index][0]);
        let agree = before.is_none() || after.is_none();
        if agree && is_link(&swaps[index - 1], &swaps[index]) {
            (ends[index - 1][1], ends[index][0]) = (before.or(after), before.or(after));
        }
    }
    for (swap, ends) in swaps.iter_mut().zip(ends).filter(|(swap, _)| is_open(swap)) {
        let [Some(sold), Some(bought)] = ends else { continue };
        if sold != bought && (swap.sold_index == Some(0)) == (sold < bought) {
            (swap.token_sold, swap.token_bought) = (Some(sold), Some(bought));
        }
    }
}

fn is_link(one: &Swap, next: &Swap) -> bool {
    let both_v4 = one.family == Family::V4 && next.family == Family::V4;
    both_v4 && one.venue == next.venue && one.sender == next.sender && one.amount_bought == next.amount_sold
}

/// The coins sold and bought as far as they are known or the contract's payments leave no choice.
fn ends(swap: &Swap, identities: &Identities) -> [Option<Address>; 2] {
    if swap.family != Family::V4 {
        return [None; 2];
    }
    let sold = swap.token_sold.or_else(|| identities.only_coin(&swap.venue, Way::In, &swap.paid_in));
    let bought = swap.token_bought.or_else(|| identities.only_coin(&swap.venue, Way::Out, &swap.paid_out));
    [sold, bought]
}
