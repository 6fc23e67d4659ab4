//! How often each value of a group occurs.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use crate::codec::{Decoder, Encode as _, Truncated};
use highwater_engine::rows::KeyTable;

const GROUP_BYTES: usize = size_of::<u32>();

/// Counts of (group, value).
///
/// State: one entry for each live (group, value).
pub(super) struct Occurrences {
    /// Keys are the group and the row bytes of the value.
    values: KeyTable,
    counts: Vec<i64>,
    key: Vec<u8>,
}

impl Occurrences {
    pub(super) fn new() -> Occurrences {
        Occurrences { values: KeyTable::default(), counts: Vec::new(), key: Vec::new() }
    }

    /// Adds to the rows of a group with this value. Gives 1 if the value has come to occur, -1 if it
    /// has ceased to.
    pub(super) fn add(&mut self, group: usize, value: &[u8], diff: i64) -> i64 {
        let group = u32::try_from(group).expect("groups are numbered with 32 bits");
        self.key.clear();
        self.key.extend_from_slice(&group.to_be_bytes());
        self.key.extend_from_slice(value);
        let id = self.values.find_or_insert(&self.key);
        if self.counts.len() < self.values.slots() {
            self.counts.push(0);
        }
        let count = &mut self.counts[id as usize];
        let before = *count;
        *count += diff;
        // Within a tick a count may be negative for a moment: changes have no order.
        let change = i64::from(*count > 0) - i64::from(before > 0);
        if *count == 0 {
            self.values.remove(id);
        }
        change
    }

    /// Forgets everything, keeping memory.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.counts.clear();
    }

    /// The values of these groups, in order, with their counts.
    pub(super) fn save(&self, groups: &[u32], slots: usize) -> Vec<Vec<u8>> {
        let mut saved: Vec<Vec<u8>> = vec![Vec::new(); slots];
        let mut entries: Vec<(&[u8], i64)> =
            self.values.ids().iter().map(|id| (self.values.key(*id), self.counts[*id as usize])).collect();
        entries.sort_unstable();
        for (key, count) in entries {
            let (group, value) = key.split_first_chunk::<GROUP_BYTES>().expect("keys start with their group");
            let bytes = &mut saved[u32::from_be_bytes(*group) as usize];
            bytes.put_bytes(value);
            bytes.put_i64(count);
        }
        groups.iter().map(|group| std::mem::take(&mut saved[*group as usize])).collect()
    }

    /// Puts back the values of a group, and shows those that occur.
    pub(super) fn load<'a>(
        &mut self,
        group: u32,
        state: &mut Decoder<'a>,
        mut visit: impl FnMut(&'a [u8]),
    ) -> Result<(), Truncated> {
        while !state.0.is_empty() {
            let value = state.bytes()?;
            if self.add(group as usize, value, state.i64()?) > 0 {
                visit(value);
            }
        }
        Ok(())
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes() + self.counts.capacity() * 8
    }
}

/// The column with equal values as equal bytes: one zero and one NaN, as SQL compares them.
pub(super) fn normalized(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one) as Float64Array)
        }
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(one) as Float32Array)
        }
        _ => column.clone(),
    }
}
