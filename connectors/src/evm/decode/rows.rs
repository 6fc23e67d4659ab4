//! What logs say, one type for each table, and where it is gathered.

use super::RawLog;
use super::identity::Identities;
use super::word::{Address, Word};

/// Where a log is: which receipt of the block, in order, and which of its logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct At {
    /// Position of the receipt.
    pub receipt: usize,
    /// Position of the log within the receipt.
    pub log: usize,
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

    /// Whether one unit is as good as another, so that amounts can pay for something.
    pub(super) fn is_fungible(self) -> bool {
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

/// How a venue is called: the values of the columns `protocol` and `version`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Venue {
    /// Whose contracts, in lower case. Copies under another name that are not known have the original's.
    pub protocol: &'static str,
    /// Which generation of them.
    pub version: &'static str,
}

/// What names a pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PoolId {
    /// Its own contract.
    Address(Address),
    /// A number inside a contract that holds all pools.
    Id(Word),
}

impl PoolId {
    /// Its 20 or 32 bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            PoolId::Address(address) => address,
            PoolId::Id(id) => id,
        }
    }
}

/// How far a swap can be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// The pool is one of a listed factory's, by announcement or by its address.
    Verified,
    /// Transfers of the transaction agree with both amounts.
    Balanced,
    /// Neither.
    Unverified,
}

impl Trust {
    /// The value of the column `trust`.
    pub fn name(self) -> &'static str {
        match self {
            Trust::Verified => "verified",
            Trust::Balanced => "balanced",
            Trust::Unverified => "unverified",
        }
    }
}

/// How a pool's tokens follow from its name, if they do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
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
    pub(super) family: Family,
    /// What the pool was paid and what it paid out, before the one is set off against the other.
    pub(super) paid_in: Word,
    pub(super) paid_out: Word,
}

/// A pool that was announced: a row of `pools`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewPool {
    /// Where.
    pub at: At,
    /// The protocol.
    pub venue_name: Venue,
    /// The pool.
    pub pool: PoolId,
    /// Who announced it.
    pub factory: Address,
    /// Whether that is a known one.
    pub listed: bool,
    /// Coin 0.
    pub token0: Address,
    /// Coin 1.
    pub token1: Address,
    /// Fee in millionths.
    pub fee_pips: Option<u32>,
    /// Ticks between two places where liquidity may begin.
    pub tick_spacing: Option<i32>,
    /// The contract called around every operation.
    pub hooks: Option<Address>,
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
    pub(super) is_paid: bool,
}

impl Liquidation {
    /// A row that says nothing yet but where it is.
    pub(super) fn new(log: RawLog<'_>, venue_name: Venue, event: &'static str) -> Liquidation {
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

/// A fill of an aggregator: a row of `aggregator_trades`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AggregatorTrade {
    /// Where.
    pub at: At,
    /// The protocol.
    pub venue_name: Venue,
    /// The event's name in snake case.
    pub event: &'static str,
    /// The contract that told it.
    pub venue: Address,
    /// Whose order.
    pub trader: Option<Address>,
    /// Who filled it.
    pub filler: Option<Address>,
    /// Who was paid.
    pub recipient: Option<Address>,
    /// What the trader gave.
    pub token_sold: Option<Address>,
    /// What the trader got.
    pub token_bought: Option<Address>,
    /// How much the trader gave.
    pub amount_sold: Option<Word>,
    /// How much the trader got.
    pub amount_bought: Option<Word>,
    /// The order's name.
    pub order_id: Option<OrderId>,
}

impl AggregatorTrade {
    /// A row that says nothing yet but where it is.
    pub(super) fn new(log: RawLog<'_>, venue_name: Venue, event: &'static str) -> AggregatorTrade {
        AggregatorTrade {
            at: log.at,
            venue_name,
            event,
            venue: log.address,
            trader: None,
            filler: None,
            recipient: None,
            token_sold: None,
            token_bought: None,
            amount_sold: None,
            amount_bought: None,
            order_id: None,
        }
    }
}

/// The name of an order: up to 56 bytes, which is what CoW has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderId {
    bytes: [u8; 56],
    len: u8,
}

impl OrderId {
    /// The name `bytes`; `None` if it is longer than any known one.
    pub fn new(bytes: &[u8]) -> Option<OrderId> {
        let mut id = OrderId { bytes: [0; 56], len: u8::try_from(bytes.len()).ok()? };
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(id)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
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

/// What a position manager says about the pool's event before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PositionNote {
    pub(super) at: At,
    pub(super) manager: Address,
    pub(super) kind: LiquidityKind,
    pub(super) token_id: Word,
    pub(super) liquidity: Option<Word>,
    pub(super) amounts: [Word; 2],
}

/// The reserves a pair told last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sync {
    pub(super) pair: Address,
    pub(super) reserves: [Word; 2],
}

/// Everything the logs of a block said, each list in the order of the logs.
///
/// Kept from block to block for its memory.
#[derive(Debug, Default)]
pub struct Decoded {
    /// `token_transfers`.
    pub transfers: Vec<Transfer>,
    /// `dex_swaps`.
    pub swaps: Vec<Swap>,
    /// `pools`.
    pub pools: Vec<NewPool>,
    /// `liquidity_events`.
    pub liquidity: Vec<LiquidityEvent>,
    /// `liquidation_events`.
    pub liquidations: Vec<Liquidation>,
    /// `aggregator_trades`.
    pub aggregator_trades: Vec<AggregatorTrade>,
    /// `flash_loans`.
    pub flash_loans: Vec<FlashLoan>,
    /// `oracle_updates`.
    pub oracle_updates: Vec<OracleUpdate>,
    pub(super) positions: Vec<PositionNote>,
    pub(super) sync: Option<Sync>,
    pub(super) identities: Identities,
    /// Factories trusted besides the known ones.
    pub(super) trusted: Vec<Address>,
}

/// How many rows each list has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Lengths {
    pub(super) transfers: usize,
    pub(super) swaps: usize,
    pub(super) pools: usize,
    pub(super) liquidity: usize,
    pub(super) liquidations: usize,
    pub(super) aggregator_trades: usize,
    pub(super) flash_loans: usize,
    pub(super) oracle_updates: usize,
    pub(super) positions: usize,
}

impl Decoded {
    pub(super) fn lengths(&self) -> Lengths {
        Lengths {
            transfers: self.transfers.len(),
            swaps: self.swaps.len(),
            pools: self.pools.len(),
            liquidity: self.liquidity.len(),
            liquidations: self.liquidations.len(),
            aggregator_trades: self.aggregator_trades.len(),
            flash_loans: self.flash_loans.len(),
            oracle_updates: self.oracle_updates.len(),
            positions: self.positions.len(),
        }
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.transfers.clear();
        self.swaps.clear();
        self.pools.clear();
        self.liquidity.clear();
        self.liquidations.clear();
        self.aggregator_trades.clear();
        self.flash_loans.clear();
        self.oracle_updates.clear();
        self.positions.clear();
        self.sync = None;
    }
}
