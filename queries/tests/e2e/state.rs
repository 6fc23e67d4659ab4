//! Stopping, dying and going on: the outputs are those of a run that was never interrupted.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::chain::{DEVNET, lines};
use crate::command::{Desk, Ran, accumulate, highwater, parse_lines, run};
use crate::rows::{Table, sum_up_to};

const SIMULATED: &str = "
CREATE SOURCE sim WITH (
  connector = 'simulator', seed = 7, blocks = 60, transactions_per_block = 6,
  reorg_rate = 0.2, reorg_depth = 3, confirmations = 8, sandwich_rate = 0.5
);
";

const RECORDED: &str = "
CREATE SOURCE sim WITH (connector = 'recording', path = 'chain.ndjson', confirmations = 12);
";

const VIEWS: &str = "
CREATE MATERIALIZED VIEW minutes AS
SELECT window_start, window_end, count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed,
       max(effective_gas_price) AS dearest, count(DISTINCT from_address) AS senders
FROM TUMBLE(sim.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW busiest AS
SELECT window_start, token_address, transfers, window_end
FROM (
  SELECT window_start, window_end, token_address, count(*) AS transfers
  FROM TUMBLE(sim.token_transfers, block_timestamp, INTERVAL '1 minute')
  GROUP BY window_start, window_end, token_address
)
QUALIFY row_number() OVER (PARTITION BY window_start, window_end ORDER BY transfers DESC, token_address) <= 2;

CREATE ALERT dear FROM (SELECT * FROM minutes WHERE failed > 0 OR senders > 10) WITH (
  key = 'window_start', group_by = 'failed > 1', severity = 'CASE WHEN failed > 1 THEN ''high'' ELSE ''low'' END',
  reason = '{{ failed }} of {{ total }} failed', cool_after = INTERVAL '30 seconds', resolve_after = INTERVAL '90 seconds');
CREATE ALERT closing FROM minutes WITH (key = 'failed', cool_after = INTERVAL '2 minutes', resolve_after = INTERVAL '3 minutes')
  EMIT ON WINDOW CLOSE;
CREATE SINK stories FROM (SELECT * FROM alert_groups) WITH (connector = 'file', path = 'stories.jsonl');
CREATE SINK found FROM (SELECT * FROM alerts) WITH (connector = 'file', path = 'found.jsonl');
CREATE SINK told FROM dear WITH (
  connector = 'file', path = 'told.jsonl', send = 'fire,escalate,update,resolve', cooldown = INTERVAL '2 minutes',
  group_wait = INTERVAL '15 seconds', rate_limit = '4 per minute', confirmations = 1);

CREATE SINK lines FROM minutes WITH (connector = 'file', path = 'lines.jsonl');
CREATE SINK busy FROM busiest WITH (connector = 'file', path = 'busy.jsonl');
CREATE SINK final FROM minutes WITH (connector = 'file', path = 'final.jsonl') EMIT ON FINALITY;
CREATE SINK closed FROM minutes WITH (connector = 'file', path = 'closed.jsonl') EMIT ON WINDOW CLOSE;
CREATE SINK changes FROM minutes WITH (connector = 'parquet', path = 'changes', mode = 'changelog');
CREATE SINK snapshot FROM minutes WITH (connector = 'parquet', path = 'snapshot');
";

const FILES: [&str; 7] =
    ["lines.jsonl", "busy.jsonl", "final.jsonl", "closed.jsonl", "stories.jsonl", "found.jsonl", "told.jsonl"];

fn simulated() -> Desk {
    Desk::new(&format!("{SIMULATED}{VIEWS}"))
}

/// The arguments of a run that keeps state.
fn kept(desk: &Desk, name: &str) -> Vec<String> {
    let fixed = ["--blocks-per-tick", "1", "--checkpoint-every", "100 ms"].map(str::to_owned);
    let places = ["--out".to_owned(), desk.at(name), "--state".to_owned(), desk.at(&format!("{name}-state"))];
    [&places[..], &fixed[..]].concat()
}

fn go(desk: &Desk, name: &str, more: &[&str]) -> Ran {
    let arguments = kept(desk, name);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    desk.run(&arguments)
}

/// Both folders hold the same outputs: lines to the byte, Parquet by its rows and changes.
#[track_caller]
fn assert_same_outputs(desk: &Desk, expected: &str, found: &str) {
    for file in FILES {
        let (expected, found) = (desk.read(&format!("{expected}/{file}")), desk.read(&format!("{found}/{file}")));
        assert!(!expected.is_empty(), "{file} holds something");
        for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found, expected, "{file} line {}", number + 1);
        }
        assert_eq!(found.len(), expected.len(), "{file}");
    }
    let table = |out: &str, view: &str| Table::read(&desk.path(out).join(view));
    let mut changes = [expected, found].map(|out| table(out, "changes").changes());
    changes.iter_mut().for_each(|changes| changes.sort());
    assert_eq!(changes[0], changes[1]);
    let contents = table(found, "snapshot").contents();
    assert_eq!(contents, table(expected, "snapshot").contents());
    assert_eq!(contents, sum_up_to(&changes[1], i64::MAX));
    assert_eq!(contents, accumulate(&parse_lines(&desk.read(&format!("{found}/lines.jsonl")))));
}

