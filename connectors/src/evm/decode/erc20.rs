//! ERC-20 `Transfer`, and the ERC-721 event that shares its signature: <https://eips.ethereum.org/EIPS/eip-20>.

use alloy_primitives::b256;

use super::{DecodeError, Decoder, RawLog, Standard, Transfer, address, erc721};

/// `Transfer(from, to, amount)`.
pub(super) const TRANSFER: Decoder = Decoder {
    signature: "Transfer(address,address,uint256)",
    topic0: b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"),
    decode,
};

/// The number of topics tells the standards apart: ERC-721 indexes the token, ERC-20 not the amount.
fn decode(log: RawLog<'_>, out: &mut Vec<Transfer>) -> Result<(), DecodeError> {
    match log.topics {
        [_, from, to] => {
            let amount = log.data.try_into().map_err(|_| DecodeError::DataLength)?;
            let (from, to) = (address(from)?, address(to)?);
            out.push(Transfer { standard: Standard::Erc20, from, to, amount, token_id: None, batch_index: None });
            Ok(())
        }
        [_, from, to, token_id] => erc721::decode([from, to, token_id], out),
        _ => Err(DecodeError::TopicCount),
    }
}
