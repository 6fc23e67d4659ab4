//! The live connector against scripted nodes: the chain that the engine sees ends equal to the node's, through
//! history, hand-over, reorgs, finality and restarts.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/live.rs"]
mod live;
mod support;

use std::time::Duration;

use highwater_engine::clock::Stopwatch;
use highwater_engine::source::SourceError;
use highwater_testnode::{Effect, Heads, Node, Tag, When};
use live::{Live, Seen, TABLES, follow, label, listen, node, usual};

#[test]
fn follows_by_asking() {
    let node = node(10, 30);
    let live = follow(&node, &[]);
    live.wait_for_chain_of(&node);
    while node.steps_left() > 0 {
        node.step(1);
        live.wait_for_chain_of(&node);
    }
    live.look(|seen| assert_eq!((seen.chain.len(), &seen.reorgs, seen.finalized), (31, &vec![], Some(14))));
    assert!(live.metric("highwater_rpc_requests_total", &label(&node)) > 60);
    assert_eq!(live.metric("highwater_rpc_errors_total", ""), 0);
}

#[test]
fn follows_by_listening_one_block_a_run() {
    let node = node(10, 40);
    let live = listen(&node, &[]);
    live.wait_for_chain_of(&node);
    node.wait_for_subscriptions(1);
    let history = live.look(|seen| seen.runs.len());
    while node.steps_left() > 0 {
        node.step(1);
        live.wait_for_chain_of(&node);
    }
    live.look(|seen| assert_eq!(seen.runs[history..], [1; 30]));
    assert!(node.stats().sockets_opened >= 1);
}

#[test]
fn history_is_handed_over_to_live_blocks_under_load() {
    let node = node(200, 400);
    node.run_every(Duration::from_millis(3));
    let live = listen(&node, &[("batch", "20")]);
    node.wait_for_height(400);
    live.wait_for_chain_of(&node);
    live.look(|seen| {
        assert_eq!((seen.chain.len(), seen.repeated), (401, 0));
        assert!(seen.runs.contains(&20));
    });
}

#[test]
fn a_reorg_is_one_run() {
    for heads in [Heads::Every, Heads::Tip, Heads::None] {
        let node = node(20, 20);
        node.configure(|manner| manner.heads = heads);
        let live = listen(&node, &[]);
        live.wait_for_chain_of(&node);
        node.wait_for_subscriptions(1);
        node.reorg(3, 5);
        live.wait_for_chain_of(&node);
        node.reorg(1, 2);
        live.wait_for_chain_of(&node);
        live.look(|seen| assert_eq!(seen.reorgs.len(), 2, "{heads:?}: {:?}", seen.reorgs));
        assert_eq!(live.metric("highwater_rpc_reorgs_total", ""), 2);
    }
}

#[test]
fn a_branch_that_is_not_longer_is_followed_when_it_is_repeated() {
    let node = node(20, 20);
    let live = follow(&node, &[]);
    live.wait_for_chain_of(&node);
    node.reorg(3, 3);
    live.wait_for_chain_of(&node);
    node.reorg(4, 2);
    live.wait_for_chain_of(&node);
    live.look(|seen| assert_eq!(seen.reorgs, [3, 4]));
}

#[test]
fn the_first_block_may_be_replaced() {
    let node = node(20, 20);
    let live = follow(&node, &[("from_block", "19")]);
    live.wait_for_chain_of(&node);
    node.reorg(2, 4);
    live.wait_for_chain_of(&node);
    live.look(|seen| assert_eq!(seen.reorgs, [2]));
}

#[test]
fn a_range_ends() {
    let node = node(30, 40);
    let range = |from, to| {
        let url = node.http_url();
        Live::with(&usual(&url, &[("batch", "7")]), TABLES, |request| {
            request.from_block = Some(from);
            request.to_block = Some(to);
        })
    };
    let live = range(5, 25);
    live.wait(
        "the end",
        |seen| seen.ended,
        |seen| {
            let numbers: Vec<_> = seen.chain.iter().map(|block| block.number).collect();
            assert_eq!(numbers, (5..=25).collect::<Vec<_>>());
            assert!(seen.runs.iter().all(|run| *run <= 7));
        },
    );
    // A range whose end is still to come.
    let live = range(28, 33);
    live.wait("the head", |seen| seen.chain.len() == 3, |seen| assert!(!seen.ended));
    node.step(10);
    live.wait("the end", |seen| seen.ended, |seen| assert_eq!(seen.chain.last().unwrap().number, 33));
}

#[test]
fn a_reorg_while_history_is_read() {
    for at in [3, 40, 95] {
        let node = node(100, 100);
        node.configure(|manner| manner.forgets_orphans = true);
        let held = node.fault(When::call("eth_getBlockReceipts").at_block(at), Effect::Hold);
        let live = follow(&node, &[("batch", "10"), ("request_timeout", "10 seconds"), ("confirmations", "98")]);
        node.wait_until("history is read", |stats| stats.calls_of("eth_getBlockReceipts") > at);
        node.reorg(12, 15);
        node.end_fault(held);
        node.release();
        live.wait_for_chain_of(&node);
        live.look(|seen| assert!(seen.reorgs.len() <= 1, "{:?}", seen.reorgs));
    }
}

