//! What is known of the chain at a tick.

use super::BlockRef;
use crate::Tick;

/// The state of the chain at one tick, broadcast to every worker as data.
///
/// Timers, windows and eviction read this and nothing else: never the dataflow time, never a clock.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// The tick this describes.
    pub tick: Tick,
    /// Height of the canonical head after this tick.
    pub head_number: u64,
    /// Block time of the head, milliseconds since the epoch: `now()` in SQL. Can go back in a reorg.
    pub now_ms: i64,
    /// Height of the newest final block; `None` while nothing is final.
    pub finalized_number: Option<u64>,
    /// Block time of the newest final block. Every block after it has at least this time.
    pub finalized_ms: Option<i64>,
    /// Present when this tick took blocks back.
    pub reorg: Option<Reorg>,
    /// How many blocks the tick added.
    pub applied_blocks: u64,
    /// True on the last tick of a bounded source: everything is final.
    pub end_of_input: bool,
    /// True if the next tick belongs to the same atomic change: the blocks of a reorg, one a tick, for jobs
    /// with alerts. Sinks see only the whole.
    #[serde(default)]
    pub more_follow: bool,
}

impl Progress {
    /// Whether the block of this height can no longer be taken back.
    pub fn is_final(&self, number: u64) -> bool {
        self.finalized_number.is_some_and(|finalized| number <= finalized)
    }

    /// Whether no row with an event time below `time_ms` can come or go any more.
    pub fn is_time_final(&self, time_ms: i64) -> bool {
        self.end_of_input || self.finalized_ms.is_some_and(|finalized| time_ms <= finalized)
    }

    /// A progress record for a tick without a reorg.
    pub fn at(tick: Tick, head: &BlockRef) -> Progress {
        Progress {
            tick,
            head_number: head.number,
            now_ms: head.timestamp_ms,
            finalized_number: None,
            finalized_ms: None,
            reorg: None,
            applied_blocks: 1,
            end_of_input: false,
            more_follow: false,
        }
    }
}

/// Blocks taken back in one tick.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reorg {
    /// Height of the last block both branches share.
    pub ancestor_number: u64,
    /// How many blocks were taken back.
    pub depth: u64,
    /// How many blocks of the new branch came in the same tick.
    pub replaced_by: u64,
}
