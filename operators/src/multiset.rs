//! `INTERSECT ALL` and `EXCEPT ALL`: how often a row is in both relations, or more often in the first.
//!
//! Definition: out(t) = each row that is l times in the left input accumulated up to t and r times in the right,
//! `min(l, r)` times or `max(l - r, 0)` times. Rows are equal as in SQL's `IS NOT DISTINCT FROM`: NULL equals
//! NULL, and a float has one zero and one NaN. As in `tests/reference/multiset.rs`.
//!
//! State: both counts of each row that is in either input. It grows with the inputs.
//! Reorg: a retraction lowers a count. Cost: the rows that changed.

use std::sync::Arc;

use arrow::array::LargeBinaryBuilder;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_engine::error::{Class, Classified, StateError};
use highwater_engine::model::{Delta, Progress, Regions};
use highwater_engine::operator::{Output, Route, Share, StateSize, TablesOperator};
use highwater_engine::rows::{KeyTable, PackedCodec};

use crate::join::Changes;
use crate::rows::{Loaded, Saved, all_nullable};

/// What becomes of the two counts of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetOperation {
    /// The lower count.
    IntersectAll,
    /// By how much the left count is the higher one.
    ExceptAll,
}

impl SetOperation {
    fn count(self, left: i64, right: i64) -> i64 {
        match self {
            SetOperation::IntersectAll => left.min(right).max(0),
            SetOperation::ExceptAll => (left - right.max(0)).max(0),
        }
    }
}

/// A set operation that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MultisetError {
    /// The columns of the two inputs do not pair up.
    #[error("the inputs of the set operation have columns {left:?} and {right:?}, which differ")]
    Columns {
        /// Types of the left columns.
        left: Vec<DataType>,
        /// Types of the right columns.
        right: Vec<DataType>,
    },
    /// The columns cannot be encoded.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for MultisetError {
    fn class(&self) -> Class {
        Class::INTERNAL
    }
}

/// How often a row is in each input: before the tick, and how that changes.
#[derive(Clone, Copy, Default)]
struct Counts {
    before: [i64; 2],
    change: [i64; 2],
    touched: bool,
}

impl Counts {
    fn after(&self) -> [i64; 2] {
        [self.before[0] + self.change[0], self.before[1] + self.change[1]]
    }
}

/// `INTERSECT ALL` or `EXCEPT ALL`. Inputs: left, right.
pub struct Multiset {
    name: String,
    operation: SetOperation,
    schema: SchemaRef,
    codec: PackedCodec,
    rows: KeyTable,
    regions: Regions,
    /// By row id.
    counts: Vec<Counts>,
    /// Rows of the tick, in the order of its changes.
    touched: Vec<u32>,
}

impl Multiset {
    /// An operation over nothing. `name` is that of its state, for messages.
    ///
    /// # Errors
    /// If the inputs have different types.
    pub fn new(
        name: &str,
        left: SchemaRef,
        right: &SchemaRef,
        operation: SetOperation,
    ) -> Result<Multiset, MultisetError> {
        let types = |schema: &SchemaRef| -> Vec<DataType> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        let (left_types, right_types) = (types(&left), types(right));
        if left_types != right_types {
            return Err(MultisetError::Columns { left: left_types, right: right_types });
        }
        let columns: Vec<usize> = (0..left.fields().len()).collect();
        let codec = PackedCodec::new(&all_nullable(&left), &columns)?;
        let rows = KeyTable::default();
        let regions = Regions::new(codec.schema());
        let (counts, touched) = (Vec::new(), Vec::new());
        Ok(Multiset { name: name.to_owned(), operation, schema: left, codec, rows, regions, counts, touched })
    }

    /// Columns of the output: those of the left input.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How rows of both inputs reach it: equal rows meet. Float columns must come with one zero.
    pub fn routes(&self) -> [Route; 2] {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let route = if columns.is_empty() { Route::First } else { Route::Key(columns) };
        [route.clone(), route]
    }

    fn enter(&mut self, side: usize, deltas: &[Delta]) {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let changes = Changes::gather(deltas, &columns, &[]);
        if changes.is_empty() {
            return;
        }
        let rows = self.codec.encode(&changes.keys, changes.len());
        let regions = self.regions.of(&changes.keys);
        for (row, diff) in changes.diffs.iter().enumerate().filter(|(_, diff)| **diff != 0) {
            self.count(side, regions.at(row), rows.row(row), *diff);
        }
    }

    fn count(&mut self, side: usize, region: i64, row: &[u8], diff: i64) {
        let id = self.rows.find_or_insert_in(region, row);
        if id as usize >= self.counts.len() {
            self.counts.resize(id as usize + 1, Counts::default());
        }
        let counts = &mut self.counts[id as usize];
        counts.change[side] += diff;
        if !counts.touched {
            counts.touched = true;
            self.touched.push(id);
        }
    }

    /// What the touched rows are now, against what they were.
    fn changes(&self) -> Option<Delta> {
        let (mut ids, mut diffs) = (Vec::new(), Vec::new());
        for id in &self.touched {
            let counts = &self.counts[*id as usize];
            let count = |[left, right]: [i64; 2]| self.operation.count(left, right);
            let diff = count(counts.after()) - count(counts.before);
            if diff != 0 {
                ids.push(*id);
                diffs.push(diff);
            }
        }
        let batch = (!ids.is_empty()).then(|| self.codec.decode(ids.iter().map(|id| self.rows.key(*id))))?;
        // What goes out is or was on the left.
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)
            .expect("the columns are those of the left input");
        Some(Delta::derived(batch, diffs))
    }

    fn settle(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let counts = &mut self.counts[id as usize];
            *counts = Counts { before: counts.after(), ..Counts::default() };
            if counts.before == [0, 0] {
                self.rows.remove(id);
            }
        }
    }

    fn shape(&self) -> String {
        let types: Vec<&DataType> = self.schema.fields().iter().map(|field| field.data_type()).collect();
        format!("counts in two relations of {types:?}")
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        let (rows, left, right) = (loaded.bytes("row")?, loaded.numbers("left")?, loaded.numbers("right")?);
        let (columns, packed) = self.codec.load(rows.iter().flatten());
        let regions = self.regions.of(columns.columns());
        for row in 0..batch.num_rows() {
            let owned = if self.schema.fields().is_empty() { share.index == 0 } else { share.owns(rows.value(row)) };
            let bytes = packed.row(row);
            if owned {
                self.count(0, regions.at(row), bytes, left.value(row));
                self.count(1, regions.at(row), bytes, right.value(row));
            }
        }
        self.settle();
        Ok(())
    }
}

impl TablesOperator for Multiset {
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, _progress: &Progress, output: &mut Output) {
        for (side, mut deltas) in inputs.into_iter().enumerate() {
            deltas.retain(|delta| !delta.is_empty());
            self.enter(side, &deltas);
        }
        output.deltas.extend(self.changes());
        self.settle();
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let ids = self.rows.ids();
        let keys: Vec<&[u8]> = ids.iter().map(|id| self.rows.key(*id)).collect();
        let mut rows = LargeBinaryBuilder::new();
        self.codec.save(&keys, &mut rows);
        let counts = |side: usize| ids.iter().map(move |id| self.counts[*id as usize].before[side]);
        let saved = Saved::new(&self.name, &self.shape())
            .binary("row", rows.finish())
            .numbers("left", counts(0))
            .numbers("right", counts(1));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.rows.clear();
        self.counts.clear();
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        let bytes = self.rows.bytes() + self.counts.capacity() * size_of::<Counts>();
        StateSize { entries: self.rows.len(), bytes }
    }
}
