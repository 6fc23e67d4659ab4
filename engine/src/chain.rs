//! From blocks to change sets: follows the parent-hash chain of one source.
//!
//! ```text
//! head: 45a ─ 46a                run [46b, 47b], parent 45a
//! change set: revert 46a, apply 46b 47b        one tick, nobody sees the gap
//! ```
//!
//! Blocks above finality are kept with their rows, so that a revert sends the identical rows with the
//! sign turned, also when the node has forgotten the orphan. A fork of any depth down to finality is
//! one change set. A fork below finality is an error, never a silent truncation.

use std::collections::VecDeque;

use arrow::record_batch::RecordBatch;

use crate::error::{Class, Classified};
use crate::model::{BlockHash, BlockRef, BlockRun};

/// A block that may still be taken back.
#[derive(Clone, Debug)]
pub struct TrackedBlock {
    /// Its place.
    pub block: BlockRef,
    /// Its rows, one batch a table.
    pub rows: Vec<RecordBatch>,
}

/// One atomic change of the canonical chain.
#[derive(Debug)]
pub struct ChangeSet {
    /// Blocks taken back, newest first.
    pub reverted: Vec<TrackedBlock>,
    /// Blocks added.
    pub applied: BlockRun,
    /// Newest final block after the change.
    pub finalized: Option<BlockRef>,
}

/// The chain of a source does not fit together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A block's parent is not the block before it.
    #[error(
        "block {number} ({hash}) of {source_name} breaks rule parent-hash: its parent is {parent}, but block {previous_number} is {previous_hash}"
    )]
    WrongParent {
        /// The source.
        source_name: String,
        /// Height of the block.
        number: u64,
        /// Its hash.
        hash: BlockHash,
        /// The parent it names.
        parent: BlockHash,
        /// Height of the block before it.
        previous_number: u64,
        /// Hash of the block before it.
        previous_hash: BlockHash,
    },
    /// A block's height is not above its parent's.
    #[error("block {number} ({hash}) of {source_name} breaks rule number-order: its parent has number {parent_number}")]
    NumberOrder {
        /// The source.
        source_name: String,
        /// Height of the block.
        number: u64,
        /// Its hash.
        hash: BlockHash,
        /// Height of its parent.
        parent_number: u64,
    },
    /// Blocks are missing between the head and the new block.
    #[error(
        "{source_name} gave block {number} after block {head}: blocks {first_missing} to {last_missing} are missing"
    )]
    Gap {
        /// The source.
        source_name: String,
        /// Height of the new block.
        number: u64,
        /// Height of the head.
        head: u64,
        /// First missing height.
        first_missing: u64,
        /// Last missing height.
        last_missing: u64,
    },
    /// The fork begins below the newest final block.
    #[error(
        "block {number} ({hash}) of {source_name} forks below finality: its parent {parent} is not on the canonical chain above final block {finalized}"
    )]
    BelowFinality {
        /// The source.
        source_name: String,
        /// Height of the block.
        number: u64,
        /// Its hash.
        hash: BlockHash,
        /// The parent it names.
        parent: BlockHash,
        /// Height of the newest final block.
        finalized: u64,
    },
}

impl Classified for ChainError {
    fn class(&self) -> Class {
        Class::EXTERNAL
    }
}

/// Follows the canonical chain of one source.
#[derive(Debug)]
pub struct ChainTracker {
    source_name: String,
    /// Canonical blocks above finality, oldest first.
    open: VecDeque<TrackedBlock>,
    /// Newest final block that was seen.
    finalized: Option<BlockRef>,
    /// Height the source calls final; may be ahead of `finalized` while no block of that height came.
    finalized_number: Option<u64>,
}

impl ChainTracker {
    /// An empty chain. The first block that comes is taken as its root.
    pub fn new(source_name: impl Into<String>) -> ChainTracker {
        ChainTracker { source_name: source_name.into(), open: VecDeque::new(), finalized: None, finalized_number: None }
    }

    /// A chain as it was saved: the newest final block and the blocks above it, oldest first.
    pub fn restore(
        source_name: impl Into<String>,
        finalized: Option<BlockRef>,
        open: impl IntoIterator<Item = TrackedBlock>,
    ) -> ChainTracker {
        ChainTracker {
            source_name: source_name.into(),
            open: open.into_iter().collect(),
            finalized,
            finalized_number: finalized.map(|block| block.number),
        }
    }

    /// The newest canonical block.
    pub fn head(&self) -> Option<BlockRef> {
        self.open.back().map(|tracked| tracked.block).or(self.finalized)
    }

    /// The newest final block.
    pub fn finalized(&self) -> Option<BlockRef> {
        self.finalized
    }

    /// The blocks that may still be taken back, oldest first.
    pub fn open_blocks(&self) -> impl Iterator<Item = &TrackedBlock> {
        self.open.iter()
    }

