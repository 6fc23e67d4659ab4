//! Coins of pools that no log tells, asked of the node: delivered with the block, recorded, taken back.

#![cfg(feature = "evm")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/live.rs"]
mod live;
mod support;

use alloy_primitives::{Address, B256, U256, address, b256, hex, keccak256};
use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::record_batch::RecordBatch;
use highwater_testnode::{Builder, Effect, Log, Node, Transaction, When, address_of};
use live::{DEVNET, Live, usual};
use serde_json::{Value, json};
use support::{all_columns, open, read, rows_by_block};

const USDC: Address = address!("a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48");
const WETH: Address = address!("c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2");
/// Uniswap's pair of the two.
const PAIR: Address = address!("b4e16d0168e52d35cacd2c6185b44281ec28c9dc");
const FACTORY: Address = address!("5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f");
const POOL_MANAGER: Address = address!("000000000004444c5dc75cb358380d2e3de08a90");
const POSITION_MANAGER: Address = address!("bd216513d74c8cf14cf4747e6aaa6420ff64ee9e");
/// Ether and USDC for 0.05 %.
const KEYED: B256 = b256!("21c67e77068de97969ba93d4aab21826d33ca12bb9f565d8496e8fda8a82ca27");

fn log(address: Address, signature: &str, indexed: &[B256], data: &[U256]) -> Log {
    let topics = std::iter::once(keccak256(signature)).chain(indexed.iter().copied()).collect();
    Log { address, topics, data: data.iter().flat_map(|word| word.to_be_bytes::<32>()).collect() }
}

/// A swap of coin 0 for coin 1 of which no transfer tells the coins.
fn v2(pool: Address) -> Log {
    let data = [1_000u64, 0, 0, 900].map(U256::from);
    let parties = [address_of(1).into_word(), address_of(2).into_word()];
    log(pool, "Swap(address,uint256,uint256,uint256,uint256,address)", &parties, &data)
}

fn curve(pool: Address, sold: u64, bought: u64) -> Log {
    let data = [sold, 1_000, bought, 900].map(U256::from);
    log(pool, "TokenExchange(address,uint256,uint256,uint256,uint256)", &[address_of(1).into_word()], &data)
}

fn v4(id: B256) -> Log {
    let sold = U256::from(1_000u64).wrapping_neg();
    let data = [sold, U256::from(900), U256::from(1) << 96, U256::from(5), U256::ZERO, U256::from(500)];
    let signature = "Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)";
    log(POOL_MANAGER, signature, &[id, address_of(1).into_word()], &data)
}

fn emits(logs: Vec<Log>) -> Transaction {
    Transaction { logs, gas_used: 200_000, ..Transaction::payment(address_of(1), address_of(3), U256::ZERO) }
}

fn word(address: Address) -> Value {
    json!(address.into_word())
}

fn answers_pair(node: &Node, pool: Address, [token0, token1]: [Address; 2], factory: Address) {
    for (selector, answer) in [("0x0dfe1681", token0), ("0xd21220a7", token1), ("0xc45a0155", factory)] {
        node.answer_call(&format!("{pool:?}"), selector, word(answer));
    }
}

fn answers_coin(node: &Node, pool: Address, selector: &str, index: u64, coin: Address) {
    node.answer_call(&format!("{pool:?}"), &format!("{selector}{index:064x}"), word(coin));
}

/// A chain whose blocks emit these logs, one transaction a block, from block 1 on.
fn chain_of(blocks: &[Vec<Log>]) -> (Builder, Vec<B256>) {
    let mut builder = Builder::new(DEVNET);
    let mut hashes = vec![builder.genesis()];
    for logs in blocks {
        hashes.push(builder.push(*hashes.last().unwrap(), &[emits(logs.clone())]));
    }
    (builder, hashes)
}

const TABLES: &[&str] = &["dex_swaps", "pools"];

fn start(urls: &str, more: &[(&str, &str)]) -> Live {
    let given = [&[("pool_identity", "call")], more].concat();
    Live::with(&usual(urls, &given), TABLES, |_| {})
}

/// A row of `pools` as text.
fn rows(batch: &RecordBatch) -> Vec<String> {
    let bytes = |name: &str, row: usize| match batch.column_by_name(name).unwrap() {
        column if column.is_null(row) => "-".to_owned(),
        column => match column.as_binary_opt::<i32>() {
            Some(column) => hex::encode(column.value(row)),
            None => hex::encode(column.as_fixed_size_binary().value(row)),
        },
    };
    let int = |name: &str, row: usize| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(row);
    let text = |name: &str, row: usize| batch.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
    let listed = |row: usize| batch.column_by_name("listed").unwrap().as_boolean().value(row);
    let short = |text: String| text[..text.len().min(6)].to_owned();
    let row = |row: usize| {
        format!(
            "{} {} {}={} {}={} listed={} factory={} {} log {}",
            short(bytes("pool", row)),
            text("protocol", row),
            int("index0", row),
            short(bytes("token0", row)),
            int("index1", row),
            short(bytes("token1", row)),
            listed(row),
            short(bytes("factory", row)),
            text("source", row),
            int("log_index", row),
        )
    };
    (0..batch.num_rows()).map(row).collect()
}

