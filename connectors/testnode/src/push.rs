//! Subscriptions, and what they are told when the head changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::chain::{Block, quantity};
use crate::fault::{Effect, Kind, Occasion, Transport};
use crate::filter::Filter;
use crate::manner::{Heads, RemovedLogs};
use crate::state::{Change, State};

/// What a socket's task is told.
pub(crate) enum Outgoing {
    Text(String),
    /// Reset the connection.
    Drop,
}

#[derive(Clone)]
pub(crate) enum Topic {
    Heads,
    Logs(Filter),
}

struct Subscription {
    socket: u64,
    topic: Topic,
    /// Announcements that wait until another one has been sent.
    late: Vec<String>,
}

/// Who listens. The queue of a socket is unbounded: a script decides how much is announced, and it ends.
#[derive(Default)]
pub(crate) struct Hub {
    sockets: BTreeMap<u64, UnboundedSender<Outgoing>>,
    subscriptions: BTreeMap<u64, Subscription>,
    made: u64,
}

impl Hub {
    pub(crate) fn open(&mut self, sender: UnboundedSender<Outgoing>) -> u64 {
        self.made += 1;
        self.sockets.insert(self.made, sender);
        self.made
    }

    pub(crate) fn close(&mut self, socket: u64) {
        self.sockets.remove(&socket);
        self.subscriptions.retain(|_, subscription| subscription.socket != socket);
    }

    /// Resets a socket; it is told nothing any more.
    pub(crate) fn drop_socket(&mut self, socket: u64) {
        self.send(socket, Outgoing::Drop);
        self.close(socket);
    }

    pub(crate) fn drop_all(&mut self) {
        for socket in self.sockets.keys().copied().collect::<Vec<_>>() {
            self.drop_socket(socket);
        }
    }

    /// Fails silently if the socket's task is gone: it will be closed in a moment.
    pub(crate) fn send(&self, socket: u64, outgoing: Outgoing) {
        if let Some(sender) = self.sockets.get(&socket) {
            drop(sender.send(outgoing));
        }
    }

    pub(crate) fn subscribe(&mut self, socket: u64, topic: Topic) -> String {
        self.made += 1;
        self.subscriptions.insert(self.made, Subscription { socket, topic, late: Vec::new() });
        name(self.made)
    }

    pub(crate) fn unsubscribe(&mut self, socket: u64, id: &str) -> bool {
        let found = self.subscriptions.iter().find(|(key, one)| one.socket == socket && name(**key) == id);
        let Some(key) = found.map(|(key, _)| *key) else { return false };
        self.subscriptions.remove(&key).is_some()
    }

    pub(crate) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// The subscriptions of a topic that want this announcement, in the order in which they were made.
    fn listeners(&self, log: Option<&Value>) -> Vec<u64> {
        let wants = |topic: &Topic| match (topic, log) {
            (Topic::Heads, None) => true,
            (Topic::Logs(filter), Some(log)) => filter.matches(log),
            _ => false,
        };
        self.subscriptions.iter().filter(|(_, one)| wants(&one.topic)).map(|(key, _)| *key).collect()
    }
}

fn name(key: u64) -> String {
    format!("{key:#034x}")
}

impl State {
    /// Tells every subscription how the canonical chain changed: what is removed first, then what is new.
    pub(crate) fn announce(&mut self, change: &Change) {
        for log in self.removed_logs(&change.old) {
            self.announce_one(Some(&log), &log);
        }
        let tip = change.new.len().saturating_sub(1);
        for (index, block) in change.new.iter().enumerate() {
            let told = match self.manner.heads {
                Heads::Every => true,
                Heads::Tip => index == tip,
                Heads::None => false,
            };
            if told {
                self.announce_one(None, &block.header());
            }
            if self.manner.new_logs {
                for log in block.logs(false) {
                    self.announce_one(Some(&log), &log);
                }
            }
        }
    }

    fn removed_logs(&self, old: &[Arc<Block>]) -> Vec<Value> {
        let mut logs: Vec<Value> = old.iter().flat_map(|block| block.logs(true)).collect();
        match self.manner.removed_logs {
            RemovedLogs::NewestFirst => logs.reverse(),
            RemovedLogs::OldestFirst => {}
            RemovedLogs::Never => logs.clear(),
        }
        logs
    }

    /// Sends a head, or a log if there is one, to whoever wants it.
    fn announce_one(&mut self, log: Option<&Value>, result: &Value) {
        let (kind, number) = match log {
            Some(log) => (Kind::Log, &log["blockNumber"]),
            None => (Kind::Head, &result["number"]),
        };
        let occasion = Occasion { kind, transport: Transport::WebSocket, block: quantity(number) };
        for key in self.hub.listeners(log) {
            let effects = self.strike(&occasion);
            match log {
                None => self.stats.heads_sent += 1,
                Some(log) => {
                    self.stats.logs_sent += 1;
                    self.stats.removed_logs_sent += u64::from(log["removed"] == true);
                }
            }
            self.hub.tell(key, result, &effects);
        }
    }
}

impl Hub {
    fn tell(&mut self, key: u64, result: &Value, effects: &[Effect]) {
        let Some(subscription) = self.subscriptions.get_mut(&key) else { return };
        let socket = subscription.socket;
        let mut result = result.clone();
        let mut copies = 1;
        let mut late = false;
        for effect in effects {
            match effect {
                Effect::Lose => copies = 0,
                Effect::Repeat => copies *= 2,
                Effect::Late => late = true,
                Effect::Alter(alter) => alter(&mut result),
                Effect::DropSocket => return self.drop_socket(socket),
                _ => {}
            }
        }
        let params = json!({"subscription": name(key), "result": result});
        let text = json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}).to_string();
        let messages = vec![text; copies];
        if late {
            subscription.late.extend(messages);
            return;
        }
        let waited = if copies > 0 { std::mem::take(&mut subscription.late) } else { Vec::new() };
        for text in messages.into_iter().chain(waited) {
            self.send(socket, Outgoing::Text(text));
        }
    }
}
