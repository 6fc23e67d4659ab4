//! Maker's auctions, which take several transactions, and its flash loans.
//! <https://github.com/makerdao/dss/blob/master/src/clip.sol>, <https://github.com/makerdao/dss-flash>.
//!
//! `market` is the auction house in every event, so that an auction is found by `(market, auction_id)`.

use alloy_primitives::{U256, b256};

use super::rows::{Decoded, FlashLoan, Liquidation, Venue};
use super::word::{Word, address, indexed, words};
use super::{DecodeError, Decoder, Feeds, RawLog};

const LIQUIDATION_1_2: Venue = Venue { protocol: "maker", version: "v1.2" };
const LIQUIDATION_2_0: Venue = Venue { protocol: "maker", version: "v2.0" };

/// `Bite(ilk, urn, ink, art, tab, flip, id)`, the first two indexed: a vault is put up for auction.
pub(super) const BITE: Decoder = Decoder {
    signature: "Bite(bytes32,address,uint256,uint256,uint256,address,uint256)",
    topic0: b256!("a716da86bc1fb6d43d1493373f34d7a418b619681cd7b90f7ea667ba1489be28"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [ilk, urn] = indexed(log.topics)?;
        let [ink, _art, _tab, flip, id] = words(log.data)?;
        let started = Liquidation {
            market: address(flip)?,
            market_id: Some(*ilk),
            borrower: Some(address(urn)?),
            collateral_seized: Some(*ink),
            auction_id: Some(*id),
            ..Liquidation::new(log, LIQUIDATION_1_2, "bite")
        };
        out.liquidations.push(started);
        Ok(())
    },
};

/// `Bark(ilk, urn, ink, art, due, clip, id)`; ilk, urn and id are indexed.
pub(super) const BARK: Decoder = Decoder {
    signature: "Bark(bytes32,address,uint256,uint256,uint256,address,uint256)",
    topic0: b256!("85258d09e1e4ef299ff3fc11e74af99563f022d21f3f940db982229dc2a3358c"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [ilk, urn, id] = indexed(log.topics)?;
        let [ink, _art, _due, clip] = words(log.data)?;
        let started = Liquidation {
            market: address(clip)?,
            market_id: Some(*ilk),
            borrower: Some(address(urn)?),
            collateral_seized: Some(*ink),
            auction_id: Some(*id),
            ..Liquidation::new(log, LIQUIDATION_2_0, "bark")
        };
        out.liquidations.push(started);
        Ok(())
    },
};

/// `Kick(id, top, tab, lot, usr, kpr, coin)`; id, usr and kpr are indexed: an auction begins, and its
/// keeper is rewarded.
pub(super) const KICK: Decoder = Decoder {
    signature: "Kick(uint256,uint256,uint256,uint256,address,address,uint256)",
    topic0: b256!("7c5bfdc0a5e8192f6cd4972f382cec69116862fb62e6abff8003874c58e064b8"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [id, user, keeper] = indexed(log.topics)?;
        let [_top, _tab, lot, _coin] = words(log.data)?;
        let started = Liquidation {
            liquidator: Some(address(keeper)?),
            borrower: Some(address(user)?),
            collateral_seized: Some(*lot),
            auction_id: Some(*id),
            ..Liquidation::new(log, LIQUIDATION_2_0, "kick")
        };
        out.liquidations.push(started);
        Ok(())
    },
};

/// `Take(id, max, price, owe, tab, lot, usr)`; id and usr are indexed: somebody buys from an auction.
pub(super) const TAKE: Decoder = Decoder {
    signature: "Take(uint256,uint256,uint256,uint256,uint256,uint256,address)",
    topic0: b256!("05e309fd6ce72f2ab888a20056bb4210df08daed86f21f95053deb19964d86b1"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [id, user] = indexed(log.topics)?;
        let [_max, price, owe, _tab, _lot] = words(log.data)?;
        let taken = Liquidation {
            borrower: Some(address(user)?),
            debt_repaid: Some(*owe),
            collateral_seized: slice(owe, price),
            auction_id: Some(*id),
            ..Liquidation::new(log, LIQUIDATION_2_0, "take")
        };
        out.liquidations.push(taken);
        Ok(())
    },
};

/// What was bought: tab and lot in the event are what is left, but the contract makes `owe` from
/// `slice * price` or `slice` from `owe / price`.
fn slice(owe: &Word, price: &Word) -> Option<Word> {
    let slice = U256::from_be_bytes(*owe).checked_div(U256::from_be_bytes(*price))?;
    Some(slice.to_be_bytes())
}

/// `FlashLoan(receiver, token, amount, fee)`, the first indexed; [`super::balancer`] has seen that.
pub(super) fn flash_loan(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [receiver] = indexed(log.topics)?;
    let [token, amount, fee] = words(log.data)?;
    out.flash_loans.push(FlashLoan {
        at: log.at,
        venue_name: Venue { protocol: "maker", version: "v1" },
        lender: log.address,
        borrower: Some(address(receiver)?),
        token: Some(address(token)?),
        amount: *amount,
        fee: *fee,
    });
    Ok(())
}
