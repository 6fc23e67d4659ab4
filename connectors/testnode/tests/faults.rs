//! What a node does when it is told to be broken.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client;

use std::time::Duration;

use highwater_testnode::{Builder, Effect, Heads, Node, RemovedLogs, Transport, When, alter};
use serde_json::{Value, json};

use client::{Socket, connect, error_code, post, reply, request, result};

fn node() -> Node {
    let mut builder = Builder::new(31_337);
    let blocks = builder.extend(builder.genesis(), 12);
    Node::start(builder.into_chain(blocks[6], &blocks[7..]))
}

fn block(node: &Node, number: &str) -> Value {
    result(node, "eth_getBlockByNumber", &json!([number, true]))
}

#[test]
fn strikes_when_it_is_told() {
    let node = node();
    let struck_at = |when: When| -> Vec<u32> {
        node.heal();
        let fault = node.fault(when, Effect::internal_error());
        let hit =
            (1..=9).filter(|_| reply(&node, "eth_chainId", &json!([])).get("error").is_some()).collect::<Vec<_>>();
        assert_eq!(node.struck(fault), u64::try_from(hit.len()).unwrap());
        hit
    };
    assert_eq!(struck_at(When::call("eth_chainId").nth(3)), [3]);
    assert_eq!(struck_at(When::any_call().first(2)), [1, 2]);
    assert_eq!(struck_at(When::any_call().after(7)), [8, 9]);
    assert_eq!(struck_at(When::any_call().every(4)), [4, 8]);
    assert!(struck_at(When::call("eth_blockNumber")).is_empty());
    assert!(struck_at(When::any_call().over(Transport::WebSocket)).is_empty());
    let chance = struck_at(When::any_call().chance(500, 7));
    assert!(!chance.is_empty() && chance.len() < 9);
    assert_eq!(struck_at(When::any_call().chance(500, 7)), chance);
}

#[test]
fn strikes_at_a_block_by_number_and_by_hash() {
    let node = node();
    let hash = block(&node, "0x4")["hash"].take();
    node.fault(When::any_call().at_block(4), Effect::Null);
    assert!(block(&node, "0x4").is_null());
    assert!(result(&node, "eth_getBlockReceipts", &json!([hash])).is_null());
    assert_eq!(block(&node, "0x5")["parentHash"], hash);
}

#[test]
fn breaks_http() {
    let node = node();
    let ask = |effect: Effect| {
        node.heal();
        node.fault(When::call("eth_chainId").first(1), effect);
        let mut stream = connect(&node);
        let first = post(&mut stream, &request("eth_chainId", &json!([])));
        (stream, first)
    };
    let (mut stream, refused) = ask(Effect::too_many_requests(Some("2")));
    let refused = refused.unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: 2"));
    // The connection lives on.
    assert_eq!(post(&mut stream, &request("eth_chainId", &json!([]))).unwrap().status, 200);
    assert_eq!(ask(Effect::Status(503, None)).1.unwrap().status, 503);
    assert!(ask(Effect::Reset).1.is_err());
    assert!(ask(Effect::Close).1.is_err());
    let half = ask(Effect::HalfAnswer).1.unwrap();
    assert!(!half.whole && !half.body.is_empty());
    assert_eq!(ask(Effect::Body("<html>")).1.unwrap().body, "<html>");
    assert!(ask(Effect::ContentType("text/html")).1.unwrap().head.contains("text/html"));
    assert!(ask(Effect::Delay(Duration::from_millis(1))).1.unwrap().whole);
}

#[test]
fn holds_an_answer_until_it_is_released() {
    let node = node();
    node.fault(When::call("eth_blockNumber"), Effect::Hold);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| result(&node, "eth_blockNumber", &json!([])));
        node.wait_for_calls("eth_blockNumber", 1);
        // Others are answered meanwhile, and what is held back is what was true when it was asked.
        assert_eq!(result(&node, "eth_chainId", &json!([])), "0x7a69");
        node.step(1);
        while !held.is_finished() {
            node.release();
            std::thread::yield_now();
        }
        assert_eq!(held.join().unwrap(), "0x7");
    });
}

#[test]
fn breaks_answers() {
    let node = node();
    let with = |effect: Effect, method: &str, params: Value| {
        node.heal();
        node.fault(When::call(method), effect);
        reply(&node, method, &params)
    };
    assert_eq!(with(Effect::limit_exceeded(), "eth_chainId", json!([]))["error"]["code"], -32_005);
    assert_eq!(with(Effect::method_not_found(), "eth_getBlockReceipts", json!(["0x1"]))["error"]["code"], -32_601);
    assert_eq!(with(Effect::NoResult, "eth_chainId", json!([])), json!({"jsonrpc": "2.0", "id": 7}));
    assert_ne!(with(Effect::WrongId, "eth_chainId", json!([]))["id"], 7);
    assert_eq!(with(Effect::Behind(3), "eth_blockNumber", json!([]))["result"], "0x4");
    assert!(with(Effect::Behind(3), "eth_getBlockByNumber", json!(["0x5", false]))["result"].is_null());
    assert_eq!(with(Effect::OtherBlock, "eth_getBlockByNumber", json!(["0x5", false]))["result"]["number"], "0x4");
    let right = node.canonical()[5].receipts().to_vec();
    assert_ne!(with(Effect::OtherBlock, "eth_getBlockReceipts", json!(["0x5"]))["result"], Value::Array(right));
    let loser = node.canonical()[6].hash;
    node.reorg(1, 2);
    assert_eq!(with(Effect::Orphan, "eth_getBlockByNumber", json!(["0x6", false]))["result"]["hash"], json!(loser));
    let missing = "eth_getBlockReceipts".to_owned();
    node.configure(|manner| manner.missing_methods = [missing].into());
    assert_eq!(error_code(&node, "eth_getBlockReceipts", &json!(["0x1"])), -32_601);
}

