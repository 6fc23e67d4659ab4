//! `SESSION(rel, ts, gap, key, …)`: rows of a key that follow each other closely form one window.
//!
//! Definition: out(t) = the rows of the input accumulated up to t that have a time, each with the window of its
//! session, as in `tests/reference/session_window.rs`. In order of time, a row belongs to the session of the row
//! before it if it comes less than the gap after it; exactly a gap later starts a new session. The window is
//! `[first time, last time + gap)`, so windows of a key never overlap (Flink's rule).
//!
//! Cost: of a change, the rows whose window is another afterwards, and the logarithm of the rows of the key.
//! State: the rows of sessions that may still change. With a final offset a session leaves memory when
//! `window_end + offset` is final, its rows stay published, and a row that comes for a final time is an error row.
//! A session that never pauses is kept whole, however long it lasts.
//! Reorg: a retraction may split a session; the rows of both parts are given again with their windows.

mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::{Class, Classified, StateError};
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{Delta, Origin, Progress, error_delta, format};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};
use highwater_engine::rows::RowCodec;

use crate::float_keys::one_zero;
use crate::rows::{Loaded, Saved, as_i64, value};
use sessions::{Row, Session, SessionChanges, Sessions, Timed, add};

/// Which rows form sessions.
#[derive(Clone, Debug)]
pub struct SessionWindowSpec {
    /// Columns of the input.
    pub input: SchemaRef,
    /// The `Timestamp(Millisecond)` column; rows without a time are in no session and are left out.
    pub time: usize,
    /// Columns whose equal values share sessions; none: all rows do.
    pub key: Vec<usize>,
    /// A row this many milliseconds or more after the one before it starts a new session. At least 1.
    pub gap_ms: i64,
    /// A row of time v neither comes nor goes once the finalised block time is v plus this (milliseconds).
    /// `None`: rows may always come and go, and nothing leaves memory.
    pub final_offset_ms: Option<i64>,
}

/// A session window that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionWindowError {
    /// A column index points past the input's columns.
    #[error("the input has no column {index}")]
    MissingColumn {
        /// The index.
        index: usize,
    },
    /// The time column is of another type.
    #[error("the time column {index} is not a timestamp (ms)")]
    Time {
        /// The index.
        index: usize,
    },
    /// A gap that separates nothing.
    #[error("the gap of a session is {gap_ms} ms, it must be at least 1 ms")]
    Gap {
        /// The gap, milliseconds.
        gap_ms: i64,
    },
    /// The columns cannot be encoded.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for SessionWindowError {
    fn class(&self) -> Class {
        Class::INTERNAL
    }
}

/// Rows with the windows of their sessions.
pub struct SessionWindow {
    name: String,
    spec: SessionWindowSpec,
    output: SchemaRef,
    keys: RowCodec,
    rows: RowCodec,
    live: BTreeMap<Row, Sessions>,
    /// Sessions by their last time, with their key; only if sessions become final.
    closing: BTreeSet<(i64, Row)>,
    closed_ms: Option<i64>,
}

impl SessionWindow {
    /// A session window with nothing in it. `name` is the view's, for messages.
    pub fn new(name: &str, spec: SessionWindowSpec) -> Result<SessionWindow, SessionWindowError> {
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
        let bounds = ["window_start", "window_end"].map(|name| Arc::new(Field::new(name, timestamp_type(), false)));
        let output = Arc::new(Schema::new(fields.iter().cloned().chain(bounds).collect::<Vec<_>>()));
        let all: Vec<usize> = (0..fields.len()).collect();
        Ok(SessionWindow {
            name: name.to_owned(),
            output,
            keys: RowCodec::new(&spec.input, &spec.key)?,
            rows: RowCodec::new(&spec.input, &all)?,
            spec,
            live: BTreeMap::new(),
            closing: BTreeSet::new(),
            closed_ms: None,
        })
    }

    /// Columns of the output: those of the input, `window_start`, `window_end`.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// How rows must reach the workers.
    pub fn route(&self) -> Route {
        if self.spec.key.is_empty() { Route::First } else { Route::Key(self.spec.key.clone()) }
    }

