//! The theorem over reorgs that really happened: a run over all branches ends equal to a run over the
//! canonical chain alone, whatever the workers and the ticks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::chain::{DEVNET, canonical, lines, orphaned, read_lines};
use crate::command::{Desk, Ran, accumulate, here, run, shared, text};
use crate::rows::{Table, sum_up_to};

const CASES: [(&str, &str); 9] =
    [("1", "1"), ("2", "1"), ("4", "1"), ("1", "7"), ("2", "7"), ("4", "7"), ("1", "100"), ("2", "100"), ("4", "100")];

pub(crate) struct Recording {
    pub(crate) events: Vec<Value>,
    pub(crate) truth: Value,
}

impl Recording {
    pub(crate) fn devnet() -> Recording {
        let truth = fs::read(here("jobs/data/devnet/truth.json")).unwrap();
        Recording { events: DEVNET.clone(), truth: serde_json::from_slice(&truth).unwrap() }
    }

    pub(crate) fn read(folder: &Path) -> Recording {
        let truth = fs::read(folder.join("truth.json")).unwrap();
        Recording {
            events: read_lines(&folder.join("blocks.ndjson.gz")),
            truth: serde_json::from_slice(&truth).unwrap(),
        }
    }

    /// Both chains on a desk: all branches, and the canonical one.
    fn lay_out(&self) -> (Desk, String, String) {
        let desk = Desk::new("");
        let all = desk.write("all.ndjson", lines(&self.events));
        let canonical = desk.write("canonical.ndjson", lines(&canonical(&self.events, &orphaned(&self.truth))));
        (desk, all, canonical)
    }
}

fn quickstart(desk: &Desk, chain: &str, out: &str, workers: &str, blocks: &str) -> Ran {
    let job = text(&here("jobs/quickstart.sql"));
    let path = format!("eth.path={chain}");
    let out = desk.at(out);
    let arguments = ["run", &job, "--set", &path, "--out", &out, "--workers", workers, "--blocks-per-tick", blocks];
    run(&arguments).succeeds()
}

/// Every file of the snapshots with its bytes, manifests included.
fn snapshot_bytes(desk: &Desk, out: &str) -> BTreeMap<String, Vec<u8>> {
    let mut bytes = BTreeMap::new();
    for view in ["metrics_minute", "failure_rate"] {
        for entry in fs::read_dir(desk.path(out).join("out").join(view)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{view}/{}", path.file_name().unwrap().to_str().unwrap());
            bytes.insert(name, fs::read(path).unwrap());
        }
    }
    bytes
}

fn assert_ends_equal(recording: &Recording, reorgs: u64, cases: &[(&str, &str)]) {
    let (desk, all, canonical) = recording.lay_out();
    let reference = quickstart(&desk, &canonical, "reference", "1", "1");
    assert_eq!(reference.summary()["reorgs"], 0);
    let expected = snapshot_bytes(&desk, "reference");
    let mut printed: BTreeMap<&str, String> = BTreeMap::new();
    for (workers, blocks) in cases {
        let case = format!("{workers} workers, {blocks} blocks a tick");
        let ran = quickstart(&desk, &all, &case, workers, blocks);
        assert_eq!(ran.summary()["reorgs"], reorgs, "{case}");
        let found = snapshot_bytes(&desk, &case);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{case}");
        assert!(found == expected, "the snapshots of {case} differ from those of the canonical chain");
        for sink in ["metrics", "failing", "tokens"] {
            assert_eq!(ran.contents(sink), reference.contents(sink), "{sink}, {case}");
        }
        let first = printed.entry(blocks).or_insert_with(|| ran.stdout.clone());
        assert!(*first == ran.stdout, "standard output of {case} differs from that of one worker");
        assert_changes_agree(&ran, &desk.path(&case).join("out/top_tokens"), *blocks == "1");
    }
}

/// The change log on disk and the lines on standard output tell one story, tick by tick.
fn assert_changes_agree(ran: &Ran, folder: &Path, every_block: bool) {
    let changes = Table::read(folder).changes();
    let lines = ran.lines_of("tokens");
    let ticks: BTreeSet<i64> = lines.iter().map(|line| line["tick"].as_i64().unwrap()).collect();
    assert!(ticks.len() > 1 || !every_block);
    for tick in &ticks {
        let so_far: Vec<_> = lines.iter().filter(|line| line["tick"].as_i64().unwrap() <= *tick).cloned().collect();
        assert_eq!(accumulate(&so_far), sum_up_to(&changes, *tick), "tick {tick}");
    }
    if every_block {
        let corrected = |tick: i64| changes.iter().any(|(at, _, diff)| *at == tick && *diff < 0);
        let reorgs: Vec<_> = lines.iter().filter(|line| line["reorg"].is_object()).collect();
        assert!(!reorgs.is_empty(), "a reorg shows in the lines");
        for line in reorgs {
            assert!(corrected(line["tick"].as_i64().unwrap()), "a reorg takes rows back in the change log");
        }
    }
}

