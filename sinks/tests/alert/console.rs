//! What `highwater alerts` does, beside a running job; and corrections told one by one.

use std::sync::Arc;

use highwater_engine::sink::Sink;
use highwater_sinks::alert::Kind;
use highwater_sinks::alert::connector::open_channel;
use highwater_sinks::alert::console::{self, Filter};

use crate::receiver::{Fault, Scripted};
use crate::world::{QUICK, START_MS, commit, note, options, request, suppressed, tick};

struct Job {
    dir: tempfile::TempDir,
    channel: Arc<Scripted>,
    sink: Box<dyn Sink>,
}

fn job(faults: impl IntoIterator<Item = Fault>, more: &[(&str, &str)]) -> Job {
    let dir = tempfile::tempdir().unwrap();
    let channel = Scripted::new(faults);
    let mut given: Vec<_> =
        QUICK.iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name)).copied().collect();
    given.extend(more);
    let clock = Arc::new(channel.clock.clone());
    let sink = open_channel(request(dir.path()), options(dir.path(), &given), channel.clone(), clock).unwrap();
    Job { dir, channel, sink }
}

impl Job {
    fn ledger(&self) -> std::path::PathBuf {
        self.dir.path().join("alerts.db")
    }

    /// Waits until this many were received.
    fn wait_for(&self, count: usize) {
        while self.channel.receiver.lock().unwrap().order.len() < count {
            std::thread::yield_now();
        }
    }

    fn wait_for_state(&self, id: &str, state: &str) {
        while console::show(&self.ledger(), id).unwrap().is_none_or(|(entry, _)| entry.state != state) {
            std::thread::yield_now();
        }
    }

    fn order(&self) -> Vec<String> {
        self.channel.receiver.lock().unwrap().order.clone()
    }

    /// Keys that came after so many; of different groups, so in any order.
    fn after(&self, count: usize) -> Vec<String> {
        let mut keys = self.order().split_off(count);
        keys.sort();
        keys
    }
}

#[test]
fn dead_letters_are_listed_shown_and_replayed_while_the_job_runs() {
    let mut job = job([Fault::Refused, Fault::Refused], &[]);
    let notes = ["a", "b", "c"].map(|name| note(name, name, Kind::Fire, 1, "title"));
    commit(&mut *job.sink, &tick(1, 1, &[], &notes[..2])).unwrap();
    job.wait_for_state("a", "dead");
    job.wait_for_state("b", "dead");
    commit(&mut *job.sink, &tick(2, 1, &[], &notes[2..])).unwrap();
    job.wait_for_state("c", "sent");
    let dead = Filter { state: Some("dead".to_owned()), ..Filter::default() };
    let entries = console::list(&job.ledger(), &dead, 10).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.key.as_deref().unwrap()).collect::<Vec<_>>(), ["b", "a"]);
    let (entry, attempts) = console::show(&job.ledger(), "a").unwrap().unwrap();
    assert_eq!((entry.last_error.as_deref(), attempts.len()), (Some("Refused"), 1));
    assert_eq!(console::show(&job.ledger(), "nobody").unwrap(), None);

    assert!(console::retry(&job.ledger(), "a", START_MS).unwrap());
    job.wait_for_state("a", "sent");
    assert!(!console::retry(&job.ledger(), "a", START_MS).unwrap(), "it was sent");
    // What a reorg has taken back is not told any more.
    commit(&mut *job.sink, &tick(3, 1, &notes[1..2], &[])).unwrap();
    assert_eq!(console::replay_dead(&job.ledger(), &Filter::default(), START_MS).unwrap(), 0);
    assert_eq!(job.order(), ["c", "a"]);
    assert!(job.sink.finish().unwrap().place.starts_with("2 messages sent to a script, 1 dead"));
}

#[test]
fn what_is_muted_is_recorded_and_not_told() {
    let mut job = job([], &[]);
    let number = console::mute(&job.ledger(), Some("failing"), Some("a"), None, START_MS).unwrap();
    let expired = console::mute(&job.ledger(), None, None, Some(START_MS - 1), START_MS).unwrap();
    assert!(number < expired);
    assert_eq!(console::mutes(&job.ledger(), START_MS).unwrap().len(), 1);
    let notes = [note("a1", "a", Kind::Fire, 1, "title"), note("b1", "b", Kind::Fire, 1, "title")];
    commit(&mut *job.sink, &tick(1, 1, &[], &notes)).unwrap();
    job.wait_for(1);
    let (entry, _) = console::show(&job.ledger(), "a1").unwrap().unwrap();
    assert_eq!((entry.state.as_str(), entry.suppressed_by.as_deref()), ("suppressed", Some("mute")));
    assert!(console::unmute(&job.ledger(), number).unwrap());
    assert!(!console::unmute(&job.ledger(), number).unwrap());
    commit(&mut *job.sink, &tick(2, 2, &[], &[note("a2", "a", Kind::Update, 2, "title")])).unwrap();
    job.wait_for(2);
    assert_eq!(job.order(), ["b1", "a2"]);
    job.sink.finish().unwrap();
}

