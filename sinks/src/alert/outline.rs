//! The standard form of a notification: what every channel says if the job has no template.

use super::channel::{Action, Outgoing, Told};
use super::payload::time;
use super::text::one_line;
use super::{Kind, Message};

/// What a message says, before it is in the markup of a service.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    /// What kind of news it is, in capitals: `CRITICAL`, `RESOLVED`, `WITHDRAWN`.
    pub(super) mark: String,
    /// One line.
    pub(super) title: String,
    /// What a reader must know about this message first, if anything: that it corrects, what it replaces.
    pub(super) note: Option<String>,
    /// The details; may be empty.
    pub(super) body: String,
    /// Names and values.
    pub(super) facts: Vec<(&'static str, String)>,
    /// The id that follow-ups name.
    pub(super) id: String,
    /// Whether it strikes something.
    pub(super) struck: bool,
}

/// How a message stands to the one it corrects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is put in place of the original.
    Instead,
    /// It stands beside or below the original, which still says what it said.
    Beside,
}

impl Outline {
    /// What is to be said.
    pub(super) fn of(outgoing: &Outgoing, place: Place) -> Outline {
        let message = &outgoing.message;
        let title = if message.title.trim().is_empty() { &message.alert } else { &message.title };
        Outline {
            mark: mark(outgoing),
            title: one_line(title),
            note: note(&outgoing.action, place),
            body: message.body.trim().to_owned(),
            facts: facts(message),
            id: id_of(outgoing, place).to_owned(),
            struck: matches!(outgoing.action, Action::Withdraw(_)),
        }
    }

    /// The first line or the subject.
    pub(super) fn headline(&self) -> String {
        format!("[{}] {}", self.mark, self.title)
    }

    /// The whole without markup, below the headline.
    pub(super) fn details(&self) -> String {
        let mut lines: Vec<String> = self.note.iter().cloned().collect();
        if !self.body.is_empty() {
            lines.push(self.body.clone());
        }
        lines.extend(self.facts.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.push(format!("Id: {}", self.id));
        lines.join("\n")
    }
}

/// What is corrected.
pub(super) fn told(action: &Action) -> Option<&Told> {
    match action {
        Action::Amend(told) | Action::Withdraw(told) => Some(told),
        Action::Tell | Action::Acknowledge => None,
    }
}

/// An edited message keeps the id under which it was told: it is the one that people have seen.
fn id_of(outgoing: &Outgoing, place: Place) -> &str {
    match (place, told(&outgoing.action)) {
        (Place::Instead, Some(told)) => &told.idempotency_key,
        _ => &outgoing.idempotency_key,
    }
}

fn mark(outgoing: &Outgoing) -> String {
    let severity = outgoing.message.severity().as_str().to_uppercase();
    match (&outgoing.action, outgoing.message.kind) {
        (Action::Withdraw(_), _) => "WITHDRAWN".to_owned(),
        (Action::Acknowledge, _) => "ACKNOWLEDGED".to_owned(),
        (Action::Amend(_), Kind::Resolve) => "CORRECTED, RESOLVED".to_owned(),
        (Action::Amend(_), _) => format!("CORRECTED, {severity}"),
        (Action::Tell, Kind::Fire) => severity,
        (Action::Tell, Kind::Escalate) => format!("NOW {severity}"),
        (Action::Tell, Kind::Update) => format!("UPDATE, {severity}"),
        (Action::Tell, Kind::Resolve) => "RESOLVED".to_owned(),
    }
}

fn note(action: &Action, place: Place) -> Option<String> {
    match (action, place) {
        (Action::Tell, _) => None,
        (Action::Acknowledge, _) => Some("Somebody has taken this on.".to_owned()),
        (Action::Amend(_), Place::Instead) => {
            Some("Corrected: the chain was reorganised, and this is what it says now.".to_owned())
        }
        (Action::Amend(told), Place::Beside) => {
            Some(format!("Corrects {}: the chain was reorganised, and this is what it says now.", told.idempotency_key))
        }
        (Action::Withdraw(_), Place::Instead) => {
            Some("Withdrawn: the chain was reorganised, and this is not on it any more.".to_owned())
        }
        (Action::Withdraw(told), Place::Beside) => Some(format!(
            "Withdraws {}: the chain was reorganised, and what it told is not on it any more.",
            told.idempotency_key
        )),
    }
}

fn facts(message: &Message) -> Vec<(&'static str, String)> {
    let Message { reason, why, group_key, score, .. } = message;
    let mut facts =
        vec![("Severity", format!("{} ({score:.1} of 5)", message.severity)), ("About", one_line(group_key))];
    let mut add = |name, value: &str| {
        if !value.trim().is_empty() && value.trim() != message.body.trim() {
            facts.push((name, one_line(value)));
        }
    };
    add("Found", reason);
    add("Why", why);
    let seen = match message.occurrences {
        0 | 1 => time(message.last_seen_at_ms),
        times => format!("{times} times, {} to {}", time(message.opened_at_ms), time(message.last_seen_at_ms)),
    };
    add("Seen", &seen);
    add("Block", &message.block_number.to_string());
    add("Status", &message.status);
    if message.suppressed > 0 {
        add("Left out before", &message.suppressed.to_string());
    }
    facts
}
