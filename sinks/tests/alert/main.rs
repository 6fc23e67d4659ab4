//! Alerts out: the outbox, its ledger, the sender and the channels, through the public door.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

mod console;
mod faults;
mod history;
mod kill;
mod pace;
mod property;
mod receiver;
mod scripts;
mod server;
mod world;
