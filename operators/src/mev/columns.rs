//! Columns of the chain tables as the rules read them, and the columns of what they make.

use std::sync::Arc;

use alloy_primitives::{I256, U256};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Decimal128Array, FixedSizeBinaryArray,
    FixedSizeBinaryBuilder, Float64Array, Int64Array, Int64Builder, ListBuilder, StringArray, StringBuilder,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{
    ADDRESS_TYPE, HASH_TYPE, int256_to_bytes, timestamp_type, uint256_from_bytes, uint256_to_bytes,
};

use super::Address;
use crate::block_kernel::BlockRows;

/// Columns of `dex_trades` that [`Trades`] reads, in its order.
pub const TRADE_COLUMNS: &[&str] = &[
    "chain",
    "chain_id",
    "transaction_index",
    "log_index",
    "transaction_hash",
    "protocol",
    "pool",
    "venue",
    "sold_index",
    "bought_index",
    "token_sold",
    "token_bought",
    "amount_sold",
    "amount_bought",
    "sender",
    "recipient",
    "reserve0",
    "reserve1",
    "sqrt_price_x96",
    "tick",
    "liquidity",
    "fee_pips",
    "tx_from",
    "tx_to",
];

/// The trades of one block by column.
#[derive(Clone, Copy, Debug)]
pub struct Trades<'a> {
    pub(crate) chain: &'a StringArray,
    pub(crate) chain_id: &'a Int64Array,
    pub(crate) transaction_index: &'a [i64],
    pub(crate) log_index: &'a [i64],
    pub(crate) transaction_hash: &'a FixedSizeBinaryArray,
    pub(crate) protocol: &'a StringArray,
    pub(crate) pool: &'a BinaryArray,
    pub(crate) venue: &'a FixedSizeBinaryArray,
    pub(crate) sold_index: &'a Int64Array,
    pub(crate) bought_index: &'a Int64Array,
    pub(crate) token_sold: &'a FixedSizeBinaryArray,
    pub(crate) token_bought: &'a FixedSizeBinaryArray,
    pub(crate) amount_sold: &'a FixedSizeBinaryArray,
    pub(crate) amount_bought: &'a FixedSizeBinaryArray,
    pub(crate) sender: &'a FixedSizeBinaryArray,
    pub(crate) recipient: &'a FixedSizeBinaryArray,
    pub(crate) reserve0: &'a FixedSizeBinaryArray,
    pub(crate) reserve1: &'a FixedSizeBinaryArray,
    pub(crate) sqrt_price_x96: &'a FixedSizeBinaryArray,
    pub(crate) tick: &'a Int64Array,
    pub(crate) liquidity: &'a FixedSizeBinaryArray,
    pub(crate) fee_pips: &'a Int64Array,
    pub(crate) tx_from: &'a FixedSizeBinaryArray,
    pub(crate) tx_to: &'a FixedSizeBinaryArray,
}

impl<'a> Trades<'a> {
    /// Reads a batch of [`TRADE_COLUMNS`].
    ///
    /// # Panics
    /// If the columns are not those of `dex_trades`.
    pub fn of(batch: &'a RecordBatch) -> Self {
        let int = |index: usize| batch.column(index).as_primitive::<Int64Type>();
        let fixed = |index: usize| batch.column(index).as_fixed_size_binary();
        Self {
            chain: batch.column(0).as_string(),
            chain_id: int(1),
            transaction_index: int(2).values(),
            log_index: int(3).values(),
            transaction_hash: fixed(4),
            protocol: batch.column(5).as_string(),
            pool: batch.column(6).as_binary(),
            venue: fixed(7),
            sold_index: int(8),
            bought_index: int(9),
            token_sold: fixed(10),
            token_bought: fixed(11),
            amount_sold: fixed(12),
            amount_bought: fixed(13),
            sender: fixed(14),
            recipient: fixed(15),
            reserve0: fixed(16),
            reserve1: fixed(17),
            sqrt_price_x96: fixed(18),
            tick: int(19),
            liquidity: fixed(20),
            fee_pips: int(21),
            tx_from: fixed(22),
            tx_to: fixed(23),
        }
    }

    /// How many trades there are.
    pub fn len(&self) -> usize {
        self.transaction_index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.transaction_index.is_empty()
    }

    /// Where a trade stands in its block.
    pub fn position(&self, row: usize) -> (i64, i64) {
        (self.transaction_index[row], self.log_index[row])
    }

    pub(crate) fn sold(&self, row: usize) -> U256 {
        uint256_from_bytes(self.amount_sold.value(row))
    }

    pub(crate) fn bought(&self, row: usize) -> U256 {
        uint256_from_bytes(self.amount_bought.value(row))
    }

    /// The rows in the order of the block; ties as the source has them.
    pub(crate) fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        if !order.is_sorted_by_key(|row| self.position(*row)) {
            order.sort_by_key(|row| self.position(*row));
        }
        order
    }
}

/// The value of a nullable column.
pub(crate) fn bytes_at(column: &FixedSizeBinaryArray, row: usize) -> Option<&[u8]> {
    column.is_valid(row).then(|| column.value(row))
}

/// The address of a nullable column.
///
/// # Panics
/// If the column is not one of addresses.
pub(crate) fn address_at(column: &FixedSizeBinaryArray, row: usize) -> Option<Address> {
    bytes_at(column, row).map(|bytes| bytes.try_into().expect("an address has 20 bytes"))
}

/// The number of a nullable column.
pub(crate) fn wide_at(column: &FixedSizeBinaryArray, row: usize) -> Option<U256> {
    bytes_at(column, row).map(uint256_from_bytes)
}