#[test]
fn a_reorg_below_finality_is_an_error_that_names_the_block() {
    let node = node(40, 40);
    let live = follow(&node, &[("confirmations", "8")]);
    live.wait_for_chain_of(&node);
    node.reorg(20, 25);
    let error = live.wait_for_error();
    let SourceError::ForkBelowFinality { number, finalized: 32, .. } = error else { panic!("{error:?}") };
    assert!(number <= 33);
    live.look(|seen| assert_eq!(seen.chain.last().unwrap().number, 40));
}

#[test]
fn the_finalized_tag_is_followed_and_never_goes_back() {
    let node = node(40, 60);
    node.configure(|manner| manner.finalized = Tag::At(30));
    let live = follow(&node, &[("finality", "finalized")]);
    live.wait_for_chain_of(&node);
    live.look(|seen| assert_eq!(seen.finalized, Some(30)));
    node.configure(|manner| manner.finalized = Tag::At(20));
    node.step(2);
    live.wait_for_chain_of(&node);
    node.configure(|manner| manner.finalized = Tag::At(41));
    // The tag is asked for now and then; blocks bring it along.
    let later = |live: &Live| live.look(|seen| seen.finalized == Some(41));
    while !later(&live) {
        assert!(node.reorg(1, 2).len() == 2);
        live.wait_for_chain_of(&node);
    }
}

#[test]
fn without_the_tag_confirmations_count() {
    let node = node(40, 60);
    node.configure(|manner| manner.finalized = Tag::Unknown);
    let live = follow(&node, &[("finality", "finalized"), ("confirmations", "7")]);
    live.wait_for_chain_of(&node);
    live.look(|seen| assert_eq!(seen.finalized, Some(33)));
}

#[test]
fn going_on_finds_a_reorg_of_the_meantime() {
    for depth in [0, 3] {
        let node = node(40, 90);
        let live = follow(&node, &[]);
        live.wait_for_chain_of(&node);
        let stopped = live.stop();
        assert_eq!((stopped.cursor, stopped.known.len()), (Some(40), 17));
        node.reorg(depth, 20);
        let live = Live::with(&usual(&node.http_url(), &[]), TABLES, |request| {
            request.resume = stopped.cursor;
            request.known = stopped.known.clone();
        });
        live.wait_for_chain_of(&node);
        live.look(|seen| {
            assert_eq!(seen.repeated, 0);
            assert_eq!(seen.reorgs, if depth == 0 { vec![] } else { vec![3] });
        });
    }
}

#[test]
fn samples_ride_on_blocks_and_survive_reorgs() {
    let node = node(20, 60);
    node.fault(When::call("eth_getBlockReceipts").every(7), Effect::Status(503, None));
    let live = Live::with(&usual(&node.http_url(), &[]), &["blocks", "rpc_samples"], |_| {});
    live.wait_for_chain_of(&node);
    for _ in 0..6 {
        node.step(2);
        live.wait_for_chain_of(&node);
        node.reorg(3, 4);
        live.wait_for_chain_of(&node);
    }
    let rows: usize = live.look(|seen| seen.rows.values().map(|rows| rows.num_rows()).sum());
    // Requests after the last block still wait for the next one.
    let requests = live.metric("highwater_rpc_requests_total", "");
    assert!(rows > 60 && u64::try_from(rows).unwrap() <= requests, "{rows} rows of {requests} requests");
    let idles = live.look(|seen| seen.idles);
    live.wait("a while", |seen| seen.idles > idles + 3, |_| {});
    let (counted, rows) = (node.stats().http_requests, rows_after_one_more(&node, &live));
    assert!(u64::try_from(rows).unwrap() >= counted, "{rows} rows of at least {counted} requests");
}

fn rows_after_one_more(node: &Node, live: &Live) -> usize {
    node.reorg(1, 2);
    live.wait_for_chain_of(node);
    live.look(|seen| seen.rows.values().map(|rows| rows.num_rows()).sum())
}

/// How long a block takes from the node's step to the engine's chain, announcement and requests included.

#[test]
fn a_new_block_is_there_in_milliseconds() {
    let node = node(10, 400);
    let live = listen(&node, &[]);
    live.wait_for_chain_of(&node);
    node.wait_for_subscriptions(1);
    let mut taken = Vec::new();
    while node.steps_left() > 0 {
        let watch = Stopwatch::start();
        node.step(1);
        let head = node.head().hash.0;
        let is_there = |seen: &Seen| seen.chain.last().is_some_and(|block| block.hash.0 == head);
        live.wait("the block", is_there, |_| taken.push(watch.elapsed()));
    }
    taken.sort_unstable();
    let median = taken[taken.len() / 2];
    eprintln!("median {median:?}, p99 {:?}, longest {:?}", taken[taken.len() * 99 / 100], taken.last());
    // Far above what is measured, so that a busy machine does not fail: a sleep in the path would show.
    assert!(median < Duration::from_millis(20), "{median:?}");
}
