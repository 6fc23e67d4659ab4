//! `to_checksum(address)`

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_datafusion_err};
use highwater_engine::model::wide::ADDRESS_TYPE;

use super::columns::{Bytes, fill_text, is_bytes};
use super::function::{Argument, Call, Function, FunctionText, Output};
use super::text_bytes::checksum;

fn accepts(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [DataType::Null] => Some(vec![ADDRESS_TYPE]),
        [DataType::FixedSizeBinary(20)] => Some(types.to_vec()),
        [one] if is_bytes(one) && !matches!(one, DataType::FixedSizeBinary(_)) => Some(types.to_vec()),
        _ => None,
    }
}

fn returns(_arguments: &[Argument<'_>]) -> Option<Output> {
    Some(Output::Plain(DataType::Utf8))
}

fn evaluate(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = Bytes::new(&call.values[0])?;
    fill_text(call.rows, |row, text| {
        let Some(value) = bytes.get(row) else { return Ok(false) };
        let address: &[u8; 20] =
            value.try_into().map_err(|_| exec_datafusion_err!("not an address: {} bytes, not 20", value.len()))?;
        text.push_str(checksum(address, &mut [0; 42]));
        Ok(true)
    })
}

/// `to_checksum(address)`
pub(crate) static TO_CHECKSUM: Function = Function {
    doc: FunctionText {
        name: "to_checksum",
        signature: "to_checksum(ADDRESS) -> VARCHAR",
        doc: "The address as text with the checksum of EIP-55 in the case of its letters.",
        example: "to_checksum(address('0xdac17f958d2ee523a2206206994597c13d831ec7'))",
        result: "0xdAC17F958D2ee523a2206206994597C13D831ec7",
    },
    accepts,
    returns,
    evaluate,
};
