//! `SESSION(rel, ts, gap, key, …)`: rows of a key that follow each other closely form one window.
//!
//! Definition: out(t) = the rows of the input accumulated up to t that have a time, each with the window of its
//! session, as in `tests/reference/session_window.rs`. In order of time, a row belongs to the session of the row
//! before it if it comes less than the gap after it; exactly a gap later starts a new session. The window is
//! `[first time, last time + gap)`, so windows of a key never overlap (Flink's rule).
//!
//! Cost: of a change, the rows whose window is another afterwards, and the logarithm of the rows of the key. What is
//! computed of sessions costs less as [`SessionAggregate`].
//! State: the rows of sessions that may still change. With a final offset a session leaves memory when
//! `window_end + offset` is final, its rows stay published, and a row that comes for a final time is an error row.
//! A session that never pauses is kept whole, however long it lasts.
//! Reorg: a retraction may split a session; the rows of both parts are given again with their windows.

mod aggregate;
mod sessions;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::{Class, Classified, StateError};
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};

pub use aggregate::{SessionAggregate, SessionAggregateError, SessionAggregateSpec, SessionKey};

use sessions::{Row, Session, Sessions, Timed};
use store::Store;

const WINDOW_START: &str = "window_start";
const WINDOW_END: &str = "window_end";

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

impl SessionWindowSpec {
    fn route(&self) -> Route {
        if self.key.is_empty() { Route::First } else { Route::Key(self.key.clone()) }
    }

    /// What a saved state must have been made for.
    fn shape(&self) -> String {
        let types: Vec<&DataType> = self.input.fields().iter().map(|field| field.data_type()).collect();
        let SessionWindowSpec { time, key, gap_ms, final_offset_ms, .. } = self;
        format!("sessions of {types:?} at {time} by {key:?}, gap {gap_ms}, final after {final_offset_ms:?}")
    }
}

/// The column of a bound of a window.
fn bound(name: &str) -> FieldRef {
    Arc::new(Field::new(name, timestamp_type(), false))
}

fn times(milliseconds: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(milliseconds).with_timezone("UTC"))
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
    store: Store,
    output: SchemaRef,
}

impl SessionWindow {
    /// A session window with nothing in it. `name` is the view's, for messages.
    pub fn new(name: &str, spec: SessionWindowSpec) -> Result<SessionWindow, SessionWindowError> {
        let store = Store::new(name, spec)?;
        let fields = store.spec.input.fields().iter().cloned().chain([WINDOW_START, WINDOW_END].map(bound));
        Ok(SessionWindow { output: Arc::new(Schema::new(fields.collect::<Vec<_>>())), store })
    }

    /// Columns of the output: those of the input, `window_start`, `window_end`.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// How rows must reach the workers.
    pub fn route(&self) -> Route {
        self.store.spec.route()
    }

    /// Changes the rows of the touched keys and emits those whose window changed.
    fn change(&mut self, touched: &BTreeMap<Row, Timed>, output: &mut Output) {
        let session_changes = self.store.change(touched);
        let mut changed = Changed::default();
        let nothing = Sessions::default();
        for ((key, changes), session_changes) in touched.iter().zip(&session_changes) {
            let sessions = self.store.sessions(key).unwrap_or(&nothing);
            sessions.changed_rows(changes, session_changes, &mut |session, row, diff| changed.push(session, row, diff));
        }
        output.deltas.extend(changed.delta(self));
        self.store.tidy(touched.keys());
    }

    fn shape(&self) -> String {
        self.store.spec.shape()
    }
}

impl TickOperator for SessionWindow {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        let touched = self.store.sorted(&input, output);
        self.change(&touched, output);
        self.store.close(progress.finalized_ms, |_, _, _| {});
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        Ok(vec![self.store.save(&self.shape())?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        let shape = self.shape();
        self.store.load(state, &shape, share)
    }

    fn size(&self) -> StateSize {
        self.store.size()
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
        let ends = self.lasts.iter().map(|last_ms| operator.store.window_end(*last_ms)).collect::<Vec<_>>();
        let bounds = [self.starts, ends].map(times);
        let input = operator.store.rows.decode(self.rows);
        let columns = input.columns().iter().cloned().chain(bounds).collect();
        let batch = RecordBatch::try_new(operator.output.clone(), columns)
            .expect("the rows decode to the columns they were made of, and each has a window");
        Some(Delta::derived(batch, self.diffs))
    }
}
