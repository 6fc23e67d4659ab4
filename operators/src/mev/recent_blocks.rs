//! What kernels remember of the last few blocks.
//!
//! A rule that looks back `width` blocks needs what those blocks told, no more: the memory is one entry a
//! block, so that a reorg takes the newest entries away and nothing else has to be undone. Entries stay
//! until no block that may still come, or come again, looks back at them: memory is bounded by the blocks
//! that are not final, and `width` more. The cost of a block does not depend on the history.

use std::collections::BTreeMap;

/// One entry a block, for blocks that told anything.
pub(crate) struct RecentBlocks<T> {
    width: u64,
    entries: BTreeMap<u64, T>,
}

impl<T> RecentBlocks<T> {
    /// An empty memory for a rule that looks back so many blocks.
    pub(crate) fn new(width: u64) -> RecentBlocks<T> {
        RecentBlocks { width, entries: BTreeMap::new() }
    }

    /// Keeps what a block told.
    pub(crate) fn keep(&mut self, number: u64, entry: T) {
        self.entries.insert(number, entry);
    }

    /// What the blocks that a block looks back at told, the earliest first.
    pub(crate) fn before(&self, number: u64) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let entries = self.entries.range(number.saturating_sub(self.width)..number);
        entries.map(|(number, entry)| (*number, entry))
    }

    /// Takes away what a block and those above it told.
    pub(crate) fn forget(&mut self, number: u64) -> BTreeMap<u64, T> {
        self.entries.split_off(&number)
    }

    /// Takes away what no block above a final one looks back at.
    pub(crate) fn finalize(&mut self, number: u64) -> BTreeMap<u64, T> {
        let first = number.saturating_add(1).saturating_sub(self.width);
        let kept = self.entries.split_off(&first);
        std::mem::replace(&mut self.entries, kept)
    }

    /// All entries, the earliest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.entries.iter().map(|(number, entry)| (*number, entry))
    }

    /// Takes everything away.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
