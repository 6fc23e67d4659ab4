//! Notifications: what a sink is to tell of the changes of an alert's stories, and when.
//!
//! Definition: case by case in `tests/story_lifecycle.rs`. A story that begins is told after `group_wait`, with what is known by
//! then, unless its severity is too low, it is muted, or its group was told within `cooldown`; what rises in
//! severity later is told in spite of that. Further changes of a story that was told follow at least
//! `group_interval` apart, the newest alone. In quiet hours only critical ones are told; others wait for their
//! end. What a sink does not tell is a row too, and says why.
//!
//! State: one entry a group whose story is not over, or whose cooldown is not. All by block time: nothing here
//! looks at a clock, so a replay tells what a live run told.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::alert::{NotificationKind, Severity};
use highwater_engine::operator::Route;
use highwater_engine::rows::RowCodec;
use serde::{Deserialize, Serialize};

pub use super::dispatch::{Dispatch, Mute, Suppressed};
use super::notification_rows::{batch, group_column, read_change};
use super::story_rows::{StoryRow, change_of, changes_schema};
use super::timeline::{Clock, Machine, Moment, ReadSignal, Timelines};

/// The notification machine of one sink.
pub struct Notifications {
    sink: String,
    alert: String,
    dispatch: Dispatch,
    groups: RowCodec,
}

/// A notification.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct NotificationRow {
    /// When it was made.
    pub notified_at_ms: i64,
    /// Of which story, at which revision.
    pub story: Arc<StoryRow>,
    /// A position in [`NotificationKind::ALL`].
    pub kind: u8,
    /// The block of the change it tells of.
    pub block: Option<i64>,
    /// Why it is not told.
    pub suppressed_by: Option<Suppressed>,
    /// How many were not told before it.
    pub suppressed: i64,
}

/// The state of a group.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct DispatchState {
    rows: Vec<Arc<NotificationRow>>,
    story: Option<Track>,
    /// When a beginning was told last.
    fired_ms: Option<i64>,
}

/// A story that goes on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Track {
    story_id: String,
    /// The severity that was told, and when something was told last.
    told: Option<(u8, i64)>,
    suppressed: i64,
    held: Option<Held>,
    /// When it was over; it may open again.
    over_ms: Option<i64>,
}

/// What waits for its time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Held {
    due_ms: i64,
    /// A position in [`NotificationKind::ALL`].
    kind: u8,
    row: Arc<StoryRow>,
    /// The block of what it tells.
    block: Option<i64>,
}

const DAY_MS: i64 = 86_400_000;

impl Track {
    fn of(row: &StoryRow) -> Track {
        Track { story_id: row.story_id.clone(), told: None, suppressed: 0, held: None, over_ms: None }
    }
}

impl Notifications {
    /// The operator in front of a sink: its input are the changes of [`changes_schema`], its output the rows of
    /// [`highwater_engine::model::alert::notification_schema`].
    ///
    /// # Errors
    /// If the columns cannot be keys of state.
    pub fn operator(
        id: &str,
        sink: &str,
        alert: &str,
        clock: Clock,
        dispatch: Dispatch,
    ) -> Result<(Timelines<Notifications>, Route), ArrowError> {
        // What a sink wants may change between two runs.
        let shape = "notifications".to_owned();
        let horizon = dispatch.horizon;
        let groups = RowCodec::new(&changes_schema(), &[group_column()])?;
        let machine = Notifications { sink: sink.to_owned(), alert: alert.to_owned(), dispatch, groups };
        Ok((Timelines::new(id, shape, machine, clock, horizon), Route::Key(vec![group_column()])))
    }

    fn wants(&self, kind: NotificationKind) -> bool {
        self.dispatch.kinds.contains(&kind)
    }

    fn is_muted(&self, group: &str, at_ms: i64) -> bool {
        self.dispatch.mutes.iter().any(|mute| {
            mute.group.as_deref().is_none_or(|muted| muted == group)
                && mute.from_ms.is_none_or(|from| from <= at_ms)
                && mute.until_ms.is_none_or(|until| at_ms < until)
        })
    }

