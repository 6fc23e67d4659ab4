//! The controls of a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::B256;
use serde_json::Value;

use crate::builder::Builder;
use crate::chain::{Block, Chain};
use crate::fault::{Effect, FaultId, When};
use crate::manner::Manner;
use crate::server::{Server, Shared};
use crate::state::{Call, State, Stats};

/// How long a test waits for a client before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Height and hash of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: B256,
}

/// A node on a loopback port chosen by the system. It is gone when it is dropped.
///
/// Every control takes effect before it returns: what a client asks later sees it.
pub struct Node {
    shared: Arc<Shared>,
    server: Server,
    /// Raised to end a run on its own.
    runs: Arc<AtomicU64>,
}

impl Node {
    /// Starts a node at the first head of the chain.
    ///
    /// # Panics
    /// If the chain has no head, or no port is free.
    pub fn start(chain: Chain) -> Node {
        let shared = Arc::new(Shared::new(State::new(chain)));
        let server = Server::start(shared.clone());
        Node { shared, server, runs: Arc::default() }
    }

    /// The URL for HTTP.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// The URL for WebSocket.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.server.port())
    }

    /// Takes up to `count` steps of the script and returns how many there were.
    pub fn step(&self, count: usize) -> usize {
        let mut state = self.shared.lock();
        (0..count).take_while(|_| state.step()).count()
    }

    /// Takes steps until the head is at `height` or the script ends, and returns the head.
    pub fn step_to(&self, height: u64) -> Head {
        let mut state = self.shared.lock();
        while state.head().number < height && state.step() {}
        drop(state);
        self.head()
    }

    /// How many steps are left.
    pub fn steps_left(&self) -> usize {
        self.shared.lock().steps.len()
    }

    /// Takes a step every `interval` until the script ends or [`Node::pause`] is called.
    pub fn run_every(&self, interval: Duration) {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        let (shared, runs) = (self.shared.clone(), self.runs.clone());
        self.server.runtime().spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let mut state = shared.lock();
                if runs.load(Ordering::SeqCst) != run || !state.step() {
                    return;
                }
                drop(state);
                shared.changed.notify_all();
            }
        });
    }

    /// Ends [`Node::run_every`].
    pub fn pause(&self) {
        let state = self.shared.lock();
        self.runs.fetch_add(1, Ordering::SeqCst);
        drop(state);
    }

    /// The head.
    pub fn head(&self) -> Head {
        let state = self.shared.lock();
        Head { number: state.head().number, hash: state.head().hash }
    }

    /// The canonical chain, from below.
    pub fn canonical(&self) -> Vec<Arc<Block>> {
        self.shared.lock().canonical.values().cloned().collect()
    }

    /// Makes more blocks known, of whatever branch, without making one the head.
    pub fn learn(&self, blocks: &[Arc<Block>]) {
        let mut state = self.shared.lock();
        blocks.iter().for_each(|block| state.learn(block.clone()));
    }

    /// Makes a known block the head: a block further on, on another branch, or one below the head.
    ///
    /// # Panics
    /// If the node has no block with this hash.
    pub fn set_head(&self, head: B256) {
        self.shared.lock().set_head(head);
    }

    /// Takes back `depth` blocks and puts `length` built ones in their place, in one change. Returns the new ones.
    ///
    /// # Panics
    /// If the node has no block at the fork.
    pub fn reorg(&self, depth: u64, length: usize) -> Vec<Arc<Block>> {
        let mut state = self.shared.lock();
        let fork = state.head().number.checked_sub(depth).and_then(|number| state.canonical.get(&number));
        let fork = fork.unwrap_or_else(|| panic!("there is no block {depth} below the head")).clone();
        let known = state.blocks.len();
        let mut builder = Builder::over(state.manner.chain_id, fork.clone(), known);
        let hashes = builder.extend(fork.hash, length);
        let blocks: Vec<_> = hashes.iter().map(|hash| builder.block(*hash)).collect();
        blocks.iter().for_each(|block| state.learn(block.clone()));
        state.set_head(hashes.last().copied().unwrap_or(fork.hash));
        blocks
    }

    /// Sets a rule: what happens when. Rules add up, in the order in which they are set.
    pub fn fault(&self, when: When, effect: Effect) -> FaultId {
        self.shared.lock().rules.add(when, effect)
    }

    /// How often a rule has struck.
    pub fn struck(&self, fault: FaultId) -> u64 {
        self.shared.lock().rules.struck(fault)
    }

    /// Ends a rule.
    pub fn end_fault(&self, fault: FaultId) {
        self.shared.lock().rules.remove(fault);
    }

    /// Ends all rules and lets held answers go.
    pub fn heal(&self) {
        self.shared.lock().rules.clear();
        self.release();
    }

    /// Lets the answers go that [`Effect::Hold`] keeps.
    pub fn release(&self) {
        self.shared.gate.send_modify(|gate| *gate += 1);
    }

    /// Changes how the node behaves.
    pub fn configure(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.shared.lock().manner);
    }

    /// Lets `eth_call` answer `result` for this contract and call data. Anything else reverts.
    pub fn answer_call(&self, to: &str, data: &str, result: Value) {
        let key = (to.to_ascii_lowercase(), data.to_ascii_lowercase());
        self.shared.lock().call_answers.insert(key, result);
    }

    /// Resets every WebSocket.
    pub fn kill_sockets(&self) {
        self.shared.lock().hub.drop_all();
    }

    /// Stops listening and drops every connection, as if the process had died. What the node knows stays, and so
    /// does the port: connections to it are refused.
    pub fn stop(&self) {
        self.server.stop();
        self.shared.lock().hub.drop_all();
    }

    /// Listens again on the same port.
    ///
    /// # Panics
    /// If another process takes the port in that moment.
    pub fn restart(&self) {
        self.server.listen(self.shared.clone());
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats.clone()
    }

    /// How often `method` was called.
    pub fn calls_of(&self, method: &str) -> u64 {
        self.shared.lock().stats.calls_of(method)
    }

    /// Every call so far, in the order in which they came.
    pub fn journal(&self) -> Vec<Call> {
        self.shared.lock().journal.clone()
    }

    /// How many WebSockets are open.
    pub fn sockets(&self) -> usize {
        self.shared.lock().hub.sockets()
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.shared.lock().hub.subscriptions()
    }

    /// Waits until `method` was called `count` times since the node started.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_for_calls(&self, method: &str, count: u64) {
        self.wait(&format!("{count} calls of {method}"), |state| state.stats.calls_of(method) >= count);
    }

    /// Waits until there are at least `count` subscriptions.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_for_subscriptions(&self, count: usize) {
        self.wait(&format!("{count} subscriptions"), |state| state.hub.subscriptions() >= count);
    }

    /// Waits until the head is at `height` or above, for a node that steps by itself.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_for_height(&self, height: u64) {
        self.wait(&format!("height {height}"), |state| state.head().number >= height);
    }

    /// Waits until the statistics fulfil a condition that `what` describes.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Stats) -> bool) {
        self.wait(what, |state| condition(&state.stats));
    }

    fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !condition(state));
        let (state, timeout) = waited.expect("no control panics while it holds the lock");
        assert!(!timeout.timed_out(), "waited in vain for {what}: {:?}", state.stats);
    }
}
