//! Runs that tell nobody: what would be told as JSON lines, or counted only. No ledger, no network.
//!
//! A line is the body of a webhook ([`super::payload()`]). What a retraction does: `"action":"withdraw"`, or
//! `"amend"` if a notification of the same group and kind comes in its place and reads otherwise.

use std::io::ErrorKind;
use std::sync::PoisonError;

use highwater_engine::sink::{Sink, SinkError, SinkReport, SinkState, SinkTick};
use serde_json::{Value, json};

use super::Message;
use super::outbox::read_tick;
use super::payload::of_message;
use crate::common::counted;
use crate::stdout::SharedWriter;

pub(super) struct Dry {
    /// Where lines go, if they are wanted.
    writer: Option<SharedWriter>,
    /// What would have been told.
    told: u64,
    counts: (u64, u64),
}

impl Dry {
    pub(super) fn new(writer: Option<SharedWriter>) -> Dry {
        Dry { writer, told: 0, counts: (0, 0) }
    }

    fn print(&self, lines: &str) -> Result<(), SinkError> {
        let Some(writer) = self.writer.as_ref().filter(|_| !lines.is_empty()) else { return Ok(()) };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(lines.as_bytes()).and_then(|()| writer.flush()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => SinkError::Closed,
            _ => SinkError::Write { action: "writing", place: "standard output".to_owned(), source: error.into() },
        })
    }
}

fn add(lines: &mut String, line: &Value) {
    lines.push_str(&line.to_string());
    lines.push('\n');
}

/// The lines of one tick.
fn lines(gone: Vec<Message>, mut came: Vec<Message>) -> (String, u64) {
    let (mut lines, mut told) = (String::new(), 0);
    for old in gone {
        let same = |new: &Message| (&new.alert, &new.group_key, new.kind) == (&old.alert, &old.group_key, old.kind);
        match came.iter().position(same) {
            Some(index) => {
                let new = came.remove(index);
                if !new.reads_like(&old) {
                    let id = format!("{}/amend-1", old.notification_id);
                    add(&mut lines, &of_message(&new, &id, "amend", Some(&old.notification_id)));
                }
            }
            None => {
                let id = format!("{}/withdraw", old.notification_id);
                add(&mut lines, &of_message(&old, &id, "withdraw", Some(&old.notification_id)));
            }
        }
    }
    for new in came {
        told += 1;
        add(&mut lines, &of_message(&new, &new.notification_id, "tell", None));
    }
    (lines, told)
}

impl Sink for Dry {
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        let (mut gone, mut came) = read_tick(&tick);
        self.counts.0 += u64::try_from(came.len()).unwrap_or(u64::MAX);
        self.counts.1 += u64::try_from(gone.len()).unwrap_or(u64::MAX);
        gone.retain(|message| message.suppressed_by.is_none());
        came.retain(|message| message.suppressed_by.is_none());
        let (lines, told) = lines(gone, came);
        self.told += told;
        self.print(&lines)
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        let facts = json!({ "told": self.told, "inserted": self.counts.0, "retracted": self.counts.1 });
        Ok(SinkState { facts, rows: Vec::new() })
    }

    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError> {
        let fact = |name: &str| state.facts.get(name).and_then(Value::as_u64).unwrap_or(0);
        (self.told, self.counts) = (fact("told"), (fact("inserted"), fact("retracted")));
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        let (inserted, retracted) = self.counts;
        let place = match self.writer {
            Some(_) => format!("{} printed, none sent", counted(self.told, "message")),
            None => format!("none sent; {} would have been", counted(self.told, "message")),
        };
        Ok(SinkReport { inserted, retracted, place })
    }
}
