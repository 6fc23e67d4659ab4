//! What a node answers when nothing is broken.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client;

use highwater_testnode::{Builder, Chain, Log, Node, Tag, Transaction, address_of};
use serde_json::{Value, json};

use alloy_primitives::U256;
use client::{Socket, connect, error_code, post, reply, result};

/// A node at block 6 with four steps to go. Block 4 has two token transfers and a failed call.
fn node() -> Node {
    let mut builder = Builder::new(31_337);
    let mut blocks = builder.extend(builder.genesis(), 3);
    let transfer = |token| Transaction::token_transfer(address_of(token), address_of(1), address_of(2), U256::from(5));
    blocks.push(builder.push(blocks[2], &[transfer(50), transfer(51).fails(), transfer(52)]));
    blocks.extend(builder.extend(blocks[3], 6));
    Node::start(builder.into_chain(blocks[5], &blocks[6..]))
}

fn numbers(blocks: &[Value]) -> Vec<&str> {
    blocks.iter().map(|block| block["number"].as_str().unwrap()).collect()
}

#[test]
fn names_itself_and_its_head() {
    let node = node();
    assert_eq!(result(&node, "eth_chainId", &json!([])), "0x7a69");
    assert_eq!(result(&node, "net_version", &json!([])), "31337");
    assert_eq!(result(&node, "eth_syncing", &json!([])), false);
    assert_eq!(result(&node, "eth_blockNumber", &json!([])), "0x6");
    assert_eq!(node.step(1), 1);
    assert_eq!(result(&node, "eth_blockNumber", &json!([])), "0x7");
    assert_eq!(node.step(9), 3);
    assert_eq!(node.head().number, 10);
    assert_eq!(error_code(&node, "eth_gasPrize", &json!([])), -32_601);
}

#[test]
fn gives_blocks_by_number_tag_and_hash() {
    let node = node();
    node.configure(|manner| (manner.safe, manner.finalized) = (Tag::Behind(2), Tag::At(3)));
    let by = |given: &str| result(&node, "eth_getBlockByNumber", &json!([given, false]));
    let tags = ["earliest", "finalized", "safe", "latest", "pending", "0x5"];
    let found: Vec<Value> = tags.iter().map(|tag| by(tag)).collect();
    assert_eq!(numbers(&found), ["0x0", "0x3", "0x4", "0x6", "0x6", "0x5"]);
    assert!(by("0x7").is_null());
    let hash = &found[2]["hash"];
    let full = result(&node, "eth_getBlockByHash", &json!([hash, true]));
    assert_eq!(full["transactions"][2]["hash"], found[2]["transactions"][2]);
    assert_eq!(full["transactions"].as_array().unwrap().len(), 3);
    node.configure(|manner| manner.finalized = Tag::Unknown);
    assert_eq!(error_code(&node, "eth_getBlockByNumber", &json!(["finalized", false])), -39_001);
    assert_eq!(error_code(&node, "eth_getBlockByNumber", &json!(["newest", false])), -32_602);
}

#[test]
fn gives_receipts_and_logs() {
    let node = node();
    let hash = result(&node, "eth_getBlockByNumber", &json!(["0x4", false]))["hash"].take();
    let receipts = result(&node, "eth_getBlockReceipts", &json!([hash]));
    assert_eq!(receipts, result(&node, "eth_getBlockReceipts", &json!(["0x4"])));
    assert_eq!(receipts, result(&node, "eth_getBlockReceipts", &json!([{"blockHash": hash}])));
    assert_eq!(receipts[1]["status"], "0x0");
    assert_eq!(receipts[2]["logs"][0]["logIndex"], "0x1");
    let one = result(&node, "eth_getTransactionReceipt", &json!([receipts[2]["transactionHash"]]));
    assert_eq!(one, receipts[2]);

    let logs = |filter: Value| result(&node, "eth_getLogs", &json!([filter])).as_array().unwrap().len();
    let all = logs(json!({"fromBlock": "0x0", "toBlock": "latest"}));
    assert!(all > 2);
    assert_eq!(logs(json!({"blockHash": hash})), 2);
    assert_eq!(logs(json!({"blockHash": hash, "address": [address_of(52)]})), 1);
    let topics = Log::transfer(address_of(0), address_of(1), address_of(2), U256::ZERO).topics;
    assert_eq!(logs(json!({"fromBlock": "0x4", "toBlock": "0x4", "topics": [topics[0], null, [topics[2]]]})), 2);
    assert_eq!(logs(json!({"fromBlock": "0x4", "toBlock": "0x4", "topics": [topics[0], topics[2]]})), 0);
    assert_eq!(error_code(&node, "eth_getLogs", &json!([{"fromBlock": "0x4", "toBlock": "0x3"}])), -32_602);
    node.configure(|manner| manner.logs_range_limit = Some(2));
    assert_eq!(error_code(&node, "eth_getLogs", &json!([{"fromBlock": "0x2", "toBlock": "0x4"}])), -32_602);
    node.configure(|manner| (manner.logs_range_limit, manner.logs_count_limit) = (None, Some(all - 1)));
    assert_eq!(error_code(&node, "eth_getLogs", &json!([{"fromBlock": "0x0"}])), -32_005);
}

