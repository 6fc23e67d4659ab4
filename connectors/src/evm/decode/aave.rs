//! Aave and its copies, such as Spark: liquidations and flash loans.
//! <https://github.com/aave/aave-v3-core/blob/master/contracts/interfaces/IPool.sol>.

use alloy_primitives::{address, b256};

use super::rows::{FlashLoan, Liquidation, Venue};
use super::word::{self, Address, boolean, indexed, words};
use super::{Decoder, Feeds};

const V2: Venue = Venue { protocol: "aave", version: "v2" };
const V3: Venue = Venue { protocol: "aave", version: "v3" };
/// Both generations and all copies tell liquidations alike.
const V2_OR_V3: Venue = Venue { protocol: "aave", version: "v2_or_v3" };

/// The main pool of V3.
const POOL_V3: Address = address!("87870bca3f3fd6335c3f4ce8392d69350b4fa4e2").0.0;

/// V1: `LiquidationCall(collateral, reserve, user, purchaseAmount, liquidatedCollateralAmount,
/// accruedBorrowInterest, liquidator, receiveAToken, timestamp)`, the first three indexed.
pub(super) const LIQUIDATION_V1: Decoder = Decoder {
    signature: "LiquidationCall(address,address,address,uint256,uint256,uint256,address,bool,uint256)",
    topic0: b256!("56864757fd5b1fc9f38f5f3a981cd8ae512ce41b902cf73fc506ee369c6bc237"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [collateral, reserve, user] = indexed(log.topics)?;
        let [repaid, seized, _interest, liquidator, wrapped, _time] = words(log.data)?;
        let liquidation = Liquidation {
            liquidator: Some(word::address(liquidator)?),
            borrower: Some(word::address(user)?),
            debt_token: Some(word::coin(reserve)?),
            collateral_token: Some(word::coin(collateral)?),
            debt_repaid: Some(*repaid),
            collateral_seized: Some(*seized),
            receive_wrapped: Some(boolean(wrapped)?),
            ..Liquidation::new(log, Venue { protocol: "aave", version: "v1" }, "liquidation_call")
        };
        out.liquidations.push(liquidation);
        Ok(())
    },
};

/// V2 and V3: `LiquidationCall(collateralAsset, debtAsset, user, debtToCover, liquidatedCollateralAmount,
/// liquidator, receiveAToken)`, the first three indexed.
pub(super) const LIQUIDATION: Decoder = Decoder {
    signature: "LiquidationCall(address,address,address,uint256,uint256,address,bool)",
    topic0: b256!("e413a321e8681d831f4dbccbca790d2952b56f977908e45be37335533e005286"),
    feeds: Feeds::LIQUIDATIONS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [collateral, debt, user] = indexed(log.topics)?;
        let [repaid, seized, liquidator, wrapped] = words(log.data)?;
        let venue_name = if log.address == POOL_V3 { V3 } else { V2_OR_V3 };
        let liquidation = Liquidation {
            liquidator: Some(word::address(liquidator)?),
            borrower: Some(word::address(user)?),
            debt_token: Some(word::address(debt)?),
            collateral_token: Some(word::address(collateral)?),
            debt_repaid: Some(*repaid),
            collateral_seized: Some(*seized),
            receive_wrapped: Some(boolean(wrapped)?),
            ..Liquidation::new(log, venue_name, "liquidation_call")
        };
        out.liquidations.push(liquidation);
        Ok(())
    },
};

/// V2: `FlashLoan(target, initiator, asset, amount, premium, referralCode)`, the first three indexed.
pub(super) const FLASH_LOAN_V2: Decoder = Decoder {
    signature: "FlashLoan(address,address,address,uint256,uint256,uint16)",
    topic0: b256!("631042c832b07452973831137f2d73e395028b44b250dedc5abb0ee766e168ac"),
    feeds: Feeds::FLASH_LOANS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [target, _initiator, asset] = indexed(log.topics)?;
        let [amount, premium, _referral] = *words(log.data)?;
        out.flash_loans.push(FlashLoan {
            at: log.at,
            venue_name: V2,
            lender: log.address,
            borrower: Some(word::address(target)?),
            token: Some(word::address(asset)?),
            amount,
            fee: premium,
        });
        Ok(())
    },
};

/// V3: `FlashLoan(target, initiator, asset, amount, interestRateMode, premium, referralCode)`; target,
/// asset and referral code are indexed.
pub(super) const FLASH_LOAN_V3: Decoder = Decoder {
    signature: "FlashLoan(address,address,address,uint256,uint8,uint256,uint16)",
    topic0: b256!("efefaba5e921573100900a3ad9cf29f222d995fb3b6045797eaea7521bd8d6f0"),
    feeds: Feeds::FLASH_LOANS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [target, asset, _referral] = indexed(log.topics)?;
        let [_initiator, amount, _mode, premium] = *words(log.data)?;
        out.flash_loans.push(FlashLoan {
            at: log.at,
            venue_name: V3,
            lender: log.address,
            borrower: Some(word::address(target)?),
            token: Some(word::address(asset)?),
            amount,
            fee: premium,
        });
        Ok(())
    },
};
