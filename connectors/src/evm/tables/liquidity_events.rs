//! `liquidity_events`: one row an addition or removal of liquidity.

use super::of_log::bytes;
use crate::columns::Column;
use crate::evm::decode::rows::LiquidityEvent;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[LiquidityEvent]) -> Result<(), Fault> {
    let rows = rows.iter();
    match column.name() {
        "protocol" => column.texts(rows.map(|row| Some(row.venue_name.protocol))),
        "version" => column.texts(rows.map(|row| Some(row.venue_name.version))),
        "pool" => column.fields(rows.map(|row| Field::Bytes(row.pool.as_slice()))),
        "venue" => column.fields(rows.map(|row| Field::Bytes(&row.venue))),
        "kind" => column.texts(rows.map(|row| Some(row.kind.name()))),
        "owner" => column.fields(rows.map(|row| bytes(&row.owner))),
        "sender" => column.fields(rows.map(|row| bytes(&row.sender))),
        "recipient" => column.fields(rows.map(|row| bytes(&row.recipient))),
        "tick_lower" => column.ints(rows.map(|row| Ok(row.tick_lower.map(i64::from)))),
        "tick_upper" => column.ints(rows.map(|row| Ok(row.tick_upper.map(i64::from)))),
        "salt" => column.fields(rows.map(|row| bytes(&row.salt))),
        "token_id" => column.fields(rows.map(|row| bytes(&row.token_id))),
        "liquidity" => column.fields(rows.map(|row| bytes(&row.liquidity))),
        "amount0" => column.fields(rows.map(|row| bytes(&row.amount0))),
        "amount1" => column.fields(rows.map(|row| bytes(&row.amount1))),
        _ => super::no_rule("liquidity_events", column),
    }
}
