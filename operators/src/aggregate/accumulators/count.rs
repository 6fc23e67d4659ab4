//! `count(*)` and `count(x)`: a signed number.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::{Accumulator, Failures, Rows};
use crate::codec::{Decoder, Encode as _, Truncated};

/// Counts rows.
#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn resize(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let counts = self.counts.as_mut_slice();
        rows.each(|_, group, diff| counts[group] += diff);
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| self.counts[*group as usize])))
    }

    fn reset(&mut self, group: u32) {
        self.counts[group as usize] = 0;
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        groups.iter().map(|group| self.counts[*group as usize].to_le_bytes().to_vec()).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        self.counts[group as usize] = state.i64()?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}

/// Saves pairs of numbers.
pub(super) fn save_pairs(groups: &[u32], pair: impl Fn(usize) -> (i128, i64)) -> Vec<Vec<u8>> {
    let save = |group: &u32| {
        let (first, second) = pair(*group as usize);
        let mut bytes = Vec::with_capacity(24);
        bytes.put_i128(first);
        bytes.put_i64(second);
        bytes
    };
    groups.iter().map(save).collect()
}
