//! Stories: findings of one group gathered while they last.
//!
//! Definition: `tests/reference/story.rs`, and case by case `tests/story_lifecycle.rs`. A story begins with a finding (with `open_after`, the n-th in a row),
//! is *active* while findings come, *cooling* once none came for longer than `cool_after`, *resolved* once none
//! came for longer than `resolve_after`; earlier if `close_after` signals in a row say that all is well, or, with
//! `resolve_when_gone`, when no row of the group stands. Its severity is the highest so far. A finding within
//! `reopen_within` of the end opens the same story again; a story that was opened `flap_limit` times within
//! `flap_window` stays open until nothing was found for `flap_window`.
//!
//! State: one live story a group; it is forgotten when it is over for good and final. Its rows stay published.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::keccak256;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::alert::NotificationKind;
use highwater_engine::operator::Route;
use serde::{Deserialize, Serialize};

use super::Real;
pub use super::lifecycle::Lifecycle;
use super::live::{Live, Status, entity_count, row, severity_word};
use super::signal::{KeyedBy, Signal, SignalColumns, SignalReader, fnv};
use super::story_rows::{StoryRow, batch};
use super::template::{Context, Known, Templates};
use super::timeline::{Clock, Horizon, Machine, Moment, ReadSignal, Timelines};

/// The newest reasons that are kept.
const REASONS: usize = 5;
/// The first entities that are named.
const ENTITIES: usize = 20;
/// Findings and entities that are told apart in one story; more are not counted as different.
const TOLD_APART: usize = 1_000;

/// The story machine of one alert.
pub struct Stories {
    alert: String,
    reader: SignalReader,
    lifecycle: Lifecycle,
    templates: Templates,
}

/// The state of a group.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct GroupState {
    /// What happened, and the last rows of stories that are over.
    rows: Vec<Arc<StoryRow>>,
    live: Option<Box<Live>>,
    /// The story as it is.
    shown: Option<Arc<StoryRow>>,
    /// Findings in a row before a story begins, and when the newest came.
    streak: Option<(u32, i64)>,
    /// Rows of the group that stand.
    standing: i64,
}

impl Stories {
    /// The operator of an alert.
    ///
    /// # Errors
    /// If the columns cannot be keys of state.
    pub fn operator(
        id: &str,
        alert: &str,
        columns: SignalColumns,
        lifecycle: Lifecycle,
        templates: Templates,
    ) -> Result<(Timelines<Stories>, Route), ArrowError> {
        let clock = if columns.time.is_some() { Clock::Row } else { Clock::Block };
        // What is kept fits any lifecycle.
        let shape = format!("stories of {:?} by {:?}", columns.input.fields(), columns.group);
        let reader = SignalReader::new(columns, KeyedBy::Group)?;
        let route = Route::Key(reader.key().to_vec());
        let machine = Stories { alert: alert.to_owned(), reader, lifecycle, templates };
        Ok((Timelines::new(id, shape, machine, clock, Horizon::Head), route))
    }

    fn begin(&self, state: &mut GroupState, moment: Moment, signal: &Signal) {
        if let Some(over) = state.live.take() {
            state.rows.push(Arc::new(row(&over, None)));
        }
        let identity = format!("{}\0{}\0{}\0{}", self.alert, signal.group, moment.time_ms, moment.order);
        let hash = keccak256(identity.as_bytes());
        let mut live = Box::new(Live {
            story_id: alloy_primitives::hex::encode(&hash[..8]),
            group: signal.group.clone(),
            status: Status::Active,
            opened_at_ms: moment.time_ms,
            opened_block: moment.block,
            last_seen_at_ms: moment.time_ms,
            last_block: moment.block,
            changed_at_ms: moment.time_ms,
            resolved_at_ms: None,
            revision: 0,
            severity: 0,
            score: Real::new(0.0),
            confidence: None,
            occurrences: 0,
            findings: 0,
            known: BTreeMap::new(),
            reopened: 0,
            entity: String::new(),
            entities: Vec::new(),
            entity_marks: BTreeMap::new(),
            reasons: VecDeque::new(),
            fields: String::new(),
            title: String::new(),
            body: String::new(),
            why: String::new(),
            healthy: 0,
            openings: VecDeque::from([moment.time_ms]),
            held: false,
        });
        self.take(&mut live, moment, signal);
        self.revise(state, &mut live, moment.time_ms, NotificationKind::Fire);
        state.live = Some(live);
        state.streak = None;
    }

