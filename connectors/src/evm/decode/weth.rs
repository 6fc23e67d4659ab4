//! `Deposit` and `Withdrawal` of wrapped native coins, which send no `Transfer`:
//! <https://etherscan.io/address/0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2#code>.

use alloy_primitives::b256;

use super::{DecodeError, Decoder, RawLog, Standard, Transfer, address};

/// `Deposit(dst, wad)`: native coin became tokens of `dst`.
pub(super) const DEPOSIT: Decoder = Decoder {
    signature: "Deposit(address,uint256)",
    topic0: b256!("e1fffcc4923d04b559f4d29a8bfc6cda04eb5b0d3c460751c2402c5c5cc9109c"),
    decode: |log, out| {
        let (to, amount) = holder(log)?;
        let standard = Standard::WethDeposit;
        out.push(Transfer { standard, from: [0; 20], to, amount, token_id: None, batch_index: None });
        Ok(())
    },
};

/// `Withdrawal(src, wad)`: tokens of `src` became native coin.
pub(super) const WITHDRAWAL: Decoder = Decoder {
    signature: "Withdrawal(address,uint256)",
    topic0: b256!("7fcf532c15f0a6db0bd6d0e038bea71d30d808c7d98cb3bf7268a95bf5081b65"),
    decode: |log, out| {
        let (from, amount) = holder(log)?;
        let standard = Standard::WethWithdrawal;
        out.push(Transfer { standard, from, to: [0; 20], amount, token_id: None, batch_index: None });
        Ok(())
    },
};

fn holder(log: RawLog<'_>) -> Result<([u8; 20], [u8; 32]), DecodeError> {
    let [_, holder] = log.topics else { return Err(DecodeError::TopicCount) };
    let amount = log.data.try_into().map_err(|_| DecodeError::DataLength)?;
    Ok((address(holder)?, amount))
}
