//! Numbers in buckets whose width is a share of the value: the sketch behind quantiles and histograms.
//!
//! With a bucket's middle taken for any value in it, the error is at most the relative error asked for,
//! as in DDSketch (Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
//! Relative-Error Guarantees", PVLDB 12, 2019). Instead of a logarithm, whose last bit differs from one
//! machine to another, every power of two is divided into buckets of one width, as many as the bound
//! needs where they are widest in proportion (so 1 / (2 error), against ln 2 of it with a logarithm).
//! A count a bucket is all there is, so taking away is exact.

use arrow::array::{ArrayRef, AsArray as _, Float64Array};
use arrow::datatypes::Float64Type;
use highwater_engine::model::wide::Wide as WideKind;

use std::sync::Arc;

use super::extreme_kinds::Kind;
use super::float::as_f64;
use crate::codec::{Decoder, Truncated};

const MANTISSA_BITS: u32 = 52;
const INFINITY: i32 = i32::MAX - 1;
const NAN: i32 = i32::MAX;

/// The buckets of a relative error, numbered so that their order is that of the numbers.
#[derive(Clone, Copy)]
pub(super) struct LogBuckets {
    /// Buckets of each power of two.
    divisions: u32,
    wide: Option<WideKind>,
}

impl LogBuckets {
    /// For an error of [`crate::aggregate::AggregateParameters::ERRORS`], over numbers of this kind.
    pub(super) fn new(relative_error: f64, wide: Option<WideKind>) -> LogBuckets {
        let wanted = (0.5 / relative_error).ceil();
        // The errors allowed need from 1 to 50,000; counted up because floats do not become integers.
        let divisions = (1..=50_000).find(|count| f64::from(*count) >= wanted).unwrap_or(50_000);
        LogBuckets { divisions, wide }
    }

    /// The bucket of a number. Magnitudes below 2^-1022 are zero; NaN is above everything.
    fn bucket(self, value: f64) -> i32 {
        if value.is_nan() {
            return NAN;
        }
        let bits = value.abs().to_bits();
        let bucket = if value.is_infinite() {
            INFINITY
        } else {
            let (exponent, fraction) = (bits >> MANTISSA_BITS, bits & ((1 << MANTISSA_BITS) - 1));
            if exponent == 0 {
                return 0;
            }
            let within = (u128::from(fraction) * u128::from(self.divisions)) >> MANTISSA_BITS;
            let place = u128::from(exponent - 1) * u128::from(self.divisions) + within + 1;
            i32::try_from(place).expect("2,046 powers of at most 50,000 buckets")
        };
        if value < 0.0 { -bucket } else { bucket }
    }

    /// Where a bucket of magnitudes starts, as a power of two and the two factors of its ends.
    fn ends(self, bucket: u32) -> (f64, f64, f64) {
        let (exponent, within) = ((bucket - 1) / self.divisions + 1, (bucket - 1) % self.divisions);
        let scale = f64::from_bits(u64::from(exponent) << MANTISSA_BITS);
        let factor = |within: u32| 1.0 + f64::from(within) / f64::from(self.divisions);
        (scale, factor(within), factor(within + 1))
    }

    /// The number that stands for a bucket: no value of it is further away than the relative error.
    fn middle(self, bucket: i32) -> f64 {
        let magnitude = match bucket.unsigned_abs() {
            0 => return 0.0,
            _ if bucket == NAN => return f64::NAN,
            INFINITY_MAGNITUDE => f64::INFINITY,
            finite => {
                let (scale, low, high) = self.ends(finite);
                scale * (2.0 * low * high / (low + high))
            }
        };
        if bucket < 0 { -magnitude } else { magnitude }
    }

    /// The least and the greatest number around a bucket.
    pub(super) fn bounds(self, bucket: i32) -> (f64, f64) {
        let (low, high) = match bucket.unsigned_abs() {
            0 => return (0.0, 0.0),
            _ if bucket == NAN => return (f64::NAN, f64::NAN),
            INFINITY_MAGNITUDE => (f64::INFINITY, f64::INFINITY),
            finite => {
                let (scale, low, high) = self.ends(finite);
                (scale * low, (scale * high).min(f64::MAX))
            }
        };
        if bucket < 0 { (-high, -low) } else { (low, high) }
    }
}

const INFINITY_MAGNITUDE: u32 = INFINITY.unsigned_abs();

impl Kind for LogBuckets {
    type Value = i32;
    type Column = Vec<i32>;

    fn open(&self, argument: &ArrayRef) -> Vec<i32> {
        let numbers = as_f64(argument, self.wide);
        numbers.as_primitive::<Float64Type>().values().iter().map(|value| self.bucket(*value)).collect()
    }

    fn value(column: &Vec<i32>, row: usize) -> i32 {
        column[row]
    }

    fn array(&self, values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
        Arc::new(values.map(|value| value.map(|bucket| self.middle(bucket))).collect::<Float64Array>())
    }

    fn save(value: &i32, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn load(state: &mut Decoder<'_>) -> Result<i32, Truncated> {
        state.take().map(i32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_further_away_than_the_error() {
        for error in [0.5, 0.1, 0.01, 0.003, 0.000_01] {
            let buckets = LogBuckets::new(error, None);
            let mut last = 0;
            let mut value = f64::MIN_POSITIVE;
            while value.is_finite() {
                for value in [value, value.next_up(), value.next_down().max(f64::MIN_POSITIVE)] {
                    let bucket = buckets.bucket(value);
                    let (low, high) = buckets.bounds(bucket);
                    let off = (buckets.middle(bucket) / value - 1.0).abs();
                    assert!(off <= error, "{value} is {off} off");
                    assert!(low <= value.next_up() && value.next_down() <= high, "{low} {value} {high}");
                    assert_eq!(buckets.bucket(-value), -bucket);
                }
                assert!(buckets.bucket(value) >= last);
                last = buckets.bucket(value);
                value *= 1.37;
            }
        }
    }

    #[test]
    fn special_numbers_have_buckets() {
        let buckets = LogBuckets::new(0.01, None);
        for value in [0.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(buckets.middle(buckets.bucket(value)), value);
        }
        assert_eq!(buckets.bucket(-0.0), 0);
        assert_eq!(buckets.bucket(5e-324), 0);
        assert!(buckets.middle(buckets.bucket(f64::NAN)).is_nan());
        assert!(buckets.middle(buckets.bucket(f64::MAX)).is_finite());
    }
}
