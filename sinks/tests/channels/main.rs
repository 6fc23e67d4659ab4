//! Channels against servers on loopback: what they send, and what they make of the answers.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

mod mail;
mod peers;
mod secrets;
mod server;
mod services;
mod slack;
mod world;
