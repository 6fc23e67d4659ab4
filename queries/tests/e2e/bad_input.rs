//! Wrong input: the error names it, the exit code says whose fault it is, and everything that came
//! before is complete on disk.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::chain::{DEVNET, lines};
use crate::command::{Desk, Ran, accumulate, highwater, parse_lines, run};
use crate::rows::{Table, sum_up_to};

const JOB: &str = "
CREATE SOURCE eth WITH (connector = 'recording', path = 'chain.ndjson', confirmations = 12);
CREATE MATERIALIZED VIEW minutes AS
SELECT window_start, window_end, count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW moved AS SELECT block_number, token_address, amount FROM eth.token_transfers;
CREATE SINK lines FROM minutes WITH (connector = 'file', path = 'lines.jsonl');
CREATE SINK moves FROM moved WITH (connector = 'stdout');
CREATE SINK snapshot FROM minutes WITH (connector = 'parquet', path = 'snapshot');
CREATE SINK changes FROM minutes WITH (connector = 'parquet', path = 'changes', mode = 'changelog');
";

/// Blocks 0 to 45, before the first reorg.
const GOOD: usize = 46;

fn desk(events: &[Value]) -> Desk {
    let desk = Desk::new(JOB);
    desk.write("chain.ndjson", lines(events));
    desk
}

fn good() -> Vec<Value> {
    DEVNET[..GOOD].to_vec()
}

/// All outputs hold the rows of the first `blocks` blocks, whole and readable.
fn assert_kept(desk: &Desk, blocks: usize) {
    let reference = self::desk(&DEVNET[..blocks]);
    reference.run(&[]).succeeds();
    let expected = Table::read(&reference.path("snapshot")).contents();
    assert!(!expected.is_empty());
    assert_eq!(Table::read(&desk.path("snapshot")).contents(), expected);
    assert_eq!(sum_up_to(&Table::read(&desk.path("changes")).changes(), i64::MAX), expected);
    assert_eq!(accumulate(&parse_lines(&desk.read("lines.jsonl"))), expected);
    assert_eq!(desk.read("lines.jsonl"), reference.read("lines.jsonl"));
}

/// Damages the last block of the chain; what came before must stay.
fn damaged(damage: impl FnOnce(&mut Value), said: &[&str]) {
    let mut events = good();
    damage(events.last_mut().unwrap());
    let desk = desk(&events);
    desk.run(&[]).fails(1, said);
    assert_kept(&desk, GOOD - 1);
}

#[test]
fn a_block_with_a_wrong_parent() {
    let damage = |event: &mut Value| event["block"]["parentHash"] = format!("0x{}", "ab".repeat(32)).into();
    damaged(damage, &["block 45", "breaks rule parent-hash", "0xabababab", "block 44 is 0x7d3c8bbb"]);
}

#[test]
fn a_receipt_count_that_differs() {
    let damage = |event: &mut Value| drop(event["receipts"].as_array_mut().unwrap().pop());
    damaged(damage, &["chain.ndjson line 46", "breaks rule receipt-count", "8 receipts for 9 transactions"]);
}

#[test]
fn an_event_without_receipts() {
    let damage = |event: &mut Value| drop(event.as_object_mut().unwrap().remove("receipts"));
    damaged(damage, &["chain.ndjson line 46", "the line has no receipts"]);
}

#[test]
fn a_topic_that_is_no_hash() {
    let damage =
        |event: &mut Value| *first_log(event, |_| true).unwrap().pointer_mut("/topics/0").unwrap() = "0x12".into();
    damaged(damage, &["breaks rule bad-hex", "log topic has 1 bytes instead of 32"]);
}

fn first_log(event: &mut Value, test: impl Fn(&Value) -> bool) -> Option<&mut Value> {
    let receipts = event["receipts"].as_array_mut().unwrap();
    receipts.iter_mut().flat_map(|receipt| receipt["logs"].as_array_mut().unwrap()).find(|log| test(log))
}

#[test]
fn a_fork_below_finality() {
    let mut events = good();
    let old = events[5]["block"]["hash"].as_str().unwrap().to_owned();
    let fork = events[5].to_string().replace(&old, &format!("0x{}", "cd".repeat(32)));
    events.push(serde_json::from_str(&fork).unwrap());
    let desk = desk(&events);
    desk.run(&[]).fails(1, &["block 5 (0xcdcdcd", "forks below finality", "final block 33"]);
    assert_kept(&desk, GOOD);
}

#[test]
fn a_gap() {
    let mut events = good();
    events.remove(20);
    let desk = desk(&events);
    desk.run(&[]).fails(1, &["block 21", "eth"]);
    assert_kept(&desk, 20);
}

