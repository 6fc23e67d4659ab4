//! Rows of `token_transfers`.

use super::At;
use crate::evm::decode::word::{Address, Word};

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

    /// Whether one unit is as good as another, so that amounts can pay for something.
    pub(in crate::evm::decode) fn is_fungible(self) -> bool {
        matches!(self, Standard::Erc20 | Standard::WethDeposit | Standard::WethWithdrawal)
    }
}

/// A moved token: a row of `token_transfers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Where.
    pub at: At,
    /// The standard.
    pub standard: Standard,
    /// The token's contract.
    pub token: Address,
    /// From whom; the zero address when minted or wrapped.
    pub from: Address,
    /// To whom; the zero address when burned or unwrapped.
    pub to: Address,
    /// How much, in the smallest unit; 1 for ERC-721.
    pub amount: Word,
    /// Which token, for the standards that have many.
    pub token_id: Option<Word>,
    /// Position in a batch, for ERC-1155 batches.
    pub batch_index: Option<u32>,
}
