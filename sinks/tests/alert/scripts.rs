//! The script channel: what a program gets, what its end means, what it may use.

use std::fs;
use std::path::Path;
use std::time::Duration;

use highwater_engine::clock::Stopwatch;
use highwater_engine::sink::SinkConnector as _;
use highwater_sinks::alert::Kind;
use highwater_sinks::alert::console::{self, Attempt, Entry};
use highwater_sinks::alert::script::SCRIPT;

use crate::world::{QUICK, commit, note, options, request, tick};

/// Tells one notification to a shell program.
fn tell(dir: &Path, program: &str, more: &[(&str, &str)]) -> (Entry, Vec<Attempt>) {
    let command = serde_json::json!(["/bin/sh", "-c", program, "sh", "s3cretkey"]).to_string();
    let mut given: Vec<(&str, &str)> = QUICK.to_vec();
    given.extend([("command", command.as_str()), ("enabled", "true")]);
    given.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    given.extend(more);
    let mut sink = SCRIPT.open(request(dir), options(dir, &given)).unwrap();
    // A title is no argument and no program text.
    let title = "'; touch hacked; $(touch hacked) `touch hacked`";
    commit(&mut *sink, &tick(1, 1, &[], &[note("n1", "g", Kind::Fire, 1, title)])).unwrap();
    sink.finish().unwrap();
    console::show(&dir.join("alerts.db"), "n1").unwrap().unwrap()
}

#[test]
fn a_program_gets_the_notification_and_gives_a_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let program = "cat > got.json; env > env; echo \"ticket 7 $HIGHWATER_KEY\"; echo more";
    let (entry, _) = tell(dir.path(), program, &[]);
    assert_eq!((entry.state.as_str(), entry.receipt.as_deref()), ("sent", Some("{\"output\":\"ticket 7 n1\"}")));
    let got: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.path().join("got.json")).unwrap()).unwrap();
    assert_eq!((&got["id"], &got["action"]), (&"n1".into(), &"tell".into()));
    assert!(!dir.path().join("hacked").exists());
    let env = fs::read_to_string(dir.path().join("env")).unwrap();
    assert!(env.contains("HIGHWATER_ACTION=tell") && !env.contains("HOME=") && !env.contains("CARGO"), "{env}");
}

#[test]
fn the_exit_code_says_whether_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let once = "test -e tried && exit 0; touch tried; echo not now s3cretkey >&2; exit 75";
    let (entry, attempts) = tell(dir.path(), once, &[]);
    assert_eq!((entry.state.as_str(), attempts.len()), ("sent", 2));
    let error = attempts[0].error.as_ref().unwrap();
    assert!(error.contains("75") && error.contains("not now") && !error.contains("s3cretkey"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let (entry, attempts) = tell(dir.path(), "exit 3", &[]);
    assert_eq!((entry.state.as_str(), attempts.len()), ("dead", 1));
}

#[test]
fn time_memory_and_output_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let watch = Stopwatch::start();
    let slow = "sleep 600 & sleep 600";
    let (entry, attempts) = tell(dir.path(), slow, &[("timeout", "100 ms"), ("retry_max", "2")]);
    assert_eq!((entry.state.as_str(), attempts.len()), ("dead", 2));
    assert!(watch.elapsed() < Duration::from_secs(60));

    let dir = tempfile::tempdir().unwrap();
    let greedy = "x=0123456789abcdef; while :; do x=$x$x; done";
    let (entry, _) = tell(dir.path(), greedy, &[("memory_mb", "32"), ("retry_max", "1"), ("timeout", "60 s")]);
    assert_eq!(entry.state, "dead");
    assert!(!entry.last_error.unwrap().contains("did not end"), "it ran out of memory, not of time");

    // More than is kept is read all the same, and what it leaves behind does not keep the channel waiting.
    let dir = tempfile::tempdir().unwrap();
    let loud = "head -c 1000000 /dev/zero | tr '\\0' x; sleep 600 &";
    let (entry, _) = tell(dir.path(), loud, &[("timeout", "60 s")]);
    assert_eq!(entry.state, "sent");
    assert!(entry.receipt.unwrap().len() < 1000);
}

#[test]
fn it_is_off_unless_enabled() {
    let dir = tempfile::tempdir().unwrap();
    for given in [&[("command", "true")][..], &[("command", "true"), ("enabled", "false")]] {
        let error = SCRIPT.check(&request(dir.path()), options(dir.path(), given)).unwrap_err();
        assert!(error.to_string().contains("enabled = 'true'"), "{error}");
    }
    for wrong in ["", "'open", "[\"a\", 1]", "[]"] {
        let given = [("command", wrong), ("enabled", "true")];
        SCRIPT.check(&request(dir.path()), options(dir.path(), &given)).unwrap_err();
    }
}
