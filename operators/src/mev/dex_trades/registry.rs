//! Which coins a pool holds, and how far that is to be believed.
//!
//! A swap event of a pair says "coin 0 for coin 1"; which contracts these are is told by the factory when
//! the pool is made, or seen in the transfers of a transaction whose amounts agree. Witnesses in the order
//! of their weight, the earlier of two equals wins:
//!
//! 1. a listed factory: its announcement, or a `verified` swap, whose pool's name follows from the factory
//!    and the coins;
//! 2. transfers that agree with a swap's amounts (`balanced`);
//! 3. what the pool itself says when a node asks it: it names coins, and lends no trust;
//! 4. the announcement of an unknown contract, which may say anything of any pool: it names coins where
//!    nobody else does, and lends no trust.

use hashbrown::HashMap;

use crate::codec::{Decoder, Encode, Truncated};
use crate::mev::Address;

/// A pool: the contract that emits its events, and its identifier there (zero for pools that are contracts
/// of their own). Without the emitter a stranger could speak for a pool of a known singleton.
pub(crate) type PoolKey = [u8; 52];

/// The key of a pool; none for identifiers that are neither an address nor 32 bytes.
pub(super) fn pool_key(venue: &Address, pool: &[u8]) -> Option<PoolKey> {
    let mut key = [0; 52];
    key[..20].copy_from_slice(venue);
    match pool.len() {
        20 if pool == venue => {}
        20 => key[32..].copy_from_slice(pool),
        32 => key[20..].copy_from_slice(pool),
        _ => return None,
    }
    Some(key)
}

/// How far a trade's tokens and amounts are to be believed, as the column `trust` says it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Trust {
    /// Anybody could have emitted the event.
    Unverified,
    /// Transfers of the tokens agreed with the amounts of the pool's swaps.
    Balanced,
    /// The pool is one of a listed factory.
    Verified,
}

impl Trust {
    pub(super) fn of(name: &str) -> Trust {
        match name {
            "verified" => Trust::Verified,
            "balanced" => Trust::Balanced,
            _ => Trust::Unverified,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Trust::Unverified => "unverified",
            Trust::Balanced => "balanced",
            Trust::Verified => "verified",
        }
    }
}

/// Who told the coins of a pool; later ones weigh more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Witness {
    Stranger,
    Pool,
    Transfers,
    Factory,
}

/// What is known of a pool.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Pool {
    witness: Witness,
    /// Coins 0 and 1: all of most pools.
    pair: [Option<Address>; 2],
    /// Further coins with their index, in the order in which they were learnt.
    others: Vec<(i64, Address)>,
}

impl Pool {
    fn new(witness: Witness) -> Pool {
        Pool { witness, pair: [None; 2], others: Vec::new() }
    }

    fn coin(&self, index: i64) -> Option<Address> {
        match index {
            0 => self.pair[0],
            1 => self.pair[1],
            _ => self.others.iter().find(|(other, _)| *other == index).map(|(_, token)| *token),
        }
    }

    fn learn(&mut self, index: i64, token: Address) {
        match index {
            0 => self.pair[0] = Some(token),
            1 => self.pair[1] = Some(token),
            _ => self.others.push((index, token)),
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_u64(match self.witness {
            Witness::Stranger => 0,
            Witness::Transfers => 1,
            Witness::Factory => 2,
            Witness::Pool => 3,
        });
        let pair = (0..).zip(&self.pair).filter_map(|(index, token)| token.map(|token| (index, token)));
        for (index, token) in pair.chain(self.others.iter().copied()) {
            bytes.put_i64(index);
            bytes.extend_from_slice(&token);
        }
    }

    pub(super) fn decode(bytes: &mut Decoder<'_>) -> Result<Pool, Truncated> {
        let witness = match bytes.u64()? {
            0 => Witness::Stranger,
            1 => Witness::Transfers,
            2 => Witness::Factory,
            3 => Witness::Pool,
            _ => return Err(Truncated),
        };
        let mut pool = Pool::new(witness);
        while !bytes.0.is_empty() {
            let index = bytes.i64()?;
            pool.learn(index, bytes.take()?);
        }
        Ok(pool)
    }
}

/// One side of a swap as its event and transfers tell it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    /// Position of the coin in its pool, if the event counts coins.
    pub(super) index: Option<i64>,
    /// The coin, if the event or the transfers name it.
    pub(super) token: Option<Address>,
}

