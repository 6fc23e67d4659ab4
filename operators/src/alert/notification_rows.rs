//! Notifications as rows, and changes of stories read back from rows.

use std::sync::Arc;

use alloy_primitives::{hex, keccak256};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::alert::{NotificationKind, Severity, notification_schema};

use super::Real;
use super::live::severity_word;
use super::notification::{NotificationRow, Suppressed};
use super::story_rows::{CHANGE, Columns, StoryRow, change_of, changes_schema};

/// Where the group is in [`changes_schema`].
pub(super) fn group_column() -> usize {
    changes_schema().index_of("group_key").expect("a story has a group")
}

/// A row of [`changes_schema`].
pub(super) fn read_change(batch: &RecordBatch, row: usize) -> StoryRow {
    let column = |name: &str| batch.column_by_name(name).expect("the planner gives the columns of a change");
    let text = |name: &str| column(name).as_string::<i32>().value(row).to_owned();
    let count = |name: &str| {
        let column = column(name).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let time = |name: &str| {
        let column = column(name).as_primitive::<TimestampMillisecondType>();
        column.is_valid(row).then(|| column.value(row))
    };
    let number = |name: &str| {
        let column = column(name).as_primitive::<Float64Type>();
        column.is_valid(row).then(|| Real::new(column.value(row)))
    };
    let change = column(CHANGE).as_string::<i32>();
    let severity = Severity::parse(&text("severity")).unwrap_or_default();
    StoryRow {
        group_key: text("group_key"),
        opened_at_ms: time("opened_at").unwrap_or_default(),
        story_id: text("story_id"),
        revision: count("revision").unwrap_or_default(),
        change: if change.is_valid(row) { NotificationKind::parse(change.value(row)).map(change_of) } else { None },
        status: text("status"),
        severity: Severity::ALL.iter().zip(0_u8..).find(|(known, _)| **known == severity).map_or(0, |(_, at)| at),
        score: number("score").unwrap_or_default(),
        confidence: number("confidence"),
        title: text("title"),
        body: text("body"),
        reason: text("reason"),
        why: text("why"),
        reasons: text("reasons"),
        entities: text("entities"),
        entity_count: count("entity_count").unwrap_or_default(),
        occurrences: count("occurrences").unwrap_or_default(),
        findings: count("findings").unwrap_or_default(),
        reopened: count("reopened").unwrap_or_default(),
        opened_block: count("opened_block"),
        last_seen_at_ms: time("last_seen_at").unwrap_or_default(),
        last_block: count("last_block"),
        changed_at_ms: time("changed_at").unwrap_or_default(),
        resolved_at_ms: time("resolved_at"),
        fields: text("fields"),
    }
}

/// The identity of a notification: the same on every run and branch for the same sink, story, revision and kind.
fn notification_id(sink: &str, row: &NotificationRow) -> String {
    let kind = NotificationKind::ALL[usize::from(row.kind)].as_str();
    let identity = format!("{sink}\0{}\0{}\0{kind}", row.story.story_id, row.story.revision);
    hex::encode(&keccak256(identity.as_bytes())[..16])
}

/// Notifications as a batch of [`notification_schema`].
pub(super) fn batch(sink: &str, alert: &str, rows: &[Arc<NotificationRow>]) -> RecordBatch {
    let ids: Vec<String> = rows.iter().map(|row| notification_id(sink, row)).collect();
    let mut columns = Columns::of(rows).text(|_| sink);
    columns = columns.texts(ids.iter().map(String::as_str));
    columns
        .text(|_| alert)
        .text(|row| &row.story.story_id)
        .text(|row| &row.story.group_key)
        .text(|row| NotificationKind::ALL[usize::from(row.kind)].as_str())
        .text(|row| if row.suppressed_by.is_some() { "suppress" } else { "send" })
        .text_or_null(|row| row.suppressed_by.map(Suppressed::as_str))
        .count(|row| Some(row.suppressed))
        .count(|row| Some(row.story.revision))
        .text(|row| &row.story.status)
        .text(|row| severity_word(row.story.severity))
        .number(|row| Some(row.story.score))
        .number(|row| row.story.confidence)
        .text(|row| &row.story.title)
        .text(|row| &row.story.body)
        .text(|row| &row.story.reason)
        .text(|row| &row.story.why)
        .text(|row| &row.story.reasons)
        .text(|row| &row.story.entities)
        .count(|row| Some(row.story.entity_count))
        .count(|row| Some(row.story.occurrences))
        .time(|row| Some(row.story.opened_at_ms))
        .time(|row| Some(row.story.last_seen_at_ms))
        .time(|row| Some(row.notified_at_ms))
        .count(|row| row.block)
        .text(|row| &row.story.fields)
        .finish(notification_schema())
}
