//! What is known of a row and of a key beside their bytes.

use super::bucket::Bucket;

/// What is kept of a row beside its bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    /// The id of its key.
    pub(super) key: u32,
    /// Where it is among the rows of its key, and [`TOUCHED`].
    pub(super) place: u32,
    /// How often it is there; of a row that the tick has touched, where it is among these.
    pub(super) count: i64,
}

/// The bit that says that the tick has touched a row.
pub(super) const TOUCHED: u32 = 1 << 31;

impl Kept {
    /// Where it is among the rows that the tick has touched, if it is one.
    #[inline]
    pub(super) fn touched(&self) -> Option<usize> {
        (self.place & TOUCHED != 0).then(|| usize::try_from(self.count).expect("a place among them"))
    }
}

/// A row and how often it is there.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// The id of its key.
    pub(super) key: u32,
    /// How often it was there before the tick.
    pub(super) before: i64,
    /// How that changes in this tick.
    pub(super) change: i64,
    /// Whether the tick has touched it.
    pub(super) touched: bool,
}

impl Slot {
    /// How often it is there after the tick.
    pub(super) fn after(&self) -> i64 {
        self.before + self.change
    }
}

/// How many rows of the other side a row matches; kept only where a condition makes that differ within a key.
#[derive(Clone, Copy, Default)]
pub(super) struct Matches {
    pub(super) before: i64,
    pub(super) change: i64,
    pub(super) listed: bool,
}

/// The rows of a key.
#[derive(Default)]
pub(super) struct Group {
    pub(super) rows: Bucket,
    /// Rows with their multiplicity before the tick.
    pub(super) before: i64,
    /// Where it is among the keys that the tick has touched, counted from 1; 0 if it is none.
    pub(super) touched: u32,
    /// Whether its rows are in the index.
    pub(super) indexed: bool,
}

/// A row that the tick has touched.
#[derive(Clone, Copy)]
pub(super) struct Touched {
    /// Its id.
    pub(super) id: u32,
    /// A row of the tick's changes that is equal to it.
    pub(super) row: u32,
    /// How often it was there before the tick.
    pub(super) before: i64,
    /// How that changes in this tick.
    pub(super) change: i64,
}

/// A key that the tick has touched.
#[derive(Clone, Copy)]
pub(super) struct TouchedKey {
    /// Its id.
    pub(super) key: u32,
    /// How many more rows it has.
    pub(super) change: i64,
}
