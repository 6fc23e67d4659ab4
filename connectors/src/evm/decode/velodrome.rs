//! Velodrome V2 and Aerodrome, and what came before and after them: Solidly's pairs and Slipstream's
//! pools. <https://github.com/velodrome-finance/contracts/blob/main/contracts/Pool.sol>.

use alloy_primitives::b256;

use super::rows::{Decoded, Family, NewPool, PoolId, PoolSource, Venue};
use super::word::{Address, Word, address, boolean, i32_of, indexed, words};
use super::{DecodeError, Decoder, Feeds, RawLog, uniswap_v2};

const VELODROME_V2: Venue = Venue { protocol: "velodrome", version: "v2" };
const SOLIDLY_V1: Venue = Venue { protocol: "solidly", version: "v1" };
const SLIPSTREAM: Venue = Venue { protocol: "velodrome", version: "slipstream" };

/// `Swap(sender, to, amount0In, amount1In, amount0Out, amount1Out)`.
pub(super) const SWAP: Decoder = Decoder {
    signature: "Swap(address,address,uint256,uint256,uint256,uint256)",
    topic0: b256!("b3e2773606abfd36b5bd91394b3a54d1398336c65005baf7bf7a05efeffaf75b"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| uniswap_v2::swap(log, VELODROME_V2, Family::Pair, out),
};

/// `Sync(reserve0, reserve1)`.
pub(super) const SYNC: Decoder = Decoder {
    signature: "Sync(uint256,uint256)",
    topic0: b256!("cf2aa50876cdfbb541206f89af0ee78d44a2abf8d328e37fa4917f982149848a"),
    feeds: Feeds::NONE,
    helps: Feeds::SWAPS,
    decode: |log, out| uniswap_v2::sync(log, 256, out),
};

/// `Burn(sender, to, amount0, amount1)`.
pub(super) const BURN: Decoder = Decoder {
    signature: "Burn(address,address,uint256,uint256)",
    topic0: b256!("5d624aa9c148153ab3446c1b154f660ee7701e549fe9b62dab7171b1c80e6fa2"),
    feeds: Feeds::LIQUIDITY,
    helps: Feeds::NONE,
    decode: |log, out| uniswap_v2::burn(log, VELODROME_V2, out),
};

/// `PoolCreated(token0, token1, stable, pool, count)`, the first three indexed.
pub(super) const POOL_CREATED: Decoder = Decoder {
    signature: "PoolCreated(address,address,bool,address,uint256)",
    topic0: b256!("2128d88d14c80cb081c1252a5acff7a264671bf199ce226b53788fb26065005e"),
    feeds: Feeds::POOLS,
    helps: Feeds::SWAPS,
    decode: |log, out| {
        let [token0, token1, stable] = indexed(log.topics)?;
        let [pool, _count] = words(log.data)?;
        boolean(stable)?;
        announce(log, VELODROME_V2, address(pool)?, [token0, token1], None, out)
    },
};

/// Solidly's `PairCreated(token0, token1, stable, pair, count)`, the first two indexed.
pub(super) const PAIR_CREATED: Decoder = Decoder {
    signature: "PairCreated(address,address,bool,address,uint256)",
    topic0: b256!("c4805696c66d7cf352fc1d6bb633ad5ee82f6cb577c453024b6e0eb8306c6fc9"),
    feeds: Feeds::POOLS,
    helps: Feeds::SWAPS,
    decode: |log, out| {
        let [token0, token1] = indexed(log.topics)?;
        let [stable, pair, _count] = words(log.data)?;
        boolean(stable)?;
        announce(log, SOLIDLY_V1, address(pair)?, [token0, token1], None, out)
    },
};

/// Slipstream's `PoolCreated(token0, token1, tickSpacing, pool)`, the first three indexed.
pub(super) const CL_POOL_CREATED: Decoder = Decoder {
    signature: "PoolCreated(address,address,int24,address)",
    topic0: b256!("ab0d57f0df537bb25e80245ef7748fa62353808c54d6e528a9dd20887aed9ac2"),
    feeds: Feeds::POOLS,
    helps: Feeds::SWAPS,
    decode: |log, out| {
        let [token0, token1, spacing] = indexed(log.topics)?;
        let [pool] = words(log.data)?;
        let spacing = i32_of(spacing)?;
        announce(log, SLIPSTREAM, address(pool)?, [token0, token1], Some(spacing), out)
    },
};

fn announce(
    log: RawLog<'_>,
    venue_name: Venue,
    pool: Address,
    [token0, token1]: [&Word; 2],
    tick_spacing: Option<i32>,
    out: &mut Decoded,
) -> Result<(), DecodeError> {
    let pool = NewPool {
        at: log.at,
        venue_name,
        pool: PoolId::Address(pool),
        factory: Some(log.address),
        listed: out.identities.trusts(&log.address),
        indexes: [0, 1],
        token0: address(token0)?,
        token1: address(token1)?,
        fee_pips: None,
        tick_spacing,
        hooks: None,
        source: PoolSource::Event,
    };
    out.pools.push(pool);
    Ok(())
}
