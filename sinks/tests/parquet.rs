//! What Parquet files hold, for random histories: read back, a snapshot is the accumulated view, and a
//! change log sums to it at every tick, however the rows came.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use common::*;
use highwater_engine::sink::{Sink, SinkRequest};
use highwater_sinks::parquet::Parquet;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use proptest::prelude::*;

type View = BTreeMap<(u8, u8), (i64, i64)>;

/// One tick: which groups get a new value (or go), how many windows become final, order of the rows.
type Step = (Vec<(u8, u8, Option<(i64, i64)>)>, bool, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop::option::weighted(0.8, (0..40_i64, 0..9_i64));
    let change = (0..12_u8, 0..4_u8, value);
    prop::collection::vec((prop::collection::vec(change, 0..8), any::<bool>(), any::<bool>()), 1..14)
}

/// Turns steps into ticks and the view after each of them. Groups of a final window are left alone.
fn history(steps: &[Step]) -> (Vec<Tick>, Vec<View>) {
    let mut view = View::new();
    let (mut ticks, mut views) = (Vec::new(), Vec::new());
    let mut finals: u8 = 0;
    for (index, (changes, close, reversed)) in steps.iter().enumerate() {
        let mut deltas: Vec<(Row, i64)> = Vec::new();
        for (address, window, value) in changes {
            // Windows are open in twos or so, as they are in life.
            let key = (*address, finals + window);
            if let Some(old) = view.remove(&key) {
                deltas.push(((key.0, key.1, old.0, old.1), -1));
            }
            if let Some((total, failed)) = value {
                view.insert(key, (*total, *failed));
                deltas.push(((key.0, key.1, *total, *failed), 1));
            }
        }
        if *reversed {
            deltas.reverse();
        }
        finals += u8::from(*close);
        let mut progress = progress(u64::try_from(index).unwrap() + 1, finals.checked_sub(1).map(window_end));
        progress.end_of_input = index + 1 == steps.len();
        ticks.push(Tick { changes: deltas, progress });
        views.push(view.clone());
    }
    (ticks, views)
}

/// The same history with `size` ticks in one.
fn grouped(ticks: &[Tick], size: usize) -> Vec<Tick> {
    ticks
        .chunks(size)
        .map(|group| Tick {
            changes: group.iter().flat_map(|tick| tick.changes.clone()).collect(),
            progress: group.last().unwrap().progress.clone(),
        })
        .collect()
}

fn sink(dir: &Path, given: &[(&str, &str)]) -> Box<dyn Sink> {
    let given: Vec<_> = given.iter().copied().chain([("path", ".")]).collect();
    open(&Parquet, request(), dir, &given).unwrap()
}