    /// The end of the quiet hours that `at_ms` is in, unless it matters too much.
    fn quiet_until(&self, row: &StoryRow, at_ms: i64) -> i64 {
        let Some((from, until)) = self.dispatch.quiet_hours else { return at_ms };
        if Severity::ALL[usize::from(row.severity)] == Severity::Critical {
            return at_ms;
        }
        let of_day = at_ms.rem_euclid(DAY_MS);
        let within = if from <= until { from <= of_day && of_day < until } else { of_day >= from || of_day < until };
        if within { at_ms + (until - of_day).rem_euclid(DAY_MS) } else { at_ms }
    }

    fn change(&self, state: &mut DispatchState, row: &Arc<StoryRow>, moment: Moment) {
        let Some(kind) = row.change() else { return };
        let known = state.story.take().filter(|track| track.story_id == row.story_id);
        let mut track = known.unwrap_or_else(|| Track::of(row));
        track.over_ms = None;
        match kind {
            NotificationKind::Resolve => return self.over(state, track, row, moment),
            NotificationKind::Fire if track.told.is_some() => self.more(state, &mut track, kind, row, moment),
            NotificationKind::Fire => self.begin(state, &mut track, row, moment),
            NotificationKind::Escalate | NotificationKind::Update => match (&mut track.held, track.told) {
                (Some(held), _) => {
                    held.row = row.clone();
                    held.block = moment.block;
                    held.kind = held.kind.min(change_of(kind));
                    if Severity::ALL[usize::from(row.severity)] == Severity::Critical {
                        held.due_ms =
                            held.due_ms.min((row.opened_at_ms + self.dispatch.group_wait_ms).max(moment.time_ms));
                    }
                }
                (None, Some(_)) => self.more(state, &mut track, kind, row, moment),
                // What was not told when it began may have become important enough.
                (None, None) if kind == NotificationKind::Escalate => self.begin(state, &mut track, row, moment),
                (None, None) => {}
            },
        }
        self.release(state, &mut track, moment.time_ms);
        state.story = Some(track);
    }

    /// A story that was not told yet.
    fn begin(&self, state: &mut DispatchState, track: &mut Track, row: &Arc<StoryRow>, moment: Moment) {
        let at_ms = moment.time_ms;
        if !self.wants(NotificationKind::Fire) {
            return;
        }
        let cools = state.fired_ms.is_some_and(|fired| at_ms - fired < self.dispatch.cooldown_ms);
        let rises = row.change() == Some(NotificationKind::Escalate);
        let reason = if Severity::ALL[usize::from(row.severity)] < self.dispatch.min_severity {
            Some(Suppressed::MinSeverity)
        } else if self.is_muted(&row.group_key, at_ms) {
            Some(Suppressed::Mute)
        } else if cools && !rises {
            Some(Suppressed::Cooldown)
        } else {
            None
        };
        if let Some(reason) = reason {
            return self.suppress(state, track, NotificationKind::Fire, row, moment, reason);
        }
        let waited = if rises { at_ms } else { at_ms.saturating_add(self.dispatch.group_wait_ms) };
        let due_ms = self.quiet_until(row, waited);
        track.held =
            Some(Held { due_ms, kind: change_of(NotificationKind::Fire), row: row.clone(), block: moment.block });
    }

    /// More of a story that was told.
    fn more(
        &self,
        state: &mut DispatchState,
        track: &mut Track,
        kind: NotificationKind,
        row: &Arc<StoryRow>,
        moment: Moment,
    ) {
        if !self.wants(kind) {
            return;
        }
        if self.is_muted(&row.group_key, moment.time_ms) {
            return self.suppress(state, track, kind, row, moment, Suppressed::Mute);
        }
        let last = track.told.map_or(i64::MIN, |(_, last)| last.saturating_add(self.dispatch.group_interval_ms));
        let due_ms = self.quiet_until(row, moment.time_ms.max(last));
        track.held = Some(Held { due_ms, kind: change_of(kind), row: row.clone(), block: moment.block });
    }

    fn over(&self, state: &mut DispatchState, mut track: Track, row: &Arc<StoryRow>, moment: Moment) {
        if let Some(held) = track.held.take()
            && track.told.is_none()
        {
            let kind = NotificationKind::ALL[usize::from(held.kind)];
            self.suppress(state, &mut track, kind, &held.row, moment, Suppressed::Over);
        }
        if track.told.is_some() && self.wants(NotificationKind::Resolve) {
            if self.is_muted(&row.group_key, moment.time_ms) {
                self.suppress(state, &mut track, NotificationKind::Resolve, row, moment, Suppressed::Mute);
            } else {
                self.tell(state, &mut track, NotificationKind::Resolve, row, moment.time_ms, moment.block);
            }
        }
        track.over_ms = Some(moment.time_ms);
        // If it opens again it goes on where it was told.
        state.story = Some(track).filter(|track| track.told.is_some());
    }

