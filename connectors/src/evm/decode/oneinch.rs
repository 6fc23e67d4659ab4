//! 1inch: limit orders, and the swaps of its third router, whose event others have taken over. Routers
//! of the fifth and sixth generation tell nothing.
//! <https://github.com/1inch/limit-order-protocol/blob/master/contracts/interfaces/IOrderMixin.sol>.

use alloy_primitives::{address, b256};

use super::rows::{AggregatorTrade, OrderId, Venue};
use super::word::{self, Address, coin, indexed, words};
use super::{Decoder, Feeds};

/// The fifth router, which holds the third generation of limit orders.
const ROUTER_V5: Address = address!("1111111254eeb25477b68fb85ed929f73a960582").0.0;
/// KyberSwap's router.
const KYBERSWAP: Address = address!("6131b5fae19ea4f9d964eac0408e4408b66337b5").0.0;

/// `OrderFilled(maker, orderHash, remaining)`, the first indexed: limit orders of the second and third
/// generation.
pub(super) const ORDER_FILLED: Decoder = Decoder {
    signature: "OrderFilled(address,bytes32,uint256)",
    topic0: b256!("b9ed0243fdf00f0545c63a0af8850c090d86bb46682baec4bf3c496814fe4f02"),
    feeds: Feeds::AGGREGATORS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [maker] = indexed(log.topics)?;
        let [order, _remaining] = words(log.data)?;
        let version = if log.address == ROUTER_V5 { "v3" } else { "v2" };
        let trade = AggregatorTrade {
            trader: Some(word::address(maker)?),
            order_id: OrderId::new(order),
            ..AggregatorTrade::new(log, Venue { protocol: "1inch", version }, "order_filled")
        };
        out.aggregator_trades.push(trade);
        Ok(())
    },
};

/// `OrderFilled(orderHash, remainingAmount)`, nothing indexed: the limit orders of the sixth router.
pub(super) const ORDER_FILLED_V6: Decoder = Decoder {
    signature: "OrderFilled(bytes32,uint256)",
    topic0: b256!("fec331350fce78ba658e082a71da20ac9f8d798a99b3c79681c8440cbfe77e07"),
    feeds: Feeds::AGGREGATORS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [] = indexed(log.topics)?;
        let [order, _remaining] = words(log.data)?;
        let venue_name = Venue { protocol: "1inch", version: "v6" };
        let order_id = OrderId::new(order);
        out.aggregator_trades
            .push(AggregatorTrade { order_id, ..AggregatorTrade::new(log, venue_name, "order_filled") });
        Ok(())
    },
};

/// `Swapped(sender, srcToken, dstToken, dstReceiver, spentAmount, returnAmount)`, nothing indexed.
pub(super) const SWAPPED: Decoder = Decoder {
    signature: "Swapped(address,address,address,address,uint256,uint256)",
    topic0: b256!("d6d4f5681c246c9f42c203e287975af1601f8df8035a9251f79aab5c8f09e2f8"),
    feeds: Feeds::AGGREGATORS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [] = indexed(log.topics)?;
        let [sender, sold, bought, receiver, spent, returned] = words(log.data)?;
        let venue_name = if log.address == KYBERSWAP {
            Venue { protocol: "kyberswap", version: "v2" }
        } else {
            Venue { protocol: "1inch", version: "v3" }
        };
        let trade = AggregatorTrade {
            trader: Some(word::address(sender)?),
            recipient: Some(word::address(receiver)?),
            token_sold: Some(coin(sold)?),
            token_bought: Some(coin(bought)?),
            amount_sold: Some(*spent),
            amount_bought: Some(*returned),
            ..AggregatorTrade::new(log, venue_name, "swapped")
        };
        out.aggregator_trades.push(trade);
        Ok(())
    },
};
