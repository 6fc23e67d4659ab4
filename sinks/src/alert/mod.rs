//! Alert channels: notifications out to people.
//!
//! The dataflow decides what each sink is to tell ([`highwater_engine::model::alert`]); here it is told:
//! a durable ledger first, then the channel, at least once, in order for each story, with corrections when a
//! reorg takes back what was told.
//!
//! Read in this order: [`Message`] (what is told), [`channel`] (how a service is spoken to).

pub mod channel;
mod message;

pub use message::{Kind, Message};
