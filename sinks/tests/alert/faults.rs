//! The webhook channel against a server that fails at every point, and what is said of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use highwater_engine::clock::Stopwatch;
use highwater_engine::sink::{Delivery, Sink, SinkConnector as _, SinkReport};
use highwater_sinks::alert::Kind;
use highwater_sinks::alert::console::{self, Attempt, Entry, Filter};
use highwater_sinks::alert::webhook::WEBHOOK;
use highwater_testnode::ClosedPort;

use crate::server::{Got, Reply, Server};
use crate::world::{QUICK, commit, note, options, request, tick};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Options of a webhook to a server of the test.
fn given<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut given = vec![("url", url), ("allow_private", "true"), ("secret", SECRET), ("timeout", "300 ms")];
    given.extend(QUICK);
    given.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    given.extend(more);
    given
}

fn webhook(dir: &Path, url: &str, more: &[(&str, &str)]) -> Box<dyn Sink> {
    WEBHOOK.open(request(dir), options(dir, &given(url, more))).unwrap()
}

/// Tells one notification; gives the report, the entry and its attempts.
fn tell_one(dir: &Path, url: &str, more: &[(&str, &str)]) -> (SinkReport, Entry, Vec<Attempt>) {
    let mut sink = webhook(dir, url, more);
    commit(&mut *sink, &tick(1, 1, &[], &[note("n1", "g", Kind::Fire, 1, "a title")])).unwrap();
    let report = sink.finish().unwrap();
    let (entry, attempts) = console::show(&dir.join("alerts.db"), "n1").unwrap().unwrap();
    (report, entry, attempts)
}

fn assert_no_secret(text: &str) {
    for secret in ["t0ps3cret", "s3cretkey", "MDEyMzQ1"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn every_fault_that_may_pass_is_tried_again_with_the_same_key() {
    let faults = [
        Reply::ResetUnread,
        Reply::ResetRead,
        Reply::Silence,
        Reply::HalfClosed,
        Reply::Garbage,
        Reply::Answer(500, "", "oops /hook/t0ps3cret?key=s3cretkey"),
        Reply::Answer(503, "Retry-After: 0.01\r\n", ""),
        Reply::Answer(429, "Retry-After: 0\r\n", "slow down"),
        Reply::Answer(408, "", ""),
    ];
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(faults.clone());
    let (report, entry, attempts) = tell_one(dir.path(), &server.url(), &[]);
    assert_eq!((entry.state.as_str(), attempts.len()), ("sent", faults.len() + 1), "{attempts:#?}");
    assert_eq!(entry.receipt.as_deref(), Some("{\"status\":200}"));
    let got = server.got();
    assert_eq!(got.len(), faults.len(), "all were read but the first");
    assert!(got.iter().all(|request| request.body == got[0].body));
    assert!(got.iter().all(|got| got.headers["webhook-id"] == "n1"));
    assert_eq!(report.place, format!("1 message sent to 127.0.0.1:{}", server.port));
    for attempt in &attempts {
        assert_no_secret(attempt.error.as_deref().unwrap_or_default());
    }
    assert!(attempts[5].error.as_ref().unwrap().contains("answered 500 Internal Server Error: oops"));
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter_at_once() {
    for status in [400, 401, 404, 410, 413] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start([Reply::Answer(status, "", "no such hook s3cretkey")]);
        let (report, entry, attempts) = tell_one(dir.path(), &server.url(), &[("dead_letter", "dead.jsonl")]);
        assert_eq!((entry.state.as_str(), attempts.len()), ("dead", 1));
        assert!(report.place.ends_with(", 1 dead"), "{}", report.place);
        let letter = std::fs::read_to_string(dir.path().join("dead.jsonl")).unwrap();
        let letter: serde_json::Value = serde_json::from_str(&letter).unwrap();
        assert_eq!((&letter["id"], &letter["attempts"]), (&"n1".into(), &1.into()));
        assert_no_secret(&letter.to_string());
    }
}

#[test]
fn redirects_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = Server::start([]);
    let location = format!("Location: {}\r\n", target.url());
    let server = Server::start([Reply::Answer(307, location.leak(), "")]);
    let (_, entry, _) = tell_one(dir.path(), &server.url(), &[]);
    assert_eq!(entry.state, "dead");
    assert!(target.got().is_empty());
}

/// Whoever said 200 has it, whatever becomes of the rest.
#[test]
fn a_cut_answer_is_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start([Reply::Cut]);
    let (_, entry, attempts) = tell_one(dir.path(), &server.url(), &[]);
    assert_eq!((entry.state.as_str(), attempts.len()), ("sent", 1));
}

#[test]
fn a_refused_connection_ends_as_a_dead_letter_after_the_last_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let closed = ClosedPort::new();
    let url = format!("http://127.0.0.1:{}/hook/t0ps3cret", closed.number());
    let (_, entry, attempts) = tell_one(dir.path(), &url, &[("retry_max", "3")]);
    assert_eq!((entry.state.as_str(), attempts.len()), ("dead", 3));
    assert_no_secret(&format!("{entry:?} {attempts:?}"));
}

