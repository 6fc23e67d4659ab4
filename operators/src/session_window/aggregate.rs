//! `SELECT keys, calls FROM SESSION(…) GROUP BY key, window_start, window_end` in one step.
//!
//! Definition: out(t) = the groups of the rows of [`SessionWindow`](super::SessionWindow) at t by its keys and both
//! bounds of the window, with their results: one row a session.
//!
//! Taken apart, the rows of a session would all be counted anew whenever a row comes at its end, because they all get
//! another window. Here a session is known by its key and its first time, which a row at its end does not change, and
//! the end is put beside the results.
//! Cost: of a change, what the calls take for the rows whose session begins elsewhere afterwards (those of a session
//! that a gap before it no longer keeps apart; those behind a gap that opens; the whole session, if a row comes before
//! its first), and the logarithm of the rows of the key.
//! State: that of the sessions, of the calls, and one row a session. A session leaves memory when it is final.
//! Errors: of the calls, an error row in place of the session's row; a row for a session that has left memory is an
//! error row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use highwater_engine::error::{Class, Classified, StateError};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};
use highwater_engine::rows::RowCodec;

use super::sessions::Row;
use super::store::Store;
use super::{SessionWindowError, SessionWindowSpec, WINDOW_END, WINDOW_START, bound, times};
use crate::aggregate::{Aggregate, AggregateCall, AggregateError, AggregateSpec};

/// Bytes that a shown row takes beside its own: its session, its place in the map, and the counts of two shared slices.
const SHOWN_BYTES: usize = 96;

/// Sessions and what is computed of each.
#[derive(Clone, Debug)]
pub struct SessionAggregateSpec {
    /// Which rows form sessions. A key is of no float: of `-0.0` and `0.0` sessions make one key, groups two.
    pub sessions: SessionWindowSpec,
    /// The first columns of the output: every key of the sessions, and both bounds.
    pub keys: Vec<SessionKey>,
    /// The aggregate calls over the columns of the input, one output column each.
    pub calls: Vec<AggregateCall>,
}

/// What a row of a session is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionKey {
    /// One of [`SessionWindowSpec::key`], by its place there.
    Key(usize),
    /// The first time of the session.
    WindowStart,
    /// The last time of the session and the gap.
    WindowEnd,
}

impl SessionKey {
    /// Whether these are all keys of sessions that have so many, and both bounds, each of them once.
    pub fn are_whole(keys: &[SessionKey], count: usize) -> bool {
        let mut all = (0..count).map(SessionKey::Key).chain([SessionKey::WindowStart, SessionKey::WindowEnd]);
        keys.len() == count + 2 && all.all(|wanted| keys.contains(&wanted))
    }
}

impl SessionAggregateSpec {
    /// Whether sessions by a key of this type can be grouped by it.
    pub fn allows(key: &DataType) -> bool {
        !key.is_floating() && !key.is_nested()
    }
}

/// A session aggregate that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionAggregateError {
    /// The sessions cannot be had.
    #[error(transparent)]
    Sessions(#[from] SessionWindowError),
    /// The calls cannot be had.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// A key of the sessions is a float, or has one within.
    #[error("key {index} of the sessions is {data_type}")]
    KeyType {
        /// Place among the keys.
        index: usize,
        /// Its type.
        data_type: DataType,
    },
    /// A key of the sessions or a bound is no key of the output, or a key of the output is none of these.
    #[error("the keys are {keys:?}, not the {count} of the sessions and both bounds")]
    Keys {
        /// The keys.
        keys: Vec<SessionKey>,
        /// How many keys sessions have.
        count: usize,
    },
    /// The results cannot be encoded.
    #[error("encoding the results as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for SessionAggregateError {
    fn class(&self) -> Class {
        match self {
            SessionAggregateError::Aggregate(error) => error.class(),
            _ => Class::INTERNAL,
        }
    }
}

/// What is said of sessions, by their key and their first time.
type BySession<T> = HashMap<Row, BTreeMap<i64, T>, FixedState>;

/// The row of a session as it was emitted.
#[derive(Clone, PartialEq, Eq)]
struct Shown {
    /// Keys, first time and results.
    results: Row,
    last_ms: i64,
}

/// What became of the results of a session.
enum Results {
    Same,
    Gone,
    New(Row),
}

/// One row a session: its keys, its window and its results.
pub struct SessionAggregate {
    name: String,
    store: Store,
    keys: Vec<SessionKey>,
    /// By key and first time.
    grouping: AggregateSpec,
    aggregate: Aggregate,
    results: RowCodec,
    shown: BySession<Shown>,
    /// Of what is shown.
    shown_size: StateSize,
    output: SchemaRef,
}

