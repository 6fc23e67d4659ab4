//! How the node behaves when nothing is broken: nodes differ, and clients must live with all of them.

use std::collections::BTreeSet;

/// What `safe` and `finalized` stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// So many blocks below the head, the lowest known block at least.
    Behind(u64),
    /// A fixed height.
    At(u64),
    /// An error, as before the merge and on chains without finality.
    Unknown,
}

/// Which heads are announced in a reorg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// Every block of the new branch, from below, as the geth documentation says.
    Every,
    /// Only the new head: what a client sees when the consensus layer switches the branch at once.
    Tip,
    /// None: the reorg shows only in logs and at the next head.
    None,
}

/// How logs of blocks that were taken back are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedLogs {
    /// From the old head down, the last log first.
    NewestFirst,
    /// In the order in which they had come.
    OldestFirst,
    /// Not at all, as local development nodes do.
    Never,
}

/// The habits of a node.
#[derive(Clone, Debug)]
pub struct Manner {
    /// What `web3_clientVersion` answers.
    pub client_version: String,
    /// What `eth_chainId` and `net_version` answer.
    pub chain_id: u64,
    /// Whether `eth_syncing` answers with progress instead of `false`.
    pub syncing: bool,
    /// The tag `safe`.
    pub safe: Tag,
    /// The tag `finalized`.
    pub finalized: Tag,
    /// Heads announced in a reorg.
    pub heads: Heads,
    /// Logs announced as removed.
    pub removed_logs: RemovedLogs,
    /// Whether the logs of new blocks are announced.
    pub new_logs: bool,
    /// Whether blocks that lost are unknown by their hash.
    pub forgets_orphans: bool,
    /// Methods that do not exist (-32601).
    pub missing_methods: BTreeSet<String>,
    /// The longest range `eth_getLogs` accepts, in blocks.
    pub logs_range_limit: Option<u64>,
    /// The most logs `eth_getLogs` gives.
    pub logs_count_limit: Option<usize>,
    /// The most calls in a batch; a longer one is refused whole.
    pub batch_limit: Option<usize>,
    /// Whether the answers of a batch come in the opposite order, which the specification allows.
    pub reverses_batches: bool,
    /// The lowest block of which the node still has a body; those below are answered with `null`.
    pub pruned_below: u64,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            client_version: "highwater-testnode/1".to_owned(),
            chain_id: 1,
            syncing: false,
            safe: Tag::Behind(32),
            finalized: Tag::Behind(64),
            heads: Heads::Every,
            removed_logs: RemovedLogs::NewestFirst,
            new_logs: true,
            forgets_orphans: false,
            missing_methods: BTreeSet::new(),
            logs_range_limit: None,
            logs_count_limit: None,
            batch_limit: None,
            reverses_batches: false,
            pruned_below: 0,
        }
    }
}