fn pools_of(live: &Live) -> Vec<(u64, String)> {
    live.wait(
        "rows",
        |_| true,
        |seen| seen.rows.iter().flat_map(|(number, batch)| rows(batch).into_iter().map(|row| (*number, row))).collect(),
    )
}

fn short(address: Address) -> String {
    hex::encode(address)[..6].to_owned()
}

#[test]
fn each_kind_of_pool_is_asked_once_and_proven_where_it_can_be() {
    let (copy, old, new) = (address_of(70), address_of(71), address_of(72));
    let logs = vec![v2(PAIR), v2(copy), curve(old, 0, 2), curve(new, 1, 0), v4(KEYED), v2(address_of(73))];
    let (builder, hashes) = chain_of(&[logs.clone(), logs]);
    let node = Node::start(builder.into_chain(hashes[2], &[]));
    answers_pair(&node, PAIR, [USDC, WETH], FACTORY);
    // Says that it is of the same factory, but its address does not follow from its coins.
    answers_pair(&node, copy, [USDC, WETH], FACTORY);
    answers_coin(&node, old, "0x23746eb8", 0, WETH);
    answers_coin(&node, old, "0x23746eb8", 2, USDC);
    answers_coin(&node, new, "0xc6610657", 0, Address::repeat_byte(0xee));
    answers_coin(&node, new, "0xc6610657", 1, USDC);
    let key = [Address::ZERO.into_word(), USDC.into_word()].concat();
    let key = [&key[..], &[500u64, 10, 0].map(|number| U256::from(number).to_be_bytes::<32>()).concat()].concat();
    let data = format!("0x86b6be7d{}{}", hex::encode(&KEYED[..25]), "0".repeat(14));
    node.answer_call(&format!("{POSITION_MANAGER:?}"), &data, json!(hex::encode_prefixed(key)));

    let live = start(&node.http_url(), &[]);
    live.wait_for_chain_of(&node);
    let mut found = pools_of(&live);
    found.sort();
    let (copy, old, new) = (short(copy), short(old), short(new));
    let mut expected = [
        "b4e16d uniswap 0=a0b869 1=c02aaa listed=true factory=5c69be call log 0".to_owned(),
        format!("{copy} uniswap 0=a0b869 1=c02aaa listed=false factory=5c69be call log 1"),
        format!("{old} curve 0=c02aaa 2=a0b869 listed=false factory=- call log 2"),
        format!("{new} curve 0=000000 1=a0b869 listed=false factory=- call log 3"),
        "21c67e uniswap 0=000000 1=a0b869 listed=true factory=- call log 4".to_owned(),
    ]
    .map(|row| (1, row));
    expected.sort();
    assert_eq!(found, expected);
    let metric = |outcome: &str| live.metric("highwater_rpc_pool_questions_total", outcome);
    assert_eq!([metric("told"), metric("refused"), metric("failed")], [5, 1, 0]);
}

#[test]
fn a_reorg_takes_answers_back_and_a_recording_replays_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks.ndjson.gz");
    let mut builder = Builder::new(DEVNET);
    let genesis = builder.genesis();
    let first = builder.push(genesis, &[]);
    let old = builder.push(first, &[emits(vec![v2(PAIR)])]);
    let rival = builder.push(first, &[]);
    let new = builder.push(rival, &[emits(vec![v2(PAIR), curve(address_of(71), 0, 1)])]);
    let last = builder.push(new, &[emits(vec![v2(PAIR), curve(address_of(71), 2, 1)])]);
    let node = Node::start(builder.into_chain(first, &[old, new, last]));
    answers_pair(&node, PAIR, [USDC, WETH], FACTORY);
    for index in 0..3 {
        answers_coin(&node, address_of(71), "0xc6610657", index, address_of(80 + index));
    }
    let live = start(&node.http_url(), &[("record", path.to_str().unwrap())]);
    live.wait_for_chain_of(&node);
    let numbers = |live: &Live| pools_of(live).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
    assert!(numbers(&live).is_empty());
    node.step(1);
    live.wait_for_chain_of(&node);
    assert_eq!(numbers(&live), [2]);
    let asked = node.calls_of("eth_call");
    node.step(1);
    live.wait_for_chain_of(&node);
    // The pair's answer has moved to the block of the other branch, and the pair was not asked again.
    assert_eq!(numbers(&live), [3, 3]);
    assert_eq!(node.calls_of("eth_call"), asked + 2);
    node.step(1);
    live.wait_for_chain_of(&node);
    assert_eq!(numbers(&live), [3, 3, 4]);
    let seen = live.wait("rows", |_| true, |seen| seen.rows.clone());
    drop(live);

    let source = open("recording", &[("path", path.to_str().unwrap())]).unwrap();
    for tables in [TABLES, &["pools"]] {
        let source = open("recording", &[("path", path.to_str().unwrap())]).unwrap();
        let request = all_columns(source.as_ref(), tables);
        let outcome = read(source, request);
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let mut replayed = std::collections::BTreeMap::new();
        for (block, mut tables) in rows_by_block(&outcome.runs) {
            replayed.split_off(&block.number);
            replayed.insert(block.number, tables.pop().unwrap());
        }
        assert_eq!(replayed, seen);
    }
    drop(source);
}

