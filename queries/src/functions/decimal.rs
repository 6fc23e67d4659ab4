//! Comparison of a decimal with a double. PostgreSQL reads a literal such as 0.5 as a decimal and compares exactly; a
//! decimal beside a value that is a double is compared as double. DataFusion would make the double a decimal of fifteen
//! places instead, which large numbers do not fit.

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator, binary_expr, cast};

use super::convert::Operand;

/// The comparison of a decimal with a double; `None` if the two are something else.
pub(crate) fn compare(left: &Operand, operator: Operator, right: &Operand) -> Option<Expr> {
    let (decimal, double) = match (digits(&left.data_type), digits(&right.data_type)) {
        (Some(decimal), None) => (decimal, right),
        (None, Some(decimal)) => (decimal, left),
        _ => return None,
    };
    if !double.data_type.is_floating() {
        return None;
    }
    let exact = literal(&double.expr).filter(|(_, literal)| meet(decimal, *literal));
    let side = |operand: &Operand| match (&exact, operand.data_type.is_floating()) {
        (Some((literal, _)), true) => literal.clone(),
        (Some(_), false) => operand.expr.clone(),
        (None, _) => cast(operand.expr.clone(), DataType::Float64),
    };
    Some(binary_expr(side(left), operator, side(right)))
}

/// Digits in front of the point, digits behind it, and how many there may be.
type Digits = (i32, i32, i32);

fn digits(data_type: &DataType) -> Option<Digits> {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            Some((i32::from(*precision) - i32::from(*scale), (*scale).into(), 38))
        }
        DataType::Decimal256(precision, scale) => {
            Some((i32::from(*precision) - i32::from(*scale), (*scale).into(), 76))
        }
        _ => None,
    }
}

/// Whether one type of decimals holds all values of both.
fn meet(left: Digits, right: Digits) -> bool {
    left.0.max(right.0) + left.1.max(right.1) <= left.2
}

/// A constant double as the decimal that was written.
fn literal(expr: &Expr) -> Option<(Expr, Digits)> {
    let Expr::Literal(ScalarValue::Float64(Some(value)), _) = expr else { return None };
    // The shortest digits that mean this double: what was written, up to fifteen digits.
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let places = i32::try_from(fraction.len()).ok()? - exponent.parse::<i32>().ok()?;
    let written: i128 = format!("{whole}{fraction}").parse().ok()?;
    let missing = 10_i128.checked_pow(u32::try_from(-places).unwrap_or_default())?;
    let unscaled = written.checked_mul(missing)?;
    let scale = i8::try_from(places.max(0)).ok().filter(|scale| *scale <= 38)?;
    let length = i32::try_from(unscaled.unsigned_abs().to_string().len()).ok()?;
    let precision = u8::try_from(length.max(scale.into()).max(1)).ok().filter(|precision| *precision <= 38)?;
    let value = ScalarValue::Decimal128(Some(unscaled), precision, scale);
    let digits = digits(&value.data_type())?;
    Some((Expr::Literal(value, None), digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_what_was_written() {
        let decimal = |value: f64| match literal(&Expr::Literal(ScalarValue::Float64(Some(value)), None)) {
            Some((Expr::Literal(ScalarValue::Decimal128(Some(unscaled), precision, scale), _), _)) => {
                Some((unscaled, precision, scale))
            }
            _ => None,
        };
        assert_eq!(decimal(0.07), Some((7, 2, 2)));
        assert_eq!(decimal(-12.5), Some((-125, 3, 1)));
        assert_eq!(decimal(0.0), Some((0, 1, 0)));
        assert_eq!(decimal(1e20), Some((100_000_000_000_000_000_000, 21, 0)));
        assert_eq!(decimal(1.25e-3), Some((125, 5, 5)));
        assert_eq!(decimal(1e38), None);
        assert_eq!(decimal(1e-39), None);
        assert_eq!(decimal(f64::NAN), None);
        assert_eq!(decimal(f64::INFINITY), None);
    }
}