impl SessionAggregate {
    /// A session aggregate with nothing in it. `name` is the view's, for messages.
    pub fn new(name: &str, spec: SessionAggregateSpec) -> Result<SessionAggregate, SessionAggregateError> {
        let SessionAggregateSpec { sessions, keys, calls } = spec;
        let store = Store::new(name, sessions)?;
        let key = &store.spec.key;
        for (index, column) in key.iter().enumerate() {
            let data_type = store.spec.input.field(*column).data_type();
            if !SessionAggregateSpec::allows(data_type) {
                return Err(SessionAggregateError::KeyType { index, data_type: data_type.clone() });
            }
        }
        if !SessionKey::are_whole(&keys, key.len()) {
            return Err(SessionAggregateError::Keys { keys, count: key.len() });
        }
        let fields = store.spec.input.fields();
        let input = Arc::new(Schema::new(fields.iter().cloned().chain([bound(WINDOW_START)]).collect::<Vec<_>>()));
        let grouping =
            AggregateSpec { keys: key.iter().copied().chain([fields.len()]).collect(), input, calls, closing: None };
        let aggregate = Aggregate::new(name, grouping.clone())?;
        let inner = aggregate.output_schema();
        let of = keys.iter().map(|key| match key {
            SessionKey::Key(index) => inner.fields()[*index].clone(),
            SessionKey::WindowStart => bound(WINDOW_START),
            SessionKey::WindowEnd => bound(WINDOW_END),
        });
        let output =
            Arc::new(Schema::new(of.chain(inner.fields()[key.len() + 1..].iter().cloned()).collect::<Vec<_>>()));
        let results = RowCodec::new(inner, &(0..inner.fields().len()).collect::<Vec<_>>())?;
        let name = name.to_owned();
        let (shown, shown_size) = (HashMap::default(), StateSize::default());
        Ok(SessionAggregate { name, store, keys, grouping, aggregate, results, shown, shown_size, output })
    }

    /// Columns of the output: keys and bounds, then calls.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// How rows must reach the workers.
    pub fn route(&self) -> Route {
        self.store.spec.route()
    }

    /// Gives rows to the calls; tells what became of the results of the sessions they are in.
    fn count(&mut self, rows: StartedRows, progress: &Progress, output: &mut Output) -> BySession<Results> {
        let mut inner = Output::default();
        self.aggregate.on_tick(
            rows.delta(&self.store, &self.grouping.input).into_iter().collect(),
            progress,
            &mut inner,
        );
        output.errors.append(&mut inner.errors);
        let mut changed: BySession<Results> = HashMap::default();
        let start = self.store.spec.key.len();
        for delta in &inner.deltas {
            let columns = delta.batch.columns();
            let keys = self.store.encode_keys(&columns[..start], delta.len());
            let starts = columns[start].as_primitive::<TimestampMillisecondType>();
            let results = self.results.encode(columns, delta.len());
            for row in 0..delta.len() {
                let of_key = changed.entry(keys.row(row).data().into()).or_default();
                if delta.diffs.at(row) > 0 {
                    of_key.insert(starts.value(row), Results::New(results.row(row).data().into()));
                } else {
                    of_key.entry(starts.value(row)).or_insert(Results::Gone);
                }
            }
        }
        changed
    }

    /// Brings what is shown of a key up to date, and notes the rows that went and came.
    fn show(&mut self, key: &Row, changed: BTreeMap<i64, Results>, rows: &mut ShownRows) {
        let sessions = self.store.sessions(key);
        let shown = self.shown.entry(key.clone()).or_default();
        for (start_ms, results) in changed {
            let old = shown.get(&start_ms);
            let results = match results {
                Results::Same => old.map(|old| old.results.clone()),
                Results::Gone => None,
                Results::New(results) => Some(results),
            };
            let last_ms = sessions.and_then(|sessions| sessions.last_of(start_ms));
            let new = results.zip(last_ms).map(|(results, last_ms)| Shown { results, last_ms });
            if old == new.as_ref() {
                continue;
            }
            rows.extend(old.cloned(), -1);
            rows.extend(new.clone(), 1);
            if let Some(new) = &new {
                grow(&mut self.shown_size, new);
            }
            let old = match new {
                Some(new) => shown.insert(start_ms, new),
                None => shown.remove(&start_ms),
            };
            if let Some(old) = old {
                shrink(&mut self.shown_size, &old);
            }
        }
        if shown.is_empty() {
            self.shown.remove(key);
        }
    }

    fn delta(&self, rows: ShownRows) -> Option<Delta> {
        if rows.diffs.is_empty() {
            return None;
        }
        let inner = self.results.decode(rows.shown.iter().map(|shown| shown.results.as_ref()));
        let ends = times(rows.shown.iter().map(|shown| self.store.window_end(shown.last_ms)).collect());
        let start = self.store.spec.key.len();
        let keys = self.keys.iter().map(|key| match key {
            SessionKey::Key(index) => inner.column(*index).clone(),
            SessionKey::WindowStart => inner.column(start).clone(),
            SessionKey::WindowEnd => ends.clone(),
        });
        let columns = keys.chain(inner.columns()[start + 1..].iter().cloned()).collect();
        let batch = RecordBatch::try_new(self.output.clone(), columns)
            .expect("results have the types of the output schema, and each has a window");
        Some(Delta::derived(batch, rows.diffs))
    }

