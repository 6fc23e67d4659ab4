//! The contract of channels: what turns a notification into something a person sees.
//!
//! A channel is told one thing at a time for each story, in order, and keeps nothing between calls: what it
//! needs to edit or to answer in a thread later is in the [`Receipt`] that it gave. The outbox around it owns
//! order, retries, the ledger, circuit breakers and corrections; a channel owns the form of its service.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Message;

/// One thing to tell.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The notification.
    pub message: Message,
    /// Stable over retries and restarts: receivers can tell a repetition by it.
    pub idempotency_key: String,
    /// What is to be done.
    pub action: Action,
    /// The receipt of the first message of the same story on this channel, to thread under or to edit.
    pub story: Option<Receipt>,
    /// Seconds since the epoch at which this attempt is made, for signatures.
    pub sent_at_s: i64,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Tell it.
    Tell,
    /// What was told has changed on the canonical chain: bring it up to date, or say what is true now.
    Amend(Told),
    /// What was told is not so on the canonical chain: strike it, or say so.
    Withdraw(Told),
    /// A person has taken it on (`highwater alerts ack`).
    Acknowledge,
}

/// What was told before.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its idempotency key: the original's id in a follow-up.
    pub idempotency_key: String,
    /// What the channel answered.
    pub receipt: Receipt,
}

/// What the service said: message ids, time stamps; whatever the channel needs to edit or to thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt(pub serde_json::Value);

/// A delivery that did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// What happened and what to do, without secrets: no URL beyond its host, no token.
    pub detail: String,
    /// Whether to try again.
    pub retry: Retry,
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// Yes, after the usual pause. The receiver may have it (a time-out, a lost answer): if it is taken back
    /// meanwhile, it is still told, and withdrawn then.
    Backoff,
    /// Yes, after the usual pause. The receiver surely has not got it (no connection): if it is taken back
    /// meanwhile, it is never told.
    NotTaken,
    /// Yes, not before this long (`Retry-After`). The receiver has not got it.
    After(Duration),
    /// No: the receiver has not got it and never will take it (a wrong address, a refused payload).
    Never,
}

/// The future of a delivery.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<Receipt, Failure>> + Send + 'a>>;

/// A way to reach people. Object-safe; called once a message.
pub trait Channel: Send + Sync + 'static {
    /// Delivers one thing, once. Gives up by itself after a bounded time.
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a>;

    /// Where it goes, for people: `hooks.slack.com`, never a secret.
    fn place(&self) -> String;
}

const _: fn(&dyn Channel) = |_| {};
