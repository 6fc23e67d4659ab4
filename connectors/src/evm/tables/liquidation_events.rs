//! `liquidation_events`: one row a step of a liquidation.

use super::of_log::bytes;
use crate::columns::Column;
use crate::evm::decode::rows::Liquidation;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[Liquidation]) -> Result<(), Fault> {
    let rows = rows.iter();
    match column.name() {
        "protocol" => column.texts(rows.map(|row| Some(row.venue_name.protocol))),
        "version" => column.texts(rows.map(|row| Some(row.venue_name.version))),
        "event" => column.texts(rows.map(|row| Some(row.event))),
        "market" => column.fields(rows.map(|row| Field::Bytes(&row.market))),
        "market_id" => column.fields(rows.map(|row| bytes(&row.market_id))),
        "liquidator" => column.fields(rows.map(|row| bytes(&row.liquidator))),
        "borrower" => column.fields(rows.map(|row| bytes(&row.borrower))),
        "debt_token" => column.fields(rows.map(|row| bytes(&row.debt_token))),
        "collateral_token" => column.fields(rows.map(|row| bytes(&row.collateral_token))),
        "debt_repaid" => column.fields(rows.map(|row| bytes(&row.debt_repaid))),
        "collateral_seized" => column.fields(rows.map(|row| bytes(&row.collateral_seized))),
        "receive_wrapped" => column.bools(rows.map(|row| Ok(row.receive_wrapped))),
        "bad_debt" => column.fields(rows.map(|row| bytes(&row.bad_debt))),
        "auction_id" => column.fields(rows.map(|row| bytes(&row.auction_id))),
        _ => super::no_rule("liquidation_events", column),
    }
}
