//! Statements through the binary: every sqllogictest file in every way of feeding, unit tests, the state budget.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn highwater(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highwater")).args(args).output().unwrap()
}

fn files(folder: &str) -> Vec<String> {
    let mut files: Vec<String> =
        std::fs::read_dir(here(folder)).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has files");
    files
}

/// Runs all files; all statements agree, and none is unsupported.
fn agrees(feeding: &[&str]) {
    let files = files("tests/slt");
    let args: Vec<&str> =
        ["slt", "--all"].iter().chain(feeding).copied().chain(files.iter().map(String::as_str)).collect();
    let output = highwater(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{feeding:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("not supported,"), "{feeding:?}\n{text}");
}

#[test]
fn all_rows_at_once() {
    agrees(&["--batch"]);
}

#[test]
fn one_tick_a_row() {
    agrees(&["--row"]);
    agrees(&["--row", "--workers", "2"]);
}

#[test]
fn rows_that_come_and_go() {
    for seed in ["1", "2", "3"] {
        agrees(&["--churn", seed]);
    }
    agrees(&["--churn", "4", "--workers", "4"]);
}

#[test]
fn a_wrong_answer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.slt");
    std::fs::write(&file, "query I\nSELECT 1\n----\n2\n\nstatement ok\nSELECT nothing FROM nowhere\n").unwrap();
    let output = highwater(&["slt", "--all", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("0 agree, 2 differ"), "{text}");
    assert!(text.contains("wrong.slt:1: differs") && text.contains("table \"nowhere\" does not exist"), "{text}");
}

#[test]
fn unit_tests_pass_and_fail() {
    for file in files("tests/unit_tests") {
        let output = highwater(&["test", &file]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.ends_with(" passed, 0 failed\n"), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.sql");
    let job = "CREATE SOURCE eth WITH (connector = 'simulator');
        CREATE MATERIALIZED VIEW v AS SELECT block_number, gas_used FROM eth.blocks;
        EXECUTE UNIT TEST wrong FOR v MOCK eth.blocks (block_number, gas_used) AS (VALUES (1, 5), (2, 6))
        EXPECTED (gas_used) AS (VALUES (5), (7));";
    std::fs::write(&file, job).unwrap();
    let output = highwater(&["test", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(r#"expected and not there: {"gas_used":7}"#), "{text}");
    assert!(text.contains(r#"there and not expected: {"gas_used":6}"#), "{text}");
    assert!(text.ends_with("0 passed, 1 failed\n"), "{text}");
}

#[test]
fn a_state_budget_ends_the_job_with_the_name_of_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.sql");
    let job = |limit: &str| {
        format!(
            "SET state.limit_mb = {limit};
            CREATE SOURCE eth WITH (connector = 'simulator', blocks = '400', transactions_per_block = '200');
            CREATE MATERIALIZED VIEW senders WITH (unbounded = 'yes') AS
            SELECT transaction_hash, nonce, count(*) AS n FROM eth.transactions GROUP BY transaction_hash, nonce, gas_used + 1;
            CREATE MATERIALIZED VIEW pairs WITH (unbounded = 'yes') AS
            SELECT DISTINCT a.transaction_hash FROM eth.transactions a JOIN senders b ON a.transaction_hash = b.transaction_hash;
            CREATE SINK out FROM pairs WITH (connector = 'stdout');"
        )
    };
    std::fs::write(&file, job("1")).unwrap();
    let output = highwater(&["run", file.to_str().unwrap(), "--quiet"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("its limit is 1 MB") && text.contains("pairs/join-0"), "{text}");
    // Within one tick, before anything was counted between ticks.
    let recursive = "SET state.limit_mb = 4;
        CREATE SOURCE eth WITH (connector = 'simulator', blocks = '500', reorg_rate = '0');
        CREATE MATERIALIZED VIEW later WITH (unbounded = 'yes') AS
        WITH RECURSIVE reach (a, b) AS (
            SELECT block_number, block_number + 1 FROM eth.blocks
            UNION SELECT reach.a, blocks.block_number + 1 FROM reach JOIN eth.blocks ON reach.b = blocks.block_number)
        SELECT a, count(*) AS n FROM reach GROUP BY a;
        CREATE SINK out FROM later WITH (connector = 'stdout');";
    std::fs::write(&file, recursive).unwrap();
    let output = highwater(&["run", file.to_str().unwrap(), "--quiet"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("more than the 4 MB") && text.contains("later/recursion-0"), "{text}");
    std::fs::write(&file, job("'lots'")).unwrap();
    let output = highwater(&["check", file.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("state.limit_mb is a whole number"));
}

/// Statements as deep as they may be are planned and kept; deeper ones are refused, at any depth.
#[test]
fn deep_statements_end_in_an_error_not_in_the_stack() {
    let chain = |part: &str, link: &str, len: usize| vec![part; len].join(link);
    let queries = |len: usize| {
        [
            format!("SELECT {} AS total FROM t", chain("a", " + ", len)),
            format!("SELECT {} AS text FROM t", chain("CAST(a AS TEXT)", " || ", len)),
            format!("SELECT a FROM t WHERE {}", chain("a = 1 AND a < 2", " OR ", len)),
            chain("SELECT a FROM t", " UNION ALL ", len),
        ]
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep.sql");
    let run = |query: &str| {
        let text = format!("CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (1); {query}");
        std::fs::write(&file, text).unwrap();
        let output = highwater(&["sql", "--format", "csv", "-f", file.to_str().unwrap()]);
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), text.concat())
    };
    for (query, answer) in queries(500).iter().zip(["total\n500", &"1".repeat(500), "a\n1", &chain("1", "\n", 500)]) {
        let (code, text) = run(query);
        assert!(code == Some(0) && text.contains(answer), "{code:?} {}", text.chars().take(2_000).collect::<String>());
    }
    for query in queries(502).iter().chain(&queries(30_000)) {
        let (code, text) = run(query);
        assert_eq!(code, Some(1), "{}", text.chars().take(2_000).collect::<String>());
        assert!(text.contains("more than 500 operators, joins or set operations follow on each other"));
    }
}
