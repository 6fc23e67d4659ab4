//! What logs mean: one file per standard or protocol, listed in [`DECODERS`].
//!
//! A new decoder is a file here and a line in the list. Read in this order: [`rows`] (what can be
//! said), a decoder such as `uniswap_v2`, [`transaction`] (all logs of a block), `identity` (which
//! tokens a pool traded), `factories` (which pools can be believed), `inferred` (what no event tells).
//!
//! Anybody can send a log with any topic. A log that announces an event and does not have its layout
//! is skipped and counted; a swap is believed as far as [`rows::Trust`] says.

mod aave;
mod balancer;
pub(crate) mod called;
mod chainlink;
mod compound;
mod cow;
mod curve;
mod dodo;
mod erc1155;
mod erc20;
mod erc721;
mod factories;
mod fills;
mod identity;
mod inferred;
mod lending;
mod lookup;
mod maker;
mod morpho;
mod oneinch;
mod position_manager;
mod route;
pub mod rows;
#[doc(hidden)]
pub mod testing;
mod told;
pub mod transaction;
mod uniswap_v2;
mod uniswap_v3;
mod uniswap_v4;
mod uniswapx;
mod velodrome;
mod weth;
mod word;
mod zeroex;

use alloy_primitives::B256;

pub use lookup::decoder;
pub use word::{Address, Word};

use rows::{At, Decoded};

/// A log with its bytes read.
#[derive(Clone, Copy, Debug)]
pub struct RawLog<'a> {
    /// Where it is.
    pub at: At,
    /// Who sent it.
    pub address: Address,
    /// All topics; the first is the decoder's [`Decoder::topic0`].
    pub topics: &'a [Word],
    /// The data.
    pub data: &'a [u8],
}

/// Why a log that announces an event is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The number of topics fits no standard.
    #[error("wrong number of topics")]
    TopicCount,
    /// A word that should be an address has other bytes in front.
    #[error("a topic is not an address")]
    NotAnAddress,
    /// The data has another length than the event.
    #[error("wrong length of data")]
    DataLength,
    /// Lists inside the data are cut off or of different lengths.
    #[error("lists do not fit")]
    Lists,
    /// A number is larger than its type.
    #[error("a number is too large")]
    Number,
}

/// A set of the tables made of logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Feeds(u16);

impl Feeds {
    /// No table.
    pub const NONE: Feeds = Feeds(0);
    /// `token_transfers`.
    pub const TRANSFERS: Feeds = Feeds(1);
    /// `dex_swaps`.
    pub const SWAPS: Feeds = Feeds(1 << 1);
    /// `pools`.
    pub const POOLS: Feeds = Feeds(1 << 2);
    /// `liquidity_events`.
    pub const LIQUIDITY: Feeds = Feeds(1 << 3);
    /// `liquidation_events`.
    pub const LIQUIDATIONS: Feeds = Feeds(1 << 4);
    /// `aggregator_trades`.
    pub const AGGREGATORS: Feeds = Feeds(1 << 5);
    /// `flash_loans`.
    pub const FLASH_LOANS: Feeds = Feeds(1 << 6);
    /// `oracle_updates`.
    pub const ORACLES: Feeds = Feeds(1 << 7);
    /// `inferred_swaps`, which no log feeds.
    pub const INFERRED: Feeds = Feeds(1 << 8);
    /// The tables whose tokens are found among the transfers of the transaction.
    pub const MATCHED: Feeds = Feeds::SWAPS.and(Feeds::LIQUIDATIONS).and(Feeds::FLASH_LOANS).and(Feeds::AGGREGATORS);

    /// Every table.
    pub const ALL: Feeds = Feeds((1 << 9) - 1);

    /// Both sets together.
    pub const fn and(self, other: Feeds) -> Feeds {
        Feeds(self.0 | other.0)
    }

    /// These tables and those whose rows they are made of.
    const fn with_sources(self) -> Feeds {
        match self.meets(Feeds::INFERRED) {
            true => self.and(Feeds::TRANSFERS).and(Feeds::SWAPS).and(Feeds::AGGREGATORS),
            false => self,
        }
    }

