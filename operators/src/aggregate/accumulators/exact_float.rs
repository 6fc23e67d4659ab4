//! An exact, invertible sum of doubles.
//!
//! A fixed-point number (see [`kulisch`](super::kulisch)). Values of one column are mostly of similar magnitude, so
//! three limbs in place are enough for almost every group; what they cannot hold is kept in the wide form.

use super::kulisch::{Kulisch, LIMB_BITS, negate, placed, rounded, shifted};
use crate::codec::{Decoder, Truncated};

/// Limbs kept in place.
const LIMBS: usize = 3;

/// An exact sum of doubles.
#[derive(Clone, Debug)]
pub(crate) enum ExactFloat {
    /// A number of 192 bits in two's complement, times 2^(64 `low`), in units of 2^-1074.
    Narrow { low: u16, limbs: [u64; LIMBS] },
    /// Any sum.
    Wide(Box<Kulisch>),
}

impl Default for ExactFloat {
    fn default() -> ExactFloat {
        ExactFloat::Narrow { low: 0, limbs: [0; LIMBS] }
    }
}

impl ExactFloat {
    /// Adds `value` `times` times (taken away if negative).
    #[inline]
    pub(crate) fn add(&mut self, value: f64, times: i64) {
        if let ExactFloat::Narrow { low, limbs } = self
            && value.is_finite()
            && i32::try_from(times).is_ok()
        {
            let Some((place, product)) = placed(value, times) else { return };
            // 53 bits times 31, moved up by up to 63: no more than 147.
            let addend = shifted(product, place % LIMB_BITS);
            if add_narrow(low, limbs, place / LIMB_BITS, addend) {
                return;
            }
        }
        self.add_wide(value, times);
    }

    #[cold]
    fn add_wide(&mut self, value: f64, times: i64) {
        let mut wide = self.widened();
        wide.add(value, times);
        *self = match wide.limbs() {
            Some((_, [])) => ExactFloat::default(),
            _ => ExactFloat::Wide(wide),
        };
    }

    fn widened(&mut self) -> Box<Kulisch> {
        match std::mem::take(self) {
            ExactFloat::Wide(wide) => wide,
            ExactFloat::Narrow { low, limbs } => {
                let [first, second, third] = limbs;
                Box::new(Kulisch::of_limbs(usize::from(low), vec![first, second, third, sign(third)]))
            }
        }
    }

    /// Adds the product of two values `times` times: the rounded product and what rounding took away, so
    /// that nothing is lost unless the latter is below the least double (products below about 1e-291).
    pub(crate) fn add_product(&mut self, left: f64, right: f64, times: i64) {
        let product = left * right;
        self.add(product, times);
        if product.is_finite() {
            self.add(left.mul_add(right, -product), times);
        }
    }

    /// Whether there is neither NaN nor infinity in it.
    pub(crate) fn is_finite(&self) -> bool {
        match self {
            ExactFloat::Narrow { .. } => true,
            ExactFloat::Wide(wide) => wide.is_finite(),
        }
    }

    /// The finite part: whether it is negative, and its magnitude in units of 2^-1074 as limbs from that
    /// of the first number on.
    pub(crate) fn magnitude_limbs(&self) -> (bool, usize, Vec<u64>) {
        match self {
            ExactFloat::Narrow { low, limbs } => {
                let (negative, magnitude) = magnitude(*limbs);
                (negative, usize::from(*low), magnitude.to_vec())
            }
            ExactFloat::Wide(wide) => wide.magnitude_limbs(),
        }
    }

    /// The nearest double to the exact sum (ties to even).
    pub(crate) fn value(&self) -> f64 {
        match self {
            ExactFloat::Narrow { low, limbs } => {
                let (negative, magnitude) = magnitude(*limbs);
                let value = rounded(usize::from(*low), &magnitude);
                if negative { -value } else { value }
            }
            ExactFloat::Wide(wide) => wide.value(),
        }
    }

    /// Appends to saved state; equal sums as equal bytes.
    pub(crate) fn save(&self, bytes: &mut Vec<u8>) {
        self.clone().widened().save(bytes);
    }

    /// Reads from saved state.
    pub(crate) fn load(state: &mut Decoder<'_>) -> Result<ExactFloat, Truncated> {
        let wide = Kulisch::load(state)?;
        Ok(narrow(&wide).unwrap_or_else(|| ExactFloat::Wide(Box::new(wide))))
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            ExactFloat::Narrow { .. } => 0,
            ExactFloat::Wide(wide) => size_of::<Kulisch>() + wide.heap_bytes(),
        }
    }
}

/// All bits as the highest.
fn sign(limb: u64) -> u64 {
    if limb >> 63 == 1 { u64::MAX } else { 0 }
}

/// The number of one limb more: a limb of zeros below, if nothing is lost above.
fn raised(limbs: [u64; LIMBS]) -> Option<[u64; LIMBS]> {
    let [first, second, third] = limbs;
    (third == sign(second)).then_some([0, first, second])
}