/// A swap with what is known of its pool.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Resolved {
    pub(super) sold: Option<Address>,
    pub(super) bought: Option<Address>,
    pub(super) trust: Trust,
}

/// A pool before a block changed it; `None`: it was not known.
pub(super) type PoolBefore = (PoolKey, Option<Pool>);

/// The pools seen so far.
#[derive(Default)]
pub(super) struct Registry {
    pools: HashMap<PoolKey, Pool, foldhash::fast::FixedState>,
}

impl Registry {
    pub(super) fn len(&self) -> usize {
        self.pools.len()
    }

    /// All pools, in the order of their keys.
    pub(super) fn sorted(&self) -> Vec<(&PoolKey, &Pool)> {
        let mut pools: Vec<_> = self.pools.iter().collect();
        pools.sort_unstable_by_key(|(key, _)| **key);
        pools
    }

    /// Puts a pool as it was.
    pub(super) fn restore(&mut self, (key, before): PoolBefore) {
        match before {
            Some(pool) => self.pools.insert(key, pool),
            None => self.pools.remove(&key),
        };
    }

    /// Somebody says that a pool holds these two coins at these places. It is noted unless a witness of more
    /// weight is known, or an earlier one of the same weight says otherwise.
    pub(super) fn announce(
        &mut self,
        key: &PoolKey,
        witness: Witness,
        coins: [(i64, Address); 2],
        undo: &mut Vec<PoolBefore>,
    ) {
        let before = self.pools.get(key);
        let mut pool = match before {
            Some(pool) if pool.witness > witness => return,
            Some(pool) if pool.witness == witness => {
                let known = coins.map(|(index, _)| pool.coin(index));
                let contradicts =
                    |(known, (_, token)): (&Option<Address>, (i64, Address))| known.is_some_and(|known| known != token);
                if known.iter().all(Option::is_some) || known.iter().zip(coins).any(contradicts) {
                    return;
                }
                pool.clone()
            }
            Some(_) | None => Pool::new(witness),
        };
        for (index, token) in coins {
            if pool.coin(index).is_none() {
                pool.learn(index, token);
            }
        }
        undo.push((*key, before.cloned()));
        self.pools.insert(*key, pool);
    }

    /// Completes a swap by what is known of its pool, and learns from it.
    ///
    /// Coins that are known hold: a swap that says otherwise is overruled, and is not trusted if it
    /// contradicts transfers.
    pub(super) fn resolve(
        &mut self,
        key: &PoolKey,
        [sold, bought]: [Leg; 2],
        trust: Trust,
        undo: &mut Vec<PoolBefore>,
    ) -> Resolved {
        if trust >= Trust::Balanced {
            self.learn(key, [sold, bought], trust, undo);
        }
        let own = Resolved { sold: sold.token, bought: bought.token, trust };
        let Some(pool) = self.pools.get(key) else { return own };
        let known = |leg: Leg| leg.index.and_then(|index| pool.coin(index));
        let contradicts = |leg: Leg| leg.token.is_some() && known(leg).is_some_and(|coin| leg.token != Some(coin));
        let complete = known(sold).is_some() && known(bought).is_some();
        let trust = match pool.witness {
            Witness::Factory => Trust::Verified,
            Witness::Transfers if contradicts(sold) || contradicts(bought) => Trust::Unverified,
            Witness::Transfers if complete => trust.max(Trust::Balanced),
            Witness::Transfers | Witness::Pool | Witness::Stranger => trust,
        };
        Resolved { sold: known(sold).or(sold.token), bought: known(bought).or(bought.token), trust }
    }

    /// Notes the coins of a swap that is at least balanced.
    fn learn(&mut self, key: &PoolKey, legs: [Leg; 2], trust: Trust, undo: &mut Vec<PoolBefore>) {
        let [(Some(first), Some(one)), (Some(second), Some(other))] = legs.map(|leg| (leg.index, leg.token)) else {
            return;
        };
        if first == second || one == other {
            return;
        }
        let witness = if trust == Trust::Verified { Witness::Factory } else { Witness::Transfers };
        self.announce(key, witness, [(first, one), (second, other)], undo);
    }
}
