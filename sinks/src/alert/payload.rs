//! A notification as JSON: the body of a webhook, the input of a script, a line of a dry run.
//!
//! ```text
//! {"schema":"highwater.notification/1","id":"<idempotency key>","action":"tell","replaces":null,
//!  "sink":…,"alert":…,"story_id":…,"notification_id":…,"group_key":…,"kind":"fire","revision":1,
//!  "status":"active","severity":"high","score":4.0,"confidence":null,"title":…,"body":…,"reason":…,"why":…,
//!  "reasons":[…],"entities":[…],"entity_count":2,"occurrences":3,"suppressed":0,"opened_at":"2026-…Z",
//!  "last_seen_at":…,"notified_at":…,"block_number":…,"fields":{…}}
//! ```
//! `action` is `tell`, `amend` (`replaces` is the id of what is no longer so, the rest is what is), `withdraw`
//! (`replaces` is the id of what is not so at all, the rest repeats it) or `acknowledge`. Members may be added
//! under the same schema; a change of meaning changes its number.

use arrow::temporal_conversions::timestamp_ms_to_datetime;
use serde_json::{Value, json};

use super::Message;
use super::channel::{Action, Outgoing};

/// The form of [`payload`].
pub const SCHEMA: &str = "highwater.notification/1";

/// What is to be told as JSON.
pub fn payload(outgoing: &Outgoing) -> Value {
    let (action, replaces) = match &outgoing.action {
        Action::Tell => ("tell", None),
        Action::Amend(told) => ("amend", Some(told.idempotency_key.as_str())),
        Action::Withdraw(told) => ("withdraw", Some(told.idempotency_key.as_str())),
        Action::Acknowledge => ("acknowledge", None),
    };
    of_message(&outgoing.message, &outgoing.idempotency_key, action, replaces)
}

/// A notification as JSON, told as it is.
pub(super) fn of_message(message: &Message, id: &str, action: &str, replaces: Option<&str>) -> Value {
    json!({
        "schema": SCHEMA,
        "id": id,
        "action": action,
        "replaces": replaces,
        "sink": message.sink,
        "alert": message.alert,
        "story_id": message.story_id,
        "notification_id": message.notification_id,
        "group_key": message.group_key,
        "kind": message.kind,
        "revision": message.revision,
        "status": message.status,
        "severity": message.severity,
        "score": message.score,
        "confidence": message.confidence,
        "title": message.title,
        "body": message.body,
        "reason": message.reason,
        "why": message.why,
        "reasons": parsed(&message.reasons),
        "entities": parsed(&message.entities),
        "entity_count": message.entity_count,
        "occurrences": message.occurrences,
        "suppressed": message.suppressed,
        "opened_at": time(message.opened_at_ms),
        "last_seen_at": time(message.last_seen_at_ms),
        "notified_at": time(message.notified_at_ms),
        "block_number": message.block_number,
        "fields": parsed(&message.fields),
    })
}

/// JSON inside of text; text that is none stays text.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Milliseconds since the epoch as `2023-11-14T22:13:20Z`, with a fraction only if there is one.
pub fn time(ms: i64) -> String {
    match timestamp_ms_to_datetime(ms) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string(),
        None => ms.to_string(),
    }
}
