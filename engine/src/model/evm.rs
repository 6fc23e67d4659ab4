//! The tables of an EVM source: names, columns, Arrow types.
//!
//! Integers that fit in 63 bits are `Int64` (SQL `BIGINT`), wei prices `Decimal128(38, 0)`, amounts
//! `UINT256`, addresses and hashes `FixedSizeBinary`. Every table starts with the five common columns
//! `chain, chain_id, block_number, block_hash, block_timestamp`.

mod decoded;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::wide::{ADDRESS_TYPE, HASH_TYPE, timestamp_type, uint256_field};
use decoded::{
    aggregator_trade_columns, dex_swap_columns, flash_loan_columns, inferred_swap_columns, liquidation_event_columns,
    liquidity_event_columns, oracle_update_columns, pool_columns,
};

/// Wei prices: whole numbers up to 38 digits.
pub const WEI_TYPE: DataType = DataType::Decimal128(38, 0);

/// How many columns all tables have in front: `chain, chain_id, block_number, block_hash, block_timestamp`.
pub const COMMON_COLUMNS: usize = 5;

/// One table of an EVM source.
#[derive(Clone, Debug)]
pub struct EvmTable {
    /// Name without the source, such as `transactions`.
    pub name: &'static str,
    /// What a row is, for the reference page.
    pub about: &'static str,
    /// All columns.
    pub schema: SchemaRef,
}

/// All tables of an EVM source: `blocks, transactions, logs, token_transfers, traces`, and what is decoded
/// from logs: `dex_swaps, pools, liquidity_events, liquidation_events, aggregator_trades, flash_loans,
/// oracle_updates, inferred_swaps`.
pub fn tables() -> &'static [EvmTable] {
    static TABLES: LazyLock<Vec<EvmTable>> = LazyLock::new(|| {
        vec![
            table("blocks", "One row a block.", block_columns()),
            table(
                "transactions",
                "One row a transaction, joined with its receipt. `success` is NULL before Byzantium.",
                transaction_columns(),
            ),
            table("logs", "One row a log.", log_columns()),
            table(
                "token_transfers",
                "One row a moved token, decoded from the logs of ERC-20, ERC-721, ERC-1155 and wrapped native coins.",
                token_transfer_columns(),
            ),
            table(
                "traces",
                "One row a call, creation, self-destruction or reward; `success` is false if the call or any above it failed.",
                trace_columns(),
            ),
            table(
                "dex_swaps",
                "One row a swap event, as the pool tells it. `sold_index` and `bought_index` are positions of coins in the pool; the tokens are NULL where neither the event nor the transaction's transfers tell them. Reserves, price and liquidity hold after the swap. `trust` is 'verified', 'balanced' (transfers agree with both amounts), 'taxed' (with one, and with the other less a fee of up to 30 % that the coin took) or 'unverified'.",
                dex_swap_columns(),
            ),
            table(
                "pools",
                "One row a pool whose coins were told; `source` is 'event' for a factory's announcement, 'call' for the answer of a node asked at a swap. `index0` and `index1` are positions of the coins in the pool; `listed` says whether a known factory's word or the pool's own name proves it.",
                pool_columns(),
            ),
            table(
                "liquidity_events",
                "One row an addition or removal of liquidity: `kind` is 'mint', 'burn' or 'collect'. `token_id` is that of the position manager's event in the same transaction.",
                liquidity_event_columns(),
            ),
            table(
                "liquidation_events",
                "One row an event of a liquidation, as the protocol tells it; `event` is its name in snake case.",
                liquidation_event_columns(),
            ),
            table(
                "aggregator_trades",
                "One row a fill of an aggregator, a settlement or an order book. Tokens and amounts are NULL where neither the event nor the trader's only transfers tell them.",
                aggregator_trade_columns(),
            ),
            table("flash_loans", "One row a flash loan of one token.", flash_loan_columns()),
            table("oracle_updates", "One row an answer of a Chainlink price feed.", oracle_update_columns()),
            table(
                "inferred_swaps",
                "One row an address that no known event explains and that was paid one token and paid out another in the transaction, each once: most often a pool or market maker without a known event, sometimes a staking contract that takes a deposit and pays a reward. Nothing but transfers says so, and no detector reads it. `transfer_fee` is what the bought token kept for its own contract, NULL if nothing. `log_index` is that of the later transfer; `mirrored` says that the only other party looks just the same, so that either may be the venue.",
                inferred_swap_columns(),
            ),
        ]
    });
    &TABLES
}

/// The schema of one table.
pub fn schema(name: &str) -> Option<SchemaRef> {
    tables().iter().find(|table| table.name == name).map(|table| table.schema.clone())
}

fn table(name: &'static str, about: &'static str, columns: Vec<Field>) -> EvmTable {
    let mut fields = vec![
        Field::new("chain", DataType::Utf8, false),
        int("chain_id"),
        int("block_number"),
        Field::new("block_hash", HASH_TYPE, false),
        Field::new("block_timestamp", timestamp_type(), false),
    ];
    fields.extend(columns);
    EvmTable { name, about, schema: Arc::new(Schema::new(fields)) }
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
