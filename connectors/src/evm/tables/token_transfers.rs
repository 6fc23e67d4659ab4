//! `token_transfers`: one row a moved token, decoded from logs.

use crate::columns::Column;
use crate::evm::decode::Transfer;
use crate::evm::field::{Fault, Field};
use crate::evm::json::{Log, Receipt};

/// A decoded transfer and where it came from.
pub(crate) struct Row<'b, 'a> {
    pub(crate) transfer: Transfer,
    pub(crate) log: &'b Log<'a>,
    pub(crate) receipt: &'b Receipt<'a>,
}

pub(crate) fn fill(column: &mut Column, rows: &[Row<'_, '_>]) -> Result<(), Fault> {
    match column.name() {
        "transaction_index" => column.fields(rows.iter().map(|row| row.log.transaction_index)),
        "log_index" => column.fields(rows.iter().map(|row| row.log.log_index)),
        "transaction_hash" => column.fields(rows.iter().map(|row| row.log.transaction_hash)),
        "token_standard" => column.texts(rows.iter().map(|row| Some(row.transfer.standard.name()))),
        "token_address" => column.fields(rows.iter().map(|row| row.log.address)),
        "from_address" => column.fields(rows.iter().map(|row| Field::Bytes(&row.transfer.from))),
        "to_address" => column.fields(rows.iter().map(|row| Field::Bytes(&row.transfer.to))),
        "amount" => column.fields(rows.iter().map(|row| Field::Bytes(&row.transfer.amount))),
        "token_id" => column.fields(rows.iter().map(|row| match &row.transfer.token_id {
            Some(id) => Field::Bytes(id),
            None => Field::Absent,
        })),
        "batch_index" => column.fields(rows.iter().map(|row| match row.transfer.batch_index {
            Some(index) => Field::Number(u64::from(index)),
            None => Field::Absent,
        })),
        "tx_from" => column.fields(rows.iter().map(|row| row.receipt.from)),
        "tx_to" => column.fields(rows.iter().map(|row| row.receipt.to)),
        _ => super::no_rule("token_transfers", column),
    }
}
