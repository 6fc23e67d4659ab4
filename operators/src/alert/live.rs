//! A story while it lives, and its row.

use std::collections::{BTreeMap, VecDeque};

use highwater_engine::model::alert::{NotificationKind, Severity, StoryStatus};
use serde::{Deserialize, Serialize};

use super::Real;
use super::story_rows::{StoryRow, change_of};

/// A story while it lives.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Live {
    pub(super) story_id: String,
    pub(super) group: String,
    pub(super) status: Status,
    pub(super) opened_at_ms: i64,
    pub(super) opened_block: Option<i64>,
    pub(super) last_seen_at_ms: i64,
    pub(super) last_block: Option<i64>,
    pub(super) changed_at_ms: i64,
    pub(super) resolved_at_ms: Option<i64>,
    pub(super) revision: i64,
    pub(super) severity: u8,
    pub(super) score: Real,
    pub(super) confidence: Option<Real>,
    pub(super) occurrences: i64,
    pub(super) findings: i64,
    pub(super) known: BTreeMap<u64, i64>,
    pub(super) reopened: i64,
    pub(super) entity: String,
    pub(super) entities: Vec<String>,
    pub(super) entity_marks: BTreeMap<u64, ()>,
    pub(super) reasons: VecDeque<String>,
    pub(super) fields: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) why: String,
    /// Healthy signals in a row.
    pub(super) healthy: u32,
    /// When it was opened, the newest within the flap window.
    pub(super) openings: VecDeque<i64>,
    /// Whether it would be over if it did not flap.
    pub(super) held: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Status {
    Active,
    Cooling,
    Resolved,
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Status::Active => StoryStatus::Active.as_str(),
            Status::Cooling => StoryStatus::Cooling.as_str(),
            Status::Resolved => StoryStatus::Resolved.as_str(),
        }
    }
}

/// How many entities take part.
pub(super) fn entity_count(live: &Live) -> i64 {
    i64::try_from(live.entity_marks.len()).unwrap_or(i64::MAX)
}

/// The word of a position in [`Severity::ALL`].
pub(super) fn severity_word(severity: u8) -> &'static str {
    Severity::ALL[usize::from(severity)].as_str()
}

/// The story as it is, or what happened to it.
pub(super) fn row(live: &Live, change: Option<NotificationKind>) -> StoryRow {
    let list = |texts: &mut dyn Iterator<Item = &String>| {
        serde_json::Value::Array(texts.map(|text| text.as_str().into()).collect()).to_string()
    };
    StoryRow {
        group_key: live.group.clone(),
        opened_at_ms: live.opened_at_ms,
        story_id: live.story_id.clone(),
        revision: live.revision,
        change: change.map(change_of),
        status: live.status.word().to_owned(),
        severity: live.severity,
        score: live.score,
        confidence: live.confidence,
        title: live.title.clone(),
        body: live.body.clone(),
        reason: live.reasons.back().cloned().unwrap_or_default(),
        why: live.why.clone(),
        reasons: list(&mut live.reasons.iter().rev()),
        entities: list(&mut live.entities.iter()),
        entity_count: entity_count(live),
        occurrences: live.occurrences,
        findings: live.findings,
        reopened: live.reopened,
        opened_block: live.opened_block,
        last_seen_at_ms: live.last_seen_at_ms,
        last_block: live.last_block,
        changed_at_ms: live.changed_at_ms,
        resolved_at_ms: live.resolved_at_ms,
        fields: live.fields.clone(),
    }
}
