//! UniswapX: <https://github.com/Uniswap/UniswapX/blob/main/src/base/ReactorEvents.sol>.

use alloy_primitives::b256;

use super::rows::{AggregatorTrade, OrderId, Venue};
use super::word::{address, indexed, words};
use super::{Decoder, Feeds};

/// `Fill(orderHash, filler, swapper, nonce)`, the first three indexed.
pub(super) const FILL: Decoder = Decoder {
    signature: "Fill(bytes32,address,address,uint256)",
    topic0: b256!("78ad7ec0e9f89e74012afa58738b6b661c024cb0fd185ee2f616c0a28924bd66"),
    feeds: Feeds::AGGREGATORS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [order, filler, swapper] = indexed(log.topics)?;
        let [_nonce] = words(log.data)?;
        let trade = AggregatorTrade {
            trader: Some(address(swapper)?),
            filler: Some(address(filler)?),
            order_id: OrderId::new(order),
            ..AggregatorTrade::new(log, Venue { protocol: "uniswap", version: "x" }, "fill")
        };
        out.aggregator_trades.push(trade);
        Ok(())
    },
};