/// Heights that no reorg went across: what came before them was never touched again.
fn quiet_heights(text: &str) -> Vec<u64> {
    let lines = parse_lines(text);
    let reorgs: Vec<_> = lines.iter().filter(|line| line["reorg"].is_object()).collect();
    let crosses = |height: &u64| {
        reorgs.iter().any(|line| {
            line["reorg"]["ancestor"].as_u64().unwrap() < *height && *height < line["block"].as_u64().unwrap()
        })
    };
    (5..60).filter(|height| !crosses(height)).collect()
}

#[test]
fn a_prefix_and_the_rest_are_the_whole() {
    let desk = simulated();
    let whole = go(&desk, "whole", &[]).succeeds();
    assert!(whole.summary()["reorgs"].as_u64().unwrap() > 4);
    let arguments = kept(&desk, "parts");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let heights = quiet_heights(&desk.read("whole/lines.jsonl"));
    let (first, last) = (heights[1], heights[heights.len() - 2]);
    assert!(5 < first && first + 10 < last && last < 60);
    for height in [first, last] {
        run(&[&["replay", &desk.job, "--to", &height.to_string()][..], &arguments].concat()).succeeds();
    }
    let rest = go(&desk, "parts", &["--workers", "2"]).succeeds();
    assert!(rest.summary()["blocks"].as_u64() < whole.summary()["blocks"].as_u64());
    assert_same_outputs(&desk, "whole", "parts");
    let nothing = go(&desk, "parts", &[]).succeeds();
    assert_eq!(nothing.summary()["blocks"], 0, "everything is done");
    assert_same_outputs(&desk, "whole", "parts");
}

/// A range may end inside a reorg; then the reorg is two ticks instead of one, and ends the same.
#[test]
fn a_range_that_ends_inside_a_reorg_is_continued() {
    let desk = simulated();
    go(&desk, "whole", &[]).succeeds();
    let arguments = kept(&desk, "parts");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for last in ["17", "18", "19", "24", "25", "26"] {
        run(&[&["replay", &desk.job, "--to", last][..], &arguments].concat()).succeeds();
    }
    go(&desk, "parts", &[]).succeeds();
    let contents = |out: &str| Table::read(&desk.path(out).join("snapshot")).contents();
    assert_eq!(contents("parts"), contents("whole"));
    for file in ["final.jsonl", "closed.jsonl"] {
        let rows = |out: &str| accumulate(&parse_lines(&desk.read(&format!("{out}/{file}"))));
        assert_eq!(rows("parts"), rows("whole"), "{file}");
    }
}

