//! The live connector against nodes that break: no gap, no repeat, and the metrics tell what happened.

#![cfg(feature = "evm")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/live.rs"]
mod live;
mod support;

use arrow::array::AsArray;
use arrow::record_batch::RecordBatch;
use std::collections::BTreeSet;
use std::time::Duration;

use highwater_engine::clock::Stopwatch;
use highwater_engine::source::SourceError;
use highwater_testnode::{Builder, Chain, ClosedPort, Effect, Node, Transport, When, alter};
use live::{DEVNET, Live, TABLES, follow, follow_both, listen, node, twins, usual};

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
    let watch = Stopwatch::start();
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

/// Why endpoints were left for others, of the rows of `rpc_samples`.
fn failovers(rows: &RecordBatch) -> Vec<String> {
    let text = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>().clone();
    let (methods, kinds) = (text("method"), text("error_kind"));
    let failovers = (0..rows.num_rows()).filter(|row| methods.value(*row) == "failover");
    failovers.map(|row| kinds.value(row).to_owned()).collect()
}

#[test]
fn the_other_endpoint_takes_over_without_gap_or_repeat() {
    let nodes = twins(10, 60);
    let urls = format!("{}, {}", nodes[0].http_url(), nodes[1].http_url());
    let live = Live::with(&usual(&urls, &[]), &["blocks", "rpc_samples"], |_| {});
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
    let rotations = live.metric("highwater_rpc_rotations_total", "");
    // Each is a row that says why, but for those after the last block.
    let why = live.look(|seen| seen.rows.values().flat_map(failovers).collect::<Vec<_>>());
    assert!(!why.is_empty() && why.len() as u64 <= rotations, "{} of {rotations}", why.len());
    assert!(why.contains(&"connect".to_owned()) && why.contains(&"http".to_owned()), "{why:?}");
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
fn nodes_without_block_receipts_are_asked_otherwise() {
    for (tables, method) in [(TABLES, "eth_getTransactionReceipt"), (&["blocks", "logs"], "eth_getLogs")] {
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
    let closed = ClosedPort::new();
    let url = format!("http://127.0.0.1:{}/v2/0123456789abcdef?key=topsecret", closed.number());
    let live = Live::start(&usual(&url, &[]));
    let error = live.wait_for_error();
    let text = format!("{} {error:?} {}", highwater_engine::error::chain(&error), live.metrics());
    assert!(text.contains("127.0.0.1"), "{text}");
    assert!(!text.contains("0123456789abcdef") && !text.contains("topsecret"), "{text}");
}

#[test]
fn a_node_that_has_dropped_its_history_says_so() {
    let node = node(200, 200);
    node.configure(|manner| manner.pruned_below = 100);
    let error = follow(&node, &[("from_block", "50")]).wait_for_error();
    let text = error.to_string();
    assert!(text.starts_with("block 50: ") && text.contains("history"), "{text}");
}

#[test]
fn a_head_that_one_endpoint_invents_is_not_chased() {
    let nodes = twins(20, 60);
    nodes[0].fault(
        When::call("eth_getBlockByNumber").chance(500, 1),
        Effect::alter(|header| {
            if header["number"].as_str().is_some_and(|number| number.len() == 4) {
                header["number"] = "0xffff".into();
                header["hash"] = format!("0x{}", "ab".repeat(32)).into();
            }
        }),
    );
    let live = follow_both(&nodes, &[]);
    for _ in 0..20 {
        nodes.iter().for_each(|node| assert_eq!(node.step(1), 1));
        live.wait_for_chain_of(&nodes[1]);
    }
    live.look(|seen| assert!(seen.reorgs.is_empty()));
}

#[test]
fn a_block_that_comes_long_after_its_announcement() {
    let node = node(10, 20);
    let live = listen(&node, &[("poll_interval", "10 minutes")]);
    live.wait_for_chain_of(&node);
    node.wait_for_subscriptions(1);
    let late = node.fault(When::call("eth_getBlockByHash").first(14), Effect::Null);
    node.step(1);
    live.wait_for_chain_of(&node);
    assert_eq!(node.struck(late), 14);
}

#[test]
fn an_altered_amount_is_noticed_by_the_roots() {
    let nodes = twins(10, 30);
    nodes[0].fault(When::call("eth_getBlockReceipts"), Effect::alter(alter::change_amount));
    let live = follow_both(&nodes, &[("verify", "roots")]);
    for _ in 0..15 {
        nodes.iter().for_each(|node| assert_eq!(node.step(1), 1));
        live.wait_for_chain_of(&nodes[1]);
    }
    assert!(live.metric("highwater_rpc_blocks_rejected_total", "receipts-root") > 0, "{}", live.metrics());
}
