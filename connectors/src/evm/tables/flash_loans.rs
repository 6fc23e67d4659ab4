//! `flash_loans`: one row a loan within one transaction.

use super::of_log::bytes;
use crate::columns::Column;
use crate::evm::decode::rows::FlashLoan;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[FlashLoan]) -> Result<(), Fault> {
    let rows = rows.iter();
    match column.name() {
        "protocol" => column.texts(rows.map(|row| Some(row.venue_name.protocol))),
        "version" => column.texts(rows.map(|row| Some(row.venue_name.version))),
        "lender" => column.fields(rows.map(|row| Field::Bytes(&row.lender))),
        "borrower" => column.fields(rows.map(|row| bytes(&row.borrower))),
        "token" => column.fields(rows.map(|row| bytes(&row.token))),
        "amount" => column.fields(rows.map(|row| Field::Bytes(&row.amount))),
        "fee" => column.fields(rows.map(|row| Field::Bytes(&row.fee))),
        _ => super::no_rule("flash_loans", column),
    }
}
