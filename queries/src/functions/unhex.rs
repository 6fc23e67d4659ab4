//! `unhex(text)`

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::DataType;
use datafusion_common::Result;

use super::columns::{Text, is_text};
use super::function::{Argument, Call, Function, FunctionText, Output};
use super::text_bytes::decode_hex;

/// One text argument.
pub(crate) fn one_text(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [DataType::Null] => Some(vec![DataType::Utf8]),
        [one] if is_text(one) => Some(types.to_vec()),
        _ => None,
    }
}

fn returns(_arguments: &[Argument<'_>]) -> Option<Output> {
    Some(Output::Plain(DataType::Binary))
}

fn evaluate(call: &Call<'_>) -> Result<ArrayRef> {
    let text = Text::new(&call.values[0])?;
    let mut builder = BinaryBuilder::with_capacity(call.rows, call.rows * 32);
    let mut bytes = Vec::new();
    for row in 0..call.rows {
        match text.get(row) {
            Some(text) => {
                bytes.clear();
                decode_hex(text, &mut bytes)?;
                builder.append_value(&bytes);
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// `unhex(text)`
pub(crate) static UNHEX: Function = Function {
    doc: FunctionText {
        name: "unhex",
        signature: "unhex(text) -> VARBINARY",
        doc: "The bytes of hex text, with or without 0x; an error if digits are odd in number or not hex.",
        example: "unhex('0xCAFE')",
        result: "0xcafe",
    },
    accepts: one_text,
    returns,
    evaluate,
};
