//! Uniswap V3, its copies, and PancakeSwap V3, whose swap tells two fees more:
//! <https://github.com/Uniswap/v3-core/blob/main/contracts/interfaces/pool/IUniswapV3PoolEvents.sol>.

use alloy_primitives::b256;

use super::rows::{
    Decoded, Family, FlashLoan, LiquidityEvent, LiquidityKind, NewPool, PoolId, PoolSource, Swap, Trust, Venue,
};
use super::word::{Sign, Word, ZERO, address, i32_of, indexed, signed, u32_of, unsigned, words};
use super::{DecodeError, Decoder, Feeds, RawLog, factories};

const UNISWAP_V3: Venue = Venue { protocol: "uniswap", version: "v3" };
const PANCAKESWAP_V3: Venue = Venue { protocol: "pancakeswap", version: "v3" };

/// `Swap(sender, recipient, amount0, amount1, sqrtPriceX96, liquidity, tick)`.
pub(super) const SWAP: Decoder = Decoder {
    signature: "Swap(address,address,int256,int256,uint160,uint128,int24)",
    topic0: b256!("c42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| swap(log, UNISWAP_V3, words(log.data)?, out),
};

/// PancakeSwap's, with `protocolFeesToken0, protocolFeesToken1` at the end.
pub(super) const SWAP_PANCAKE: Decoder = Decoder {
    signature: "Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)",
    topic0: b256!("19b47279256b2a23a1665c810c8d55a1758940ee09377d4f8d26497a3577dc83"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [amount0, amount1, price, liquidity, tick, _, _] = *words(log.data)?;
        swap(log, PANCAKESWAP_V3, &[amount0, amount1, price, liquidity, tick], out)
    },
};

/// `Mint(sender, owner, tickLower, tickUpper, amount, amount0, amount1)`, owner and ticks indexed.
pub(super) const MINT: Decoder = Decoder {
    signature: "Mint(address,address,int24,int24,uint128,uint256,uint256)",
    topic0: b256!("7a53080ba414158be7ec69b987b5fb7d07dee101fe85488f0853ae16239d0bde"),
    feeds: Feeds::LIQUIDITY,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [sender, liquidity, amount0, amount1] = words(log.data)?;
        let event = position(log, LiquidityKind::Mint, [amount0, amount1])?;
        let (sender, liquidity) = (Some(address(sender)?), Some(unsigned(liquidity, 128)?));
        out.liquidity.push(LiquidityEvent { sender, liquidity, ..event });
        Ok(())
    },
};

/// `Burn(owner, tickLower, tickUpper, amount, amount0, amount1)`. An amount of zero only counts the fees.
pub(super) const BURN: Decoder = Decoder {
    signature: "Burn(address,int24,int24,uint128,uint256,uint256)",
    topic0: b256!("0c396cd989a39f4459b5fa1aed6a9a8dcdbc45908acfd67e028cd568da98982c"),
    feeds: Feeds::LIQUIDITY,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [liquidity, amount0, amount1] = words(log.data)?;
        let event = position(log, LiquidityKind::Burn, [amount0, amount1])?;
        out.liquidity.push(LiquidityEvent { liquidity: Some(unsigned(liquidity, 128)?), ..event });
        Ok(())
    },
};

/// `Collect(owner, recipient, tickLower, tickUpper, amount0, amount1)`, all but the recipient and the amounts indexed.
pub(super) const COLLECT: Decoder = Decoder {
    signature: "Collect(address,address,int24,int24,uint128,uint128)",
    topic0: b256!("70935338e69775456a85ddef226c395fb668b63fa0115f5f20610b388e6ca9c0"),
    feeds: Feeds::LIQUIDITY,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [recipient, amount0, amount1] = words(log.data)?;
        let event = position(log, LiquidityKind::Collect, [&unsigned(amount0, 128)?, &unsigned(amount1, 128)?])?;
        out.liquidity.push(LiquidityEvent { recipient: Some(address(recipient)?), ..event });
        Ok(())
    },
};

/// `Flash(sender, recipient, amount0, amount1, paid0, paid1)`.
pub(super) const FLASH: Decoder = Decoder {
    signature: "Flash(address,address,uint256,uint256,uint256,uint256)",
    topic0: b256!("bdbdb71d7860376ba52b25a5028beea23581364a40522f6bcfb86bb1f2dca633"),
    feeds: Feeds::FLASH_LOANS,
    helps: Feeds::NONE,
    decode: flash,
};

