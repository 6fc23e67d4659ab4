//! A signed integer wide enough for the sum of any number of 256-bit values.

use alloy_primitives::{I256, U256, Uint};

use crate::codec::{Decoder, Encode as _, Truncated};

type Bits = Uint<320, 5>;
const LIMBS: usize = 5;

/// 320 bits in two's complement: 2^63 values of 256 bits cannot overflow it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Wide(Bits);

impl Wide {
    /// An unsigned value.
    pub(crate) fn from_u256(value: U256) -> Wide {
        Wide::extend(value.into_limbs(), 0)
    }

    /// A signed value.
    pub(crate) fn from_i256(value: I256) -> Wide {
        let fill = if value.is_negative() { u64::MAX } else { 0 };
        Wide::extend(value.into_raw().into_limbs(), fill)
    }

    /// A signed value.
    pub(crate) fn from_i128(value: i128) -> Wide {
        let magnitude = Wide(Bits::from(value.unsigned_abs()));
        if value < 0 { magnitude.negated() } else { magnitude }
    }

    fn extend(limbs: [u64; 4], fill: u64) -> Wide {
        Wide(Bits::from_limbs([limbs[0], limbs[1], limbs[2], limbs[3], fill]))
    }

    fn negated(self) -> Wide {
        Wide(self.0.wrapping_neg())
    }

    /// Adds `value` `times` times (taken away if negative).
    pub(crate) fn add(&mut self, value: Wide, times: i64) {
        let product = match times {
            1 | -1 => value.0,
            _ => value.0.wrapping_mul(Bits::from(times.unsigned_abs())),
        };
        self.0 = if times < 0 { self.0.wrapping_sub(product) } else { self.0.wrapping_add(product) };
    }

    /// `count` times this sum of products less the product of the two sums: the spread of `count` pairs,
    /// `count` times. Below 2^253 for pairs of 64-bit integers.
    pub(crate) fn scaled_spread(&self, count: i64, left: i128, right: i128) -> Wide {
        let mut scaled = Wide::default();
        scaled.add(*self, count);
        let sums = Wide::from_i128(left).0.wrapping_mul(Wide::from_i128(right).0);
        Wide(scaled.0.wrapping_sub(sums))
    }

    fn is_negative(&self) -> bool {
        self.0.bit(319)
    }

    fn magnitude(&self) -> Bits {
        if self.is_negative() { self.0.wrapping_neg() } else { self.0 }
    }

    /// As an unsigned 256-bit integer, if it fits.
    pub(crate) fn to_u256(self) -> Option<U256> {
        let [a, b, c, d, top] = self.0.into_limbs();
        (top == 0).then(|| U256::from_limbs([a, b, c, d]))
    }

    /// As a signed 256-bit integer, if it fits.
    pub(crate) fn to_i256(self) -> Option<I256> {
        let [a, b, c, d, top] = self.0.into_limbs();
        let value = I256::from_raw(U256::from_limbs([a, b, c, d]));
        let fill = if value.is_negative() { u64::MAX } else { 0 };
        (top == fill).then_some(value)
    }

    /// As an integer of at most 38 digits, if it fits.
    pub(crate) fn to_decimal(self) -> Option<i128> {
        let magnitude: u128 = self.magnitude().try_into().ok()?;
        let value = i128::try_from(magnitude).ok().filter(|value| *value < 10_i128.pow(38))?;
        Some(if self.is_negative() { -value } else { value })
    }

    /// The nearest double (ties to even).
    pub(crate) fn to_f64(self) -> f64 {
        let magnitude = magnitude_to_f64(&self.magnitude().into_limbs());
        if self.is_negative() { -magnitude } else { magnitude }
    }

    /// Appends to saved state.
    pub(crate) fn save(&self, bytes: &mut Vec<u8>) {
        self.0.as_limbs().iter().for_each(|limb| bytes.put_u64(*limb));
    }

    /// Reads from saved state.
    pub(crate) fn load(state: &mut Decoder<'_>) -> Result<Wide, Truncated> {
        let mut limbs = [0; LIMBS];
        for limb in &mut limbs {
            *limb = state.u64()?;
        }
        Ok(Wide(Bits::from_limbs(limbs)))
    }
}

/// The nearest double to an unsigned integer of little-endian limbs, for at most 1,023 bits.
pub(crate) fn magnitude_to_f64(limbs: &[u64]) -> f64 {
    let (head, exponent) = leading_double(limbs);
    head * 2_f64.powi(exponent)
}

/// The nearest double to an unsigned integer, up to a power of two which is given beside it.
pub(crate) fn leading_double(limbs: &[u64]) -> (f64, i32) {
    let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else { return (0.0, 0) };
    if top == 0 {
        return (limbs[0] as f64, 0);
    }
    // 128 bits from the highest set bit, and whether anything is set below: enough to round once.
    let shift = limbs[top].leading_zeros();
    let limb = |back: usize| top.checked_sub(back).map_or(0, |index| limbs[index]);
    let pair = (u128::from(limb(0)) << 64) | u128::from(limb(1));
    let head = if shift == 0 { pair } else { (pair << shift) | u128::from(limb(2) >> (64 - shift)) };
    let rest = limb(2) << shift;
    let sticky = rest != 0 || limbs[..top.saturating_sub(2)].iter().any(|limb| *limb != 0);
    let exponent = i32::try_from(top).expect("few limbs") * 64 - 64 - i32::try_from(shift).expect("below 64");
    ((head | u128::from(sticky)) as f64, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_rounded_once() {
        for value in [0_i128, 1, -1, 1 << 53, (1 << 53) + 1, (1 << 53) + 3, i128::MAX, i128::MIN, -(1 << 100) - 1] {
            assert_eq!(Wide::from_i128(value).to_f64(), value as f64, "{value}");
        }
        let tie = (U256::from(1) << 200) + (U256::from(1) << 147);
        assert_eq!(Wide::from_u256(tie).to_f64(), 2_f64.powi(200));
        assert_eq!(Wide::from_u256(tie + U256::from(1)).to_f64(), 2_f64.powi(200) + 2_f64.powi(148));
    }

    #[test]
    fn limits() {
        let mut sum = Wide::from_u256(U256::MAX);
        assert_eq!(sum.to_u256(), Some(U256::MAX));
        assert_eq!(sum.to_i256(), None);
        sum.add(Wide::from_u256(U256::MAX), 3);
        assert_eq!(sum.to_u256(), None);
        sum.add(Wide::from_u256(U256::MAX), -4);
        assert_eq!(sum, Wide::default());
        sum.add(Wide::from_i256(I256::MIN), 1);
        assert_eq!(sum.to_i256(), Some(I256::MIN));
        assert_eq!(sum.to_u256(), None);
        sum.add(Wide::from_i256(I256::MINUS_ONE), 1);
        assert_eq!(sum.to_i256(), None);
    }
}