#[test]
fn an_acknowledgement_is_noted_once_and_told() {
    let mut job = job([], &[]);
    commit(&mut *job.sink, &tick(1, 1, &[], &[note("a1", "a", Kind::Fire, 1, "title")])).unwrap();
    job.wait_for(1);
    assert!(console::ack(&job.ledger(), "a1", START_MS + 5).unwrap());
    assert!(!console::ack(&job.ledger(), "a1", START_MS + 6).unwrap());
    assert!(!console::ack(&job.ledger(), "nobody", START_MS).unwrap());
    job.wait_for(2);
    assert_eq!(job.order(), ["a1", "a1/ack"]);
    assert_eq!(console::show(&job.ledger(), "a1").unwrap().unwrap().0.acked_ms, Some(START_MS + 5));
    job.sink.finish().unwrap();
    assert_eq!(console::forget(&job.ledger(), i64::MAX).unwrap(), 2);
    assert!(console::list(&job.ledger(), &Filter::default(), 10).unwrap().is_empty());
}

#[test]
fn a_reorg_amends_withdraws_or_says_nothing() {
    let mut job = job([], &[]);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| note(name, name, Kind::Fire, 1, "title"));
    let quiet = suppressed(note("q", "q", Kind::Update, 1, "title"), "cooldown");
    let told = [a.clone(), b.clone(), c.clone(), d.clone()];
    commit(&mut *job.sink, &tick(1, 1, &[], &told)).unwrap();
    commit(&mut *job.sink, &tick(2, 1, &[], std::slice::from_ref(&quiet))).unwrap();
    job.wait_for(4);
    told.iter().for_each(|message| job.wait_for_state(&message.notification_id, "sent"));
    // Of a another notification says something else; of b one reads the same; c is gone; d is told again as it was.
    let other = note("a-other", "a", Kind::Fire, 2, "another title");
    let same = note("b-other", "b", Kind::Fire, 2, "title");
    let mut counted_on = d.clone();
    counted_on.occurrences += 1;
    commit(&mut *job.sink, &tick(3, 2, &[a, b, c.clone(), d, quiet], &[other.clone(), same, counted_on])).unwrap();
    job.wait_for(6);
    assert_eq!(job.after(4), ["a/amend-1", "c/withdraw"]);
    job.wait_for_state("c/withdraw", "sent");
    // What comes again after its withdrawal has another key.
    commit(&mut *job.sink, &tick(4, 3, &[other], &[c])).unwrap();
    job.wait_for(8);
    assert_eq!(job.after(6), ["a/withdraw", "c~2"]);
    job.sink.finish().unwrap();
    let standing: Vec<String> = job.channel.receiver.lock().unwrap().standing.keys().cloned().collect();
    assert_eq!(standing, ["b", "c~2", "d"]);
    assert_eq!(console::show(&job.ledger(), "q").unwrap().unwrap().0.state, "cancelled");
}

#[test]
fn without_corrections_nothing_is_said_twice() {
    let mut job = job([], &[("corrections", "off")]);
    let a = note("a", "a", Kind::Fire, 1, "title");
    commit(&mut *job.sink, &tick(1, 1, &[], std::slice::from_ref(&a))).unwrap();
    job.wait_for_state("a", "sent");
    commit(&mut *job.sink, &tick(2, 1, std::slice::from_ref(&a), &[])).unwrap();
    commit(&mut *job.sink, &tick(3, 2, &[], &[a])).unwrap();
    job.sink.finish().unwrap();
    assert_eq!(job.order(), ["a"]);
}

/// What nobody got is never told, and its key is still free.
#[test]
fn what_is_taken_back_before_it_was_sent_is_cancelled() {
    let mut job = job(vec![Fault::Unreached; 3], &[("breaker_failures", "1"), ("breaker_pause", "10000 d")]);
    let a = note("a", "a", Kind::Fire, 1, "title");
    commit(&mut *job.sink, &tick(1, 1, &[], std::slice::from_ref(&a))).unwrap();
    while job.channel.attempts.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    job.wait_for_state("a", "waiting");
    commit(&mut *job.sink, &tick(2, 1, std::slice::from_ref(&a), &[])).unwrap();
    assert_eq!(console::show(&job.ledger(), "a").unwrap().unwrap().0.state, "cancelled");
    commit(&mut *job.sink, &tick(3, 1, &[], &[a])).unwrap();
    let (entry, _) = console::show(&job.ledger(), "a").unwrap().unwrap();
    assert_eq!((entry.state.as_str(), entry.key.as_deref()), ("waiting", Some("a")));
}
