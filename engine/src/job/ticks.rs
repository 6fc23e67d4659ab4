//! Cutting runs of blocks into ticks.

use crate::Tick;
use crate::chain::{ChainError, ChainTracker, ChangeSet};
use crate::model::{BlockRef, BlockRun, Delta, Progress, Reorg};
use crate::runtime::TickInput;

/// A tick of several blocks takes no further one once it has so many rows: enough that what each tick costs by itself
/// does not count, few enough that what is under way stays small where blocks are large.
const TICK_ROWS: usize = 1 << 14;

/// The blocks of one tick.
#[derive(Debug)]
pub(super) struct CutTick {
    pub(super) runs: Vec<BlockRun>,
    /// Position of the source from which nothing of this or an earlier tick is missing. Within a run
    /// the position stays before it; blocks that come again are passed over by the chain tracker.
    pub(super) cursor: Option<u64>,
}

/// Collects blocks until a tick is full.
#[derive(Debug)]
pub(super) struct TickCutter {
    blocks_per_tick: usize,
    /// The last block that was pushed.
    head: Option<BlockRef>,
    pending: Vec<BlockRun>,
    pending_blocks: usize,
    pending_rows: usize,
    cursor: Option<u64>,
}

impl TickCutter {
    pub(super) fn new(blocks_per_tick: usize, head: Option<BlockRef>) -> TickCutter {
        let blocks_per_tick = blocks_per_tick.max(1);
        TickCutter { blocks_per_tick, head, pending: Vec::new(), pending_blocks: 0, pending_rows: 0, cursor: None }
    }

    /// Takes a run and gives the ticks that are full now. A run that does not extend the chain closes
    /// the pending tick and becomes a tick of its own, whole.
    pub(super) fn push(&mut self, run: BlockRun, cursor: u64) -> Vec<CutTick> {
        let mut full = Vec::new();
        let (Some(first), Some(last)) = (run.blocks.first(), run.blocks.last()) else { return full };
        let extends = self.head.is_none_or(|head| head.hash == first.parent);
        self.head = Some(*last);
        if !extends {
            full.extend(self.flush());
            full.push(CutTick { runs: vec![run], cursor: Some(cursor) });
            return full;
        }
        let mut from = 0;
        while from < run.blocks.len() {
            let to = self.fitting(&run, from);
            let part = run.slice(from, to);
            self.pending_blocks += to - from;
            self.pending_rows += part.row_count();
            self.pending.push(part);
            from = to;
            if from == run.blocks.len() {
                self.cursor = Some(cursor);
            }
            if self.pending_blocks == self.blocks_per_tick || self.pending_rows >= TICK_ROWS {
                full.extend(self.flush());
            }
        }
        full
    }

    /// The block of a run before which the pending tick is full, or the end of the run. At least one block fits.
    fn fitting(&self, run: &BlockRun, from: usize) -> usize {
        let before = |block: usize| match block {
            0 => 0,
            _ => run.tables.iter().map(|table| table.ends[block - 1]).sum::<usize>(),
        };
        let last = run.blocks.len().min(from + self.blocks_per_tick - self.pending_blocks);
        let room = before(from) + TICK_ROWS - self.pending_rows;
        (from + 1..last).find(|to| before(*to) >= room).unwrap_or(last)
    }

    /// The blocks collected so far as a tick.
    pub(super) fn flush(&mut self) -> Option<CutTick> {
        if self.pending.is_empty() {
            return None;
        }
        (self.pending_blocks, self.pending_rows) = (0, 0);
        Some(CutTick { runs: std::mem::take(&mut self.pending), cursor: self.cursor.take() })
    }
}

/// What a tick does, for journal and summary.
#[derive(Debug)]
pub(super) struct TickPlan {
    pub(super) input: TickInput,
    pub(super) changes: Vec<ChangeSet>,
}

/// Applies the runs of one tick to the chain and makes the workers' input: no tick if all blocks were known,
/// several where a tick may add one block alone.
pub(super) fn plan(
    tick: Tick,
    runs: Vec<BlockRun>,
    finalized: Option<u64>,
    chain: &mut ChainTracker,
    shape: Shape,
) -> Result<Vec<TickPlan>, ChainError> {
    let final_before = chain.finalized();
    let mut changes = Vec::with_capacity(runs.len());
    for run in runs {
        let change = chain.apply(run, finalized)?;
        if !change.applied.blocks.is_empty() {
            changes.push(change);
        }
    }
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    if shape.one_block_a_tick {
        return Ok(block_by_block(tick, changes, final_before, chain, shape.workers));
    }
    let head =
        *changes.iter().rev().find_map(|change| change.applied.blocks.last()).expect("empty changes are left out");
    let mut progress = Progress::at(tick, &head);
    progress.applied_blocks = changes.iter().map(|change| change.applied.blocks.len() as u64).sum();
    progress.reorg = changes.iter().find_map(reorg_of);
    set_finality(&mut progress, chain.finalized());
    Ok(vec![TickPlan::new(progress, changes, shape.workers)])
}

