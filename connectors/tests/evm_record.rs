//! What the live connector records, read back through `recording`: the same blocks, the same reorgs, the same
//! traces, each block once, however often the recording was interrupted.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/live.rs"]
mod live;
mod support;

use std::fs;
use std::path::Path;

use highwater_engine::source::SourceError;
use highwater_testnode::{Chain, Node};
use live::{Live, follow as follow_node, node, usual};
use support::{Outcome, all_columns, follow, open, read, shared};

fn replay(path: &Path, tables: &[&str]) -> Outcome {
    let source = open("recording", &[("path", path.to_str().unwrap())]).unwrap();
    let request = all_columns(source.as_ref(), tables);
    let outcome = read(source, request);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome
}

/// The recording ends with the node's chain, from its first block on; gives its reorgs.
#[track_caller]
fn assert_chain_of(path: &Path, node: &Node) -> Vec<usize> {
    let (chain, reorgs) = follow(&replay(path, &["blocks"]).runs);
    let recorded: Vec<_> = chain.iter().map(|block| block.hash.0).collect();
    let canonical: Vec<_> = node.canonical().iter().map(|block| block.hash.0).collect();
    assert_eq!(recorded, canonical[canonical.len() - recorded.len()..]);
    reorgs
}

#[test]
fn the_first_block_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["blocks.ndjson", "blocks.ndjson.gz"] {
        let path = folder.path().join(name);
        let node = node(20, 24);
        let live = follow_node(&node, &[("from_block", "19"), ("record", path.to_str().unwrap())]);
        live.wait_for_chain_of(&node);
        node.reorg(2, 4);
        live.wait_for_chain_of(&node);
        drop(live);
        assert_eq!(assert_chain_of(&path, &node), [2]);
    }
}

/// From the newest block on means from where the recording ends, also if that has lost meanwhile; and what is
/// read again, from further below, is not recorded again.
#[test]
fn a_recording_has_no_gaps_and_no_repetitions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks.ndjson.gz");
    let record = path.to_str().unwrap();
    let node = node(20, 120);
    let mut depths = Vec::new();
    for (from, reorg, blocks) in [("-5", 0, 9), ("latest", 3, 30), ("15", 2, 4), ("latest", 0, 2), ("17", 1, 2)] {
        let live = follow_node(&node, &[("from_block", from), ("record", record)]);
        live.wait_for_chain_of(&node);
        drop(live);
        assert_eq!(assert_chain_of(&path, &node), depths);
        // What was recorded last has lost when the next run begins.
        node.reorg(reorg, blocks);
        if reorg > 0 {
            depths.push(usize::try_from(reorg).unwrap());
        }
    }
    let blocks: usize = replay(&path, &["blocks"]).runs.iter().map(|delivered| delivered.run.blocks.len()).sum();
    let (chain, reorgs) = follow(&replay(&path, &["blocks"]).runs);
    assert_eq!(blocks, chain.len() + reorgs.iter().sum::<usize>());
}

#[test]
fn another_chain_is_not_appended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks.ndjson");
    let record = path.to_str().unwrap();
    let node = node(20, 60);
    let live = follow_node(&node, &[("from_block", "10"), ("record", record)]);
    live.wait_for_chain_of(&node);
    let twice = Live::with(&usual(&node.http_url(), &[]), &["blocks"], |_| {});
    drop((live, twice));
    let before = fs::read(&path).unwrap();
    node.step(20);
    for from in ["5", "25"] {
        let live = follow_node(&node, &[("from_block", from), ("record", record)]);
        let error = live.wait_for_error();
        let SourceError::Malformed { detail, .. } = &error else { panic!("{error:?}") };
        assert!(detail.contains("blocks 10 to 20") && detail.contains("does not follow"), "{detail}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn traces_are_recorded_beside_their_blocks() {
    let Some(recorded) = shared("e2e/recorded/run40/blocks.ndjson.gz") else { return };
    let tables = ["blocks", "logs", "traces"];
    let expected = support::rows_by_block(&replay(&recorded, &tables).runs);
    for api in ["parity", "geth"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks.ndjson.gz");
        let node = Node::start(Chain::recorded(&recorded));
        let follow = || {
            let more = [("traces", api), ("record", path.to_str().unwrap())];
            Live::with(&usual(&node.http_url(), &more), &tables, |_| {})
        };
        let mut live = follow();
        live.wait_for_chain_of(&node);
        for stepped in 1.. {
            if node.step(1) == 0 {
                break;
            }
            live.wait_for_chain_of(&node);
            if stepped % 11 == 0 {
                drop(live);
                // As if the writer had died between the two files.
                let blocks = fs::read(&path).unwrap();
                fs::write(&path, &blocks[..blocks.len() - 1]).unwrap();
                live = follow();
                live.wait_for_chain_of(&node);
            }
        }
        drop(live);
        let found = support::rows_by_block(&replay(&path, &tables).runs);
        assert_eq!(found.len(), expected.len(), "{api}");
        if api == "parity" {
            assert!(found == expected, "{api}");
        }
    }
}
