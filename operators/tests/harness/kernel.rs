//! Drives block kernels through random histories of a chain: growth, reorgs, finality, restarts.
//!
//! After every step four things must hold: the rows that stand are those a new kernel makes of the
//! canonical chain; they are those of the definition (the check that the test hands in); the saved
//! state is the one that the new kernel saves, so that what was forgotten left no trace; and the kernel run as an
//! operator, a step a tick, has emitted just those rows (`fold.rs`).

use arrow::record_batch::RecordBatch;
use highwater_operators::block_kernel::{BlockKernel, BlockRows, Memory};

use super::Random;
use super::fold::{Folded, Tick};

/// One block and the tables of it that the kernel reads, in the order of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct KernelBlock {
    pub(crate) number: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) timestamp_ms: i64,
    pub(crate) tables: Vec<RecordBatch>,
}

impl KernelBlock {
    pub(crate) fn rows(&self) -> BlockRows<'_> {
        BlockRows { number: self.number, hash: self.hash, timestamp_ms: self.timestamp_ms, tables: &self.tables }
    }
}

/// The shape of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelShape {
    pub(crate) seed: u64,
    /// Steps: each grows the chain, most after taking some of it back.
    pub(crate) steps: usize,
    /// Most blocks that one reorg takes back.
    pub(crate) max_depth: u64,
    /// Percentage of steps that begin with a reorg.
    pub(crate) reorg_percent: u64,
    /// Percentage of steps after which a new kernel goes on from the saved state.
    pub(crate) restart_percent: u64,
    /// Blocks on top of a final one, at least.
    pub(crate) lag: u64,
}

/// Height of the block before the first.
const GENESIS: u64 = 100;

struct Chain<R> {
    random: Random,
    rows: R,
    canonical: Vec<KernelBlock>,
    outputs: Vec<RecordBatch>,
    finalized: u64,
}

impl<R: FnMut(&mut Random, &KernelBlock) -> Vec<RecordBatch>> Chain<R> {
    fn head(&self) -> (u64, i64) {
        self.canonical.last().map_or((GENESIS, 1_700_000_000_000), |block| (block.number, block.timestamp_ms))
    }

    fn grow(&mut self, kernel: &mut dyn BlockKernel) {
        let (number, before) = self.head();
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.random.next().to_be_bytes());
        let mut block = KernelBlock { number: number + 1, hash, timestamp_ms: before + 12_000, tables: Vec::new() };
        block.tables = (self.rows)(&mut self.random, &block);
        let output = kernel.block(block.rows());
        assert_eq!(output.schema(), kernel.schema(), "the schema of block {}", block.number);
        self.outputs.push(output);
        self.canonical.push(block);
    }

    /// The blocks that were taken back, newest first.
    fn revert(&mut self, kernel: &mut dyn BlockKernel, max_depth: u64) -> Vec<KernelBlock> {
        let mut reverted = Vec::new();
        for _ in 0..=self.random.below(max_depth) {
            if self.head().0 <= self.finalized.max(GENESIS) {
                break;
            }
            let block = self.canonical.pop().expect("the head is above the first block");
            self.outputs.pop();
            if kernel.memory() == Memory::Chain {
                kernel.forget(block.number);
            }
            reverted.push(block);
        }
        reverted
    }

    fn finalize(&mut self, kernel: &mut dyn BlockKernel, lag: u64) {
        let wanted = self.head().0.saturating_sub(lag + self.random.below(lag + 1));
        if wanted > self.finalized && self.random.chance(60) {
            self.finalized = wanted;
            kernel.finalize(wanted);
        }
    }

    fn compare(&self, kernel: &dyn BlockKernel, make: &impl Fn() -> Box<dyn BlockKernel>) {
        let mut fresh = make();
        for (block, output) in self.canonical.iter().zip(&self.outputs) {
            assert_eq!(&fresh.block(block.rows()), output, "block {} depends on more than the chain", block.number);
        }
        fresh.finalize(self.finalized);
        let (kept, wanted) = (kernel.save().expect("saves"), fresh.save().expect("saves"));
        assert_eq!(kept, wanted, "the state at {} has traces of another history", self.head().0);
        assert_eq!(kernel.size().entries, fresh.size().entries, "entries at {}", self.head().0);
    }
}

/// Plays a random history. `rows` makes the tables of a block (its own `tables` are still empty); `check`
/// gets the canonical chain and the rows of each of its blocks after every step.
pub(crate) fn drive(
    shape: &KernelShape,
    make: impl Fn() -> Box<dyn BlockKernel>,
    rows: impl FnMut(&mut Random, &KernelBlock) -> Vec<RecordBatch>,
    mut check: impl FnMut(&[KernelBlock], &[RecordBatch]),
) {
    let (canonical, outputs) = (Vec::new(), Vec::new());
    let mut chain = Chain { random: Random::new(shape.seed), rows, canonical, outputs, finalized: 0 };
    let (mut kernel, mut folded) = (make(), None);
    for _ in 0..shape.steps {
        let reorg = chain.random.chance(shape.reorg_percent);
        let reverted = if reorg { chain.revert(kernel.as_mut(), shape.max_depth) } else { Vec::new() };
        let standing = chain.canonical.len();
        for _ in 0..=chain.random.below(3) {
            chain.grow(kernel.as_mut());
        }
        chain.finalize(kernel.as_mut(), shape.lag);
        let applied = &chain.canonical[standing..];
        let folded = folded.get_or_insert_with(|| Folded::new(&make, &applied[0], shape.seed));
        folded.tick(&Tick { reverted: &reverted, applied, finalized: chain.finalized });
        if chain.random.chance(shape.restart_percent) {
            let saved = kernel.save().expect("saves");
            kernel = make();
            kernel.load(&saved).expect("the state fits");
            folded.restart(&make);
        }
        chain.compare(kernel.as_ref(), &make);
        folded.compare(&chain.outputs);
        check(&chain.canonical, &chain.outputs);
    }
    forget_all(&mut chain, kernel.as_mut(), &make);
}

/// Takes back every block that is not final: what is left is what final blocks told.
fn forget_all<R: FnMut(&mut Random, &KernelBlock) -> Vec<RecordBatch>>(
    chain: &mut Chain<R>,
    kernel: &mut dyn BlockKernel,
    make: &impl Fn() -> Box<dyn BlockKernel>,
) {
    while chain.head().0 > chain.finalized.max(GENESIS) {
        chain.revert(kernel, 1);
    }
    chain.compare(kernel, make);
}
