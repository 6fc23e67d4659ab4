//! One suite over every sink: what the engine may rely on.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::*;
use highwater_engine::model::alert::notification_schema;
use highwater_engine::sink::{Notifications, Sink, SinkConnector, SinkError, SinkRequest};
use highwater_sinks::SINKS;
use highwater_sinks::stdout::Stdout;

fn connector(name: &str) -> &'static dyn SinkConnector {
    *SINKS.iter().find(|connector| connector.name() == name).unwrap()
}

/// The options without which a sink does not open: those that are required, and the leave to run a program.
fn needed(sink: &dyn SinkConnector) -> impl Iterator<Item = (&'static str, &str)> {
    let needed = sink.options().iter().filter(|option| option.default == "required" || option.name == "enabled");
    needed.map(|option| (option.name, option.example))
}

/// Options of a sink that are taken with another one only, and in the place of a third.
const TOGETHER: &[(&str, &str, (&str, &str), &str)] = &[
    ("slack", "token", ("channel", "C0123456789"), "url"),
    ("slack", "channel", ("token", "xoxb-1-2-abcdef"), "url"),
    ("email", "user", ("password", "pass-word"), ""),
    ("email", "password", ("user", "alerts@example.org"), ""),
];

/// What the sink can show.
fn request_of(sink: &dyn SinkConnector) -> SinkRequest {
    match sink.notifications() {
        Notifications::Only => SinkRequest { schema: notification_schema(), key: None, closing: None, ..request() },
        _ => request(),
    }
}

/// Sinks that keep what they write, in each of their forms.
const DURABLE: &[(&str, &[(&str, &str)])] = &[
    ("file", &[("path", "out")]),
    ("parquet", &[("path", "out")]),
    ("parquet", &[("path", "out"), ("file_rows", "2"), ("every", "1 tick")]),
    ("parquet", &[("path", "out"), ("partition_by", "date(window_start)"), ("file_rows", "2")]),
    ("parquet", &[("path", "out"), ("mode", "changelog")]),
    ("parquet", &[("path", "out"), ("mode", "changelog"), ("partition_by", "total"), ("every", "2 ticks")]),
];

/// Rows come, change, become final; tick 4 is a reorg that takes a row back.
fn history() -> Vec<Tick> {
    let tick = |number, finalized: Option<u8>, changes: &[(Row, i64)]| Tick {
        changes: changes.to_vec(),
        progress: progress(number, finalized.map(window_end)),
    };
    let mut ticks = vec![
        tick(1, None, &[((1, 0, 10, 1), 1), ((2, 0, 4, 0), 1)]),
        tick(2, None, &[((1, 0, 10, 1), -1), ((1, 0, 11, 2), 1), ((3, 1, 1, 7), 1)]),
        tick(3, Some(0), &[((9, 1, 5, 5), 1), ((9, 2, 6, 6), 1)]),
        tick(4, Some(0), &[((3, 1, 1, 7), -1), ((3, 1, 2, 1), 1), ((9, 2, 6, 6), -1)]),
        tick(5, Some(1), &[((4, 2, 8, 1), 1), ((5, 2, 3, 1), 1)]),
        tick(6, Some(2), &[]),
    ];
    ticks[3].progress.reorg = reorg(103);
    ticks[5].progress.end_of_input = true;
    ticks
}

fn rows_after(ticks: &[Tick]) -> BTreeMap<(u8, u8), (i64, i64)> {
    let mut rows = BTreeMap::new();
    for (row, diff) in ticks.iter().flat_map(|tick| &tick.changes) {
        if *diff < 0 {
            rows.remove(&(row.0, row.1));
        } else {
            rows.insert((row.0, row.1), (row.2, row.3));
        }
    }
    rows
}

