//! `address(text)`

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use highwater_engine::model::wide::ADDRESS_TYPE;

use super::columns::{Bytes, Text, fill_fixed, is_bytes, is_text};
use super::function::{Argument, Call, Function, FunctionText, Output};
use super::text_bytes::decode_address;

fn accepts(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [DataType::Null] => Some(vec![DataType::Utf8]),
        [one] if is_text(one) || is_bytes(one) => Some(types.to_vec()),
        _ => None,
    }
}

fn returns(arguments: &[Argument<'_>]) -> Option<Output> {
    arguments[0].wide.is_none().then_some(Output::Plain(ADDRESS_TYPE))
}

/// An address from its 20 bytes, or from a 32-byte word with 12 zero bytes in front, as in topics.
fn from_bytes(bytes: &[u8]) -> Result<[u8; 20]> {
    let (zeros, tail) = bytes.split_at(bytes.len().saturating_sub(20));
    match tail.try_into() {
        Ok(address) if zeros.is_empty() || (zeros.len() == 12 && zeros.iter().all(|byte| *byte == 0)) => Ok(address),
        _ => exec_err!("not an address: {} bytes, 20 or a padded word of 32 are needed", bytes.len()),
    }
}

fn evaluate(call: &Call<'_>) -> Result<ArrayRef> {
    if is_bytes(&call.values[0].data_type()) {
        let bytes = Bytes::new(&call.values[0])?;
        return fill_fixed(call.rows, |row| bytes.get(row).map(from_bytes).transpose());
    }
    let text = Text::new(&call.values[0])?;
    fill_fixed(call.rows, |row| text.get(row).map(decode_address).transpose())
}

/// `address(text)`
pub(crate) static ADDRESS: Function = Function {
    doc: FunctionText {
        name: "address",
        signature: "address(text | bytes) -> ADDRESS",
        doc: "The 20 bytes of an address written in hex, or of a log topic that holds one. An error if the length is \
              wrong; with letters of both cases the checksum of EIP-55 must hold too. Same as CAST(x AS ADDRESS).",
        example: "address('0xdAC17F958D2ee523a2206206994597C13D831ec7')",
        result: "0xdac17f958d2ee523a2206206994597c13d831ec7",
    },
    accepts,
    returns,
    evaluate,
};
