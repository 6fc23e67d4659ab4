//! ERC-1155 `TransferSingle` and `TransferBatch`: <https://eips.ethereum.org/EIPS/eip-1155>.

use alloy_primitives::b256;

use super::rows::{Decoded, Standard, Transfer};
use super::word::{Address, Word, address, indexed, list, words};
use super::{DecodeError, Decoder, Feeds, RawLog};

/// `TransferSingle(operator, from, to, id, value)`.
pub(super) const TRANSFER_SINGLE: Decoder = Decoder {
    signature: "TransferSingle(address,address,address,uint256,uint256)",
    topic0: b256!("c3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62"),
    feeds: Feeds::TRANSFERS,
    helps: Feeds::NONE,
    decode: single,
};

/// `TransferBatch(operator, from, to, ids, values)`.
pub(super) const TRANSFER_BATCH: Decoder = Decoder {
    signature: "TransferBatch(address,address,address,uint256[],uint256[])",
    topic0: b256!("4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb"),
    feeds: Feeds::TRANSFERS,
    helps: Feeds::NONE,
    decode: batch,
};

fn single(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let (from, to) = parties(log.topics)?;
    let [token_id, amount] = *words(log.data)?;
    out.transfers.push(Transfer {
        at: log.at,
        standard: Standard::Erc1155,
        token: log.address,
        from,
        to,
        amount,
        token_id: Some(token_id),
        batch_index: None,
    });
    Ok(())
}

fn batch(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    let (from, to) = parties(log.topics)?;
    let (ids, amounts) = (list(log.data, 0)?, list(log.data, 1)?);
    if ids.len() != amounts.len() {
        return Err(DecodeError::Lists);
    }
    out.transfers.extend((0u32..).zip(ids.iter().zip(amounts)).map(|(index, (token_id, amount))| Transfer {
        at: log.at,
        standard: Standard::Erc1155,
        token: log.address,
        from,
        to,
        amount: *amount,
        token_id: Some(*token_id),
        batch_index: Some(index),
    }));
    Ok(())
}

fn parties(topics: &[Word]) -> Result<(Address, Address), DecodeError> {
    let [_operator, from, to] = indexed(topics)?;
    Ok((address(from)?, address(to)?))
}
