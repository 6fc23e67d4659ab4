//! The connector `parquet` on files of other tools and on broken ones.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{U256, hex};
use arrow::array::{
    Array as _, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use highwater_engine::error::{Class, Classified};
use highwater_engine::model::evm;
use highwater_engine::model::wide::{ADDRESS_TYPE, HASH_TYPE, wide_kind};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use support::{Outcome, all_columns, follow, open, read};

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, group_rows: usize) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn u32s(values: impl IntoIterator<Item = u32>) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(values))
}

fn bytes(values: impl IntoIterator<Item = Vec<u8>>) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(values))
}

fn hash(number: u8) -> Vec<u8> {
    vec![number; 32]
}

fn read_parquet(path: &Path, more: &[(&str, &str)], tables: &[&str]) -> Outcome {
    let mut options = vec![("path", path.to_str().unwrap())];
    options.extend_from_slice(more);
    let source = match open("parquet", &options) {
        Ok(source) => source,
        Err(error) => return Outcome { error: Some(error), ..Outcome::default() },
    };
    let request = all_columns(source.as_ref(), tables);
    read(source, request)
}

/// Two files of blocks and two of transactions, as cryo names and fills them.
fn cryo(folder: &Path) {
    for (first, last) in [(1u8, 3u8), (4, 5)] {
        let numbers: Vec<u8> = (first..=last).collect();
        let name = format!("optimism__blocks__{first:08}_to_{last:08}.parquet");
        write(
            &folder.join(name),
            vec![
                ("block_hash", bytes(numbers.iter().map(|number| hash(*number)))),
                ("parent_hash", bytes(numbers.iter().map(|number| hash(*number - 1)))),
                ("author", bytes(numbers.iter().map(|_| vec![9; 20]))),
                ("block_number", u32s(numbers.iter().map(|number| u32::from(*number)))),
                (
                    "gas_used",
                    Arc::new(UInt64Array::from_iter_values(numbers.iter().map(|number| u64::from(*number) * 10))),
                ),
                ("timestamp", u32s(numbers.iter().map(|number| 1_700_000_000 + u32::from(*number)))),
            ],
            100,
        );
        let rows: Vec<u8> = numbers.iter().filter(|number| **number != 2).flat_map(|number| [*number; 2]).collect();
        let name = format!("optimism__transactions__{first:08}_to_{last:08}.parquet");
        write(
            &folder.join(name),
            vec![
                ("block_number", u32s(rows.iter().map(|number| u32::from(*number)))),
                ("transaction_index", u32s((0u32..2).cycle().take(rows.len()))),
                ("to_address", bytes(rows.iter().map(|number| vec![*number; 20]))),
                ("value_binary", bytes(rows.iter().map(|number| vec![*number]))),
                ("value_string", Arc::new(StringArray::from_iter_values(rows.iter().map(u8::to_string)))),
                ("value_f64", Arc::new(Float64Array::from_iter_values(rows.iter().map(|number| f64::from(*number))))),
                ("gas_price", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|_| u64::MAX)))),
                ("n_input_bytes", u32s(rows.iter().map(|_| 4))),
                ("chain_id", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|_| 10)))),
            ],
            3,
        );
    }
}

