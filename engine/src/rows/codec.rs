//! Rows as `arrow-row` makes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::row::{RowConverter, Rows, SortField};

use crate::model::Delta;

/// Rows of one schema to bytes and back, in the default order: the encoding of the router.
pub struct RowCodec {
    schema: SchemaRef,
    converter: RowConverter,
}

impl RowCodec {
    /// For these columns of a schema.
    ///
    /// # Errors
    /// If a column is not there, or of a type without an order.
    pub fn new(schema: &SchemaRef, columns: &[usize]) -> Result<RowCodec, ArrowError> {
        let schema: SchemaRef = Arc::new(schema.project(columns)?);
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(RowCodec { converter: RowConverter::new(fields)?, schema })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of a batch that has exactly these columns.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize) -> Rows {
        if columns.is_empty() {
            // The converter cannot count the rows of no columns.
            let mut encoded = self.converter.empty_rows(rows, 0);
            let parser = self.converter.parser();
            (0..rows).for_each(|_| encoded.push(parser.parse(&[])));
            return encoded;
        }
        self.converter.convert_columns(columns).expect("the batch has the columns the operator was built for")
    }

    /// The rows as a batch.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> RecordBatch {
        let parser = self.converter.parser();
        let mut count = 0;
        let parsed = rows.into_iter().map(|row| {
            count += 1;
            parser.parse(row)
        });
        let columns = self.converter.convert_rows(parsed).expect("the bytes were made by this converter");
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .expect("the rows decode to the columns they were made of")
    }

    /// Rows with a change for each as a delta; `None` where nothing changed.
    pub fn delta(&self, changes: &BTreeMap<Arc<[u8]>, i64>) -> Option<Delta> {
        let changes: Vec<(&Arc<[u8]>, i64)> =
            changes.iter().filter(|(_, diff)| **diff != 0).map(|(row, diff)| (row, *diff)).collect();
        if changes.is_empty() {
            return None;
        }
        let batch = self.decode(changes.iter().map(|(row, _)| row.as_ref()));
        Some(Delta::derived(batch, changes.iter().map(|(_, diff)| *diff).collect()))
    }
}
