//! `sum(x)` and `avg(x)` of integers up to 64 bits: an exact 128-bit sum.
//!
//! The sum of 2^63 values of 63 bits stays below 10^38, so `Decimal128(38, 0)` always holds it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Decimal128Array, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use super::count::save_pairs;
use super::{Accumulator, Failures, Rows};
use crate::codec::{Decoder, Truncated};

#[derive(Clone, Copy, Default)]
struct Sum {
    sum: i128,
    count: i64,
}

/// Adds integers.
pub(super) struct IntegerSum {
    average: bool,
    sums: Vec<Sum>,
}

impl IntegerSum {
    pub(super) fn new(average: bool) -> IntegerSum {
        IntegerSum { average, sums: Vec::new() }
    }
}

/// The argument as 64-bit integers.
pub(super) fn as_i64(argument: &ArrayRef) -> ArrayRef {
    if argument.data_type() == &DataType::Int64 {
        return argument.clone();
    }
    cast(argument, &DataType::Int64).expect("integers of fewer bits are 64-bit integers")
}

impl Accumulator for IntegerSum {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, Sum::default());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let argument = as_i64(rows.argument());
        let values: &[i64] = argument.as_primitive::<Int64Type>().values();
        let sums = self.sums.as_mut_slice();
        rows.each(|row, group, diff| {
            let sum = &mut sums[group];
            sum.sum += i128::from(values[row]) * i128::from(diff);
            sum.count += diff;
        });
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        let sums = groups.iter().map(|group| &self.sums[*group as usize]);
        if self.average {
            let averages: Vec<f64> = sums.clone().map(|sum| sum.sum as f64 / sum.count as f64).collect();
            return Arc::new(Float64Array::new(averages.into(), nulls(sums.map(|sum| sum.count))));
        }
        let values: Vec<i128> = sums.clone().map(|sum| sum.sum).collect();
        let array = Decimal128Array::new(values.into(), nulls(sums.map(|sum| sum.count)));
        Arc::new(array.with_precision_and_scale(38, 0).expect("38 digits without fraction are a decimal type"))
    }

    fn reset(&mut self, group: u32) {
        self.sums[group as usize] = Sum::default();
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        save_pairs(groups, |group| (self.sums[group].sum, self.sums[group].count))
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        self.sums[group as usize] = Sum { sum: state.i128()?, count: state.i64()? };
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<Sum>()
    }
}

/// NULL where nothing was counted.
pub(super) fn nulls(counts: impl Iterator<Item = i64> + Clone) -> Option<NullBuffer> {
    if counts.clone().all(|count| count != 0) {
        return None;
    }
    Some(counts.map(|count| count != 0).collect())
}
