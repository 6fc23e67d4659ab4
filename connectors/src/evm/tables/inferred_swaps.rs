//! `inferred_swaps`: one row an address that swapped, as far as transfers tell.

use super::of_log::bytes;
use crate::columns::Column;
use crate::evm::decode::rows::InferredSwap;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[InferredSwap]) -> Result<(), Fault> {
    let rows = rows.iter();
    match column.name() {
        "venue" => column.fields(rows.map(|row| Field::Bytes(&row.venue))),
        "token_sold" => column.fields(rows.map(|row| Field::Bytes(&row.token_sold))),
        "token_bought" => column.fields(rows.map(|row| Field::Bytes(&row.token_bought))),
        "amount_sold" => column.fields(rows.map(|row| Field::Bytes(&row.amount_sold))),
        "amount_bought" => column.fields(rows.map(|row| Field::Bytes(&row.amount_bought))),
        "transfer_fee" => column.fields(rows.map(|row| bytes(&row.transfer_fee))),
        "sender" => column.fields(rows.map(|row| Field::Bytes(&row.sender))),
        "recipient" => column.fields(rows.map(|row| Field::Bytes(&row.recipient))),
        "mirrored" => column.bools(rows.map(|row| Ok(Some(row.mirrored)))),
        "source" => column.texts(rows.map(|_| Some("transfers"))),
        _ => super::no_rule("inferred_swaps", column),
    }
}
