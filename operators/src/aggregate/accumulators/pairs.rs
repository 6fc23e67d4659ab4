//! `covar_*`, `corr` and `regr_*`: statistics of pairs `(y, x)`, with PostgreSQL's rules for what is NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::Field;
use highwater_engine::model::wide::{Wide as WideKind, wide_kind};

use super::float::canonical;
use super::pair_sums::{PairSums, Spreads};
use super::{Accumulator, Failures, Rows};
use crate::aggregate::AggregateFunction;
use crate::codec::{Decoder, Truncated};

/// Sums pairs.
pub(super) struct Pairs<S> {
    function: AggregateFunction,
    wides: [Option<WideKind>; 2],
    sums: Vec<S>,
}

impl<S: PairSums> Pairs<S> {
    /// `arguments` are y and x.
    pub(super) fn new(function: AggregateFunction, arguments: &[&Field]) -> Pairs<S> {
        let wide = |index: usize| arguments.get(index).and_then(|field| wide_kind(field));
        Pairs { function, wides: [wide(0), wide(1)], sums: Vec::new() }
    }
}

fn result(function: AggregateFunction, spreads: &Spreads) -> Option<f64> {
    use AggregateFunction as F;
    let Spreads { count, sum_x, sum_y, xx, yy, xy } = *spreads;
    if count < 1 {
        return None;
    }
    let rows = count as f64;
    match function {
        F::CovarPop => Some(xy / rows),
        F::CovarSamp => (count > 1).then(|| xy / (count - 1) as f64),
        F::Corr => (xx != 0.0 && yy != 0.0).then(|| correlation(xx, yy, xy)),
        F::RegrAvgX => Some(sum_x / rows),
        F::RegrAvgY => Some(sum_y / rows),
        F::RegrSxx => Some(xx),
        F::RegrSyy => Some(yy),
        F::RegrSxy => Some(xy),
        F::RegrSlope => (xx != 0.0).then(|| xy / xx),
        F::RegrIntercept => (xx != 0.0).then(|| (sum_y - sum_x * (xy / xx)) / rows),
        F::RegrR2 if xx == 0.0 => None,
        F::RegrR2 if yy == 0.0 => Some(1.0),
        F::RegrR2 => Some(correlation(xx, yy, xy).powi(2)),
        _ => unreachable!("only functions of pairs are built with this accumulator"),
    }
}

fn correlation(xx: f64, yy: f64, xy: f64) -> f64 {
    let product = xx * yy;
    // One root of the product is closer, unless the product leaves the doubles.
    let scale = if product.is_normal() { product.sqrt() } else { xx.sqrt() * yy.sqrt() };
    // Rounding may go a little beyond; NaN stays NaN.
    (xy / scale).clamp(-1.0, 1.0)
}

impl<S: PairSums> Accumulator for Pairs<S> {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, S::default());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let [y, x] = rows.arguments else { unreachable!("the function was built with two arguments") };
        let (y, x) = (S::open(y, self.wides[0]), S::open(x, self.wides[1]));
        let sums = self.sums.as_mut_slice();
        rows.each(|row, group, diff| sums[group].add(x[row], y[row], diff));
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        let result = |group: &u32| result(self.function, &self.sums[*group as usize].spreads()).map(canonical);
        Arc::new(groups.iter().map(result).collect::<Float64Array>())
    }

    fn reset(&mut self, group: u32) {
        self.sums[group as usize] = S::default();
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let mut bytes = Vec::new();
            self.sums[*group as usize].save(&mut bytes);
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        self.sums[group as usize] = S::load(state)?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<S>() + self.sums.iter().map(S::heap_bytes).sum::<usize>()
    }
}
