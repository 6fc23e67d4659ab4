//! Rows that wait for their file.

use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// Batches are merged up to this many rows: a batch costs memory and time by itself.
const MERGED_ROWS: usize = 1 << 13;

/// Rows in order.
#[derive(Default)]
pub(super) struct Buffer {
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Buffer {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends rows. Small batches are merged in pairs of like size, so each row is copied O(log n) times.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows();
        self.batches.push(batch);
        while let [.., earlier, later] = self.batches.as_slice() {
            let merged = earlier.num_rows() + later.num_rows();
            if merged > MERGED_ROWS || earlier.num_rows() > 2 * later.num_rows() {
                break;
            }
            let batch = concat_batches(earlier.schema_ref(), [earlier, later])?;
            self.batches.truncate(self.batches.len() - 2);
            self.batches.push(batch);
        }
        Ok(())
    }

    /// All rows.
    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The first `count` rows.
    pub(super) fn front(&self, count: usize) -> Vec<RecordBatch> {
        slices(&self.batches, 0, count)
    }

    /// Forgets the first `count` rows.
    pub(super) fn drop_front(&mut self, count: usize) {
        self.batches = slices(&self.batches, count, self.rows - count);
        self.rows -= count;
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.rows = 0;
    }
}

/// Rows of consecutive batches, some at a time.
pub(super) struct Cut<I> {
    batches: I,
    /// What is left of the last batch.
    rest: Option<RecordBatch>,
}

impl<I: Iterator<Item = Result<RecordBatch, ArrowError>>> Cut<I> {
    pub(super) fn new(batches: I) -> Cut<I> {
        Cut { batches, rest: None }
    }

    /// The next rows, without copying; fewer if there are no more.
    pub(super) fn take(&mut self, mut count: usize) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        std::iter::from_fn(move || {
            if count == 0 {
                return None;
            }
            let batch = match self.rest.take() {
                Some(rest) => rest,
                None => match self.batches.next()? {
                    Ok(batch) => batch,
                    Err(error) => return Some(Err(error)),
                },
            };
            let rows = batch.num_rows().min(count);
            count -= rows;
            if rows < batch.num_rows() {
                self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
            }
            Some(Ok(batch.slice(0, rows)))
        })
    }
}

/// Rows `offset..offset + count` of consecutive batches, without copying.
pub(super) fn slices(batches: &[RecordBatch], mut offset: usize, mut count: usize) -> Vec<RecordBatch> {
    let mut taken = Vec::new();
    for batch in batches {
        let skip = offset.min(batch.num_rows());
        let take = count.min(batch.num_rows() - skip);
        if take > 0 {
            taken.push(batch.slice(skip, take));
        }
        offset -= skip;
        count -= take;
    }
    taken
}
