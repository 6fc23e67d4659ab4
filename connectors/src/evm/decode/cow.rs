//! CoW Protocol: <https://github.com/cowprotocol/contracts/blob/main/src/contracts/GPv2Settlement.sol>.

use alloy_primitives::b256;

use super::rows::{AggregatorTrade, Decoded, OrderId, Venue};
use super::word::{address, coin, indexed, tail};
use super::{DecodeError, Decoder, Feeds, RawLog};

const COW: Venue = Venue { protocol: "cow", version: "v2" };

/// `Trade(owner, sellToken, buyToken, sellAmount, buyAmount, feeAmount, orderUid)`, the first indexed.
pub(super) const TRADE: Decoder = Decoder {
    signature: "Trade(address,address,address,uint256,uint256,uint256,bytes)",
    topic0: b256!("a07a543ab8a018198e99ca0184c93fe9050a79400a0a723441f84de1d972cc17"),
    feeds: Feeds::AGGREGATORS,
    helps: Feeds::NONE,
    decode: trade,
};

/// `Settlement(solver)`, after all trades of it.
pub(super) const SETTLEMENT: Decoder = Decoder {
    signature: "Settlement(address)",
    topic0: b256!("40338ce1a7c49204f0099533b1e9a7ee0a3d261f84974ab7af36105b8c4e9db4"),
    feeds: Feeds::NONE,
    helps: Feeds::AGGREGATORS,
    decode: settlement,
};

fn trade(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [owner] = indexed(log.topics)?;
    let (words, _) = log.data.as_chunks::<32>();
    let [sold, bought, amount_sold, amount_bought, _fee, _offset, ..] = words else {
        return Err(DecodeError::DataLength);
    };
    let order_id = OrderId::new(tail(log.data, 5)?).ok_or(DecodeError::Lists)?;
    let trade = AggregatorTrade {
        trader: Some(address(owner)?),
        token_sold: Some(coin(sold)?),
        token_bought: Some(coin(bought)?),
        amount_sold: Some(*amount_sold),
        amount_bought: Some(*amount_bought),
        order_id: Some(order_id),
        ..AggregatorTrade::new(log, COW, "trade")
    };
    out.aggregator_trades.push(trade);
    Ok(())
}

/// Names who settled the trades before it.
fn settlement(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [solver] = indexed(log.topics)?;
    let solver = Some(address(solver)?);
    let trades = out.aggregator_trades.iter_mut().rev();
    let of_this = trades.take_while(|trade| trade.at.receipt == log.at.receipt);
    for trade in of_this.filter(|trade| trade.venue == log.address && trade.filler.is_none()) {
        trade.filler = solver;
    }
    Ok(())
}
