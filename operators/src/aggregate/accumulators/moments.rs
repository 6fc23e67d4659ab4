//! Variance and standard deviation of integers: exact moments, one division.

use std::sync::Arc;

use alloy_primitives::U256;
use arrow::array::{ArrayRef, AsArray as _, Float64Array};
use arrow::datatypes::Int64Type;

use super::integer::as_i64;
use super::wide::{Wide, magnitude_to_f64};
use super::{Accumulator, Failures, Rows};
use crate::aggregate::AggregateFunction;
use crate::codec::{Decoder, Encode as _, Truncated};

#[derive(Clone, Copy, Default)]
struct Moments {
    sum: i128,
    squares: Wide,
    count: i64,
}

impl Moments {
    /// The sum of squared distances from the mean, times the count; exact before the one rounding:
    /// `count * Σx² - (Σx)²` is below 2^253.
    fn scaled_spread(&self) -> f64 {
        let squares = self.squares.to_u256().unwrap_or_default();
        let sum = U256::from(self.sum.unsigned_abs());
        let spread = squares.wrapping_mul(U256::from(self.count.unsigned_abs())).wrapping_sub(sum.wrapping_mul(sum));
        magnitude_to_f64(spread.as_limbs())
    }
}

/// Sums integers and their squares.
pub(super) struct IntegerMoments {
    function: AggregateFunction,
    moments: Vec<Moments>,
}

impl IntegerMoments {
    pub(super) fn new(function: AggregateFunction) -> IntegerMoments {
        IntegerMoments { function, moments: Vec::new() }
    }
}

/// The result of a function from its variance, given the divisor (`n` or `n - 1`).
pub(super) fn finish_moments(
    function: AggregateFunction,
    count: i64,
    variance: impl FnOnce(f64) -> f64,
) -> Option<f64> {
    use AggregateFunction as F;
    let divisor = if matches!(function, F::VarSamp | F::StddevSamp) { count - 1 } else { count };
    if divisor < 1 {
        return None;
    }
    let variance = variance(divisor as f64);
    Some(if matches!(function, F::StddevPop | F::StddevSamp) { variance.sqrt() } else { variance })
}

impl Accumulator for IntegerMoments {
    fn resize(&mut self, slots: usize) {
        self.moments.resize(slots, Moments::default());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let argument = as_i64(rows.argument());
        let values: &[i64] = argument.as_primitive::<Int64Type>().values();
        let moments = self.moments.as_mut_slice();
        rows.each(|row, group, diff| {
            let (value, moments) = (i128::from(values[row]), &mut moments[group]);
            moments.sum += value * i128::from(diff);
            moments.squares.add(Wide::from_i128(value * value), diff);
            moments.count += diff;
        });
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        let result = |group: &u32| {
            let moments = &self.moments[*group as usize];
            finish_moments(self.function, moments.count, |divisor| {
                moments.scaled_spread() / (moments.count as f64 * divisor)
            })
        };
        Arc::new(groups.iter().map(result).collect::<Float64Array>())
    }

    fn reset(&mut self, group: u32) {
        self.moments[group as usize] = Moments::default();
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let moments = &self.moments[*group as usize];
            let mut bytes = Vec::with_capacity(64);
            bytes.put_i128(moments.sum);
            moments.squares.save(&mut bytes);
            bytes.put_i64(moments.count);
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        self.moments[group as usize] = Moments { sum: state.i128()?, squares: Wide::load(state)?, count: state.i64()? };
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.moments.capacity() * size_of::<Moments>()
    }
}
