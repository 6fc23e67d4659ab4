//! One suite over every source: what the engine may rely on.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::LazyLock;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use flate2::read::MultiGzDecoder;
use highwater_connectors::SOURCES;
use highwater_engine::error::{Class, Classified};
use highwater_engine::source::{ReadRequest, TableRequest};
use highwater_testnode::{Builder, Node};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use support::{Delivered, all_columns, follow, open, read, rows_by_block, shared};

/// A source to test: the connector and its options.
struct Case {
    connector: &'static str,
    options: Vec<(String, String)>,
    tables: &'static [&'static str],
    _folder: Option<tempfile::TempDir>,
    _node: Option<Node>,
}

impl Case {
    fn open(&self) -> Box<dyn highwater_engine::source::Source> {
        let options: Vec<_> = self.options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        open(self.connector, &options).unwrap()
    }

    fn read(&self, change: impl FnOnce(&mut ReadRequest)) -> Vec<Delivered> {
        let source = self.open();
        let mut request = all_columns(source.as_ref(), self.tables);
        change(&mut request);
        let outcome = read(source, request);
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        outcome.runs
    }
}

const CHAIN_TABLES: &[&str] = &[
    "blocks",
    "transactions",
    "logs",
    "token_transfers",
    "dex_swaps",
    "pools",
    "liquidity_events",
    "liquidation_events",
    "aggregator_trades",
    "flash_loans",
    "oracle_updates",
    "inferred_swaps",
];

fn options(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn cases() -> Vec<Case> {
    let simulator = |given: &[(&str, &str)]| Case {
        connector: "simulator",
        options: options(given),
        tables: &[],
        _folder: None,
        _node: None,
    };
    let mut cases = vec![
        simulator(&[("blocks", "16"), ("transactions_per_block", "10"), ("reorg_rate", "0.4"), ("reorg_depth", "4")]),
        simulator(&[
            ("blocks", "6"),
            ("seed", "9"),
            ("transactions_per_block", "30"),
            ("sandwich_rate", "1"),
            ("arbitrage_rate", "1"),
        ]),
    ];
    cases.extend(recordings());
    cases.push(parquet_case(1_000));
    cases.push(parquet_case(7));
    if cfg!(feature = "evm") {
        cases.push(node_case());
    }
    cases
}

/// Small pieces of the real recordings, so that every test can read them many times.
fn recordings() -> Vec<Case> {
    static EVENTS: LazyLock<Option<[String; 2]>> = LazyLock::new(|| {
        let piece = |file: &str| Some(lines_of(&shared("e2e/recorded/run40")?.join(file), 45..56));
        Some([piece("blocks.ndjson.gz")?, piece("traces.ndjson.gz")?])
    });
    static FOLDER: LazyLock<Option<[String; 3]>> = LazyLock::new(|| {
        let folder = shared("data/evm/mainnet-17686110-17686121")?;
        Some(["blocks", "receipts", "traces"].map(|name| lines_of(&folder.join(format!("{name}.jsonl.gz")), 1..2)))
    });
    static SCATTERED: LazyLock<Option<[String; 2]>> = LazyLock::new(|| {
        let folder = shared("data/evm/mainnet-forks")?;
        Some(["blocks", "receipts"].map(|name| lines_of(&folder.join(format!("{name}.jsonl.gz")), 11..13)))
    });
    // No name means all tables.
    let with_traces: &[&str] = &[];
    let mut cases = Vec::new();
    if let Some([blocks, traces]) = EVENTS.as_ref() {
        let files = [("blocks.ndjson", blocks), ("traces.ndjson", traces)];
        cases.push(recording(&files, with_traces, &[("confirmations", "5")]));
    }
    if let Some([blocks, receipts, traces]) = FOLDER.as_ref() {
        let files = [("blocks.jsonl", blocks), ("receipts.jsonl", receipts), ("traces.jsonl", traces)];
        cases.push(recording(&files, with_traces, &[]));
    }
    if let Some([blocks, receipts]) = SCATTERED.as_ref() {
        let files = [("blocks.jsonl", blocks), ("receipts.jsonl", receipts)];
        cases.push(recording(&files, CHAIN_TABLES, &[("gaps", "allow")]));
    }
    if let Some(path) = shared("e2e/recorded/txtypes.ndjson.gz") {
        let options = options(&[("path", path.to_str().unwrap())]);
        cases.push(Case { connector: "recording", options, tables: CHAIN_TABLES, _folder: None, _node: None });
    }
    cases
}

fn lines_of(path: &Path, range: std::ops::Range<usize>) -> String {
    let file = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap()));
    let lines = file.lines().skip(range.start).take(range.len());
    lines.map(|line| line.unwrap() + "\n").collect()
}

