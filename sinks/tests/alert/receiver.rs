//! Who gets the messages: a model of a reader, a channel of scripted faults in front of it, and a quick clock.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater_sinks::alert::channel::{Channel, Delivering, Failure, Outgoing, Receipt, Retry};
use highwater_sinks::alert::clock::Clock;
use highwater_sinks::alert::payload;
use serde_json::{Value, json};

/// What a reader knows who tells repetitions by their key.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// What stands, by the key it was told under.
    pub(crate) standing: BTreeMap<String, Value>,
    /// Keys in the order in which they came first.
    pub(crate) order: Vec<String>,
    seen: BTreeMap<String, Value>,
}

impl Receiver {
    /// Takes a message. Gives whether it is new; a repetition must say the same.
    pub(crate) fn receive(&mut self, body: &Value) -> bool {
        let key = body["id"].as_str().unwrap().to_owned();
        if let Some(earlier) = self.seen.get(&key) {
            assert_eq!(earlier, body, "a repetition says the same");
            return false;
        }
        let replaced = body["replaces"].as_str();
        match (body["action"].as_str().unwrap(), replaced) {
            ("tell", None) => {
                self.standing.insert(key.clone(), body.clone());
            }
            ("amend", Some(told)) => {
                let known = self.standing.insert(told.to_owned(), body.clone());
                assert!(known.is_some(), "{key} amends what does not stand");
            }
            ("withdraw", Some(told)) => {
                assert!(self.standing.remove(told).is_some(), "{key} withdraws what does not stand");
            }
            ("acknowledge", None) => {}
            other => panic!("{other:?}"),
        }
        self.order.push(key.clone());
        self.seen.insert(key, body.clone());
        true
    }

    /// What its reader sees, in order.
    pub(crate) fn reads(&self) -> Vec<String> {
        let mut reads: Vec<String> = self.standing.values().map(read).collect();
        reads.sort();
        reads
    }
}

/// What a reader sees of a message.
pub(crate) fn read(body: &Value) -> String {
    format!("{} {} {}", body["group_key"], body["kind"], body["title"])
}

/// What happens to an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing: it is taken.
    None,
    /// It does not arrive.
    Unreached,
    /// It arrives, and the answer is lost.
    Unanswered,
    /// It is asked to come again later.
    Busy(Duration),
    /// It is refused for good.
    Refused,
}

/// A channel to a [`Receiver`] whose attempts fare as scripted, and well when the script is at its end.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) receiver: Mutex<Receiver>,
    pub(crate) script: Mutex<VecDeque<Fault>>,
    /// What was attempted, and when.
    pub(crate) attempts: Mutex<Vec<(String, i64)>>,
    pub(crate) clock: QuickClock,
}

impl Scripted {
    pub(crate) fn new(script: impl IntoIterator<Item = Fault>) -> Arc<Scripted> {
        let script = Mutex::new(script.into_iter().collect());
        Arc::new(Scripted { script, ..Scripted::default() })
    }

    fn attempt(&self, outgoing: &Outgoing) -> Result<Receipt, Failure> {
        let fault = self.script.lock().unwrap().pop_front().unwrap_or(Fault::None);
        let key = outgoing.idempotency_key.clone();
        self.attempts.lock().unwrap().push((key.clone(), self.clock.now_ms()));
        if matches!(fault, Fault::None | Fault::Unanswered) {
            self.receiver.lock().unwrap().receive(&payload(outgoing));
        }
        let failure = |retry| Err(Failure { detail: format!("{fault:?}"), retry });
        match fault {
            Fault::None => Ok(Receipt(json!({ "message": key }))),
            Fault::Unreached => failure(Retry::NotTaken),
            Fault::Unanswered => failure(Retry::Backoff),
            Fault::Busy(pause) => failure(Retry::After(pause)),
            Fault::Refused => failure(Retry::Never),
        }
    }
}

impl Channel for Scripted {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(async move {
            // Whoever stops the sender may do so in the midst of an attempt.
            tokio::task::yield_now().await;
            self.attempt(outgoing)
        })
    }

    fn place(&self) -> String {
        "a script".to_owned()
    }
}

/// A clock that jumps to whatever is waited for.
#[derive(Clone, Debug)]
pub(crate) struct QuickClock(Arc<AtomicI64>);

impl Default for QuickClock {
    fn default() -> QuickClock {
        QuickClock(Arc::new(AtomicI64::new(crate::world::START_MS)))
    }
}

impl Clock for QuickClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep_until(&self, time_ms: i64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let now = self.0.clone();
        Box::pin(async move {
            // Gives attempts that are under way the processor; how long it takes does not matter to any test.
            tokio::time::sleep(Duration::from_micros(100)).await;
            now.fetch_max(time_ms, Ordering::SeqCst);
        })
    }
}