#[test]
fn a_node_that_fails_or_lies_costs_only_the_names() {
    let pool = address_of(70);
    let blocks: Vec<_> = (0..6).map(|_| vec![v2(pool)]).collect();
    let (builder, hashes) = chain_of(&blocks);
    for (effect, outcome, rows) in [
        (Effect::Error(-32_000, "missing trie node"), "failed", 0),
        (Effect::Null, "failed", 0),
        (Effect::Error(3, "execution reverted"), "refused", 0),
        (Effect::alter(|answer| *answer = json!("0x")), "refused", 0),
        (Effect::alter(|answer| *answer = json!("0xzz")), "refused", 0),
        (Effect::alter(|answer| *answer = json!(B256::repeat_byte(7))), "refused", 0),
    ] {
        let known: Vec<_> = hashes.iter().map(|hash| builder.block(*hash)).collect();
        let node = Node::start(highwater_testnode::Chain::new(DEVNET, known, hashes[1], &hashes[2..]));
        answers_pair(&node, pool, [USDC, WETH], FACTORY);
        node.fault(When::call("eth_call"), effect);
        let live = start(&node.http_url(), &[]);
        live.wait_for_chain_of(&node);
        while node.step(1) > 0 {
            live.wait_for_chain_of(&node);
        }
        assert_eq!(pools_of(&live).len(), rows);
        let wanted = if outcome == "failed" { 3 } else { 1 };
        assert_eq!(live.metric("highwater_rpc_pool_questions_total", outcome), wanted, "{outcome}");
    }
}

/// A hanging node holds a block up for one request's time, three times, and no longer.
#[test]
fn questions_that_hang_are_given_up() {
    let (builder, hashes) = chain_of(&vec![vec![v2(address_of(70))]; 6]);
    let node = Node::start(builder.into_chain(hashes[1], &hashes[2..]));
    node.fault(When::call("eth_call"), Effect::Hold);
    let live = start(&node.http_url(), &[]);
    live.wait_for_chain_of(&node);
    while node.step(1) > 0 {
        live.wait_for_chain_of(&node);
    }
    assert_eq!(live.metric("highwater_rpc_pool_questions_total", "failed"), 3);
    assert!(pools_of(&live).is_empty());
}

/// One endpoint answers a question. Where two would say different things, the one that was asked is heard, and
/// what it says is only believed where the pool's name proves it.
#[test]
fn of_two_that_disagree_the_proven_answer_counts() {
    let curve_pool = address_of(71);
    let (builder, hashes) = chain_of(&[vec![v2(PAIR), curve(curve_pool, 0, 1)]]);
    let chain = builder.into_chain(hashes[1], &[]);
    let nodes = [Node::start(chain.clone()), Node::start(chain)];
    for (node, coins) in
        nodes.iter().zip([[USDC, WETH], [address_of(90).min(address_of(91)), address_of(90).max(address_of(91))]])
    {
        answers_pair(node, PAIR, coins, FACTORY);
        answers_coin(node, curve_pool, "0xc6610657", 0, coins[0]);
        answers_coin(node, curve_pool, "0xc6610657", 1, coins[1]);
    }
    let live = start(&format!("{} {}", nodes[0].http_url(), nodes[1].http_url()), &[]);
    live.wait_for_chain_of(&nodes[0]);
    let found = pools_of(&live);
    assert_eq!(found.len(), 2);
    for (_, row) in found {
        let is_true_pair = row.contains("b4e16d") && row.contains("0=a0b869 1=c02aaa");
        assert_eq!(row.contains("listed=true"), is_true_pair, "{row}");
    }
}

/// Without the option nothing is asked, and without the table neither.
#[test]
fn nothing_is_asked_that_nobody_wants() {
    let (builder, hashes) = chain_of(&[vec![v2(PAIR)]]);
    let node = Node::start(builder.into_chain(hashes[1], &[]));
    let without = Live::with(&usual(&node.http_url(), &[]), TABLES, |_| {});
    let other_tables = Live::with(&usual(&node.http_url(), &[("pool_identity", "call")]), &["dex_swaps"], |_| {});
    without.wait_for_chain_of(&node);
    other_tables.wait_for_chain_of(&node);
    assert_eq!(node.calls_of("eth_call"), 0);
}
