//! Morpho Blue: <https://github.com/morpho-org/morpho-blue/blob/main/src/libraries/EventsLib.sol>.

use alloy_primitives::b256;

use super::rows::{FlashLoan, Liquidation, Venue};
use super::word::{ZERO, address, indexed, words};
use super::{Decoder, Feeds};

const BLUE: Venue = Venue { protocol: "morpho", version: "blue" };

/// `Liquidate(id, caller, borrower, repaidAssets, repaidShares, seizedAssets, badDebtAssets,
/// badDebtShares)`, the first three indexed.
pub(super) const LIQUIDATE: Decoder = Decoder {
    signature: "Liquidate(bytes32,address,address,uint256,uint256,uint256,uint256,uint256)",
    topic0: b256!("a4946ede45d0c6f06a0f5ce92c9ad3b4751452d2fe0e25010783bcab57a67e41"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [id, caller, borrower] = indexed(log.topics)?;
        let [repaid, _shares, seized, bad, _bad_shares] = words(log.data)?;
        let liquidation = Liquidation {
            market_id: Some(*id),
            liquidator: Some(address(caller)?),
            borrower: Some(address(borrower)?),
            debt_repaid: Some(*repaid),
            collateral_seized: Some(*seized),
            receive_wrapped: Some(false),
            bad_debt: Some(*bad),
            is_paid: true,
            ..Liquidation::new(log, BLUE, "liquidate")
        };
        out.liquidations.push(liquidation);
        Ok(())
    },
};

/// `FlashLoan(caller, token, assets)`, the first two indexed. It costs nothing.
pub(super) const FLASH_LOAN: Decoder = Decoder {
    signature: "FlashLoan(address,address,uint256)",
    topic0: b256!("c76f1b4fe4396ac07a9fa55a415d4ca430e72651d37d3401f3bed7cb13fc4f12"),
    feeds: Feeds::FLASH_LOANS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [caller, token] = indexed(log.topics)?;
        let [amount] = *words(log.data)?;
        let (borrower, token) = (Some(address(caller)?), Some(address(token)?));
        let lender = log.address;
        out.flash_loans.push(FlashLoan { at: log.at, venue_name: BLUE, lender, borrower, token, amount, fee: ZERO });
        Ok(())
    },
};
