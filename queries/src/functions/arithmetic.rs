//! `+ - * / %` of 256-bit integers. The planner turns the operators into these functions; they can
//! be called by name too.

use alloy_primitives::{I256, U256};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use datafusion_expr::Operator;
use highwater_engine::model::wide::{
    WIDE_TYPE, Wide, int256_from_bytes, int256_to_bytes, uint256_from_bytes, uint256_to_bytes,
};

use super::columns::{Bytes, fill_fixed};
use super::function::{Argument, Call, Function, FunctionText, Output};

/// The function that evaluates an arithmetic operator over two values of one kind.
pub(crate) fn operator_function(kind: Wide, operator: Operator) -> Option<&'static Function> {
    let of_kind = match kind {
        Wide::Unsigned => [&UINT256_ADD, &UINT256_SUB, &UINT256_MUL, &UINT256_DIV, &UINT256_REM],
        Wide::Signed => [&INT256_ADD, &INT256_SUB, &INT256_MUL, &INT256_DIV, &INT256_REM],
    };
    let index = match operator {
        Operator::Plus => 0,
        Operator::Minus => 1,
        Operator::Multiply => 2,
        Operator::Divide => 3,
        Operator::Modulo => 4,
        _ => return None,
    };
    Some(of_kind[index])
}

fn two_wides(types: &[DataType]) -> Option<Vec<DataType>> {
    (types.len() == 2 && types.iter().all(|data_type| data_type == &WIDE_TYPE || data_type.is_null()))
        .then(|| vec![WIDE_TYPE; 2])
}

fn is_or_null(argument: &Argument<'_>, kind: Wide) -> bool {
    argument.wide == Some(kind) || argument.data_type.is_null()
}