#[test]
fn files_of_cryo_have_our_names_and_types() {
    let folder = tempfile::tempdir().unwrap();
    cryo(folder.path());
    let source = open("parquet", &[("path", folder.path().to_str().unwrap())]).unwrap();
    let ours = evm::schema("transactions").unwrap();
    let tables = source.tables();
    assert_eq!(tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["blocks", "transactions"]);
    let names: Vec<_> = tables[1].schema.fields().iter().map(|field| field.name().as_str()).collect();
    let common = ["chain", "chain_id", "block_number", "block_hash", "block_timestamp"];
    assert_eq!(names[..5], common);
    assert_eq!(names[5..], ["transaction_index", "to_address", "value", "gas_price", "n_input_bytes"]);
    for field in tables[1].schema.fields() {
        match ours.field_with_name(field.name()) {
            Ok(ours) => assert_eq!((field.data_type(), field.metadata()), (ours.data_type(), ours.metadata())),
            Err(_) => assert_eq!(field.data_type(), &DataType::Int64),
        }
    }
    let outcome = read_parquet(folder.path(), &[], &["transactions"]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let (chain, reorgs) = follow(&outcome.runs);
    assert_eq!(reorgs, Vec::<usize>::new());
    assert_eq!(chain.iter().map(|block| block.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5], "2 has no transactions");
    assert!(chain.iter().all(|block| block.hash.0[0] == block.parent.0[0] + 1));
    let mut rows = 0;
    for delivered in &outcome.runs {
        let batch = &delivered.run.tables[0].batch;
        let numbers = batch.column_by_name("block_number").unwrap().as_primitive::<Int64Type>();
        let times = batch.column_by_name("block_timestamp").unwrap().as_primitive::<TimestampMillisecondType>();
        let values = batch.column_by_name("value").unwrap().as_fixed_size_binary();
        let chains = batch.column_by_name("chain").unwrap().as_string::<i32>();
        for row in 0..batch.num_rows() {
            let number = numbers.value(row);
            assert_eq!(times.value(row), (1_700_000_000 + number) * 1000);
            assert_eq!(U256::from_be_slice(values.value(row)), U256::from(number.unsigned_abs()));
            assert_eq!(chains.value(row), "optimism");
            rows += 1;
        }
    }
    assert_eq!(rows, 8);
}

/// A file as the benchmark's generator makes it.
fn benchmark(path: &Path, blocks: i64, group_rows: usize) -> usize {
    let numbers: Vec<i64> = (0..blocks)
        .filter(|block| block % 5 != 3)
        .flat_map(|block| std::iter::repeat_n(20_000_000 + block, usize::try_from(block % 7).unwrap() + 1))
        .collect();
    let rows = numbers.len();
    write(
        path,
        vec![
            ("block_number", ints(numbers.iter().copied())),
            (
                "block_time",
                Arc::new(TimestampMillisecondArray::from_iter_values(numbers.iter().map(|number| number * 12_000))),
            ),
            ("to", Arc::new(StringArray::from_iter_values(numbers.iter().map(|number| format!("0x{number:040x}"))))),
            ("gas_used", ints(0..i64::try_from(rows).unwrap())),
            ("success", Arc::new(BooleanArray::from_iter(numbers.iter().map(|number| Some(number % 3 == 0))))),
        ],
        group_rows,
    );
    rows
}

#[test]
fn any_file_is_a_table_under_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("txs.parquet");
    // More rows than one batch of the reader holds, so that blocks are split over batches.
    let rows = benchmark(&path, 40_000, 30_000);
    assert!(rows > 4 * 16_384);
    let names = [("alias", "txs=transactions"), ("rename", "to=to_address, block_time=block_timestamp")];
    let outcome = read_parquet(folder.path(), &names, &["transactions"]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let (chain, reorgs) = follow(&outcome.runs);
    assert!(reorgs.is_empty());
    assert_eq!(chain.len(), 32_000);
    assert!(chain.iter().all(|block| block.timestamp_ms == i64::try_from(block.number).unwrap() * 12_000));
    let schema = outcome.runs[0].run.tables[0].batch.schema();
    assert_eq!(schema.field_with_name("to_address").unwrap().data_type(), &DataType::Utf8);
    let mut next = 0;
    for delivered in &outcome.runs {
        let table = &delivered.run.tables[0];
        let order = table.batch.column_by_name("gas_used").unwrap().as_primitive::<Int64Type>();
        assert!(
            order.values().iter().all(|value| {
                next += 1;
                *value == next - 1
            }),
            "rows are in order"
        );
        let numbers = table.batch.column_by_name("block_number").unwrap().as_primitive::<Int64Type>();
        let mut start = 0;
        for (block, end) in delivered.run.blocks.iter().zip(&table.ends) {
            assert!(numbers.values()[start..*end].iter().all(|number| number.unsigned_abs() == block.number));
            start = *end;
        }
    }
    assert_eq!(next, i64::try_from(rows).unwrap());
    assert!(outcome.runs.len() <= 2 * rows.div_ceil(16_384) + 1, "runs are as large as batches");
}

/// Text of every kind that files hold, as a dictionary and not, over row groups and batches.
#[test]
fn text_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.parquet");
    let rows = 40_000_i64;
    // Few values, then so many that the writer gives up its dictionary; empty, short (kept in the view) and long.
    let value = |row: i64| match row % 7 {
        0 => None,
        1 => Some(String::new()),
        2 => Some(format!("\u{e9}{}", row % 5)),
        3 => Some(format!("0x{:040x}", row % 50)),
        _ if row < 20_000 => Some("the same words again and again".to_owned()),
        _ => Some(format!("{row}{}", "-".repeat(usize::try_from(row % 40).unwrap()))),
    };
    let values: Vec<Option<String>> = (0..rows).map(value).collect();
    let few: Vec<Option<String>> = (0..rows).map(|row| (row % 7 > 0).then(|| format!("0x{:040x}", row % 90))).collect();
    let text: ArrayRef = Arc::new(StringArray::from_iter(values.iter().cloned()));
    let as_type = |to: DataType| arrow::compute::cast(&text, &to).unwrap();
    let columns = vec![
        ("block_number", ints(0..rows)),
        ("nothing", Arc::new(StringArray::new_null(values.len()))),
        ("few", Arc::new(StringArray::from_iter(few.iter().cloned()))),
        ("plain", text.clone()),
        ("large", as_type(DataType::LargeUtf8)),
        ("view", as_type(DataType::Utf8View)),
        ("dictionary", as_type(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))),
    ];
    write(&path, columns, 30_000);
    let outcome = read_parquet(&path, &[], &[]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let nothing = vec![None; values.len()];
    let columns = ["plain", "large", "view", "dictionary"].map(|column| (column, &values));
    for (column, values) in columns.into_iter().chain([("few", &few), ("nothing", &nothing)]) {
        let parts = outcome.runs.iter().map(|delivered| &delivered.run.tables[0].batch);
        let read: Vec<Option<String>> = parts
            .flat_map(|batch| {
                let texts = batch.column_by_name(column).unwrap().as_string::<i32>();
                texts.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(read, *values, "{column}");
    }
    let as_bytes = read_parquet(&path, &[("types", "few=ADDRESS, nothing=ADDRESS")], &[]);
    assert!(as_bytes.error.is_none(), "{:?}", as_bytes.error);
    let mut row = 0;
    for batch in as_bytes.runs.iter().map(|delivered| &delivered.run.tables[0].batch) {
        let column = |name| batch.column_by_name(name).unwrap().as_fixed_size_binary();
        for (few_bytes, nothing) in column("few").iter().zip(column("nothing")) {
            assert_eq!((few_bytes.map(hex::encode_prefixed), nothing), (few[row].clone(), None));
            row += 1;
        }
    }
    assert_eq!(row, few.len());
}

#[test]
fn columns_have_the_types_that_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trades.parquet");
    let texts = |values: &[Option<&str>]| Arc::new(StringArray::from_iter(values.iter().copied())) as ArrayRef;
    let pool = format!("0x{}Ab", "00".repeat(19));
    let write_pools = |pools: &[Option<&str>]| {
        let columns = vec![
            ("block_number", ints(1..=3)),
            ("pair", texts(pools)),
            ("tx", bytes((1..=3).map(hash))),
            ("amount", texts(&[Some("7"), None, Some("0xff")])),
            ("price", Arc::new(Float64Array::from_iter_values([1.0, 2.0, 3.0]))),
        ];
        write(&path, columns, 2);
    };
    write_pools(&[Some(&pool), None, Some(&"11".repeat(20))]);
    let given = |types| [("rename", "pair=pool"), ("types", types)];
    let outcome = read_parquet(&path, &given("pool=address, tx=HASH, amount=UINT256"), &[]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let batches: Vec<_> = outcome.runs.iter().map(|delivered| &delivered.run.tables[0].batch).collect();
    let batch = arrow::compute::concat_batches(&batches[0].schema(), batches).unwrap();
    let schema = batch.schema();
    assert_eq!(schema.field_with_name("pool").unwrap().data_type(), &ADDRESS_TYPE);
    assert_eq!(schema.field_with_name("tx").unwrap().data_type(), &HASH_TYPE);
    assert!(wide_kind(schema.field_with_name("amount").unwrap()).is_some());
    let column = |name| batch.column_by_name(name).unwrap().as_fixed_size_binary();
    let mut last = [0; 20];
    last[19] = 0xab;
    assert_eq!(column("pool").iter().collect::<Vec<_>>(), [Some(&last[..]), None, Some(&[0x11; 20])]);
    assert_eq!(column("tx").value(2), [3; 32]);
    let amount = |row| U256::from_be_slice(column("amount").value(row));
    assert_eq!((amount(0), column("amount").is_null(1), amount(2)), (U256::from(7), true, U256::from(255)));

    let fails = |types, wanted: &[&str]| {
        let error = read_parquet(&path, &given(types), &[]).error.expect(types);
        assert!(wanted.iter().all(|part| error.to_string().contains(part)), "{error}");
    };
    fails("pol=ADDRESS", &["option types names a column pol, which no table has"]);
    fails(
        "price=ADDRESS",
        &["trades.parquet", "column price cannot have the type that option types gives it", "Float64"],
    );
    fails("pool=ADRESS", &["types", "'pool=ADDRESS, amount_raw=UINT256'"]);
    fails("pool=HASH", &["column pair", &pool, "is not 32 bytes in hex"]);
    write_pools(&[Some(&pool), None, Some("0x12zz")]);
    fails("pool=ADDRESS", &["column pair", "\"0x12zz\" is not 20 bytes in hex"]);
}

#[test]
fn numbers_that_do_not_fit_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.parquet");
    write(&path, vec![("block_number", ints([1, 2])), ("supply", Arc::new(UInt64Array::from(vec![1, u64::MAX])))], 100);
    let error = read_parquet(&path, &[], &[]).error.expect("the value does not fit");
    assert!(error.to_string().contains("column supply"), "{error}");
    assert_eq!(error.class(), Class::EXTERNAL);
}

#[test]
fn broken_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transactions.parquet");
    write(&path, vec![("block_number", ints([3, 2])), ("nonce", ints([1, 1]))], 100);
    let error = read_parquet(&path, &[], &[]).error.expect("heights must ascend");
    assert!(error.to_string().contains("block_number goes back"), "{error}");

    write(&path, vec![("height", ints([3, 2]))], 100);
    let error = read_parquet(&path, &[], &[]).error.expect("heights must be there");
    assert!(error.to_string().contains("no column block_number"), "{error}");

    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let error = read_parquet(&path, &[], &[]).error.expect("the footer is cut off");
    assert!(error.to_string().contains("transactions.parquet: this is not a readable Parquet file"), "{error}");
    assert_eq!(error.class(), Class::EXTERNAL);

    let error = read_parquet(&folder.path().join("absent"), &[], &[]).error.unwrap();
    assert_eq!(error.class(), Class::USER);
    let empty = tempfile::tempdir().unwrap();
    let error = read_parquet(empty.path(), &[], &[]).error.unwrap();
    assert!(error.to_string().contains("there is no Parquet file"), "{error}");
}

#[test]
fn a_false_parent_in_the_file_stays_visible() {
    let folder = tempfile::tempdir().unwrap();
    write(
        &folder.path().join("blocks.parquet"),
        vec![
            ("block_number", ints([7, 8])),
            ("block_hash", bytes([hash(7), hash(8)])),
            ("parent_hash", bytes([hash(6), hash(1)])),
        ],
        100,
    );
    let outcome = read_parquet(folder.path(), &[], &["blocks"]);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let blocks: Vec<_> = outcome.runs.iter().flat_map(|delivered| &delivered.run.blocks).collect();
    assert_eq!(blocks[1].parent.0, [1; 32], "the engine can find it");
}
