//! A notification as channels see it.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMillisecondType};
use highwater_engine::model::alert::{NotificationKind, Severity, StoryStatus};
use serde::{Deserialize, Serialize};

/// One row of [`highwater_engine::model::alert::notification_schema`].
///
/// All texts come from the chain in part and are plain: a channel escapes them whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The sink.
    pub sink: String,
    /// Stable identity: the same on every run and branch.
    pub notification_id: String,
    /// The alert.
    pub alert: String,
    /// The story it tells about.
    pub story_id: String,
    /// What the story is about: an address, a pool, an endpoint.
    pub group_key: String,
    /// Why it is made.
    pub kind: Kind,
    /// Why it is not sent; none if it is.
    pub suppressed_by: Option<String>,
    /// Notifications of the story that were suppressed since the last one that was sent.
    pub suppressed: i64,
    /// Revision of the story.
    pub revision: i64,
    /// Status of the story: `active`, `cooling`, `resolved`.
    pub status: String,
    /// `low`, `medium`, `high`, `critical`.
    pub severity: String,
    /// 0 to 5.
    pub score: f64,
    /// 0 to 1, if the alert states it.
    pub confidence: Option<f64>,
    /// One line.
    pub title: String,
    /// The details.
    pub body: String,
    /// What was found last.
    pub reason: String,
    /// What made the severity.
    pub why: String,
    /// JSON array: the newest reasons.
    pub reasons: String,
    /// JSON array: what takes part.
    pub entities: String,
    /// How many take part.
    pub entity_count: i64,
    /// How often findings were seen.
    pub occurrences: i64,
    /// When the story began, block time in milliseconds.
    pub opened_at_ms: i64,
    /// Block time of the newest finding.
    pub last_seen_at_ms: i64,
    /// Block time at which the notification was made.
    pub notified_at_ms: i64,
    /// The block at which it was made.
    pub block_number: i64,
    /// JSON object: the columns of the newest finding.
    pub fields: String,
}

/// Why a notification is made; as [`NotificationKind`], for storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A story has begun.
    Fire,
    /// Its severity has risen.
    Escalate,
    /// More is known.
    Update,
    /// It is over.
    Resolve,
}

impl From<NotificationKind> for Kind {
    fn from(kind: NotificationKind) -> Kind {
        match kind {
            NotificationKind::Fire => Kind::Fire,
            NotificationKind::Escalate => Kind::Escalate,
            NotificationKind::Update => Kind::Update,
            NotificationKind::Resolve => Kind::Resolve,
        }
    }
}

impl Message {
    /// A row of a batch with the columns of [`highwater_engine::model::alert::notification_schema`].
    ///
    /// # Panics
    /// If the batch has other columns: sinks check the schema when they are opened.
    pub fn read(batch: &RecordBatch, row: usize) -> Message {
        let column = |name: &str| batch.column_by_name(name).expect("the schema was checked when the sink was opened");
        let text = |name: &str| column(name).as_string::<i32>().value(row).to_owned();
        let count = |name: &str| column(name).as_primitive::<Int64Type>().value(row);
        let time = |name: &str| column(name).as_primitive::<TimestampMillisecondType>().value(row);
        let number = |name: &str| {
            let column = column(name).as_primitive::<Float64Type>();
            // JSON, in which messages are kept, has no other numbers.
            column.is_valid(row).then(|| column.value(row)).filter(|number| number.is_finite())
        };
        let kind = NotificationKind::parse(&text("kind")).expect("the dispatch operator writes these words alone");
        let suppressed_by = column("suppressed_by");
        Message {
            sink: text("sink"),
            notification_id: text("notification_id"),
            alert: text("alert"),
            story_id: text("story_id"),
            group_key: text("group_key"),
            kind: kind.into(),
            suppressed_by: suppressed_by.is_valid(row).then(|| text("suppressed_by")),
            suppressed: count("suppressed"),
            revision: count("revision"),
            status: text("status"),
            severity: text("severity"),
            score: number("score").unwrap_or_default(),
            confidence: number("confidence"),
            title: text("title"),
            body: text("body"),
            reason: text("reason"),
            why: text("why"),
            reasons: text("reasons"),
            entities: text("entities"),
            entity_count: count("entity_count"),
            occurrences: count("occurrences"),
            opened_at_ms: time("opened_at"),
            last_seen_at_ms: time("last_seen_at"),
            notified_at_ms: time("notified_at"),
            block_number: count("block_number"),
            fields: text("fields"),
        }
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        Severity::parse(&self.severity).unwrap_or_default()
    }

    /// Where the story is in its life.
    pub fn status(&self) -> StoryStatus {
        StoryStatus::parse(&self.status).unwrap_or(StoryStatus::Active)
    }

    /// Notifications of one tick are told in this order.
    pub(super) fn told_order(&self) -> impl Ord {
        (self.block_number, self.revision, self.kind, self.notification_id.clone())
    }

    /// Whether a reader would see a difference between the two.
    pub fn reads_like(&self, other: &Message) -> bool {
        let seen = |message: &Message| {
            let Message { kind, status, severity, title, body, reason, why, .. } = message.clone();
            (kind, status, severity, title, body, reason, why)
        };
        seen(self) == seen(other)
    }
}
