//! What logs say, one type for each table, and where it is gathered.

mod aggregator;
mod inferred;
mod lending;
mod swap;
mod transfer;

use super::identity::Identities;
use super::inferred::Movements;
use super::word::{Address, Word};

pub use aggregator::{AggregatorTrade, OrderId};
pub use inferred::InferredSwap;
pub use lending::{FlashLoan, Liquidation, OracleUpdate};
pub(super) use swap::Family;
pub use swap::{LiquidityEvent, LiquidityKind, NewPool, PoolSource, Swap, Trust};
pub use transfer::{Standard, Transfer};

/// Where a log is: which receipt of the block, in order, and which of its logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct At {
    /// Position of the receipt.
    pub receipt: usize,
    /// Position of the log within the receipt.
    pub log: usize,
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
    /// `inferred_swaps`.
    pub inferred_swaps: Vec<InferredSwap>,
    pub(super) positions: Vec<PositionNote>,
    pub(super) sync: Option<Sync>,
    pub(super) identities: Identities,
    pub(super) movements: Movements,
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
        self.inferred_swaps.clear();
        self.positions.clear();
        self.sync = None;
    }
}

/// How many rows each list has that logs are appended to.
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
