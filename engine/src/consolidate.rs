//! Bringing the deltas of one tick into canonical form: no two changes that cancel, one order.

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use crate::model::{Delta, Diffs, Origin};

/// Consolidates the deltas of one tick into at most one delta.
///
/// Equal rows are added up and rows with a zero change are dropped. The order is: key columns (if
/// there are any), retractions before insertions, whole row; so the result has the same bytes however
/// the rows were spread over deltas and workers. O(n log n) in the number of rows.
pub struct Consolidator {
    schema: SchemaRef,
    key_len: usize,
    /// Column order of the sort: keys first.
    order: Vec<usize>,
    converter: RowConverter,
    key_converter: Option<RowConverter>,
}

impl std::fmt::Debug for Consolidator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consolidator").field("order", &self.order).finish_non_exhaustive()
    }
}

impl Consolidator {
    /// For rows of this schema, sorted by `key` first.
    pub fn new(schema: SchemaRef, key: Option<&[usize]>) -> Result<Consolidator, ArrowError> {
        let key = key.unwrap_or(&[]);
        let rest = (0..schema.fields().len()).filter(|index| !key.contains(index));
        let order: Vec<usize> = key.iter().copied().chain(rest).collect();
        let sort_field = |index: &usize| SortField::new(schema.field(*index).data_type().clone());
        let converter = RowConverter::new(order.iter().map(sort_field).collect())?;
        let key_converter =
            if key.is_empty() { None } else { Some(RowConverter::new(key.iter().map(sort_field).collect())?) };
        Ok(Consolidator { schema, key_len: key.len(), order, converter, key_converter })
    }

    /// The consolidated changes, or `None` if everything cancels.
    pub fn consolidate(&self, deltas: &[Delta]) -> Result<Option<Delta>, ArrowError> {
        let deltas: Vec<&Delta> = deltas.iter().filter(|delta| !delta.is_empty()).collect();
        if deltas.is_empty() {
            return Ok(None);
        }
        let batch = if deltas.len() == 1 {
            deltas[0].batch.clone()
        } else {
            concat_batches(&self.schema, deltas.iter().map(|delta| &delta.batch))?
        };
        let mut diffs: Vec<i64> = Vec::with_capacity(batch.num_rows());
        for delta in &deltas {
            diffs.extend((0..delta.len()).map(|row| delta.diffs.at(row)));
        }
        let columns: Vec<_> = self.order.iter().map(|index| batch.column(*index).clone()).collect();
        let rows = self.converter.convert_columns(&columns)?;
        let count = u32::try_from(batch.num_rows()).map_err(|_| {
            ArrowError::ComputeError("more than 2^32 changed rows in one tick; use fewer blocks a tick".to_owned())
        })?;
        let mut sorted: Vec<u32> = (0..count).collect();
        sorted.sort_unstable_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));

        let mut kept: Vec<(u32, i64)> = Vec::with_capacity(sorted.len());
        for index in sorted {
            let diff = diffs[index as usize];
            match kept.last_mut() {
                Some((last, sum)) if rows.row(*last as usize) == rows.row(index as usize) => *sum += diff,
                _ => kept.push((index, diff)),
            }
        }
        kept.retain(|(_, diff)| *diff != 0);
        if kept.is_empty() {
            return Ok(None);
        }
        self.retractions_first(&columns, &mut kept)?;

        let indices = UInt32Array::from_iter_values(kept.iter().map(|(index, _)| *index));
        let batch = take_record_batch(&batch, &indices)?;
        let diffs = kept.iter().map(|(_, diff)| *diff).collect::<Vec<_>>();
        let origin = if deltas.iter().all(|delta| delta.origin == deltas[0].origin) {
            deltas[0].origin
        } else {
            Origin::Derived
        };
        Ok(Some(Delta { batch, diffs: Diffs::Rows(diffs.into()), origin }))
    }

    /// Within one key, retractions first; without keys, all retractions first.
    fn retractions_first(&self, columns: &[ArrayRef], kept: &mut [(u32, i64)]) -> Result<(), ArrowError> {
        let Some(key_converter) = &self.key_converter else {
            kept.sort_by_key(|(_, diff)| *diff > 0);
            return Ok(());
        };
        let keys = key_converter.convert_columns(&columns[..self.key_len])?;
        let mut start = 0;
        while start < kept.len() {
            let key = keys.row(kept[start].0 as usize);
            let len = kept[start..].iter().take_while(|(index, _)| keys.row(*index as usize) == key).count();
            kept[start..start + len].sort_by_key(|(_, diff)| *diff > 0);
            start += len;
        }
        Ok(())
    }
}

/// The change column of a consolidated delta.
pub fn diff_column(delta: &Delta) -> Int64Array {
    delta.diffs.to_array(delta.len())
}
