//! The contract of state machines over history: what a moment is, how far is seen, what a machine does.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where in history something happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// What moments are ordered by: the height of the block, or the time of the row.
    pub order: i64,
    /// Its time in milliseconds.
    pub time_ms: i64,
    /// The height of its block, if moments are blocks.
    pub block: Option<i64>,
}

/// What a moment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// A block. Every tick adds one block at most.
    Block,
    /// The time that a row names.
    Row,
}

/// How far the machine sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Horizon {
    /// To the head.
    #[default]
    Head,
    /// To the block that has this many blocks on top of it, or is final. With [`Clock::Row`] as [`Horizon::Head`].
    Confirmed(u32),
    /// To the newest final block.
    Final,
}

/// A key's signals of one tick as read from a batch: key, time (for [`Clock::Row`]), signal; or why not.
pub type ReadSignal<S> = Result<(Arc<[u8]>, i64, S), String>;

/// The state machine of one key.
pub trait Machine: 'static {
    /// What happens to it.
    type Signal: Ord + Clone + Debug + Serialize + DeserializeOwned;
    /// Its state. The default is that of a key that was never seen.
    type State: Clone + Default + PartialEq + Debug + Serialize + DeserializeOwned;
    /// A row of the output.
    type Row: Ord + Debug;

    /// Reads the rows of a batch.
    fn read(&self, batch: &RecordBatch) -> Vec<ReadSignal<Self::Signal>>;
    /// Time passes: what was due before `now_ms` happens. `advance(a)` then `advance(b)` is `advance(b)` for a <= b.
    fn advance(&self, state: &mut Self::State, now_ms: i64);
    /// The signals of a moment with how often each came (or, negative, went).
    fn apply(&self, state: &mut Self::State, moment: Moment, signals: &[(Self::Signal, i64)]);
    /// When something is due next.
    fn due(&self, state: &Self::State) -> Option<i64>;
    /// The rows that stand, without those that were settled.
    fn rows(&self, state: &Self::State) -> Vec<Arc<Self::Row>>;
    /// The state is final: how many of the first rows can never change and need not be kept.
    fn settled(&self, state: &Self::State) -> usize;
    /// Forgets the first rows; they stay published.
    fn forget(&self, state: &mut Self::State, rows: usize);
    /// The rows as a batch.
    fn batch(&self, rows: &[Arc<Self::Row>]) -> RecordBatch;
}

/// The newest order and time that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) order: i64,
    pub(super) now_ms: i64,
}

impl Seen {
    pub(super) const NOTHING: Seen = Seen { order: i64::MIN, now_ms: i64::MIN };
}