    fn suppress(
        &self,
        state: &mut DispatchState,
        track: &mut Track,
        kind: NotificationKind,
        row: &Arc<StoryRow>,
        moment: Moment,
        reason: Suppressed,
    ) {
        track.suppressed += 1;
        state.rows.push(Arc::new(NotificationRow {
            notified_at_ms: moment.time_ms,
            story: row.clone(),
            kind: change_of(kind),
            block: moment.block,
            suppressed_by: Some(reason),
            suppressed: track.suppressed,
        }));
    }

    fn tell(
        &self,
        state: &mut DispatchState,
        track: &mut Track,
        kind: NotificationKind,
        row: &Arc<StoryRow>,
        at_ms: i64,
        block: Option<i64>,
    ) {
        if kind == NotificationKind::Fire {
            state.fired_ms = Some(at_ms);
        }
        track.told = Some((row.severity, at_ms));
        state.rows.push(Arc::new(NotificationRow {
            notified_at_ms: at_ms,
            story: row.clone(),
            kind: change_of(kind),
            block,
            suppressed_by: None,
            suppressed: std::mem::take(&mut track.suppressed),
        }));
    }

    /// Tells what was held until `now_ms`.
    fn release(&self, state: &mut DispatchState, track: &mut Track, now_ms: i64) {
        let Some(held) = track.held.take_if(|held| held.due_ms <= now_ms) else { return };
        let kind = NotificationKind::ALL[usize::from(held.kind)];
        self.tell(state, track, kind, &held.row, held.due_ms.max(held.row.changed_at_ms), held.block);
    }

    /// When a story that is over needs to be known no more.
    fn story_end(&self, state: &DispatchState) -> Option<i64> {
        let over_ms = state.story.as_ref()?.over_ms?;
        Some(over_ms.saturating_add(self.dispatch.remember_ms))
    }

    /// When the cooldown of the group is over.
    fn cooled(&self, state: &DispatchState) -> Option<i64> {
        state.fired_ms.map(|fired| fired.saturating_add(self.dispatch.cooldown_ms))
    }
}

impl Machine for Notifications {
    type Signal = Arc<StoryRow>;
    type State = DispatchState;
    type Row = NotificationRow;

    fn read(&self, batch: &RecordBatch) -> Vec<ReadSignal<Arc<StoryRow>>> {
        let groups = self.groups.encode(&[batch.column(group_column()).clone()], batch.num_rows());
        (0..batch.num_rows())
            .map(|row| {
                let story = read_change(batch, row);
                Ok((groups.row(row).data().into(), story.changed_at_ms, Arc::new(story)))
            })
            .collect()
    }

    fn advance(&self, state: &mut DispatchState, now_ms: i64) {
        if let Some(mut track) = state.story.take() {
            if track.held.as_ref().is_some_and(|held| held.due_ms < now_ms) {
                self.release(state, &mut track, now_ms - 1);
            }
            state.story = Some(track);
        }
        if self.story_end(state).is_some_and(|end| end < now_ms) {
            state.story = None;
        }
        if self.cooled(state).is_some_and(|cooled| cooled < now_ms) {
            state.fired_ms = None;
        }
    }

    fn apply(&self, state: &mut DispatchState, moment: Moment, signals: &[(Arc<StoryRow>, i64)]) {
        for (row, _) in signals.iter().filter(|(_, count)| *count > 0) {
            self.change(state, row, moment);
        }
    }

    fn due(&self, state: &DispatchState) -> Option<i64> {
        let held = state.story.as_ref().and_then(|track| track.held.as_ref()).map(|held| held.due_ms);
        held.into_iter().chain(self.story_end(state)).chain(self.cooled(state)).min()
    }

    fn rows(&self, state: &DispatchState) -> Vec<Arc<NotificationRow>> {
        state.rows.clone()
    }

    fn settled(&self, state: &DispatchState) -> usize {
        state.rows.len()
    }

    fn forget(&self, state: &mut DispatchState, rows: usize) {
        state.rows.drain(..rows);
    }

    fn batch(&self, rows: &[Arc<NotificationRow>]) -> RecordBatch {
        batch(&self.sink, &self.alert, rows)
    }
}
