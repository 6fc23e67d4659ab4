//! `hex(x)`

use std::fmt::Write as _;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use highwater_engine::model::format;

use super::columns::{Bytes, Numbers, fill_text, is_bytes, is_exact};
use super::function::{Argument, Call, Function, FunctionText, Output};

fn accepts(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [DataType::Null] => Some(vec![DataType::Binary]),
        [one] if is_bytes(one) || is_exact(one) => Some(types.to_vec()),
        _ => None,
    }
}

fn returns(_arguments: &[Argument<'_>]) -> Option<Output> {
    Some(Output::Plain(DataType::Utf8))
}

fn evaluate(call: &Call<'_>) -> Result<ArrayRef> {
    if call.wides[0].is_none() && is_bytes(&call.values[0].data_type()) {
        let bytes = Bytes::new(&call.values[0])?;
        return fill_text(call.rows, |row, text| {
            let value = bytes.get(row);
            if let Some(value) = value {
                format::hex(text, value);
            }
            Ok(value.is_some())
        });
    }
    let numbers = Numbers::new(&call.values[0], call.wides[0])?;
    fill_text(call.rows, |row, text| {
        let number = numbers.get(row)?;
        if let Some(number) = number {
            let sign = if number.is_negative() { "-" } else { "" };
            write!(text, "{sign}{:#x}", number.magnitude()).expect("writing to a String cannot fail");
        }
        Ok(number.is_some())
    })
}

/// `hex(x)`
pub(crate) static HEX: Function = Function {
    doc: FunctionText {
        name: "hex",
        signature: "hex(bytes | UINT256 | INT256 | integer) -> VARCHAR",
        doc: "Lower-case hex after 0x: every byte of bytes, or the digits of a number without leading zeros.",
        example: "hex(255)",
        result: "0xff",
    },
    accepts,
    returns,
    evaluate,
};