/// Whatever is at `out`: bytes of a file, or bytes of all files the manifest lists.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let out = dir.join("out");
    if out.is_file() {
        return BTreeMap::from([("out".to_owned(), std::fs::read(out).unwrap())]);
    }
    let files = listed(&out);
    assert_eq!(sorted(files.clone()), present(&out), "no other file is left in the folder");
    files.into_iter().map(|file| (file.clone(), std::fs::read(out.join(file)).unwrap())).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn run(dir: &Path, name: &str, options: &[(&str, &str)]) -> Box<dyn Sink> {
    open(connector(name), request(), dir, options).unwrap()
}

#[test]
fn names_are_unique_and_documented() {
    let mut names: Vec<_> = SINKS.iter().map(|sink| sink.name()).collect();
    let alerts = ["slack", "discord", "telegram", "email", "pagerduty", "opsgenie", "alertmanager"];
    assert_eq!(names, [&["stdout", "file", "parquet", "webhook", "script"][..], &alerts].concat());
    names.dedup();
    assert_eq!(names.len(), SINKS.len());
    for sink in SINKS {
        assert!(sink.about().ends_with('.'), "{}", sink.name());
        assert!(sink.options().iter().all(|option| option.doc.ends_with('.') && !option.example.is_empty()));
    }
}

#[test]
fn every_documented_option_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    for sink in SINKS {
        for option in sink.options() {
            let example = option.example.replace("to_address", "total");
            let others = needed(*sink).filter(|(name, _)| *name != option.name);
            let mut given: Vec<(&str, &str)> = others.chain([(option.name, example.as_str())]).collect();
            if let Some((_, _, with, without)) =
                TOGETHER.iter().find(|(s, o, ..)| (*s, *o) == (sink.name(), option.name))
            {
                given.retain(|(name, _)| name != without);
                given.push(*with);
            }
            sink.check(&request_of(*sink), options(dir.path(), &given)).unwrap();
        }
    }
}

#[test]
fn an_unknown_option_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for sink in SINKS {
        let given: Vec<_> = needed(*sink).chain([("formatt", "json")]).collect();
        let error = sink.check(&request_of(*sink), options(dir.path(), &given)).unwrap_err();
        assert_eq!(error.to_string(), "sink \"failing\" has no option \"formatt\"");
    }
}

#[test]
fn alert_channels_refuse_other_views() {
    let dir = tempfile::tempdir().unwrap();
    for sink in SINKS.iter().filter(|sink| sink.notifications() == Notifications::Only) {
        let given: Vec<_> = needed(*sink).collect();
        let error = sink.check(&request(), options(dir.path(), &given)).unwrap_err();
        assert!(matches!(error, SinkError::Unsupported { .. }), "{}", sink.name());
    }
}

#[test]
fn check_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (name, given) in DURABLE {
        connector(name).check(&request(), options(dir.path(), given)).unwrap();
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn restore_takes_back_what_came_after_the_checkpoint() {
    let ticks = history();
    for (name, options) in DURABLE {
        for split in 0..ticks.len() {
            let dir = tempfile::tempdir().unwrap();
            let mut sink = run(dir.path(), name, options);
            for tick in &ticks[..split] {
                commit(&mut *sink, tick).unwrap();
            }
            let state = sink.checkpoint().unwrap();
            let at_checkpoint = contents(dir.path());
            for tick in &ticks[split..] {
                commit(&mut *sink, tick).unwrap();
            }
            // As if the process had died in `finish`, after all files were written.
            sink.finish().unwrap();
            drop(sink);

            let mut sink = run(dir.path(), name, options);
            sink.restore(&state).unwrap();
            sink.checkpoint().unwrap();
            let restored = contents(dir.path());
            assert_eq!(at_checkpoint.values().collect::<Vec<_>>(), restored.values().collect::<Vec<_>>());

            for tick in &ticks[split..] {
                commit(&mut *sink, tick).unwrap();
            }
            let report = sink.finish().unwrap();
            assert_eq!((report.inserted, report.retracted), (9, 3), "{name} {options:?} {split}");
            if *name == "parquet" {
                assert_eq!(read_view(&dir.path().join("out")), expected(&rows_after(&ticks)));
            }
        }
    }
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    for (name, options) in DURABLE {
        let runs: Vec<_> = (0..2)
            .map(|_| {
                let dir = tempfile::tempdir().unwrap();
                let mut sink = run(dir.path(), name, options);
                history().iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
                sink.finish().unwrap();
                contents(dir.path())
            })
            .collect();
        assert_eq!(runs[0], runs[1]);
    }
}

#[test]
fn a_new_run_replaces_an_old_one() {
    for (name, options) in DURABLE {
        let dir = tempfile::tempdir().unwrap();
        let write = |ticks: &[Tick]| {
            let mut sink = run(dir.path(), name, options);
            ticks.iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
            sink.finish().unwrap();
            contents(dir.path())
        };
        let first = write(&history()[..2]);
        write(&history());
        assert_eq!(write(&history()[..2]), first);
    }
}

#[test]
fn reports_say_where_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = run(dir.path(), "parquet", &[("path", "out")]);
    history().iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
    assert_eq!(sink.finish().unwrap().place, format!("1 file in {}", dir.path().join("out").display()));
}

