//! `uint256(x)`, `int256(x)`: whole numbers of any form as 256-bit integers, and the variants that
//! give NULL instead of an error (`TRY_CAST`).

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use highwater_engine::model::wide::{WIDE_TYPE, Wide};

use super::columns::{Numbers, fill_fixed, is_bytes, is_exact, is_text};
use super::function::{Argument, Call, Function, FunctionText, Output};

fn one_number(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [DataType::Null] => Some(vec![WIDE_TYPE]),
        [DataType::FixedSizeBinary(width)] if *width > 32 => None,
        [one] if is_bytes(one) || is_text(one) || is_exact(one) || one.is_floating() => Some(types.to_vec()),
        _ => None,
    }
}

fn unsigned(_arguments: &[Argument<'_>]) -> Option<Output> {
    Some(Output::Wide(Wide::Unsigned))
}

fn signed(_arguments: &[Argument<'_>]) -> Option<Output> {
    Some(Output::Wide(Wide::Signed))
}

fn convert(call: &Call<'_>, kind: Wide) -> Result<ArrayRef> {
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    fill_fixed(call.rows, |row| numbers.get(row)?.map(|number| number.stored(kind)).transpose())
}

fn try_convert(call: &Call<'_>, kind: Wide) -> Result<ArrayRef> {
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    fill_fixed(call.rows, |row| Ok(numbers.get(row).ok().flatten().and_then(|number| number.stored(kind).ok())))
}

/// `uint256(x)`
pub(crate) static TO_UINT256: Function = Function {
    doc: FunctionText {
        name: "uint256",
        signature: "uint256(number | text | bytes) -> UINT256",
        doc: "The unsigned 256-bit integer of a whole number, of decimal text, of hex text after 0x, or of up to 32 \
              big-endian bytes. An error if it is below 0, has a fraction or does not fit. Same as CAST(x AS UINT256).",
        example: "uint256('0xff')",
        result: "255",
    },
    accepts: one_number,
    returns: unsigned,
    evaluate: |call| convert(call, Wide::Unsigned),
};

/// `int256(x)`
pub(crate) static TO_INT256: Function = Function {
    doc: FunctionText {
        name: "int256",
        signature: "int256(number | text | bytes) -> INT256",
        doc: "The signed 256-bit integer of a whole number, of decimal text, of hex text after 0x, or of up to 32 \
              big-endian bytes read as unsigned. An error if it has a fraction or does not fit. Same as \
              CAST(x AS INT256).",
        example: "int256('-12')",
        result: "-12",
    },
    accepts: one_number,
    returns: signed,
    evaluate: |call| convert(call, Wide::Signed),
};

/// `try_uint256(x)`
pub(crate) static TRY_UINT256: Function = Function {
    doc: FunctionText {
        name: "try_uint256",
        signature: "try_uint256(number | text | bytes) -> UINT256",
        doc: "As uint256, with NULL instead of an error. Same as TRY_CAST(x AS UINT256).",
        example: "try_uint256('seven')",
        result: "",
    },
    accepts: one_number,
    returns: unsigned,
    evaluate: |call| try_convert(call, Wide::Unsigned),
};

/// `try_int256(x)`
pub(crate) static TRY_INT256: Function = Function {
    doc: FunctionText {
        name: "try_int256",
        signature: "try_int256(number | text | bytes) -> INT256",
        doc: "As int256, with NULL instead of an error. Same as TRY_CAST(x AS INT256).",
        example: "try_int256('-7')",
        result: "-7",
    },
    accepts: one_number,
    returns: signed,
    evaluate: |call| try_convert(call, Wide::Signed),
};
