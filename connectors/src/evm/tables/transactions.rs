//! `transactions`: one row a transaction, joined with its receipt.

use crate::columns::Column;
use crate::evm::field::{Fault, Field};
use crate::evm::json::{Count, Receipt, Transaction};

/// A transaction and, if receipts were read, its receipt.
pub(crate) type Row<'b, 'a> = (&'b Transaction<'a>, Option<&'b Receipt<'a>>);

pub(crate) fn fill(column: &mut Column, rows: &[Row<'_, '_>]) -> Result<(), Fault> {
    match column.name() {
        "transaction_index" => column.fields(rows.iter().map(|(tx, _)| tx.transaction_index)),
        "transaction_hash" => column.fields(rows.iter().map(|(tx, _)| tx.hash)),
        "nonce" => column.fields(rows.iter().map(|(tx, _)| tx.nonce)),
        "from_address" => column.fields(rows.iter().map(|(tx, _)| tx.from)),
        "to_address" => column.fields(rows.iter().map(|(tx, _)| tx.to)),
        "value" => column.fields(rows.iter().map(|(tx, _)| tx.value)),
        "input" => column.fields(rows.iter().map(|(tx, _)| tx.input())),
        "selector" => column.fields(rows.iter().map(|(tx, _)| selector(tx))),
        "gas_limit" => column.fields(rows.iter().map(|(tx, _)| tx.gas)),
        "gas_price" => column.fields(rows.iter().map(|(tx, _)| tx.gas_price)),
        "max_fee_per_gas" => column.fields(rows.iter().map(|(tx, _)| tx.max_fee_per_gas)),
        "max_priority_fee_per_gas" => column.fields(rows.iter().map(|(tx, _)| tx.max_priority_fee_per_gas)),
        "max_fee_per_blob_gas" => column.fields(rows.iter().map(|(tx, _)| tx.max_fee_per_blob_gas)),
        // Before EIP-2718 there was one type and it had no number.
        "transaction_type" => column.fields(rows.iter().map(|(tx, _)| tx.transaction_type.or(Field::Number(0)))),
        "access_list_len" => column.fields(rows.iter().map(|(tx, _)| count(tx.access_list))),
        "blob_hash_count" => column.fields(rows.iter().map(|(tx, _)| count(tx.blob_versioned_hashes))),
        _ => fill_from_receipt(column, rows),
    }
}

fn fill_from_receipt(column: &mut Column, rows: &[Row<'_, '_>]) -> Result<(), Fault> {
    match column.name() {
        "effective_gas_price" => column.fields(rows.iter().map(|row| effective_gas_price(*row))),
        "gas_used" => column.fields(receipts(rows, |receipt| receipt.gas_used)),
        "cumulative_gas_used" => column.fields(receipts(rows, |receipt| receipt.cumulative_gas_used)),
        "contract_address" => column.fields(receipts(rows, |receipt| receipt.contract_address)),
        "l1_fee" => column.fields(receipts(rows, |receipt| receipt.l1_fee)),
        "log_count" => column.ints(rows.iter().map(|(_, receipt)| {
            receipt.map(|receipt| i64::try_from(receipt.logs.len()).map_err(|_| Fault::TooLarge)).transpose()
        })),
        "success" => column.bools(rows.iter().map(|(_, receipt)| match receipt.map(|receipt| receipt.status) {
            None | Some(Field::Absent) => Ok(None),
            Some(status) => status.u64().map(|status| Some(status != 0)),
        })),
        _ => super::no_rule("transactions", column),
    }
}

fn receipts<'b, 'a: 'b>(
    rows: &'b [Row<'b, 'a>],
    field: impl Fn(&'b Receipt<'a>) -> Field<'a> + 'b,
) -> impl Iterator<Item = Field<'a>> + 'b {
    rows.iter().map(move |(_, receipt)| receipt.map_or(Field::Absent, &field))
}

/// Receipts of old nodes lack the price; then the transaction's own price was paid.
fn effective_gas_price<'a>((tx, receipt): Row<'_, 'a>) -> Field<'a> {
    receipt.map_or(Field::Absent, |receipt| receipt.effective_gas_price.or(tx.gas_price))
}

/// The first four bytes of a call; creations have code there.
fn selector<'a>(tx: &Transaction<'a>) -> Field<'a> {
    if tx.to.is_absent() {
        return Field::Absent;
    }
    match tx.input() {
        Field::Hex(text) => text.get(..10).map_or(Field::Absent, Field::Hex),
        Field::Bytes(bytes) => bytes.get(..4).map_or(Field::Absent, Field::Bytes),
        Field::Absent | Field::Number(_) => Field::Absent,
    }
}

fn count(list: Option<Count>) -> Field<'static> {
    list.map_or(Field::Absent, |Count(count)| Field::Number(u64::from(count)))
}
