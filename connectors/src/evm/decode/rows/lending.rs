//! Rows of `liquidation_events`, `flash_loans` and `oracle_updates`.

use super::{At, Venue};
use crate::evm::decode::RawLog;
use crate::evm::decode::word::{Address, Word};

/// A step of a liquidation: a row of `liquidation_events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Liquidation {
    /// Where.
    pub at: At,
    /// The protocol.
    pub venue_name: Venue,
    /// The event's name in snake case.
    pub event: &'static str,
    /// The contract whose loans these are; for Maker's auctions the auction house.
    pub market: Address,
    /// The market inside that contract; for Maker the kind of collateral.
    pub market_id: Option<Word>,
    /// Who did it.
    pub liquidator: Option<Address>,
    /// Whose loan.
    pub borrower: Option<Address>,
    /// What was owed.
    pub debt_token: Option<Address>,
    /// What secured it.
    pub collateral_token: Option<Address>,
    /// How much was paid back. Maker counts in units of 10^-45 DAI.
    pub debt_repaid: Option<Word>,
    /// How much security was taken.
    pub collateral_seized: Option<Word>,
    /// Whether the liquidator got deposits instead of the token itself.
    pub receive_wrapped: Option<bool>,
    /// Debt that nothing covers.
    pub bad_debt: Option<Word>,
    /// Maker's number of the auction.
    pub auction_id: Option<Word>,
    /// Whether both amounts changed hands in the transaction, so that its transfers may name the tokens.
    pub(in crate::evm::decode) is_paid: bool,
}

impl Liquidation {
    /// A row that says nothing yet but where it is.
    pub(in crate::evm::decode) fn new(log: RawLog<'_>, venue_name: Venue, event: &'static str) -> Liquidation {
        Liquidation {
            at: log.at,
            venue_name,
            event,
            market: log.address,
            market_id: None,
            liquidator: None,
            borrower: None,
            debt_token: None,
            collateral_token: None,
            debt_repaid: None,
            collateral_seized: None,
            receive_wrapped: None,
            bad_debt: None,
            auction_id: None,
            is_paid: false,
        }
    }
}

/// A loan within one transaction: a row of `flash_loans`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlashLoan {
    /// Where.
    pub at: At,
    /// The protocol.
    pub venue_name: Venue,
    /// Who lent.
    pub lender: Address,
    /// Who borrowed.
    pub borrower: Option<Address>,
    /// What.
    pub token: Option<Address>,
    /// How much.
    pub amount: Word,
    /// What it cost.
    pub fee: Word,
}

/// An answer of a price feed: a row of `oracle_updates`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OracleUpdate {
    /// Where.
    pub at: At,
    /// The contract that told it.
    pub feed: Address,
    /// The answer in two's complement.
    pub answer: Word,
    /// The feed's own count.
    pub round_id: Word,
    /// When, in seconds since 1970; `None` if it is no time.
    pub updated_at: Option<i64>,
}
