//! kill -9 between deciding, the ledger, sending and acknowledging: nothing is lost, and a repetition has its key.
//!
//! The test starts its own binary as the job, again and again, and kills it: while it starts, when the server has
//! read a request and not answered, when it has answered, or some time after. `HIGHWATER_KILL_ROUNDS` says how often.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use highwater_engine::sink::{SinkConnector as _, SinkState};
use highwater_sinks::alert::console::{self, Filter};
use highwater_sinks::alert::webhook::WEBHOOK;
use serde_json::Value;

use crate::history::{Chain, Step};
use crate::receiver::Receiver;
use crate::server::{Got, OK, Reply, Server};
use crate::world::{QUICK, commit, options, request};

const CONCURRENCY: usize = 4;

#[expect(clippy::disallowed_methods, reason = "the job of this test is told by its environment what to do")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A small generator of numbers (SplitMix64), so that parent and job see the same history.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// The same history for parent and job: a fifth of the ticks are reorgs.
fn history(rounds: usize) -> Vec<Step> {
    let mut numbers = Numbers(7);
    let blocks = |count: u64, numbers: &mut Numbers| -> Vec<Vec<(u8, u8)>> {
        let mut byte = |limit| u8::try_from(numbers.below(limit)).unwrap();
        (0..count).map(|_| (0..byte(3)).map(|_| (byte(3), byte(4))).collect()).collect()
    };
    let mut steps: Vec<Step> = (0..rounds * 12 + 60)
        .map(|_| {
            let depth = if numbers.below(5) == 0 { 1 + numbers.below(3) } else { 0 };
            let added = if depth > 0 { depth + numbers.below(2) } else { 1 };
            Step { depth: usize::try_from(depth).unwrap(), added: blocks(added, &mut numbers) }
        })
        .collect();
    // Blocks that bring nothing, above all that were.
    steps.extend((0..4).map(|_| Step { depth: 0, added: vec![Vec::new()] }));
    steps
}

/// The job: goes on from its checkpoint, to the end if it is let.
#[test]
fn job() {
    let (Some(dir), Some(url), Some(rounds)) =
        (variable("HIGHWATER_KILL_DIR"), variable("HIGHWATER_KILL_URL"), variable("HIGHWATER_KILL_ROUNDS"))
    else {
        // Only as the child of the test below.
        return;
    };
    let dir = Path::new(&dir);
    let mut given = QUICK.to_vec();
    given.extend([("url", url.as_str()), ("allow_private", "true"), ("drain", "60 s"), ("timeout", "20 s")]);
    let mut sink = WEBHOOK.open(request(dir), options(dir, &given)).unwrap();
    let saved = dir.join("checkpoint.json");
    let (mut done, mut chain) = (0, Chain::default());
    if let Ok(text) = std::fs::read_to_string(&saved) {
        let state: Value = serde_json::from_str(&text).unwrap();
        done = usize::try_from(state["steps"].as_u64().unwrap()).unwrap();
        sink.restore(&SinkState { facts: state["facts"].clone(), rows: Vec::new() }).unwrap();
    }
    let steps = history(rounds.parse().unwrap());
    for (index, step) in steps.iter().enumerate() {
        if index < done {
            chain.skip(step);
            continue;
        }
        let mut tick = chain.step(step);
        tick.progress.end_of_input = index + 1 == steps.len();
        commit(&mut *sink, &tick).unwrap();
        keep_in_step(&dir.join("alerts.db"));
        if index % 5 == 4 {
            let facts = sink.checkpoint().unwrap().facts;
            let text = serde_json::json!({ "steps": index + 1, "facts": facts }).to_string();
            std::fs::write(dir.join("checkpoint.new"), text).unwrap();
            std::fs::rename(dir.join("checkpoint.new"), &saved).unwrap();
        }
    }
    sink.finish().unwrap();
    std::fs::write(dir.join("done"), "").unwrap();
}

/// Lets the sender keep up, so that there is something under way at every tick.
fn keep_in_step(ledger: &Path) {
    let waiting = Filter { state: Some("waiting".to_owned()), ..Filter::default() };
    while console::list(ledger, &waiting, 100).unwrap().iter().filter(|entry| !entry.held).count() > 2 {
        thread::yield_now();
    }
}