#[test]
fn the_shipped_recording_ends_equal_to_its_canonical_chain() {
    assert_ends_equal(&Recording::devnet(), 6, &CASES);
}

#[test]
fn a_longer_recording_ends_equal_to_its_canonical_chain() {
    let Some(folder) = shared("e2e/recorded/run200") else { return };
    assert_ends_equal(&Recording::read(&folder), 7, &[("1", "1"), ("2", "7"), ("4", "100")]);
}

#[test]
fn the_shared_recording_is_the_shipped_one() {
    let Some(folder) = shared("e2e/recorded/run40") else { return };
    let shared = Recording::read(&folder);
    assert!(shared.events == *DEVNET);
}

const TRANSACTIONS: &str = "
CREATE SOURCE eth WITH (connector = 'recording', path = 'all.ndjson', confirmations = 12);
CREATE MATERIALIZED VIEW sent AS SELECT block_number, block_hash, transaction_hash FROM eth.transactions;
CREATE SINK changes FROM sent WITH (connector = 'stdout');
CREATE SINK kept FROM sent WITH (connector = 'parquet', path = 'sent');
";

#[test]
fn transactions_of_orphaned_blocks_are_gone() {
    let recording = Recording::devnet();
    let lost = orphaned(&recording.truth);
    let desk = Desk::new(TRANSACTIONS);
    desk.write("all.ndjson", lines(&recording.events));
    let ran = desk.run(&[]).succeeds();

    let hash = |value: &Value| value.as_str().unwrap().to_owned();
    let (mut kept, mut taken_back) = (BTreeSet::new(), BTreeSet::new());
    for event in &recording.events {
        let block = hash(&event["block"]["hash"]);
        for transaction in event["block"]["transactions"].as_array().unwrap() {
            let place = (block.clone(), hash(&transaction["hash"]));
            if lost.contains(&block) {
                taken_back.insert(place)
            } else {
                kept.insert(place)
            };
        }
    }
    assert!(taken_back.len() > 10);
    let place = |row: &Value| (hash(&row["block_hash"]), hash(&row["transaction_hash"]));
    let found: BTreeSet<_> = Table::read(&desk.path("sent")).values().iter().map(place).collect();
    assert_eq!(found, kept);
    let lines = ran.lines_of("changes");
    let retracted = lines.iter().filter(|line| line["op"] == "retract").map(|line| place(&line["row"]));
    assert_eq!(retracted.collect::<BTreeSet<_>>(), taken_back);

    // Some of them were in no other block: the planted truth is about what was included again.
    let included: BTreeSet<_> = kept.iter().map(|(_, transaction)| transaction).collect();
    for reorg in recording.truth["reorgs"].as_array().unwrap() {
        for again in reorg["reincluded"].as_array().unwrap() {
            assert!(included.contains(&hash(again)), "{again} was included again");
        }
    }
}

/// A recording in the form of a folder gives the same rows as the same blocks as events.
#[test]
fn a_folder_and_events_are_one_chain() {
    let recording = Recording::devnet();
    let chain = canonical(&recording.events, &orphaned(&recording.truth));
    let desk = Desk::new(TRANSACTIONS);
    desk.write("all.ndjson", lines(&chain));
    desk.run(&["--out", &desk.at("events")]).succeeds();
    let blocks: Vec<_> = chain.iter().map(|event| event["block"].clone()).collect();
    let receipts: Vec<_> = chain.iter().map(|event| event["receipts"].clone()).collect();
    desk.write("folder/blocks.jsonl", lines(&blocks));
    desk.write("folder/receipts.jsonl", lines(&receipts));
    let set = format!("eth.path={}", desk.at("folder"));
    desk.run(&["--set", &set, "--out", &desk.at("folders")]).succeeds();
    let contents = |out: &str| Table::read(&PathBuf::from(desk.at(out)).join("sent")).contents();
    assert_eq!(contents("events"), contents("folders"));
}
