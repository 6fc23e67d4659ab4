//! Swaps whose event tells its tokens.

use super::RawLog;
use super::rows::{Family, PoolId, Swap, Trust, Venue};
use super::word::{Address, Word};

/// A swap of two tokens in a pool, with what only some events tell left out.
pub(super) fn swap(
    log: RawLog<'_>,
    venue_name: Venue,
    pool: PoolId,
    [token_sold, token_bought]: [Address; 2],
    [amount_sold, amount_bought]: [&Word; 2],
) -> Swap {
    Swap {
        at: log.at,
        venue_name,
        pool,
        venue: log.address,
        sold_index: None,
        bought_index: None,
        token_sold: Some(token_sold),
        token_bought: Some(token_bought),
        amount_sold: *amount_sold,
        amount_bought: *amount_bought,
        sender: None,
        recipient: None,
        reserves: None,
        sqrt_price_x96: None,
        tick: None,
        liquidity: None,
        fee_pips: None,
        trust: Trust::Unverified,
        family: Family::Told,
        paid_in: *amount_sold,
        paid_out: *amount_bought,
    }
}