#[test]
fn out_moves_relative_paths() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["file", "parquet"] {
        let moved = SinkRequest { out: Some(dir.path().join(name)), ..request() };
        let mut sink = open(connector(name), moved, Path::new("/nowhere"), &[("path", "out")]).unwrap();
        sink.finish().unwrap();
        assert!(dir.path().join(name).join("out").exists());
    }
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("taken"), "a file").unwrap();
    for (name, path) in [("parquet", "taken"), ("parquet", "taken/out"), ("file", "taken/out"), ("file", ".")] {
        let error = open(connector(name), request(), dir.path(), &[("path", path)]).err().unwrap();
        assert!(matches!(error, SinkError::Write { .. }), "{error:?}");
        assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    }
    assert_eq!(std::fs::read(dir.path().join("taken")).unwrap(), b"a file");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_takes_nothing_along() {
    let mut sink = open(connector("file"), request(), Path::new("/"), &[("path", "/dev/full")]).unwrap();
    let error = commit(&mut *sink, &history()[0]).unwrap_err();
    assert_eq!(error.to_string(), "writing /dev/full failed");

    // A part that cannot be written leaves the manifest and its files as they were.
    let dir = tempfile::tempdir().unwrap();
    let mut sink = run(dir.path(), "parquet", &[("path", "out")]);
    commit(&mut *sink, &history()[0]).unwrap();
    sink.checkpoint().unwrap();
    let before = contents(dir.path());
    let blocked = dir.path().join("out/failure_rate__live_000000000102.parquet.tmp");
    std::os::unix::fs::symlink("/dev/full", &blocked).unwrap();
    commit(&mut *sink, &history()[1]).unwrap();
    let error = sink.checkpoint().unwrap_err();
    assert_eq!(error.to_string(), format!("writing {} failed", blocked.display()));
    assert_eq!(contents(dir.path()), before);
    // Space is back: nothing is lost.
    sink.checkpoint().unwrap();
    assert_eq!(read_view(&dir.path().join("out")), expected(&rows_after(&history()[..2])));
}

/// Memory that a sink can print to.
fn memory() -> (Arc<Mutex<Vec<u8>>>, highwater_sinks::stdout::SharedWriter) {
    let memory = Arc::new(Mutex::new(Vec::new()));
    (memory.clone(), memory)
}

fn printed(memory: &Arc<Mutex<Vec<u8>>>) -> String {
    String::from_utf8(memory.lock().unwrap().clone()).unwrap()
}