    /// Takes a signal into the story; tells what that changed.
    fn take(&self, live: &mut Live, moment: Moment, signal: &Signal) -> Option<NotificationKind> {
        live.last_seen_at_ms = moment.time_ms;
        live.last_block = moment.block;
        live.occurrences += 1;
        live.healthy = 0;
        live.held = false;
        let known_for = self.lifecycle.same_for_ms;
        let seen = live.known.get(&signal.finding).copied();
        if seen.is_none_or(|first| moment.time_ms - first >= known_for)
            && (seen.is_some() || live.known.len() < TOLD_APART)
        {
            live.known.insert(signal.finding, moment.time_ms);
            live.findings += 1;
        }
        live.entity.clone_from(&signal.entity);
        let joined = Stories::join(live, &signal.entity);
        live.fields.clone_from(&signal.fields);
        live.confidence = signal.confidence;
        let escalated = live.revision > 0 && signal.severity > live.severity;
        live.severity = live.severity.max(signal.severity);
        if signal.score.get() > live.score.get() {
            live.score = signal.score;
        }
        let reason = self.templates.reason(&self.context(live));
        let new_reason = live.reasons.back() != Some(&reason);
        if new_reason {
            live.reasons.retain(|known| *known != reason);
            live.reasons.push_back(reason);
            if live.reasons.len() > REASONS {
                live.reasons.pop_front();
            }
        }
        match (escalated, joined || new_reason) {
            (true, _) => Some(NotificationKind::Escalate),
            (false, true) => Some(NotificationKind::Update),
            (false, false) => None,
        }
    }

    /// Whether an entity is new in the story.
    fn join(live: &mut Live, entity: &str) -> bool {
        let mark = fnv(entity.as_bytes());
        if live.entity_marks.contains_key(&mark) || live.entity_marks.len() >= TOLD_APART {
            return false;
        }
        live.entity_marks.insert(mark, ());
        if live.entities.len() < ENTITIES {
            live.entities.push(entity.to_owned());
        }
        true
    }

    fn context(&self, live: &Live) -> Context {
        let known = Known {
            alert: &self.alert,
            group: &live.group,
            entity: &live.entity,
            severity: severity_word(live.severity),
            status: live.status.word(),
            score: live.score.get(),
            occurrences: live.occurrences,
            findings: live.findings,
            entity_count: entity_count(live),
            opened_at_ms: live.opened_at_ms,
            last_seen_at_ms: live.last_seen_at_ms,
        };
        Context::new(&live.fields, known)
    }

    /// A visible change that sinks may tell.
    fn revise(&self, state: &mut GroupState, live: &mut Live, at_ms: i64, kind: NotificationKind) {
        live.revision += 1;
        live.changed_at_ms = at_ms;
        let context = self.context(live);
        live.title = self.templates.title(&context);
        live.body = self.templates.body(&context);
        live.why = self.templates.why(&context);
        state.rows.push(Arc::new(row(live, Some(kind))));
    }

    fn resolve(&self, state: &mut GroupState, live: &mut Live, at_ms: i64) {
        live.status = Status::Resolved;
        live.resolved_at_ms = Some(at_ms);
        live.held = false;
        self.revise(state, live, at_ms, NotificationKind::Resolve);
    }

    /// Whether a story that would be over now flaps.
    fn flaps(&self, live: &mut Live, at_ms: i64) -> bool {
        let Lifecycle { flap_limit, flap_window_ms, .. } = self.lifecycle;
        while live.openings.front().is_some_and(|opened| at_ms - opened >= flap_window_ms) {
            live.openings.pop_front();
        }
        flap_limit > 0 && live.openings.len() >= usize::try_from(flap_limit).unwrap_or(usize::MAX)
    }

    /// A finding.
    fn found(&self, state: &mut GroupState, moment: Moment, signal: &Signal) {
        let Some(mut live) = state.live.take() else { return self.count_or_begin(state, moment, signal) };
        match live.status {
            Status::Active | Status::Cooling => {
                live.status = Status::Active;
                if let Some(kind) = self.take(&mut live, moment, signal) {
                    self.revise(state, &mut live, moment.time_ms, kind);
                }
                state.live = Some(live);
            }
            Status::Resolved if self.is_open_again(&live, moment.time_ms) => {
                live.status = Status::Active;
                live.resolved_at_ms = None;
                live.reopened += 1;
                live.openings.push_back(moment.time_ms);
                if live.openings.len() > TOLD_APART {
                    live.openings.pop_front();
                }
                self.take(&mut live, moment, signal);
                self.revise(state, &mut live, moment.time_ms, NotificationKind::Fire);
                state.live = Some(live);
            }
            Status::Resolved => {
                state.live = Some(live);
                self.count_or_begin(state, moment, signal);
            }
        }
    }

    fn is_open_again(&self, live: &Live, now_ms: i64) -> bool {
        live.resolved_at_ms.is_some_and(|over| now_ms - over < self.lifecycle.reopen_within_ms)
    }

