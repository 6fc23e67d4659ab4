//! Rows of `inferred_swaps`.

use super::At;
use crate::evm::decode::word::{Address, Word};

/// What looks like a trade with an address that no known event explains: a row of `inferred_swaps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InferredSwap {
    /// Where the later of its two transfers is.
    pub at: At,
    /// The address.
    pub venue: Address,
    /// What it was paid with.
    pub token_sold: Address,
    /// What it paid out.
    pub token_bought: Address,
    /// How much it was paid.
    pub amount_sold: Word,
    /// How much of that the recipient got.
    pub amount_bought: Word,
    /// What it paid to the bought token's own contract besides, if it did.
    pub transfer_fee: Option<Word>,
    /// Who paid it.
    pub sender: Address,
    /// Whom it paid.
    pub recipient: Address,
    /// Whether the one other party of both transfers looks just the same.
    pub mirrored: bool,
}
