//! The exchange proxy of 0x. A filled order is a trade with its maker, who is the liquidity: a row of
//! `dex_swaps` whose pool is the maker. A transformation trades with several venues, which tell their
//! own swaps: a row of `aggregator_trades`.
//! <https://github.com/0xProject/protocol/blob/development/contracts/zero-ex/contracts/src/features/interfaces/INativeOrdersEvents.sol>.

use alloy_primitives::b256;

use super::rows::{AggregatorTrade, Decoded, PoolId, Swap, Venue};
use super::word::{Word, address, coin, indexed, unsigned, words};
use super::{DecodeError, Decoder, Feeds, RawLog, told};

/// `RfqOrderFilled(orderHash, maker, taker, makerToken, takerToken, takerTokenFilledAmount,
/// makerTokenFilledAmount, pool)`, nothing indexed.
pub(super) const RFQ: Decoder = Decoder {
    signature: "RfqOrderFilled(bytes32,address,address,address,address,uint128,uint128,bytes32)",
    topic0: b256!("829fa99d94dc4636925b38632e625736a614c154d55006b7ab6bea979c210c32"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [_hash, maker, taker, maker_token, taker_token, taken, made, _pool] = words(log.data)?;
        filled(log, "rfq", [maker, taker], [taker_token, maker_token], [taken, made], out)
    },
};

/// `LimitOrderFilled(orderHash, maker, taker, feeRecipient, makerToken, takerToken, takerTokenFilledAmount,
/// makerTokenFilledAmount, takerTokenFeeFilledAmount, protocolFeePaid, pool)`, nothing indexed.
pub(super) const LIMIT: Decoder = Decoder {
    signature: "LimitOrderFilled(bytes32,address,address,address,address,address,uint128,uint128,uint128,uint256,bytes32)",
    topic0: b256!("ab614d2b738543c0ea21f56347cf696a3a0c42a7cbec3212a5ca22a4dcff2124"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [_hash, maker, taker, _fees_to, maker_token, taker_token, taken, made, _, _, _] = words(log.data)?;
        filled(log, "limit", [maker, taker], [taker_token, maker_token], [taken, made], out)
    },
};

/// `TransformedERC20(taker, inputToken, outputToken, inputTokenAmount, outputTokenAmount)`, the first indexed.
pub(super) const TRANSFORMED: Decoder = Decoder {
    signature: "TransformedERC20(address,address,address,uint256,uint256)",
    topic0: b256!("0f6672f78a59ba8e5e5b5d38df3ebc67f3c792e2c9259b8d97d7f00dd78ba1b3"),
    feeds: Feeds::AGGREGATORS,
    helps: Feeds::NONE,
    decode: transformed,
};

fn filled(
    log: RawLog<'_>,
    version: &'static str,
    [maker, taker]: [&Word; 2],
    [sold, bought]: [&Word; 2],
    [amount_sold, amount_bought]: [&Word; 2],
    out: &mut Decoded,
) -> Result<(), DecodeError> {
    let [] = indexed(log.topics)?;
    let tokens = [coin(sold)?, coin(bought)?];
    let amounts = [&unsigned(amount_sold, 128)?, &unsigned(amount_bought, 128)?];
    let maker = PoolId::Address(address(maker)?);
    let swap = told::swap(log, Venue { protocol: "0x", version }, maker, tokens, amounts);
    let taker = Some(address(taker)?);
    out.swaps.push(Swap { sender: taker, recipient: taker, ..swap });
    Ok(())
}

fn transformed(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [taker] = indexed(log.topics)?;
    let [sold, bought, amount_sold, amount_bought] = words(log.data)?;
    let trade = AggregatorTrade {
        trader: Some(address(taker)?),
        token_sold: Some(coin(sold)?),
        token_bought: Some(coin(bought)?),
        amount_sold: Some(*amount_sold),
        amount_bought: Some(*amount_bought),
        ..AggregatorTrade::new(log, Venue { protocol: "0x", version: "v4" }, "transformed_erc20")
    };
    out.aggregator_trades.push(trade);
    Ok(())
}
