//! `selector(signature)`

use alloy_primitives::keccak256;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};

use super::columns::{Text, fill_fixed};
use super::function::{Argument, Call, Function, FunctionText, Output};
use super::unhex::one_text;

fn returns(_arguments: &[Argument<'_>]) -> Option<Output> {
    Some(Output::Plain(DataType::FixedSizeBinary(4)))
}

fn selector(signature: &str) -> Result<[u8; 4]> {
    let named = signature.split_once('(').is_some_and(|(name, rest)| !name.is_empty() && rest.ends_with(')'));
    if !named || signature.contains(char::is_whitespace) {
        return exec_err!(
            "'{signature}' is not a function signature: write name and types without spaces, as in \
             'transfer(address,uint256)'"
        );
    }
    let hash = keccak256(signature);
    Ok([hash[0], hash[1], hash[2], hash[3]])
}

fn evaluate(call: &Call<'_>) -> Result<ArrayRef> {
    let text = Text::new(&call.values[0])?;
    fill_fixed(call.rows, |row| text.get(row).map(selector).transpose())
}

/// `selector(signature)`
pub(crate) static SELECTOR: Function = Function {
    doc: FunctionText {
        name: "selector",
        signature: "selector(text) -> 4 bytes",
        doc: "The 4 bytes that call a contract's function: the start of the Keccak-256 hash of its signature, \
              which has the types in full (uint256, not uint) and no names or spaces.",
        example: "selector('transfer(address,uint256)')",
        result: "0xa9059cbb",
    },
    accepts: one_text,
    returns,
    evaluate,
};