fn recording(files: &[(&str, &String)], tables: &'static [&'static str], more: &[(&str, &str)]) -> Case {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut options = options(more);
    options.push(("path".to_owned(), folder.path().display().to_string()));
    Case { connector: "recording", options, tables, _folder: Some(folder), _node: None }
}

/// A simulated chain without reorgs, written to files with groups of `group_rows` rows and read back.
fn parquet_case(group_rows: usize) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let source = open("simulator", &[("blocks", "20"), ("transactions_per_block", "8"), ("reorg_rate", "0")]).unwrap();
    let request = all_columns(source.as_ref(), CHAIN_TABLES);
    let runs = read(source, request).runs;
    for (index, name) in CHAIN_TABLES.iter().enumerate() {
        let batches: Vec<_> = runs.iter().map(|delivered| delivered.run.tables[index].batch.clone()).collect();
        write(&folder.path().join(format!("{name}.parquet")), &batches, group_rows);
    }
    let options = options(&[("path", folder.path().to_str().unwrap())]);
    Case { connector: "parquet", options, tables: CHAIN_TABLES, _folder: Some(folder), _node: None }
}

/// A node that stands still, read up to its head.
fn node_case() -> Case {
    let mut builder = Builder::new(31_337);
    let blocks = builder.extend(builder.genesis(), 40);
    let node = Node::start(builder.into_chain(blocks[39], &[]));
    let url = node.http_url();
    let given =
        [("url", url.as_str()), ("from_block", "3"), ("end_block", "40"), ("confirmations", "9"), ("batch", "4")];
    Case { connector: "evm", options: options(&given), tables: CHAIN_TABLES, _folder: None, _node: Some(node) }
}