fn final_files(dir: &Path, given: &[(&str, &str)], ticks: &[Tick]) -> BTreeMap<String, Vec<u8>> {
    let mut sink = sink(dir, given);
    ticks.iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
    sink.finish().unwrap();
    assert_eq!(listed(dir).into_iter().collect::<BTreeSet<_>>(), present(dir).into_iter().collect());
    present(dir).into_iter().map(|file| (file.clone(), std::fs::read(dir.join(file)).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_is_the_accumulated_view_at_every_tick(steps in steps(), partitioned in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let (ticks, views) = history(&steps);
        let mut given = vec![("every", "1 tick"), ("file_rows", "3")];
        given.extend(partitioned.then_some(("partition_by", "total")));
        let mut sink = sink(dir.path(), &given);
        for (index, (tick, view)) in ticks.iter().zip(&views).enumerate() {
            commit(&mut *sink, tick).unwrap();
            if index > 0 {
                prop_assert_eq!(read_view(dir.path()), expected(view));
                prop_assert_eq!(listed(dir.path()).len(), present(dir.path()).len());
            }
        }
        sink.finish().unwrap();
        prop_assert_eq!(read_view(dir.path()), expected(views.last().unwrap()));
    }

    #[test]
    fn a_change_log_sums_to_the_view_at_every_tick(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let (ticks, views) = history(&steps);
        let mut sink = sink(dir.path(), &[("mode", "changelog"), ("every", "3 ticks"), ("file_rows", "9")]);
        ticks.iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
        sink.finish().unwrap();
        let mut bag = Bag::new();
        let batches: Vec<_> = listed(dir.path()).iter().flat_map(|file| read_batches(&dir.path().join(file))).collect();
        for (tick, view) in ticks.iter().zip(&views) {
            for batch in &batches {
                let int = |name| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
                let (at, diff) = (int("_tick"), int("_diff"));
                let number = i64::try_from(tick.progress.tick).unwrap();
                let names: Vec<usize> = schema().fields().iter().map(|f| batch.schema().index_of(f.name()).unwrap()).collect();
                for row in (0..batch.num_rows()).filter(|row| at.value(*row) == number) {
                    bag_of(&batch.project(&names).unwrap().slice(row, 1), |_| diff.value(row), &mut bag);
                }
            }
            prop_assert_eq!(&bag, &expected(view));
        }
    }

    #[test]
    fn ticks_of_any_size_end_in_the_same_bytes(steps in steps(), size in 2..9_usize, every in prop::sample::select(vec!["end", "2 ticks"])) {
        let (ticks, views) = history(&steps);
        for given in [vec![("file_rows", "4")], vec![("file_rows", "5"), ("partition_by", "failed")]] {
            let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let single = final_files(one.path(), &given, &ticks);
            let given: Vec<_> = given.into_iter().chain([("every", every)]).collect();
            let many = final_files(other.path(), &given, &grouped(&ticks, size));
            let rows = expected(views.last().unwrap());
            prop_assert_eq!(read_view(one.path()), rows.clone());
            prop_assert_eq!(read_view(other.path()), rows);
            prop_assert_eq!(single.values().collect::<Vec<_>>(), many.values().collect::<Vec<_>>());
        }
    }
}

fn small() -> Vec<Tick> {
    let changes: Vec<(Row, i64)> = vec![((1, 0, 3, 1), 1), ((2, 0, 4, 1), 1), ((3, 200, 5, 7), 1), ((4, 200, 7, 0), 1)];
    vec![Tick { changes, progress: progress(1, Some(window_end(0))) }]
}

#[test]
fn types_metadata_and_statistics_are_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let given = [("uint256", "binary,d128,f64,string"), ("compression", "snappy")];
    let files = final_files(dir.path(), &given, &small());
    let path = dir.path().join(files.keys().next().unwrap());
    let batch = &read_batches(&path)[0];
    let kinds: Vec<_> = batch.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(kinds[..6], schema().fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>());
    assert_eq!(kinds[6..], [DataType::Decimal128(38, 0), DataType::Float64, DataType::Utf8]);
    assert_eq!(batch.schema().field(5).metadata(), schema().field(5).metadata(), "UINT256 comes back as such");
    let decimal = batch.column_by_name("volume_d128").unwrap().as_primitive::<Decimal128Type>();
    let text = batch.column_by_name("volume_string").unwrap().as_string::<i32>();
    assert!(decimal.is_null(0), "more than 38 digits");
    assert_eq!(text.value(0), "452312848583266388373324160190187140051835877600158453279131187530910662659");
    assert_eq!((decimal.value(1), text.value(1)), (4, "4"));
    assert!(decimal.is_null(3) && text.is_null(3));

    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let metadata = reader.metadata();
    let facts: BTreeMap<_, _> = metadata
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .iter()
        .map(|fact| (fact.key.as_str(), fact.value.as_deref()))
        .collect();
    assert_eq!(facts["highwater.view"], Some("failure_rate"));
    assert_eq!(facts["highwater.rows"], Some("4"));
    assert_eq!(facts["highwater.finality"], Some("latest"));
    assert!(metadata.row_group(0).columns().iter().all(|column| column.statistics().is_some()));
}

#[test]
fn final_rows_leave_into_files_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(dir.path(), &[("file_rows", "2")]);
    commit(&mut *sink, &small()[0]).unwrap();
    assert_eq!(present(dir.path()), ["failure_rate__000000.parquet"], "two rows of window 0 are final");
    let before = std::fs::metadata(dir.path().join("failure_rate__000000.parquet")).unwrap().modified().unwrap();
    sink.checkpoint().unwrap();
    sink.finish().unwrap();
    assert_eq!(present(dir.path()), ["failure_rate__000000.parquet", "failure_rate__live_000000000101.parquet"]);
    let after = std::fs::metadata(dir.path().join("failure_rate__000000.parquet")).unwrap().modified().unwrap();
    assert_eq!(before, after);
    assert_eq!(manifest(dir.path())["rows"], 4);
    assert_eq!(manifest(dir.path())["files"][0]["final"], true);
}

#[test]
fn folders_are_named_by_date() {
    let dir = tempfile::tempdir().unwrap();
    let files = final_files(dir.path(), &[("partition_by", "date(window_start)"), ("mode", "changelog")], &small());
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let file = "failure_rate__000000000001_to_000000000001.parquet";
    assert_eq!(names, [format!("window_start_date=2023-11-14/{file}"), format!("window_start_date=2023-11-15/{file}")]);
}

