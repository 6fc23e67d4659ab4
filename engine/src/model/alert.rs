//! The relations of alerting: findings, stories, notifications.
//!
//! ```text
//! view ─▶ finding (new or repeated) ─▶ story (active, cooling, resolved) ─▶ notification (send or suppress)
//! ```
//! A *finding* is one thing a view found. A *story* gathers the findings of one group while they last. A
//! *notification* is what one sink is to tell about one revision of a story. Like all rows they are taken
//! back by a reorg; what was already told then has to be corrected, which is the work of the sink.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::wide::timestamp_type;

/// How much a finding matters. The order is that of importance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Severity {
    /// Good to know.
    Low,
    /// Look at it today.
    #[default]
    Medium,
    /// Look at it now.
    High,
    /// Somebody has to get up.
    Critical,
}

impl Severity {
    /// All, least first.
    pub const ALL: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The word in SQL and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// Reads the word; case does not matter. `info` and `warning` are read as low and medium.
    pub fn parse(word: &str) -> Option<Severity> {
        let word = word.trim().to_ascii_lowercase();
        match word.as_str() {
            "info" => Some(Severity::Low),
            "warning" => Some(Severity::Medium),
            _ => Severity::ALL.into_iter().find(|severity| severity.as_str() == word),
        }
    }

    /// The score (0 to 5) of a finding that states only its severity.
    pub const fn score(self) -> f64 {
        match self {
            Severity::Low => 1.0,
            Severity::Medium => 2.5,
            Severity::High => 4.0,
            Severity::Critical => 5.0,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a story is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StoryStatus {
    /// Findings come.
    Active,
    /// None came for `cool_after`.
    Cooling,
    /// None came for `resolve_after`, or the cause is gone.
    Resolved,
}

impl StoryStatus {
    /// The word in SQL and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            StoryStatus::Active => "active",
            StoryStatus::Cooling => "cooling",
            StoryStatus::Resolved => "resolved",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<StoryStatus> {
        [StoryStatus::Active, StoryStatus::Cooling, StoryStatus::Resolved]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// Why a notification is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NotificationKind {
    /// A story has begun.
    Fire,
    /// Its severity has risen.
    Escalate,
    /// More is known.
    Update,
    /// It is over.
    Resolve,
}

impl NotificationKind {
    /// All.
    pub const ALL: [NotificationKind; 4] =
        [NotificationKind::Fire, NotificationKind::Escalate, NotificationKind::Update, NotificationKind::Resolve];

    /// The word in SQL, options and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotificationKind::Fire => "fire",
            NotificationKind::Escalate => "escalate",
            NotificationKind::Update => "update",
            NotificationKind::Resolve => "resolve",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<NotificationKind> {
        NotificationKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Columns of a story: what `CREATE ALERT name …` makes of a view, and the relation `alert_groups` of all alerts.
///
/// `reasons` and `entities` are JSON arrays of text (the newest five reasons, the first twenty entities),
/// `fields` is a JSON object of the columns of the newest finding; integers beyond 2^53 and 256-bit numbers are text.
pub fn story_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields = vec![
            text("alert"),
            text("story_id"),
            text("group_key"),
            text("status"),
            text("severity"),
            number("score"),
            number("confidence").with_nullable(true),
            count("revision"),
        ];
        fields.extend(TOLD.map(text));
        fields.extend([text("reasons"), text("entities"), count("entity_count")]);
        fields.extend([count("occurrences"), count("findings"), count("reopened")]);
        fields.extend([time("opened_at"), block("opened_block"), time("last_seen_at"), block("last_block")]);
        fields.extend([time("changed_at"), time("resolved_at").with_nullable(true), text("fields")]);
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}

/// Columns of a finding: the relation `alerts`. One row a finding, `occurrences` times seen.
pub fn finding_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields = vec![text("alert"), text("finding_id"), text("group_key"), text("entity"), text("severity")];
        fields.extend([number("score"), number("confidence").with_nullable(true)]);
        fields.extend(TOLD.map(text));
        fields.extend([count("occurrences"), time("first_seen_at"), block("first_block")]);
        fields.extend([time("last_seen_at"), block("last_block"), text("fields")]);
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}

/// Columns of a notification: what a sink is to tell, and the relation `deliveries` of all sinks.
///
/// `notification_id` is the same on every run and every branch for the same sink, alert, story, revision and
/// kind. `decision` is `send` or `suppress`; `suppressed_by` then says why: `min_severity`, `mute`, `cooldown`,
/// `over` (the story was over before its quiet hours or its `group_wait` were) or `rate_limit`. `suppressed` counts
/// the notifications of the story that were suppressed since the last one that was sent. `block_number` is that of the
/// change it tells of.
pub fn notification_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields = vec![text("sink"), text("notification_id"), text("alert"), text("story_id")];
        fields.extend([text("group_key"), text("kind"), text("decision")]);
        fields.extend([text("suppressed_by").with_nullable(true), count("suppressed"), count("revision")]);
        fields.extend([text("status"), text("severity"), number("score"), number("confidence").with_nullable(true)]);
        fields.extend(TOLD.map(text));
        fields.extend([text("reasons"), text("entities"), count("entity_count"), count("occurrences")]);
        fields.extend([time("opened_at"), time("last_seen_at"), time("notified_at"), block("block_number")]);
        fields.push(text("fields"));
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}

/// What people read: `why` says what made the severity, `reason` what was found.
const TOLD: [&str; 4] = ["title", "body", "reason", "why"];

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Float64, false)
}

fn count(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

/// NULL where rows are ordered by their own time, not by block.
fn block(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn time(name: &str) -> Field {
    Field::new(name, timestamp_type(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.as_str()), Some(severity));
        }
        assert_eq!(Severity::parse(" Warning"), Some(Severity::Medium));
        assert!(Severity::High < Severity::Critical);
        for kind in NotificationKind::ALL {
            assert_eq!(NotificationKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(StoryStatus::parse("cooling"), Some(StoryStatus::Cooling));
        assert_eq!(StoryStatus::parse("gone"), None);
    }
}
