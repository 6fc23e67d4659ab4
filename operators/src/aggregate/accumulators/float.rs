//! `sum`, `avg`, variance and standard deviation of floats, through exact sums.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use highwater_engine::model::wide::{Wide as WideKind, int256_from_bytes, uint256_from_bytes};

use super::exact_float::ExactFloat;
use super::moments::finish_moments;
use super::spread::spread;
use super::wide::Wide;
use super::{Accumulator, Failures, Rows};
use crate::aggregate::AggregateFunction;
use crate::codec::{Decoder, Encode as _, Truncated};

#[derive(Clone, Default)]
struct Sum {
    sum: ExactFloat,
    count: i64,
}

/// Adds floats.
pub(super) struct FloatSum {
    average: bool,
    sums: Vec<Sum>,
}

impl FloatSum {
    pub(super) fn new(average: bool) -> FloatSum {
        FloatSum { average, sums: Vec::new() }
    }
}

/// One NaN instead of the many that processors make, so that equal results have equal bytes.
pub(super) fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// Any number column as doubles.
pub(super) fn as_f64(argument: &ArrayRef, wide: Option<WideKind>) -> ArrayRef {
    let doubles = |value: fn(&[u8]) -> f64| -> ArrayRef {
        let bytes = argument.as_fixed_size_binary();
        Arc::new(bytes.iter().map(|bytes| bytes.map(value)).collect::<Float64Array>())
    };
    match wide {
        Some(WideKind::Unsigned) => doubles(|bytes| Wide::from_u256(uint256_from_bytes(bytes)).to_f64()),
        Some(WideKind::Signed) => doubles(|bytes| Wide::from_i256(int256_from_bytes(bytes)).to_f64()),
        None if argument.data_type() == &DataType::Float64 => argument.clone(),
        None => cast(argument, &DataType::Float64).expect("every number has a nearest double"),
    }
}

impl Accumulator for FloatSum {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, Sum::default());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let argument = as_f64(rows.argument(), None);
        let values: &[f64] = argument.as_primitive::<Float64Type>().values();
        let sums = self.sums.as_mut_slice();
        rows.each(|row, group, diff| {
            let sum = &mut sums[group];
            sum.sum.add(values[row], diff);
            sum.count += diff;
        });
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        let result = |group: &u32| {
            let sum = &self.sums[*group as usize];
            let divisor = if self.average { sum.count as f64 } else { 1.0 };
            (sum.count != 0).then(|| canonical(sum.sum.value() / divisor))
        };
        Arc::new(groups.iter().map(result).collect::<Float64Array>())
    }

    fn reset(&mut self, group: u32) {
        self.sums[group as usize] = Sum::default();
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let sum = &self.sums[*group as usize];
            let mut bytes = Vec::new();
            sum.sum.save(&mut bytes);
            bytes.put_i64(sum.count);
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        self.sums[group as usize] = Sum { sum: ExactFloat::load(state)?, count: state.i64()? };
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<Sum>() + self.sums.iter().map(|sum| sum.sum.heap_bytes()).sum::<usize>()
    }
}

#[derive(Clone, Default)]
struct Moments {
    sum: ExactFloat,
    squares: ExactFloat,
    count: i64,
}

/// Variance and standard deviation from the exact sums of values and of their squares, so that nothing
/// is lost where values are large and differ little.
pub(super) struct FloatMoments {
    function: AggregateFunction,
    wide: Option<WideKind>,
    moments: Vec<Moments>,
}

impl FloatMoments {
    pub(super) fn new(function: AggregateFunction, wide: Option<WideKind>) -> FloatMoments {
        FloatMoments { function, wide, moments: Vec::new() }
    }
}

impl Accumulator for FloatMoments {
    fn resize(&mut self, slots: usize) {
        self.moments.resize(slots, Moments::default());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let argument = as_f64(rows.argument(), self.wide);
        let values: &[f64] = argument.as_primitive::<Float64Type>().values();
        let moments = self.moments.as_mut_slice();
        rows.each(|row, group, diff| {
            let moments = &mut moments[group];
            moments.sum.add(values[row], diff);
            moments.squares.add_product(values[row], values[row], diff);
            moments.count += diff;
        });
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        let result = |group: &u32| {
            let Moments { sum, squares, count } = &self.moments[*group as usize];
            finish_moments(self.function, *count, |divisor| {
                let spread = spread(*count, squares, sum, sum);
                // Squares below the least double may leave a little less than nothing.
                if spread <= 0.0 { 0.0 } else { spread / divisor }
            })
            .map(canonical)
        };
        Arc::new(groups.iter().map(result).collect::<Float64Array>())
    }

    fn reset(&mut self, group: u32) {
        self.moments[group as usize] = Moments::default();
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let moments = &self.moments[*group as usize];
            let mut bytes = Vec::new();
            moments.sum.save(&mut bytes);
            moments.squares.save(&mut bytes);
            bytes.put_i64(moments.count);
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        self.moments[group as usize] =
            Moments { sum: ExactFloat::load(state)?, squares: ExactFloat::load(state)?, count: state.i64()? };
        Ok(())
    }

    fn bytes(&self) -> usize {
        let heap = |moments: &Moments| moments.sum.heap_bytes() + moments.squares.heap_bytes();
        self.moments.capacity() * size_of::<Moments>() + self.moments.iter().map(heap).sum::<usize>()
    }
}
