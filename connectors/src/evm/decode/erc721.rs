//! ERC-721 `Transfer(from, to, tokenId)`, all indexed: <https://eips.ethereum.org/EIPS/eip-721>.

use super::{DecodeError, Standard, Transfer, address};

/// Reads the topics after the first; [`super::erc20`] has seen that there are three.
pub(super) fn decode([from, to, token_id]: [&[u8; 32]; 3], out: &mut Vec<Transfer>) -> Result<(), DecodeError> {
    let mut one = [0; 32];
    one[31] = 1;
    out.push(Transfer {
        standard: Standard::Erc721,
        from: address(from)?,
        to: address(to)?,
        amount: one,
        token_id: Some(*token_id),
        batch_index: None,
    });
    Ok(())
}