    /// Forgets the sessions that are final. Their rows stay published, so what the calls say of it is not told.
    fn close(&mut self, progress: &Progress) {
        let mut gone = StartedRows::default();
        self.store.close(progress.finalized_ms, |key, session, rows| {
            if let Some(shown) = self.shown.get_mut(key) {
                if let Some(old) = shown.remove(&session.first_ms) {
                    shrink(&mut self.shown_size, &old);
                }
                if shown.is_empty() {
                    self.shown.remove(key);
                }
            }
            rows.into_iter().for_each(|(row, count)| gone.push(session.first_ms, row, -count));
        });
        if !gone.diffs.is_empty() {
            self.count(gone, progress, &mut Output::default());
        }
    }

    fn shape(&self) -> String {
        let calls: Vec<String> = self.grouping.calls.iter().map(|call| self.grouping.call_shape(call)).collect();
        format!("{}, aggregated as {}", self.store.spec.shape(), calls.join(", "))
    }
}

impl TickOperator for SessionAggregate {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        let touched = self.store.sorted(&input, output);
        if !touched.is_empty() {
            let session_changes = self.store.change(&touched);
            let mut moved = StartedRows::default();
            for ((key, changes), sessions) in touched.iter().zip(&session_changes) {
                if let Some(live) = self.store.sessions(key) {
                    live.moved_rows(changes, sessions, &mut |start, row, diff| moved.push(start, row.clone(), diff));
                }
            }
            let mut changed = self.count(moved, progress, output);
            let mut rows = ShownRows::default();
            for (key, sessions) in touched.keys().zip(&session_changes) {
                let mut changed = changed.remove(key).unwrap_or_default();
                for session in sessions.keys() {
                    changed.entry(session.first_ms).or_insert(Results::Same);
                }
                if !changed.is_empty() {
                    self.show(key, changed, &mut rows);
                }
            }
            output.deltas.extend(self.delta(rows));
            self.store.tidy(touched.keys());
        }
        self.close(progress);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        Ok(vec![self.store.save(&self.shape())?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        let shape = self.shape();
        self.store.load(state, &shape, share)?;
        self.shown.clear();
        self.shown_size = StateSize::default();
        self.aggregate = Aggregate::new(&self.name, self.grouping.clone())
            .expect("the same aggregate was built when the operator was");
        // The results are those of the rows, which tell them as one tick.
        let mut all = StartedRows::default();
        for (_, sessions) in self.store.all() {
            sessions.rows_with_start().for_each(|(start, row, count)| all.push(start, row.clone(), count));
        }
        let before = BlockHash([0; 32]);
        let progress = Progress::at(0, &BlockRef { number: 0, hash: before, parent: before, timestamp_ms: 0 });
        let results = self.count(all, &progress, &mut Output::default());
        results.into_iter().for_each(|(key, results)| self.show(&key, results, &mut ShownRows::default()));
        Ok(())
    }

    fn size(&self) -> StateSize {
        let parts = [self.store.size(), self.aggregate.size(), self.shown_size];
        StateSize {
            entries: parts.iter().map(|part| part.entries).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
        }
    }
}

fn grow(size: &mut StateSize, shown: &Shown) {
    size.entries += 1;
    size.bytes += shown.results.len() + SHOWN_BYTES;
}

fn shrink(size: &mut StateSize, shown: &Shown) {
    size.entries -= 1;
    size.bytes -= shown.results.len() + SHOWN_BYTES;
}

/// ShownRows for the calls, with the first time of their session.
#[derive(Default)]
struct StartedRows {
    rows: Vec<Row>,
    starts: Vec<i64>,
    diffs: Vec<i64>,
}

impl StartedRows {
    fn push(&mut self, start_ms: i64, row: Row, diff: i64) {
        self.rows.push(row);
        self.starts.push(start_ms);
        self.diffs.push(diff);
    }

    fn delta(self, store: &Store, schema: &SchemaRef) -> Option<Delta> {
        if self.diffs.is_empty() {
            return None;
        }
        let rows = store.rows.decode(self.rows.iter().map(AsRef::as_ref));
        let columns: Vec<ArrayRef> = rows.columns().iter().cloned().chain([times(self.starts)]).collect();
        let batch = RecordBatch::try_new(schema.clone(), columns)
            .expect("the rows decode to the columns they were made of, and each has a session");
        Some(Delta::derived(batch, self.diffs))
    }
}

/// ShownRows of sessions that went and came.
#[derive(Default)]
struct ShownRows {
    shown: Vec<Shown>,
    diffs: Vec<i64>,
}

impl ShownRows {
    fn extend(&mut self, row: Option<Shown>, diff: i64) {
        self.diffs.extend(row.iter().map(|_| diff));
        self.shown.extend(row);
    }
}
