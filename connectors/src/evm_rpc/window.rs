//! The delivered blocks that may still be taken back, by hash.

use std::collections::VecDeque;

use highwater_engine::model::{BlockHash, BlockRef};

/// The end of the delivered chain, from the newest final block on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The newest final block, if one was delivered.
    anchor: Option<(u64, BlockHash)>,
    /// Blocks above it, oldest first.
    open: VecDeque<BlockRef>,
}

/// Where a branch leaves the delivered chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fork {
    /// Blocks of the window that stay.
    keep: usize,
    /// Blocks that go.
    pub(super) depth: usize,
}

impl Window {
    /// The window of a job that goes on: its newest final block and the blocks above, oldest first.
    pub(super) fn resume(known: &[BlockRef]) -> Window {
        match known.split_first() {
            // A first block without a parent began the job and may be replaced as a whole.
            Some((first, _)) if first.parent == BlockHash::default() => {
                Window { anchor: None, open: known.iter().copied().collect() }
            }
            Some((anchor, open)) => {
                Window { anchor: Some((anchor.number, anchor.hash)), open: open.iter().copied().collect() }
            }
            None => Window::default(),
        }
    }

    /// Height and hash of the newest delivered block.
    pub(super) fn head(&self) -> Option<(u64, BlockHash)> {
        self.open.back().map(|block| (block.number, block.hash)).or(self.anchor)
    }

    /// Height up to which nothing is taken back.
    pub(super) fn floor(&self) -> Option<u64> {
        self.anchor.map(|(number, _)| number)
    }

    /// Whether the block was delivered and is canonical, as far back as the window reaches.
    pub(super) fn contains(&self, hash: BlockHash) -> bool {
        self.anchor.is_some_and(|(_, anchor)| anchor == hash) || self.open.iter().rev().any(|block| block.hash == hash)
    }

    /// The hash of the delivered block of this height.
    pub(super) fn hash_at(&self, number: u64) -> Option<BlockHash> {
        let open = self.open.iter().rev().find(|block| block.number == number).map(|block| block.hash);
        open.or_else(|| self.anchor.filter(|(anchor, _)| *anchor == number).map(|(_, hash)| hash))
    }

    /// Where a branch leaves the chain whose lowest block has this height and parent; `None` if its parent
    /// is not in the window.
    pub(super) fn fork(&self, number: u64, parent: BlockHash) -> Option<Fork> {
        let below = self.open.iter().rposition(|block| block.hash == parent).map(|index| index + 1);
        let keep = match below {
            Some(keep) => keep,
            None if self.anchor.is_some_and(|(_, hash)| hash == parent) => 0,
            // The first block that was delivered is replaced.
            None if self.anchor.is_none() && self.open.front().is_none_or(|first| first.number == number) => 0,
            None => return None,
        };
        Some(Fork { keep, depth: self.open.len() - keep })
    }

    /// Whether a head of this height is from before everything that may still change.
    pub(super) fn is_past(&self, number: u64) -> bool {
        let lowest = self.anchor.map(|(number, _)| number + 1);
        lowest.or_else(|| self.open.front().map(|first| first.number)).is_some_and(|lowest| number < lowest)
    }

    /// Whether a branch that comes down to this height cannot meet the window any more.
    pub(super) fn is_below(&self, number: u64) -> bool {
        let lowest = self.anchor.map(|(number, _)| number + 1);
        lowest.or_else(|| self.open.front().map(|first| first.number)).is_some_and(|lowest| number <= lowest)
    }

    /// Whether a branch from here replaces or begins the whole delivered chain.
    pub(super) fn is_root(&self, fork: Fork) -> bool {
        self.anchor.is_none() && fork.keep == 0
    }

    /// Takes back what is above the fork and adds a branch.
    pub(super) fn extend(&mut self, fork: Fork, blocks: &[BlockRef]) {
        self.open.truncate(fork.keep);
        self.open.extend(blocks);
    }

    /// Blocks up to this height are final.
    pub(super) fn finalize(&mut self, number: u64) {
        while self.open.front().is_some_and(|block| block.number <= number) {
            self.anchor = self.open.pop_front().map(|block| (block.number, block.hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(branch: u8, number: u64) -> BlockHash {
        let mut hash = [branch; 32];
        hash[0] = u8::try_from(number).unwrap();
        BlockHash(hash)
    }

    fn block(branch: u8, number: u64, parent: BlockHash) -> BlockRef {
        BlockRef { number, hash: hash(branch, number), parent, timestamp_ms: 0 }
    }

    fn chain(branch: u8, numbers: std::ops::RangeInclusive<u64>) -> Vec<BlockRef> {
        numbers.map(|number| block(branch, number, hash(branch, number - 1))).collect()
    }

    fn window(finalized: u64) -> Window {
        let mut window = Window::default();
        window.extend(window.fork(5, BlockHash::default()).unwrap(), &chain(1, 5..=10));
        window.finalize(finalized);
        window
    }

    #[test]
    fn branches_meet_the_window_or_come_from_below() {
        let window = window(7);
        assert_eq!((window.head(), window.floor()), (Some((10, hash(1, 10))), Some(7)));
        assert_eq!(window.fork(11, hash(1, 10)).unwrap().depth, 0);
        assert_eq!(window.fork(9, hash(1, 8)).unwrap().depth, 2);
        assert_eq!(window.fork(8, hash(1, 7)).unwrap().depth, 3);
        assert_eq!(window.fork(7, hash(1, 6)), None);
        assert!(window.is_below(8) && !window.is_below(9));
        assert!(window.is_past(7) && !window.is_past(8));
        assert!(window.contains(hash(1, 7)) && !window.contains(hash(1, 6)));
        assert_eq!(window.hash_at(9), Some(hash(1, 9)));
    }

    #[test]
    fn the_first_block_may_be_replaced_until_it_is_final() {
        assert_eq!(window(0).fork(5, hash(2, 4)).unwrap().depth, 6);
        assert_eq!(window(5).fork(5, hash(2, 4)), None);
    }

    #[test]
    fn a_branch_replaces_what_is_above_the_fork() {
        let mut window = window(7);
        let fork = window.fork(9, hash(1, 8)).unwrap();
        window.extend(fork, &[block(2, 9, hash(1, 8))]);
        assert_eq!(window.head(), Some((9, hash(2, 9))));
        let mut known = vec![block(1, 7, hash(1, 6)), block(1, 8, hash(1, 7))];
        known.push(block(2, 9, hash(1, 8)));
        assert_eq!(Window::resume(&known), window);
    }
}