/// Adds three limbs of which the first is number `at`; false, and nothing done, if the sum does not fit.
#[inline]
fn add_narrow(low: &mut u16, limbs: &mut [u64; LIMBS], at: usize, addend: [u64; LIMBS]) -> bool {
    let from = if *limbs == [0; LIMBS] { at } else { usize::from(*low) };
    let aligned = match at.cmp(&from) {
        std::cmp::Ordering::Equal => Some((*limbs, addend)),
        std::cmp::Ordering::Greater if at == from + 1 => raised(addend).map(|addend| (*limbs, addend)),
        std::cmp::Ordering::Less if at + 1 == from => raised(*limbs).map(|limbs| (limbs, addend)),
        _ => None,
    };
    let Some((known, addend)) = aligned else { return false };
    let mut sum = [0; LIMBS];
    let mut carry = false;
    for ((sum, known), addend) in sum.iter_mut().zip(known).zip(addend) {
        let (partial, over) = known.overflowing_add(addend);
        let (total, over_again) = partial.overflowing_add(u64::from(carry));
        (*sum, carry) = (total, over || over_again);
    }
    let signs = [known, addend, sum].map(|limbs| sign(limbs[LIMBS - 1]));
    if signs[0] == signs[1] && signs[0] != signs[2] {
        return false;
    }
    *low = u16::try_from(at.min(from)).expect("a double has bits in 34 limbs");
    *limbs = sum;
    true
}

/// Whether a number is negative, and its magnitude. The least number is its own negative, read without sign.
fn magnitude(mut limbs: [u64; LIMBS]) -> (bool, [u64; LIMBS]) {
    let negative = sign(limbs[LIMBS - 1]) != 0;
    if negative {
        negate(&mut limbs);
    }
    (negative, limbs)
}

/// A sum in place, if it fits.
fn narrow(wide: &Kulisch) -> Option<ExactFloat> {
    let (low, kept) = wide.limbs()?;
    let low = u16::try_from(low).ok()?;
    let last = kept.last().copied().unwrap_or(0);
    let mut limbs = [last; LIMBS];
    for (limb, kept) in limbs.iter_mut().zip(kept) {
        *limb = *kept;
    }
    let fits = kept.len() <= LIMBS || (kept.len() == LIMBS + 1 && sign(limbs[LIMBS - 1]) == last);
    // The highest limb of the wide form is nothing but sign.
    (fits && sign(limbs[LIMBS - 1]) == sign(last)).then_some(ExactFloat::Narrow { low, limbs })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut exact = ExactFloat::default();
        values.iter().for_each(|value| exact.add(*value, 1));
        exact.value()
    }

    #[test]
    fn single_values_come_back() {
        let values =
            [0.0, 1.0, -1.0, 0.1, -0.3, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -5e-324, 1e-310, 1e308, 4.5e15];
        for value in values {
            assert_eq!(sum(&[value]), value);
        }
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(sum(&[f64::INFINITY, -1.0]), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
    }

    #[test]
    fn nothing_is_lost_and_everything_comes_back() {
        assert_eq!(sum(&[1e300, 1.0, -1e300]), 1.0);
        assert_eq!(sum(&[1.0, 2_f64.powi(-53)]), 1.0);
        assert_eq!(sum(&[1.0, 2_f64.powi(-53), 5e-324]), 1.0 + f64::EPSILON);
        let mut exact = ExactFloat::default();
        exact.add(0.1, 7);
        exact.add(-1e250, 3);
        exact.add(f64::NAN, 1);
        exact.add(f64::NAN, -1);
        exact.add(0.1, -7);
        exact.add(-1e250, -3);
        assert_eq!(exact.value(), 0.0);
        assert_eq!(exact.heap_bytes(), 0);
    }

    #[test]
    fn equal_sums_are_saved_alike() {
        let saved = |values: &[(f64, i64)]| {
            let mut exact = ExactFloat::default();
            values.iter().for_each(|(value, times)| exact.add(*value, *times));
            let mut bytes = Vec::new();
            exact.save(&mut bytes);
            let loaded = ExactFloat::load(&mut Decoder(&bytes)).expect("it was saved");
            assert_eq!(loaded.value().to_bits(), exact.value().to_bits());
            bytes
        };
        for value in [0.0, 1.0, -1.0, 1e300, -5e-324, -(2_f64.powi(62))] {
            let around = [(1e250, 1), (value, 2), (-5e-324, 3), (1e250, -1), (value, -1), (-5e-324, -3)];
            assert_eq!(saved(&[(value, 1)]), saved(&around), "{value}");
        }
    }

    proptest! {
        /// Both forms are the same number after every change, and are saved alike.
        #[test]
        fn narrow_and_wide_agree(
            changes in proptest::collection::vec((any::<i64>(), -1100_i32..1024, -3_i64..=3, any::<bool>()), 1..40),
            near in any::<bool>(),
        ) {
            let (mut exact, mut wide) = (ExactFloat::default(), Kulisch::default());
            for (mantissa, exponent, times, huge) in changes {
                let exponent = if near { exponent % 90 } else { exponent };
                let value = mantissa as f64 * 2_f64.powi(exponent - 62);
                let times = if huge { times << 40 } else { times };
                exact.add(value, times);
                wide.add(value, times);
                prop_assert_eq!(exact.value().to_bits(), wide.value().to_bits());
                let (mut saved, mut expected) = (Vec::new(), Vec::new());
                exact.save(&mut saved);
                wide.save(&mut expected);
                prop_assert_eq!(&saved, &expected);
                exact = ExactFloat::load(&mut Decoder(&saved)).expect("it was saved");
                prop_assert_eq!(exact.value().to_bits(), wide.value().to_bits());
            }
        }
    }
}
