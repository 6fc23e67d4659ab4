//! Uniswap V4, whose pools are numbers inside one contract:
//! <https://github.com/Uniswap/v4-core/blob/main/src/interfaces/IPoolManager.sol>.

use alloy_primitives::b256;

use super::rows::{Decoded, Family, LiquidityEvent, LiquidityKind, NewPool, PoolId, PoolSource, Swap, Trust, Venue};
use super::uniswap_v3::direction;
use super::word::{Sign, Word, address, i32_of, indexed, signed, u32_of, unsigned, words};
use super::{DecodeError, Decoder, Feeds, RawLog};

const UNISWAP_V4: Venue = Venue { protocol: "uniswap", version: "v4" };

/// What the fee of a pool says whose hooks set it anew with each swap.
const DYNAMIC_FEE: u32 = 0x80_0000;

/// `Swap(id, sender, amount0, amount1, sqrtPriceX96, liquidity, tick, fee)`, the first two indexed.
pub(super) const SWAP: Decoder = Decoder {
    signature: "Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)",
    topic0: b256!("40e9cecb9f5f1f1c5b9c97dec2917b7ee92e57ba5563708daca94dd84ad7112f"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: swap,
};

/// `Initialize(id, currency0, currency1, fee, tickSpacing, hooks, sqrtPriceX96, tick)`, the first three indexed.
pub(super) const INITIALIZE: Decoder = Decoder {
    signature: "Initialize(bytes32,address,address,uint24,int24,address,uint160,int24)",
    topic0: b256!("dd466e674ea557f56295e2d0218a125ea4b4f0f6f3307b95f85e6110838d6438"),
    feeds: Feeds::POOLS,
    helps: Feeds::SWAPS,
    decode: initialize,
};

/// `ModifyLiquidity(id, sender, tickLower, tickUpper, liquidityDelta, salt)`, the first two indexed.
pub(super) const MODIFY_LIQUIDITY: Decoder = Decoder {
    signature: "ModifyLiquidity(bytes32,address,int24,int24,int256,bytes32)",
    topic0: b256!("f208f4912782fd25c7f114ca3723a2d5dd6f3bcc3ac8db5af63baa85f711d5ec"),
    feeds: Feeds::LIQUIDITY,
    helps: Feeds::NONE,
    decode: modify_liquidity,
};

/// The amounts are the swapper's: negative is what the pool was paid, the opposite of V3. Hooks that
/// trade elsewhere leave a swap of nothing, which is no trade: the other venue tells it.
fn swap(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [id, sender] = indexed(log.topics)?;
    let sender = address(sender)?;
    let [amount0, amount1, price, liquidity, tick, fee] = words(log.data)?;
    let (price, liquidity) = (unsigned(price, 160)?, unsigned(liquidity, 128)?);
    let (tick, fee) = (i32_of(tick)?, u32_of(fee)?);
    let pool_side = |amount: &Word| {
        let (sign, size) = signed(amount);
        (sign.opposite(), size)
    };
    let Some((sold_index, [amount_sold, amount_bought])) = direction(pool_side(amount0), pool_side(amount1)) else {
        return Ok(());
    };
    out.swaps.push(Swap {
        at: log.at,
        venue_name: UNISWAP_V4,
        pool: PoolId::Id(*id),
        venue: log.address,
        sold_index: Some(sold_index),
        bought_index: Some(1 - sold_index),
        token_sold: None,
        token_bought: None,
        amount_sold,
        amount_bought,
        sender: Some(sender),
        recipient: None,
        reserves: None,
        sqrt_price_x96: Some(price),
        tick: Some(tick),
        liquidity: Some(liquidity),
        fee_pips: Some(fee),
        trust: Trust::Unverified,
        family: Family::V4,
        paid_in: amount_sold,
        paid_out: amount_bought,
    });
    Ok(())
}

impl Sign {
    fn opposite(self) -> Sign {
        match self {
            Sign::Negative => Sign::Positive,
            Sign::Zero => Sign::Zero,
            Sign::Positive => Sign::Negative,
        }
    }
}

fn initialize(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [id, currency0, currency1] = indexed(log.topics)?;
    let [fee, spacing, hooks, _price, _tick] = words(log.data)?;
    let fee = u32_of(fee)?;
    let pool = NewPool {
        at: log.at,
        venue_name: UNISWAP_V4,
        pool: PoolId::Id(*id),
        factory: Some(log.address),
        listed: out.identities.trusts(&log.address),
        indexes: [0, 1],
        token0: address(currency0)?,
        token1: address(currency1)?,
        fee_pips: (fee != DYNAMIC_FEE).then_some(fee),
        tick_spacing: Some(i32_of(spacing)?),
        hooks: Some(address(hooks)?),
        source: PoolSource::Event,
    };
    out.pools.push(pool);
    Ok(())
}

/// A change by nothing takes out the fees.
fn modify_liquidity(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [id, sender] = indexed(log.topics)?;
    let [lower, upper, delta, salt] = words(log.data)?;
    let sender = address(sender)?;
    let (sign, liquidity) = signed(delta);
    let event = LiquidityEvent {
        at: log.at,
        venue_name: UNISWAP_V4,
        pool: PoolId::Id(*id),
        venue: log.address,
        kind: match sign {
            Sign::Positive => LiquidityKind::Mint,
            Sign::Negative => LiquidityKind::Burn,
            Sign::Zero => LiquidityKind::Collect,
        },
        owner: Some(sender),
        sender: Some(sender),
        recipient: None,
        tick_lower: Some(i32_of(lower)?),
        tick_upper: Some(i32_of(upper)?),
        salt: Some(*salt),
        token_id: None,
        liquidity: Some(liquidity),
        amount0: None,
        amount1: None,
    };
    out.liquidity.push(event);
    Ok(())
}
