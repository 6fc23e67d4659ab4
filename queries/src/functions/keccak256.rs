//! `keccak256(x)`

use alloy_primitives::keccak256;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use highwater_engine::model::wide::HASH_TYPE;

use super::columns::{Bytes, Text, fill_fixed, is_bytes, is_text};
use super::function::{Argument, Call, Function, FunctionText, Output};

fn accepts(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [DataType::Null] => Some(vec![DataType::Binary]),
        [one] if is_text(one) || is_bytes(one) => Some(types.to_vec()),
        _ => None,
    }
}

fn returns(arguments: &[Argument<'_>]) -> Option<Output> {
    arguments[0].wide.is_none().then_some(Output::Plain(HASH_TYPE))
}

fn evaluate(call: &Call<'_>) -> Result<ArrayRef> {
    if is_text(&call.values[0].data_type()) {
        let text = Text::new(&call.values[0])?;
        return fill_fixed(call.rows, |row| Ok(text.get(row).map(|text| keccak256(text).0)));
    }
    let bytes = Bytes::new(&call.values[0])?;
    fill_fixed(call.rows, |row| Ok(bytes.get(row).map(|bytes| keccak256(bytes).0)))
}

/// `keccak256(x)`
pub(crate) static KECCAK256: Function = Function {
    doc: FunctionText {
        name: "keccak256",
        signature: "keccak256(bytes | text) -> HASH",
        doc: "The Keccak-256 hash of bytes, or of text as UTF-8: text that looks like hex is hashed as text, so write \
              keccak256(unhex('0x…')) for its bytes. Of an event's signature it is the log's first topic.",
        example: "keccak256('Transfer(address,address,uint256)')",
        result: "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
    },
    accepts,
    returns,
    evaluate,
};
