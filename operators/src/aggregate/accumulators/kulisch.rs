//! An exact sum of any doubles: the wide form of [`ExactFloat`](super::ExactFloat).
//!
//! After Kulisch: a fixed-point number in units of 2^-1074, wide enough for every double, so that
//! additions and retractions in any order end in the same number. Only the limbs that values have
//! touched are kept. NaN and the infinities are counted apart. A zero sum is +0.

use crate::codec::{Decoder, Encode as _, Truncated};

const MANTISSA_BITS: u32 = 52;
pub(super) const LIMB_BITS: usize = 64;
/// Limbs a product of mantissa and count may touch: 53 + 63 bits, shifted by up to 63.
const PRODUCT_LIMBS: usize = 3;

/// A sum of any doubles.
#[derive(Clone, Default, Debug)]
pub(crate) struct Kulisch {
    /// Index of the first limb kept; lower ones are zero.
    low: usize,
    /// Little-endian limbs in two's complement; the last one is nothing but sign.
    limbs: Vec<u64>,
    nans: i64,
    positive_infinities: i64,
    negative_infinities: i64,
}

impl Kulisch {
    /// Adds `value` `times` times (taken away if negative).
    pub(super) fn add(&mut self, value: f64, times: i64) {
        if !value.is_finite() {
            let count = if value.is_nan() {
                &mut self.nans
            } else if value > 0.0 {
                &mut self.positive_infinities
            } else {
                &mut self.negative_infinities
            };
            *count += times;
            return;
        }
        if let Some((place, product)) = placed(value, times) {
            self.add_at(place, product);
        }
    }

    /// The number of limbs in two's complement, the last one nothing but sign.
    pub(super) fn of_limbs(low: usize, limbs: Vec<u64>) -> Kulisch {
        let mut sum = Kulisch { low, limbs, ..Kulisch::default() };
        sum.normalize();
        sum
    }

    /// The limbs from the first that is not zero on, if nothing is known but a number.
    pub(super) fn limbs(&self) -> Option<(usize, &[u64])> {
        self.is_finite().then(|| self.trimmed())
    }

    /// Whether there is neither NaN nor infinity in it.
    pub(super) fn is_finite(&self) -> bool {
        self.nans == 0 && self.positive_infinities == 0 && self.negative_infinities == 0
    }

    /// The finite part: whether it is negative, and its magnitude in units of 2^-1074 as limbs from that
    /// of the first number on.
    pub(super) fn magnitude_limbs(&self) -> (bool, usize, Vec<u64>) {
        let negative = self.limbs.last() == Some(&u64::MAX);
        let mut limbs = self.limbs.clone();
        if negative {
            negate(&mut limbs);
        }
        (negative, self.low, limbs)
    }

    fn add_at(&mut self, place: usize, product: i128) {
        let (limb, shift) = (place / LIMB_BITS, place % LIMB_BITS);
        self.cover(limb, limb + PRODUCT_LIMBS + 1);
        let shifted = shifted(product, shift);
        let fill = if product < 0 { u64::MAX } else { 0 };
        let start = limb - self.low;
        let mut carry = false;
        for (index, limb) in self.limbs[start..].iter_mut().enumerate() {
            let addend = shifted.get(index).copied().unwrap_or(fill);
            let (sum, over) = limb.overflowing_add(addend);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, over || over_again);
        }
        self.normalize();
    }

    /// Keeps the last limb pure sign, and nothing at all for zero.
    fn normalize(&mut self) {
        let last = self.limbs.last().copied().unwrap_or(0);
        if last != 0 && last != u64::MAX {
            self.limbs.push(if last >> 63 == 1 { u64::MAX } else { 0 });
        }
        if self.limbs.iter().all(|limb| *limb == 0) {
            self.limbs.clear();
        }
    }

    /// Makes limbs `from..to` present, and one of sign above what was there.
    fn cover(&mut self, from: usize, to: usize) {
        if self.limbs.is_empty() {
            self.low = from;
            self.limbs.resize(to - from, 0);
            return;
        }
        if from < self.low {
            self.limbs.splice(0..0, std::iter::repeat_n(0, self.low - from));
            self.low = from;
        }
        let sign = self.limbs.last().copied().unwrap_or(0);
        let needed = to - self.low;
        if self.limbs.len() < needed {
            self.limbs.resize(needed, sign);
        }
    }

    /// The nearest double to the exact sum (ties to even).
    pub(super) fn value(&self) -> f64 {
        if self.nans != 0 || (self.positive_infinities != 0 && self.negative_infinities != 0) {
            return f64::NAN;
        }
        if self.positive_infinities != 0 {
            return f64::INFINITY;
        }
        if self.negative_infinities != 0 {
            return f64::NEG_INFINITY;
        }
        let (negative, _, limbs) = self.magnitude_limbs();
        let magnitude = rounded(self.low, &limbs);
        if negative { -magnitude } else { magnitude }
    }

    /// Appends to saved state.
    pub(super) fn save(&self, bytes: &mut Vec<u8>) {
        bytes.put_i64(self.nans);
        bytes.put_i64(self.positive_infinities);
        bytes.put_i64(self.negative_infinities);
        let (low, limbs) = self.trimmed();
        bytes.put_u64(low as u64);
        bytes.put_u64(limbs.len() as u64);
        limbs.iter().for_each(|limb| bytes.put_u64(*limb));
    }

    /// The limbs without those that say nothing: equal sums are saved as equal bytes, whatever has been
    /// added and taken away before.
    fn trimmed(&self) -> (usize, &[u64]) {
        let Some(first) = self.limbs.iter().position(|limb| *limb != 0) else { return (0, &[]) };
        let mut limbs = &self.limbs[first..];
        while let [_, .., below, sign] = limbs
            && below == sign
        {
            limbs = &limbs[..limbs.len() - 1];
        }
        (self.low + first, limbs)
    }

    /// Reads from saved state.
    pub(super) fn load(state: &mut Decoder<'_>) -> Result<Kulisch, Truncated> {
        let (nans, positive_infinities, negative_infinities) = (state.i64()?, state.i64()?, state.i64()?);
        let low = usize::try_from(state.u64()?).map_err(|_| Truncated)?;
        let length = state.length()?;
        let limbs = (0..length).map(|_| state.u64()).collect::<Result<_, _>>()?;
        Ok(Kulisch { low, limbs, nans, positive_infinities, negative_infinities })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.limbs.capacity() * 8
    }
}

