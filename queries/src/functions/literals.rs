//! Literals as PostgreSQL reads them where their type is known: times without seconds or with single digits, and
//! bytes as hex.

use datafusion_common::tree_node::{Transformed, TreeNode as _};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Between, BinaryExpr, InList};
use datafusion_expr::{Expr, ExprSchemable, Operator};
use datafusion_sql::sqlparser::ast::{DataType, Expr as SqlExpr, TypedString, Value};

use super::prepare::call;

/// A literal that is cast to a time or to bytes, as the other parts of the engine read it; `None` to leave it.
pub(super) fn read(expr: &SqlExpr) -> Option<SqlExpr> {
    match expr {
        SqlExpr::Cast { expr: inner, data_type, .. } => {
            let SqlExpr::Value(value) = inner.as_ref() else { return None };
            let Value::SingleQuotedString(text) = &value.value else { return None };
            if let Some(bytes) = hex_of(text, data_type) {
                return Some(bytes);
            }
            let text = time_of(text, data_type)?;
            let mut cast = expr.clone();
            if let SqlExpr::Cast { expr: inner, .. } = &mut cast {
                let literal = Value::SingleQuotedString(text).with_span(value.span);
                **inner = SqlExpr::Value(literal);
            }
            Some(cast)
        }
        SqlExpr::TypedString(TypedString { data_type, value, uses_odbc_syntax }) => {
            let Value::SingleQuotedString(text) = &value.value else { return None };
            if let Some(bytes) = hex_of(text, data_type) {
                return Some(bytes);
            }
            let value = Value::SingleQuotedString(time_of(text, data_type)?).with_span(value.span);
            let (data_type, uses_odbc_syntax) = (data_type.clone(), *uses_odbc_syntax);
            Some(SqlExpr::TypedString(TypedString { data_type, value, uses_odbc_syntax }))
        }
        _ => None,
    }
}

/// `'\x3132'` as bytes.
fn hex_of(text: &str, data_type: &DataType) -> Option<SqlExpr> {
    let is_bytes = matches!(
        data_type,
        DataType::Bytea | DataType::Bytes(_) | DataType::Binary(_) | DataType::Varbinary(_) | DataType::Blob(_)
    );
    let digits = text.strip_prefix("\\x").filter(|_| is_bytes)?;
    let digits: String = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    let is_whole = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    Some(match is_whole {
        true => SqlExpr::value(Value::HexStringLiteral(digits)),
        // It says what is wrong with them.
        false => call("unhex", vec![SqlExpr::value(Value::SingleQuotedString(digits))]),
    })
}

fn time_of(text: &str, data_type: &DataType) -> Option<String> {
    let is_time = matches!(data_type, DataType::Timestamp(..) | DataType::TimestampNtz(_) | DataType::Datetime(_));
    if is_time { full_time(text) } else { None }
}

/// A time with all its digits, if some are missing.
fn full_time(text: &str) -> Option<String> {
    let trimmed = text.trim();
    let (date, rest) = trimmed.split_once([' ', 'T', 't']).unwrap_or((trimmed, ""));
    let date: Vec<&str> = date.split('-').collect();
    let &[year, month, day] = date.as_slice() else { return None };
    let mut full =
        format!("{}-{}-{}", digits(year, 4).filter(|full| full == year)?, digits(month, 2)?, digits(day, 2)?);
    let rest = rest.trim_start();
    if !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && !matches!(letter, ':' | '.'));
        let (clock, zone) = rest.split_at(end.unwrap_or(rest.len()));
        let clock: Vec<&str> = clock.split(':').collect();
        let (&hour, &minute, second) = match clock.as_slice() {
            [hour, minute] => (hour, minute, "00"),
            [hour, minute, second] => (hour, minute, *second),
            _ => return None,
        };
        let (second, fraction) = second.split_once('.').map_or((second, None), |(second, rest)| (second, Some(rest)));
        full = format!("{full} {}:{}:{}", digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
        if let Some(fraction) = fraction {
            full = format!("{full}.{fraction}");
        }
        full.push_str(zone);
    }
    (full.len() > trimmed.len()).then_some(full)
}

/// A number with zeros in front, if it is one and not too long.
fn digits(number: &str, width: usize) -> Option<String> {
    let is_number = !number.is_empty() && number.len() <= width && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("{number:0>width$}"))
}

/// Gives the literals that a time is compared with all their digits.
pub(crate) fn full_times(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let lacks = |literal: &Expr| full_literal(literal).is_some();
    let time = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) && lacks(right) => left,
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) && lacks(left) => right,
        Expr::Between(Between { expr, low, high, .. }) if lacks(low) || lacks(high) => expr,
        Expr::InList(InList { expr, list, .. }) if list.iter().any(lacks) => expr,
        _ => return Ok(Transformed::no(expr)),
    };
    match time.get_type(schema) {
        Ok(arrow::datatypes::DataType::Timestamp(..)) => expr.map_children(|child| {
            Ok(match full_literal(&child) {
                Some(full) => Transformed::yes(full),
                None => Transformed::no(child),
            })
        }),
        _ => Ok(Transformed::no(expr)),
    }
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn full_literal(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = expr else { return None };
    Some(Expr::Literal(ScalarValue::Utf8(Some(full_time(text)?)), metadata.clone()))
}

#[cfg(test)]
mod tests {
    use super::full_time;

    #[test]
    fn times_get_all_digits() {
        let full = |text| full_time(text).unwrap_or_default();
        assert_eq!(full("2020-04-15 08:05"), "2020-04-15 08:05:00");
        assert_eq!(full("2020-4-5 8:05:00.25"), "2020-04-05 08:05:00.25");
        assert_eq!(full("2020-04-15T8:05+02"), "2020-04-15 08:05:00+02");
        assert_eq!(full("2020-04-15 08:05Z"), "2020-04-15 08:05:00Z");
        assert_eq!(full("2020-4-5"), "2020-04-05");
        for left in ["2020-04-15 08:05:00", "2020-04-15", "08:05", "yesterday", "20-4-15 8:05", "2020-04-15 8"] {
            assert_eq!(full_time(left), None, "{left}");
        }
    }
}