/// How ticks are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) workers: usize,
    pub(super) one_block_a_tick: bool,
}

/// The first tick takes the old branch back and adds one block; each further one adds one. What became final
/// by the whole change is final at its last tick.
fn block_by_block(
    tick: Tick,
    changes: Vec<ChangeSet>,
    final_before: Option<BlockRef>,
    chain: &ChainTracker,
    workers: usize,
) -> Vec<TickPlan> {
    let whole = changes.iter().any(|change| !change.reverted.is_empty());
    let mut plans: Vec<TickPlan> = Vec::new();
    for change in changes {
        let reorg = reorg_of(&change);
        let ChangeSet { mut reverted, applied, finalized } = change;
        for (index, block) in applied.blocks.iter().enumerate() {
            let mut progress = Progress::at(tick + plans.len() as u64, block);
            progress.reorg = reorg.clone().filter(|_| index == 0);
            progress.more_follow = whole;
            set_finality(&mut progress, final_before);
            let single = ChangeSet {
                reverted: std::mem::take(&mut reverted),
                applied: applied.slice(index, index + 1),
                finalized,
            };
            plans.push(TickPlan::new(progress, vec![single], workers));
        }
    }
    if let Some(last) = plans.last_mut() {
        last.input.progress.more_follow = false;
        set_finality(&mut last.input.progress, chain.finalized());
    }
    plans
}

impl TickPlan {
    fn new(progress: Progress, changes: Vec<ChangeSet>, workers: usize) -> TickPlan {
        let mut deltas = vec![Vec::new(); workers];
        for change in &changes {
            add_deltas(change, &progress, &mut deltas);
        }
        TickPlan { input: TickInput { progress, deltas }, changes }
    }
}

/// The tick that calls everything final at the end of a bounded source.
pub(super) fn last_tick(tick: Tick, chain: &mut ChainTracker, workers: usize) -> Option<TickInput> {
    let head = chain.head()?;
    chain.finalize_all();
    let mut progress = Progress::at(tick, &head);
    progress.applied_blocks = 0;
    progress.end_of_input = true;
    set_finality(&mut progress, chain.finalized());
    Some(TickInput { progress, deltas: vec![Vec::new(); workers] })
}

fn set_finality(progress: &mut Progress, finalized: Option<BlockRef>) {
    progress.finalized_number = finalized.map(|block| block.number);
    progress.finalized_ms = finalized.map(|block| block.timestamp_ms);
}

fn reorg_of(change: &ChangeSet) -> Option<Reorg> {
    let oldest = change.reverted.last()?;
    Some(Reorg {
        ancestor_number: oldest.block.number.saturating_sub(1),
        depth: change.reverted.len() as u64,
        replaced_by: change.applied.blocks.len() as u64,
    })
}

fn add_deltas(change: &ChangeSet, progress: &Progress, deltas: &mut [Vec<(usize, Delta)>]) {
    for tracked in &change.reverted {
        let worker = worker_of(&tracked.block, deltas.len());
        for (table, rows) in tracked.rows.iter().enumerate() {
            push(&mut deltas[worker], table, Delta::of_block(rows.clone(), -1, tracked.block.number));
        }
    }
    let run = &change.applied;
    let final_blocks = run.blocks.iter().take_while(|block| progress.is_final(block.number)).count();
    add_final(run, final_blocks, deltas);
    for (index, block) in run.blocks.iter().enumerate().skip(final_blocks) {
        let worker = worker_of(block, deltas.len());
        for (table, rows) in run.tables.iter().enumerate() {
            push(&mut deltas[worker], table, Delta::of_block(rows.slice(index, index + 1), 1, block.number));
        }
    }
}

/// Final blocks may share a delta: each worker gets one stretch of them.
fn add_final(run: &BlockRun, count: usize, deltas: &mut [Vec<(usize, Delta)>]) {
    let workers = deltas.len();
    for (worker, deltas) in deltas.iter_mut().enumerate() {
        let (from, to) = (count * worker / workers, count * (worker + 1) / workers);
        if from == to {
            continue;
        }
        for (table, rows) in run.tables.iter().enumerate() {
            push(deltas, table, Delta::of_block(rows.slice(from, to), 1, run.blocks[to - 1].number));
        }
    }
}

fn push(deltas: &mut Vec<(usize, Delta)>, table: usize, delta: Delta) {
    if !delta.is_empty() {
        deltas.push((table, delta));
    }
}