    /// The rows of a delta by key; those for sessions that may have left memory are refused.
    fn sort(&self, delta: &Delta, touched: &mut BTreeMap<Row, Timed>, output: &mut Output) {
        let keys: Vec<ArrayRef> = self.spec.key.iter().map(|index| one_zero(delta.batch.column(*index))).collect();
        let keys = self.keys.encode(&keys, delta.len());
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

    /// Whether a row of this time could belong to a session that has left memory. One of exactly the last final
    /// time cannot: every forgotten window ended before it, or with it.
    fn is_late(&self, time_ms: i64) -> bool {
        let Some(offset_ms) = self.spec.final_offset_ms else { return false };
        self.closed_ms.is_some_and(|closed_ms| time_ms.saturating_add(offset_ms) < closed_ms)
    }

    /// Changes the rows of the touched keys and emits those whose window changed.
    fn change(&mut self, touched: &BTreeMap<Row, Timed>, output: &mut Output) {
        let mut touched_sessions: Vec<SessionChanges> = Vec::with_capacity(touched.len());
        for (key, changes) in touched {
            let sessions = self.live.entry(key.clone()).or_default();
            let session_changes = sessions.apply(changes, self.spec.gap_ms);
            if self.spec.final_offset_ms.is_some() {
                reorder(&mut self.closing, key, &session_changes);
            }
            touched_sessions.push(session_changes);
        }
        let mut changed = Changed::default();
        let nothing = Sessions::default();
        for ((key, changes), session_changes) in touched.iter().zip(&touched_sessions) {
            let sessions = self.live.get(key).unwrap_or(&nothing);
            sessions.changed_rows(changes, session_changes, &mut |session, row, diff| changed.push(session, row, diff));
        }
        output.deltas.extend(changed.delta(self));
        for key in touched.keys() {
            if self.live.get(key).is_some_and(Sessions::is_empty) {
                self.live.remove(key);
            }
        }
    }

    /// Forgets the sessions that nothing can extend, join or split any more.
    fn close(&mut self, finalized_ms: i64, offset_ms: i64) {
        self.closed_ms = self.closed_ms.max(Some(finalized_ms));
        while let Some((last_ms, key)) = self.closing.pop_first() {
            if self.window_end(last_ms).saturating_add(offset_ms) > finalized_ms {
                self.closing.insert((last_ms, key));
                return;
            }
            let sessions = self.live.get_mut(&key).expect("a session that may close has rows");
            sessions.forget(last_ms);
            if sessions.is_empty() {
                self.live.remove(&key);
            }
        }
    }

    fn window_end(&self, last_ms: i64) -> i64 {
        last_ms.saturating_add(self.spec.gap_ms)
    }

    fn shape(&self) -> String {
        let types: Vec<&DataType> = self.spec.input.fields().iter().map(|field| field.data_type()).collect();
        let SessionWindowSpec { time, key, gap_ms, final_offset_ms, .. } = &self.spec;
        format!("sessions of {types:?} at {time} by {key:?}, gap {gap_ms}, final after {final_offset_ms:?}")
    }

    fn owns(&self, key: &[u8], share: Share) -> bool {
        if self.spec.key.is_empty() { share.index == 0 } else { share.owns(key) }
    }
}

impl TickOperator for SessionWindow {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        let mut touched = BTreeMap::new();
        for delta in &input {
            self.sort(delta, &mut touched, output);
        }
        self.change(&touched, output);
        if let (Some(finalized_ms), Some(offset_ms)) = (progress.finalized_ms, self.spec.final_offset_ms) {
            self.close(finalized_ms, offset_ms);
        }
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let all = || {
            self.live.iter().flat_map(|(key, sessions)| {
                sessions.rows().iter().map(move |((time_ms, row), count)| (key, *time_ms, row, *count))
            })
        };
        let saved = Saved::new(&self.name, &self.shape())
            .fact("closed_ms", self.closed_ms)
            .bytes("key", all().map(|(key, ..)| key))
            .numbers("time", all().map(|(_, time_ms, ..)| time_ms))
            .bytes("row", all().map(|(_, _, row, _)| row))
            .numbers("count", all().map(|(.., count)| count));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.live.clear();
        self.closing.clear();
        self.closed_ms = None;
        let name = self.name.clone();
        let mut rows: BTreeMap<Row, Timed> = BTreeMap::new();
        for batch in state {
            let loaded = Loaded::open(&name, &self.shape(), batch)?;
            self.closed_ms = self.closed_ms.max(loaded.fact("closed_ms")?);
            let (keys, bytes) = (loaded.bytes("key")?, loaded.bytes("row")?);
            let (times, counts) = (loaded.numbers("time")?, loaded.numbers("count")?);
            for row in (0..batch.num_rows()).filter(|row| self.owns(keys.value(*row), share)) {
                let timed = rows.entry(keys.value(row).into()).or_default();
                add(timed, times.value(row), &bytes.value(row).into(), counts.value(row));
            }
        }
        for (key, timed) in rows {
            let mut sessions = Sessions::default();
            let changes = sessions.apply(&timed, self.spec.gap_ms);
            if self.spec.final_offset_ms.is_some() {
                reorder(&mut self.closing, &key, &changes);
            }
            self.live.insert(key, sessions);
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        let rows = || self.live.values().flat_map(|sessions| sessions.rows().keys());
        StateSize { entries: rows().count(), bytes: rows().map(|(_, row)| row.len() + 56).sum() }
    }
}

/// Follows the sessions of a key in the order they may close.
fn reorder(closing: &mut BTreeSet<(i64, Row)>, key: &Row, changes: &SessionChanges) {
    // Those that went first: one that came may end at the same time.
    for (session, _) in changes.iter().filter(|(_, diff)| **diff < 0) {
        closing.remove(&(session.last_ms, key.clone()));
    }
    for (session, _) in changes.iter().filter(|(_, diff)| **diff > 0) {
        closing.insert((session.last_ms, key.clone()));
    }
}

/// Rows whose window changed, column by column.
#[derive(Default)]
struct Changed<'a> {
    rows: Vec<&'a [u8]>,
    starts: Vec<i64>,
    lasts: Vec<i64>,
    diffs: Vec<i64>,
}

impl<'a> Changed<'a> {
    fn push(&mut self, session: Session, row: &'a Row, diff: i64) {
        self.rows.push(row);
        self.starts.push(session.first_ms);
        self.lasts.push(session.last_ms);
        self.diffs.push(diff);
    }

    fn delta(self, operator: &SessionWindow) -> Option<Delta> {
        if self.rows.is_empty() {
            return None;
        }
        let ends = self.lasts.iter().map(|last_ms| operator.window_end(*last_ms)).collect::<Vec<_>>();
        let bounds = [self.starts, ends]
            .map(|times| Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC")) as ArrayRef);
        let input = operator.rows.decode(self.rows);
        let columns = input.columns().iter().cloned().chain(bounds).collect();
        let batch = RecordBatch::try_new(operator.output.clone(), columns)
            .expect("the rows decode to the columns they were made of, and each has a window");
        Some(Delta::derived(batch, self.diffs))
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