    /// Whether a table is in both.
    pub const fn meets(self, other: Feeds) -> bool {
        self.0 & other.0 != 0
    }

    /// What a row is called when a log turns out not to be one.
    fn row(self) -> &'static str {
        match self {
            Feeds::TRANSFERS => "a token transfer",
            Feeds::SWAPS => "a swap",
            Feeds::POOLS => "a new pool",
            Feeds::LIQUIDITY => "a change of liquidity",
            Feeds::LIQUIDATIONS => "a liquidation",
            Feeds::AGGREGATORS => "a fill of an order",
            Feeds::FLASH_LOANS => "a flash loan",
            _ => "an answer of a price feed",
        }
    }
}

/// One kind of event.
pub struct Decoder {
    /// The event as Solidity writes it; its hash is the first topic.
    pub signature: &'static str,
    /// Hash of the signature.
    pub topic0: B256,
    /// The table that gets rows from it.
    pub feeds: Feeds,
    /// The tables whose rows from other events it completes.
    pub helps: Feeds,
    /// Appends what one log says, or nothing if it fails.
    pub decode: fn(RawLog<'_>, &mut Decoded) -> Result<(), DecodeError>,
}

/// Every decoder.
pub const DECODERS: &[Decoder] = &[
    erc20::TRANSFER,
    erc1155::TRANSFER_SINGLE,
    erc1155::TRANSFER_BATCH,
    weth::DEPOSIT,
    weth::WITHDRAWAL,
    uniswap_v2::SWAP,
    uniswap_v2::SYNC,
    uniswap_v2::MINT,
    uniswap_v2::BURN,
    uniswap_v2::PAIR_CREATED,
    velodrome::SWAP,
    velodrome::SYNC,
    velodrome::BURN,
    velodrome::POOL_CREATED,
    velodrome::PAIR_CREATED,
    velodrome::CL_POOL_CREATED,
    uniswap_v3::SWAP,
    uniswap_v3::SWAP_PANCAKE,
    uniswap_v3::MINT,
    uniswap_v3::BURN,
    uniswap_v3::COLLECT,
    uniswap_v3::FLASH,
    uniswap_v3::POOL_CREATED,
    position_manager::INCREASE,
    position_manager::DECREASE,
    position_manager::COLLECT,
    uniswap_v4::SWAP,
    uniswap_v4::INITIALIZE,
    uniswap_v4::MODIFY_LIQUIDITY,
    curve::STABLE,
    curve::CRYPTO,
    curve::NEW_GENERATION,
    curve::UNDERLYING,
    balancer::SWAP_V1,
    balancer::SWAP_V2,
    balancer::SWAP_V3,
    balancer::FLASH_LOAN,
    dodo::SWAP,
    zeroex::RFQ,
    zeroex::LIMIT,
    zeroex::TRANSFORMED,
    cow::TRADE,
    cow::SETTLEMENT,
    uniswapx::FILL,
    oneinch::ORDER_FILLED,
    oneinch::ORDER_FILLED_V6,
    oneinch::SWAPPED,
    aave::LIQUIDATION_V1,
    aave::LIQUIDATION,
    aave::FLASH_LOAN_V2,
    aave::FLASH_LOAN_V3,
    compound::LIQUIDATE_BORROW,
    compound::ABSORB_DEBT,
    compound::ABSORB_COLLATERAL,
    compound::BUY_COLLATERAL,
    maker::BITE,
    maker::BARK,
    maker::KICK,
    maker::TAKE,
    morpho::LIQUIDATE,
    morpho::FLASH_LOAN,
    chainlink::ANSWER_UPDATED,
];

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn topics_are_the_hashes_of_the_signatures() {
        for decoder in DECODERS {
            assert_eq!(decoder.topic0, keccak256(decoder.signature), "{}", decoder.signature);
        }
    }

    #[test]
    fn an_event_feeds_one_table_or_completes_others() {
        for decoder in DECODERS {
            assert!(decoder.feeds.0.count_ones() <= 1, "{}", decoder.signature);
            assert!(decoder.feeds.and(decoder.helps) != Feeds::NONE, "{}", decoder.signature);
        }
    }
}
