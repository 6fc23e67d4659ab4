//! Alerts through the front door: what stands at the end is what the canonical chain alone would have given, however
//! it was run; a dry run prints what would be sent and writes nothing.

use std::collections::BTreeMap;

use crate::chain::{DEVNET, canonical, lines, orphaned};
use crate::command::{Desk, Ran, run};
use crate::recorded::Recording;
use crate::rows::Row;

const JOB: &str = "
CREATE SOURCE eth WITH (connector = 'recording', path = 'chain.ndjson', confirmations = 12);

CREATE MATERIALIZED VIEW failure_rate AS
SELECT to_address, window_start, window_end, count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed
FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '2 minutes')
GROUP BY to_address, window_start, window_end;

-- Block by block: a rate may cross the line and come back.
CREATE ALERT failing FROM (SELECT * FROM failure_rate WHERE total >= 3 AND failed * 20 > total) WITH (
  key = 'to_address', severity = 'CASE WHEN failed * 2 > total THEN ''critical'' WHEN failed * 4 > total THEN ''high'' ELSE ''low'' END',
  score = '5.0 * failed / total', reason = '{{ failed }} of {{ total }} failed since {{ window_start }}',
  title = '{{ to_address|short }} fails', why = '{{ (failed / total)|percent }} fail',
  cool_after = INTERVAL '1 minute', resolve_after = INTERVAL '3 minutes', reopen_within = INTERVAL '2 minutes');

-- At window close: each window counts once.
CREATE ALERT failed_windows FROM (SELECT * FROM failure_rate WHERE failed > 0) WITH (
  key = 'to_address', severity = 'high', dedup_key = 'to_address', dedup_for = INTERVAL '5 minutes',
  cool_after = INTERVAL '2 minutes', resolve_after = INTERVAL '4 minutes') EMIT ON WINDOW CLOSE;

-- Senders of large amounts, one story a token.
CREATE ALERT movers FROM (
  SELECT block_number, block_timestamp, token_address, from_address, amount FROM eth.token_transfers
  WHERE amount > 500000000000000000
) WITH (key = 'from_address', group_by = 'token_address', cool_after = INTERVAL '20 seconds', resolve_after = INTERVAL '40 seconds');

CREATE SINK stories FROM failing_shown WITH (connector = 'stdout');
CREATE MATERIALIZED VIEW failing_shown AS SELECT * FROM failing;
CREATE SINK windows FROM (SELECT * FROM alert_groups WHERE alert = 'failed_windows') WITH (connector = 'stdout');
CREATE SINK found FROM (SELECT alert, finding_id, entity, occurrences, first_seen_at FROM alerts) WITH (connector = 'stdout');
CREATE SINK ops FROM failing WITH (
  connector = 'stdout', cooldown = INTERVAL '2 minutes', group_wait = INTERVAL '12 seconds', send = 'fire,escalate,update,resolve',
  group_interval = INTERVAL '24 seconds', min_severity = 'low', rate_limit = '3 per minute');
CREATE SINK desk FROM movers WITH (connector = 'stdout', confirmations = 2);
CREATE SINK sure FROM movers WITH (connector = 'stdout') EMIT ON FINALITY;
CREATE SINK told FROM (SELECT sink, alert, kind, decision, suppressed_by, notified_at FROM deliveries) WITH (connector = 'stdout');
CREATE SINK kept FROM failure_rate WITH (connector = 'parquet', path = 'kept');
";

const SINKS: [&str; 7] = ["stories", "windows", "found", "ops", "desk", "sure", "told"];

fn contents(ran: &Ran) -> BTreeMap<&'static str, BTreeMap<Row, i64>> {
    SINKS.iter().map(|sink| (*sink, ran.contents(sink))).collect()
}