fn worker_of(block: &BlockRef, workers: usize) -> usize {
    usize::try_from(block.number % workers as u64).expect("less than the number of workers")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use arrow::record_batch::{RecordBatch, RecordBatchOptions};

    use super::*;
    use crate::model::TableRows;
    use crate::testing::{block, run_of};

    fn heights(ticks: &[CutTick]) -> Vec<Vec<u64>> {
        let blocks = |tick: &CutTick| tick.runs.iter().flat_map(|run| &run.blocks).map(|block| block.number).collect();
        ticks.iter().map(blocks).collect()
    }

    #[test]
    fn ticks_are_filled_across_runs_and_closed_by_reorgs() {
        let mut chain = ChainTracker::new("eth");
        let mut cutter = TickCutter::new(3, None);
        let blocks: Vec<_> = (1..=8).map(|number| block(b'a', number, None)).collect();
        assert!(cutter.push(run_of(&blocks[..2]), 10).is_empty());
        let mut full = cutter.push(run_of(&blocks[2..8]), 20);
        assert_eq!(heights(&full), [vec![1, 2, 3], vec![4, 5, 6]]);
        // Both ticks end inside the second run, so a restart begins after the first one.
        assert_eq!(full.iter().map(|tick| tick.cursor).collect::<Vec<_>>(), [Some(10), None]);
        let fork = block(b'b', 8, Some(&blocks[6]));
        full.extend(cutter.push(run_of(&[fork]), 30));
        assert_eq!(heights(&full[2..]), [vec![7, 8], vec![8]]);
        assert_eq!(full[2..].iter().map(|tick| tick.cursor).collect::<Vec<_>>(), [Some(20), Some(30)]);

        let shape = Shape { workers: 2, one_block_a_tick: false };
        let plans: Vec<_> =
            (1..).zip(full).flat_map(|(tick, cut)| plan(tick, cut.runs, None, &mut chain, shape).unwrap()).collect();
        assert_eq!(plans[2].input.progress.reorg, None);
        let reorg = plans[3].input.progress.reorg.as_ref().unwrap();
        assert_eq!((reorg.ancestor_number, reorg.depth, reorg.replaced_by), (7, 1, 1));
    }

    /// Blocks with so many rows each, `tables` tables with as many.
    fn with_rows(first: u64, rows: &[usize], tables: usize) -> BlockRun {
        let blocks: Vec<_> = (first..).zip(rows).map(|(number, _)| block(b'a', number, None)).collect();
        let ends: Vec<usize> =
            rows.iter().scan(0, |end, rows| Some(std::mem::replace(end, *end + rows) + rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(ends.last().copied());
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
        BlockRun { tables: vec![TableRows { batch, ends }; tables], ..run_of(&blocks) }
    }

    #[test]
    fn ticks_are_full_with_many_rows_too() {
        let mut cutter = TickCutter::new(5, None);
        let full = cutter.push(with_rows(1, &[TICK_ROWS - 1, 1, 7, TICK_ROWS * 2, 3], 1), 10);
        assert_eq!(heights(&full), [vec![1, 2], vec![3, 4]]);
        // Rows of all tables and of blocks that came before count.
        let full = cutter.push(with_rows(6, &[TICK_ROWS / 2 - 2, 0, 1, 0, 0, 0, 0, 0], 2), 20);
        assert_eq!(heights(&full), [vec![5, 6, 7, 8], vec![9, 10, 11, 12, 13]]);
        assert!(cutter.flush().is_none());
        assert_eq!(heights(&TickCutter::new(1, None).push(with_rows(1, &[TICK_ROWS, 0], 1), 10)), [vec![1], vec![2]]);
    }

    #[test]
    fn one_block_a_tick_holds_for_reorgs_too() {
        let mut chain = ChainTracker::new("eth");
        let shape = Shape { workers: 1, one_block_a_tick: true };
        let a1 = block(b'a', 1, None);
        let a2 = block(b'a', 2, Some(&a1));
        let first = plan(1, vec![run_of(&[a1, a2])], None, &mut chain, shape).unwrap();
        let told = |plans: &[TickPlan]| -> Vec<_> {
            let told = |plan: &TickPlan| {
                let progress = &plan.input.progress;
                let reverted: usize = plan.changes.iter().map(|change| change.reverted.len()).sum();
                (progress.tick, progress.head_number, progress.finalized_number, reverted, progress.more_follow)
            };
            plans.iter().map(told).collect()
        };
        // Without a reorg every tick stands for itself.
        assert_eq!(told(&first), [(1, 1, None, 0, false), (2, 2, None, 0, false)]);
        let b2 = block(b'b', 2, Some(&a1));
        let b3 = block(b'b', 3, Some(&b2));
        let b4 = block(b'b', 4, Some(&b3));
        let reorg = plan(3, vec![run_of(&[b2, b3, b4])], Some(2), &mut chain, shape).unwrap();
        // Finality comes with the last block of the change: the ticks before are behind it.
        assert_eq!(told(&reorg), [(3, 2, None, 1, true), (4, 3, None, 0, true), (5, 4, Some(2), 0, false)]);
        assert!(reorg[0].input.progress.reorg.is_some());
        assert_eq!(reorg[1].input.progress.reorg, None);
    }
}
