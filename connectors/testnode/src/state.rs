//! What the node knows at one moment: blocks, the canonical chain, who listens, what was asked.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use alloy_primitives::B256;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::chain::{Block, Chain};
use crate::fault::{Effect, Occasion, Rules, Transport};
use crate::manner::{Manner, Tag};
use crate::push::{Hub, Outgoing};

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls by method, those in batches included.
    pub calls: BTreeMap<String, u64>,
    /// HTTP requests; a batch is one.
    pub http_requests: u64,
    /// Batches over either transport.
    pub batches: u64,
    /// WebSockets opened.
    pub sockets_opened: u64,
    /// Effects of rules.
    pub faults: u64,
    /// Times that blocks were taken back.
    pub reorgs: u64,
    /// Heads sent to subscriptions.
    pub heads_sent: u64,
    /// Logs sent to subscriptions, removed ones included.
    pub logs_sent: u64,
    /// Logs sent as removed.
    pub removed_logs_sent: u64,
}

impl Stats {
    /// How often `method` was called.
    pub fn calls_of(&self, method: &str) -> u64 {
        self.calls.get(method).copied().unwrap_or(0)
    }
}

/// A call that came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its method.
    pub method: String,
    /// Its parameters.
    pub params: Value,
    /// How it came.
    pub transport: Transport,
}

/// How the canonical chain changed; both lists from below.
pub(crate) struct Change {
    pub(crate) old: Vec<Arc<Block>>,
    pub(crate) new: Vec<Arc<Block>>,
}

pub(crate) struct State {
    pub(crate) manner: Manner,
    /// Every block of the chain given, whether it was a head yet or not.
    pub(crate) blocks: HashMap<B256, Arc<Block>>,
    pub(crate) by_height: BTreeMap<u64, Vec<Arc<Block>>>,
    /// Blocks that were canonical once.
    pub(crate) seen: HashSet<B256>,
    pub(crate) canonical: BTreeMap<u64, Arc<Block>>,
    pub(crate) steps: VecDeque<B256>,
    pub(crate) rules: Rules,
    pub(crate) hub: Hub,
    pub(crate) stats: Stats,
    pub(crate) journal: Vec<Call>,
    /// Answers of `eth_call` by contract and call data, in lower case.
    pub(crate) call_answers: BTreeMap<(String, String), Value>,
}

impl State {
    pub(crate) fn new(chain: Chain) -> State {
        let mut state = State {
            manner: Manner { chain_id: chain.chain_id, ..Manner::default() },
            blocks: HashMap::new(),
            by_height: BTreeMap::new(),
            seen: HashSet::new(),
            canonical: BTreeMap::new(),
            steps: chain.steps.into(),
            rules: Rules::default(),
            hub: Hub::default(),
            stats: Stats::default(),
            journal: Vec::new(),
            call_answers: BTreeMap::new(),
        };
        for block in chain.blocks {
            state.learn(block);
        }
        for head in chain.before {
            state.switch(head);
        }
        state
    }

    pub(crate) fn learn(&mut self, block: Arc<Block>) {
        if self.blocks.insert(block.hash, block.clone()).is_none() {
            self.by_height.entry(block.number).or_default().push(block);
        }
    }

    pub(crate) fn head(&self) -> &Arc<Block> {
        self.canonical.last_key_value().expect("a node starts with a head").1
    }

    pub(crate) fn is_canonical(&self, block: &Block) -> bool {
        self.canonical.get(&block.number).is_some_and(|canonical| canonical.hash == block.hash)
    }

    /// Makes a block the head, whatever branch it is of.
    pub(crate) fn switch(&mut self, head: B256) -> Change {
        let mut new = Vec::new();
        let mut at = head;
        while let Some(block) = self.blocks.get(&at)
            && !self.is_canonical(block)
        {
            new.push(block.clone());
            at = block.parent;
        }
        new.reverse();
        let keep_below = match new.first() {
            Some(first) => first.number,
            None => self.blocks.get(&head).unwrap_or_else(|| panic!("the node has no block {head}")).number + 1,
        };
        let old: Vec<_> = self.canonical.split_off(&keep_below).into_values().collect();
        for block in &new {
            self.seen.insert(block.hash);
            self.canonical.insert(block.number, block.clone());
        }
        self.stats.reorgs += u64::from(!old.is_empty());
        Change { old, new }
    }

    /// Makes a block the head and announces what changed.
    pub(crate) fn set_head(&mut self, head: B256) {
        let change = self.switch(head);
        self.announce(&change);
    }

    /// Takes the next step of the script. False at its end.
    pub(crate) fn step(&mut self) -> bool {
        let Some(head) = self.steps.pop_front() else { return false };
        self.set_head(head);
        true
    }

    /// Asks the rules about an occasion.
    pub(crate) fn strike(&mut self, occasion: &Occasion<'_>) -> Vec<Effect> {
        let effects = self.rules.strike(occasion);
        self.stats.faults += u64::try_from(effects.len()).expect("a length fits");
        effects
    }

    pub(crate) fn open_socket(&mut self, sender: UnboundedSender<Outgoing>) -> u64 {
        self.stats.sockets_opened += 1;
        self.hub.open(sender)
    }

    /// The height of the head for a node that is `behind` blocks late.
    pub(crate) fn height(&self, behind: u64) -> u64 {
        let lowest = self.canonical.first_key_value().map_or(0, |(number, _)| *number);
        self.head().number.saturating_sub(behind).max(lowest)
    }

    /// The height that a tag stands for; `None` if the node has no answer.
    pub(crate) fn height_of_tag(&self, tag: Tag, behind: u64) -> Option<u64> {
        let head = self.height(behind);
        match tag {
            Tag::Behind(blocks) => Some(self.height(behind.saturating_add(blocks))),
            Tag::At(height) => Some(height.min(head)),
            Tag::Unknown => None,
        }
    }
}
