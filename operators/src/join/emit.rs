//! Rows of the output from rows of the tick and rows that are kept.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_engine::model::{Delta, Diffs, Origin, error_delta, format};
use highwater_engine::operator::Output;
use highwater_engine::rows::PackedCodec;

use super::changes::Changes;
use super::spec::{Columns, Shown};
use super::state::Side;
use crate::broadcast_join::taken;

/// Rows of up to so many bytes are decoded as often as they are there.
const SHORT: usize = 24;

/// Rows of one side in the order of the output.
pub(super) enum Rows<'a> {
    /// Of the tick's changes, and which rows of them.
    Changed(&'a Changes, Vec<u32>),
    /// Decoded, and which rows of them; `None`: all.
    Stored(Vec<ArrayRef>, Option<Vec<u32>>),
    /// No row: NULLs.
    Missing,
}

impl Rows<'_> {
    /// Kept rows, each decoded once however often it is there; short ones are decoded sooner than told apart. `places`
    /// is all zeros, before and after.
    pub(super) fn stored(side: &Side, codec: &PackedCodec, ids: &[u32], places: &mut Vec<u32>) -> Rows<'static> {
        if codec.schema().fields().is_empty() {
            return Rows::Stored(Vec::new(), None);
        }
        if codec.fixed_width().is_some_and(|width| width <= SHORT) {
            let batch = codec.decode(ids.iter().map(|id| side.bytes_of(*id)));
            return Rows::Stored(batch.columns().to_vec(), None);
        }
        places.resize(places.len().max(side.slots()), 0);
        let (mut distinct, mut index) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        for id in ids {
            let place = &mut places[*id as usize];
            if *place == 0 {
                distinct.push(*id);
                *place = u32::try_from(distinct.len()).expect("pairs are taken a few thousand at a time");
            }
            index.push(*place - 1);
        }
        distinct.iter().for_each(|id| places[*id as usize] = 0);
        let batch = codec.decode(distinct.iter().map(|id| side.bytes_of(*id)));
        let each_once = distinct.len() == ids.len();
        Rows::Stored(batch.columns().to_vec(), (!each_once).then_some(index))
    }

    fn column(&self, place: usize, data_type: &DataType, len: usize) -> ArrayRef {
        match self {
            Rows::Changed(changes, rows) => picked(&changes.columns[place], rows),
            Rows::Stored(columns, Some(rows)) => picked(&columns[place], rows),
            Rows::Stored(columns, None) => columns[place].clone(),
            Rows::Missing => new_null_array(data_type, len),
        }
    }

    /// Keeps the rows with a true flag.
    pub(super) fn retain(&mut self, keep: &[bool]) {
        let all = || (0_u32..).zip(keep).filter(|(_, keep)| **keep).map(|(row, _)| row).collect();
        match self {
            Rows::Stored(_, rows @ None) => *rows = Some(all()),
            Rows::Changed(_, rows) | Rows::Stored(_, Some(rows)) => {
                let mut flags = keep.iter();
                rows.retain(|_| *flags.next().expect("a flag for each row"));
            }
            Rows::Missing => {}
        }
    }
}

fn picked(column: &ArrayRef, rows: &[u32]) -> ArrayRef {
    let whole = column.len() == rows.len() && rows.iter().enumerate().all(|(at, row)| at == *row as usize);
    if whole { column.clone() } else { taken(column, &UInt32Array::from(rows.to_vec())) }
}

/// A column of rows of both sides; the mark is not one.
fn shown(shown: Shown, rows: &[Rows<'_>; 2], data_type: &DataType, len: usize) -> Option<ArrayRef> {
    match shown {
        Shown::Kept(side, place) => Some(rows[side].column(place, data_type, len)),
        Shown::Key(side, _) if matches!(rows[side], Rows::Missing) => Some(new_null_array(data_type, len)),
        Shown::Key(_, key) => rows.iter().find_map(|rows| match rows {
            Rows::Changed(changes, rows) => Some(picked(&changes.keys[key], rows)),
            Rows::Stored(..) | Rows::Missing => None,
        }),
        Shown::Mark => None,
    }
}

/// Where the rows of one tick, or of one block of it, go.
pub(super) struct Emission<'a> {
    pub(super) columns: &'a Columns,
    pub(super) origin: Origin,
    pub(super) output: &'a mut Output,
}

impl Emission<'_> {
    /// Rows of both sides with a change for each; `marks` for a join that shows them.
    pub(super) fn rows(&mut self, rows: &[Rows<'_>; 2], marks: Option<Vec<bool>>, diffs: Vec<i64>) {
        let len = diffs.len();
        if len == 0 {
            return;
        }
        let schema = &self.columns.output_schema;
        let marks: ArrayRef = Arc::new(BooleanArray::from(marks.unwrap_or_default()));
        let column = |(of, field): (&Shown, &Arc<arrow::datatypes::Field>)| {
            shown(*of, rows, field.data_type(), len).unwrap_or_else(|| marks.clone())
        };
        let arrays = self.columns.output.iter().zip(schema.fields()).map(column).collect();
        let batch = batch(schema, arrays, len);
        let uniform = diffs.iter().all(|diff| *diff == diffs[0]);
        match self.origin {
            _ if uniform => self.push(batch, Diffs::Uniform(diffs[0])),
            // A reverted block and the one in its place stay apart.
            Origin::Block(_) => {
                for added in [false, true] {
                    let kept: Vec<i64> = diffs.iter().copied().filter(|diff| (*diff > 0) == added).collect();
                    let mask = diffs.iter().map(|diff| (*diff > 0) == added).collect::<Vec<_>>().into();
                    let batch = filter_record_batch(&batch, &mask).expect("a flag for each row");
                    self.push(batch, Diffs::Rows(kept.into()));
                }
            }
            Origin::Derived => self.push(batch, Diffs::Rows(diffs.into())),
        }
    }

    fn push(&mut self, batch: RecordBatch, diffs: Diffs) {
        if batch.num_rows() > 0 {
            self.output.deltas.push(Delta { batch, diffs, origin: self.origin });
        }
    }

    /// What a condition is given of these pairs.
    pub(super) fn pairs(&self, rows: &[Rows<'_>; 2], len: usize) -> RecordBatch {
        let schema = &self.columns.pairs_schema;
        let column = |(of, field): (&Shown, &Arc<arrow::datatypes::Field>)| {
            shown(*of, rows, field.data_type(), len).expect("of two rows that meet one has changed")
        };
        batch(schema, self.columns.pairs.iter().zip(schema.fields()).map(column).collect(), len)
    }

    /// Pairs that could not be evaluated.
    pub(super) fn errors(&mut self, pairs: &RecordBatch, errors: Vec<(usize, String)>, diffs: &[i64]) {
        let errors: Vec<(usize, String)> = errors.into_iter().filter(|(row, _)| diffs[*row] != 0).collect();
        if errors.is_empty() {
            return;
        }
        let changes = errors.iter().map(|(row, _)| diffs[*row]).collect();
        let text = |(row, reason): (usize, String)| {
            let mut text = String::new();
            format::write_json_row(&mut text, pairs, row);
            (reason, text)
        };
        let rows: Vec<(String, String)> = errors.into_iter().map(text).collect();
        self.output.errors.push(error_delta(&rows, changes, self.origin));
    }
}

fn batch(schema: &SchemaRef, arrays: Vec<ArrayRef>, len: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(len));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options).expect("the columns are those of the schema")
}
