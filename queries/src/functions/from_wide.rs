//! 256-bit integers as decimal, BIGINT, double and text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Decimal256Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, i256};
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use highwater_engine::model::wide::WIDE_TYPE;

use super::columns::{Numbers, is_bytes, is_exact};
use super::function::{Argument, Call, Function, FunctionText, Output};
use super::number::Number;

/// 10^38, above every DECIMAL(38, 0).
const ABOVE_DECIMAL: i128 = 10_i128.pow(38);

fn one_exact(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [DataType::Null] => Some(vec![DataType::Int64]),
        [one] if is_exact(one) || one == &WIDE_TYPE => Some(types.to_vec()),
        _ => None,
    }
}

fn one_number(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [one] if one.is_floating() => Some(types.to_vec()),
        _ => one_exact(types),
    }
}

fn unless_bytes(arguments: &[Argument<'_>], output: DataType) -> Option<Output> {
    let plain_bytes = arguments.iter().any(|argument| is_bytes(argument.data_type) && argument.wide.is_none());
    (!plain_bytes).then_some(Output::Plain(output))
}

fn small_decimal(number: Number) -> Result<i128> {
    number
        .to_i128()
        .filter(|value| value.unsigned_abs() < ABOVE_DECIMAL.unsigned_abs())
        .ok_or_else(|| exec_datafusion_err!("{number} does not fit DECIMAL(38, 0)"))
}

fn to_decimal(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    let values = (0..call.rows)
        .map(|row| numbers.get(row)?.map(small_decimal).transpose())
        .collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(values.with_precision_and_scale(38, 0)?))
}

fn large_decimal(number: Number) -> Result<i256> {
    let digits = number.to_string();
    if digits.trim_start_matches('-').len() > 76 {
        return exec_err!("{number} does not fit DECIMAL(76, 0)");
    }
    i256::from_string(&digits).ok_or_else(|| exec_datafusion_err!("{number} does not fit DECIMAL(76, 0)"))
}

fn to_decimal76(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    let values = (0..call.rows)
        .map(|row| numbers.get(row)?.map(large_decimal).transpose())
        .collect::<Result<Decimal256Array>>()?;
    Ok(Arc::new(values.with_precision_and_scale(76, 0)?))
}

fn to_bigint(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    let fit = |number: Number| {
        let value = number.to_i128().and_then(|value| i64::try_from(value).ok());
        value.ok_or_else(|| exec_datafusion_err!("{number} does not fit BIGINT"))
    };
    let values = (0..call.rows).map(|row| numbers.get(row)?.map(fit).transpose()).collect::<Result<Int64Array>>()?;
    Ok(Arc::new(values))
}

fn to_double(call: &Call<'_>) -> Result<ArrayRef> {
    if call.wides[0].is_none() {
        return Ok(arrow::compute::cast(&call.values[0].to_array(call.rows)?, &DataType::Float64)?);
    }
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    let values =
        (0..call.rows).map(|row| Ok(numbers.get(row)?.map(Number::to_double))).collect::<Result<Float64Array>>()?;
    Ok(Arc::new(values))
}

fn to_text(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    super::columns::fill_text(call.rows, |row, text| {
        let number = numbers.get(row)?;
        if let Some(number) = number {
            write!(text, "{number}").expect("writing to a String cannot fail");
        }
        Ok(number.is_some())
    })
}

/// `to_decimal(x)`
pub(crate) static TO_DECIMAL: Function = Function {
    doc: FunctionText {
        name: "to_decimal",
        signature: "to_decimal(UINT256 | INT256 | integer) -> DECIMAL(38, 0)",
        doc: "The same number as a decimal of 38 digits; an error if it has more.",
        example: "to_decimal(uint256('1000000000000000000'))",
        result: "1000000000000000000",
    },
    accepts: one_exact,
    returns: |arguments| unless_bytes(arguments, DataType::Decimal128(38, 0)),
    evaluate: to_decimal,
};

/// `to_decimal76(x)`
pub(crate) static TO_DECIMAL76: Function = Function {
    doc: FunctionText {
        name: "to_decimal76",
        signature: "to_decimal76(UINT256 | INT256 | integer) -> DECIMAL(76, 0)",
        doc: "The same number as a decimal of 76 digits; an error if it has more.",
        example: "to_decimal76(uint256('1000000000000000000'))",
        result: "1000000000000000000",
    },
    accepts: one_exact,
    returns: |arguments| unless_bytes(arguments, DataType::Decimal256(76, 0)),
    evaluate: to_decimal76,
};

/// `to_bigint(x)`
pub(crate) static TO_BIGINT: Function = Function {
    doc: FunctionText {
        name: "to_bigint",
        signature: "to_bigint(UINT256 | INT256 | integer) -> BIGINT",
        doc: "The same number as a BIGINT; an error if it does not fit 64 bits.",
        example: "to_bigint(uint256('42'))",
        result: "42",
    },
    accepts: one_exact,
    returns: |arguments| unless_bytes(arguments, DataType::Int64),
    evaluate: to_bigint,
};

/// `to_double(x)`
pub(crate) static TO_DOUBLE: Function = Function {
    doc: FunctionText {
        name: "to_double",
        signature: "to_double(UINT256 | INT256 | number) -> DOUBLE",
        doc: "The nearest double, for ratios and charts: about 16 digits are kept.",
        example: "to_double(uint256('1500000000000000000')) / 1e18",
        result: "1.5",
    },
    accepts: one_number,
    returns: |arguments| unless_bytes(arguments, DataType::Float64),
    evaluate: to_double,
};

/// `to_text(x)`
pub(crate) static TO_TEXT: Function = Function {
    doc: FunctionText {
        name: "to_text",
        signature: "to_text(UINT256 | INT256 | integer) -> VARCHAR",
        doc: "The decimal digits of a whole number. Same as CAST(x AS VARCHAR).",
        example: "to_text(uint256('0xff'))",
        result: "255",
    },
    accepts: one_exact,
    returns: |arguments| unless_bytes(arguments, DataType::Utf8),
    evaluate: to_text,
};
