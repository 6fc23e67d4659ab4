//! The binary at scripted nodes on loopback: what it ends with is what a recording of the same chain ends with,
//! through reorgs, signals, deaths and lies, and it can write that recording itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use highwater_testnode::{Builder, Chain, Effect, Node, Tag, When, alter};
use serde_json::Value;

use crate::chain::{DEVNET, lines, quantity, read_lines};
use crate::command::{Desk, Ran, accumulate, here, highwater, parse_lines, run};
use crate::live_command::Running;
use crate::mev::devnet_settings;
use crate::recorded::Recording;
use crate::rows::Row;

/// What a job says of a node that a recording does not know.
const ONLY_LIVE: [&str; 6] = ["url", "from_block", "poll_interval", "request_timeout", "verify", "record"];

const VIEWS: &str = "
CREATE MATERIALIZED VIEW heads AS SELECT block_number, block_hash, transaction_count FROM eth.blocks;
CREATE MATERIALIZED VIEW trades AS SELECT * FROM eth.dex_trades;
CREATE MATERIALIZED VIEW sandwiches AS SELECT * FROM eth.sandwiches;
CREATE MATERIALIZED VIEW busy AS
SELECT window_start, token_address, count(*) AS transfers
FROM TUMBLE(eth.token_transfers, block_timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end, token_address;
";

const SINKS: &str = "
CREATE SINK heads_out FROM heads WITH (connector = 'stdout');
CREATE SINK trades_out FROM trades WITH (connector = 'stdout');
CREATE SINK sandwiches_out FROM sandwiches WITH (connector = 'stdout');
CREATE SINK busy_out FROM busy WITH (connector = 'stdout');
";

const OUTPUTS: [&str; 4] = ["heads_out", "trades_out", "sandwiches_out", "busy_out"];

fn source(url: &str, more: &str) -> String {
    format!(
        "CREATE SOURCE eth WITH (connector = 'evm', url = '{url}', from_block = 'earliest', confirmations = 12,
           poll_interval = '20 ms', request_timeout = '5 seconds'{more});\n"
    )
}

fn job(url: &str, more: &str) -> String {
    format!("{}{}{VIEWS}{SINKS}", source(url, more), devnet_settings(&Recording::devnet().truth))
}

fn devnet() -> Chain {
    Chain::recorded(&here("jobs/data/devnet/blocks.ndjson.gz"))
}

fn both(node: &Node) -> String {
    format!("{} {}", node.http_url(), node.ws_url())
}

/// The arguments that turn a job over a node into one over a recording.
fn over_recording(path: &str) -> Vec<String> {
    let gone = ONLY_LIVE.iter().map(|option| format!("eth.{option}="));
    let there = ["eth.connector=recording".to_owned(), format!("eth.path={path}")];
    gone.chain(there).flat_map(|set| ["--set".to_owned(), set]).collect()
}

/// Runs the job of a desk over a recording instead of its node, one block a tick.
fn replay(desk: &Desk, path: &str, more: &[&str]) -> Ran {
    let settings = over_recording(path);
    let arguments: Vec<&str> = settings.iter().map(String::as_str).chain(["--blocks-per-tick", "1"]).collect();
    desk.run(&[&arguments, more].concat()).succeeds()
}

fn contents(ran: &Ran) -> BTreeMap<&'static str, BTreeMap<Row, i64>> {
    OUTPUTS.iter().map(|sink| (*sink, ran.contents(sink))).collect()
}

/// What the shipped recording ends with.
fn expected(desk: &Desk) -> BTreeMap<&'static str, BTreeMap<Row, i64>> {
    let path = desk.write("shipped/blocks.ndjson", lines(&DEVNET));
    let expected = contents(&replay(desk, &path, &[]));
    assert!(expected.values().all(|rows| rows.len() > 4));
    expected
}

/// Every block of a recording once, and none that the node does not have.
fn assert_recorded_once(path: &Path) {
    let mut seen = BTreeSet::new();
    for line in read_lines(path) {
        assert!(seen.insert(line["block"]["hash"].as_str().unwrap().to_owned()), "a block is recorded twice");
        assert_eq!(line["block"]["hash"], line["hash"]);
        assert_eq!(quantity(&line["block"]["number"]), line["number"].as_u64().unwrap());
        assert_eq!(line["receipts"].as_array().unwrap().len(), line["block"]["transactions"].as_array().unwrap().len());
    }
}