/// A recording that grows between two runs, each time when an old branch was seen and not yet the new one.
#[test]
fn a_recording_that_grows_is_read_on() {
    let desk = Desk::new(&format!("{RECORDED}{VIEWS}"));
    desk.write("chain.ndjson", lines(&DEVNET));
    go(&desk, "whole", &[]).succeeds();
    for cut in [47, 62, DEVNET.len()] {
        desk.write("chain.ndjson", lines(&DEVNET[..cut]));
        go(&desk, "parts", &[]).succeeds();
    }
    assert_same_outputs(&desk, "whole", "parts");
}

/// Starts a slow run and waits until it has taken a checkpoint and printed since.
fn start_slowly(desk: &Desk, name: &str) -> Child {
    let arguments = kept(desk, name);
    let slow = ["run", &desk.job, "--set", "sim.speed=60"];
    let arguments: Vec<&str> = slow.into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let child = highwater(&arguments).spawn().unwrap();
    wait_for("a checkpoint", || desk.path(&format!("{name}-state/CURRENT")).exists());
    let lines = desk.path(&format!("{name}/lines.jsonl"));
    let before = length(&lines);
    wait_for("a line after the checkpoint", || length(&lines) > before);
    child
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Looks again and again, for a minute at most.
fn wait_for(what: &str, mut test: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if test() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("{what} did not come");
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_drains_and_the_run_goes_on_later() {
    let desk = simulated();
    go(&desk, "whole", &[]).succeeds();
    let child = start_slowly(&desk, "parts");
    signal(&child, "-INT");
    let stopped = Ran::of(child.wait_with_output().unwrap()).succeeds();
    assert_eq!(stopped.summary()["stopped"], true);
    // What was printed is whole, and Parquet says the same.
    let printed = accumulate(&parse_lines(&desk.read("parts/lines.jsonl")));
    assert_eq!(Table::read(&desk.path("parts/snapshot")).contents(), printed);
    let rest = go(&desk, "parts", &[]).succeeds();
    assert_eq!(rest.summary()["stopped"], false);
    assert_same_outputs(&desk, "whole", "parts");
}

#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_from_its_checkpoint() {
    let desk = simulated();
    go(&desk, "whole", &[]).succeeds();
    for name in ["first", "second"] {
        let mut child = start_slowly(&desk, name);
        signal(&child, "-KILL");
        assert_eq!(child.wait().unwrap().code(), None);
        go(&desk, name, &["--workers", if name == "first" { "1" } else { "4" }]).succeeds();
        assert_same_outputs(&desk, "whole", name);
    }
}

#[test]
fn state_of_another_job_is_refused() {
    let desk = simulated();
    go(&desk, "out", &[]).succeeds();
    let before = desk.read("out/lines.jsonl");
    desk.write("job.sql", format!("{SIMULATED}{VIEWS}").replace("'1 minute'", "'2 minutes'"));
    let said = ["holds the state of another job", "--reset", "another --state"];
    go(&desk, "out", &[]).fails(2, &said);
    assert_eq!(desk.read("out/lines.jsonl"), before, "a refused run touches nothing");
    go(&desk, "out", &["--reset"]).succeeds();
    go(&desk, "fresh", &[]).succeeds();
    assert_same_outputs(&desk, "fresh", "out");
}

/// A checkpoint that outputs do not reach to: an error at once, and the state stays as it is.
#[test]
fn outputs_that_are_gone_are_missed() {
    let desk = simulated();
    go(&desk, "out", &[]).succeeds();
    std::fs::remove_file(desk.path("out/lines.jsonl")).unwrap();
    go(&desk, "out", &[]).fails(1, &["sink \"lines\" failed", "lines.jsonl", "the checkpoint was taken at"]);
    go(&desk, "out", &["--reset"]).succeeds();
    go(&desk, "fresh", &[]).succeeds();
    assert_same_outputs(&desk, "fresh", "out");
}

/// State survives other sinks and another number of workers: only sources and views count.
#[test]
fn sinks_may_change_between_two_runs() {
    let desk = simulated();
    go(&desk, "out", &["--set", "sim.blocks=30"]).succeeds();
    desk.write("job.sql", format!("{SIMULATED}{VIEWS}CREATE SINK more FROM minutes WITH (connector = 'stdout');"));
    let ran = go(&desk, "out", &["--workers", "2"]).succeeds();
    assert!(!ran.lines_of("more").is_empty());
}

#[test]
fn the_simulator_ends_equal_to_its_canonical_chain() {
    let desk = Desk::new(
        "CREATE SOURCE sim WITH (connector = 'simulator', seed = 3, blocks = 80, transactions_per_block = 10,
                                reorg_rate = 0.3, reorg_depth = 4, sandwich_rate = 1, arbitrage_rate = 1);
         CREATE MATERIALIZED VIEW chain AS SELECT block_number, block_hash, parent_hash, transaction_count FROM sim.blocks;
         CREATE MATERIALIZED VIEW sandwiches AS
         SELECT block_number, block_hash, pool, attacker, victim_count, profit FROM sim.truth_sandwiches;
         CREATE MATERIALIZED VIEW arbitrages AS
         SELECT block_number, block_hash, transaction_hash, profit FROM sim.truth_arbitrages;",
    );
    let ran = desk.run(&[]).succeeds();
    assert!(ran.summary()["reorgs"].as_u64().unwrap() > 10);
    let mut chain: Vec<_> = ran.contents("chain").into_keys().map(|row| row.value()).collect();
    chain.sort_by_key(|block| block["block_number"].as_u64().unwrap());
    for pair in chain.windows(2) {
        assert_eq!(pair[1]["parent_hash"], pair[0]["block_hash"], "one canonical chain is left");
    }
    let canonical = |row: &serde_json::Value| chain.iter().any(|block| block["block_hash"] == row["block_hash"]);
    for view in ["sandwiches", "arbitrages"] {
        let found = ran.contents(view);
        assert!(found.len() > 20, "{view}");
        assert!(found.into_keys().all(|row| canonical(&row.value())), "{view} are of canonical blocks");
        assert!(ran.lines_of(view).iter().any(|line| line["op"] == "retract"), "a reorg took {view} back");
        assert_eq!(desk.run(&["--workers", "4"]).succeeds().contents(view), ran.contents(view));
    }
}