/// The nearest double (ties to even) to a magnitude whose first limb is number `low`.
pub(super) fn rounded(low: usize, limbs: &[u64]) -> f64 {
    let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else { return 0.0 };
    let leading = usize::try_from(limbs[top].leading_zeros()).expect("at most 64");
    let top_bit = (low + top) * LIMB_BITS + 63 - leading;
    let base = low * LIMB_BITS;
    let mantissa_bits = usize::try_from(MANTISSA_BITS).expect("52");
    if top_bit <= mantissa_bits {
        // Below 2^-1021 bits of a double and units of 2^-1074 are the same number.
        return f64::from_bits(bits_from(limbs, base, 0));
    }
    let first = top_bit - mantissa_bits;
    let mantissa = bits_from(limbs, base, first) & ((1 << (MANTISSA_BITS + 1)) - 1);
    let half = bit(limbs, base, first - 1);
    let sticky = any_below(limbs, base, first - 1);
    let round_up = half && (sticky || mantissa & 1 == 1);
    // A carry out of the mantissa raises the exponent, which is what it should do.
    let bits = ((first as u64) << MANTISSA_BITS) + mantissa + u64::from(round_up);
    f64::from_bits(bits.min(f64::INFINITY.to_bits()))
}

/// A finite value taken `times` times, as a product and the place of its lowest bit; `None` if it is zero.
#[inline]
pub(super) fn placed(value: f64, times: i64) -> Option<(usize, i128)> {
    let bits = value.to_bits();
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let exponent = (bits >> MANTISSA_BITS) & 0x7ff;
    let mantissa = if exponent == 0 { fraction } else { fraction | (1 << MANTISSA_BITS) };
    if mantissa == 0 || times == 0 {
        return None;
    }
    let place = usize::try_from(exponent.max(1) - 1).expect("11 bits");
    let product = i128::from(mantissa) * i128::from(times);
    Some((place, if value.is_sign_negative() { -product } else { product }))
}

/// A product moved up within a limb: three limbs in two's complement.
#[inline]
pub(super) fn shifted(product: i128, shift: usize) -> [u64; 3] {
    let [low, high] = halves(product);
    let fill = if product < 0 { u64::MAX } else { 0 };
    if shift == 0 {
        return [low, high, fill];
    }
    let back = LIMB_BITS - shift;
    [low << shift, (high << shift) | (low >> back), (fill << shift) | (high >> back)]
}

/// The number with the other sign, in two's complement.
pub(super) fn negate(limbs: &mut [u64]) {
    let mut carry = true;
    for limb in limbs {
        (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
    }
}

/// The low and the high half of a product, as bits.
fn halves(product: i128) -> [u64; 2] {
    let bytes = product.to_le_bytes();
    let half = |from: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[from..from + 8]);
        u64::from_le_bytes(half)
    };
    [half(0), half(8)]
}

/// 64 bits from bit `first` on; `base` is the place of the first limb's lowest bit.
fn bits_from(limbs: &[u64], base: usize, first: usize) -> u64 {
    if first < base {
        let missing = base - first;
        return if missing >= LIMB_BITS { 0 } else { limbs[0] << missing };
    }
    let (limb, shift) = ((first - base) / LIMB_BITS, (first - base) % LIMB_BITS);
    let low = limbs.get(limb).copied().unwrap_or(0) >> shift;
    let high = limbs.get(limb + 1).copied().unwrap_or(0);
    if shift == 0 { low } else { low | (high << (LIMB_BITS - shift)) }
}

fn bit(limbs: &[u64], base: usize, place: usize) -> bool {
    place >= base && bits_from(limbs, base, place) & 1 == 1
}

/// Whether any bit below `place` is set.
fn any_below(limbs: &[u64], base: usize, place: usize) -> bool {
    if place <= base {
        return false;
    }
    let (whole, rest) = ((place - base) / LIMB_BITS, (place - base) % LIMB_BITS);
    limbs[..whole.min(limbs.len())].iter().any(|limb| *limb != 0)
        || limbs.get(whole).is_some_and(|limb| limb & ((1 << rest) - 1) != 0)
}
