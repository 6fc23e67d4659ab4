//! Alert channels: notifications out to people.
//!
//! The dataflow decides what each sink is to tell ([`highwater_engine::model::alert`]); here it is told:
//! a durable ledger first, then the channel, at least once, in order for each story, with corrections when a
//! reorg takes back what was told.
//!
//! ```text
//! rows of notifications ─▶ outbox ─▶ ledger ─▶ sender ─▶ channel
//!                           (one transaction a tick)  (its own thread)
//! ```
//! Read in this order: [`Message`] (what is told), [`channel`] (how a service is spoken to), [`connector`]
//! (what makes a channel a kind of sink), [`http`] (what most channels speak); then `outbox`, `ledger`, `sender`.

pub mod alertmanager;
pub mod channel;
pub mod clock;
pub mod connector;
pub mod console;
pub mod discord;
mod dry;
pub mod email;
mod guard;
pub mod http;
mod ledger;
mod message;
mod meters;
pub mod opsgenie;
mod outbox;
mod outline;
mod pace;
pub mod pagerduty;
mod payload;
pub mod script;
mod secrets;
mod sender;
pub mod settings;
pub mod slack;
pub mod telegram;
mod template;
#[cfg(test)]
mod testing;
mod text;
pub mod webhook;

pub use guard::is_public;
pub use ledger::LedgerError;
pub use message::{Kind, Message};
pub use payload::{SCHEMA, payload, time};
pub use secrets::Secrets;
