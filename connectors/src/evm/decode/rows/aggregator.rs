//! Rows of `aggregator_trades`.

use super::{At, Venue};
use crate::evm::decode::RawLog;
use crate::evm::decode::word::{Address, Word};

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
    pub(in crate::evm::decode) fn new(log: RawLog<'_>, venue_name: Venue, event: &'static str) -> AggregatorTrade {
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