    /// Whether a run continues the current head (or starts the chain), so that it takes nothing back.
    pub fn extends(&self, run: &BlockRun) -> bool {
        match (self.head(), run.blocks.first()) {
            (Some(head), Some(first)) => first.parent == head.hash,
            _ => true,
        }
    }

    /// Takes a run of blocks that the source calls canonical, and how far it calls the chain final.
    ///
    /// Blocks up to the last one that is canonical already are passed over. On an error nothing has changed.
    pub fn apply(&mut self, run: BlockRun, finalized_number: Option<u64>) -> Result<ChangeSet, ChainError> {
        let known = run.blocks.iter().rposition(|block| self.is_canonical(block)).map_or(0, |index| index + 1);
        let run = if known > 0 { run.slice(known, run.blocks.len()) } else { run };
        self.check_links(&run)?;
        let reverted = match run.blocks.first() {
            Some(first) => self.take_back_to(first)?,
            None => Vec::new(),
        };
        let finalized_number = self.finalized_number.max(finalized_number);
        for (index, block) in run.blocks.iter().enumerate() {
            if finalized_number.is_some_and(|finalized| block.number <= finalized) {
                continue;
            }
            let rows = run.tables.iter().map(|table| table.slice(index, index + 1)).collect();
            self.open.push_back(TrackedBlock { block: *block, rows });
        }
        self.finalize(&run.blocks, finalized_number);
        Ok(ChangeSet { reverted, applied: run, finalized: self.finalized })
    }

    /// Calls everything up to the head final (a bounded source has ended).
    pub fn finalize_all(&mut self) -> Option<BlockRef> {
        self.finalized = self.head();
        self.finalized_number = self.finalized.map(|block| block.number);
        self.open.clear();
        self.finalized
    }

    fn is_canonical(&self, block: &BlockRef) -> bool {
        self.finalized.is_some_and(|finalized| finalized.hash == block.hash)
            || self.open.iter().rev().any(|tracked| tracked.block.hash == block.hash)
    }

    fn check_links(&self, run: &BlockRun) -> Result<(), ChainError> {
        for pair in run.blocks.windows(2) {
            let [previous, block] = pair else { continue };
            if block.parent != previous.hash {
                return Err(self.wrong_parent(block, previous));
            }
            self.check_order(block, previous)?;
        }
        Ok(())
    }

    fn check_order(&self, block: &BlockRef, parent: &BlockRef) -> Result<(), ChainError> {
        if block.number > parent.number {
            return Ok(());
        }
        Err(ChainError::NumberOrder {
            source_name: self.source_name.clone(),
            number: block.number,
            hash: block.hash,
            parent_number: parent.number,
        })
    }

    fn wrong_parent(&self, block: &BlockRef, previous: &BlockRef) -> ChainError {
        ChainError::WrongParent {
            source_name: self.source_name.clone(),
            number: block.number,
            hash: block.hash,
            parent: block.parent,
            previous_number: previous.number,
            previous_hash: previous.hash,
        }
    }

    /// Removes the canonical blocks above the parent of `first`.
    fn take_back_to(&mut self, first: &BlockRef) -> Result<Vec<TrackedBlock>, ChainError> {
        let Some(head) = self.head() else { return Ok(Vec::new()) };
        if first.parent == head.hash {
            self.check_order(first, &head)?;
            return Ok(Vec::new());
        }
        let fork = self.open.iter().rposition(|tracked| tracked.block.hash == first.parent);
        let keep = match fork {
            Some(index) => {
                self.check_order(first, &self.open[index].block)?;
                index + 1
            }
            None if self.finalized.is_some_and(|finalized| finalized.hash == first.parent) => 0,
            // The first block that was read is replaced: its parent was never seen.
            None if self.finalized.is_none() && self.root_parent() == Some(first.parent) => 0,
            None => return Err(self.unknown_parent(first, &head)),
        };
        let mut reverted: Vec<_> = self.open.split_off(keep).into();
        reverted.reverse();
        Ok(reverted)
    }

    fn root_parent(&self) -> Option<BlockHash> {
        self.open.front().map(|tracked| tracked.block.parent)
    }

    fn unknown_parent(&self, block: &BlockRef, head: &BlockRef) -> ChainError {
        let finalized = self.finalized.map(|finalized| finalized.number);
        if block.number > head.number + 1 {
            return ChainError::Gap {
                source_name: self.source_name.clone(),
                number: block.number,
                head: head.number,
                first_missing: head.number + 1,
                last_missing: block.number - 1,
            };
        }
        match finalized {
            Some(finalized) if block.number <= finalized + 1 => ChainError::BelowFinality {
                source_name: self.source_name.clone(),
                number: block.number,
                hash: block.hash,
                parent: block.parent,
                finalized,
            },
            _ => self.wrong_parent(block, self.block_below(block.number).unwrap_or(head)),
        }
    }

