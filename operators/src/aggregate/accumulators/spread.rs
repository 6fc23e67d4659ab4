//! `Σab - Σa Σb / n` of exact sums of doubles, rounded twice and not once a row: where a and b hardly
//! vary, the difference is far smaller than what it is made of, and doubles would lose all of it.

use super::exact_float::ExactFloat;
use super::wide::leading_double;

/// Sums are in units of 2^-1074, their products of 2^-2148: 16 limbs and 50 bits lower.
const UNIT_EXPONENT: i32 = -1074;
const UNIT_LIMBS: usize = 16;
const UNIT_BITS: u32 = 50;
const LIMB_BITS: i32 = 64;

/// A whole number of units of 2^-2148, in 64-bit limbs from limb `low` on.
struct Big {
    negative: bool,
    low: usize,
    limbs: Vec<u64>,
}

/// The sum of products of the distances from the means, given the sums of `count` pairs.
///
/// What is not finite in the values makes it NaN; products beyond the largest double make it infinite.
pub(super) fn spread(count: i64, products: &ExactFloat, left: &ExactFloat, right: &ExactFloat) -> f64 {
    if !left.is_finite() || !right.is_finite() {
        return f64::NAN;
    }
    if !products.is_finite() {
        return products.value();
    }
    let times = u128::from(count.unsigned_abs()) << UNIT_BITS;
    let first = product(&Big::of(products), &Big { negative: count < 0, low: UNIT_LIMBS, limbs: halves(times) });
    let second = product(&Big::of(left), &Big::of(right));
    divided(&difference(first, second), count)
}

impl Big {
    fn of(sum: &ExactFloat) -> Big {
        let (negative, low, limbs) = sum.magnitude_limbs();
        Big { negative, low, limbs }
    }

    /// The limb at a place, counted from the unit.
    fn limb(&self, place: usize) -> u64 {
        place.checked_sub(self.low).and_then(|index| self.limbs.get(index)).copied().unwrap_or(0)
    }

    fn end(&self) -> usize {
        self.low + self.limbs.len()
    }
}

fn halves(number: u128) -> Vec<u64> {
    let half = |shift: u32| u64::try_from((number >> shift) & u128::from(u64::MAX)).expect("64 bits are left");
    vec![half(0), half(64)]
}

fn product(left: &Big, right: &Big) -> Big {
    let mut limbs = vec![0_u64; left.limbs.len() + right.limbs.len()];
    for (place, factor) in left.limbs.iter().enumerate() {
        let mut carry = 0_u128;
        for (index, other) in right.limbs.iter().enumerate() {
            let sum = u128::from(*factor) * u128::from(*other) + u128::from(limbs[place + index]) + carry;
            limbs[place + index] = u64::try_from(sum & u128::from(u64::MAX)).expect("64 bits are left");
            carry = sum >> 64;
        }
        limbs[place + right.limbs.len()] = u64::try_from(carry).expect("a carry is below 2^64");
    }
    Big { negative: left.negative != right.negative, low: left.low + right.low, limbs }
}

fn difference(left: Big, right: Big) -> Big {
    let low = left.low.min(right.low);
    let end = left.end().max(right.end()) + 1;
    if left.negative != right.negative {
        let mut carry = false;
        let limbs = (low..end).map(|place| {
            let (sum, over) = left.limb(place).overflowing_add(right.limb(place));
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            carry = over || over_again;
            sum
        });
        return Big { negative: left.negative, low, limbs: limbs.collect() };
    }
    let is_less = (low..end)
        .rev()
        .map(|place| left.limb(place).cmp(&right.limb(place)))
        .find(|order| order.is_ne())
        .is_some_and(|order| order.is_lt());
    let negative = left.negative != is_less;
    let (greater, lesser) = if is_less { (right, left) } else { (left, right) };
    let mut borrow = false;
    let limbs = (low..end).map(|place| {
        let (rest, under) = greater.limb(place).overflowing_sub(lesser.limb(place));
        let (rest, under_again) = rest.overflowing_sub(u64::from(borrow));
        borrow = under || under_again;
        rest
    });
    Big { negative, low, limbs: limbs.collect() }
}

/// The nearest double to the number, divided by `count`.
fn divided(number: &Big, count: i64) -> f64 {
    let (head, exponent) = leading_double(&number.limbs);
    if head == 0.0 {
        return 0.0;
    }
    let low = i32::try_from(number.low).expect("a product of two doubles has few limbs");
    let value = scaled(head / count as f64, exponent + low * LIMB_BITS + 2 * UNIT_EXPONENT);
    if number.negative { -value } else { value }
}

/// `value * 2^exponent`, in steps that do not leave the doubles before they have to.
fn scaled(mut value: f64, mut exponent: i32) -> f64 {
    const STEP: i32 = 900;
    while exponent.abs() > STEP {
        let step = exponent.clamp(-STEP, STEP);
        value *= 2_f64.powi(step);
        exponent -= step;
    }
    value * 2_f64.powi(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(f64, f64)]) -> f64 {
        let (mut products, mut left, mut right) = <(ExactFloat, ExactFloat, ExactFloat)>::default();
        for (a, b) in pairs {
            products.add_product(*a, *b, 1);
            left.add(*a, 1);
            right.add(*b, 1);
        }
        spread(i64::try_from(pairs.len()).expect("few"), &products, &left, &right)
    }

    #[test]
    fn nothing_is_lost_to_cancellation() {
        assert_eq!(of(&[(0.1, 0.1); 7]), 0.0);
        assert_eq!(of(&[(1e9 + 1.0, 1e9 + 1.0), (1e9, 1e9)]), 0.5);
        assert_eq!(of(&[(1e150, 1.0), (1e150, 3.0)]), 0.0);
        assert_eq!(of(&[(3.0, 1.0), (1.0, 3.0)]), -2.0);
        assert_eq!(of(&[(0.0, 0.0), (2.0, 3.0)]), 3.0);
        assert_eq!(of(&[(1e300, 1e-300), (-1e300, -1e-300)]), 2.0);
        assert_eq!(of(&[]), 0.0);
        assert!(of(&[(f64::INFINITY, 1.0), (1.0, 1.0)]).is_nan());
        assert_eq!(of(&[(f64::MAX, 2.0), (1.0, 1.0)]), f64::INFINITY);
    }
}
