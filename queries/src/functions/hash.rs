//! `hash(text)`

use arrow::array::ArrayRef;
use datafusion_common::Result;
use highwater_engine::model::wide::HASH_TYPE;

use super::columns::{Text, fill_fixed};
use super::function::{Argument, Call, Function, FunctionText, Output};
use super::text_bytes::decode_fixed;
use super::unhex::one_text;

fn returns(_arguments: &[Argument<'_>]) -> Option<Output> {
    Some(Output::Plain(HASH_TYPE))
}

fn evaluate(call: &Call<'_>) -> Result<ArrayRef> {
    let text = Text::new(&call.values[0])?;
    fill_fixed(call.rows, |row| text.get(row).map(decode_fixed::<32>).transpose())
}

/// `hash(text)`
pub(crate) static HASH: Function = Function {
    doc: FunctionText {
        name: "hash",
        signature: "hash(text) -> HASH",
        doc: "The 32 bytes of a hash written in hex, with or without 0x; an error if it has not 64 digits. \
              Same as CAST(x AS HASH).",
        example: "hash('0x00000000000000000000000000000000000000000000000000000000000000ff')",
        result: "0x00000000000000000000000000000000000000000000000000000000000000ff",
    },
    accepts: one_text,
    returns,
    evaluate,
};
