//! `pools`: one row a pool whose coins were told.

use super::of_log::bytes;
use crate::columns::Column;
use crate::evm::decode::rows::NewPool;
use crate::evm::field::{Fault, Field};

pub(crate) fn fill(column: &mut Column, rows: &[NewPool]) -> Result<(), Fault> {
    let rows = rows.iter();
    match column.name() {
        "protocol" => column.texts(rows.map(|row| Some(row.venue_name.protocol))),
        "version" => column.texts(rows.map(|row| Some(row.venue_name.version))),
        "pool" => column.fields(rows.map(|row| Field::Bytes(row.pool.as_slice()))),
        "factory" => column.fields(rows.map(|row| bytes(&row.factory))),
        "listed" => column.bools(rows.map(|row| Ok(Some(row.listed)))),
        "index0" => column.ints(rows.map(|row| Ok(Some(i64::from(row.indexes[0]))))),
        "index1" => column.ints(rows.map(|row| Ok(Some(i64::from(row.indexes[1]))))),
        "token0" => column.fields(rows.map(|row| Field::Bytes(&row.token0))),
        "token1" => column.fields(rows.map(|row| Field::Bytes(&row.token1))),
        "fee_pips" => column.ints(rows.map(|row| Ok(row.fee_pips.map(i64::from)))),
        "tick_spacing" => column.ints(rows.map(|row| Ok(row.tick_spacing.map(i64::from)))),
        "hooks" => column.fields(rows.map(|row| bytes(&row.hooks))),
        "source" => column.texts(rows.map(|row| Some(row.source.name()))),
        _ => super::no_rule("pools", column),
    }
}