fn unsigned(arguments: &[Argument<'_>]) -> Option<Output> {
    arguments.iter().all(|argument| is_or_null(argument, Wide::Unsigned)).then_some(Output::Wide(Wide::Unsigned))
}

fn signed(arguments: &[Argument<'_>]) -> Option<Output> {
    arguments.iter().all(|argument| is_or_null(argument, Wide::Signed)).then_some(Output::Wide(Wide::Signed))
}

fn each_unsigned(call: &Call<'_>, compute: impl Fn(U256, U256) -> Result<U256>) -> Result<ArrayRef> {
    let (left, right) = (Bytes::new(&call.values[0])?, Bytes::new(&call.values[1])?);
    fill_fixed(call.rows, |row| match (left.get(row), right.get(row)) {
        (Some(left), Some(right)) => {
            compute(uint256_from_bytes(left), uint256_from_bytes(right)).map(|value| Some(uint256_to_bytes(value)))
        }
        _ => Ok(None),
    })
}

fn each_signed(call: &Call<'_>, compute: impl Fn(I256, I256) -> Result<I256>) -> Result<ArrayRef> {
    let (left, right) = (Bytes::new(&call.values[0])?, Bytes::new(&call.values[1])?);
    fill_fixed(call.rows, |row| match (left.get(row), right.get(row)) {
        (Some(left), Some(right)) => {
            compute(int256_from_bytes(left), int256_from_bytes(right)).map(|value| Some(int256_to_bytes(value)))
        }
        _ => Ok(None),
    })
}

fn uint256_add(call: &Call<'_>) -> Result<ArrayRef> {
    each_unsigned(call, |a, b| {
        a.checked_add(b).ok_or_else(|| exec_datafusion_err!("UINT256 overflow: {a} + {b} is above 2^256 - 1"))
    })
}

fn uint256_sub(call: &Call<'_>) -> Result<ArrayRef> {
    each_unsigned(call, |a, b| {
        a.checked_sub(b).ok_or_else(|| exec_datafusion_err!("UINT256 overflow: {a} - {b} is below 0"))
    })
}

fn uint256_mul(call: &Call<'_>) -> Result<ArrayRef> {
    each_unsigned(call, |a, b| {
        a.checked_mul(b).ok_or_else(|| exec_datafusion_err!("UINT256 overflow: {a} * {b} is above 2^256 - 1"))
    })
}

fn uint256_div(call: &Call<'_>) -> Result<ArrayRef> {
    each_unsigned(call, |a, b| {
        a.checked_div(b).ok_or_else(|| exec_datafusion_err!("UINT256 division by zero: {a} / 0"))
    })
}

fn uint256_rem(call: &Call<'_>) -> Result<ArrayRef> {
    each_unsigned(call, |a, b| {
        a.checked_rem(b).ok_or_else(|| exec_datafusion_err!("UINT256 division by zero: {a} % 0"))
    })
}

fn out_of_signed(a: I256, operator: char, b: I256) -> datafusion_common::DataFusionError {
    exec_datafusion_err!("INT256 overflow: {a} {operator} {b} is outside -2^255 to 2^255 - 1")
}

fn int256_add(call: &Call<'_>) -> Result<ArrayRef> {
    each_signed(call, |a, b| a.checked_add(b).ok_or_else(|| out_of_signed(a, '+', b)))
}

fn int256_sub(call: &Call<'_>) -> Result<ArrayRef> {
    each_signed(call, |a, b| a.checked_sub(b).ok_or_else(|| out_of_signed(a, '-', b)))
}

fn int256_mul(call: &Call<'_>) -> Result<ArrayRef> {
    each_signed(call, |a, b| {
        // The library's check misses -1 times the lowest value.
        if a == I256::MINUS_ONE && b == I256::MIN || a == I256::MIN && b == I256::MINUS_ONE {
            return Err(out_of_signed(a, '*', b));
        }
        a.checked_mul(b).ok_or_else(|| out_of_signed(a, '*', b))
    })
}

fn int256_div(call: &Call<'_>) -> Result<ArrayRef> {
    each_signed(call, |a, b| match b {
        I256::ZERO => exec_err!("INT256 division by zero: {a} / 0"),
        _ => a.checked_div(b).ok_or_else(|| out_of_signed(a, '/', b)),
    })
}

fn int256_rem(call: &Call<'_>) -> Result<ArrayRef> {
    each_signed(call, |a, b| match b {
        I256::ZERO => exec_err!("INT256 division by zero: {a} % 0"),
        // The lowest value by -1 has remainder 0, though its quotient does not fit.
        I256::MINUS_ONE => Ok(I256::ZERO),
        _ => a.checked_rem(b).ok_or_else(|| out_of_signed(a, '%', b)),
    })
}

macro_rules! kernels {
    ($($constant:ident, $evaluate:ident, $returns:ident, $signature:literal, $doc:literal, $example:literal, $result:literal;)*) => {
        $(
            #[doc = $doc]
            pub(crate) static $constant: Function = Function {
                doc: FunctionText {
                    name: stringify!($evaluate),
                    signature: $signature,
                    doc: $doc,
                    example: $example,
                    result: $result,
                },
                accepts: two_wides,
                returns: $returns,
                evaluate: $evaluate,
            };
        )*
        /// All functions of this file.
        pub(crate) static FUNCTIONS: &[&Function] = &[$(&$constant),*];
    };
}

kernels! {
    UINT256_ADD, uint256_add, unsigned, "uint256_add(UINT256, UINT256) -> UINT256", "The operator `+` of UINT256; an error above 2^256 - 1.", "uint256_add(uint256(2), uint256(3))", "5";
    UINT256_SUB, uint256_sub, unsigned, "uint256_sub(UINT256, UINT256) -> UINT256", "The operator `-` of UINT256; an error below 0.", "uint256_sub(uint256(3), uint256(2))", "1";
    UINT256_MUL, uint256_mul, unsigned, "uint256_mul(UINT256, UINT256) -> UINT256", "The operator `*` of UINT256; an error above 2^256 - 1.", "uint256_mul(uint256(3), uint256(2))", "6";
    UINT256_DIV, uint256_div, unsigned, "uint256_div(UINT256, UINT256) -> UINT256", "The operator `/` of UINT256: the whole quotient, towards zero; an error if divided by 0.", "uint256_div(uint256(7), uint256(2))", "3";
    UINT256_REM, uint256_rem, unsigned, "uint256_rem(UINT256, UINT256) -> UINT256", "The operator `%` of UINT256: the remainder; an error if divided by 0.", "uint256_rem(uint256(7), uint256(2))", "1";
    INT256_ADD, int256_add, signed, "int256_add(INT256, INT256) -> INT256", "The operator `+` of INT256; an error outside -2^255 to 2^255 - 1.", "int256_add(int256(2), int256(-3))", "-1";
    INT256_SUB, int256_sub, signed, "int256_sub(INT256, INT256) -> INT256", "The operator `-` of INT256; an error outside -2^255 to 2^255 - 1.", "int256_sub(int256(2), int256(3))", "-1";
    INT256_MUL, int256_mul, signed, "int256_mul(INT256, INT256) -> INT256", "The operator `*` of INT256; an error outside -2^255 to 2^255 - 1.", "int256_mul(int256(2), int256(-3))", "-6";
    INT256_DIV, int256_div, signed, "int256_div(INT256, INT256) -> INT256", "The operator `/` of INT256: the whole quotient, towards zero; an error if divided by 0.", "int256_div(int256(-7), int256(2))", "-3";
    INT256_REM, int256_rem, signed, "int256_rem(INT256, INT256) -> INT256", "The operator `%` of INT256: the remainder, with the sign of the dividend; an error if divided by 0.", "int256_rem(int256(-7), int256(2))", "-1";
}
