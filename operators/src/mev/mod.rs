//! Relations made of chain tables block by block: trades with their tokens and values, and MEV.
//!
//! Each is a file here and a line in [`RELATIONS`]; the planner offers them as tables of every source
//! that has what they read (`eth.sandwiches`). Rules and their sources stand in the header of each file.

mod arbitrage_rule;
mod arbitrage_trigger;
pub mod arbitrages;
pub mod block_attribution;
pub(crate) mod block_facts;
pub mod columns;
pub(crate) mod costs;
pub mod dex_trades;
pub mod jit_liquidity;
mod jit_memory;
mod jit_rule;
pub mod labels;
pub mod liquidations;
pub mod precedence;
pub mod previous_trades;
mod recent_blocks;
pub mod sandwich_rule;
pub mod sandwiches;
pub mod token_prices;
mod victim_loss;
mod worth;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::block_kernel::BlockKernel;

/// A table that a relation reads: of the source, or another relation of [`RELATIONS`].
#[derive(Clone, Copy, Debug)]
pub struct InputTable {
    /// Name without the source.
    pub name: &'static str,
    /// The columns, in the order in which the kernel's batch has them.
    pub columns: &'static [&'static str],
    /// Whether the relation makes sense without it; then the kernel gets batches without rows.
    pub optional: bool,
}

/// A relation made of other tables of the same source, block by block.
#[derive(Clone, Copy, Debug)]
pub struct BlockRelation {
    /// Name without the source, such as `sandwiches`.
    pub name: &'static str,
    /// One sentence for the reference page.
    pub about: &'static str,
    /// What it reads.
    pub inputs: &'static [InputTable],
    /// Its columns; the first five are those of every chain table.
    pub schema: fn() -> SchemaRef,
    /// The key of its state and what bounds it, if it has state.
    pub state: Option<(&'static str, &'static str)>,
    /// Makes its kernel.
    pub kernel: fn(&Arc<MevSettings>) -> Box<dyn BlockKernel>,
}

/// Every relation, inputs before those who read them.
pub const RELATIONS: &[BlockRelation] = &[
    // Inputs first.
    dex_trades::RELATION,
    token_prices::RELATION,
    previous_trades::RELATION,
    liquidations::RELATION,
    block_attribution::RELATION,
    sandwiches::SANDWICHES,
    sandwiches::SANDWICH_LEGS,
    jit_liquidity::JIT_LIQUIDITY,
    arbitrages::ARBITRAGES,
    precedence::MEV_TRANSACTIONS,
];

/// An address.
pub type Address = [u8; 20];

/// What an address is known as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Name for people.
    pub name: String,
    /// `router`, `aggregator`, `settlement`, `infrastructure`, `exchange`, `builder`, `searcher`, …
    pub kind: String,
}

/// What the rules need to know beyond the chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MevSettings {
    /// Known addresses. Those of the kinds `router`, `aggregator`, `settlement`, `infrastructure` and
    /// `exchange` are never an attacker.
    pub labels: BTreeMap<Address, Label>,
    /// Wrapped native coins.
    pub wrapped_native: BTreeSet<Address>,
    /// Tokens worth one dollar, with their decimals.
    pub stablecoins: BTreeMap<Address, u32>,
    /// Whether sandwiches whose amounts do not agree are emitted too, with low confidence.
    pub loose_matches: bool,
    /// Prices from a table of the user's.
    pub prices: PriceTable,
    /// How far rules look back.
    pub look_back: LookBack,
}

/// How many blocks rules look back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookBack {
    /// Blocks within which a position grows, is traded through and shrinks again: 1, all in one block.
    pub jit_blocks: u64,
    /// Blocks within which what happens in an auction of Maker is joined to its beginning.
    pub auction_blocks: u64,
    /// Blocks within which collateral that a Compound III market sells is joined to its absorption.
    pub compound_v3_blocks: u64,
}

impl LookBack {
    /// The most that a setting may say: about a month of Ethereum. Memory grows with it.
    pub const MOST_BLOCKS: u64 = 216_000;
}

impl Default for LookBack {
    /// One block for liquidity. A day of 12-second blocks for auctions: Maker's run for hours, and start
    /// anew when their time is up. An hour for absorbed collateral: it is for sale at a discount from the
    /// moment it is absorbed, so the next buyer who sees it takes it, mostly in the same transaction; what is
    /// sold much later comes from a stock that many absorptions have filled.
    fn default() -> LookBack {
        LookBack { jit_blocks: 1, auction_blocks: 7200, compound_v3_blocks: 300 }
    }
}

/// Prices by token and time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceTable(BTreeMap<Address, BTreeMap<i64, f64>>);

impl PriceTable {
    /// Notes that one smallest unit of a token is worth so many dollars from a time on.
    pub fn insert(&mut self, token: Address, from_ms: i64, usd_per_raw_unit: f64) {
        self.0.entry(token).or_default().insert(from_ms, usd_per_raw_unit);
    }

    /// Dollars for one smallest unit at a time.
    pub fn at(&self, token: &Address, time_ms: i64) -> Option<f64> {
        self.0.get(token)?.range(..=time_ms).next_back().map(|(_, usd)| *usd)
    }
}

/// How sure a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// The pattern is there and little else.
    Low,
    /// Amounts agree roughly.
    Medium,
    /// Amounts agree and one party acted on both sides.
    High,
}

impl Confidence {
    /// The value of the column `confidence`.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// Whether pools name the native coin so: the zero address, or `0xEeee…`.
pub(crate) fn is_native_coin(token: &[u8]) -> bool {
    token.iter().all(|byte| *byte == 0) || token.iter().all(|byte| *byte == 0xee)
}

impl MevSettings {
    /// What is known of a chain.
    pub fn of_chain(chain_id: u64) -> MevSettings {
        labels::settings(chain_id)
    }

    /// The token, or the wrapped native coin for the native coin itself.
    pub(crate) fn wrapped<'a>(&'a self, token: &'a [u8]) -> &'a [u8] {
        match self.wrapped_native.first() {
            Some(wrapped) if is_native_coin(token) => wrapped,
            _ => token,
        }
    }

    /// Whether the address serves everybody, so that sharing it makes nobody an accomplice.
    pub fn is_public(&self, address: &Address) -> bool {
        const PUBLIC: [&str; 5] = ["router", "aggregator", "settlement", "infrastructure", "exchange"];
        self.labels.get(address).is_some_and(|label| PUBLIC.contains(&label.kind.as_str()))
    }
}
