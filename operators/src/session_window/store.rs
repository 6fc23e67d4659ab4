//! The rows of sessions that may still change: what session windows and session aggregates have in common.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::row::Rows;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Origin, error_delta, format};
use highwater_engine::operator::{Output, Share, StateSize};
use highwater_engine::rows::RowCodec;

use super::sessions::{Row, Session, SessionChanges, Sessions, Timed, add};
use super::{SessionWindowError, SessionWindowSpec};
use crate::float_keys::one_zero;
use crate::rows::{Loaded, Saved, as_i64, value};

/// Sessions by key.
pub(super) struct Store {
    name: String,
    pub(super) spec: SessionWindowSpec,
    keys: RowCodec,
    pub(super) rows: RowCodec,
    live: HashMap<Row, Live, FixedState>,
    /// Keys by a time at or before the end of their first session, each of them once or more; only if sessions become
    /// final. A session that grows is looked at when it could have ended, not with each of its rows.
    closing: BTreeSet<(i64, Row)>,
    closed_ms: Option<i64>,
    /// Of all rows, kept up with them: there may be millions.
    size: StateSize,
}

/// A key that has rows.
#[derive(Default)]
struct Live {
    sessions: Sessions,
    /// The earliest of the key's times in [`Store::closing`]: no session of the key ends before it.
    due_ms: Option<i64>,
}

/// Bytes that a row takes beside its own: its time, its count, its place in the map, the counts of a shared slice.
const ROW_BYTES: usize = 56;

impl Store {
    pub(super) fn new(name: &str, spec: SessionWindowSpec) -> Result<Store, SessionWindowError> {
        let fields = spec.input.fields();
        if let Some(index) = spec.key.iter().copied().chain([spec.time]).find(|index| *index >= fields.len()) {
            return Err(SessionWindowError::MissingColumn { index });
        }
        if !matches!(fields[spec.time].data_type(), DataType::Timestamp(TimeUnit::Millisecond, _)) {
            return Err(SessionWindowError::Time { index: spec.time });
        }
        if spec.gap_ms < 1 {
            return Err(SessionWindowError::Gap { gap_ms: spec.gap_ms });
        }
        let all: Vec<usize> = (0..fields.len()).collect();
        Ok(Store {
            name: name.to_owned(),
            keys: RowCodec::new(&spec.input, &spec.key)?,
            rows: RowCodec::new(&spec.input, &all)?,
            spec,
            live: HashMap::default(),
            closing: BTreeSet::new(),
            closed_ms: None,
            size: StateSize::default(),
        })
    }

    /// The rows of a tick by key; those for sessions that may have left memory are refused.
    pub(super) fn sorted(&self, input: &[Delta], output: &mut Output) -> BTreeMap<Row, Timed> {
        let mut touched = BTreeMap::new();
        for delta in input {
            self.sort(delta, &mut touched, output);
        }
        touched
    }

    fn sort(&self, delta: &Delta, touched: &mut BTreeMap<Row, Timed>, output: &mut Output) {
        let keys: Vec<ArrayRef> = self.spec.key.iter().map(|index| delta.batch.column(*index).clone()).collect();
        let keys = self.encode_keys(&keys, delta.len());
        let rows = self.rows.encode(delta.batch.columns(), delta.len());
        let times = as_i64(delta.batch.column(self.spec.time));
        let times = times.as_primitive::<Int64Type>();
        let mut late: Vec<usize> = Vec::new();
        for row in 0..delta.len() {
            let Some(time_ms) = value(times, row) else { continue };
            if self.is_late(time_ms) {
                late.push(row);
                continue;
            }
            let key = keys.row(row).data();
            let (bytes, diff) = (rows.row(row).data().into(), delta.diffs.at(row));
            match touched.get_mut(key) {
                Some(changes) => add(changes, time_ms, &bytes, diff),
                None => add(touched.entry(key.into()).or_default(), time_ms, &bytes, diff),
            }
        }
        refuse(delta, &late, output);
    }

    /// The keys of rows, given the columns of the key.
    pub(super) fn encode_keys(&self, columns: &[ArrayRef], rows: usize) -> Rows {
        let columns: Vec<ArrayRef> = columns.iter().map(one_zero).collect();
        self.keys.encode(&columns, rows)
    }

    /// Whether a row of this time could belong to a session that has left memory. One of exactly the last final
    /// time cannot: every forgotten window ended before it, or with it.
    fn is_late(&self, time_ms: i64) -> bool {
        let Some(offset_ms) = self.spec.final_offset_ms else { return false };
        self.closed_ms.is_some_and(|closed_ms| time_ms.saturating_add(offset_ms) < closed_ms)
    }

    /// Changes the rows of the touched keys; gives the sessions of each that changed, in the order of the keys. Keys
    /// without rows stay until [`Store::tidy`].
    pub(super) fn change(&mut self, touched: &BTreeMap<Row, Timed>) -> Vec<SessionChanges> {
        let mut changed: Vec<SessionChanges> = Vec::with_capacity(touched.len());
        for (key, changes) in touched {
            let live = self.live.entry(key.clone()).or_default();
            let before = live.sessions.size();
            changed.push(live.sessions.apply(changes, self.spec.gap_ms));
            resize(&mut self.size, before, live.sessions.size());
            if self.spec.final_offset_ms.is_some() {
                live.wait(key, &mut self.closing);
            }
        }
        changed
    }

