//! What a sink wants to be told, and why something is not told.

use highwater_engine::model::alert::{NotificationKind, Severity};
use serde::{Deserialize, Serialize};

use super::timeline::Horizon;

/// What a sink wants to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The least severity.
    pub min_severity: Severity,
    /// The kinds.
    pub kinds: Vec<NotificationKind>,
    /// How long nothing is told of a group after it was told that a story began, in milliseconds.
    pub cooldown_ms: i64,
    /// How long a beginning waits for more.
    pub group_wait_ms: i64,
    /// The least time between two messages of a story.
    pub group_interval_ms: i64,
    /// Times of the day (UTC, milliseconds since midnight) between which only critical ones are told.
    pub quiet_hours: Option<(i64, i64)>,
    /// Groups that are muted.
    pub mutes: Vec<Mute>,
    /// How far the sink sees.
    pub horizon: Horizon,
    /// How long after its end a story may open again, in milliseconds.
    pub remember_ms: i64,
}

impl Default for Dispatch {
    fn default() -> Dispatch {
        Dispatch {
            min_severity: Severity::Low,
            kinds: vec![NotificationKind::Fire, NotificationKind::Escalate, NotificationKind::Resolve],
            cooldown_ms: 0,
            group_wait_ms: 0,
            group_interval_ms: 0,
            quiet_hours: None,
            mutes: Vec::new(),
            horizon: Horizon::Head,
            remember_ms: 0,
        }
    }
}

/// A group that is not told of for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    /// The group as text; none: all groups.
    pub group: Option<String>,
    /// From when, inclusive; none: always.
    pub from_ms: Option<i64>,
    /// Until when, exclusive; none: for ever.
    pub until_ms: Option<i64>,
}

/// Why something is not told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Suppressed {
    /// Its severity is too low.
    MinSeverity,
    /// It is muted.
    Mute,
    /// The group was told not long ago.
    Cooldown,
    /// It was over before its quiet hours or its `group_wait` were.
    Over,
    /// Too many in too short a time.
    RateLimit,
}

impl Suppressed {
    /// The word in `suppressed_by`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Suppressed::MinSeverity => "min_severity",
            Suppressed::Mute => "mute",
            Suppressed::Cooldown => "cooldown",
            Suppressed::Over => "over",
            Suppressed::RateLimit => "rate_limit",
        }
    }
}