#[test]
fn json_lines_of_stdout_and_file_are_the_same_and_show_corrections() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, writer) = memory();
    let mut stdout = Stdout.open_with(request(), options(dir.path(), &[]), writer).unwrap();
    let mut file = run(dir.path(), "file", &[("path", "out")]);
    for tick in &history() {
        commit(&mut *stdout, tick).unwrap();
        commit(&mut *file, tick).unwrap();
    }
    let report = file.finish().unwrap();
    assert_eq!(report.place, format!("12 lines in {}", dir.path().join("out").display()));
    let text = printed(&memory);
    assert_eq!(text, std::fs::read_to_string(dir.path().join("out")).unwrap());

    let reorg: Vec<&str> = text.lines().filter(|line| line.contains("\"tick\":4,")).collect();
    let head = r#"{"sink":"failing","view":"failure_rate","tick":4,"block":104"#;
    let row = |total: i64, failed: &str, address: &str, window: &str, volume: &str| {
        format!(r#""row":{{"to_address":{address},{window},"total":{total},"failed":{failed},"volume":{volume}}}}}"#)
    };
    let three = format!("\"0x{}\"", "03".repeat(20));
    let second = r#""window_start":"2023-11-14T22:20:00Z","window_end":"2023-11-14T22:25:00Z""#;
    let third = r#""window_start":"2023-11-14T22:25:00Z","window_end":"2023-11-14T22:30:00Z""#;
    let large = "\"452312848583266388373324160190187140051835877600158453279131187530910662662\"";
    assert_eq!(
        reorg,
        [
            format!(r#"{head},"reorg":{{"ancestor":103,"depth":1,"replaced_by":1}}}}"#),
            format!(r#"{head},"op":"retract","diff":-1,"reorg":true,{}"#, row(6, "6", "null", third, large)),
            format!(r#"{head},"op":"retract","diff":-1,"reorg":true,{}"#, row(1, "null", &three, second, "\"1\"")),
            format!(r#"{head},"op":"insert","diff":1,"reorg":true,{}"#, row(2, "1", &three, second, "\"2\"")),
        ]
    );
}

#[test]
fn a_closed_pipe_is_a_normal_end() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let given = options(Path::new("/"), &[]);
    let mut sink = Stdout.open_with(request(), given, Arc::new(Mutex::new(Closed))).unwrap();
    assert!(matches!(commit(&mut *sink, &history()[0]), Err(SinkError::Closed)));
}

#[test]
fn a_terminal_sees_changes_corrections_and_the_view() {
    let (memory, writer) = memory();
    let mut request = request();
    request.terminal.interactive = true;
    request.terminal.width = 110;
    let mut sink = Stdout.open_with(request, options(Path::new("/"), &[("limit", "3")]), writer).unwrap();
    history().iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
    sink.finish().unwrap();
    assert_eq!(printed(&memory), include_str!("terminal.txt"));
}

#[test]
fn colour_only_where_wanted_and_restored_rows_are_in_the_table() {
    let ticks = history();
    let given = |order: &'static str| options(Path::new("/"), &[("format", "table"), ("order_by", order)]);
    let (_, writer) = memory();
    let mut sink = Stdout.open_with(request(), given("failed desc"), writer).unwrap();
    ticks[..3].iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
    let state = sink.checkpoint().unwrap();

    let (memory, writer) = memory();
    let mut coloured = request();
    coloured.terminal.colour = true;
    let mut sink = Stdout.open_with(coloured, given("total, failed desc"), writer).unwrap();
    sink.restore(&state).unwrap();
    ticks[3..].iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
    let report = sink.finish().unwrap();
    assert_eq!((report.inserted, report.retracted), (9, 3));
    let text = printed(&memory);
    assert!(text.contains("\u{1b}[32m       104  ~ "), "{text:?}");
    assert!(text.contains("\u{1b}[31m       104  - "), "{text:?}");
    assert!(text.contains("failure_rate: 6 rows at block 106"), "{text}");
    assert!(!plain(&ticks).contains('\u{1b}'));
}

fn plain(ticks: &[Tick]) -> String {
    let (memory, writer) = memory();
    let mut sink = Stdout.open_with(request(), options(Path::new("/"), &[("format", "table")]), writer).unwrap();
    ticks.iter().for_each(|tick| commit(&mut *sink, tick).unwrap());
    sink.finish().unwrap();
    printed(&memory)
}