    /// Forgets touched keys that have no rows left.
    pub(super) fn tidy<'a>(&mut self, touched: impl Iterator<Item = &'a Row>) {
        for key in touched {
            if self.live.get(key).is_some_and(|live| live.sessions.is_empty()) {
                self.live.remove(key);
            }
        }
    }

    /// Forgets the sessions that nothing can extend, join or split any more, and tells of each with its rows.
    pub(super) fn close(
        &mut self,
        finalized_ms: Option<i64>,
        mut forgotten: impl FnMut(&Row, Session, Vec<(Row, i64)>),
    ) {
        let (Some(finalized_ms), Some(offset_ms)) = (finalized_ms, self.spec.final_offset_ms) else { return };
        self.closed_ms = self.closed_ms.max(Some(finalized_ms));
        let gap_ms = self.spec.gap_ms;
        let is_final = |last_ms: i64| last_ms.saturating_add(gap_ms).saturating_add(offset_ms) <= finalized_ms;
        while let Some((due_ms, key)) = self.closing.pop_first() {
            if !is_final(due_ms) {
                self.closing.insert((due_ms, key));
                return;
            }
            let Some(live) = self.live.get_mut(&key) else { continue };
            let before = live.sessions.size();
            while let Some((session, rows)) = live.sessions.forget_first(is_final) {
                forgotten(&key, session, rows);
            }
            resize(&mut self.size, before, live.sessions.size());
            if live.sessions.is_empty() {
                self.live.remove(&key);
            } else {
                live.due_ms = None;
                live.wait(&key, &mut self.closing);
            }
        }
    }

    /// The sessions of a key.
    pub(super) fn sessions(&self, key: &Row) -> Option<&Sessions> {
        self.live.get(key).map(|live| &live.sessions)
    }

    /// All keys with their sessions, in the order of the keys.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Row, &Sessions)> {
        let mut all: Vec<_> = self.live.iter().map(|(key, live)| (key, &live.sessions)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter()
    }

    pub(super) fn window_end(&self, last_ms: i64) -> i64 {
        last_ms.saturating_add(self.spec.gap_ms)
    }

    pub(super) fn save(&self, shape: &str) -> Result<RecordBatch, StateError> {
        let all: Vec<(&Row, &Sessions)> = self.all().collect();
        let all = || {
            all.iter().flat_map(|(key, sessions)| {
                sessions.rows().iter().map(move |((time_ms, row), count)| (key, *time_ms, row, *count))
            })
        };
        let saved = Saved::new(&self.name, shape)
            .fact("closed_ms", self.closed_ms)
            .bytes("key", all().map(|(key, ..)| key))
            .numbers("time", all().map(|(_, time_ms, ..)| time_ms))
            .bytes("row", all().map(|(_, _, row, _)| row))
            .numbers("count", all().map(|(.., count)| count));
        saved.finish()
    }

    pub(super) fn load(&mut self, state: &[RecordBatch], shape: &str, share: Share) -> Result<(), StateError> {
        self.live.clear();
        self.closing.clear();
        self.closed_ms = None;
        self.size = StateSize::default();
        let mut rows: BTreeMap<Row, Timed> = BTreeMap::new();
        for batch in state {
            let loaded = Loaded::open(&self.name, shape, batch)?;
            self.closed_ms = self.closed_ms.max(loaded.fact("closed_ms")?);
            let (keys, bytes) = (loaded.bytes("key")?, loaded.bytes("row")?);
            let (times, counts) = (loaded.numbers("time")?, loaded.numbers("count")?);
            for row in (0..batch.num_rows()).filter(|row| self.owns(keys.value(*row), share)) {
                let timed = rows.entry(keys.value(row).into()).or_default();
                add(timed, times.value(row), &bytes.value(row).into(), counts.value(row));
            }
        }
        self.change(&rows);
        Ok(())
    }

    fn owns(&self, key: &[u8], share: Share) -> bool {
        if self.spec.key.is_empty() { share.index == 0 } else { share.owns(key) }
    }

    pub(super) fn size(&self) -> StateSize {
        self.size
    }
}

/// The size of all rows after those of a key changed: their number and bytes before and after.
fn resize(size: &mut StateSize, before: (usize, usize), after: (usize, usize)) {
    size.entries = size.entries + after.0 - before.0;
    size.bytes = size.bytes + after.1 + ROW_BYTES * after.0 - before.1 - ROW_BYTES * before.0;
}

impl Live {
    /// Has the key looked at once its first session may be final, if it is not looked at before.
    fn wait(&mut self, key: &Row, closing: &mut BTreeSet<(i64, Row)>) {
        let Some(last_ms) = self.sessions.first_last() else { return };
        if self.due_ms.is_none_or(|due_ms| last_ms < due_ms) {
            self.due_ms = Some(last_ms);
            closing.insert((last_ms, key.clone()));
        }
    }
}

/// Rows for sessions that may have left memory.
fn refuse(delta: &Delta, late: &[usize], output: &mut Output) {
    if late.is_empty() {
        return;
    }
    let text = |row: &usize| {
        let mut text = String::new();
        format::write_json_row(&mut text, &delta.batch, *row);
        ("session already closed".to_owned(), text)
    };
    let rows: Vec<(String, String)> = late.iter().map(text).collect();
    let diffs = late.iter().map(|row| delta.diffs.at(*row)).collect();
    output.errors.push(error_delta(&rows, diffs, Origin::Derived));
}
