//! `count(DISTINCT x)`: how often each value of a group occurs, and how many occur at all.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::Field;
use arrow::row::{RowConverter, SortField};

use super::{Accumulator, Failures, Rows};
use crate::aggregate::AggregateError;
use crate::aggregate::table::KeyTable;
use crate::codec::{Decoder, Encode as _, Truncated};

const GROUP_BYTES: usize = size_of::<u32>();

/// Counts values that occur.
///
/// State: one entry for each live (group, value).
pub(super) struct CountDistinct {
    converter: RowConverter,
    /// Keys are the group and the row bytes of the value.
    values: KeyTable,
    occurrences: Vec<i64>,
    distinct: Vec<i64>,
    key: Vec<u8>,
}

impl CountDistinct {
    pub(super) fn new(field: &Field) -> Result<CountDistinct, AggregateError> {
        let converter = RowConverter::new(vec![SortField::new(field.data_type().clone())])?;
        Ok(CountDistinct {
            converter,
            values: KeyTable::new(None),
            occurrences: Vec::new(),
            distinct: Vec::new(),
            key: Vec::new(),
        })
    }

    fn add(&mut self, group: usize, value: &[u8], diff: i64) {
        let group_id = u32::try_from(group).expect("groups are numbered with 32 bits");
        self.key.clear();
        self.key.extend_from_slice(&group_id.to_be_bytes());
        self.key.extend_from_slice(value);
        let id = self.values.find_or_insert(&self.key);
        if self.occurrences.len() < self.values.slots() {
            self.occurrences.push(0);
        }
        let occurrences = &mut self.occurrences[id as usize];
        let before = *occurrences;
        *occurrences += diff;
        // Within a tick a count may be negative for a moment: changes have no order.
        self.distinct[group] += i64::from(*occurrences > 0) - i64::from(before > 0);
        if *occurrences == 0 {
            self.values.remove(id);
        }
    }
}

impl Accumulator for CountDistinct {
    fn resize(&mut self, slots: usize) {
        self.distinct.resize(slots, 0);
        if slots == 0 {
            self.values.clear();
            self.occurrences.clear();
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let encoded = self
            .converter
            .convert_columns(std::slice::from_ref(rows.argument()))
            .expect("the argument has the type the converter was made for");
        rows.each(|row, group, diff| self.add(group, encoded.row(row).data(), diff));
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| self.distinct[*group as usize])))
    }

    fn reset(&mut self, group: u32) {
        // Values go with their last row; a group without rows has none.
        self.distinct[group as usize] = 0;
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let mut saved: Vec<Vec<u8>> = vec![Vec::new(); self.distinct.len()];
        let mut entries: Vec<(&[u8], i64)> =
            self.values.ids().iter().map(|id| (self.values.key(*id), self.occurrences[*id as usize])).collect();
        entries.sort_unstable();
        for (key, occurrences) in entries {
            let (group, value) = key.split_first_chunk::<GROUP_BYTES>().expect("keys start with their group");
            let bytes = &mut saved[u32::from_be_bytes(*group) as usize];
            bytes.put_bytes(value);
            bytes.put_i64(occurrences);
        }
        groups.iter().map(|group| std::mem::take(&mut saved[*group as usize])).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        while !state.0.is_empty() {
            let value = state.bytes()?;
            let occurrences = state.i64()?;
            self.add(group as usize, value, occurrences);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.values.bytes() + (self.occurrences.capacity() + self.distinct.capacity()) * 8
    }
}
