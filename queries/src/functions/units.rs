//! `format_units(amount, decimals)` and `parse_units(text, decimals)`: token amounts between whole
//! base units and people's units.

use std::fmt::Write as _;

use alloy_primitives::U256;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use datafusion_expr::ColumnarValue;
use highwater_engine::model::wide::{WIDE_TYPE, Wide, uint256_to_bytes};

use super::columns::{Numbers, Text, fill_fixed, fill_text, is_bytes, is_exact, is_text};
use super::function::{Argument, Call, Function, FunctionText, Output};

/// No token has more decimals: 2^256 has 78 digits.
const MOST_DECIMALS: i64 = 77;

/// The decimals of each row, mostly one constant.
struct Decimals {
    array: Int64Array,
    constant: bool,
}

impl Decimals {
    fn new(value: &ColumnarValue, rows: usize) -> Result<Self> {
        let constant = matches!(value, ColumnarValue::Scalar(_));
        let array = value.to_array(if constant { 1 } else { rows })?;
        Ok(Decimals { array: array.as_primitive::<Int64Type>().clone(), constant })
    }

    fn get(&self, row: usize) -> Result<Option<usize>> {
        let row = if self.constant { 0 } else { row };
        if self.array.is_null(row) {
            return Ok(None);
        }
        let decimals = self.array.value(row);
        match usize::try_from(decimals) {
            Ok(count) if decimals <= MOST_DECIMALS => Ok(Some(count)),
            _ => exec_err!("{decimals} decimals: a token has 0 to {MOST_DECIMALS}"),
        }
    }
}

fn amount_and_decimals(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [amount, decimals] if decimals.is_integer() || decimals.is_null() => {
            let fits = is_exact(amount) || amount == &WIDE_TYPE;
            let amount = if amount.is_null() { DataType::Int64 } else { amount.clone() };
            (fits || amount == DataType::Int64).then(|| vec![amount, DataType::Int64])
        }
        _ => None,
    }
}

fn text_and_decimals(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [text, decimals] if decimals.is_integer() || decimals.is_null() => {
            let text = if text.is_null() { DataType::Utf8 } else { text.clone() };
            is_text(&text).then(|| vec![text, DataType::Int64])
        }
        _ => None,
    }
}

fn text(arguments: &[Argument<'_>]) -> Option<Output> {
    let plain_bytes = is_bytes(arguments[0].data_type) && arguments[0].wide.is_none();
    (!plain_bytes).then_some(Output::Plain(DataType::Utf8))
}

fn format_units(call: &Call<'_>) -> Result<ArrayRef> {
    let amounts = Numbers::new(&call.values[0], call.wides[0])?;
    let decimals = Decimals::new(&call.values[1], call.rows)?;
    let mut digits = String::new();
    fill_text(call.rows, |row, text| {
        let (Some(amount), Some(decimals)) = (amounts.get(row)?, decimals.get(row)?) else {
            return Ok(false);
        };
        digits.clear();
        write!(digits, "{}", amount.magnitude()).expect("writing to a String cannot fail");
        if amount.is_negative() {
            text.push('-');
        }
        push_shifted(text, &digits, decimals);
        Ok(true)
    })
}

/// Appends digits with the decimal point moved to the left, without zeros at the end.
fn push_shifted(text: &mut String, digits: &str, decimals: usize) {
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(decimals));
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let significant = fraction.trim_end_matches('0');
    if !significant.is_empty() {
        text.push('.');
        text.extend(std::iter::repeat_n('0', decimals - fraction.len()));
        text.push_str(significant);
    }
}

fn parse_amount(text: &str, decimals: usize) -> Result<[u8; 32]> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !all_digits || (whole.is_empty() && fraction.is_empty()) {
        return exec_err!("'{text}' is not an amount: write digits with at most one point, such as 1.5");
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > decimals {
        return exec_err!("'{text}' has more than {decimals} decimals");
    }
    let mut value = U256::ZERO;
    let zeros = std::iter::repeat_n(b'0', decimals - fraction.len());
    for byte in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        value =
            value.checked_mul(U256::from(10)).and_then(|value| value.checked_add(U256::from(byte - b'0'))).ok_or_else(
                || exec_datafusion_err!("UINT256 overflow: '{text}' with {decimals} decimals is above 2^256 - 1"),
            )?;
    }
    Ok(uint256_to_bytes(value))
}

fn parse_units(call: &Call<'_>) -> Result<ArrayRef> {
    let amounts = Text::new(&call.values[0])?;
    let decimals = Decimals::new(&call.values[1], call.rows)?;
    fill_fixed(call.rows, |row| match (amounts.get(row), decimals.get(row)?) {
        (Some(amount), Some(decimals)) => parse_amount(amount, decimals).map(Some),
        _ => Ok(None),
    })
}

/// `format_units(amount, decimals)`
pub(crate) static FORMAT_UNITS: Function = Function {
    doc: FunctionText {
        name: "format_units",
        signature: "format_units(UINT256 | INT256 | integer, decimals) -> VARCHAR",
        doc: "An amount of base units as exact decimal text in whole tokens, without zeros at the end.",
        example: "format_units(1500000, 6)",
        result: "1.5",
    },
    accepts: amount_and_decimals,
    returns: text,
    evaluate: format_units,
};

/// `parse_units(text, decimals)`
pub(crate) static PARSE_UNITS: Function = Function {
    doc: FunctionText {
        name: "parse_units",
        signature: "parse_units(text, decimals) -> UINT256",
        doc: "An amount in whole tokens as base units; an error if it has more decimals, is negative or does not fit.",
        example: "parse_units('1.5', 18)",
        result: "1500000000000000000",
    },
    accepts: text_and_decimals,
    returns: |_| Some(Output::Wide(Wide::Unsigned)),
    evaluate: parse_units,
};
