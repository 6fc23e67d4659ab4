//! Exact sums over pairs of numbers, of which covariance, correlation and regression are made.

use arrow::array::{ArrayRef, AsArray as _};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Float64Type, Int64Type};
use highwater_engine::model::wide::Wide as WideKind;

use super::exact_float::ExactFloat;
use super::float::as_f64;
use super::integer::as_i64;
use super::spread::spread;
use super::wide::Wide;
use crate::codec::{Decoder, Encode as _, Truncated};

/// What the results are made of; each number is within two roundings of the exact one.
pub(super) struct Spreads {
    pub(super) count: i64,
    pub(super) sum_x: f64,
    pub(super) sum_y: f64,
    /// Σ(x - mean x)²
    pub(super) xx: f64,
    /// Σ(y - mean y)²
    pub(super) yy: f64,
    /// Σ(x - mean x)(y - mean y)
    pub(super) xy: f64,
}

/// The sums of one group.
pub(super) trait PairSums: Default + Clone {
    /// The numbers that are added.
    type Number: arrow::datatypes::ArrowNativeType;

    /// A column as such numbers.
    fn open(column: &ArrayRef, wide: Option<WideKind>) -> ScalarBuffer<Self::Number>;
    fn add(&mut self, x: Self::Number, y: Self::Number, times: i64);
    fn spreads(&self) -> Spreads;
    fn save(&self, bytes: &mut Vec<u8>);
    fn load(state: &mut Decoder<'_>) -> Result<Self, Truncated>;
    fn heap_bytes(&self) -> usize;
}

/// Of integers up to 64 bits: nothing is rounded before the results are.
#[derive(Clone, Copy, Default)]
pub(super) struct IntegerPairSums {
    count: i64,
    x: i128,
    y: i128,
    xx: Wide,
    yy: Wide,
    xy: Wide,
}

impl PairSums for IntegerPairSums {
    type Number = i64;

    fn open(column: &ArrayRef, _: Option<WideKind>) -> ScalarBuffer<i64> {
        as_i64(column).as_primitive::<Int64Type>().values().clone()
    }

    fn add(&mut self, x: i64, y: i64, times: i64) {
        let (x, y) = (i128::from(x), i128::from(y));
        self.count += times;
        self.x += x * i128::from(times);
        self.y += y * i128::from(times);
        self.xx.add(Wide::from_i128(x * x), times);
        self.yy.add(Wide::from_i128(y * y), times);
        self.xy.add(Wide::from_i128(x * y), times);
    }

    fn spreads(&self) -> Spreads {
        let spread =
            |products: &Wide, left, right| products.scaled_spread(self.count, left, right).to_f64() / self.count as f64;
        Spreads {
            count: self.count,
            sum_x: self.x as f64,
            sum_y: self.y as f64,
            xx: spread(&self.xx, self.x, self.x),
            yy: spread(&self.yy, self.y, self.y),
            xy: spread(&self.xy, self.x, self.y),
        }
    }

    fn save(&self, bytes: &mut Vec<u8>) {
        bytes.put_i64(self.count);
        bytes.put_i128(self.x);
        bytes.put_i128(self.y);
        [self.xx, self.yy, self.xy].iter().for_each(|sum| sum.save(bytes));
    }

    fn load(state: &mut Decoder<'_>) -> Result<IntegerPairSums, Truncated> {
        Ok(IntegerPairSums {
            count: state.i64()?,
            x: state.i128()?,
            y: state.i128()?,
            xx: Wide::load(state)?,
            yy: Wide::load(state)?,
            xy: Wide::load(state)?,
        })
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Of other numbers, each as the nearest double: the sums of the doubles and of their products are exact
/// ([`ExactFloat::add_product`] says within which limits).
#[derive(Clone, Default)]
pub(super) struct FloatPairSums {
    count: i64,
    x: ExactFloat,
    y: ExactFloat,
    xx: ExactFloat,
    yy: ExactFloat,
    xy: ExactFloat,
}

impl FloatPairSums {
    fn sums(&self) -> [&ExactFloat; 5] {
        [&self.x, &self.y, &self.xx, &self.yy, &self.xy]
    }
}

impl PairSums for FloatPairSums {
    type Number = f64;

    fn open(column: &ArrayRef, wide: Option<WideKind>) -> ScalarBuffer<f64> {
        as_f64(column, wide).as_primitive::<Float64Type>().values().clone()
    }

    fn add(&mut self, x: f64, y: f64, times: i64) {
        self.count += times;
        self.x.add(x, times);
        self.y.add(y, times);
        self.xx.add_product(x, x, times);
        self.yy.add_product(y, y, times);
        self.xy.add_product(x, y, times);
    }

    fn spreads(&self) -> Spreads {
        Spreads {
            count: self.count,
            sum_x: self.x.value(),
            sum_y: self.y.value(),
            xx: spread(self.count, &self.xx, &self.x, &self.x),
            yy: spread(self.count, &self.yy, &self.y, &self.y),
            xy: spread(self.count, &self.xy, &self.x, &self.y),
        }
    }

    fn save(&self, bytes: &mut Vec<u8>) {
        bytes.put_i64(self.count);
        self.sums().into_iter().for_each(|sum| sum.save(bytes));
    }

    fn load(state: &mut Decoder<'_>) -> Result<FloatPairSums, Truncated> {
        let count = state.i64()?;
        let mut next = || ExactFloat::load(state);
        Ok(FloatPairSums { count, x: next()?, y: next()?, xx: next()?, yy: next()?, xy: next()? })
    }

    fn heap_bytes(&self) -> usize {
        self.sums().into_iter().map(ExactFloat::heap_bytes).sum()
    }
}
