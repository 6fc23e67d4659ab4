//! Attribution by its definition.

use std::collections::BTreeMap;

use crate::harness::kernel::KernelBlock;
use crate::harness::tables::{Cell, rows_of};

type Row = BTreeMap<String, Cell>;

/// Priority fees, burnt, tips, internal tips, payment, proposer, extra data.
pub(crate) type Paid = (Cell, Cell, Cell, Cell, Cell, Cell, Cell);

fn number(cell: &Cell) -> Option<i128> {
    match cell {
        Cell::Int(value) => Some(i128::from(*value)),
        Cell::Wei(value) => Some(*value),
        Cell::Amount(value) => Some(i128::try_from(*value).expect("small")),
        _ => None,
    }
}

fn amount(value: Option<i128>) -> Cell {
    value.map_or(Cell::Null, |value| Cell::Amount(u128::try_from(value).expect("not negative")))
}

pub(crate) fn block_attribution(block: &KernelBlock) -> Vec<Paid> {
    let [blocks, transactions, traces] = &block.tables[..] else { panic!("three tables") };
    let (transactions, traces) = (rows_of(transactions), rows_of(traces));
    rows_of(blocks).iter().map(|block| paid(block, &transactions, &traces)).collect()
}

fn paid(block: &Row, transactions: &[Row], traces: &[Row]) -> Paid {
    let (builder, base_fee) = (&block["miner"], number(&block["base_fee_per_gas"]).unwrap_or(0));
    let fee = |row: &Row| {
        let price = number(&row["effective_gas_price"]).or_else(|| number(&row["gas_price"]))?;
        Some(number(&row["gas_used"])? * (price - base_fee).max(0))
    };
    let fees: Option<i128> = transactions.iter().map(fee).sum();
    let tips = |rows: &[&Row]| -> i128 {
        let tips = rows.iter().filter(|row| row["to_address"] == *builder && row["from_address"] != *builder);
        tips.map(|row| number(&row["value"]).expect("a value")).sum()
    };
    let succeeded: Vec<&Row> = transactions.iter().filter(|row| row["success"] != Cell::Bool(false)).collect();
    let text = |value: &str| Cell::Text(value.to_owned());
    let moving = traces.iter().filter(|row| {
        row["trace_address"] != text("")
            && row["success"] == Cell::Bool(true)
            && !["delegatecall", "callcode", "staticcall"].map(text).contains(&row["call_type"])
            && row["trace_type"] != text("reward")
    });
    let internal = (!traces.is_empty()).then(|| tips(&moving.collect::<Vec<_>>()));
    let last = transactions.iter().max_by_key(|row| number(&row["transaction_index"]));
    let last = last.filter(|row| {
        let pays = row["success"] != Cell::Bool(false) && row["from_address"] == *builder;
        pays && row["to_address"] != Cell::Null && row["value"] != Cell::Amount(0)
    });
    let Cell::Bytes(extra) = &block["extra_data"] else { panic!("no extra data") };
    let extra = String::from_utf8(extra.clone()).ok();
    let extra = extra.map(|extra| extra.trim_end_matches('\0').to_owned());
    let extra = extra.filter(|extra| !extra.is_empty() && !extra.contains(char::is_control));
    (
        amount(fees),
        amount(Some(number(&block["gas_used"]).expect("gas") * base_fee)),
        amount(Some(tips(&succeeded) + internal.unwrap_or(0))),
        amount(internal),
        last.map_or(Cell::Null, |row| row["value"].clone()),
        last.map_or(Cell::Null, |row| row["to_address"].clone()),
        extra.map_or(Cell::Null, Cell::Text),
    )
}
