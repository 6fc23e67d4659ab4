//! A JSON-RPC node for tests: replays a chain step by step, reorganises it, and breaks in every known way.
//!
//! Owns what a client can see of an Ethereum node: HTTP and WebSocket on one loopback port, the `eth_` methods
//! that indexers use, and subscriptions that announce a reorg as geth does. Must not know how the client is
//! written, so it depends on no other crate of the workspace.
//!
//! A [`Chain`] comes from a recorded run, from a folder of JSON-RPC results, or from a [`Builder`]. The
//! [`Node`] is moved by calls in the same process, so a test needs no clock: it steps, waits until the client
//! asked what it must ask, and steps again. Faults are rules ([`When`], [`Effect`]) that count what they see; the
//! same requests in the same order meet the same faults.
//!
//! ```
//! use highwater_testnode::{Builder, Effect, Node, When};
//!
//! let mut builder = Builder::new(31_337);
//! let blocks = builder.extend(builder.genesis(), 10);
//! let node = Node::start(builder.into_chain(blocks[4], &blocks[5..]));
//! node.fault(When::call("eth_getBlockReceipts").nth(3), Effect::Null);
//! node.step(2);
//! assert_eq!(node.head().number, 7);
//! node.reorg(3, 4);
//! assert_eq!(node.head().number, 8);
//! assert!(node.http_url().starts_with("http://127.0.0.1:"));
//! ```
//!
//! Read next: `node.rs` for the controls, `fault.rs` for what can go wrong, `methods.rs` for what is answered.

pub mod alter;
mod builder;
mod chain;
mod closed;
mod fault;
mod filter;
mod http;
mod manner;
mod methods;
mod node;
mod push;
mod recorded;
mod rlp;
mod server;
mod socket;
mod state;
mod trie;

pub use builder::{Builder, Log, Transaction, address_of};
pub use chain::{Block, Chain};
pub use closed::ClosedPort;
pub use fault::{Alter, Effect, FaultId, Transport, When};
pub use manner::{Heads, Manner, RemovedLogs, Tag};
pub use node::{Head, Node};
pub use state::{Call, Stats};