#[test]
fn a_truncated_gzip_file() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(lines(&DEVNET[..30]).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let desk = desk(&[]);
    let path = desk.write("half.ndjson.gz", &packed[..packed.len() / 2]);
    let ran = desk.run(&["--set", &format!("eth.path={path}")]);
    let ran = ran.fails(1, &["half.ndjson.gz line", "the gzip data ends too early"]);
    let line = ran.stderr.split(" line ").nth(1).unwrap().split(':').next().unwrap();
    assert_kept(&desk, line.parse::<usize>().unwrap() - 1);
}

#[test]
fn text_that_is_not_utf8() {
    let desk = Desk::new(JOB);
    let mut text = lines(&DEVNET[..30]).into_bytes();
    text.extend_from_slice(b"{\"event\":\"head\",\"name\":\"\xff\xfe\"}\n");
    desk.write("chain.ndjson", text);
    desk.run(&[]).fails(1, &["chain.ndjson line 31", "the text is not UTF-8 after byte 24"]);
    assert_kept(&desk, 30);
}

#[test]
fn a_missing_receipts_file() {
    let desk = desk(&[]);
    let blocks: Vec<_> = DEVNET[..GOOD].iter().map(|event| event["block"].clone()).collect();
    desk.write("folder/blocks.jsonl", lines(&blocks));
    let set = format!("eth.path={}", desk.at("folder"));
    desk.run(&["--set", &set]).fails(1, &["receipts.jsonl", "the recording has no receipts"]);
}

#[test]
fn logs_that_are_no_transfers_are_skipped_and_counted() {
    let desk = desk(&good());
    let before = desk.run(&[]).succeeds();
    let mut events = good();
    let transfer =
        |log: &Value| log["topics"].as_array().unwrap().len() == 3 && log["data"].as_str().unwrap().len() == 66;
    first_log(events.last_mut().unwrap(), transfer).unwrap()["data"] = "0x1234".into();
    let topics = &mut first_log(events.last_mut().unwrap(), transfer).unwrap()["topics"];
    topics.as_array_mut().unwrap().pop();
    desk.write("chain.ndjson", lines(&events));
    // A topic that is gone is gone from the bloom filter too, which is another mistake.
    desk.run(&[]).fails(1, &["breaks rule missing-log"]);
    let after = desk.run(&["--set", "eth.validate=off"]).succeeds();
    assert_eq!(after.summary()["skipped"], 2);
    assert!(after.stderr.contains("is not a token transfer: wrong length of data"), "{}", after.stderr);
    let total = |ran: &Ran| ran.contents("moves").values().sum::<i64>();
    assert_eq!(total(&after), total(&before) - 2);
}

#[test]
fn names_in_a_csv_file_that_are_not_utf8() {
    let desk = Desk::new(
        "CREATE SOURCE sim WITH (connector = 'simulator', blocks = 2);
         CREATE TABLE names (token ADDRESS, name TEXT) WITH (connector = 'csv', path = 'names.csv');
         CREATE VIEW named AS SELECT k.name, t.amount FROM sim.token_transfers t JOIN names k ON k.token = t.token_address;",
    );
    desk.write("names.csv", b"token,name\n0x5fbdb2315678afecb367f032d93f642f64180aa3,W\xff\xfeTH\n");
    desk.run(&[]).fails(2, &["error[Q0405]", "names.csv failed", "line 2", "invalid UTF-8"]);
}

#[test]
fn mistakes_in_a_job_name_the_place() {
    let cases = [
        ("token_address", "tokn_address", "error[Q0103]", "did you mean \"token_address\"?"),
        ("FROM minutes WITH", "FROM minuts WITH", "error[Q0101]", "did you mean \"minutes\"?"),
        ("confirmations", "confirmatons", "error[Q0202]", "did you mean \"confirmations\"?"),
        ("'recording'", "'recoding'", "error[Q0402]", "recording"),
        ("eth.token_transfers", "eth.token_transfer", "error[Q0101]", "token_transfers"),
        ("mode = 'changelog'", "mode = 'changelogs'", "error[Q0202]", "changelog"),
    ];
    let desk = desk(&good());
    for (right, wrong, code, hint) in cases {
        desk.write("job.sql", JOB.replacen(right, wrong, 1));
        let ran = desk.run(&[]).fails(2, &[code, hint, "job.sql:"]);
        assert_eq!(ran.stderr.matches("error[").count(), 1, "one mistake, one error\n{}", ran.stderr);
        assert_eq!(ran.stdout, "");
        assert!(!desk.path("lines.jsonl").exists(), "a job with a mistake is not started");
    }
}

