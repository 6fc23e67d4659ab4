//! The live connector against scripted nodes: whatever goes wrong, the chain that the engine sees ends equal to
//! the node's, and the metrics tell what happened.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/live.rs"]
mod live;
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_engine::source::SourceError;
use highwater_testnode::{Builder, Chain, Effect, Heads, Node, Tag, Transport, When, alter};
use live::Live;

const DEVNET: u64 = 31_337;

/// A straight chain; the node starts at `head`, and each block after it is a step.
fn chain(head: usize, blocks: usize) -> Chain {
    let mut builder = Builder::new(DEVNET);
    let mut hashes = vec![builder.genesis()];
    hashes.extend(builder.extend(builder.genesis(), blocks));
    builder.into_chain(hashes[head], &hashes[head + 1..])
}

fn node(head: usize, blocks: usize) -> Node {
    let node = Node::start(chain(head, blocks));
    node.configure(|manner| manner.finalized = Tag::Behind(16));
    node
}

/// Two nodes that know one chain.
fn twins(head: usize, blocks: usize) -> [Node; 2] {
    let chain = chain(head, blocks);
    [Node::start(chain.clone()), Node::start(chain)]
}

/// What most tests give: fast questions, and from the first block on.
fn usual<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut given = vec![("url", url), ("poll_interval", "20 ms"), ("request_timeout", "300 ms")];
    for default in [("from_block", "earliest"), ("confirmations", "16")] {
        if !more.iter().any(|(name, _)| *name == default.0) {
            given.push(default);
        }
    }
    given.retain(|(name, _)| !more.iter().any(|(given, _)| given == name));
    given.extend(more);
    given
}

fn follow(node: &Node, more: &[(&str, &str)]) -> Live {
    Live::start(&usual(&node.http_url(), more))
}

fn listen(node: &Node, more: &[(&str, &str)]) -> Live {
    let url = format!("{} {}", node.http_url(), node.ws_url());
    Live::start(&usual(&url, more))
}

fn follow_both(nodes: &[Node; 2], more: &[(&str, &str)]) -> Live {
    let url = format!("{}, {}", nodes[0].http_url(), nodes[1].http_url());
    Live::start(&usual(&url, more))
}