#[test]
fn answers_batches_and_what_is_none() {
    let node = node();
    let mut stream = connect(&node);
    let call = |id: u32, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": []});
    let batch = json!([call(1, "eth_chainId"), call(2, "eth_nothing"), call(3, "eth_blockNumber")]).to_string();
    let replies: Value = serde_json::from_str(&post(&mut stream, &batch).unwrap().body).unwrap();
    assert_eq!(replies[0]["result"], "0x7a69");
    assert_eq!(replies[1]["error"]["code"], -32_601);
    assert_eq!((&replies[2]["id"], &replies[2]["result"]), (&json!(3), &json!("0x6")));
    let refused = |text: &str, stream: &mut _| {
        let reply: Value = serde_json::from_str(&post(stream, text).unwrap().body).unwrap();
        reply["error"]["code"].as_i64().unwrap()
    };
    assert_eq!(refused("[]", &mut stream), -32_600);
    assert_eq!(refused("{", &mut stream), -32_700);
    node.configure(|manner| manner.batch_limit = Some(2));
    assert_eq!(refused(&batch, &mut stream), -32_600);
    let stats = node.stats();
    assert_eq!((stats.http_requests, stats.batches, stats.calls_of("eth_chainId")), (4, 3, 1));
}

#[test]
fn answers_scripted_calls() {
    let node = node();
    node.answer_call("0xAB", "0x313ce567", json!("0x06"));
    assert_eq!(result(&node, "eth_call", &json!([{"to": "0xab", "data": "0x313CE567"}, "latest"])), "0x06");
    assert_eq!(reply(&node, "eth_call", &json!([{"to": "0xac", "input": "0x313ce567"}, "latest"]))["error"]["code"], 3);
}

#[test]
fn announces_a_reorg_as_geth_does() {
    let node = node();
    let mut socket = Socket::open(&node);
    socket.subscribe(&json!(["newHeads"]));
    socket.subscribe(&json!(["logs", {}]));
    node.wait_for_subscriptions(2);
    let old = node.canonical();
    let new = node.reorg(3, 4);
    assert_eq!(node.head().number, 7);

    let mut expected: Vec<Value> = old[4..].iter().flat_map(|block| block.logs(true)).collect();
    expected.reverse();
    let removed = socket.announced(expected.len());
    assert!(!removed.is_empty());
    assert_eq!(removed, expected);
    for block in &new {
        let head = socket.announced(1).remove(0);
        assert_eq!(head["hash"], json!(block.hash));
        assert!(head.get("transactions").is_none());
        assert_eq!(socket.announced(block.logs(false).len()), block.logs(false));
    }
    // The loser is still known by its hash, unless the node is one that forgets.
    let orphan = json!([old[5].hash, false]);
    assert_eq!(result(&node, "eth_getBlockByHash", &orphan)["number"], "0x5");
    node.configure(|manner| manner.forgets_orphans = true);
    assert!(result(&node, "eth_getBlockByHash", &orphan).is_null());
    assert_eq!(node.stats().reorgs, 1);
}

#[test]
fn stops_and_listens_on_the_same_port_again() {
    let node = node();
    let mut socket = Socket::open(&node);
    let heads = socket.subscribe(&json!(["newHeads"]));
    node.step(1);
    assert_eq!(socket.announced(1)[0]["number"], "0x7");
    socket.send(client::request("eth_unsubscribe", &json!([heads])));
    assert_eq!(socket.next().unwrap()["result"], true);
    node.kill_sockets();
    assert!(socket.next().is_none());

    let url = node.http_url();
    let mut open = connect(&node);
    node.stop();
    assert!(post(&mut open, "{}").is_err());
    assert!(std::net::TcpStream::connect(url.trim_start_matches("http://")).is_err());
    node.step(1);
    node.restart();
    assert_eq!(node.http_url(), url);
    assert_eq!(result(&node, "eth_blockNumber", &json!([])), "0x8");
}

#[test]
fn steps_by_itself() {
    let node = node();
    node.run_every(std::time::Duration::from_millis(1));
    node.wait_for_height(10);
    assert_eq!(node.steps_left(), 0);
    let blocks = node.reorg(2, 4);
    assert_eq!(node.head().hash, blocks[3].hash);
}

#[test]
fn replays_a_recorded_run() {
    let recorded = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/e2e/recorded/run40");
    if !recorded.exists() {
        #[expect(clippy::disallowed_methods, reason = "the test must know whether it may be skipped")]
        let in_ci = std::env::var("CI").is_ok();
        assert!(!in_ci, "{} is missing", recorded.display());
        return;
    }
    let chain = Chain::recorded(&recorded.join("blocks.ndjson.gz"));
    // 20 heads, 14 blocks that lose, 6 reorgs.
    assert_eq!(chain.steps(), 40);
    let node = Node::start(chain);
    assert_eq!(node.head().number, 40);
    let traces = result(&node, "debug_traceBlockByNumber", &json!(["0x28", {"tracer": "callTracer"}]));
    let transactions = result(&node, "eth_getBlockByNumber", &json!(["0x28", false]))["transactions"].take();
    assert_eq!(traces.as_array().unwrap().len(), transactions.as_array().unwrap().len());
    let first = result(&node, "trace_block", &json!(["0x28"]))[0].take();
    assert_eq!(first["transactionHash"], transactions[0]);
    assert_eq!(node.step(1_000), 40);
    assert_eq!(node.head().number, 80);
    assert_eq!(node.stats().reorgs, 6);
    let chain = node.canonical();
    assert!(chain.windows(2).all(|pair| pair[0].hash == pair[1].parent));
}