fn start(dir: &Path, url: &str, rounds: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::job", "--nocapture", "--test-threads", "1"])
        .env("HIGHWATER_KILL_DIR", dir)
        .env("HIGHWATER_KILL_URL", url)
        .env("HIGHWATER_KILL_ROUNDS", rounds.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a round's requests have in common.
struct Round {
    /// The request that is not answered before the job is dead; counted from one.
    fatal: AtomicUsize,
    /// Whether that one is answered all the same.
    answered: AtomicBool,
    kill: mpsc::Sender<()>,
    dead: std::sync::Mutex<mpsc::Receiver<()>>,
}

#[test]
fn killed_at_any_point_it_loses_nothing() {
    let rounds = variable("HIGHWATER_KILL_ROUNDS").and_then(|text| text.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let ((kill, kills), (died, dead)) = (mpsc::channel(), mpsc::channel());
    let round = Arc::new(Round {
        fatal: AtomicUsize::new(0),
        answered: AtomicBool::new(false),
        kill,
        dead: std::sync::Mutex::new(dead),
    });
    let served = round.clone();
    let server = Server::start_with(move |_: &Got| reply(&served));
    let mut numbers = Numbers(11);
    let (mut receiver, mut widest, mut repeated) = (Receiver::default(), 0, 0);
    for number in 0..rounds {
        // Where the job dies: before a request is answered, a little after, or some time after its start.
        let (fatal, answered) = (usize::try_from(1 + numbers.below(8)).unwrap(), number % 3 == 1);
        round.answered.store(answered, Ordering::SeqCst);
        round.fatal.store(if number % 3 == 2 { 0 } else { fatal }, Ordering::SeqCst);
        let mut child = start(dir.path(), &server.url(), rounds);
        let patience_ms = if number % 3 == 2 { 5 + numbers.below(100) } else { 30_000 };
        let killed = kills.recv_timeout(Duration::from_millis(patience_ms));
        assert_eq!(killed.is_err(), number % 3 == 2, "a job that runs to its end needs a longer history");
        if answered {
            assert_eq!(
                kills.recv_timeout(Duration::from_micros(numbers.below(10_000))),
                Err(RecvTimeoutError::Timeout)
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if round.fatal.swap(0, Ordering::SeqCst) == usize::MAX && !answered {
            died.send(()).unwrap();
        }
        let again = take(&server, &mut receiver);
        widest = widest.max(again);
        repeated += again;
    }
    assert!(!dir.path().join("done").exists(), "the history is too short for so many rounds");
    let ended = start(dir.path(), &server.url(), rounds).wait().unwrap();
    assert!(ended.success() && dir.path().join("done").exists());
    take(&server, &mut receiver);

    let mut chain = Chain::default();
    history(rounds).iter().for_each(|step| {
        chain.skip(step);
    });
    assert_eq!(receiver.reads(), chain.reads());
    // A repetition was under way when the job died; no more are under way at once than the option says.
    assert!(widest <= CONCURRENCY, "{widest} repeated in one run");
    assert!(repeated > 0, "some must have died between the request and the ledger");
    let dead = Filter { state: Some("dead".to_owned()), ..Filter::default() };
    assert!(console::list(&dir.path().join("alerts.db"), &dead, 1).unwrap().is_empty());
}

/// Answers, but for the fatal request: there it has the job killed first.
fn reply(round: &Round) -> Reply {
    match round.fatal.load(Ordering::SeqCst) {
        1 => {
            round.fatal.store(usize::MAX, Ordering::SeqCst);
            round.kill.send(()).unwrap();
            if round.answered.load(Ordering::SeqCst) {
                return OK;
            }
            round.dead.lock().unwrap().recv().unwrap();
        }
        0 | usize::MAX => {}
        left => round.fatal.store(left - 1, Ordering::SeqCst),
    }
    OK
}

/// Takes what was sent; gives how many keys came that had come in an earlier run.
fn take(server: &Server, receiver: &mut Receiver) -> usize {
    // The dead job's connections may still lie before the server.
    server.catch_up();
    let known: BTreeSet<String> = receiver.order.iter().cloned().collect();
    let bodies = server.got().into_iter().map(|got| serde_json::from_str::<Value>(&got.body).unwrap());
    let mut again = BTreeSet::new();
    for body in bodies {
        let key = body["id"].as_str().unwrap().to_owned();
        if !receiver.receive(&body) {
            assert!(known.contains(&key), "{key} came twice in one run");
            again.insert(key);
        }
    }
    again.len()
}
