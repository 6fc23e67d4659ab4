//! Pools whose coins no log of their transaction tells, and what a node answers when it is asked.
//!
//! A [`Question`] is made of a swap without coins; only a live source asks it. The answer travels with the
//! block, as text in the form of [`PoolAnswer`], so that a recording of it says the same. Whether an answer
//! is to be believed is decided here and not by who asked: where the pool's name follows from its factory
//! and coins (EIP-1014), or from its key, the answer is proven; anything else names coins and no more.

use super::factories;
use super::rows::{Decoded, NewPool, PoolId, PoolSource, Swap, Venue};
#[cfg(feature = "evm")]
use super::rows::{Family, Trust};
use super::word::{Address, Word};
use crate::evm::field::{Fault, Field};
use crate::evm::json::PoolAnswer;

/// How a pool is asked for its coins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg(feature = "evm")]
pub(crate) enum Way {
    /// `token0()`, `token1()`, `factory()`.
    Pair,
    /// The same and `fee()`.
    PairWithFee,
    /// `coins(index)`.
    Coins,
    /// The key that a V4 pool's id is the hash of, which the position manager keeps.
    Key,
}

/// Which coins of which pool are not known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg(feature = "evm")]
pub(crate) struct Question {
    pub(crate) venue: Address,
    pub(crate) pool: PoolId,
    /// The lower one first.
    pub(crate) indexes: [u8; 2],
    pub(crate) way: Way,
}

#[cfg(feature = "evm")]
impl Question {
    /// What has to be asked about a swap; `None` if its coins are known for sure or nobody can be asked.
    pub(crate) fn about(swap: &Swap) -> Option<Question> {
        if swap.token_sold.is_some() && swap.token_bought.is_some() && swap.trust != Trust::Taxed {
            return None;
        }
        let way = match swap.family {
            Family::V2 | Family::Pair => Way::Pair,
            Family::V3 => Way::PairWithFee,
            Family::Contract => Way::Coins,
            Family::V4 if swap.venue == factories::POOL_MANAGER => Way::Key,
            Family::V4 | Family::Told => return None,
        };
        Some(Question { venue: swap.venue, pool: swap.pool, indexes: indexes(swap)?, way })
    }
}

/// Where the two coins of a swap are in their pool, the lower place first.
fn indexes(swap: &Swap) -> Option<[u8; 2]> {
    let (sold, bought) = (swap.sold_index?, swap.bought_index?);
    (sold != bought).then(|| [sold.min(bought), sold.max(bought)])
}

/// An answer, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CalledPool {
    venue: Address,
    pool: PoolId,
    indexes: [u8; 2],
    tokens: [Address; 2],
    factory: Option<Address>,
    fee_pips: Option<u32>,
    tick_spacing: Option<u32>,
    hooks: Option<Address>,
    confirmed: bool,
}

impl CalledPool {
    /// Reads an answer.
    pub(crate) fn read(answer: &PoolAnswer<'_>) -> Result<CalledPool, Fault> {
        let pool = match answer.pool.byte_len()? {
            32 => PoolId::Id(answer.pool.fixed()?),
            _ => PoolId::Address(answer.pool.fixed()?),
        };
        Ok(CalledPool {
            venue: answer.venue.fixed()?,
            pool,
            indexes: [small(answer.index0)?, small(answer.index1)?],
            tokens: [answer.token0.fixed()?, answer.token1.fixed()?],
            factory: optional(answer.factory)?,
            fee_pips: number(answer.fee_pips)?,
            tick_spacing: number(answer.tick_spacing)?,
            hooks: optional(answer.hooks)?,
            confirmed: answer.confirmed,
        })
    }

    fn is_of(&self, swap: &Swap) -> bool {
        swap.pool == self.pool && swap.venue == self.venue && indexes(swap) == Some(self.indexes)
    }
}

fn small(field: Field<'_>) -> Result<u8, Fault> {
    u8::try_from(field.u64()?).map_err(|_| Fault::TooLarge)
}

fn number<T: TryFrom<u64>>(field: Field<'_>) -> Result<Option<T>, Fault> {
    let given = if field.is_absent() { None } else { Some(field.u64()?) };
    given.map(|number| T::try_from(number).map_err(|_| Fault::TooLarge)).transpose()
}

fn optional(field: Field<'_>) -> Result<Option<Address>, Fault> {
    if field.is_absent() { Ok(None) } else { field.fixed().map(Some) }
}

/// Adds the answers to the pools of a block, each at the first swap that it is about. Answers about nothing
/// in the block say nothing.
pub(super) fn tell(decoded: &mut Decoded, answers: &[CalledPool]) {
    for answer in answers {
        let Some(swap) = decoded.swaps.iter().find(|swap| answer.is_of(swap)) else { continue };
        let Some(Origin { venue_name, fee_pips, listed }) = origin(decoded, answer, swap) else { continue };
        let CalledPool { pool, indexes, factory, hooks, .. } = *answer;
        let [token0, token1] = answer.tokens;
        let source = PoolSource::Call;
        decoded.pools.push(NewPool {
            at: swap.at,
            venue_name,
            pool,
            factory,
            listed,
            indexes,
            token0,
            token1,
            fee_pips: answer.fee_pips.or(fee_pips),
            tick_spacing: answer.tick_spacing.and_then(|spacing| i32::try_from(spacing).ok()),
            hooks,
            source,
        });
    }
    if !answers.is_empty() {
        decoded.pools.sort_by_key(|pool| pool.at);
    }
}

struct Origin {
    venue_name: Venue,
    fee_pips: Option<u32>,
    listed: bool,
}

/// Whose pool it is, and whether that is proven. `None` for a key that is not the pool's.
fn origin(decoded: &Decoded, answer: &CalledPool, swap: &Swap) -> Option<Origin> {
    let of_swap = |listed| Origin { venue_name: swap.venue_name, fee_pips: None, listed };
    if let PoolId::Id(id) = answer.pool {
        return has_key(&id, answer).then(|| of_swap(decoded.identities.trusts(&answer.venue)));
    }
    let trusted = decoded.identities.trusted();
    let tokens = [&answer.tokens[0], &answer.tokens[1]];
    Some(match factories::derive(swap.family, &answer.pool, tokens, None, trusted) {
        Some(derived) => Origin { venue_name: derived.venue_name, fee_pips: derived.fee_pips, listed: true },
        None => of_swap(answer.confirmed && answer.factory.is_some_and(|factory| trusted.contains(&factory))),
    })
}

/// Whether a V4 pool's id is the hash of this key.
pub(crate) fn is_key_of(id: &Word, currencies: [&Address; 2], (fee, spacing): (u32, u32), hooks: &Address) -> bool {
    factories::id_of_key(currencies, fee, spacing, hooks) == *id
}

fn has_key(id: &Word, answer: &CalledPool) -> bool {
    let (Some(fee), Some(spacing), Some(hooks)) = (answer.fee_pips, answer.tick_spacing, &answer.hooks) else {
        return false;
    };
    is_key_of(id, [&answer.tokens[0], &answer.tokens[1]], (fee, spacing), hooks)
}