/// `PoolCreated(token0, token1, fee, tickSpacing, pool)`, the first three indexed.
pub(super) const POOL_CREATED: Decoder = Decoder {
    signature: "PoolCreated(address,address,uint24,int24,address)",
    topic0: b256!("783cca1c0412dd0d695e784568c96da2e9c22ff989357a2e8b1d9b2b4e6b7118"),
    feeds: Feeds::POOLS,
    helps: Feeds::SWAPS,
    decode: pool_created,
};

/// The amounts are the pool's: positive is what it was paid. One that moved nothing is no trade.
fn swap(log: RawLog<'_>, venue_name: Venue, data: &[Word; 5], out: &mut Decoded) -> Result<(), DecodeError> {
    let [sender, recipient] = indexed(log.topics)?;
    let (sender, recipient) = (address(sender)?, address(recipient)?);
    let [amount0, amount1, price, liquidity, tick] = data;
    let (price, liquidity, tick) = (unsigned(price, 160)?, unsigned(liquidity, 128)?, i32_of(tick)?);
    let Some((sold_index, [amount_sold, amount_bought])) = direction(signed(amount0), signed(amount1)) else {
        return Ok(());
    };
    out.swaps.push(Swap {
        at: log.at,
        venue_name,
        pool: PoolId::Address(log.address),
        venue: log.address,
        sold_index: Some(sold_index),
        bought_index: Some(1 - sold_index),
        token_sold: None,
        token_bought: None,
        amount_sold,
        amount_bought,
        sender: Some(sender),
        recipient: Some(recipient),
        reserves: None,
        sqrt_price_x96: Some(price),
        tick: Some(tick),
        liquidity: Some(liquidity),
        fee_pips: None,
        trust: Trust::Unverified,
        family: Family::V3,
        paid_in: amount_sold,
        paid_out: amount_bought,
    });
    Ok(())
}

/// Which coin the pool was paid in, and how much it got and gave; nothing if it only got or gave.
pub(super) fn direction(coin0: (Sign, Word), coin1: (Sign, Word)) -> Option<(u8, [Word; 2])> {
    match (coin0, coin1) {
        ((Sign::Positive, sold), (Sign::Negative | Sign::Zero, bought)) => Some((0, [sold, bought])),
        ((Sign::Negative | Sign::Zero, bought), (Sign::Positive, sold)) => Some((1, [sold, bought])),
        ((Sign::Zero, sold), (Sign::Negative, bought)) => Some((0, [sold, bought])),
        ((Sign::Negative, bought), (Sign::Zero, sold)) => Some((1, [sold, bought])),
        _ => None,
    }
}

fn position(log: RawLog<'_>, kind: LiquidityKind, amounts: [&Word; 2]) -> Result<LiquidityEvent, DecodeError> {
    let [owner, lower, upper] = indexed(log.topics)?;
    Ok(LiquidityEvent {
        at: log.at,
        venue_name: UNISWAP_V3,
        pool: PoolId::Address(log.address),
        venue: log.address,
        kind,
        owner: Some(address(owner)?),
        sender: None,
        recipient: None,
        tick_lower: Some(i32_of(lower)?),
        tick_upper: Some(i32_of(upper)?),
        salt: None,
        token_id: None,
        liquidity: None,
        amount0: Some(*amounts[0]),
        amount1: Some(*amounts[1]),
    })
}

/// One loan for each coin that was lent.
fn flash(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [_sender, recipient] = indexed(log.topics)?;
    let borrower = Some(address(recipient)?);
    let [amount0, amount1, paid0, paid1] = words(log.data)?;
    for (amount, fee) in [(amount0, paid0), (amount1, paid1)] {
        if *amount != ZERO {
            let (lender, amount, fee) = (log.address, *amount, *fee);
            let venue_name = UNISWAP_V3;
            out.flash_loans.push(FlashLoan { at: log.at, venue_name, lender, borrower, token: None, amount, fee });
        }
    }
    Ok(())
}

fn pool_created(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [token0, token1, fee] = indexed(log.topics)?;
    let [spacing, pool] = words(log.data)?;
    let known = factories::named(&log.address);
    let pool = NewPool {
        at: log.at,
        venue_name: known.map_or(UNISWAP_V3, |factory| factory.venue_name),
        pool: PoolId::Address(address(pool)?),
        factory: Some(log.address),
        listed: out.identities.trusts(&log.address),
        indexes: [0, 1],
        token0: address(token0)?,
        token1: address(token1)?,
        fee_pips: Some(u32_of(fee)?),
        tick_spacing: Some(i32_of(spacing)?),
        hooks: None,
        source: PoolSource::Event,
    };
    out.pools.push(pool);
    Ok(())
}