/// Follows a run with six reorgs to its end, interrupts, and replays what was recorded meanwhile.
fn follow_and_replay(url: impl Fn(&Node) -> String, waits_for_socket: bool) {
    let node = Node::start(devnet());
    let desk = Desk::new(&job(&url(&node), ", record = 'recorded/blocks.ndjson.gz'"));
    let expected = expected(&desk);
    let running = Running::start(&["run", &desk.job, "--blocks-per-tick", "1"]);
    running.wait_for_head_of(&node);
    if waits_for_socket {
        node.wait_for_subscriptions(1);
    }
    running.walk(&node, usize::MAX);
    let ran = running.interrupt().succeeds();
    let summary = ran.summary();
    assert_eq!((&summary["stopped"], &summary["reorgs"]), (&true.into(), &6.into()), "{summary}");
    assert!(contents(&ran) == expected);
    let path = desk.path("recorded/blocks.ndjson.gz");
    assert_recorded_once(&path);
    assert_eq!(read_lines(&path).len(), DEVNET.iter().filter(|line| line["block"].is_object()).count());
    let again = replay(&desk, &desk.at("recorded/blocks.ndjson.gz"), &[]);
    for (number, (found, expected)) in again.stdout.lines().zip(ran.stdout.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(again.stdout.len(), ran.stdout.len());
}

#[test]
fn a_run_announced_over_a_socket_ends_and_replays_the_same() {
    follow_and_replay(both, true);
}

#[test]
fn a_run_that_is_asked_for_ends_and_replays_the_same() {
    follow_and_replay(Node::http_url, false);
}

#[test]
fn a_range_of_a_live_node_ends_by_itself() {
    let node = Node::start(devnet());
    node.step(usize::MAX);
    let desk = Desk::new(&job(&node.http_url(), ""));
    let range = ["--from", "20", "--to", "50", "--blocks-per-tick", "1"];
    let ran = run(&[&["replay", &desk.job][..], &range].concat()).succeeds();
    assert_eq!(ran.summary()["blocks"], 31);
    let path = desk.write("shipped/blocks.ndjson", lines(&DEVNET));
    let settings = over_recording(&path);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let recorded = run(&[&["replay", &desk.job][..], &range, &settings].concat()).succeeds();
    assert!(contents(&ran) == contents(&recorded));
}

const FILES: &str = "
CREATE SINK heads_kept FROM heads WITH (connector = 'file', path = 'heads.jsonl');
CREATE SINK trades_kept FROM trades WITH (connector = 'file', path = 'trades.jsonl');
CREATE SINK final_kept FROM trades WITH (connector = 'file', path = 'final.jsonl') EMIT ON FINALITY;
";

/// Each row once, as a run over the whole recording has it.
#[track_caller]
fn assert_kept(desk: &Desk, expected: &BTreeMap<&'static str, BTreeMap<Row, i64>>) {
    for (file, sink) in [("heads.jsonl", "heads_out"), ("trades.jsonl", "trades_out")] {
        let found = accumulate(&parse_lines(&desk.read(file)));
        assert!(found.values().all(|diff| *diff == 1), "{file} repeats rows");
        assert!(found == expected[sink], "{file}");
    }
    let finals = accumulate(&parse_lines(&desk.read("final.jsonl")));
    assert!(finals.iter().all(|(row, diff)| *diff == 1 && expected["trades_out"].contains_key(row)));
}

/// Dies again and again, some of the times while the chain is reorganised, and goes on from its state.
#[test]
fn a_killed_run_goes_on_through_reorgs_of_the_meantime() {
    let node = Node::start(devnet());
    let desk = Desk::new(&format!("{}{FILES}", job(&both(&node), ", record = 'recorded/blocks.ndjson.gz'")));
    let expected = expected(&desk);
    for file in ["heads.jsonl", "trades.jsonl", "final.jsonl"] {
        let _ = std::fs::remove_file(desk.path(file));
    }
    let state = desk.at("state");
    let arguments = ["run", &desk.job, "--state", &state, "--checkpoint-every", "100 ms", "--blocks-per-tick", "1"];
    while node.steps_left() > 0 {
        let running = Running::start(&arguments);
        // A run that goes on prints rows of new blocks only, so there must be one.
        node.step(1);
        running.walk(&node, 7);
        assert_eq!(running.kill().code, None);
        // While nobody looks the chain goes on, perhaps with a reorg.
        node.step(3);
    }
    node.reorg(0, 1);
    let running = Running::start(&arguments);
    running.wait_for_head_of(&node);
    running.interrupt().succeeds();
    let path = desk.at("recorded/blocks.ndjson.gz");
    assert_recorded_once(Path::new(&path));
    assert_kept(&desk, &contents(&replay(&desk, &path, &["--out", &desk.at("again")])));
    let canonical: BTreeSet<String> = node.canonical().iter().map(|block| block.hash.to_string()).collect();
    let hash = |row: &Row| row.value()["block_hash"].as_str().unwrap().to_owned();
    let kept = accumulate(&parse_lines(&desk.read("heads.jsonl")));
    assert_eq!(kept.keys().map(hash).collect::<BTreeSet<_>>(), canonical);
    let trades = accumulate(&parse_lines(&desk.read("trades.jsonl")));
    assert!(trades == expected["trades_out"]);
}

#[test]
fn record_as_json_lines_goes_on_after_it_was_killed() {
    let node = Node::start(devnet());
    let desk = Desk::new(&job(&both(&node), ""));
    let expected = expected(&desk);
    let out = desk.at("recorded");
    let arguments = ["record", &desk.job, "--format", "json", "--out", &out];
    let path = desk.path("recorded/blocks.ndjson.gz");
    for steps in [20, 11] {
        let running = Running::start(&arguments);
        for _ in 0..steps {
            node.step(1);
            wait_until_recorded(&path, &node);
        }
        running.kill();
        node.step(2);
    }
    // Half a run is at the end of the file.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
    let running = Running::start(&arguments);
    node.step(usize::MAX);
    wait_until_recorded(&path, &node);
    running.interrupt().succeeds();
    assert_recorded_once(&path);
    assert!(contents(&replay(&desk, &desk.at("recorded/blocks.ndjson.gz"), &[])) == expected);
}

/// Looks at the file again and again, for a minute at most: the command says nothing while it records.
#[track_caller]
fn wait_until_recorded(path: &Path, node: &Node) {
    let hash = node.head().hash.to_string();
    for _ in 0..6_000 {
        if path.exists() && crate::chain::whole_text(path).contains(&format!("\"hash\":\"{hash}\",")) {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    panic!("block {hash} was not recorded");
}

#[test]
fn record_as_parquet_replays_to_the_same_rows() {
    let node = Node::start(devnet());
    node.step(usize::MAX);
    let last = node.head().number.to_string();
    let desk = Desk::new(&job(&node.http_url(), ""));
    let expected = expected(&desk);
    let out = desk.at("recorded");
    run(&["record", &desk.job, "--out", &out, "--to", &last]).succeeds();
    let gone = ONLY_LIVE.iter().chain(&["confirmations"]).map(|option| format!("eth.{option}="));
    let there = ["eth.connector=parquet".to_owned(), format!("eth.path={out}")];
    let settings: Vec<String> = gone.chain(there).flat_map(|set| ["--set".to_owned(), set]).collect();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    assert!(contents(&desk.run(&settings).succeeds()) == expected);
}

/// What a source offers and nothing was in stays a table.
#[test]
fn an_empty_table_of_a_recording_is_a_table() {
    let mut builder = Builder::new(31_337);
    let blocks = builder.extend(builder.genesis(), 12);
    let node = Node::start(builder.into_chain(blocks[11], &[]));
    let desk = Desk::new(&format!(
        "{}CREATE MATERIALIZED VIEW pools AS SELECT * FROM eth.pools;
         CREATE MATERIALIZED VIEW blocks AS SELECT block_number FROM eth.blocks;",
        source(&node.http_url(), "")
    ));
    run(&["record", &desk.job, "--out", &desk.at("recorded"), "--to", "12"]).succeeds();
    let sql = desk.read("job.sql");
    let (_, views) = sql.split_once(';').unwrap();
    desk.write("job.sql", format!("CREATE SOURCE eth WITH (connector = 'parquet', path = 'recorded');{views}"));
    let ran = desk.run(&[]).succeeds();
    assert_eq!((ran.contents("pools").len(), ran.contents("blocks").len()), (0, 13));
}

#[test]
fn a_liar_is_named_and_left() {
    // One log that shares its bits with others is not missed by the bloom filter; the roots miss it.
    let lies = [("bloom", Effect::alter(alter::drop_all_logs)), ("roots", Effect::alter(alter::drop_log))];
    for (verify, lie) in lies {
        let (honest, liar) = (Node::start(devnet()), Node::start(devnet()));
        liar.fault(When::call("eth_getBlockReceipts"), lie);
        let url = format!("{}, {}", honest.http_url(), liar.http_url());
        let more = format!("{SAMPLES}CREATE SINK samples_out FROM samples WITH (connector = 'stdout');");
        let desk = Desk::new(&format!("{}{more}", job(&url, &format!(", verify = '{verify}'"))));
        let expected = expected_without_samples();
        let running = Running::start(&["run", &desk.job, "--metrics", &desk.at("metrics.txt")]);
        running.wait_for_head_of(&honest);
        while honest.steps_left() > 0 {
            honest.step(1);
            liar.step(1);
            running.wait_for_head_of(&honest);
        }
        let ran = running.interrupt().succeeds();
        assert!(contents(&ran) == expected, "{verify}");
        let port = liar.http_url().rsplit(':').next().unwrap().to_owned();
        let port_of_honest = honest.http_url().rsplit(':').next().unwrap().to_owned();
        let named = |port: &str| ran.stderr.lines().any(|line| line.contains("WARN") && line.contains(port));
        assert!(named(&port) && !named(&port_of_honest), "{}", ran.stderr);
        assert_samples(&ran, &[&honest, &liar]);
    }
}

const SAMPLES: &str = "
CREATE MATERIALIZED VIEW samples WITH (unbounded = 'yes') AS
SELECT endpoint, method, ok, count(*) AS requests, max(latency_ms) >= 0 AS took_time
FROM eth.rpc_samples GROUP BY endpoint, method, ok;
";

/// The same job over the shipped recording, which has no samples.
fn expected_without_samples() -> BTreeMap<&'static str, BTreeMap<Row, i64>> {
    let plain = Desk::new(&job("http://127.0.0.1:1", ""));
    expected(&plain)
}

/// Rows of samples add up to what the nodes were asked, but for the last questions, which no block took along.
fn assert_samples(ran: &Ran, nodes: &[&Node]) {
    let rows: Vec<Value> = ran.contents("samples_out").into_keys().map(|row| row.value()).collect();
    assert!(rows.iter().all(|row| row["took_time"] == true));
    for method in ["eth_getBlockByHash", "eth_getBlockByNumber", "eth_getBlockReceipts"] {
        // A verdict on an answer is a row of its own, which is not ok and no request.
        let of_method = rows.iter().filter(|row| row["method"] == method && row["ok"] == true);
        let sampled: u64 = of_method.map(|row| row["requests"].as_u64().unwrap()).sum();
        let asked: u64 = nodes.iter().map(|node| node.calls_of(method)).sum();
        assert!(sampled > 0 && sampled <= asked, "{method}: {sampled} samples of {asked} requests");
        if method != "eth_getBlockByNumber" {
            assert!(sampled + 8 >= asked, "{method}: {sampled} samples of {asked} requests");
        }
    }
    let endpoints: BTreeSet<&str> = rows.iter().map(|row| row["endpoint"].as_str().unwrap()).collect();
    assert_eq!(endpoints.len(), nodes.len());
}

/// A key in the path of a URL is in nothing that is printed or written, whatever goes wrong.
#[test]
fn keys_are_nowhere() {
    const KEY: &str = "s3cr3tk3y0123456789";
    let node = Node::start(devnet());
    node.configure(|manner| manner.finalized = Tag::Unknown);
    let url = format!("{}/v2/{KEY}?apikey={KEY} {}/ws/{KEY}", node.http_url(), node.ws_url());
    let desk = Desk::new(&format!(
        "{}{SAMPLES}CREATE SINK samples_out FROM samples WITH (connector = 'stdout');",
        job(&url, ", record = 'out/recorded/blocks.ndjson'")
    ));
    let state = desk.at("out/state");
    let metrics = desk.at("out/metrics.txt");
    let arguments = ["run", &desk.job, "--state", &state, "--metrics", &metrics];
    let running = Running::of(highwater(&arguments).env("HIGHWATER_LOG", "trace"));
    running.walk(&node, 5);
    for effect in [
        Effect::Status(500, None),
        Effect::too_many_requests(None),
        Effect::internal_error(),
        Effect::Reset,
        Effect::HalfAnswer,
        Effect::Body("this is no JSON"),
    ] {
        let fault = node.fault(When::any_call().first(3), effect);
        running.walk(&node, 2);
        node.end_fault(fault);
    }
    node.stop();
    running.wait_for_message("a failure to connect", |line| line.contains("connect"));
    node.restart();
    running.walk(&node, 2);
    let ran = running.interrupt().succeeds();
    assert!(ran.stderr.contains("TRACE") || ran.stderr.contains("DEBUG"), "logs are on");
    for (what, text) in [("standard output", &ran.stdout), ("standard error", &ran.stderr)] {
        if let Some(line) = text.lines().find(|line| line.contains(KEY)) {
            panic!("the key is on {what}: {line}");
        }
    }
    let mut looked = 0;
    assert_not_in_files(&desk.path("out"), KEY, &mut looked);
    assert!(looked > 4, "state, metrics and recording are there");
    for command in [&["explain", &desk.job][..], &["explain", &desk.job, "--state"], &["check", &desk.job]] {
        let ran = run(command).succeeds();
        assert!(!ran.stdout.contains(KEY) && !ran.stderr.contains(KEY), "{command:?}");
    }
    // Nobody listens: the error that ends the run does not show it either.
    node.stop();
    let ran = desk.run(&["--out", &desk.at("dead")]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(!ran.stdout.contains(KEY) && !ran.stderr.contains(KEY), "{}", ran.stderr);
}

fn assert_not_in_files(folder: &Path, key: &str, looked: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_not_in_files(&path, key, looked);
            continue;
        }
        *looked += 1;
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "{}", path.display());
    }
}