#[test]
fn what_stands_is_what_the_canonical_chain_gives() {
    let desk = Desk::new(JOB);
    let recording = Recording::devnet();
    desk.write("chain.ndjson", lines(&canonical(&recording.events, &orphaned(&recording.truth))));
    let alone = run(&["run", &desk.job, "--out", &desk.at("alone")]).succeeds();
    assert_eq!(alone.summary()["reorgs"], 0);
    let expected = contents(&alone);
    for sink in SINKS {
        assert!(!expected[sink].is_empty(), "{sink} shows something");
    }
    desk.write("chain.ndjson", lines(&DEVNET));
    let mut printed: Option<String> = None;
    for (workers, blocks) in [("1", "1"), ("2", "100"), ("4", "7")] {
        let case = format!("{workers}-{blocks}");
        let arguments = ["run", &desk.job, "--out", &desk.at(&case), "--workers", workers, "--blocks-per-tick", blocks];
        let ran = run(&arguments).succeeds();
        assert_eq!(ran.summary()["reorgs"], 6, "{case}");
        let found = contents(&ran);
        for sink in SINKS {
            assert_eq!(found[sink], expected[sink], "{sink}, {case}");
        }
        // Corrections were told: something of the orphaned blocks had gone out.
        assert!(ran.lines_of("ops").iter().any(|line| line["op"] == "retract" && line["reorg"] == true), "{case}");
        // With alerts that look block by block the ticks are the same whatever is asked for.
        let text = printed.get_or_insert_with(|| ran.stdout.clone());
        assert!(*text == ran.stdout, "standard output of {case} differs");
    }
    // A replay of what was live says the same, to the byte.
    let replayed = run(&["replay", &desk.job, "--out", &desk.at("replay")]).succeeds();
    assert_eq!(Some(replayed.stdout), printed);
}

#[test]
fn a_dry_run_prints_what_would_be_told_and_writes_nothing() {
    let desk = Desk::new(JOB);
    desk.write("chain.ndjson", lines(&DEVNET));
    let out = desk.at("out");
    let ran = run(&["replay", &desk.job, "--dry-run", "--out", &out]).succeeds();
    assert!(!desk.path("out/kept").exists(), "no sink wrote");
    let sinks: std::collections::BTreeSet<&str> =
        SINKS.iter().copied().filter(|sink| !ran.lines_of(sink).is_empty()).collect();
    assert_eq!(
        sinks.into_iter().collect::<Vec<_>>(),
        ["desk", "ops", "sure"],
        "only what is told of alerts is printed"
    );
    let whole = run(&["replay", &desk.job, "--out", &out]).succeeds();
    assert_eq!(ran.contents("ops"), whole.contents("ops"));
    assert!(desk.path("out/kept").exists());
    let refused = run(&["replay", &desk.job, "--dry-run", "--send"]);
    assert_eq!(refused.code, Some(2));
}

#[test]
fn the_command_line_changes_what_a_sink_wants() {
    let desk = Desk::new(JOB);
    desk.write("chain.ndjson", lines(&DEVNET));
    let out = desk.at("out");
    let ran = run(&["run", &desk.job, "--out", &out, "--set", "ops.min_severity=critical"]).succeeds();
    let rows = ran.lines_of("ops");
    assert!(rows.iter().any(|line| line["row"]["suppressed_by"] == "min_severity"));
    let low = |line: &serde_json::Value| line["row"]["decision"] == "send" && line["row"]["severity"] != "critical";
    assert!(!rows.iter().any(low));
    run(&["run", &desk.job, "--set", "ops.min_severity=loud"]).fails(2, &["min_severity"]);
}

/// A person sees what is told, not the columns that programs need, and what a reorg takes back.
#[test]
fn a_table_of_what_is_told_is_for_people() {
    let desk = Desk::new(JOB);
    desk.write("chain.ndjson", lines(&DEVNET));
    let lines = run(&["replay", &desk.job, "--dry-run"]).succeeds();
    let sent =
        lines.lines_of("ops").iter().filter(|line| line["row"]["decision"] == "send" && line["diff"] == 1).count();
    let shown = run(&["run", &desk.job, "--out", &desk.at("out"), "--set", "ops.format=table"]).succeeds();
    let told: Vec<&str> = shown.stdout.lines().filter(|line| !line.starts_with('{')).collect();
    assert!(told[0].contains("notified_at") && told[0].contains("reason"), "{}", told[0]);
    assert!(!told[0].contains("notification_id"));
    assert_eq!(told.iter().filter(|line| line.contains("  + ")).count(), sent);
    assert!(told.iter().any(|line| line.contains("rows of ops corrected") || line.contains("row of ops corrected")));
    assert!(told.iter().any(|line| line.contains("  - ")));
}
