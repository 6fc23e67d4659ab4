//! ERC-1155 `TransferSingle` and `TransferBatch`: <https://eips.ethereum.org/EIPS/eip-1155>.

use alloy_primitives::b256;

use super::rows::{Decoded, Standard, Transfer};
use super::word::{Address, Word, address, indexed, words};
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

/// The list whose offset is in word `argument`: its length and then its words.
fn list(data: &[u8], argument: usize) -> Result<&[Word], DecodeError> {
    let word = |at: usize| data.get(at..).and_then(|rest| rest.first_chunk::<32>()).ok_or(DecodeError::Lists);
    let start = length(word(argument * 32)?)?;
    let count = length(word(start)?)?;
    let bytes = count.checked_mul(32).ok_or(DecodeError::Lists)?;
    let items = data[start + 32..].get(..bytes).ok_or(DecodeError::Lists)?;
    Ok(items.as_chunks::<32>().0)
}

/// A word as an offset or length. Larger ones than 32 bits cannot be inside a log.
fn length(word: &Word) -> Result<usize, DecodeError> {
    let (front, number) = word.split_at(28);
    if front.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::Lists);
    }
    let number = u32::from_be_bytes(number.try_into().expect("32 - 28 = 4"));
    usize::try_from(number).map_err(|_| DecodeError::Lists)
}
