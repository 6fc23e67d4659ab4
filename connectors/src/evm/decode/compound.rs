//! Compound V2 with its copies, and Compound V3.
//! <https://github.com/compound-finance/compound-protocol/blob/master/contracts/CTokenInterfaces.sol>,
//! <https://github.com/compound-finance/comet/blob/main/contracts/CometMainInterface.sol>.

use alloy_primitives::b256;

use super::rows::{Liquidation, Venue};
use super::word::{address, indexed, words};
use super::{Decoder, Feeds};

const V2: Venue = Venue { protocol: "compound", version: "v2" };
const V3: Venue = Venue { protocol: "compound", version: "v3" };

/// V2: `LiquidateBorrow(liquidator, borrower, repayAmount, cTokenCollateral, seizeTokens)`, nothing
/// indexed, from the market of the debt. What is seized are shares of the collateral's market.
pub(super) const LIQUIDATE_BORROW: Decoder = Decoder {
    signature: "LiquidateBorrow(address,address,uint256,address,uint256)",
    topic0: b256!("298637f684da70674f26509b10f07ec2fbc77a335ab1e7d6215a4b2484d8bb52"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [] = indexed(log.topics)?;
        let [liquidator, borrower, repaid, collateral, seized] = words(log.data)?;
        let liquidation = Liquidation {
            liquidator: Some(address(liquidator)?),
            borrower: Some(address(borrower)?),
            collateral_token: Some(address(collateral)?),
            debt_repaid: Some(*repaid),
            collateral_seized: Some(*seized),
            receive_wrapped: Some(true),
            is_paid: true,
            ..Liquidation::new(log, V2, "liquidate_borrow")
        };
        out.liquidations.push(liquidation);
        Ok(())
    },
};

/// V3: `AbsorbDebt(absorber, borrower, basePaidOut, usdValue)`, the first two indexed: the market itself
/// pays the debt.
pub(super) const ABSORB_DEBT: Decoder = Decoder {
    signature: "AbsorbDebt(address,address,uint256,uint256)",
    topic0: b256!("1547a878dc89ad3c367b6338b4be6a65a5dd74fb77ae044da1e8747ef1f4f62f"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [absorber, borrower] = indexed(log.topics)?;
        let [paid, _usd] = words(log.data)?;
        let liquidation = Liquidation {
            liquidator: Some(address(absorber)?),
            borrower: Some(address(borrower)?),
            debt_repaid: Some(*paid),
            ..Liquidation::new(log, V3, "absorb_debt")
        };
        out.liquidations.push(liquidation);
        Ok(())
    },
};

/// V3: `AbsorbCollateral(absorber, borrower, asset, collateralAbsorbed, usdValue)`, the first three indexed.
pub(super) const ABSORB_COLLATERAL: Decoder = Decoder {
    signature: "AbsorbCollateral(address,address,address,uint256,uint256)",
    topic0: b256!("9850ab1af75177e4a9201c65a2cf7976d5d28e40ef63494b44366f86b2f9412e"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [absorber, borrower, asset] = indexed(log.topics)?;
        let [absorbed, _usd] = words(log.data)?;
        let liquidation = Liquidation {
            liquidator: Some(address(absorber)?),
            borrower: Some(address(borrower)?),
            collateral_token: Some(address(asset)?),
            collateral_seized: Some(*absorbed),
            ..Liquidation::new(log, V3, "absorb_collateral")
        };
        out.liquidations.push(liquidation);
        Ok(())
    },
};

/// V3: `BuyCollateral(buyer, asset, baseAmount, collateralAmount)`, the first two indexed.
pub(super) const BUY_COLLATERAL: Decoder = Decoder {
    signature: "BuyCollateral(address,address,uint256,uint256)",
    topic0: b256!("f891b2a411b0e66a5f0a6ff1368670fefa287a13f541eb633a386a1a9cc7046b"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [buyer, asset] = indexed(log.topics)?;
        let [base, collateral] = words(log.data)?;
        let liquidation = Liquidation {
            liquidator: Some(address(buyer)?),
            collateral_token: Some(address(asset)?),
            debt_repaid: Some(*base),
            collateral_seized: Some(*collateral),
            is_paid: true,
            ..Liquidation::new(log, V3, "buy_collateral")
        };
        out.liquidations.push(liquidation);
        Ok(())
    },
};
