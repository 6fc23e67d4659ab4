//! Comparison of an UINT256 with an INT256. Two values of one kind compare as bytes, which needs no
//! function.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::Operator;
use highwater_engine::model::wide::{WIDE_TYPE, Wide, int256_from_bytes, uint256_from_bytes};

use super::columns::{Bytes, fill_truth};
use super::function::{Argument, Call, Function, FunctionText, Output};
use super::number::Number;

/// The function that evaluates a comparison of mixed kinds.
pub(crate) fn comparison_function(operator: Operator) -> Option<&'static Function> {
    match operator {
        Operator::Eq => Some(&WIDE_EQ),
        Operator::NotEq => Some(&WIDE_NE),
        Operator::Lt => Some(&WIDE_LT),
        Operator::LtEq => Some(&WIDE_LE),
        Operator::Gt => Some(&WIDE_GT),
        Operator::GtEq => Some(&WIDE_GE),
        _ => None,
    }
}

fn two_wides(types: &[DataType]) -> Option<Vec<DataType>> {
    (types.len() == 2 && types.iter().all(|data_type| data_type == &WIDE_TYPE)).then(|| types.to_vec())
}

fn truth(arguments: &[Argument<'_>]) -> Option<Output> {
    arguments.iter().all(|argument| argument.wide.is_some()).then_some(Output::Plain(DataType::Boolean))
}

fn number(kind: Option<Wide>, bytes: &[u8]) -> Number {
    match kind {
        Some(Wide::Signed) => Number::signed(int256_from_bytes(bytes)),
        _ => Number::unsigned(uint256_from_bytes(bytes)),
    }
}

fn each(call: &Call<'_>, holds: fn(Ordering) -> bool) -> Result<ArrayRef> {
    let (left, right) = (Bytes::new(&call.values[0])?, Bytes::new(&call.values[1])?);
    Ok(fill_truth(call.rows, |row| {
        let (left, right) = (left.get(row)?, right.get(row)?);
        Some(holds(number(call.wides[0], left).cmp(&number(call.wides[1], right))))
    }))
}

macro_rules! comparisons {
    ($($constant:ident, $name:literal, $holds:expr, $signature:literal, $doc:literal, $example:literal, $result:literal;)*) => {
        $(
            #[doc = $doc]
            static $constant: Function = Function {
                doc: FunctionText { name: $name, signature: $signature, doc: $doc, example: $example, result: $result },
                accepts: two_wides,
                returns: truth,
                evaluate: |call| each(call, $holds),
            };
        )*
        /// All functions of this file.
        pub(crate) static FUNCTIONS: &[&Function] = &[$(&$constant),*];
    };
}

comparisons! {
    WIDE_EQ, "wide_eq", Ordering::is_eq, "wide_eq(UINT256 | INT256, UINT256 | INT256) -> BOOLEAN", "The operator `=` across both 256-bit types.", "wide_eq(uint256(1), int256(1))", "true";
    WIDE_NE, "wide_ne", Ordering::is_ne, "wide_ne(UINT256 | INT256, UINT256 | INT256) -> BOOLEAN", "The operator `<>` across both 256-bit types.", "wide_ne(uint256(1), int256(1))", "false";
    WIDE_LT, "wide_lt", Ordering::is_lt, "wide_lt(UINT256 | INT256, UINT256 | INT256) -> BOOLEAN", "The operator `<` across both 256-bit types.", "wide_lt(int256(-1), uint256(1))", "true";
    WIDE_LE, "wide_le", Ordering::is_le, "wide_le(UINT256 | INT256, UINT256 | INT256) -> BOOLEAN", "The operator `<=` across both 256-bit types.", "wide_le(int256(-1), uint256(1))", "true";
    WIDE_GT, "wide_gt", Ordering::is_gt, "wide_gt(UINT256 | INT256, UINT256 | INT256) -> BOOLEAN", "The operator `>` across both 256-bit types.", "wide_gt(int256(-1), uint256(1))", "false";
    WIDE_GE, "wide_ge", Ordering::is_ge, "wide_ge(UINT256 | INT256, UINT256 | INT256) -> BOOLEAN", "The operator `>=` across both 256-bit types.", "wide_ge(int256(-1), uint256(1))", "false";
}
