//! Sign of 256-bit integers: `-x` and `abs(x)`.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use highwater_engine::model::wide::{WIDE_TYPE, Wide};

use super::columns::{Numbers, fill_fixed};
use super::function::{Argument, Call, Function, FunctionText, Output};
use super::number::Number;

fn one_wide(types: &[DataType]) -> Option<Vec<DataType>> {
    matches!(types, [one] if one == &WIDE_TYPE).then(|| types.to_vec())
}

fn signed(arguments: &[Argument<'_>]) -> Option<Output> {
    arguments[0].wide.map(|_| Output::Wide(Wide::Signed))
}

fn negate(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    fill_fixed(call.rows, |row| {
        let number = numbers.get(row)?;
        number.map(|number| Number::new(!number.is_negative(), number.magnitude()).stored(Wide::Signed)).transpose()
    })
}

fn absolute(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    let kind = call.wides[0].unwrap_or(Wide::Unsigned);
    fill_fixed(call.rows, |row| {
        let number = numbers.get(row)?;
        number.map(|number| Number::unsigned(number.magnitude()).stored(kind)).transpose()
    })
}

/// `-x`
pub(crate) static INT256_NEG: Function = Function {
    doc: FunctionText {
        name: "int256_neg",
        signature: "int256_neg(UINT256 | INT256) -> INT256",
        doc: "The operator `-x` of 256-bit integers; an error outside -2^255 to 2^255 - 1.",
        example: "int256_neg(uint256(5))",
        result: "-5",
    },
    accepts: one_wide,
    returns: signed,
    evaluate: negate,
};

/// `abs(x)`
pub(crate) static INT256_ABS: Function = Function {
    doc: FunctionText {
        name: "int256_abs",
        signature: "int256_abs(UINT256 | INT256) -> the same type",
        doc: "The magnitude of a 256-bit integer, what `abs(x)` calls; an error for -2^255.",
        example: "int256_abs(int256(-5))",
        result: "5",
    },
    accepts: one_wide,
    returns: |arguments| arguments[0].wide.map(Output::Wide),
    evaluate: absolute,
};
