//! `aggregator_trades`: one row a fill of an aggregator, a settlement or an order book.

use super::of_log::bytes;
use crate::columns::Column;
use crate::evm::decode::rows::AggregatorTrade;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[AggregatorTrade]) -> Result<(), Fault> {
    let rows = rows.iter();
    match column.name() {
        "protocol" => column.texts(rows.map(|row| Some(row.venue_name.protocol))),
        "version" => column.texts(rows.map(|row| Some(row.venue_name.version))),
        "event" => column.texts(rows.map(|row| Some(row.event))),
        "venue" => column.fields(rows.map(|row| Field::Bytes(&row.venue))),
        "trader" => column.fields(rows.map(|row| bytes(&row.trader))),
        "filler" => column.fields(rows.map(|row| bytes(&row.filler))),
        "recipient" => column.fields(rows.map(|row| bytes(&row.recipient))),
        "token_sold" => column.fields(rows.map(|row| bytes(&row.token_sold))),
        "token_bought" => column.fields(rows.map(|row| bytes(&row.token_bought))),
        "amount_sold" => column.fields(rows.map(|row| bytes(&row.amount_sold))),
        "amount_bought" => column.fields(rows.map(|row| bytes(&row.amount_bought))),
        "order_id" => column.fields(
            rows.map(|row| row.order_id.as_ref().map_or(Field::Absent, |order| Field::Bytes(order.as_slice()))),
        ),
        _ => super::no_rule("aggregator_trades", column),
    }
}