/// The number of a nullable column.
pub(crate) fn int_at(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

/// What transactions paid for a unit of gas, wei.
#[derive(Clone, Copy)]
pub(crate) struct GasPrices<'a>([&'a Decimal128Array; 2]);

impl<'a> GasPrices<'a> {
    /// Reads `effective_gas_price` and `gas_price`, which stand in these columns.
    pub(crate) fn of(batch: &'a RecordBatch, columns: [usize; 2]) -> GasPrices<'a> {
        GasPrices(columns.map(|column| batch.column(column).as_primitive::<Decimal128Type>()))
    }

    /// The effective price; where receipts are older than EIP-1559 and do not tell it, the offered one.
    pub(crate) fn at(self, row: usize) -> Option<U256> {
        let price = self.0.into_iter().find(|prices| prices.is_valid(row))?;
        U256::try_from(price.value(row)).ok()
    }
}

/// A schema that starts with the five columns of every chain table.
pub(crate) fn table(columns: Vec<Field>) -> SchemaRef {
    let mut fields = vec![
        Field::new("chain", DataType::Utf8, false),
        int("chain_id"),
        int("block_number"),
        Field::new("block_hash", HASH_TYPE, false),
        Field::new("block_timestamp", timestamp_type(), false),
    ];
    fields.extend(columns);
    Arc::new(Schema::new(fields))
}

pub(crate) fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

pub(crate) fn int_opt(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

pub(crate) fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

pub(crate) fn text_opt(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

pub(crate) fn float_opt(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

pub(crate) fn hash(name: &str) -> Field {
    Field::new(name, HASH_TYPE, false)
}

pub(crate) fn hash_opt(name: &str) -> Field {
    Field::new(name, HASH_TYPE, true)
}

pub(crate) fn address(name: &str) -> Field {
    Field::new(name, ADDRESS_TYPE, false)
}

pub(crate) fn address_opt(name: &str) -> Field {
    Field::new(name, ADDRESS_TYPE, true)
}

pub(crate) fn list(name: &str, item: DataType) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new("item", item, false))), false)
}

/// The five common columns of `count` rows of one block.
pub(crate) fn common(trades: &Trades<'_>, block: &BlockRows<'_>, count: usize) -> Vec<ArrayRef> {
    // A kernel emits nothing for a block without rows, so the first row names the chain.
    let chain = if trades.is_empty() { "" } else { trades.chain.value(0) };
    let chain_id = if trades.is_empty() { 0 } else { trades.chain_id.value(0) };
    common_columns(chain, chain_id, block, count)
}

/// The five common columns of `count` rows of one block of the named chain.
pub(crate) fn common_columns(chain: &str, chain_id: i64, block: &BlockRows<'_>, count: usize) -> Vec<ArrayRef> {
    let number = i64::try_from(block.number).expect("block numbers fit 63 bits");
    vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(chain, count))),
        ints(std::iter::repeat_n(chain_id, count)),
        ints(std::iter::repeat_n(number, count)),
        fixed(32, std::iter::repeat_n(Some(block.hash), count)),
        Arc::new(TimestampMillisecondArray::from_value(block.timestamp_ms, count).with_timezone("UTC")),
    ]
}

pub(crate) fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

pub(crate) fn ints_opt(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

pub(crate) fn floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

pub(crate) fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn texts_opt<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(crate) fn binaries<'a>(values: impl Iterator<Item = &'a [u8]>) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

/// Addresses or hashes, all of `width` bytes.
pub(crate) fn fixed<V: AsRef<[u8]>>(width: i32, values: impl Iterator<Item = Option<V>>) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::new(width);
    for value in values {
        match value {
            Some(value) => builder.append_value(value).expect("the column has one width"),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

pub(crate) fn unsigned(values: impl Iterator<Item = Option<U256>>) -> ArrayRef {
    fixed(32, values.map(|value| value.map(uint256_to_bytes)))
}

pub(crate) fn signed(values: impl Iterator<Item = Option<I256>>) -> ArrayRef {
    fixed(32, values.map(|value| value.map(int256_to_bytes)))
}

/// One list of hashes or addresses a row.
pub(crate) fn fixed_lists<'a>(width: i32, rows: impl Iterator<Item = Vec<&'a [u8]>>) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::FixedSizeBinary(width), false));
    let mut builder = ListBuilder::new(FixedSizeBinaryBuilder::new(width)).with_field(item);
    for row in rows {
        for value in row {
            builder.values().append_value(value).expect("the column has one width");
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// One list of pools a row.
pub(crate) fn binary_lists<'a>(rows: impl Iterator<Item = Vec<&'a [u8]>>) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Binary, false));
    let mut builder = ListBuilder::new(BinaryBuilder::new()).with_field(item);
    for row in rows {
        row.into_iter().for_each(|value| builder.values().append_value(value));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// One list of whole numbers a row.
pub(crate) fn int_lists(rows: impl Iterator<Item = Vec<i64>>) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Int64, false));
    let mut builder = ListBuilder::new(Int64Builder::new()).with_field(item);
    for row in rows {
        row.into_iter().for_each(|value| builder.values().append_value(value));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// One list of texts a row.
pub(crate) fn text_lists(rows: impl Iterator<Item = Vec<String>>) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Utf8, false));
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item);
    for row in rows {
        row.into_iter().for_each(|value| builder.values().append_value(value));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// What a finding rests on: `0x<transaction hash>:<log index>`.
pub(crate) fn evidence(transaction_hash: &[u8], log_index: i64) -> String {
    format!("{}:{log_index}", alloy_primitives::hex::encode_prefixed(transaction_hash))
}