#[test]
fn a_change_log_says_what_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let files = final_files(dir.path(), &[("mode", "changelog")], &small());
    let batch = &read_batches(&dir.path().join(files.keys().next().unwrap()))[0];
    let words: Vec<_> = batch.column_by_name("finality").unwrap().as_string::<i32>().iter().flatten().collect();
    assert_eq!(words, ["final", "final", "latest", "latest"]);
    let columns: Vec<_> = batch.schema().fields().iter().skip(7).map(|field| field.name().clone()).collect();
    assert_eq!(columns, ["_tick", "_diff", "_op", "_block", "finality"]);
}

#[test]
fn an_empty_view_still_tells_its_columns() {
    for given in [&[("mode", "snapshot")], &[("mode", "changelog")]] {
        let dir = tempfile::tempdir().unwrap();
        let files = final_files(dir.path(), given, &[]);
        let file = std::fs::File::open(dir.path().join(files.keys().next().unwrap())).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(reader.schema().field(0).name(), "to_address");
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.parquet"), "mine").unwrap();
    std::fs::write(dir.path().join("failure_rate__000009.parquet"), "left by a former run").unwrap();
    let mut sink = sink(dir.path(), &[]);
    small().iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
    sink.finish().unwrap();
    assert_eq!(present(dir.path()), ["failure_rate__live_000000000101.parquet", "notes.parquet"]);

    let other = SinkRequest { view: "another".to_owned(), ..request() };
    let error = open(&Parquet, other, dir.path(), &[("path", ".")]).err().unwrap().to_string();
    assert!(error.contains("holds view \"failure_rate\"; give each sink its own path"), "{error}");
}

#[test]
fn what_cannot_be_written_is_said_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("partition_by", "nobody", "is not a column of the view, or date(column)"),
        ("partition_by", "date(total)", "is not date() of a timestamp column"),
        ("partition_by", "volume", "is not a column of dates, text or whole numbers"),
        ("every", "often", "is not a duration such as '5 minutes', a count such as '100 ticks', or 'end'"),
        ("uint256", "decimal", "is not a list of binary, d128, f64, string"),
        ("file_rows", "0", "is not a number of rows above zero"),
    ];
    for (name, value, message) in cases {
        let error = open(&Parquet, request(), dir.path(), &[("path", "."), (name, value)]).err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    }
    let mut fields: Vec<_> = schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(arrow::datatypes::Field::new("volume_d128", DataType::Int64, true));
    let twice = SinkRequest { schema: std::sync::Arc::new(arrow::datatypes::Schema::new(fields)), ..request() };
    let error = open(&Parquet, twice, dir.path(), &[("path", ".")]).err().unwrap().to_string();
    assert!(error.contains("two columns \"volume_d128\"; rename one"), "{error}");
}

#[test]
fn signed_256_bit_integers_are_twos_complement_without_statistics() {
    use arrow::array::FixedSizeBinaryArray;
    use highwater_engine::model::wide::int256_field;
    use highwater_engine::model::{Delta, Progress};
    use highwater_engine::sink::SinkTick;

    let dir = tempfile::tempdir().unwrap();
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(vec![int256_field("profit", false)]));
    // -1 as the engine holds it: 2^255 - 1.
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0x7f;
    let column = FixedSizeBinaryArray::try_from_iter(std::iter::once(minus_one)).unwrap();
    let batch = arrow::record_batch::RecordBatch::try_new(schema.clone(), vec![std::sync::Arc::new(column)]).unwrap();
    let request = SinkRequest { schema, key: None, closing: None, order: Vec::new(), ..request() };
    let mut sink = open(&Parquet, request, dir.path(), &[("path", ".")]).unwrap();
    let progress: Progress = progress(1, None);
    let delta = Delta::derived(batch, vec![2]);
    sink.commit(SinkTick { tick: 1, progress: &progress, changes: &[delta] }).unwrap();
    sink.finish().unwrap();

    let path = dir.path().join(&listed(dir.path())[0]);
    let batch = &read_batches(&path)[0];
    assert_eq!(batch.num_rows(), 2, "a row with count 2 is there twice");
    assert_eq!(batch.column(0).as_fixed_size_binary().value(1), [0xff; 32]);
    assert_eq!(batch.column(1).as_primitive::<Decimal128Type>().value(0), -1);
    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let columns = reader.metadata().row_group(0).columns();
    assert_eq!(columns.iter().map(|column| column.statistics().is_some()).collect::<Vec<_>>(), [false, true]);
}