#[test]
fn a_command_line_that_does_not_fit_the_job() {
    let desk = desk(&good());
    let nothing = desk.at("nothing.ndjson");
    desk.run(&["--set", "other.path=x"]).fails(2, &["--set other.…", "no source, table or sink \"other\""]);
    desk.run(&["--set", "eth.confirmation=3"]).fails(2, &["error[Q0202]", "confirmation"]);
    desk.run(&["--set", &format!("eth.path={nothing}")]).fails(2, &["error[Q0202]", "path"]);
    desk.run(&["--set", "eth"]).fails(2, &["NAME.OPTION=VALUE"]);
    desk.run(&["--reset"]).fails(2, &["--state"]);
    desk.run(&["--workers", "0"]).fails(2, &["--workers"]);
    run(&["run", &desk.at("no.sql")]).fails(2, &["reading the job", "no.sql", "No such file or directory"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_a_file() {
    let desk = desk(&good());
    desk.run(&["--set", "lines.path=/dev/full"])
        .fails(1, &["sink \"lines\" failed", "/dev/full", "No space left on device"]);
    // The other outputs hold whole ticks up to the failure and can be read.
    for folder in ["snapshot", "changes"] {
        if desk.path(folder).join("_manifest.json").exists() {
            Table::read(&desk.path(folder));
        }
    }
}

/// A limit on the size of files is a disk that gets full in the middle: the file keeps whole ticks.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_gets_full_keeps_whole_ticks() {
    let desk = desk(&good());
    desk.run(&["--out", &desk.at("whole")]).succeeds();
    let whole = desk.read("whole/lines.jsonl");
    let binary = env!("CARGO_BIN_EXE_highwater");
    let script = format!("trap '' XFSZ; ulimit -f 8; exec {binary} run {} --out {}", desk.job, desk.at("part"));
    let mut shell = Command::new("sh");
    let ran = Ran::of(shell.args(["-c", &script]).stdin(Stdio::null()).output().unwrap());
    ran.fails(1, &["sink \"lines\" failed: writing", "lines.jsonl", "File too large"]);
    let part = desk.read("part/lines.jsonl");
    assert!(!part.is_empty() && part.len() < whole.len() && whole.starts_with(&part));
    let ticks = |text: &str| {
        let mut ticks: BTreeMap<i64, usize> = BTreeMap::new();
        for line in parse_lines(text) {
            *ticks.entry(line["tick"].as_i64().unwrap()).or_default() += 1;
        }
        ticks
    };
    let (part, whole) = (ticks(&part), ticks(&whole));
    assert!(part.iter().all(|(tick, lines)| whole[tick] == *lines), "no tick is cut in two");
    let last = *part.keys().last().unwrap();
    let snapshot = Table::read(&desk.path("part/snapshot")).contents();
    let changes = Table::read(&desk.path("part/changes")).changes();
    assert_eq!(sum_up_to(&changes, i64::MAX), snapshot);
    assert!(changes.iter().all(|(tick, _, _)| *tick <= last + 1));
}

/// Parquet files that do not fit: the folder never holds half a file under a real name.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_parquet() {
    let desk = desk(&good());
    let binary = env!("CARGO_BIN_EXE_highwater");
    let script = format!(
        "trap '' XFSZ; ulimit -f 1; exec {binary} run {} --out {} --set lines.path=/dev/null",
        desk.job,
        desk.at("out")
    );
    let mut shell = Command::new("sh");
    let ran = Ran::of(shell.args(["-c", &script]).stdin(Stdio::null()).output().unwrap());
    ran.fails(1, &["failed", "File too large"]);
    for folder in ["snapshot", "changes"] {
        let files = std::fs::read_dir(desk.path("out").join(folder)).into_iter().flatten();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.ends_with(".parquet")), "{names:?}");
    }
}

#[test]
fn paths_that_cannot_be_written() {
    let desk = desk(&good());
    let file = desk.write("taken", "a file");
    desk.run(&["--set", &format!("lines.path={file}/lines.jsonl")]).fails(1, &["sink \"lines\" failed", "taken"]);
    desk.run(&["--set", &format!("snapshot.path={file}/view")]).fails(1, &["sink \"snapshot\" failed", "taken"]);
    assert_eq!(desk.read("taken"), "a file");
}

/// `highwater … | head -1`
#[test]
fn a_reader_that_goes_away_is_a_normal_end() {
    let desk = desk(&DEVNET[..]);
    for arguments in [vec!["run", &desk.job], vec!["reference", "functions"], vec!["completions", "bash"]] {
        let mut child = highwater(&arguments).spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("error"), "{}", ran.stderr);
    }
}
