//! The contract of kernels that make the rows of one block from the rows of that block.
//!
//! A kernel sees whole blocks, one at a time, in the order of the chain, and answers with the rows of its
//! relation for that block. Those rows are taken back only together with the block, so a reorg needs no
//! memory of what was emitted: the block's rows are computed again and go out with the sign turned.
//!
//! Most kernels keep nothing ([`Memory::None`]): a sandwich is inside one block. A kernel may remember
//! what earlier blocks told it (which tokens a pool holds, the last price); then it must be able to
//! forget the newest blocks again, in the reverse order.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::operator::StateSize;

/// The rows of one block, table by table.
#[derive(Clone, Copy, Debug)]
pub struct BlockRows<'a> {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: [u8; 32],
    /// Block time, milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// One batch for each table the kernel reads, in the order of its inputs and with just the columns it
    /// asked for; without rows where the block has none. Rows are in the order of the source.
    pub tables: &'a [RecordBatch],
}

/// Whether a kernel remembers blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// The rows of a block depend on that block alone: blocks may come in any order, on any worker.
    None,
    /// They also depend on blocks before: every block comes in order, on one worker.
    Chain,
}

/// Makes the rows of a relation block by block.
pub trait BlockKernel: 'static {
    /// Columns of the rows it makes.
    fn schema(&self) -> SchemaRef;

    /// The rows of one block. With [`Memory::Chain`] the kernel moves on to the state after the block.
    ///
    /// The result must be a function of the block and, with [`Memory::Chain`], of the blocks before it:
    /// no clock, no randomness, no hash order. Rows are in the order of the block.
    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch;

    /// Whether it remembers blocks.
    fn memory(&self) -> Memory {
        Memory::None
    }

    /// Goes back to the state before block `number`, which is the newest block that it knows.
    /// Called only with [`Memory::Chain`], newest block first.
    fn forget(&mut self, number: u64) {
        let _ = number;
    }

    /// Blocks up to `number` can no longer be taken back: what was kept for that may go.
    fn finalize(&mut self, number: u64) {
        let _ = number;
    }

    /// The whole state, what is needed to forget open blocks included.
    ///
    /// # Errors
    /// If Arrow refuses the columns.
    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        Ok(Vec::new())
    }

    /// Replaces the state by what [`BlockKernel::save`] gave.
    ///
    /// # Errors
    /// If the batches are not those of this kernel.
    fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        let _ = state;
        Ok(())
    }

    /// How large the state is now.
    fn size(&self) -> StateSize {
        StateSize::default()
    }
}
