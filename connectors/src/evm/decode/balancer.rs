//! Balancer: V1 pools tell their own swaps, V2 and V3 vaults those of all pools.
//! <https://github.com/balancer/balancer-core/blob/master/contracts/BPool.sol>,
//! <https://github.com/balancer/balancer-v2-monorepo/blob/master/pkg/interfaces/contracts/vault/IVault.sol>,
//! <https://github.com/balancer/balancer-v3-monorepo/blob/main/pkg/interfaces/contracts/vault/IVaultEvents.sol>.

use alloy_primitives::{U256, b256};

use super::rows::{Decoded, FlashLoan, PoolId, Swap, Venue};
use super::word::{ZERO, address, indexed, words};
use super::{DecodeError, Decoder, Feeds, RawLog, maker, told};

pub(super) const BALANCER_V2: Venue = Venue { protocol: "balancer", version: "v2" };

/// V1: `LOG_SWAP(caller, tokenIn, tokenOut, tokenAmountIn, tokenAmountOut)`, the first three indexed.
pub(super) const SWAP_V1: Decoder = Decoder {
    signature: "LOG_SWAP(address,address,address,uint256,uint256)",
    topic0: b256!("908fb5ee8f16c6bc9bc3690973819f32a4d4b10188134543c88706e0e1d43378"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: swap_v1,
};

/// V2: `Swap(poolId, tokenIn, tokenOut, amountIn, amountOut)`, the first three indexed.
pub(super) const SWAP_V2: Decoder = Decoder {
    signature: "Swap(bytes32,address,address,uint256,uint256)",
    topic0: b256!("2170c741c41531aec20e7c107c24eecfdd15e69c9bb0a8dd37b1840b9e0b207b"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: swap_v2,
};

/// V3: `Swap(pool, tokenIn, tokenOut, amountIn, amountOut, swapFeePercentage, swapFeeAmount)`, the first
/// three indexed.
pub(super) const SWAP_V3: Decoder = Decoder {
    signature: "Swap(address,address,address,uint256,uint256,uint256,uint256)",
    topic0: b256!("0874b2d545cb271cdbda4e093020c452328b24af12382ed62c4d00f5c26709db"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: swap_v3,
};

/// V2: `FlashLoan(recipient, token, amount, feeAmount)`, the first two indexed. Maker's has the same
/// signature and indexes only the first.
pub(super) const FLASH_LOAN: Decoder = Decoder {
    signature: "FlashLoan(address,address,uint256,uint256)",
    topic0: b256!("0d7d75e01ab95780d3cd1c8ec0dd6c2ce19e3a20427eec8bf53283b6fb8e95f0"),
    feeds: Feeds::FLASH_LOANS,
    helps: Feeds::NONE,
    decode: flash_loan,
};

fn swap_v1(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [caller, token_in, token_out] = indexed(log.topics)?;
    let [amount_in, amount_out] = words(log.data)?;
    let tokens = [address(token_in)?, address(token_out)?];
    let name = Venue { protocol: "balancer", version: "v1" };
    let swap = told::swap(log, name, PoolId::Address(log.address), tokens, [amount_in, amount_out]);
    out.swaps.push(Swap { sender: Some(address(caller)?), ..swap });
    Ok(())
}

/// Shares of the pool itself as one of the coins make it a join or an exit, and no trade.
fn swap_v2(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [id, token_in, token_out] = indexed(log.topics)?;
    let [amount_in, amount_out] = words(log.data)?;
    let tokens = [address(token_in)?, address(token_out)?];
    let is_share = |token: &[u8; 20]| *token == id[..20];
    if tokens.iter().any(is_share) || (*amount_in == ZERO && *amount_out == ZERO) {
        return Ok(());
    }
    out.swaps.push(told::swap(log, BALANCER_V2, PoolId::Id(*id), tokens, [amount_in, amount_out]));
    Ok(())
}

fn swap_v3(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let [pool, token_in, token_out] = indexed(log.topics)?;
    let [amount_in, amount_out, fee, _fee_amount] = words(log.data)?;
    let tokens = [address(token_in)?, address(token_out)?];
    // The fee is in units of 10^-18.
    let fee: U256 = U256::from_be_bytes(*fee) / U256::from(1_000_000_000_000_u64);
    let fee_pips = Some(u32::try_from(fee).map_err(|_| DecodeError::Number)?);
    let name = Venue { protocol: "balancer", version: "v3" };
    let swap = told::swap(log, name, PoolId::Address(address(pool)?), tokens, [amount_in, amount_out]);
    out.swaps.push(Swap { fee_pips, ..swap });
    Ok(())
}

fn flash_loan(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    if log.topics.len() == 2 {
        return maker::flash_loan(log, out);
    }
    let [recipient, token] = indexed(log.topics)?;
    let [amount, fee] = *words(log.data)?;
    let (borrower, token) = (Some(address(recipient)?), Some(address(token)?));
    out.flash_loans.push(FlashLoan {
        at: log.at,
        venue_name: BALANCER_V2,
        lender: log.address,
        borrower,
        token,
        amount,
        fee,
    });
    Ok(())
}
