//! `previous_trades`: the trades of the block before, told once more with each block.
//!
//! Rules of one block may look back one block by reading it, and stay functions of one block that any worker
//! can compute in any order: only this kernel, which copies a few columns, sees the chain in order. The rows
//! of a block are those of the block just below it, none if that had no trades.
//!
//! State: the trades of the newest final block and of those that are not final.

use std::sync::LazyLock;

use arrow::array::UInt32Array;
use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::operator::StateSize;
use highwater_engine::rows::RowCodec;

use super::columns::{address, address_opt, common_columns, hash, int, table};
use super::recent_blocks::RecentBlocks;
use super::{BlockRelation, InputTable};
use crate::block_kernel::{BlockKernel, BlockRows, Memory};
use crate::codec::mismatch;
use crate::rows::{Loaded, Saved};

/// The columns of a trade that the next block hears of.
const TOLD: [&str; 8] =
    ["transaction_index", "log_index", "transaction_hash", "pool", "token_sold", "token_bought", "tx_from", "tx_to"];

/// The relation as an input of rules.
pub(crate) const PREVIOUS_TRADES: InputTable = InputTable { name: "previous_trades", columns: &TOLD, optional: true };

/// The relation.
pub(super) const RELATION: BlockRelation = BlockRelation {
    name: "previous_trades",
    about: "One row for each trade of the block before, so that rules of a block can look back one: \
            `block_number` is that of the block that looks back, the other columns are of the earlier trade.",
    inputs: &[InputTable { name: "dex_trades", columns: &INPUT, optional: false }],
    schema,
    state: Some(("block", "the trades of the blocks that are not final, and of one more")),
    kernel: |_| Box::new(PreviousTrades::new()),
};

const INPUT: [&str; 10] = ["chain", "chain_id", TOLD[0], TOLD[1], TOLD[2], TOLD[3], TOLD[4], TOLD[5], TOLD[6], TOLD[7]];

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        table(vec![
            int("transaction_index"),
            int("log_index"),
            hash("transaction_hash"),
            Field::new("pool", DataType::Binary, false),
            address_opt("token_sold"),
            address_opt("token_bought"),
            address("tx_from"),
            address_opt("tx_to"),
        ])
    });
    SCHEMA.clone()
}

const NAME: &str = "previous_trades";
const SHAPE: &str = "1: trades by block";

/// The kernel of `previous_trades`.
pub struct PreviousTrades {
    /// The columns [`TOLD`] of each block.
    recent: RecentBlocks<RecordBatch>,
    codec: RowCodec,
}

impl PreviousTrades {
    /// A kernel without memories.
    fn new() -> PreviousTrades {
        let told: Vec<usize> = (5..schema().fields().len()).collect();
        let codec = RowCodec::new(&schema(), &told).expect("columns of chain tables can be encoded");
        PreviousTrades { recent: RecentBlocks::new(1), codec }
    }

    /// What the next block hears, in arrays of its own: those of the block may be parts of large ones.
    fn told(&self, trades: &RecordBatch) -> RecordBatch {
        let count = u32::try_from(trades.num_rows()).expect("a block's trades fit");
        let rows = take_record_batch(trades, &UInt32Array::from_iter_values(0..count)).expect("rows of the batch");
        RecordBatch::try_new(self.codec.schema().clone(), rows.columns()[2..].to_vec())
            .expect("the columns after those that name the chain")
    }
}

impl BlockKernel for PreviousTrades {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn memory(&self) -> Memory {
        Memory::Chain
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let trades = &rows.tables[0];
        if trades.num_rows() == 0 {
            return RecordBatch::new_empty(schema());
        }
        let answer = match self.recent.before(rows.number).next() {
            None => RecordBatch::new_empty(schema()),
            Some((_, before)) => {
                let chain = trades.column(0).as_string::<i32>().value(0);
                let chain_id = trades.column(1).as_primitive::<Int64Type>().value(0);
                let mut columns = common_columns(chain, chain_id, &rows, before.num_rows());
                columns.extend_from_slice(before.columns());
                RecordBatch::try_new(schema(), columns).expect("the common columns and those that are told")
            }
        };
        let told = self.told(trades);
        self.recent.keep(rows.number, told);
        answer
    }

    fn forget(&mut self, number: u64) {
        self.recent.forget(number);
    }

    fn finalize(&mut self, number: u64) {
        self.recent.finalize(number);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let (mut blocks, mut trades) = (Vec::new(), Vec::new());
        for (number, told) in self.recent.iter() {
            let encoded = self.codec.encode(told.columns(), told.num_rows());
            blocks.extend(std::iter::repeat_n(i64::try_from(number).expect("heights fit 63 bits"), told.num_rows()));
            trades.extend(encoded.iter().map(|row| row.data().to_vec()));
        }
        Ok(vec![Saved::new(NAME, SHAPE).numbers("block", blocks).bytes("trade", trades).finish()?])
    }

    fn load(&mut self, state: &[RecordBatch]) -> Result<(), StateError> {
        self.recent.clear();
        for batch in state {
            let loaded = Loaded::open(NAME, SHAPE, batch)?;
            let (blocks, trades) = (loaded.numbers("block")?, loaded.bytes("trade")?);
            let mut start = 0;
            for run in blocks.values().chunk_by(|a, b| a == b) {
                let number = u64::try_from(run[0]).map_err(|_| mismatch(NAME, "a height is negative"))?;
                let told = self.codec.decode((start..start + run.len()).map(|row| trades.value(row)));
                self.recent.keep(number, told);
                start += run.len();
            }
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        let (entries, bytes) = self.recent.iter().fold((0, 0), |(entries, bytes), (_, told)| {
            (entries + told.num_rows(), bytes + told.get_array_memory_size())
        });
        StateSize { entries, bytes }
    }
}
