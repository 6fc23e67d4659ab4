//! When rows go out, and what becomes of rows that cannot be evaluated.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::chain::{DEVNET, lines};
use crate::command::{Desk, Ran};

const SOURCE: &str = "CREATE SOURCE eth WITH (connector = 'recording', path = 'chain.ndjson', confirmations = 12);\n";

const VIEW: &str = "
CREATE MATERIALIZED VIEW minutes AS
SELECT window_start, window_end, count(*) AS total, sum(gas_used) AS gas_used
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end;
CREATE SINK changes FROM minutes WITH (connector = 'stdout');
CREATE SINK closed FROM minutes WITH (connector = 'stdout') EMIT ON WINDOW CLOSE;
CREATE SINK final FROM minutes WITH (connector = 'stdout') EMIT ON FINALITY;
";

fn desk(job: &str) -> Desk {
    let desk = Desk::new(&format!("{SOURCE}{job}"));
    desk.write("chain.ndjson", lines(&DEVNET));
    desk
}

fn key(line: &Value) -> String {
    line["row"]["window_start"].as_str().unwrap().to_owned()
}

/// The tick in which each row of a sink went out first.
fn first_ticks(ran: &Ran, sink: &str) -> BTreeMap<String, i64> {
    let mut ticks = BTreeMap::new();
    for line in ran.lines_of(sink).iter().filter(|line| line["op"] == "insert") {
        ticks.entry(key(line)).or_insert(line["tick"].as_i64().unwrap());
    }
    ticks
}

#[test]
fn final_rows_go_out_once_and_closed_rows_when_their_window_is_over() {
    let desk = desk(VIEW);
    let ran = desk.run(&["--blocks-per-tick", "1"]).succeeds();
    let whole = ran.contents("changes");
    assert_eq!(ran.contents("final"), whole, "at the end of a recording everything is final");
    let finals = ran.lines_of("final");
    assert!(finals.iter().all(|line| line["op"] == "insert"), "what is final is never corrected");
    assert_eq!(finals.len(), whole.len(), "each row once");
    let (changed, closed, settled) =
        (first_ticks(&ran, "changes"), first_ticks(&ran, "closed"), first_ticks(&ran, "final"));
    assert!(ran.lines_of("closed").len() < ran.lines_of("changes").len());
    for (window, tick) in &closed {
        assert!(changed[window] < *tick, "{window} opens before it closes");
        assert!(*tick <= settled[window], "{window} closes before it is final");
    }
    // A window is over when a block of a later window is there.
    let later: BTreeSet<_> = changed.keys().skip(1).collect();
    assert!(closed.len() >= later.len());
    for line in ran.lines_of("closed").iter().filter(|line| line["row"].is_object()) {
        assert!(line["diff"].as_i64().unwrap().abs() == 1);
    }
    for (row, _) in ran.contents("closed") {
        assert!(whole.contains_key(&row), "a closed row is a row of the view: {row:?}");
    }
}

#[test]
fn final_rows_do_not_depend_on_ticks_and_workers() {
    let desk = desk(VIEW);
    let rows = |arguments: &[&str]| {
        let lines = desk.run(arguments).succeeds().lines_of("final");
        lines.iter().map(|line| line["row"].to_string()).collect::<Vec<_>>()
    };
    let expected = rows(&["--blocks-per-tick", "1"]);
    assert_eq!(rows(&["--blocks-per-tick", "7", "--workers", "2"]), expected);
    assert_eq!(rows(&["--blocks-per-tick", "100", "--workers", "4"]), expected);
}

const ODD: &str = "
CREATE MATERIALIZED VIEW odd AS
SELECT block_number, block_hash, transaction_hash, 100 / (transaction_index - 7) AS share FROM eth.transactions;
CREATE SINK rows FROM odd WITH (connector = 'stdout');
CREATE SINK errors FROM odd_errors WITH (connector = 'stdout');
";

#[test]
fn rows_that_cannot_be_evaluated_stand_beside_the_view_and_leave_with_their_block() {
    let desk = desk(ODD);
    let ran = desk.run(&[]).succeeds();
    let eighth = |event: &&Value| event["block"]["transactions"].as_array().unwrap().len() > 7;
    let blocks = DEVNET.iter().filter(eighth).count();
    let inserted = ran.lines_of("errors").iter().filter(|line| line["op"] == "insert").count();
    assert_eq!(inserted, blocks, "one row of each block that has so many");
    let left = ran.contents("errors");
    assert!(left.len() < blocks, "orphaned blocks took their errors with them");
    assert_eq!(ran.summary()["errors"]["odd"], left.len());
    let mut canonical = BTreeSet::new();
    for row in ran.contents("rows").into_keys() {
        let hash = row.value()["block_hash"].as_str().unwrap().to_owned();
        canonical.insert(hash);
    }
    for error in left.into_keys() {
        let error = error.value();
        assert_eq!(error["error"], "division by zero");
        let row: Value = serde_json::from_str(error["row"].as_str().unwrap()).unwrap();
        assert_eq!(row["transaction_index"], 7);
        assert!(canonical.contains(row["block_hash"].as_str().unwrap()), "{row}");
    }
    assert!(ran.stderr.contains("a row could not be evaluated"), "{}", ran.stderr);
}

#[test]
fn a_job_may_stop_at_the_first_such_row() {
    let desk = desk(&ODD.replace("eth.transactions;", "eth.transactions ON ERROR STOP;"));
    desk.run(&[]).fails(1, &["view \"odd\"", "ON ERROR STOP", "division by zero", "transaction_index"]);
}

#[test]
fn overflow_of_256_bits_is_an_error_row() {
    let desk = desk(
        "CREATE MATERIALIZED VIEW large AS
         SELECT transaction_hash, value * (CAST('1' || repeat('0', 70) AS UINT256)) AS product
         FROM eth.transactions WHERE block_number <= 45;",
    );
    let ran = desk.run(&[]).succeeds();
    let errors = ran.summary()["errors"]["large"].as_u64().unwrap();
    assert!(errors > 0, "{}", ran.stderr);
    assert!(ran.contents("large").keys().any(|row| row.value()["product"] == "0"));
}