/// The label of a node's endpoint in metrics, as far as it is known from outside.
fn label(node: &Node) -> String {
    format!("{}#", node.http_url().trim_start_matches("http://"))
}

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
        Live::with(&usual(&url, &[("batch", "7")]), live::TABLES, |request| {
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
fn too_many_requests_are_answered_with_patience() {
    for effect in [Effect::too_many_requests(Some("1")), Effect::too_many_requests(None), Effect::limit_exceeded()] {
        let node = node(40, 41);
        node.fault(When::call("eth_getBlockReceipts").nth(5), effect);
        let live = follow(&node, &[]);
        live.wait_for_chain_of(&node);
        assert!(live.metric("highwater_rpc_errors_total", "rate_limited") >= 1);
        assert_eq!(live.metric("highwater_rpc_breaker_state", ""), 0);
    }
}

#[test]
fn retry_after_is_kept_to() {
    let node = node(10, 11);
    node.fault(When::call("eth_getBlockReceipts").nth(5), Effect::too_many_requests(Some("1")));
    let watch = highwater_engine::clock::Stopwatch::start();
    let live = follow(&node, &[("concurrency", "1")]);
    live.wait_for_chain_of(&node);
    assert!(watch.elapsed() >= Duration::from_secs(1), "{:?}", watch.elapsed());
}

#[test]
fn broken_answers_are_asked_for_again() {
    let effects = [
        ("http", Effect::Status(500, None)),
        ("http", Effect::Status(503, Some("0"))),
        ("timeout", Effect::Hold),
        ("connect", Effect::Reset),
        ("connect", Effect::HalfAnswer),
        ("malformed", Effect::Body("<html>over capacity</html>")),
        ("jsonrpc", Effect::internal_error()),
        ("null_result", Effect::Null),
    ];
    for method in ["eth_getBlockByHash", "eth_getBlockReceipts"] {
        for (kind, effect) in effects.clone() {
            let node = node(10, 20);
            let live = follow(&node, &[]);
            live.wait_for_chain_of(&node);
            let fault = node.fault(When::call(method).first(3), effect);
            while node.steps_left() > 0 {
                node.step(1);
                live.wait_for_chain_of(&node);
            }
            assert_eq!(node.struck(fault), 3);
            node.release();
            assert!(live.metric("highwater_rpc_errors_total", kind) >= 3, "{kind} {method}: {}", live.metrics());
        }
    }
}

#[test]
fn broken_answers_in_history_leave_no_gap() {
    let node = node(300, 300);
    node.fault(When::any_call().chance(60, 1), Effect::Status(502, None));
    node.fault(When::any_call().chance(60, 2), Effect::Reset);
    node.fault(When::call("eth_getBlockReceipts").chance(60, 3), Effect::Null);
    node.fault(When::call("eth_getBlockByNumber").chance(60, 4), Effect::OtherBlock);
    node.fault(When::call("eth_getBlockReceipts").chance(60, 5), Effect::alter(alter::drop_log));
    let live = follow(&node, &[("batch", "9")]);
    live.wait_for_chain_of(&node);
    live.look(|seen| assert_eq!((seen.chain.len(), seen.repeated, seen.reorgs.len()), (301, 0, 0)));
}

#[test]
fn a_node_that_dies_and_comes_back_is_waited_for() {
    let node = node(10, 30);
    let live = listen(&node, &[]);
    live.wait_for_chain_of(&node);
    node.stop();
    let idles = live.look(|seen| seen.idles);
    live.wait("a while", |seen| seen.idles > idles + 8, |_| {});
    node.step(10);
    node.restart();
    live.wait_for_chain_of(&node);
    node.step(10);
    live.wait_for_chain_of(&node);
    assert!(live.metric("highwater_rpc_errors_total", "connect") > 0);
}

#[test]
fn the_other_endpoint_takes_over_without_gap_or_repeat() {
    let nodes = twins(10, 60);
    let live = follow_both(&nodes, &[]);
    live.wait_for_chain_of(&nodes[0]);
    let both = |count| nodes.iter().map(|node| node.step(count)).sum::<usize>();
    nodes[0].stop();
    for _ in 0..20 {
        both(1);
        live.wait_for_chain_of(&nodes[1]);
    }
    nodes[0].restart();
    nodes[1].fault(When::any_call(), Effect::Status(500, None));
    for _ in 0..20 {
        both(1);
        live.wait_for_chain_of(&nodes[0]);
    }
    live.look(|seen| assert_eq!((seen.chain.len(), seen.repeated, seen.reorgs.len()), (51, 0, 0)));
    assert!(live.metric("highwater_rpc_rotations_total", "") > 0);
}

#[test]
fn a_stale_head_takes_nothing_back() {
    let nodes = twins(20, 40);
    let stale = When::call("eth_getBlockByNumber");
    nodes[0].fault(stale, Effect::Behind(5));
    let live = follow_both(&nodes, &[("from_block", "10")]);
    live.wait_for_chain_of(&nodes[1]);
    for _ in 0..20 {
        nodes.iter().for_each(|node| assert_eq!(node.step(1), 1));
        live.wait_for_chain_of(&nodes[1]);
    }
    live.look(|seen| assert!(seen.reorgs.is_empty()));
    assert!(live.metrics().contains("highwater_rpc_head_lag_blocks"));
}

#[test]
fn a_block_of_another_hash_is_refused() {
    let nodes = twins(10, 30);
    nodes[0].fault(When::call("eth_getBlockByHash"), Effect::OtherBlock);
    let live = follow_both(&nodes, &[]);
    live.wait_for_chain_of(&nodes[1]);
    for _ in 0..10 {
        nodes.iter().for_each(|node| assert_eq!(node.step(1), 1));
        live.wait_for_chain_of(&nodes[1]);
    }
    assert!(live.metric("highwater_rpc_errors_total", "inconsistent") > 0);
}

#[test]
fn missing_logs_are_noticed_and_asked_for_elsewhere() {
    for alteration in [alter::drop_all_logs, alter::drop_transaction] {
        let nodes = twins(10, 40);
        nodes[0].fault(When::call("eth_getBlockReceipts"), Effect::alter(alteration));
        let live = follow_both(&nodes, &[]);
        live.wait_for_chain_of(&nodes[1]);
        for _ in 0..20 {
            nodes.iter().for_each(|node| assert_eq!(node.step(1), 1));
            live.wait_for_chain_of(&nodes[1]);
        }
        assert!(live.metric("highwater_rpc_blocks_rejected_total", "") > 0);
        let logs: usize = live.look(|seen| seen.rows.values().map(|rows| rows.num_rows()).sum());
        let wanted: usize = nodes[1].canonical().iter().map(|block| block.logs(false).len()).sum();
        assert_eq!(logs, wanted);
    }
}

#[test]
fn the_only_endpoint_is_asked_again_and_given_up_in_the_end() {
    let one = node(10, 30);
    let fault = one.fault(When::call("eth_getBlockReceipts").first(3), Effect::alter(alter::drop_all_logs));
    let live = follow(&one, &[]);
    live.wait_for_chain_of(&one);
    assert_eq!(one.struck(fault), 3);

    let one = node(10, 30);
    one.fault(When::call("eth_getBlockReceipts").at_block(7), Effect::alter(alter::drop_all_logs));
    let error = follow(&one, &[]).wait_for_error();
    let SourceError::InvalidBlock { place, number: 7, rule, .. } = error else { panic!("{error:?}") };
    assert!(place.starts_with("127.0.0.1:"), "{place}");
    assert_eq!(rule, "empty-logs-nonzero-bloom");
}

#[test]
fn repeated_late_and_lost_announcements() {
    for effect in [Effect::Repeat, Effect::Late, Effect::Lose, Effect::DropSocket] {
        let node = node(10, 60);
        node.fault(When::head().over(Transport::WebSocket).every(3), effect);
        let live = listen(&node, &[]);
        live.wait_for_chain_of(&node);
        node.wait_for_subscriptions(1);
        for count in [1, 1, 2, 1, 3, 1, 1, 5, 1, 1, 9, 1] {
            node.step(count);
            live.wait_for_chain_of(&node);
        }
        live.look(|seen| assert_eq!((seen.repeated, seen.reorgs.len()), (0, 0)));
    }
}

#[test]
fn dropped_sockets_are_opened_again() {
    let node = node(10, 60);
    let live = listen(&node, &[]);
    for _ in 0..5 {
        node.wait_for_subscriptions(1);
        node.kill_sockets();
        node.step(3);
        live.wait_for_chain_of(&node);
    }
    assert!(node.stats().sockets_opened >= 5);
}

#[test]
fn endpoints_that_disagree_end_with_the_longer_chain() {
    let mut builder = Builder::new(DEVNET);
    let common = builder.extend(builder.genesis(), 20);
    let short = builder.extend(common[19], 3);
    let long = builder.extend(common[19], 6);
    let chain = builder.into_chain(common[19], &long);
    let other = Chain::new(DEVNET, chain.blocks().to_vec(), common[19], &short);
    let nodes = [Node::start(other), Node::start(chain)];
    let live = follow_both(&nodes, &[]);
    live.wait_for_chain_of(&nodes[1]);
    // Both branches grow; the short one must not be followed back.
    for _ in 0..3 {
        nodes.iter().for_each(|node| assert_eq!(node.step(1), 1));
    }
    nodes[1].step(3);
    live.wait_for_chain_of(&nodes[1]);
    let idles = live.look(|seen| seen.idles);
    live.wait("a while", |seen| seen.idles > idles + 5, |_| {});
    live.wait_for_chain_of(&nodes[1]);
    live.look(|seen| assert!(seen.reorgs.len() <= 3, "{:?}", seen.reorgs));
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
fn one_of_two_endpoints_below_finality_is_not_followed() {
    let nodes = twins(40, 60);
    let live = follow_both(&nodes, &[("confirmations", "8")]);
    live.wait_for_chain_of(&nodes[1]);
    nodes[0].reorg(20, 30);
    for _ in 0..10 {
        nodes[1].step(1);
        live.wait_for_chain_of(&nodes[1]);
    }
    live.look(|seen| assert!(seen.reorgs.is_empty() && seen.error.is_none()));
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
        let live = Live::with(&usual(&node.http_url(), &[]), live::TABLES, |request| {
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
fn nodes_without_block_receipts_are_asked_otherwise() {
    for (tables, method) in [(live::TABLES, "eth_getTransactionReceipt"), (&["blocks", "logs"], "eth_getLogs")] {
        let node = node(20, 30);
        node.configure(|manner| manner.missing_methods = BTreeSet::from(["eth_getBlockReceipts".to_owned()]));
        let live = Live::with(&usual(&node.http_url(), &[]), tables, |_| {});
        live.wait_for_chain_of(&node);
        while node.steps_left() > 0 {
            node.step(1);
            live.wait_for_chain_of(&node);
        }
        assert!(node.calls_of(method) > 0);
        assert!(node.calls_of("eth_getBlockReceipts") < 40, "that the method is missing is remembered");
        let logs: usize = live.look(|seen| seen.rows.values().map(|rows| rows.num_rows()).sum());
        let wanted: usize = node.canonical().iter().map(|block| block.logs(false).len()).sum();
        assert_eq!(logs, wanted);
    }
}

#[test]
fn another_chain_is_refused() {
    let one = node(10, 20);
    let error = follow(&one, &[("chain", "ethereum")]).wait_for_error();
    assert!(matches!(error, SourceError::WrongChain { found: DEVNET, expected: 1, .. }), "{error:?}");

    let nodes = twins(10, 30);
    nodes[0].configure(|manner| manner.chain_id = 10);
    let live = Live::start(&usual(&format!("{} {}", nodes[1].http_url(), nodes[0].http_url()), &[("chain", "anvil")]));
    for _ in 0..10 {
        nodes[1].step(1);
        live.wait_for_chain_of(&nodes[1]);
    }
}

#[test]
fn an_endpoint_that_is_not_there_is_named_without_its_key() {
    let node = node(10, 20);
    let port = node.http_url().rsplit(':').next().unwrap().to_owned();
    drop(node);
    let url = format!("http://127.0.0.1:{port}/v2/0123456789abcdef?key=topsecret");
    let live = Live::start(&usual(&url, &[]));
    let error = live.wait_for_error();
    let text = format!("{} {error:?} {}", highwater_engine::error::chain(&error), live.metrics());
    assert!(text.contains("127.0.0.1"), "{text}");
    assert!(!text.contains("0123456789abcdef") && !text.contains("topsecret"), "{text}");
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
        let watch = highwater_engine::clock::Stopwatch::start();
        node.step(1);
        let head = node.head().hash.0;
        let is_there = |seen: &live::Seen| seen.chain.last().is_some_and(|block| block.hash.0 == head);
        live.wait("the block", is_there, |_| taken.push(watch.elapsed()));
    }
    taken.sort_unstable();
    let median = taken[taken.len() / 2];
    eprintln!("median {median:?}, p99 {:?}, longest {:?}", taken[taken.len() * 99 / 100], taken.last());
    // Far above what is measured, so that a busy machine does not fail: a sleep in the path would show.
    assert!(median < Duration::from_millis(20), "{median:?}");
}
