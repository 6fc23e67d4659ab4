//! The other commands, exit codes, terminals.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::command::{Desk, Ran, here, highwater, run, text};

const JOB: &str = "
CREATE SOURCE sim WITH (connector = 'simulator', seed = 2, blocks = 12, transactions_per_block = 5, reorg_rate = 0.4);
CREATE MATERIALIZED VIEW minutes AS
SELECT window_start AS minute, count(*) AS total, window_end
FROM TUMBLE(sim.transactions, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end;
";

#[test]
fn check_says_fine_or_what_is_wrong() {
    for entry in std::fs::read_dir(here("jobs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let ran = run(&["check", &text(&path)]).succeeds();
            assert!(ran.stdout.contains(": fine ("), "{}", ran.stdout);
        }
    }
    let desk = Desk::new(&JOB.replace("count(*)", "cuont(*)"));
    run(&["check", &desk.job]).fails(2, &["error[Q0104]", "job.sql:4:", "count"]);
}

#[test]
fn explain_shows_steps_and_state() {
    let desk = Desk::new(JOB);
    let steps = run(&["explain", &desk.job]).succeeds().stdout;
    assert!(steps.contains("minutes") && steps.contains("sim.transactions"), "{steps}");
    assert_eq!(run(&["explain", &desk.job, "minutes"]).succeeds().stdout.trim(), steps.trim());
    let state = run(&["explain", &desk.job, "--state"]).succeeds().stdout;
    assert!(state.contains("minutes") && state.contains("window_end"), "{state}");
    run(&["explain", &desk.job, "minuets"]).fails(2, &["no view \"minuets\"", "\"minutes\""]);
    run(&["explain", "--nonsense"]).fails(2, &["--nonsense"]);
}

#[test]
fn the_command_documents_itself() {
    let help = run(&["--help"]).succeeds().stdout;
    for word in ["run", "replay", "check", "explain", "completions", "Exit codes", "NO_COLOR"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    for command in ["run", "replay", "check", "explain", "completions"] {
        let help = run(&[command, "--help"]).succeeds().stdout;
        assert!(help.contains(&format!("highwater {command}")), "examples of {command}:\n{help}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).succeeds().stdout.contains("highwater"), "{shell}");
    }
    for page in ["functions", "connectors", "errors"] {
        assert!(run(&["reference", page]).succeeds().stdout.starts_with("# "), "{page}");
    }
    assert!(run(&["--version"]).succeeds().stdout.starts_with("highwater "));
    run(&[]).fails(2, &["Usage: highwater"]);
    run(&["nonsense"]).fails(2, &["nonsense"]);
    run(&["run"]).fails(2, &["<JOB>"]);
}

#[test]
fn a_pipe_gets_json_lines_and_one_summary() {
    let desk = Desk::new(JOB);
    let ran = desk.run(&[]).succeeds();
    assert!(ran.lines_of("minutes").iter().any(|line| line["op"] == "insert"));
    for line in ran.stdout.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok() && !line.contains('\u{1b}'), "{line}");
    }
    let summary = ran.summary();
    for name in ["blocks", "reorgs", "rows", "retracted", "elapsed_ms", "tick_p50_ms", "tick_p99_ms", "sinks"] {
        assert!(!summary[name].is_null(), "{name} is not in {summary}");
    }
    assert_eq!(desk.run(&["--quiet"]).succeeds().stderr, "");
}

#[test]
fn metrics_are_written_as_prometheus_text() {
    let desk = Desk::new(JOB);
    let ran = desk.run(&["--metrics", &desk.at("metrics.txt")]).succeeds();
    let metrics = desk.read("metrics.txt");
    let blocks = format!("highwater_blocks_total{{source=\"sim\"}} {}", ran.summary()["blocks"]);
    assert!(metrics.contains(&blocks), "{blocks} is not in\n{metrics}");
    let full = desk.at("no/such/folder");
    desk.run(&["--metrics", &full]).fails(1, &["writing", "no/such/folder"]);
}

#[test]
fn colour_only_where_it_is_wanted() {
    let desk = Desk::new(&JOB.replace("count(*)", "cuont(*)"));
    let plain = run(&["check", &desk.job]).fails(2, &[]);
    assert!(!plain.stderr.contains('\u{1b}'), "{}", plain.stderr);
    let mut forced = highwater(&["check", &desk.job]);
    let forced = Ran::of(forced.env("CLICOLOR_FORCE", "1").output().unwrap());
    assert!(forced.stderr.contains('\u{1b}'), "{}", forced.stderr);
}

/// Runs the binary in a terminal of its own; nothing where there is no `script`.
#[cfg(target_os = "linux")]
fn in_a_terminal(arguments: &str, no_colour: bool) -> Option<Ran> {
    let binary = env!("CARGO_BIN_EXE_highwater");
    let mut command = Command::new("script");
    command.args(["-qec", &format!("stty cols 100; {binary} {arguments}"), "/dev/null"]);
    command.env("TERM", "xterm").env_remove("NO_COLOR").stdin(Stdio::null());
    if no_colour {
        command.env("NO_COLOR", "1");
    }
    match command.output() {
        Ok(output) => Some(Ran::of(output)),
        Err(_) => None,
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_a_table_and_a_summary() {
    let desk = Desk::new(JOB);
    let Some(ran) = in_a_terminal(&format!("run {}", desk.job), false) else { return };
    let shown = ran.succeeds().stdout;
    for text in ["minutes:", "rows at block", "────", "reorg at block", "done", "per tick", "p50", "/s over"] {
        assert!(shown.contains(text), "{text:?} is not in\n{shown}");
    }
    assert!(shown.contains("\u{1b}[") && shown.contains("blocks"), "a progress bar in colour\n{shown}");
    assert!(!shown.contains("{\"sink\""), "no JSON for people\n{shown}");
    assert!(shown.contains("2023-") || shown.contains("20"), "{shown}");

    let plain = in_a_terminal(&format!("run {}", desk.job), true).unwrap().succeeds().stdout;
    // Moving the cursor is no colour.
    let colours = plain.match_indices("\u{1b}[").filter(|(at, _)| {
        let rest = plain[at + 2..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest.starts_with('m')
    });
    assert_eq!(colours.count(), 0, "{plain}");
}
