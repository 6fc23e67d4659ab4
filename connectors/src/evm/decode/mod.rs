//! What logs mean: one file per standard, listed in [`DECODERS`].
//!
//! A new decoder is a file here and a line in the list.

mod erc1155;
mod erc20;
mod erc721;
mod weth;

use alloy_primitives::B256;

/// A log with its bytes read.
#[derive(Clone, Copy, Debug)]
pub struct RawLog<'a> {
    /// All topics; the first is the decoder's [`Decoder::topic0`].
    pub topics: &'a [[u8; 32]],
    /// The data.
    pub data: &'a [u8],
}

/// Which standard a transfer follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standard {
    /// Fungible tokens.
    Erc20,
    /// One token a `token_id`.
    Erc721,
    /// Many tokens a `token_id`.
    Erc1155,
    /// Native coin into its wrapper.
    WethDeposit,
    /// Native coin out of its wrapper.
    WethWithdrawal,
}

impl Standard {
    /// The value of the column `token_standard`.
    pub fn name(self) -> &'static str {
        match self {
            Standard::Erc20 => "erc20",
            Standard::Erc721 => "erc721",
            Standard::Erc1155 => "erc1155",
            Standard::WethDeposit => "weth_deposit",
            Standard::WethWithdrawal => "weth_withdrawal",
        }
    }
}

/// A moved token. Numbers have their most significant byte first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The standard.
    pub standard: Standard,
    /// From whom; the zero address when minted or wrapped.
    pub from: [u8; 20],
    /// To whom; the zero address when burned or unwrapped.
    pub to: [u8; 20],
    /// How much, in the smallest unit; 1 for ERC-721.
    pub amount: [u8; 32],
    /// Which token, for the standards that have many.
    pub token_id: Option<[u8; 32]>,
    /// Position in a batch, for ERC-1155 batches.
    pub batch_index: Option<u32>,
}

/// Why a log that announces a transfer is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The number of topics fits no standard.
    #[error("wrong number of topics")]
    TopicCount,
    /// A topic that should be an address has other bytes in front.
    #[error("a topic is not an address")]
    NotAnAddress,
    /// The data has another length than the event.
    #[error("wrong length of data")]
    DataLength,
    /// Lists inside the data are cut off or of different lengths.
    #[error("lists do not fit")]
    Lists,
}

/// One kind of event.
pub struct Decoder {
    /// The event as Solidity writes it; its hash is the first topic.
    pub signature: &'static str,
    /// Hash of the signature.
    pub topic0: B256,
    /// Appends the transfers of one log, or nothing if it fails.
    pub decode: fn(RawLog<'_>, &mut Vec<Transfer>) -> Result<(), DecodeError>,
}

/// Every decoder of `token_transfers`.
pub const DECODERS: &[Decoder] =
    &[erc20::TRANSFER, erc1155::TRANSFER_SINGLE, erc1155::TRANSFER_BATCH, weth::DEPOSIT, weth::WITHDRAWAL];

/// The decoder for a first topic.
pub fn decoder(topic0: &[u8; 32]) -> Option<&'static Decoder> {
    DECODERS.iter().find(|decoder| decoder.topic0.0 == *topic0)
}

/// The address in a 32-byte word, which has twelve zero bytes in front.
fn address(word: &[u8; 32]) -> Result<[u8; 20], DecodeError> {
    let (front, address) = word.split_at(12);
    if front.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::NotAnAddress);
    }
    Ok(address.try_into().expect("32 - 12 = 20"))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics_are_the_hashes_of_the_signatures() {
        for decoder in DECODERS {
            assert_eq!(decoder.topic0, keccak256(decoder.signature), "{}", decoder.signature);
        }
    }

    proptest! {
        #[test]
        fn no_log_makes_a_decoder_panic_or_leave_half_of_it(
            kind in 0..DECODERS.len(),
            topics in proptest::collection::vec(any::<[u8; 32]>(), 0..4),
            small in proptest::collection::vec((0u8..4, 0usize..40), 0..20),
            data in proptest::collection::vec(0u8..3, 0..400),
        ) {
            let decoder = &DECODERS[kind];
            let mut all = vec![decoder.topic0.0];
            all.extend(topics.into_iter().map(|mut topic| { topic[..12].fill(0); topic }));
            let mut data = data;
            for (value, at) in small {
                // Words that look like offsets and lengths get past the first checks.
                if let Some(byte) = data.get_mut(at * 32 + 31) { *byte = value * 32; }
            }
            let mut out = Vec::new();
            if (decoder.decode)(RawLog { topics: &all, data: &data }, &mut out).is_err() {
                prop_assert!(out.is_empty());
            }
        }
    }
}