#[test]
fn breaks_batches() {
    let node = node();
    node.configure(|manner| manner.reverses_batches = true);
    node.fault(When::call("eth_chainId").nth(2), Effect::Omit);
    let call = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "eth_chainId"});
    let answer = post(&mut connect(&node), &json!([call(1), call(2), call(3)]).to_string()).unwrap();
    let replies: Value = serde_json::from_str(&answer.body).unwrap();
    let ids: Vec<&Value> = replies.as_array().unwrap().iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, [3, 1]);
}

#[test]
fn alters_blocks_and_receipts() {
    let node = node();
    let chain = node.canonical();
    let rich = chain.iter().find(|block| !block.logs(false).is_empty() && block.receipts().len() > 1).unwrap();
    let with = |effect: Effect, method: &str| {
        node.heal();
        node.fault(When::call(method), effect);
        result(&node, method, &json!([rich.hash, true]))
    };
    let block = |effect| with(effect, "eth_getBlockByHash");
    let receipts = |effect| with(effect, "eth_getBlockReceipts");
    assert_ne!(block(Effect::alter(alter::wrong_hash))["hash"], rich.body()["hash"]);
    assert_ne!(block(Effect::alter(alter::wrong_parent))["parentHash"], rich.body()["parentHash"]);
    assert_ne!(block(Effect::alter(alter::change_amount)), *rich.body());
    let shorter = block(Effect::alter(alter::drop_transaction));
    assert_eq!(shorter["transactions"].as_array().unwrap().len(), rich.receipts().len() - 1);
    let bare = block(Effect::alter(alter::without("logsBloom")));
    assert!(bare.get("logsBloom").is_none() && bare.get("hash").is_some());

    let logs = |receipts: &Value| {
        let lists = receipts.as_array().unwrap().iter().map(|receipt| receipt["logs"].as_array().unwrap().len());
        lists.sum::<usize>()
    };
    let all = rich.logs(false).len();
    assert_eq!(logs(&receipts(Effect::alter(alter::drop_log))), all - 1);
    assert_eq!(logs(&receipts(Effect::alter(alter::drop_all_logs))), 0);
    assert_ne!(receipts(Effect::alter(alter::change_amount)), Value::Array(rich.receipts().to_vec()));
    assert_ne!(receipts(Effect::alter(alter::swap_receipts)), Value::Array(rich.receipts().to_vec()));
    assert_eq!(receipts(Effect::alter(alter::drop_transaction)).as_array().unwrap().len(), rich.receipts().len() - 1);
}

/// The heights that a fresh subscription to heads is told while the node takes three steps.
fn heads_with(effect: Option<(When, Effect)>) -> Vec<String> {
    let node = node();
    let mut socket = Socket::open(&node);
    socket.subscribe(&json!(["newHeads"]));
    if let Some((when, effect)) = effect {
        node.fault(when, effect);
    }
    node.step(3);
    // The answer to a request comes after what was announced before it.
    socket.send(request("eth_chainId", &json!([])));
    let mut heads = Vec::new();
    while let Some(message) = socket.next() {
        match message["params"]["result"]["number"].as_str() {
            Some(number) => heads.push(number.to_owned()),
            None => return heads,
        }
    }
    heads.push("gone".to_owned());
    heads
}

#[test]
fn breaks_announcements() {
    assert_eq!(heads_with(None), ["0x8", "0x9", "0xa"]);
    assert_eq!(heads_with(Some((When::head().nth(2), Effect::Lose))), ["0x8", "0xa"]);
    assert_eq!(heads_with(Some((When::head().nth(2), Effect::Repeat))), ["0x8", "0x9", "0x9", "0xa"]);
    assert_eq!(heads_with(Some((When::head().nth(2), Effect::Late))), ["0x8", "0xa", "0x9"]);
    assert_eq!(heads_with(Some((When::head().at_block(9), Effect::DropSocket))), ["0x8", "gone"]);
    assert_eq!(heads_with(Some((When::call("eth_chainId"), Effect::Reset))), ["0x8", "0x9", "0xa", "gone"]);
}

#[test]
fn announces_a_reorg_in_other_manners() {
    let node = node();
    let mut socket = Socket::open(&node);
    socket.subscribe(&json!(["newHeads"]));
    socket.subscribe(&json!(["logs", {}]));
    node.configure(|manner| (manner.heads, manner.new_logs) = (Heads::None, false));
    let old: Vec<Value> = node.canonical()[5..].iter().flat_map(|block| block.logs(true)).collect();
    node.configure(|manner| manner.removed_logs = RemovedLogs::OldestFirst);
    node.reorg(3, 4);
    assert_eq!(socket.announced(old.len()), old);
    node.configure(|manner| (manner.heads, manner.removed_logs) = (Heads::Tip, RemovedLogs::Never));
    let new = node.reorg(2, 4);
    assert_eq!(socket.announced(1)[0]["hash"], json!(new[3].hash));
}

#[test]
fn refuses_sockets() {
    let node = node();
    node.fault(When::connect().first(1), Effect::Status(403, None));
    let mut stream = connect(&node);
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap_or_default();
    assert!(answer.starts_with("HTTP/1.1 403"));
    let _open = Socket::open(&node);
    node.wait_until("a socket", |stats| stats.sockets_opened == 1);
}