    fn block_below(&self, number: u64) -> Option<&BlockRef> {
        self.open.iter().rev().map(|tracked| &tracked.block).find(|block| block.number < number)
    }

    fn finalize(&mut self, applied: &[BlockRef], finalized_number: Option<u64>) {
        self.finalized_number = finalized_number;
        let Some(number) = self.finalized_number else { return };
        let newest_applied = applied.iter().rev().find(|block| block.number <= number);
        while self.open.front().is_some_and(|tracked| tracked.block.number <= number) {
            self.finalized = self.open.pop_front().map(|tracked| tracked.block);
        }
        if let Some(block) = newest_applied
            && self.finalized.is_none_or(|finalized| finalized.number < block.number)
        {
            self.finalized = Some(*block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{block, run_of};

    /// Branch letter and height make the hash.
    fn numbers(reverted: &[TrackedBlock]) -> Vec<u64> {
        reverted.iter().map(|tracked| tracked.block.number).collect()
    }

    #[test]
    fn a_longer_branch_replaces_the_head_in_one_change() {
        let mut chain = ChainTracker::new("eth");
        let first = block(b'a', 45, None);
        let old = block(b'a', 46, Some(&first));
        chain.apply(run_of(&[first, old]), None).unwrap();
        let new = block(b'b', 46, Some(&first));
        let newer = block(b'b', 47, Some(&new));
        let change = chain.apply(run_of(&[new, newer]), None).unwrap();
        assert_eq!(numbers(&change.reverted), [46]);
        assert_eq!(change.reverted[0].block.hash, old.hash);
        assert_eq!(change.applied.blocks, [new, newer]);
        assert_eq!(chain.head(), Some(newer));
    }

    #[test]
    fn a_fork_below_finality_changes_nothing() {
        let mut chain = ChainTracker::new("eth");
        let a1 = block(b'a', 1, None);
        let a2 = block(b'a', 2, Some(&a1));
        let a3 = block(b'a', 3, Some(&a2));
        chain.apply(run_of(&[a1, a2, a3]), Some(2)).unwrap();
        let b2 = block(b'b', 2, Some(&a1));
        let error = chain.apply(run_of(&[b2]), None).unwrap_err();
        assert!(matches!(error, ChainError::BelowFinality { number: 2, finalized: 2, .. }), "{error}");
        assert_eq!(chain.head(), Some(a3));
        // The fork right above the final block is allowed.
        let b3 = block(b'b', 3, Some(&a2));
        assert_eq!(numbers(&chain.apply(run_of(&[b3]), None).unwrap().reverted), [3]);
    }

    #[test]
    fn the_first_block_that_was_read_may_be_replaced() {
        let mut chain = ChainTracker::new("eth");
        let below = block(b'x', 4, None);
        let a5 = block(b'a', 5, Some(&below));
        let a6 = block(b'a', 6, Some(&a5));
        chain.apply(run_of(&[a5, a6]), None).unwrap();
        let b5 = block(b'b', 5, Some(&below));
        assert_eq!(numbers(&chain.apply(run_of(&[b5]), None).unwrap().reverted), [6, 5]);
        assert_eq!(chain.head(), Some(b5));
    }

    #[test]
    fn gaps_and_wrong_parents_are_named() {
        let mut chain = ChainTracker::new("eth");
        let a1 = block(b'a', 1, None);
        chain.apply(run_of(&[a1]), None).unwrap();
        let a4 = block(b'a', 4, Some(&block(b'a', 3, None)));
        assert_eq!(
            chain.apply(run_of(&[a4]), None).unwrap_err().to_string(),
            "eth gave block 4 after block 1: blocks 2 to 3 are missing"
        );
        let stray = block(b'c', 2, Some(&block(b'x', 1, None)));
        assert!(matches!(chain.apply(run_of(&[stray]), None), Err(ChainError::WrongParent { .. })));
        assert_eq!(chain.head(), Some(a1));
    }

    #[test]
    fn known_blocks_are_passed_over() {
        let mut chain = ChainTracker::new("eth");
        let a1 = block(b'a', 1, None);
        let a2 = block(b'a', 2, Some(&a1));
        chain.apply(run_of(&[a1]), None).unwrap();
        let change = chain.apply(run_of(&[a1, a2]), None).unwrap();
        assert_eq!(change.applied.blocks, [a2]);
        assert!(change.reverted.is_empty());
    }

    #[test]
    fn final_history_is_not_kept() {
        let mut chain = ChainTracker::new("eth");
        let a1 = block(b'a', 1, None);
        let a2 = block(b'a', 2, Some(&a1));
        let change = chain.apply(run_of(&[a1, a2]), Some(2)).unwrap();
        assert_eq!(change.finalized, Some(a2));
        assert_eq!(chain.open_blocks().count(), 0);
        assert_eq!(chain.head(), Some(a2));
    }
}
