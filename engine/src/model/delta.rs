//! Signed columnar changes.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

/// The multiplicity change of each row of a batch.
#[derive(Clone, Debug)]
pub enum Diffs {
    /// All rows change by the same amount: the fast path, `+1` for applied and `-1` for reverted blocks.
    Uniform(i64),
    /// One amount a row.
    Rows(ScalarBuffer<i64>),
}

impl Diffs {
    /// The change of row `row`.
    #[inline]
    pub fn at(&self, row: usize) -> i64 {
        match self {
            Diffs::Uniform(diff) => *diff,
            Diffs::Rows(diffs) => diffs[row],
        }
    }

    /// The changes as one array of `len` rows.
    pub fn to_array(&self, len: usize) -> Int64Array {
        match self {
            Diffs::Uniform(diff) => Int64Array::from_value(*diff, len),
            Diffs::Rows(diffs) => Int64Array::new(diffs.clone(), None),
        }
    }
}

/// How long a row of a delta may still be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The rows are a row-by-row image of rows of final blocks, or of the one block of this height.
    /// They are taken back only with that block, so they are permanent once it is final.
    Block(u64),
    /// The rows were made by a stateful operator and may be taken back at any later tick.
    Derived,
}

/// A batch of rows and the change of their multiplicity: the unit that flows.
///
/// Inside one tick the order of deltas has no meaning. A delta never mixes blocks that are not
/// final with other blocks: each non-final block has its own delta.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The rows.
    pub batch: RecordBatch,
    /// The change of each row.
    pub diffs: Diffs,
    /// Until when the rows may be taken back.
    pub origin: Origin,
}

impl Delta {
    /// Rows of one block, added (`+1`) or taken back (`-1`).
    pub fn of_block(batch: RecordBatch, diff: i64, block_number: u64) -> Delta {
        Delta { batch, diffs: Diffs::Uniform(diff), origin: Origin::Block(block_number) }
    }

    /// Rows of a stateful operator with a change for each.
    pub fn derived(batch: RecordBatch, diffs: Vec<i64>) -> Delta {
        debug_assert_eq!(batch.num_rows(), diffs.len());
        Delta { batch, diffs: Diffs::Rows(diffs.into()), origin: Origin::Derived }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.batch.num_rows() == 0
    }

    /// Whether no row is taken back.
    pub fn is_insert_only(&self) -> bool {
        match &self.diffs {
            Diffs::Uniform(diff) => *diff >= 0,
            Diffs::Rows(diffs) => diffs.iter().all(|diff| *diff >= 0),
        }
    }

    /// The same changes over other rows (a row-by-row image of this batch).
    pub fn with_batch(&self, batch: RecordBatch) -> Delta {
        debug_assert_eq!(batch.num_rows(), self.batch.num_rows());
        Delta { batch, diffs: self.diffs.clone(), origin: self.origin }
    }

    /// A run of rows, without copying.
    pub fn slice(&self, offset: usize, len: usize) -> Delta {
        let diffs = match &self.diffs {
            Diffs::Uniform(diff) => Diffs::Uniform(*diff),
            Diffs::Rows(diffs) => Diffs::Rows(diffs.slice(offset, len)),
        };
        Delta { batch: self.batch.slice(offset, len), diffs, origin: self.origin }
    }
}

/// The columns of `<view>_errors`: `error` (why the row could not be evaluated) and `row` (the row as JSON).
pub fn errors_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("error", DataType::Utf8, false),
            Field::new("row", DataType::Utf8, false),
        ]))
    });
    SCHEMA.clone()
}

/// Error rows `(error, row)` with a change for each, of the same origin as the rows they replace.
pub fn error_delta(rows: &[(String, String)], diffs: Vec<i64>, origin: Origin) -> Delta {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(error, _)| error))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, row)| row))),
    ];
    let batch =
        RecordBatch::try_new(errors_schema(), columns).expect("two text columns of equal length fit the errors schema");
    Delta { batch, diffs: Diffs::Rows(diffs.into()), origin }
}
