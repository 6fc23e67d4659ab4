//! Alerts to a receiver that answers, that fails, that is not there: the real binary, killed again and again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater_testnode::ClosedPort;
use serde_json::Value;

use crate::command::{Desk, Ran, accumulate, highwater, parse_lines, run};

/// A receiver of webhooks on loopback. It lives as long as the test's process.
struct Receiver {
    port: u16,
    got: Arc<Mutex<Vec<Value>>>,
    refuse: Arc<Mutex<u32>>,
}

impl Receiver {
    /// Answers 503 to the first `refuse` requests.
    fn start(refuse: u32) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = Receiver { port, got: Arc::default(), refuse: Arc::new(Mutex::new(refuse)) };
        let (got, refuse) = (receiver.got.clone(), receiver.refuse.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (got, refuse) = (got.clone(), refuse.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &got, &refuse));
            }
        });
        receiver
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().clone()
    }
}

/// Reads requests of one connection until it ends; a connection that breaks belongs to a process that was killed.
fn serve(stream: TcpStream, got: &Mutex<Vec<Value>>, refuse: &Mutex<u32>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let left = std::mem::replace(&mut *refuse.lock().unwrap(), 0);
        let status = if left > 0 {
            *refuse.lock().unwrap() = left - 1;
            "503 Service Unavailable"
        } else {
            got.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            "200 OK"
        };
        writer.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).ok()?;
    }
}

const JOB: &str = "
CREATE SOURCE sim WITH (
  connector = 'simulator', seed = 11, blocks = 60, transactions_per_block = 8,
  reorg_rate = 0.25, reorg_depth = 3, confirmations = 6);
CREATE MATERIALIZED VIEW busy AS
SELECT from_address, window_end, count(*) AS sent, count(*) FILTER (WHERE NOT success) AS failed
FROM TUMBLE(sim.transactions, block_timestamp, INTERVAL '1 minute') GROUP BY from_address, window_end;
CREATE ALERT failing FROM (SELECT * FROM busy WHERE failed > 0) WITH (
  key = 'from_address', severity = 'CASE WHEN failed > 1 THEN ''high'' ELSE ''low'' END',
  reason = '{{ failed }} of {{ sent }} failed', cool_after = INTERVAL '1 minute', resolve_after = INTERVAL '2 minutes');
CREATE SINK hook FROM failing WITH (
  connector = 'webhook', url = 'URL', allow_private = true, retry_initial = '20 ms', retry_max_delay = '100 ms', retry_max = 200,
  send = 'fire,escalate,update,resolve,retract', drain = '20 s', max_per_minute = 100000);
CREATE SINK shown FROM failing WITH (connector = 'file', path = 'shown.jsonl', send = 'fire,escalate,update,resolve');
";

/// What a reader sees of a notification.
fn content(message: &Value) -> String {
    ["group_key", "kind", "status", "severity", "title", "reason"].map(|name| message[name].as_str().unwrap()).join("|")
}

/// What stands at a receiver that follows corrections: what was told, brought up to date, and not withdrawn.
fn standing(got: &[Value]) -> BTreeMap<String, usize> {
    let mut standing: BTreeMap<String, String> = BTreeMap::new();
    for message in got {
        let told = message["replaces"].as_str().or(message["id"].as_str()).unwrap().to_owned();
        match message["action"].as_str().unwrap() {
            "tell" | "amend" => standing.insert(told, content(message)),
            "withdraw" => standing.remove(&told),
            other => panic!("{other} is not asked for"),
        };
    }
    counted(standing.into_values())
}

fn counted(texts: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    texts.for_each(|text| *counts.entry(text).or_insert(0) += 1);
    counts
}

/// What stands at the end of the whole history.
fn expected(desk: &Desk) -> BTreeMap<String, usize> {
    let ran = run(&["replay", &desk.job, "--out", &desk.at("expected")]).succeeds();
    assert!(ran.summary()["reorgs"].as_u64().unwrap() > 2);
    let rows = accumulate(&parse_lines(&desk.read("expected/shown.jsonl")));
    let sent = rows.into_keys().map(|row| row.value()).filter(|row| row["decision"] == "send");
    counted(sent.map(|row| content(&row)))
}

fn arguments(desk: &Desk) -> Vec<String> {
    let state = desk.at("state");
    let slow =
        ["run", &desk.job, "--set", "sim.speed=100", "--state", &state, "--checkpoint-every", "40 ms", "--quiet"];
    slow.map(str::to_owned).to_vec()
}

