//! Uniswap V2 and its many copies: <https://github.com/Uniswap/v2-core/blob/master/contracts/UniswapV2Pair.sol>.

use alloy_primitives::b256;

use super::rows::{
    Decoded, Family, LiquidityEvent, LiquidityKind, NewPool, PoolId, PoolSource, Swap, Sync, Trust, Venue,
};
use super::word::{Address, Sign, Word, address, difference, indexed, unsigned, words};
use super::{DecodeError, Decoder, Feeds, RawLog, factories};

/// What copies are called too, unless their factory is known.
pub(super) const UNISWAP_V2: Venue = Venue { protocol: "uniswap", version: "v2" };

/// `Swap(sender, amount0In, amount1In, amount0Out, amount1Out, to)`.
pub(super) const SWAP: Decoder = Decoder {
    signature: "Swap(address,uint256,uint256,uint256,uint256,address)",
    topic0: b256!("d78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| swap(log, UNISWAP_V2, Family::V2, out),
};

/// `Sync(reserve0, reserve1)`, sent just before `Swap`, `Mint` and `Burn`.
pub(super) const SYNC: Decoder = Decoder {
    signature: "Sync(uint112,uint112)",
    topic0: b256!("1c411e9a96e071241c2f21f7726b17ae89e3cab4c78be50e062b03a9fffbbad1"),
    feeds: Feeds::NONE,
    helps: Feeds::SWAPS,
    decode: |log, out| sync(log, 112, out),
};

/// `Mint(sender, amount0, amount1)`; Velodrome's is the same.
pub(super) const MINT: Decoder = Decoder {
    signature: "Mint(address,uint256,uint256)",
    topic0: b256!("4c209b5fc8ad50758f13e2e1088ba56a560dff690a1c6fef26394f4c03821c4f"),
    feeds: Feeds::LIQUIDITY,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [sender] = indexed(log.topics)?;
        out.liquidity.push(change(log, UNISWAP_V2, LiquidityKind::Mint, [address(sender)?, [0; 20]])?);
        Ok(())
    },
};

/// `Burn(sender, amount0, amount1, to)`.
pub(super) const BURN: Decoder = Decoder {
    signature: "Burn(address,uint256,uint256,address)",
    topic0: b256!("dccd412f0b1252819cb1fd330b93224ca42612892bb3f4f789976e6d81936496"),
    feeds: Feeds::LIQUIDITY,
    helps: Feeds::NONE,
    decode: |log, out| burn(log, UNISWAP_V2, out),
};

/// `PairCreated(token0, token1, pair, count)`.
pub(super) const PAIR_CREATED: Decoder = Decoder {
    signature: "PairCreated(address,address,address,uint256)",
    topic0: b256!("0d3648bd0f6ba80134a33ba9275ac585d9d315f0ad8355cddefde31afa28d0e9"),
    feeds: Feeds::POOLS,
    helps: Feeds::SWAPS,
    decode: pair_created,
};

/// Reads a swap of a pair that tells what came in and what went out of each coin. One that gave no
/// coin for the other, such as a loan that was paid back in the coin lent, is no trade.
pub(super) fn swap(log: RawLog<'_>, venue_name: Venue, family: Family, out: &mut Decoded) -> Result<(), DecodeError> {
    let [sender, to] = indexed(log.topics)?;
    let (sender, recipient) = (address(sender)?, address(to)?);
    let [in0, in1, out0, out1] = words(log.data)?;
    let (sold, bought) = match [difference(in0, out0), difference(in1, out1)] {
        [(Sign::Positive, sold), (Sign::Negative, bought)] => ((0, sold, *in0), (1, bought, *out1)),
        [(Sign::Negative, bought), (Sign::Positive, sold)] => ((1, sold, *in1), (0, bought, *out0)),
        _ => return Ok(()),
    };
    let reserves = out.sync.filter(|sync| sync.pair == log.address).map(|sync| sync.reserves);
    out.swaps.push(Swap {
        at: log.at,
        venue_name,
        pool: PoolId::Address(log.address),
        venue: log.address,
        sold_index: Some(sold.0),
        bought_index: Some(bought.0),
        token_sold: None,
        token_bought: None,
        amount_sold: sold.1,
        amount_bought: bought.1,
        sender: Some(sender),
        recipient: Some(recipient),
        reserves,
        sqrt_price_x96: None,
        tick: None,
        liquidity: None,
        fee_pips: None,
        trust: Trust::Unverified,
        family,
        paid_in: sold.2,
        paid_out: bought.2,
    });
    Ok(())
}

/// Keeps the reserves for the event that follows.
pub(super) fn sync(log: RawLog<'_>, bits: usize, out: &mut Decoded) -> Result<(), DecodeError> {
    let [] = indexed(log.topics)?;
    let [reserve0, reserve1] = words(log.data)?;
    let reserves = [unsigned(reserve0, bits)?, unsigned(reserve1, bits)?];
    out.sync = Some(Sync { pair: log.address, reserves });
    Ok(())
}

/// Reads the removal of liquidity.
pub(super) fn burn(log: RawLog<'_>, venue_name: Venue, out: &mut Decoded) -> Result<(), DecodeError> {
    let [sender, to] = indexed(log.topics)?;
    out.liquidity.push(change(log, venue_name, LiquidityKind::Burn, [address(sender)?, address(to)?])?);
    Ok(())
}

fn change(
    log: RawLog<'_>,
    venue_name: Venue,
    kind: LiquidityKind,
    [sender, to]: [Address; 2],
) -> Result<LiquidityEvent, DecodeError> {
    let [amount0, amount1]: [Word; 2] = *words(log.data)?;
    Ok(LiquidityEvent {
        at: log.at,
        venue_name,
        pool: PoolId::Address(log.address),
        venue: log.address,
        kind,
        owner: None,
        sender: Some(sender),
        recipient: (kind == LiquidityKind::Burn).then_some(to),
        tick_lower: None,
        tick_upper: None,
        salt: None,
        token_id: None,
        liquidity: None,
        amount0: Some(amount0),
        amount1: Some(amount1),
    })
}

fn pair_created(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [token0, token1] = indexed(log.topics)?;
    let [pair, _count] = words(log.data)?;
    let known = factories::named(&log.address);
    let pool = NewPool {
        at: log.at,
        venue_name: known.map_or(UNISWAP_V2, |factory| factory.venue_name),
        pool: PoolId::Address(address(pair)?),
        factory: Some(log.address),
        listed: out.identities.trusts(&log.address),
        indexes: [0, 1],
        token0: address(token0)?,
        token1: address(token1)?,
        fee_pips: known.and_then(|factory| factory.fee_pips),
        tick_spacing: None,
        hooks: None,
        source: PoolSource::Event,
    };
    out.pools.push(pool);
    Ok(())
}
