//! The tables of an EVM source: names, columns, Arrow types.
//!
//! Integers that fit in 63 bits are `Int64` (SQL `BIGINT`), wei prices `Decimal128(38, 0)`, amounts
//! `UINT256`, addresses and hashes `FixedSizeBinary`. Every table starts with the five common columns
//! `chain, chain_id, block_number, block_hash, block_timestamp`.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::wide::{ADDRESS_TYPE, HASH_TYPE, timestamp_type, uint256_field};

/// Wei prices: whole numbers up to 38 digits.
pub const WEI_TYPE: DataType = DataType::Decimal128(38, 0);

/// One table of an EVM source.
#[derive(Clone, Debug)]
pub struct EvmTable {
    /// Name without the source, such as `transactions`.
    pub name: &'static str,
    /// All columns.
    pub schema: SchemaRef,
}

/// All tables of an EVM source: `blocks, transactions, logs, token_transfers, traces`.
pub fn tables() -> &'static [EvmTable] {
    static TABLES: LazyLock<Vec<EvmTable>> = LazyLock::new(|| {
        vec![
            table("blocks", block_columns()),
            table("transactions", transaction_columns()),
            table("logs", log_columns()),
            table("token_transfers", token_transfer_columns()),
            table("traces", trace_columns()),
        ]
    });
    &TABLES
}

/// The schema of one table.
pub fn schema(name: &str) -> Option<SchemaRef> {
    tables().iter().find(|table| table.name == name).map(|table| table.schema.clone())
}

fn table(name: &'static str, columns: Vec<Field>) -> EvmTable {
    let mut fields = vec![
        Field::new("chain", DataType::Utf8, false),
        int("chain_id"),
        int("block_number"),
        Field::new("block_hash", HASH_TYPE, false),
        Field::new("block_timestamp", timestamp_type(), false),
    ];
    fields.extend(columns);
    EvmTable { name, schema: Arc::new(Schema::new(fields)) }
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

fn int_opt(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn wei_opt(name: &str) -> Field {
    Field::new(name, WEI_TYPE, true)
}

fn address(name: &str) -> Field {
    Field::new(name, ADDRESS_TYPE, false)
}

fn address_opt(name: &str) -> Field {
    Field::new(name, ADDRESS_TYPE, true)
}

fn hash(name: &str) -> Field {
    Field::new(name, HASH_TYPE, false)
}

fn hash_opt(name: &str) -> Field {
    Field::new(name, HASH_TYPE, true)
}

fn bytes(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Binary, nullable)
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

fn block_columns() -> Vec<Field> {
    vec![
        hash("parent_hash"),
        address("miner"),
        int("gas_limit"),
        int("gas_used"),
        int_opt("base_fee_per_gas"),
        int("transaction_count"),
        int_opt("size"),
        uint256_field("difficulty", true),
        uint256_field("total_difficulty", true),
        bytes("extra_data", false),
        bytes("logs_bloom", true),
        hash_opt("state_root"),
        hash_opt("transactions_root"),
        hash_opt("receipts_root"),
        hash_opt("withdrawals_root"),
        hash_opt("parent_beacon_block_root"),
        int_opt("blob_gas_used"),
        int_opt("excess_blob_gas"),
    ]
}

fn transaction_columns() -> Vec<Field> {
    vec![
        int("transaction_index"),
        hash("transaction_hash"),
        int("nonce"),
        address("from_address"),
        address_opt("to_address"),
        uint256_field("value", false),
        bytes("input", false),
        Field::new("selector", DataType::FixedSizeBinary(4), true),
        int("gas_limit"),
        wei_opt("gas_price"),
        wei_opt("max_fee_per_gas"),
        wei_opt("max_priority_fee_per_gas"),
        wei_opt("effective_gas_price"),
        int_opt("gas_used"),
        int_opt("cumulative_gas_used"),
        Field::new("success", DataType::Boolean, true),
        int("transaction_type"),
        address_opt("contract_address"),
        int_opt("access_list_len"),
        int_opt("blob_hash_count"),
        wei_opt("max_fee_per_blob_gas"),
        uint256_field("l1_fee", true),
        int_opt("log_count"),
    ]
}

fn log_columns() -> Vec<Field> {
    vec![
        int("transaction_index"),
        int("log_index"),
        hash("transaction_hash"),
        address("address"),
        hash_opt("topic0"),
        hash_opt("topic1"),
        hash_opt("topic2"),
        hash_opt("topic3"),
        bytes("data", false),
        int("n_data_bytes"),
    ]
}

fn token_transfer_columns() -> Vec<Field> {
    vec![
        int("transaction_index"),
        int_opt("log_index"),
        hash("transaction_hash"),
        text("token_standard", false),
        address("token_address"),
        address("from_address"),
        address("to_address"),
        uint256_field("amount", false),
        uint256_field("token_id", true),
        int_opt("batch_index"),
        address("tx_from"),
        address_opt("tx_to"),
    ]
}

fn trace_columns() -> Vec<Field> {
    vec![
        int_opt("transaction_index"),
        hash_opt("transaction_hash"),
        text("trace_address", false),
        text("trace_type", false),
        text("call_type", true),
        address_opt("from_address"),
        address_opt("to_address"),
        uint256_field("value", false),
        int_opt("gas"),
        int_opt("gas_used"),
        bytes("input", true),
        bytes("output", true),
        int("subtraces"),
        text("error", true),
        Field::new("success", DataType::Boolean, false),
        text("reward_type", true),
    ]
}
