//! The rows of one key in order of time, and the sessions they form.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// A row as bytes.
pub(super) type Row = Arc<[u8]>;
/// Rows in order of their time, with their multiplicity (or its change).
pub(super) type Timed = BTreeMap<(i64, Row), i64>;

/// First and last time of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Session {
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
}

impl Session {
    /// Its part after a time.
    fn after(self, time_ms: i64) -> Option<Session> {
        (time_ms < self.last_ms).then(|| Session { first_ms: time_ms + 1, ..self })
    }
}

/// Sessions that came (`+1`) and went (`-1`).
pub(super) type SessionChanges = BTreeMap<Session, i64>;

/// The rows of one key and their sessions.
#[derive(Default)]
pub(super) struct Sessions {
    rows: Timed,
    /// Of all rows.
    bytes: usize,
    /// First time to last time.
    bounds: BTreeMap<i64, i64>,
}

impl Sessions {
    /// Whether no row is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows there are, and how many bytes they have.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.bytes)
    }

    /// All rows in order of time.
    pub(super) fn rows(&self) -> &Timed {
        &self.rows
    }

    /// Changes the rows and gives the sessions that changed on the way: the logarithm of the rows for each change.
    pub(super) fn apply(&mut self, changes: &Timed, gap_ms: i64) -> SessionChanges {
        let mut sessions = SessionChanges::new();
        let mut changes = changes.iter().peekable();
        while let Some(((time_ms, row), diff)) = changes.next() {
            let was_there = self.has(*time_ms);
            self.add(*time_ms, row, *diff);
            while let Some(((_, row), diff)) = changes.next_if(|((next_ms, _), _)| next_ms == time_ms) {
                self.add(*time_ms, row, *diff);
            }
            match (was_there, self.has(*time_ms)) {
                (false, true) => self.join(*time_ms, gap_ms, &mut sessions),
                (true, false) => self.split(*time_ms, gap_ms, &mut sessions),
                _ => {}
            }
        }
        sessions.retain(|_, diff| *diff != 0);
        sessions
    }

    /// The rows whose window changed, as `(session, row, change)`: of sessions that went, as the rows were before
    /// `changes`; of sessions that came, as they are; of those that stayed, what changed in them.
    pub(super) fn changed_rows<'a>(
        &'a self,
        changes: &'a Timed,
        sessions: &SessionChanges,
        emit: &mut impl FnMut(Session, &'a Row, i64),
    ) {
        for (session, _) in sessions.iter().filter(|(_, diff)| **diff < 0) {
            self.rows_before(changes, session, &mut |row, count| emit(*session, row, -count));
        }
        for (session, _) in sessions.iter().filter(|(_, diff)| **diff > 0) {
            self.rows.range(times(session)).for_each(|(key, count)| emit(*session, &key.1, *count));
        }
        for ((time_ms, row), diff) in changes {
            if let Some(session) = self.session_at(*time_ms).filter(|session| !sessions.contains_key(session)) {
                emit(session, row, *diff);
            }
        }
    }

    /// The rows whose session has another first time, as `(first time, row, change)`, and what changed in the others: a
    /// session that grows or shrinks at its end moves no row but those that came and went.
    pub(super) fn moved_rows<'a>(
        &'a self,
        changes: &'a Timed,
        sessions: &SessionChanges,
        emit: &mut impl FnMut(i64, &'a Row, i64),
    ) {
        // What is left of a session that went, and what was there of one that came, under the same first time.
        let mut stayed: BTreeMap<i64, i64> = BTreeMap::new();
        for (session, _) in sessions.iter().filter(|(_, diff)| **diff < 0) {
            let first_ms = session.first_ms;
            let mut gone = *session;
            if let Some(last_ms) = self.bounds.get(&first_ms) {
                let stays = Session { first_ms, last_ms: session.last_ms.min(*last_ms) };
                changes.range(times(&stays)).for_each(|((_, row), diff)| emit(first_ms, row, *diff));
                stayed.insert(first_ms, stays.last_ms);
                let Some(after) = session.after(stays.last_ms) else { continue };
                gone = after;
            }
            self.rows_before(changes, &gone, &mut |row, count| emit(first_ms, row, -count));
        }
        for (session, _) in sessions.iter().filter(|(_, diff)| **diff > 0) {
            let came = match stayed.get(&session.first_ms) {
                Some(last_ms) => session.after(*last_ms),
                None => Some(*session),
            };
            let Some(came) = came else { continue };
            self.rows.range(times(&came)).for_each(|((_, row), count)| emit(session.first_ms, row, *count));
        }
        for ((time_ms, row), diff) in changes {
            if let Some(session) = self.session_at(*time_ms).filter(|session| !sessions.contains_key(session)) {
                emit(session.first_ms, row, *diff);
            }
        }
    }

    /// The rows in the time of a session as they were before `changes`, with how often they were there.
    fn rows_before<'a>(&'a self, changes: &'a Timed, session: &Session, emit: &mut impl FnMut(&'a Row, i64)) {
        for (key, count) in self.rows.range(times(session)) {
            let before = count - changes.get(key).unwrap_or(&0);
            if before != 0 {
                emit(&key.1, before);
            }
        }
        for (key, diff) in changes.range(times(session)).filter(|(key, _)| !self.rows.contains_key(key)) {
            emit(&key.1, -*diff);
        }
    }

    /// The last time of the session with this first time.
    pub(super) fn last_of(&self, first_ms: i64) -> Option<i64> {
        self.bounds.get(&first_ms).copied()
    }

    /// All rows, each with the first time of its session.
    pub(super) fn rows_with_start(&self) -> impl Iterator<Item = (i64, &Row, i64)> {
        self.bounds.iter().flat_map(|bounds| {
            let session = session(bounds);
            self.rows.range(times(&session)).map(move |((_, row), count)| (session.first_ms, row, *count))
        })
    }

    /// The last time of the first session.
    pub(super) fn first_last(&self) -> Option<i64> {
        self.bounds.first_key_value().map(|(_, last_ms)| *last_ms)
    }

    /// Forgets the first session if its last time is one of those, and gives its rows.
    pub(super) fn forget_first(&mut self, is_final: impl Fn(i64) -> bool) -> Option<(Session, Vec<(Row, i64)>)> {
        let bounds = self.bounds.first_entry().filter(|bounds| is_final(*bounds.get()))?;
        let (first_ms, last_ms) = bounds.remove_entry();
        let mut rows = Vec::new();
        while let Some(entry) = self.rows.first_entry().filter(|entry| entry.key().0 <= last_ms) {
            let ((_, row), count) = entry.remove_entry();
            self.bytes -= row.len();
            rows.push((row, count));
        }
        Some((Session { first_ms, last_ms }, rows))
    }

    fn add(&mut self, time_ms: i64, row: &Row, diff: i64) {
        let before = self.rows.len();
        add(&mut self.rows, time_ms, row, diff);
        match self.rows.len().cmp(&before) {
            Ordering::Greater => self.bytes += row.len(),
            Ordering::Less => self.bytes -= row.len(),
            Ordering::Equal => {}
        }
    }

    fn has(&self, time_ms: i64) -> bool {
        self.rows.range(from(time_ms)..).next().is_some_and(|((found_ms, _), _)| *found_ms == time_ms)
    }

    /// The session whose first and last time have this time between them.
    fn session_at(&self, time_ms: i64) -> Option<Session> {
        let (first_ms, last_ms) = self.bounds.range(..=time_ms).next_back()?;
        (*last_ms >= time_ms).then_some(Session { first_ms: *first_ms, last_ms: *last_ms })
    }

    /// A time that had no row has one.
    fn join(&mut self, time_ms: i64, gap_ms: i64, changes: &mut SessionChanges) {
        if self.session_at(time_ms).is_some() {
            return;
        }
        let before = self.bounds.range(..time_ms).next_back().map(session);
        let after = self.bounds.range(time_ms..).next().map(session);
        let before = before.filter(|session| is_near(session.last_ms, time_ms, gap_ms));
        let after = after.filter(|session| is_near(time_ms, session.first_ms, gap_ms));
        for joined in before.iter().chain(&after) {
            self.change(*joined, -1, changes);
        }
        let first_ms = before.map_or(time_ms, |session| session.first_ms);
        let last_ms = after.map_or(time_ms, |session| session.last_ms);
        self.change(Session { first_ms, last_ms }, 1, changes);
    }

    /// A time that had rows has none.
    fn split(&mut self, time_ms: i64, gap_ms: i64, changes: &mut SessionChanges) {
        let session = self.session_at(time_ms).expect("a time that had rows was in a session");
        let before =
            self.rows.range(from(session.first_ms)..from(time_ms)).next_back().map(|((time_ms, _), _)| *time_ms);
        let after = self.rows.range(from(time_ms)..).next().map(|((time_ms, _), _)| *time_ms);
        let after = after.filter(|after_ms| *after_ms <= session.last_ms);
        if let (Some(before_ms), Some(after_ms)) = (before, after)
            && is_near(before_ms, after_ms, gap_ms)
        {
            return;
        }
        self.change(session, -1, changes);
        if let Some(last_ms) = before {
            self.change(Session { last_ms, ..session }, 1, changes);
        }
        if let Some(first_ms) = after {
            self.change(Session { first_ms, ..session }, 1, changes);
        }
    }

    fn change(&mut self, session: Session, diff: i64, changes: &mut SessionChanges) {
        if diff > 0 {
            self.bounds.insert(session.first_ms, session.last_ms);
        } else {
            self.bounds.remove(&session.first_ms);
        }
        *changes.entry(session).or_default() += diff;
    }
}

fn session((first_ms, last_ms): (&i64, &i64)) -> Session {
    Session { first_ms: *first_ms, last_ms: *last_ms }
}

fn is_near(before_ms: i64, after_ms: i64, gap_ms: i64) -> bool {
    after_ms.saturating_sub(before_ms) < gap_ms
}

/// The first possible row of a time.
fn from(time_ms: i64) -> (i64, Row) {
    (time_ms, Row::default())
}

/// The possible rows of a session.
fn times(session: &Session) -> impl RangeBounds<(i64, Row)> + use<> {
    let end = session.last_ms.checked_add(1).map_or(Bound::Unbounded, |after_ms| Bound::Excluded(from(after_ms)));
    (Bound::Included(from(session.first_ms)), end)
}

/// Adds to the multiplicity of a row, which goes when nothing is left of it.
pub(super) fn add(rows: &mut Timed, time_ms: i64, row: &Row, diff: i64) {
    match rows.entry((time_ms, row.clone())) {
        Entry::Vacant(entry) => {
            if diff != 0 {
                entry.insert(diff);
            }
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += diff;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
