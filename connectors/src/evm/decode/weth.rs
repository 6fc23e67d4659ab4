//! `Deposit` and `Withdrawal` of wrapped native coins, which send no `Transfer`:
//! <https://etherscan.io/address/0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2#code>.

use alloy_primitives::b256;

use super::rows::{Decoded, Standard, Transfer};
use super::word::{Address, address, indexed};
use super::{DecodeError, Decoder, Feeds, RawLog};

/// `Deposit(dst, wad)`: native coin became tokens of `dst`.
pub(super) const DEPOSIT: Decoder = Decoder {
    signature: "Deposit(address,uint256)",
    topic0: b256!("e1fffcc4923d04b559f4d29a8bfc6cda04eb5b0d3c460751c2402c5c5cc9109c"),
    feeds: Feeds::TRANSFERS,
    helps: Feeds::MATCHED,
    decode: |log, out| wrap(log, Standard::WethDeposit, out),
};

/// `Withdrawal(src, wad)`: tokens of `src` became native coin.
pub(super) const WITHDRAWAL: Decoder = Decoder {
    signature: "Withdrawal(address,uint256)",
    topic0: b256!("7fcf532c15f0a6db0bd6d0e038bea71d30d808c7d98cb3bf7268a95bf5081b65"),
    feeds: Feeds::TRANSFERS,
    helps: Feeds::MATCHED,
    decode: |log, out| wrap(log, Standard::WethWithdrawal, out),
};

const NOBODY: Address = [0; 20];

fn wrap(log: RawLog<'_>, standard: Standard, out: &mut Decoded) -> Result<(), DecodeError> {
    let [holder] = indexed(log.topics)?;
    let amount = log.data.try_into().map_err(|_| DecodeError::DataLength)?;
    let holder = address(holder)?;
    let (from, to) = if standard == Standard::WethDeposit { (NOBODY, holder) } else { (holder, NOBODY) };
    let (at, token) = (log.at, log.address);
    out.transfers.push(Transfer { at, standard, token, from, to, amount, token_id: None, batch_index: None });
    Ok(())
}
