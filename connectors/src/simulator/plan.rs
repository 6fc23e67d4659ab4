//! Which block comes when: the heads and the reorgs of a simulated chain.
//!
//! A block is known by its height and the step that made it, so the whole plan follows from the seed
//! and can be walked again to any step in no time: that is how reading is resumed.

use std::collections::VecDeque;

use highwater_engine::model::BlockHash;

use super::options::Settings;
use super::random::{Random, hash_of};

/// A block to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Planned {
    pub(super) number: u64,
    /// The step that made it: blocks of one height on two branches differ in it.
    pub(super) branch: u64,
    /// The step that made its parent.
    pub(super) parent_branch: u64,
    /// Whether it replaces a block that was canonical.
    pub(super) replaces: bool,
}

impl Planned {
    pub(super) fn hash(&self, seed: u64) -> BlockHash {
        block_hash(seed, self.number, self.branch)
    }

    pub(super) fn parent_hash(&self, seed: u64) -> BlockHash {
        block_hash(seed, self.number - 1, self.parent_branch)
    }
}

fn block_hash(seed: u64, number: u64, branch: u64) -> BlockHash {
    BlockHash(hash_of("block", &[seed, number, branch]))
}

/// The state of the plan after some steps.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    step: u64,
    head: u64,
    /// The branches of the newest canonical blocks, oldest first, the head last.
    branches: VecDeque<u64>,
}

impl Plan {
    pub(super) fn new() -> Plan {
        // Height 0 is the genesis, made by step 0 and never delivered.
        Plan { step: 0, head: 0, branches: VecDeque::from([0]) }
    }

    /// How many steps were made: the cursor.
    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// The height of the newest block.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The blocks of the next step: one, or the whole branch that takes over. `None` at the end.
    pub(super) fn next(&mut self, settings: &Settings) -> Option<Vec<Planned>> {
        if settings.blocks.is_some_and(|blocks| self.head >= blocks) {
            return None;
        }
        self.step += 1;
        let mut random = Random::of(&[settings.seed, 1, self.step]);
        let deepest = settings.reorg_depth.min(self.head.saturating_sub(1));
        let depth = if deepest > 0 && random.chance(settings.reorg_rate) { 1 + random.below(deepest) } else { 0 };
        let keep = self.branches.len() - usize::try_from(depth).expect("no deeper than the branches kept");
        self.branches.truncate(keep);
        let mut blocks = Vec::new();
        for number in self.head - depth + 1..=self.head + 1 {
            let parent_branch = self.branches.back().copied().unwrap_or(0);
            blocks.push(Planned { number, branch: self.step, parent_branch, replaces: number <= self.head });
            self.branches.push_back(self.step);
        }
        self.head += 1;
        let most = usize::try_from(settings.reorg_depth).map_or(usize::MAX, |depth| depth.saturating_add(1));
        while self.branches.len() > most {
            self.branches.pop_front();
        }
        Some(blocks)
    }
}
