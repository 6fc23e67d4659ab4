//! `truth_sandwiches` and `truth_arbitrages`: what was planted, so that a detector can be judged.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use highwater_engine::model::wide::{ADDRESS_TYPE, HASH_TYPE, timestamp_type, uint256_field};

use super::block::{Arbitrage, Sandwich, SimBlock};
use crate::columns::{Column, TableBuilder};
use crate::evm::field::{Fault, Field};
use crate::evm::tables::{Place, fill_common};

/// Name of the table of planted sandwiches.
pub(super) const SANDWICHES: &str = "truth_sandwiches";
/// Name of the table of planted arbitrages.
pub(super) const ARBITRAGES: &str = "truth_arbitrages";

/// Both tables with their schemas.
pub(super) fn tables() -> &'static [(&'static str, SchemaRef); 2] {
    static TABLES: LazyLock<[(&str, SchemaRef); 2]> = LazyLock::new(|| {
        let int = |name| ArrowField::new(name, DataType::Int64, false);
        let hash = |name| ArrowField::new(name, HASH_TYPE, false);
        let address = |name| ArrowField::new(name, ADDRESS_TYPE, false);
        let sandwiches = [
            address("pool"),
            address("attacker"),
            int("front_transaction_index"),
            int("first_victim_transaction_index"),
            int("victim_count"),
            int("back_transaction_index"),
            hash("front_transaction_hash"),
            hash("back_transaction_hash"),
            uint256_field("profit", false),
        ];
        let arbitrages = [
            int("transaction_index"),
            hash("transaction_hash"),
            address("account"),
            int("swap_count"),
            address("profit_token"),
            uint256_field("profit", false),
        ];
        [(SANDWICHES, schema(&sandwiches)), (ARBITRAGES, schema(&arbitrages))]
    });
    &TABLES
}

fn schema(columns: &[ArrowField]) -> SchemaRef {
    let mut fields = vec![
        ArrowField::new("chain", DataType::Utf8, false),
        ArrowField::new("chain_id", DataType::Int64, false),
        ArrowField::new("block_number", DataType::Int64, false),
        ArrowField::new("block_hash", HASH_TYPE, false),
        ArrowField::new("block_timestamp", timestamp_type(), false),
    ];
    fields.extend_from_slice(columns);
    Arc::new(Schema::new(fields))
}

/// Appends the rows of one block to the table `name`.
pub(super) fn fill(builder: &mut TableBuilder, name: &str, place: Place<'_>, block: &SimBlock) -> Result<(), Fault> {
    let rows = if name == SANDWICHES { block.sandwiches.len() } else { block.arbitrages.len() };
    for column in &mut builder.columns {
        if fill_common(column, place, rows)? {
            continue;
        }
        if name == SANDWICHES {
            fill_sandwiches(column, block)?;
        } else {
            fill_arbitrages(column, block)?;
        }
    }
    builder.end_block(rows);
    Ok(())
}

fn hash_at(block: &SimBlock, index: u64) -> Field<'_> {
    let index = usize::try_from(index).ok();
    index.and_then(|index| block.transactions.get(index)).map_or(Field::Absent, |tx| Field::Bytes(&tx.hash))
}

fn fill_sandwiches(column: &mut Column, block: &SimBlock) -> Result<(), Fault> {
    let rows = block.sandwiches.iter();
    match column.name() {
        "pool" => column.fields(rows.map(|row| Field::Bytes(&row.pool))),
        "attacker" => column.fields(rows.map(|row| Field::Bytes(&row.attacker))),
        "front_transaction_index" => column.fields(rows.map(|row| Field::Number(row.front))),
        "first_victim_transaction_index" => column.fields(rows.map(|row| Field::Number(row.first_victim))),
        "victim_count" => column.fields(rows.map(|row| Field::Number(row.victims))),
        "back_transaction_index" => column.fields(rows.map(|row| Field::Number(row.back))),
        "front_transaction_hash" => column.fields(rows.map(|row| hash_at(block, row.front))),
        "back_transaction_hash" => column.fields(rows.map(|row| hash_at(block, row.back))),
        _ => {
            let profits: Vec<_> = rows.map(|row: &Sandwich| row.profit.to_be_bytes()).collect();
            column.fields(profits.iter().map(|profit| Field::Bytes(profit)))
        }
    }
}

fn fill_arbitrages(column: &mut Column, block: &SimBlock) -> Result<(), Fault> {
    let rows = block.arbitrages.iter();
    match column.name() {
        "transaction_index" => column.fields(rows.map(|row| Field::Number(row.transaction))),
        "transaction_hash" => column.fields(rows.map(|row| hash_at(block, row.transaction))),
        "account" => column.fields(rows.map(|row| Field::Bytes(&row.account))),
        "swap_count" => column.fields(rows.map(|row| Field::Number(row.swaps))),
        "profit_token" => column.fields(rows.map(|row| Field::Bytes(&row.profit_token))),
        _ => {
            let profits: Vec<_> = rows.map(|row: &Arbitrage| row.profit.to_be_bytes()).collect();
            column.fields(profits.iter().map(|profit| Field::Bytes(profit)))
        }
    }
}
