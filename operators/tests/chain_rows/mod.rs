//! Batches of chain tables from small numbers.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;

use alloy_primitives::U256;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryBuilder, Float64Array,
    Int64Array, StringArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{Wide, int256_from_bytes, uint256_from_bytes, wide_kind};
use highwater_operators::mev::columns::TRADE_COLUMNS;

/// The address with this number; 0 is NULL.
pub(crate) fn address(number: u8) -> Option<[u8; 20]> {
    (number != 0).then_some([number; 20])
}

pub(crate) fn fixed<const N: usize>(values: impl IntoIterator<Item = Option<[u8; N]>>) -> ArrayRef {
    let width = i32::try_from(N).expect("small");
    let mut builder = FixedSizeBinaryBuilder::new(width);
    for value in values {
        match value {
            Some(value) => builder.append_value(value).expect("one width"),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

pub(crate) fn addresses(values: impl IntoIterator<Item = u8>) -> ArrayRef {
    fixed(values.into_iter().map(address))
}

pub(crate) fn wide(values: impl IntoIterator<Item = Option<u128>>) -> ArrayRef {
    fixed(values.into_iter().map(|value| value.map(|value| U256::from(value).to_be_bytes::<32>())))
}

pub(crate) fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn pools(values: impl IntoIterator<Item = u8>) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(values.into_iter().map(|value| [value; 20])))
}

/// A batch with these columns.
pub(crate) fn batch(names: &[&str], columns: Vec<ArrayRef>) -> RecordBatch {
    let field = |(name, column): (&&str, &ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let fields: Vec<Field> = names.iter().zip(&columns).map(field).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

/// The hash of the transaction with this index.
pub(crate) fn transaction_hash(index: i64) -> [u8; 32] {
    let mut hash = [7; 32];
    hash[24..].copy_from_slice(&index.to_be_bytes());
    hash
}

/// A row of `dex_trades`. Addresses and tokens are small numbers, 0 is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TradeRow {
    pub(crate) transaction: i64,
    pub(crate) log: i64,
    pub(crate) pool: u8,
    pub(crate) places: Option<(i64, i64)>,
    pub(crate) tokens: (u8, u8),
    pub(crate) amounts: (u128, u128),
    pub(crate) sender: u8,
    pub(crate) recipient: u8,
    pub(crate) reserves: Option<(u128, u128)>,
    pub(crate) sqrt_price_x96: Option<u128>,
    pub(crate) tick: Option<i64>,
    pub(crate) liquidity: Option<u128>,
    pub(crate) from: u8,
    pub(crate) to: u8,
}

/// A batch of [`TRADE_COLUMNS`].
pub(crate) fn trades(trades: &[TradeRow]) -> RecordBatch {
    let rows = || trades.iter();
    let columns = vec![
        texts(rows().map(|_| "test")),
        ints(rows().map(|_| Some(1))),
        ints(rows().map(|trade| Some(trade.transaction))),
        ints(rows().map(|trade| Some(trade.log))),
        fixed(rows().map(|trade| Some(transaction_hash(trade.transaction)))),
        texts(rows().map(|_| "uniswap")),
        pools(rows().map(|trade| trade.pool)),
        addresses(rows().map(|trade| trade.pool)),
        ints(rows().map(|trade| trade.places.map(|places| places.0))),
        ints(rows().map(|trade| trade.places.map(|places| places.1))),
        addresses(rows().map(|trade| trade.tokens.0)),
        addresses(rows().map(|trade| trade.tokens.1)),
        wide(rows().map(|trade| Some(trade.amounts.0))),
        wide(rows().map(|trade| Some(trade.amounts.1))),
        addresses(rows().map(|trade| trade.sender)),
        addresses(rows().map(|trade| trade.recipient)),
        wide(rows().map(|trade| trade.reserves.map(|reserves| reserves.0))),
        wide(rows().map(|trade| trade.reserves.map(|reserves| reserves.1))),
        wide(rows().map(|trade| trade.sqrt_price_x96)),
        ints(rows().map(|trade| trade.tick)),
        wide(rows().map(|trade| trade.liquidity)),
        ints(rows().map(|_| None)),
        addresses(rows().map(|trade| trade.from)),
        addresses(rows().map(|trade| trade.to)),
    ];
    batch(TRADE_COLUMNS, columns)
}

/// The inputs `transactions`, `traces`, `blocks` and `token_prices` of the relations, in this order: every
/// transaction used 100 gas at 2 wei. Payments are `(transaction, from, to, wei)`; the miner and prices may be
/// missing.
pub(crate) fn costs(
    transactions: i64,
    payments: &[(i64, u8, u8, u128)],
    miner: Option<u8>,
    prices: &[(u8, f64)],
) -> [RecordBatch; 4] {
    let all = || 0..transactions;
    let wei = |price: Option<i128>| -> ArrayRef {
        let prices: Decimal128Array = all().map(|_| price).collect();
        Arc::new(prices.with_precision_and_scale(38, 0).expect("fits"))
    };
    let paid = || payments.iter();
    [
        batch(
            &["transaction_index", "effective_gas_price", "gas_price", "gas_used"],
            vec![ints(all().map(Some)), wei(Some(2)), wei(None), ints(all().map(|_| Some(100)))],
        ),
        batch(
            &["transaction_index", "call_type", "from_address", "to_address", "value", "success"],
            vec![
                ints(paid().map(|paid| Some(paid.0))),
                texts(paid().map(|_| "call")),
                addresses(paid().map(|paid| paid.1)),
                addresses(paid().map(|paid| paid.2)),
                wide(paid().map(|paid| Some(paid.3))),
                Arc::new(paid().map(|_| Some(true)).collect::<BooleanArray>()),
            ],
        ),
        batch(&["miner"], vec![addresses(miner)]),
        batch(
            &["token_address", "usd_per_raw_unit"],
            vec![
                addresses(prices.iter().map(|price| price.0)),
                Arc::new(Float64Array::from_iter_values(prices.iter().map(|price| price.1))),
            ],
        ),
    ]
}

/// A value as text: addresses as their number, lists in brackets, `-` for NULL.
pub(crate) fn text(rows: &RecordBatch, column: &str, row: usize) -> String {
    let index = rows.schema().index_of(column).expect("the column exists");
    shown(rows.schema().field(index), rows.column(index).as_ref(), row)
}

fn shown(field: &Field, column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "-".to_owned();
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => column.as_binary::<i32>().value(row)[0].to_string(),
        DataType::FixedSizeBinary(width) => {
            let bytes = column.as_fixed_size_binary().value(row);
            match (wide_kind(field), width) {
                (Some(Wide::Unsigned), _) => uint256_from_bytes(bytes).to_string(),
                (Some(Wide::Signed), _) => int256_from_bytes(bytes).to_string(),
                (None, 20) => bytes[0].to_string(),
                (None, _) => i64::from_be_bytes(bytes[24..].try_into().expect("8 bytes")).to_string(),
            }
        }
        DataType::List(item) => {
            let items = column.as_list::<i32>().value(row);
            let items: Vec<String> = (0..items.len()).map(|index| shown(item, items.as_ref(), index)).collect();
            format!("[{}]", items.join(" "))
        }
        other => panic!("no text for {other}"),
    }
}

/// Several values of a row as text.
pub(crate) fn line(rows: &RecordBatch, columns: &[&str], row: usize) -> String {
    columns.iter().map(|column| text(rows, column, row)).collect::<Vec<_>>().join(" ")
}