#[test]
fn private_addresses_are_refused_unless_allowed() {
    let server = Server::start([]);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"] {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://{host}:{}/t0ps3cret", server.port);
        let (_, entry, attempts) = tell_one(dir.path(), &url, &[("allow_private", "false"), ("timeout", "5 s")]);
        assert_eq!((entry.state.as_str(), attempts.len()), ("dead", 1), "{attempts:?}");
        let error = entry.last_error.unwrap();
        assert!(error.contains("is not public") && error.contains("allow_private"), "{error}");
    }
    assert!(server.got().is_empty());
}

/// The reference library judges, where Python has it; the known-answer vector is in the unit tests.
#[test]
fn the_signature_is_one_that_the_standard_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start([]);
    tell_one(dir.path(), &server.url(), &[("headers", "X-Team: ops; X-Stage: live")]);
    let got = server.got().remove(0);
    assert_eq!(got.head, "POST /hook/t0ps3cret?key=s3cretkey HTTP/1.1");
    assert_eq!((got.headers["x-team"].as_str(), got.headers["x-stage"].as_str()), ("ops", "live"));
    let body: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((&body["schema"], &body["action"]), (&"highwater.notification/1".into(), &"tell".into()));
    assert_eq!(body["entities"][0], "0xab");
    let Got { headers, body, .. } = got;
    let program = "import sys, standardwebhooks\n\
                   headers = dict(zip(('webhook-id', 'webhook-timestamp', 'webhook-signature'), sys.argv[2:5]))\n\
                   standardwebhooks.Webhook(sys.argv[1]).verify(sys.argv[5], headers)";
    let header = |name: &str| headers[name].clone();
    let there = Command::new("python3").args(["-c", "import standardwebhooks"]).output();
    if there.is_ok_and(|output| output.status.success()) {
        let arguments = [header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), body];
        let output = Command::new("python3").args(["-c", program, SECRET]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert!(header("webhook-signature").starts_with("v1,"));
}

/// A channel that never answers, and a ledger that others use: neither is waited for.
#[test]
fn a_dead_channel_delays_neither_another_nor_the_dataflow() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, alive) = (Server::start_with(|_| Reply::Silence), Server::start([]));
    let mut silent = webhook(dir.path(), &dead.url(), &[("timeout", "60 s"), ("drain", "0 s")]);
    let named = highwater_engine::sink::SinkRequest { name: "other".to_owned(), ..request(dir.path()) };
    let mut other = WEBHOOK.open(named, options(dir.path(), &given(&alive.url(), &[]))).unwrap();
    let mut slowest = Duration::ZERO;
    for number in 1..=50_i64 {
        let came = [note(&format!("n{number}"), &format!("g{number}"), Kind::Fire, number, "a title")];
        let height = u64::try_from(number).unwrap();
        for sink in [&mut silent, &mut other] {
            let watch = Stopwatch::start();
            commit(&mut **sink, &tick(height, height, &[], &came)).unwrap();
            slowest = slowest.max(watch.elapsed());
        }
    }
    // The channel's time-out is a minute; a commit is one write to the disk.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(other.finish().unwrap().place.starts_with("50 messages sent"));
    let watch = Stopwatch::start();
    assert!(silent.finish().unwrap().place.ends_with(", 50 waiting"));
    assert!(watch.elapsed() < Duration::from_secs(5));
    assert_eq!(alive.got().len(), 50);
}

#[test]
fn wrong_options_do_not_repeat_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let wrong: [&[(&str, &str)]; 4] = [
        &[("url", "ftp://t0ps3cret")],
        &[("url", "https://example.org"), ("secret", "whsec_t0ps3cret!")],
        &[("url", "https://example.org"), ("headers", "t0ps3cret")],
        &[("url", "https://example.org"), ("headers", "Webhook-Id: t0ps3cret")],
    ];
    for given in wrong {
        let error = WEBHOOK.check(&request(dir.path()), options(dir.path(), given)).unwrap_err();
        assert_no_secret(&format!("{error} {error:?}"));
    }
}

#[test]
fn a_dry_run_prints_and_a_replay_only_counts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start([]);
    let url = server.url();
    for (delivery, expected) in
        [(Delivery::Print, "1 message printed, none sent"), (Delivery::Off, "none sent; 1 message would have been")]
    {
        let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let request = highwater_engine::sink::SinkRequest { delivery, ..request(dir.path()) };
        let mut sink = WEBHOOK.open_with(request, options(dir.path(), &given(&url, &[])), lines.clone()).unwrap();
        let told = note("n1", "g", Kind::Fire, 1, "a title");
        let kept_back = crate::world::suppressed(note("n2", "g", Kind::Update, 1, "a title"), "cooldown");
        commit(&mut *sink, &tick(1, 1, &[], &[told.clone(), kept_back])).unwrap();
        commit(&mut *sink, &tick(2, 1, &[told], &[])).unwrap();
        assert_eq!(sink.finish().unwrap().place, expected);
        let lines = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        let actions: Vec<_> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["action"].clone())
            .collect();
        assert_eq!(actions, if delivery == Delivery::Print { vec!["tell", "withdraw"] } else { vec![] });
    }
    assert!(server.got().is_empty());
    assert!(!dir.path().join("alerts.db").exists());
    assert_eq!(
        console::list(&dir.path().join("alerts.db"), &Filter::default(), 1)
            .unwrap_err()
            .to_string()
            .find("there is no ledger"),
        Some(0)
    );
}
