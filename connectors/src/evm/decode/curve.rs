//! Curve's pools, which number their coins and do not tell their addresses:
//! <https://github.com/curvefi/curve-contract/blob/master/contracts/pool-templates/base/SwapTemplateBase.vy>.

use alloy_primitives::b256;

use super::rows::{Decoded, Family, PoolId, Swap, Trust, Venue};
use super::word::{Word, ZERO, address, indexed, small, words};
use super::{DecodeError, Decoder, Feeds, RawLog};

/// `TokenExchange(buyer, sold_id, tokens_sold, bought_id, tokens_bought)` with signed ids.
pub(super) const STABLE: Decoder = Decoder {
    signature: "TokenExchange(address,int128,uint256,int128,uint256)",
    topic0: b256!("8b3e96f2b889fa771c53c981b40daf005f63f637f1869f707052d15a3dd97140"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| exchange(log, "stable", words(log.data)?, out),
};

/// The same with unsigned ids.
pub(super) const CRYPTO: Decoder = Decoder {
    signature: "TokenExchange(address,uint256,uint256,uint256,uint256)",
    topic0: b256!("b2e76ae99761dc136e598d4a629bb347eccb9532a5f8bbd72e18467c3c34cc98"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| exchange(log, "crypto", words(log.data)?, out),
};

/// The same with `fee, packed_price_scale` at the end.
pub(super) const NEW_GENERATION: Decoder = Decoder {
    signature: "TokenExchange(address,uint256,uint256,uint256,uint256,uint256,uint256)",
    topic0: b256!("143f1f8e861fbdeddd5b46e844b7d3ac7b86a122f36e8c463859ee6811b1f29c"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [sold_id, sold, bought_id, bought, _fee, _prices] = *words(log.data)?;
        exchange(log, "ng", &[sold_id, sold, bought_id, bought], out)
    },
};

/// `TokenExchangeUnderlying`: ids count the coins inside of the pool's coins.
pub(super) const UNDERLYING: Decoder = Decoder {
    signature: "TokenExchangeUnderlying(address,int128,uint256,int128,uint256)",
    topic0: b256!("d013ca23e77a65003c2c659c5442c00c805371b7fc1ebd4c206c41d1536bd90b"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: underlying,
};

fn exchange(log: RawLog<'_>, version: &'static str, data: &[Word; 4], out: &mut Decoded) -> Result<(), DecodeError> {
    let [buyer] = indexed(log.topics)?;
    let [sold_id, sold, bought_id, bought] = data;
    if *sold == ZERO && *bought == ZERO {
        return Ok(());
    }
    let swap = Swap {
        at: log.at,
        venue_name: Venue { protocol: "curve", version },
        pool: PoolId::Address(log.address),
        venue: log.address,
        sold_index: Some(small(sold_id)?),
        bought_index: Some(small(bought_id)?),
        token_sold: None,
        token_bought: None,
        amount_sold: *sold,
        amount_bought: *bought,
        sender: Some(address(buyer)?),
        recipient: None,
        reserves: None,
        sqrt_price_x96: None,
        tick: None,
        liquidity: None,
        fee_pips: None,
        trust: Trust::Unverified,
        family: Family::Contract,
        paid_in: *sold,
        paid_out: *bought,
    };
    out.swaps.push(swap);
    Ok(())
}

/// A pool of a coin and of shares in a base pool hands an exchange of two of the base pool's coins on
/// to it. The base pool has told that one, with this pool as the buyer; telling it twice would count it
/// twice.
fn underlying(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let data: &[Word; 4] = words(log.data)?;
    let earlier = out.swaps.iter().rev().take_while(|swap| swap.at.receipt == log.at.receipt);
    let handed_on = |swap: &Swap| {
        swap.family == Family::Contract && swap.sender == Some(log.address) && swap.amount_bought == data[3]
    };
    if earlier.take(8).any(handed_on) {
        return Ok(());
    }
    exchange(log, "underlying", data, out)?;
    // Its ids count the coins inside of the pool's coins, which is another list than that of the pool's own.
    if let Some(swap) = out.swaps.last_mut().filter(|swap| swap.at == log.at) {
        (swap.sold_index, swap.bought_index) = (None, None);
    }
    Ok(())
}
