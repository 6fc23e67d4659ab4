//! Rows of `dex_swaps`, `pools` and `liquidity_events`.

use super::{At, PoolId, Venue};
use crate::evm::decode::word::{Address, Word};

/// How far a swap can be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// The pool is one of a listed factory's, by announcement or by its address.
    Verified,
    /// Transfers of the transaction agree with both amounts.
    Balanced,
    /// Transfers agree with one amount, and one alone with the other less a fee of the coin that it moved.
    Taxed,
    /// Neither.
    Unverified,
}

impl Trust {
    /// The value of the column `trust`.
    pub fn name(self) -> &'static str {
        match self {
            Trust::Verified => "verified",
            Trust::Balanced => "balanced",
            Trust::Taxed => "taxed",
            Trust::Unverified => "unverified",
        }
    }
}

/// How a pool's tokens follow from its name, if they do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::evm::decode) enum Family {
    /// The address is derived from both tokens.
    V2,
    /// The address is derived from both tokens and the fee.
    V3,
    /// The id is the hash of both tokens, fee, tick spacing and hooks.
    V4,
    /// Only transfers tell the tokens, which are in the order of their addresses.
    Pair,
    /// Only transfers tell the tokens.
    Contract,
    /// The event itself tells the tokens.
    Told,
}

/// A trade with a pool: a row of `dex_swaps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Swap {
    /// Where.
    pub at: At,
    /// The protocol.
    pub venue_name: Venue,
    /// The pool.
    pub pool: PoolId,
    /// The contract that told it.
    pub venue: Address,
    /// Position of the sold coin in its pool.
    pub sold_index: Option<u8>,
    /// Position of the bought coin in its pool.
    pub bought_index: Option<u8>,
    /// What the pool was paid with.
    pub token_sold: Option<Address>,
    /// What the pool paid out.
    pub token_bought: Option<Address>,
    /// What the pool kept of the payment.
    pub amount_sold: Word,
    /// What the pool gave for it.
    pub amount_bought: Word,
    /// Who called the pool.
    pub sender: Option<Address>,
    /// Who was paid.
    pub recipient: Option<Address>,
    /// Both reserves after the swap.
    pub reserves: Option<[Word; 2]>,
    /// Square root of the price of coin 0 in coin 1, in units of 2^-96, after the swap.
    pub sqrt_price_x96: Option<Word>,
    /// Logarithm of that price to the base 1.0001, rounded down.
    pub tick: Option<i32>,
    /// Liquidity in range after the swap.
    pub liquidity: Option<Word>,
    /// Fee in millionths.
    pub fee_pips: Option<u32>,
    /// How far to believe it.
    pub trust: Trust,
    pub(in crate::evm::decode) family: Family,
    /// What the pool was paid and what it paid out, before the one is set off against the other.
    pub(in crate::evm::decode) paid_in: Word,
    pub(in crate::evm::decode) paid_out: Word,
}

/// Who told the coins of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolSource {
    /// The announcement of a factory.
    Event,
    /// The answer of a node to a call.
    Call,
}

impl PoolSource {
    /// The value of the column `source`.
    pub fn name(self) -> &'static str {
        match self {
            PoolSource::Event => "event",
            PoolSource::Call => "call",
        }
    }
}

/// A pool whose coins were told: a row of `pools`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewPool {
    /// Where.
    pub at: At,
    /// The protocol.
    pub venue_name: Venue,
    /// The pool.
    pub pool: PoolId,
    /// Who announced it, or whom it calls its factory.
    pub factory: Option<Address>,
    /// Whether that is a known one.
    pub listed: bool,
    /// Where in the pool the two coins are.
    pub indexes: [u8; 2],
    /// The first of them.
    pub token0: Address,
    /// The second.
    pub token1: Address,
    /// Fee in millionths.
    pub fee_pips: Option<u32>,
    /// Ticks between two places where liquidity may begin.
    pub tick_spacing: Option<i32>,
    /// The contract called around every operation.
    pub hooks: Option<Address>,
    /// Who told it.
    pub source: PoolSource,
}

/// What was done to liquidity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LiquidityKind {
    /// More.
    Mint,
    /// Less.
    Burn,
    /// Fees or what a burn left were taken out.
    Collect,
}

impl LiquidityKind {
    /// The value of the column `kind`.
    pub fn name(self) -> &'static str {
        match self {
            LiquidityKind::Mint => "mint",
            LiquidityKind::Burn => "burn",
            LiquidityKind::Collect => "collect",
        }
    }
}

/// A change of liquidity: a row of `liquidity_events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiquidityEvent {
    /// Where.
    pub at: At,
    /// The protocol.
    pub venue_name: Venue,
    /// The pool.
    pub pool: PoolId,
    /// The contract that told it.
    pub venue: Address,
    /// Which way.
    pub kind: LiquidityKind,
    /// Whose position.
    pub owner: Option<Address>,
    /// Who called.
    pub sender: Option<Address>,
    /// Who was paid.
    pub recipient: Option<Address>,
    /// Where the position begins.
    pub tick_lower: Option<i32>,
    /// Where the position ends.
    pub tick_upper: Option<i32>,
    /// What tells positions of one owner and range apart.
    pub salt: Option<Word>,
    /// The position's token, if a position manager holds it.
    pub token_id: Option<Word>,
    /// How much liquidity.
    pub liquidity: Option<Word>,
    /// How much of coin 0.
    pub amount0: Option<Word>,
    /// How much of coin 1.
    pub amount1: Option<Word>,
}
