//! `oracle_updates`: one row an answer of a price feed.

use crate::columns::Column;
use crate::evm::decode::rows::OracleUpdate;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[OracleUpdate]) -> Result<(), Fault> {
    match column.name() {
        "protocol" => column.texts(rows.iter().map(|_| Some("chainlink"))),
        "feed" => column.fields(rows.iter().map(|row| Field::Bytes(&row.feed))),
        "answer" => {
            let answers: Vec<_> = rows.iter().map(|row| sortable(row.answer)).collect();
            column.fields(answers.iter().map(|answer| Field::Bytes(answer)))
        }
        "round_id" => column.fields(rows.iter().map(|row| Field::Bytes(&row.round_id))),
        "updated_at" => column.ints(rows.iter().map(|row| Ok(row.updated_at))),
        _ => super::no_rule("oracle_updates", column),
    }
}

/// `INT256` columns hold two's complement with the sign bit turned, so that bytes sort as numbers.
fn sortable(mut answer: [u8; 32]) -> [u8; 32] {
    answer[0] ^= 0x80;
    answer
}
