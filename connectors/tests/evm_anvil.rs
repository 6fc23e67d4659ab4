//! The live connector against a real node: what it delivers is the node's chain, whatever the node goes through.
//!
//! Needs anvil, see `tests/anvil/install`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod anvil;
#[path = "support/follower.rs"]
mod follower;
mod support;

use std::path::Path;

use anvil::Anvil;
use follower::Follower;
use support::{all_columns, open, read, rows_by_block};

const TABLES: &[&str] = &["blocks", "transactions", "logs", "token_transfers"];

/// How the connector is told to follow a node: by asking it, or by listening to it, believing it or not.
fn transports(anvil: &Anvil, poll_interval: &str) -> [Vec<(&'static str, String)>; 2] {
    let asking = vec![("url", anvil.http_url()), ("poll_interval", poll_interval.to_owned())];
    let mut listening = asking.clone();
    listening.extend([("ws_url", anvil.ws_url()), ("verify", "roots".to_owned())]);
    [asking, listening]
}

fn follow(options: &[(&'static str, String)], confirmations: &str) -> Follower {
    let mut given: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    given.extend([("from_block", "earliest"), ("request_timeout", "500 ms"), ("confirmations", confirmations)]);
    let source = open("evm", &given).unwrap();
    let request = all_columns(source.as_ref(), TABLES);
    Follower::start(source, request)
}

/// Runs a script against a fresh node for each transport, and compares the chains at its end.
fn check(script: impl Fn(&mut Anvil, &Follower)) {
    let Some(program) = anvil::program() else { return };
    for transport in [0, 1] {
        let mut anvil = Anvil::start(&program);
        anvil.mine(3);
        let follower = follow(&transports(&anvil, "50 ms")[transport], "64");
        follower.wait_for_head(anvil.head());
        script(&mut anvil, &follower);
        follower.wait_for_head(anvil.head());
        compare(&anvil, &follower);
    }
}

/// The rows of every canonical block are those of the chain as the node tells it now, read through `recording`.
fn compare(anvil: &Anvil, follower: &Follower) {
    let folder = tempfile::tempdir().unwrap();
    let chain = anvil.chain();
    let write = |name: &str, lines: Vec<String>| std::fs::write(folder.path().join(name), lines.join("\n")).unwrap();
    write("blocks.jsonl", chain.iter().map(|(block, _)| block.to_string()).collect());
    write("receipts.jsonl", chain.iter().map(|(_, receipts)| receipts.to_string()).collect());
    let source = open("recording", &[("path", folder.path().to_str().unwrap())]).unwrap();
    let request = all_columns(source.as_ref(), TABLES);
    let outcome = read(source, request);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let expected = rows_by_block(&outcome.runs);
    assert!(expected.iter().map(|(_, rows)| rows[2].num_rows()).sum::<usize>() > 3);
    follower.look(|followed| {
        assert_eq!(followed.chain.len(), expected.len());
        for ((block, rows), (expected_block, expected_rows)) in followed.chain.iter().zip(&expected) {
            assert_eq!(block, expected_block);
            assert_eq!(rows, expected_rows, "block {}", block.number);
        }
    });
}

/// The tests below say something about the connector only if the node does what they think it does.
#[test]
fn the_node_reorganises_and_remembers() {
    let Some(program) = anvil::program() else { return };
    let mut anvil = Anvil::start(&program);
    let hashes = |anvil: &Anvil| -> Vec<_> { anvil.chain().iter().map(|(block, _)| block["hash"].clone()).collect() };
    anvil.mine(3);
    let snapshot = anvil.snapshot();
    anvil.mine(3);
    let first = hashes(&anvil);
    anvil.revert(&snapshot);
    anvil.mine(5);
    let second = hashes(&anvil);
    assert_eq!((first.len(), second.len()), (8, 10));
    assert!(first[..5] == second[..5] && first[5] != second[5]);
    anvil.reorg(3);
    let third = hashes(&anvil);
    assert_eq!(third.len(), 10);
    assert!(second[..7] == third[..7] && (7..10).all(|height| second[height] != third[height]));
    anvil.rollback(2);
    assert_eq!(hashes(&anvil), third[..8]);

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    anvil.dump(&state);
    let before = anvil.chain();
    anvil.mine(2);
    anvil.kill();
    anvil.restart(&state);
    assert_eq!(anvil.chain(), before);
    anvil.mine(1);
    assert_eq!(anvil.chain().len(), before.len() + 1);
    assert!(before.iter().any(|(_, receipts)| receipts[2]["status"] == "0x0"));
    anvil.freeze();
    anvil.thaw();
    assert_eq!(anvil.chain().len(), before.len() + 1);
}

#[test]
fn follows_a_growing_chain() {
    check(|anvil, follower| {
        for blocks in [1, 1, 4, 20] {
            anvil.mine(blocks);
            follower.wait_for_head(anvil.head());
        }
        assert!(follower.look(|followed| followed.reorgs.is_empty()));
    });
}

#[test]
fn follows_reorgs() {
    check(|anvil, follower| {
        // A longer branch in the place of three blocks.
        let snapshot = anvil.snapshot();
        anvil.mine(3);
        follower.wait_for_head(anvil.head());
        anvil.revert(&snapshot);
        anvil.mine(5);
        follower.wait_for_head(anvil.head());
        // Other blocks of the same heights.
        anvil.reorg(3);
        follower.wait_for_head(anvil.head());
        // The head goes back; two blocks then stand where four had been, and one more follows later.
        anvil.mine(4);
        follower.wait_for_head(anvil.head());
        anvil.rollback(4);
        anvil.mine(2);
        anvil.mine(1);
        anvil.mine(2);
        follower.wait_for_head(anvil.head());
        assert_eq!(follower.look(|followed| followed.reorgs.len()), 3);
    });
}

#[test]
fn waits_for_a_node_that_stands_still() {
    check(|anvil, follower| {
        anvil.mine(2);
        follower.wait_for_head(anvil.head());
        for _ in 0..2 {
            anvil.freeze();
            let idles = follower.look(|followed| followed.idles);
            follower.wait("a while", |followed| followed.idles >= idles + 30);
            anvil.thaw();
            anvil.mine(3);
            follower.wait_for_head(anvil.head());
        }
    });
}

#[test]
fn survives_a_node_that_is_killed_and_has_forgotten_blocks() {
    check(|anvil, follower| {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.json");
        anvil.dump(&state);
        anvil.mine(2);
        follower.wait_for_head(anvil.head());
        lose(anvil, follower, &state);
        anvil.mine(4);
        follower.wait_for_head(anvil.head());
        assert_eq!(follower.look(|followed| followed.reorgs.clone()), [2]);
        // Killed between two answers, with nothing lost.
        anvil.mine(40);
        anvil.dump(&state);
        anvil.kill();
        anvil.restart(&state);
        anvil.mine(2);
    });
}

/// Kills the node, lets the follower notice, and starts the node with what it knew before.
fn lose(anvil: &mut Anvil, follower: &Follower, state: &Path) {
    anvil.kill();
    notice(follower);
    anvil.restart(state);
}

/// Waits until the follower has had nothing for a second.
fn notice(follower: &Follower) {
    let idles = follower.look(|followed| followed.idles);
    follower.wait("a while", |followed| followed.idles >= idles + 10);
}

#[test]
fn takes_another_chain_for_a_reorg_while_nothing_is_final() {
    check(|anvil, follower| {
        let delivered = follower.look(|followed| followed.chain.len());
        anvil.kill();
        notice(follower);
        anvil.restart_afresh();
        anvil.mine(6);
        follower.wait_for_head(anvil.head());
        assert_eq!(follower.look(|followed| followed.reorgs.clone()), [delivered]);
    });
}

#[test]
fn refuses_another_chain_below_finality() {
    let Some(program) = anvil::program() else { return };
    let mut anvil = Anvil::start(&program);
    anvil.mine(6);
    // Slower than the source repeats its question, every 100 ms. Asked every 50 ms, each wake-up by the same head
    // overtakes the question about the fork below it, and the fork is never reported.
    for transport in transports(&anvil, "1 second") {
        let follower = follow(&transport, "2");
        follower.wait_for_head(anvil.head());
        let delivered = follower.look(|followed| followed.chain.len());
        anvil.kill();
        anvil.restart_afresh();
        anvil.mine(9);
        let error = follower.wait_for_error();
        assert!(error.starts_with("ForkBelowFinality"), "{error}");
        assert_eq!(follower.look(|followed| (followed.chain.len(), followed.reorgs.len())), (delivered, 0));
    }
}
