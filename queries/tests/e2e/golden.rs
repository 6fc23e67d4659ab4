//! Every shipped job has a golden file: what it prints and what it writes. `UPDATE=1` rewrites them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use alloy_primitives::keccak256;
use serde_json::json;

use crate::command::{Desk, here, run, text};
use crate::rows::{Row, Table};

/// Rows a golden file shows at the head and at the tail of a long list.
const SHOWN: usize = 12;

const SHIPPED: [&str; 16] = [
    "approval_drain",
    "arbitrage_watch",
    "contract_activity",
    "dex_ohlc",
    "failed_transactions",
    "failure_rate",
    "gas_spike",
    "liquidations_watch",
    "metrics_minute",
    "quickstart",
    "sandwich_watch",
    "searcher_leaderboard",
    "token_volume",
    "wallet_clusters",
    "watchlist_activity",
    "whale_transfers",
];

#[test]
fn shipped_jobs_do_what_their_golden_files_say() {
    let mut jobs: Vec<_> = fs::read_dir(here("jobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    jobs.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    jobs.sort();
    let names: Vec<_> = jobs.iter().map(|job| job.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    for name in SHIPPED {
        assert!(names.iter().any(|known| known == name), "the job {name} is shipped");
    }
    let update = std::env::var_os("UPDATE").is_some();
    let mut different = Vec::new();
    for (job, name) in jobs.iter().zip(&names) {
        let found = golden(job);
        let path = here(&format!("jobs/golden/{name}.jsonl"));
        if update {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &found).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != found {
            different.push(first_difference(name, &fs::read_to_string(&path).unwrap_or_default(), &found));
        }
    }
    assert!(different.is_empty(), "UPDATE=1 rewrites the golden files\n{}", different.join("\n"));
}

fn first_difference(name: &str, golden: &str, found: &str) -> String {
    let mut pairs = golden.lines().zip(found.lines()).enumerate();
    match pairs.find(|(_, (golden, found))| golden != found) {
        Some((line, (golden, found))) => format!("{name}, line {}:\n- {golden}\n+ {found}", line + 1),
        None => format!("{name}: {} lines, now {}", golden.lines().count(), found.lines().count()),
    }
}

fn golden(job: &Path) -> String {
    let desk = Desk::new("");
    let ran = run(&["run", &text(job), "--out", &desk.at("")]).succeeds();
    let summary = ran.summary();
    assert_eq!(summary["reorgs"], 6, "{}", job.display());
    let mut out = String::new();
    let facts = json!({
        "blocks": summary["blocks"], "reorgs": summary["reorgs"], "skipped": summary["skipped"],
        "errors": summary["errors"],
    });
    let _ = writeln!(out, "{facts}");
    let lines: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
    // Nobody is liquidated on this chain, nor robbed.
    let quiet = ["liquidations_watch.sql", "approval_drain.sql"];
    assert!(!lines.is_empty() || quiet.iter().any(|name| job.ends_with(name)), "{} prints something", job.display());
    section(&mut out, "stdout", &lines);
    for sink in summary["sinks"].as_object().unwrap().keys() {
        let contents = ran.contents(sink);
        if contents.is_empty() {
            continue;
        }
        assert!(contents.values().all(|diff| *diff == 1), "{sink} of {} ends with rows once", job.display());
        section(&mut out, &format!("final rows of {sink}"), &texts(contents.keys()));
    }
    for folder in folders(&desk.path("out")) {
        let table = Table::read(&folder);
        let title = format!("parquet {}", folder.file_name().unwrap().to_str().unwrap());
        let _ = writeln!(out, "{}", json!({ "columns": table.columns() }));
        let mut rows: Vec<_> = table.values().iter().map(Row::of_json).collect();
        rows.sort();
        section(&mut out, &title, &texts(&rows));
    }
    out
}

fn texts<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<String> {
    rows.into_iter().map(|row| row.0.clone()).collect()
}

/// A title with a count and a hash over all lines, then the lines or, of many, the first and the last.
fn section(out: &mut String, title: &str, lines: &[String]) {
    let hash = keccak256(lines.join("\n").as_bytes()).to_string();
    let _ = writeln!(out, "{}", json!({ "section": title, "lines": lines.len(), "hash": &hash[..18] }));
    if lines.len() <= 2 * SHOWN {
        lines.iter().for_each(|line| out.push_str(&format!("{line}\n")));
        return;
    }
    lines[..SHOWN].iter().for_each(|line| out.push_str(&format!("{line}\n")));
    let _ = writeln!(out, "{}", json!({ "not_shown": lines.len() - 2 * SHOWN }));
    lines[lines.len() - SHOWN..].iter().for_each(|line| out.push_str(&format!("{line}\n")));
}

fn folders(path: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}
