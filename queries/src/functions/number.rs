//! Whole numbers of up to 256 bits between their forms: text, decimal, double, stored bytes.

use std::cmp::Ordering;
use std::fmt;

use alloy_primitives::{I256, U256};
use arrow::datatypes::i256;
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use highwater_engine::model::wide::{Wide, int256_to_bytes, uint256_to_bytes};

use super::function::sql_name;

/// A sign and a magnitude, which covers both 256-bit types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    negative: bool,
    magnitude: U256,
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        write!(f, "{}", self.magnitude)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude.cmp(&other.magnitude),
            (true, true) => other.magnitude.cmp(&self.magnitude),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl Number {
    /// From a sign and a magnitude; zero has no sign.
    pub(crate) fn new(negative: bool, magnitude: U256) -> Self {
        Number { negative: negative && !magnitude.is_zero(), magnitude }
    }

    pub(crate) fn unsigned(value: U256) -> Self {
        Number { negative: false, magnitude: value }
    }

    pub(crate) fn signed(value: I256) -> Self {
        Number { negative: value.is_negative(), magnitude: value.unsigned_abs() }
    }

    pub(crate) fn is_negative(self) -> bool {
        self.negative
    }

    pub(crate) fn magnitude(self) -> U256 {
        self.magnitude
    }

    /// The stored bytes in a column of the kind.
    ///
    /// # Errors
    /// If the number is out of its range.
    pub(crate) fn stored(self, kind: Wide) -> Result<[u8; 32]> {
        match kind {
            Wide::Unsigned if self.negative => exec_err!("UINT256 overflow: {self} is below 0"),
            Wide::Unsigned => Ok(uint256_to_bytes(self.magnitude)),
            Wide::Signed => {
                let sign =
                    if self.negative { alloy_primitives::Sign::Negative } else { alloy_primitives::Sign::Positive };
                I256::checked_from_sign_and_abs(sign, self.magnitude)
                    .map(int256_to_bytes)
                    .ok_or_else(|| exec_datafusion_err!("{} overflow: {self} is out of range", sql_name(kind)))
            }
        }
    }

    /// The nearest double.
    pub(crate) fn to_double(self) -> f64 {
        let bits = self.magnitude.bit_len();
        let shift = bits.saturating_sub(64);
        let head: u64 = (self.magnitude >> shift).to::<u64>();
        // The bit below the double's precision decides ties: it says whether anything was cut off.
        let cut = (U256::from(head) << shift) != self.magnitude;
        let exponent = i32::try_from(shift).expect("at most 192");
        let value = (head | u64::from(cut)) as f64 * 2_f64.powi(exponent);
        if self.negative { -value } else { value }
    }

    /// The number a double holds exactly.
    ///
    /// # Errors
    /// If it has a fraction, is not finite, or does not fit 256 bits.
    pub(crate) fn from_double(value: f64) -> Result<Self> {
        if !value.is_finite() || value.fract() != 0.0 {
            return exec_err!("{value} is not a whole number: round it first");
        }
        let bits = value.abs().to_bits();
        let exponent = i64::try_from(bits >> 52).expect("11 bits") - 1075;
        if value == 0.0 {
            return Ok(Number::unsigned(U256::ZERO));
        }
        let mantissa = U256::from((bits & ((1 << 52) - 1)) | (1 << 52));
        let magnitude = match usize::try_from(exponent) {
            Ok(shift) if shift + 53 > 256 => return exec_err!("{value} does not fit a 256-bit integer"),
            Ok(shift) => mantissa << shift,
            Err(_) => mantissa >> usize::try_from(-exponent).expect("positive"),
        };
        Ok(Number::new(value < 0.0, magnitude))
    }

    /// The number if its magnitude is below 2^127, as decimals and integers hold it.
    pub(crate) fn to_i128(self) -> Option<i128> {
        let magnitude = i128::try_from(self.magnitude.checked_to::<u128>()?).ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

trait CheckedTo {
    fn checked_to<T>(&self) -> Option<T>
    where
        U256: TryInto<T>;
}

impl CheckedTo for U256 {
    fn checked_to<T>(&self) -> Option<T>
    where
        U256: TryInto<T>,
    {
        (*self).try_into().ok()
    }
}

/// Reads decimal digits, or hex digits after `0x`, with an optional sign.
///
/// # Errors
/// If the text is anything else, or beyond 256 bits.
pub(crate) fn parse_number(text: &str) -> Result<Number> {
    let trimmed = text.trim();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let (base, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(rest) => (16, rest),
        None => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return exec_err!("'{text}' is not a whole number: write decimal digits, or hex digits after 0x");
    }
    match U256::from_str_radix(digits, u64::from(base)) {
        Ok(magnitude) => Ok(Number::new(negative, magnitude)),
        Err(_) => exec_err!("'{text}' does not fit a 256-bit integer"),
    }
}

/// The whole number of a decimal with a scale.
///
/// # Errors
/// If it has a fraction, or does not fit 256 bits.
pub(crate) fn decimal_number(unscaled: i256, scale: i8) -> Result<Number> {
    let value = Number::signed(I256::from_be_bytes(unscaled.to_be_bytes()));
    let power = U256::from(10).checked_pow(U256::from(scale.unsigned_abs()));
    let power = power.ok_or_else(|| exec_datafusion_err!("a decimal of scale {scale} is out of range"))?;
    if scale <= 0 {
        return match value.magnitude.checked_mul(power) {
            Some(magnitude) => Ok(Number::new(value.negative, magnitude)),
            None => exec_err!("{value} with scale {scale} does not fit a 256-bit integer"),
        };
    }
    let (whole, fraction) = value.magnitude.div_rem(power);
    if !fraction.is_zero() {
        return exec_err!("a decimal with a fraction is not a 256-bit integer: round it first");
    }
    Ok(Number::new(value.negative, whole))
}
