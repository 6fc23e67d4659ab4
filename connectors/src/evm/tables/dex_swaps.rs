//! `dex_swaps`: one row a trade with a pool.

use super::of_log::bytes;
use crate::columns::Column;
use crate::evm::decode::rows::Swap;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[Swap]) -> Result<(), Fault> {
    let rows = rows.iter();
    match column.name() {
        "protocol" => column.texts(rows.map(|row| Some(row.venue_name.protocol))),
        "version" => column.texts(rows.map(|row| Some(row.venue_name.version))),
        "pool" => column.fields(rows.map(|row| Field::Bytes(row.pool.as_slice()))),
        "venue" => column.fields(rows.map(|row| Field::Bytes(&row.venue))),
        "sold_index" => column.ints(rows.map(|row| Ok(row.sold_index.map(i64::from)))),
        "bought_index" => column.ints(rows.map(|row| Ok(row.bought_index.map(i64::from)))),
        "token_sold" => column.fields(rows.map(|row| bytes(&row.token_sold))),
        "token_bought" => column.fields(rows.map(|row| bytes(&row.token_bought))),
        "amount_sold" => column.fields(rows.map(|row| Field::Bytes(&row.amount_sold))),
        "amount_bought" => column.fields(rows.map(|row| Field::Bytes(&row.amount_bought))),
        "sender" => column.fields(rows.map(|row| bytes(&row.sender))),
        "recipient" => column.fields(rows.map(|row| bytes(&row.recipient))),
        "reserve0" => column.fields(rows.map(|row| reserve(row, 0))),
        "reserve1" => column.fields(rows.map(|row| reserve(row, 1))),
        "sqrt_price_x96" => column.fields(rows.map(|row| bytes(&row.sqrt_price_x96))),
        "tick" => column.ints(rows.map(|row| Ok(row.tick.map(i64::from)))),
        "liquidity" => column.fields(rows.map(|row| bytes(&row.liquidity))),
        "fee_pips" => column.ints(rows.map(|row| Ok(row.fee_pips.map(i64::from)))),
        "source" => column.texts(rows.map(|_| Some("event"))),
        "trust" => column.texts(rows.map(|row| Some(row.trust.name()))),
        _ => super::no_rule("dex_swaps", column),
    }
}

fn reserve(row: &Swap, coin: usize) -> Field<'_> {
    row.reserves.as_ref().map_or(Field::Absent, |reserves| Field::Bytes(&reserves[coin]))
}
