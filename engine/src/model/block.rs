//! Blocks as they come from a source.

use std::fmt;

use arrow::record_batch::RecordBatch;

/// A block hash: 32 bytes, printed as `0x` and lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BlockHash(pub [u8; 32]);

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The place of one block in its chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Hash of this block.
    pub hash: BlockHash,
    /// Hash of the parent block.
    pub parent: BlockHash,
    /// Block time in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// The rows of one table over the blocks of a [`BlockRun`], in block order.
#[derive(Clone, Debug)]
pub struct TableRows {
    /// All rows of the run.
    pub batch: RecordBatch,
    /// `ends[i]` is the row after the last row of block `i`; one entry a block, ascending.
    pub ends: Vec<usize>,
}

impl TableRows {
    /// The rows of blocks `from..to` (indices into the run), without copying.
    pub fn slice(&self, from: usize, to: usize) -> RecordBatch {
        let start = if from == 0 { 0 } else { self.ends[from - 1] };
        let end = if to == 0 { 0 } else { self.ends[to - 1] };
        self.batch.slice(start, end - start)
    }
}

/// One or more consecutive blocks of one branch, with their rows.
///
/// A source hands a run over as one piece: if the run does not extend the current head, the whole
/// run becomes one atomic reorg. Rows are complete and immutable; a block is taken back by sending
/// the identical rows with the sign turned.
#[derive(Clone, Debug)]
pub struct BlockRun {
    /// The blocks, each the parent of the next.
    pub blocks: Vec<BlockRef>,
    /// One entry for each table the reader was asked for, in that order.
    pub tables: Vec<TableRows>,
}

impl BlockRun {
    /// Blocks `from..to` of the run, without copying rows.
    pub fn slice(&self, from: usize, to: usize) -> BlockRun {
        let tables = self
            .tables
            .iter()
            .map(|rows| {
                let start = if from == 0 { 0 } else { rows.ends[from - 1] };
                TableRows {
                    batch: rows.slice(from, to),
                    ends: rows.ends[from..to].iter().map(|end| end - start).collect(),
                }
            })
            .collect();
        BlockRun { blocks: self.blocks[from..to].to_vec(), tables }
    }

    /// The number of rows over all tables.
    pub fn row_count(&self) -> usize {
        self.tables.iter().map(|rows| rows.batch.num_rows()).sum()
    }
}
