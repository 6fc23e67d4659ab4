//! `token_transfers`: one row a moved token.

use super::of_log::bytes;
use crate::columns::Column;
use crate::evm::decode::rows::Transfer;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[Transfer]) -> Result<(), Fault> {
    let rows = rows.iter();
    match column.name() {
        "token_standard" => column.texts(rows.map(|row| Some(row.standard.name()))),
        "token_address" => column.fields(rows.map(|row| Field::Bytes(&row.token))),
        "from_address" => column.fields(rows.map(|row| Field::Bytes(&row.from))),
        "to_address" => column.fields(rows.map(|row| Field::Bytes(&row.to))),
        "amount" => column.fields(rows.map(|row| Field::Bytes(&row.amount))),
        "token_id" => column.fields(rows.map(|row| bytes(&row.token_id))),
        "batch_index" => column.ints(rows.map(|row| Ok(row.batch_index.map(i64::from)))),
        _ => super::no_rule("token_transfers", column),
    }
}
