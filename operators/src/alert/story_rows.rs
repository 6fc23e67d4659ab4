//! Stories and their changes as rows.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::alert::{NotificationKind, story_schema};
use serde::{Deserialize, Serialize};

use super::Real;

/// The column that tells changes from stories.
pub const CHANGE: &str = "change";

/// Columns of what the story operator emits: those of a story, and `change`. Rows without a change are stories as
/// they are now; rows with one (`fire`, `escalate`, `update`, `resolve`) are what happened to them, and stay.
pub fn changes_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields: Vec<_> = story_schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(CHANGE, DataType::Utf8, true)));
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}

/// A story at one of its revisions, or what happened to it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct StoryRow {
    /// What findings are gathered by.
    pub group_key: String,
    /// When it began, block time in milliseconds.
    pub opened_at_ms: i64,
    /// Its identity.
    pub story_id: String,
    /// How often it has visibly changed; 1 is its beginning.
    pub revision: i64,
    /// What happened; none: it is so now. A position in [`NotificationKind::ALL`].
    pub change: Option<u8>,
    /// `active`, `cooling`, `resolved`.
    pub status: String,
    /// The highest so far: a position in [`highwater_engine::model::alert::Severity::ALL`].
    pub severity: u8,
    /// The highest so far.
    pub score: Real,
    /// Of the newest finding.
    pub confidence: Option<Real>,
    /// One line.
    pub title: String,
    /// Details.
    pub body: String,
    /// The newest reason.
    pub reason: String,
    /// What made the severity.
    pub why: String,
    /// JSON array of the newest reasons.
    pub reasons: String,
    /// JSON array of the first entities.
    pub entities: String,
    /// How many there are.
    pub entity_count: i64,
    /// Signals.
    pub occurrences: i64,
    /// Different findings.
    pub findings: i64,
    /// How often it came back after it was resolved.
    pub reopened: i64,
    /// Block of its beginning.
    pub opened_block: Option<i64>,
    /// Time of the newest signal.
    pub last_seen_at_ms: i64,
    /// Block of the newest signal.
    pub last_block: Option<i64>,
    /// Time of this revision.
    pub changed_at_ms: i64,
    /// When it was over.
    pub resolved_at_ms: Option<i64>,
    /// JSON object: the columns of the newest finding.
    pub fields: String,
}

impl StoryRow {
    /// What happened.
    pub fn change(&self) -> Option<NotificationKind> {
        self.change.map(|at| NotificationKind::ALL[usize::from(at)])
    }
}

/// A position in [`NotificationKind::ALL`].
pub(super) fn change_of(kind: NotificationKind) -> u8 {
    NotificationKind::ALL.iter().zip(0_u8..).find(|(known, _)| **known == kind).map_or(0, |(_, at)| at)
}

/// Builds columns of rows.
pub(super) struct Columns<'r, R> {
    rows: &'r [Arc<R>],
    arrays: Vec<ArrayRef>,
}

impl<'r, R> Columns<'r, R> {
    pub(super) fn of(rows: &'r [Arc<R>]) -> Columns<'r, R> {
        Columns { rows, arrays: Vec::new() }
    }

    pub(super) fn text<'a>(self, value: impl Fn(&'a R) -> &'a str) -> Columns<'r, R>
    where
        'r: 'a,
        R: 'a,
    {
        let array = StringArray::from_iter_values(self.rows.iter().map(|row| value(row)));
        self.push(Arc::new(array))
    }

    pub(super) fn texts<'a>(self, values: impl Iterator<Item = &'a str>) -> Columns<'r, R> {
        let array = StringArray::from_iter_values(values);
        self.push(Arc::new(array))
    }

    pub(super) fn text_or_null<'a>(self, value: impl Fn(&'a R) -> Option<&'a str>) -> Columns<'r, R>
    where
        'r: 'a,
        R: 'a,
    {
        let array = StringArray::from_iter(self.rows.iter().map(|row| value(row)));
        self.push(Arc::new(array))
    }

    pub(super) fn number(self, value: impl Fn(&R) -> Option<Real>) -> Columns<'r, R> {
        let array = Float64Array::from_iter(self.rows.iter().map(|row| value(row).map(Real::get)));
        self.push(Arc::new(array))
    }

    pub(super) fn count(self, value: impl Fn(&R) -> Option<i64>) -> Columns<'r, R> {
        let array = Int64Array::from_iter(self.rows.iter().map(|row| value(row)));
        self.push(Arc::new(array))
    }

    pub(super) fn time(self, value: impl Fn(&R) -> Option<i64>) -> Columns<'r, R> {
        let array = TimestampMillisecondArray::from_iter(self.rows.iter().map(|row| value(row)));
        self.push(Arc::new(array.with_timezone("UTC")))
    }

    pub(super) fn finish(self, schema: SchemaRef) -> RecordBatch {
        RecordBatch::try_new(schema, self.arrays).expect("the columns are those of the schema, of one length each")
    }

    fn push(mut self, array: ArrayRef) -> Columns<'r, R> {
        self.arrays.push(array);
        self
    }
}

/// Stories as a batch of [`changes_schema`].
pub(super) fn batch(alert: &str, rows: &[Arc<StoryRow>]) -> RecordBatch {
    Columns::of(rows)
        .text(|_| alert)
        .text(|row| &row.story_id)
        .text(|row| &row.group_key)
        .text(|row| &row.status)
        .text(|row| super::live::severity_word(row.severity))
        .number(|row| Some(row.score))
        .number(|row| row.confidence)
        .count(|row| Some(row.revision))
        .text(|row| &row.title)
        .text(|row| &row.body)
        .text(|row| &row.reason)
        .text(|row| &row.why)
        .text(|row| &row.reasons)
        .text(|row| &row.entities)
        .count(|row| Some(row.entity_count))
        .count(|row| Some(row.occurrences))
        .count(|row| Some(row.findings))
        .count(|row| Some(row.reopened))
        .time(|row| Some(row.opened_at_ms))
        .count(|row| row.opened_block)
        .time(|row| Some(row.last_seen_at_ms))
        .count(|row| row.last_block)
        .time(|row| Some(row.changed_at_ms))
        .time(|row| row.resolved_at_ms)
        .text(|row| &row.fields)
        .text_or_null(|row| row.change().map(NotificationKind::as_str))
        .finish(changes_schema())
}