    fn count_or_begin(&self, state: &mut GroupState, moment: Moment, signal: &Signal) {
        let count = state.streak.map_or(1, |(count, _)| count + 1);
        if count >= self.lifecycle.open_after {
            self.begin(state, moment, signal);
        } else {
            state.streak = Some((count, moment.time_ms));
        }
    }

    /// A signal that all is well.
    fn healthy(&self, state: &mut GroupState, moment: Moment) {
        state.streak = None;
        let Some(mut live) = state.live.take() else { return };
        if live.status != Status::Resolved {
            live.healthy += 1;
            if live.healthy >= self.lifecycle.close_after {
                if self.flaps(&mut live, moment.time_ms) {
                    live.held = true;
                } else {
                    self.resolve(state, &mut live, moment.time_ms);
                }
            }
        }
        state.live = Some(live);
    }

    fn gone(&self, state: &mut GroupState, at_ms: i64) {
        let Some(mut live) = state.live.take() else { return };
        if live.status != Status::Resolved {
            if self.flaps(&mut live, at_ms) {
                live.held = true;
            } else {
                self.resolve(state, &mut live, at_ms);
            }
        }
        state.live = Some(live);
    }

    /// What is due next, and when.
    fn next(&self, live: &Live) -> (i64, Due) {
        let quiet = |after_ms: i64| live.last_seen_at_ms.saturating_add(after_ms);
        match live.status {
            Status::Active | Status::Cooling if live.held => (quiet(self.lifecycle.flap_window_ms), Due::Resolve),
            Status::Active => (quiet(self.lifecycle.cool_after_ms), Due::Cool),
            Status::Cooling => (quiet(self.lifecycle.resolve_after_ms), Due::Resolve),
            Status::Resolved => {
                let memory = self.lifecycle.reopen_within_ms;
                (live.resolved_at_ms.unwrap_or(live.changed_at_ms).saturating_add(memory), Due::Forget)
            }
        }
    }

    fn show(&self, state: &mut GroupState) {
        state.shown = state.live.as_ref().map(|live| Arc::new(row(live, None)));
    }
}

enum Due {
    Cool,
    Resolve,
    Forget,
}

impl Machine for Stories {
    type Signal = Signal;
    type State = GroupState;
    type Row = StoryRow;

    fn read(&self, batch: &RecordBatch) -> Vec<ReadSignal<Signal>> {
        self.reader.read(batch)
    }

    fn advance(&self, state: &mut GroupState, now_ms: i64) {
        let mut changed = false;
        if state.streak.is_some_and(|(_, last)| last.saturating_add(self.lifecycle.resolve_after_ms) < now_ms) {
            state.streak = None;
        }
        while let Some(mut live) = state.live.take() {
            let (due, what) = self.next(&live);
            if due >= now_ms {
                state.live = Some(live);
                break;
            }
            changed = true;
            match what {
                Due::Cool => {
                    live.status = Status::Cooling;
                    live.revision += 1;
                    live.changed_at_ms = due;
                    state.live = Some(live);
                }
                Due::Resolve => {
                    self.resolve(state, &mut live, due);
                    state.live = Some(live);
                }
                Due::Forget => {
                    // A row that was shown before is the last one of this story.
                    let last = state.shown.take().filter(|shown| shown.revision == live.revision);
                    state.rows.push(last.unwrap_or_else(|| Arc::new(row(&live, None))));
                }
            }
        }
        if changed {
            self.show(state);
        }
    }

    fn apply(&self, state: &mut GroupState, moment: Moment, signals: &[(Signal, i64)]) {
        for (signal, count) in signals {
            for _ in 0..*count {
                if signal.healthy {
                    self.healthy(state, moment);
                } else {
                    self.found(state, moment, signal);
                }
            }
            if self.lifecycle.resolve_when_gone && !signal.healthy {
                state.standing += count;
            }
        }
        if self.lifecycle.resolve_when_gone && state.standing <= 0 {
            self.gone(state, moment.time_ms);
        }
        self.show(state);
    }

    fn due(&self, state: &GroupState) -> Option<i64> {
        let streak = state.streak.map(|(_, last)| last.saturating_add(self.lifecycle.resolve_after_ms));
        let live = state.live.as_ref().map(|live| self.next(live).0);
        streak.into_iter().chain(live).min()
    }

    fn rows(&self, state: &GroupState) -> Vec<Arc<StoryRow>> {
        state.rows.iter().chain(&state.shown).cloned().collect()
    }

    fn settled(&self, state: &GroupState) -> usize {
        state.rows.len()
    }

    fn forget(&self, state: &mut GroupState, rows: usize) {
        state.rows.drain(..rows);
    }

    fn batch(&self, rows: &[Arc<StoryRow>]) -> RecordBatch {
        batch(&self.alert, rows)
    }
}
