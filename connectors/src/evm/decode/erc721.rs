//! ERC-721 `Transfer(from, to, tokenId)`, all indexed: <https://eips.ethereum.org/EIPS/eip-721>.

use super::rows::{Decoded, Standard, Transfer};
use super::word::{Word, address};
use super::{DecodeError, RawLog};

/// Reads the topics after the first; [`super::erc20`] has seen that there are three.
pub(super) fn decode(log: RawLog<'_>, [from, to, token_id]: [&Word; 3], out: &mut Decoded) -> Result<(), DecodeError> {
    let mut one = [0; 32];
    one[31] = 1;
    out.transfers.push(Transfer {
        at: log.at,
        standard: Standard::Erc721,
        token: log.address,
        from: address(from)?,
        to: address(to)?,
        amount: one,
        token_id: Some(*token_id),
        batch_index: None,
    });
    Ok(())
}
