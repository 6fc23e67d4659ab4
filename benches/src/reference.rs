//! Reference tables of benchmarks, which change while a job runs.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, AsArray as _, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchReader as _};
use highwater_engine::error::BoxError;
use highwater_engine::feed::Feed;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Ticks between two changes.
const EVERY: usize = 25;

/// The rows of a Parquet file.
pub(crate) fn read(path: &Path) -> anyhow::Result<RecordBatch> {
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// A table of text, of which now and then one row gets another last column.
pub(crate) struct Relabelled {
    name: String,
    rows: RecordBatch,
    polls: usize,
}

impl Relabelled {
    pub(crate) fn new(name: &str, rows: RecordBatch) -> Relabelled {
        Relabelled { name: name.to_owned(), rows, polls: 0 }
    }

    fn relabel(&mut self) -> Result<(), BoxError> {
        let (place, labelled) = (self.polls / EVERY % self.rows.num_rows(), self.rows.num_columns() - 1);
        let labels = self.rows.column(labelled).as_string::<i32>();
        let new = format!("changed at {}", self.polls);
        let renamed =
            labels.iter().enumerate().map(|(row, label)| if row == place { Some(new.as_str()) } else { label });
        let renamed: ArrayRef = Arc::new(renamed.collect::<StringArray>());
        let mut columns = self.rows.columns().to_vec();
        columns[labelled] = renamed;
        self.rows = RecordBatch::try_new(self.rows.schema(), columns)?;
        Ok(())
    }
}

impl Feed for Relabelled {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn poll(&mut self) -> Result<Option<RecordBatch>, BoxError> {
        let changes = self.polls.is_multiple_of(EVERY);
        if changes && self.polls > 0 {
            self.relabel()?;
        }
        self.polls += 1;
        Ok(changes.then(|| self.rows.clone()))
    }
}
