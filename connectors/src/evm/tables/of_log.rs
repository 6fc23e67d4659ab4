//! The columns that every table made of logs has: where the log stands, and who sent the transaction.

use crate::columns::Column;
use crate::evm::decode::rows::At;
use crate::evm::field::{Fault, Field};
use crate::evm::json::{Log, Receipt};

/// Fills one of the shared columns for rows whose logs are in these places of `receipts`; false if
/// `column` is none of them.
pub(crate) fn fill(
    column: &mut Column,
    receipts: &[&Receipt<'_>],
    places: impl Iterator<Item = At>,
) -> Result<bool, Fault> {
    let log = |at: At| -> &Log<'_> { &receipts[at.receipt].logs[at.log] };
    match column.name() {
        "transaction_index" => column.fields(places.map(|at| log(at).transaction_index))?,
        "log_index" => column.fields(places.map(|at| log(at).log_index))?,
        "transaction_hash" => column.fields(places.map(|at| log(at).transaction_hash))?,
        "tx_from" => column.fields(places.map(|at| receipts[at.receipt].from))?,
        "tx_to" => column.fields(places.map(|at| receipts[at.receipt].to))?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Bytes that may not be there.
pub(crate) fn bytes<const N: usize>(bytes: &Option<[u8; N]>) -> Field<'_> {
    bytes.as_ref().map_or(Field::Absent, |bytes| Field::Bytes(bytes))
}