fn write(path: &Path, batches: &[arrow::record_batch::RecordBatch], group_rows: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn reading_twice_gives_the_same() {
    for case in cases() {
        let (one, two) = (case.read(|_| {}), case.read(|_| {}));
        assert!(!one.is_empty(), "{:?}", case.options);
        assert_eq!(rows_by_block(&one), rows_by_block(&two));
        let cursors: Vec<_> = one.iter().map(|delivered| delivered.cursor).collect();
        assert!(cursors.is_sorted_by(|one, two| one < two), "{:?}: {cursors:?}", case.options);
        follow(&one);
    }
}

#[test]
fn resuming_at_any_cursor_leaves_no_gap_and_repeats_nothing() {
    for case in cases() {
        let all = case.read(|_| {});
        let step = (all.len() / 6).max(1);
        for index in (0..all.len()).step_by(step).chain([all.len() - 1]) {
            let rest = case.read(|request| request.resume = Some(all[index].cursor));
            assert_eq!(rows_by_block(&rest), rows_by_block(&all[index + 1..]), "{:?} after {index}", case.options);
            let finalized = |runs: &[Delivered]| runs.iter().map(|run| run.finalized).collect::<Vec<_>>();
            assert_eq!(finalized(&rest), finalized(&all[index + 1..]));
        }
    }
}

#[test]
fn fewer_columns_are_the_same_columns() {
    for case in cases() {
        let source = case.open();
        let full_request = all_columns(source.as_ref(), case.tables);
        let full = rows_by_block(&case.read(|_| {}));
        for pick in 0..3usize {
            let tables: Vec<TableRequest> = full_request
                .tables
                .iter()
                .rev()
                .map(|table| {
                    let columns = table.columns.iter().copied().filter(|column| column % 3 == pick).collect();
                    TableRequest { name: table.name.clone(), columns }
                })
                .collect();
            let part = rows_by_block(&case.read(|request| request.tables = tables.clone()));
            assert_eq!(part.len(), full.len());
            for ((block, rows), (full_block, full_rows)) in part.iter().zip(&full) {
                assert_eq!(block, full_block);
                for ((rows, full_rows), table) in rows.iter().zip(full_rows.iter().rev()).zip(&tables) {
                    assert_eq!(*rows, full_rows.project(&table.columns).unwrap(), "{:?} {}", case.options, table.name);
                }
            }
        }
    }
}

#[test]
fn one_table_alone_is_the_same_table() {
    for case in cases() {
        let full_request = all_columns(case.open().as_ref(), case.tables);
        let full = rows_by_block(&case.read(|_| {}));
        for (index, table) in full_request.tables.iter().enumerate() {
            let alone = rows_by_block(&case.read(|request| request.tables = vec![table.clone()]));
            assert_eq!(alone.len(), full.len());
            for ((block, rows), (full_block, full_rows)) in alone.iter().zip(&full) {
                assert_eq!(block, full_block);
                assert_eq!(rows[0], full_rows[index]);
            }
        }
    }
}

#[test]
fn a_range_gives_the_blocks_in_it() {
    for case in cases() {
        let all = rows_by_block(&case.read(|_| {}));
        let mut numbers: Vec<_> = all.iter().map(|(block, _)| block.number).collect();
        numbers.sort_unstable();
        let (from, to) = (numbers[numbers.len() / 4], numbers[numbers.len() / 2]);
        let runs = case.read(|request| {
            request.from_block = Some(from);
            request.to_block = Some(to);
        });
        follow(&runs);
        let part = rows_by_block(&runs);
        let expected: Vec<_> = all.iter().filter(|(block, _)| (from..=to).contains(&block.number)).collect();
        assert_eq!(part.len(), expected.len(), "{:?} {from} to {to}", case.options);
        for ((block, rows), (full_block, full_rows)) in part.iter().zip(expected) {
            assert_eq!(block.hash, full_block.hash);
            assert_eq!(rows, full_rows);
        }
    }
}

#[test]
fn batches_are_of_the_schema_offered_and_name_their_block() {
    for case in cases() {
        let source = case.open();
        let request = all_columns(source.as_ref(), case.tables);
        let offered = source.tables();
        for (block, rows) in rows_by_block(&case.read(|_| {})) {
            for (rows, wanted) in rows.iter().zip(&request.tables) {
                let table = offered.iter().find(|table| table.name == wanted.name).unwrap();
                assert_eq!(rows.schema().fields(), table.schema.fields());
                let numbers = rows.column_by_name("block_number").unwrap().as_primitive::<Int64Type>();
                let hashes = rows.column_by_name("block_hash").unwrap().as_fixed_size_binary();
                for row in 0..rows.num_rows() {
                    assert_eq!(u64::try_from(numbers.value(row)).unwrap(), block.number);
                    assert_eq!(hashes.value(row), block.hash.0);
                }
                let times = rows.column_by_name("block_timestamp").unwrap();
                assert_eq!(times.null_count(), 0);
            }
        }
    }
}

#[test]
fn options_are_documented_and_unknown_ones_refused_with_the_nearest() {
    for connector in SOURCES {
        assert!(!connector.about().is_empty());
        for doc in connector.options() {
            assert!(doc.doc.ends_with('.'), "{} {}", connector.name(), doc.name);
        }
    }
    for case in cases() {
        let known = SOURCES.iter().find(|source| source.name() == case.connector).unwrap().options();
        for doc in known {
            let mut options: Vec<_> =
                case.options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let misspelt = format!("{}x", doc.name);
            options.push((&misspelt, "1"));
            let error = open(case.connector, &options).err().expect("a misspelt option is refused");
            assert_eq!(error.class(), Class::USER);
            let highwater_engine::source::SourceError::Option(error) = error else { panic!("{error:?}") };
            assert_eq!(error.hint(), Some(format!("did you mean \"{}\"?", doc.name)));
        }
    }
}