#[test]
fn a_dead_receiver_loses_nothing_and_the_ledger_tells() {
    let receiver = Receiver::start(0);
    let desk = Desk::new(&JOB.replace("URL", &receiver.url()));
    let wanted = expected(&desk);
    assert!(wanted.len() > 10, "{}", wanted.len());
    assert!(receiver.got().is_empty(), "a replay without --send sends nothing");
    let dry = run(&["replay", &desk.job, "--dry-run"]).succeeds();
    let hook: Vec<Value> = parse_lines(&dry.stdout).into_iter().filter(|line| line["schema"].is_string()).collect();
    assert_eq!(standing(&hook), wanted, "a dry run prints just what would be sent");
    assert!(receiver.got().is_empty(), "and sends nothing");
    // A port where nobody listens: all is tried a few times, then kept as dead letters.
    let closed = ClosedPort::new();
    let dead = format!("hook.url=http://127.0.0.1:{}/secret-path", closed.number());
    let state = desk.at("state");
    let first = run(&[
        "run",
        &desk.job,
        "--state",
        &state,
        "--set",
        &dead,
        "--set",
        "hook.retry_max=2",
        "--set",
        "hook.breaker_failures=1000",
    ])
    .succeeds();
    assert!(!first.stderr.contains("secret-path"), "{}", first.stderr);
    let listed = run(&["alerts", "list", "--state", &state, "--in", "dead", "--json", "--limit", "1000"]).succeeds();
    let letters = parse_lines(&listed.stdout);
    assert!(!letters.is_empty());
    assert!(!listed.stdout.contains("secret-path"));
    let number = letters[0]["number"].to_string();
    let shown = run(&["alerts", "show", "--state", &state, &number]).succeeds();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["state"], "dead");
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2);
    run(&["alerts", "ack", "--state", &state, &number]).succeeds();
    run(&["alerts", "ack", "--state", &state, "no-such"]).fails(2, &["no-such"]);
    // All dead letters again, to a receiver that lives; it refuses the first ones.
    *receiver.refuse.lock().unwrap() = 5;
    run(&["alerts", "retry", "--state", &state, "--dead"]).succeeds();
    run(&["run", &desk.job, "--state", &state]).succeeds();
    assert_eq!(standing(&receiver.got()), wanted);
    let listed = run(&["alerts", "list", "--state", &state, "--in", "waiting"]).succeeds();
    assert_eq!(listed.stdout, "no deliveries\n");
}

#[test]
fn what_is_muted_is_kept_back() {
    let receiver = Receiver::start(0);
    let desk = Desk::new(&JOB.replace("URL", &receiver.url()));
    let state = desk.at("state");
    run(&["run", &desk.job, "--state", &state, "--set", "sim.blocks=5"]).succeeds();
    run(&["alerts", "mute", "--state", &state, "--alert", "failing", "--for", "1 hour"]).succeeds();
    let before = receiver.got().len();
    run(&["run", &desk.job, "--state", &state]).succeeds();
    let later: Vec<Value> = receiver.got().split_off(before);
    assert!(later.iter().all(|message| message["action"] != "tell"), "{later:?}");
    let listed =
        run(&["alerts", "list", "--state", &state, "--in", "suppressed", "--json", "--limit", "1000"]).succeeds();
    assert!(parse_lines(&listed.stdout).iter().any(|line| line["suppressed_by"] == "mute"));
    let mutes = run(&["alerts", "unmute", "--state", &state]).succeeds();
    assert!(mutes.stdout.starts_with("1  alert failing"), "{}", mutes.stdout);
    run(&["alerts", "unmute", "--state", &state, "1"]).succeeds();
    run(&["alerts", "mute", "--state", &state]).fails(2, &["--alert or --group"]);
    run(&["alerts", "list", "--state", &desk.at("elsewhere")]).fails(2, &["no ledger"]);
}

/// Killed at any moment: nothing is lost, and what is repeated has the same id. `HIGHWATER_KILLS` says how often.
#[test]
fn killed_again_and_again_nothing_is_lost() {
    let kills: u64 = kills_wanted();
    let receiver = Receiver::start(0);
    let mut killed = 0;
    let mut histories = 0;
    while killed < kills {
        histories += 1;
        assert!(histories < 20 + kills, "runs end before they are killed");
        let seed = format!("seed = {}", 11 + histories);
        receiver.got.lock().unwrap().clear();
        let desk = Desk::new(&JOB.replace("URL", &receiver.url()).replace("seed = 11", &seed));
        let wanted = expected(&desk);
        let start = arguments(&desk);
        for round in 0..kills - killed {
            let command: Vec<&str> = start.iter().map(String::as_str).collect();
            let mut child = highwater(&command).spawn().unwrap();
            std::thread::park_timeout(Duration::from_millis(60 + (round * 97 + histories * 31) % 400));
            if child.try_wait().unwrap().is_some() {
                Ran::of(child.wait_with_output().unwrap()).succeeds();
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        }
        let command: Vec<&str> = start.iter().map(String::as_str).collect();
        run(&command).succeeds();
        let got = receiver.got();
        assert_eq!(standing(&got), wanted, "{seed} after {killed} kills");
        let mut contents: BTreeMap<(String, String), Value> = BTreeMap::new();
        for message in &got {
            let key = (message["id"].as_str().unwrap().to_owned(), message["action"].as_str().unwrap().to_owned());
            let first = contents.entry(key).or_insert_with(|| message.clone());
            assert_eq!(first["notification_id"], message["notification_id"], "a repetition tells the same");
        }
    }
}

fn kills_wanted() -> u64 {
    std::env::var_os("HIGHWATER_KILLS").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(20)
}
