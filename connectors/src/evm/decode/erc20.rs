//! ERC-20 `Transfer`, and the ERC-721 event that shares its signature: <https://eips.ethereum.org/EIPS/eip-20>.

use alloy_primitives::b256;

use super::rows::{Decoded, Standard, Transfer};
use super::word::address;
use super::{DecodeError, Decoder, Feeds, RawLog, erc721};

/// `Transfer(from, to, amount)`.
pub(super) const TRANSFER: Decoder = Decoder {
    signature: "Transfer(address,address,uint256)",
    topic0: b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"),
    feeds: Feeds::TRANSFERS,
    helps: Feeds::MATCHED,
    decode,
};

/// The number of topics tells the standards apart: ERC-721 indexes the token, ERC-20 not the amount.
fn decode(log: RawLog<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
    match log.topics {
        [_, from, to] => {
            let amount = log.data.try_into().map_err(|_| DecodeError::DataLength)?;
            out.transfers.push(Transfer {
                at: log.at,
                standard: Standard::Erc20,
                token: log.address,
                from: address(from)?,
                to: address(to)?,
                amount,
                token_id: None,
                batch_index: None,
            });
            Ok(())
        }
        [_, from, to, token_id] => erc721::decode(log, [from, to, token_id], out),
        _ => Err(DecodeError::TopicCount),
    }
}