/// A changelog of a view is a chain's history of its own: the Parquet source reads what the sink wrote.
#[test]
fn parquet_that_was_written_is_read_as_a_source() {
    let desk = Desk::new(
        "CREATE SOURCE sim WITH (connector = 'simulator', seed = 5, blocks = 40, transactions_per_block = 8);
         CREATE MATERIALIZED VIEW kept AS SELECT * FROM sim.transactions;
         CREATE SINK kept_parquet FROM kept WITH (connector = 'parquet', path = 'history/transactions');",
    );
    desk.run(&[]).succeeds();
    let count = "CREATE MATERIALIZED VIEW minutes AS
         SELECT window_start, count(*) AS total, count(*) FILTER (WHERE NOT success) AS failed,
                sum(value) AS value_wei, sum(gas_used) AS gas_used
         FROM TUMBLE(eth.transactions, block_timestamp, INTERVAL '1 minute')
         GROUP BY window_start, window_end;";
    let simulator =
        "CREATE SOURCE eth WITH (connector = 'simulator', seed = 5, blocks = 40, transactions_per_block = 8);";
    let parquet = "CREATE SOURCE eth WITH (connector = 'parquet', path = 'history');";
    let contents = |source: &str, arguments: &[&str]| {
        desk.write("job.sql", format!("{source}{count}"));
        desk.run(arguments).succeeds().contents("minutes")
    };
    let expected = contents(simulator, &[]);
    assert!(expected.len() > 5);
    assert_eq!(contents(parquet, &[]), expected);
    assert_eq!(contents(parquet, &["--workers", "2", "--blocks-per-tick", "3"]), expected);
}
