//! Keeps the rows that are valid now: `valid_from <= now < valid_until`, where `now` is the block time.
//!
//! Definition: out(t) = the rows of the input accumulated up to t whose bounds contain `now` of tick t
//! (a NULL bound is no bound), as in `tests/reference/temporal_filter.rs`.
//!
//! State: rows with a bound that is not final. A bound is final once the finalised block time has reached
//! it, because `now` never falls below that; a row with both bounds final (or absent) is forgotten, its
//! output stays as it is. A row without `valid_until` is kept no longer than until `valid_from` is final.
//!
//! Reorg: `now` may go back, and rows may be taken back; both are exact, because a row counts as often as
//! it was added, whether it is valid or not. Being linear in its rows, the filter may run on any worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::{Class, Classified, StateError};
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};
use highwater_engine::rows::RowCodec;

use crate::codec::mismatch;
use crate::rows::{Loaded, Saved, as_i64, is_i64, value};

/// Which rows are valid, and what is shown of them.
#[derive(Clone, Debug)]
pub struct TemporalFilterSpec {
    /// Columns of the input.
    pub input: SchemaRef,
    /// `Int64` (milliseconds since the epoch) or `Timestamp(Millisecond)`: valid from this time on. NULL: always.
    pub valid_from: Option<usize>,
    /// The same: valid before this time. NULL: for ever.
    pub valid_until: Option<usize>,
    /// Input columns that make the output.
    pub output: Vec<usize>,
}

/// A temporal filter that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemporalFilterError {
    /// A bound is missing or is not a time.
    #[error("the bound {index} is not a column of milliseconds or of timestamps (ms)")]
    Bound {
        /// Index of the column.
        index: usize,
    },
    /// The output columns cannot be encoded.
    #[error("encoding the output columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for TemporalFilterError {
    fn class(&self) -> Class {
        Class::INTERNAL
    }
}

type Row = Arc<[u8]>;
/// A bound, the other bound of the row, and the row: how often it is there.
type Bounds = BTreeMap<(i64, Option<i64>, Row), i64>;

/// Rows that come and go with the block time.
pub struct TemporalFilter {
    name: String,
    spec: TemporalFilterSpec,
    codec: RowCodec,
    now_ms: Option<i64>,
    finalized_ms: Option<i64>,
    by_from: Bounds,
    by_until: Bounds,
}

impl TemporalFilter {
    /// A filter with nothing in it. `name` is the view's, for messages.
    pub fn new(name: &str, spec: TemporalFilterSpec) -> Result<TemporalFilter, TemporalFilterError> {
        for index in [spec.valid_from, spec.valid_until].into_iter().flatten() {
            if !spec.input.fields().get(index).is_some_and(|field| is_i64(field.data_type())) {
                return Err(TemporalFilterError::Bound { index });
            }
        }
        let codec = RowCodec::new(&spec.input, &spec.output)?;
        Ok(TemporalFilter {
            name: name.to_owned(),
            spec,
            codec,
            now_ms: None,
            finalized_ms: None,
            by_from: Bounds::new(),
            by_until: Bounds::new(),
        })
    }

    /// Columns of the output.
    pub fn output_schema(&self) -> &SchemaRef {
        self.codec.schema()
    }

    /// Rows may stay where they are.
    pub fn route(&self) -> Route {
        Route::Local
    }

    /// Rows whose validity differs between the last tick and now.
    fn move_time(&self, to_ms: i64, changes: &mut BTreeMap<Row, i64>) {
        let Some(from_ms) = self.now_ms.filter(|now| *now != to_ms) else { return };
        let crossed = start(from_ms.min(to_ms))..start(from_ms.max(to_ms));
        let change = |from, until| i64::from(is_valid(from, until, to_ms)) - i64::from(is_valid(from, until, from_ms));
        // A row that crosses both bounds is invalid before and after, so no row is counted twice.
        for ((from, until, row), count) in self.by_from.range(crossed.clone()) {
            *changes.entry(row.clone()).or_default() += count * change(Some(*from), *until);
        }
        for ((until, from, row), count) in self.by_until.range(crossed) {
            *changes.entry(row.clone()).or_default() += count * change(*from, Some(*until));
        }
    }

    fn apply(&mut self, delta: &Delta, now_ms: i64, changes: &mut BTreeMap<Row, i64>) {
        let columns: Vec<ArrayRef> = self.spec.output.iter().map(|index| delta.batch.column(*index).clone()).collect();
        let rows = self.codec.encode(&columns, delta.len());
        let bound = |index: Option<usize>| index.map(|index| as_i64(delta.batch.column(index)));
        let (from, until) = (bound(self.spec.valid_from), bound(self.spec.valid_until));
        let at = |bound: &Option<ArrayRef>, row| {
            bound.as_ref().and_then(|times| value(times.as_primitive::<Int64Type>(), row))
        };
        for row in 0..delta.len() {
            let diff = delta.diffs.at(row);
            let (from, until) = (at(&from, row), at(&until, row));
            let bytes: Row = rows.row(row).data().into();
            self.keep(from, until, &bytes, diff);
            if is_valid(from, until, now_ms) {
                *changes.entry(bytes).or_default() += diff;
            }
        }
    }

    /// Remembers a row at each bound that time may still cross.
    fn keep(&mut self, from: Option<i64>, until: Option<i64>, row: &Row, diff: i64) {
        let open = |bound: &i64| self.finalized_ms.is_none_or(|finalized| *bound > finalized);
        let is_over = until.is_some_and(|until| !open(&until));
        if let Some(from) = from.filter(open).filter(|_| !is_over) {
            add(&mut self.by_from, (from, until, row.clone()), diff);
        }
        if let Some(until) = until.filter(open) {
            add(&mut self.by_until, (until, from, row.clone()), diff);
        }
    }

    /// Forgets bounds that time cannot cross any more.
    fn settle(&mut self, finalized_ms: i64) {
        self.by_from = self.by_from.split_off(&start(finalized_ms));
        let open = self.by_until.split_off(&start(finalized_ms));
        for ((until, from, row), _) in std::mem::replace(&mut self.by_until, open) {
            // Only rows that end before they begin are still there.
            if let Some(from) = from {
                self.by_from.remove(&(from, Some(until), row));
            }
        }
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        self.now_ms = self.now_ms.max(loaded.fact("now_ms")?);
        self.finalized_ms = self.finalized_ms.max(loaded.fact("finalized_ms")?);
        let (sides, bounds, others) = (loaded.numbers("side")?, loaded.numbers("bound")?, loaded.numbers("other")?);
        let (bounded, counts, rows) = (loaded.numbers("bounded")?, loaded.numbers("count")?, loaded.bytes("row")?);
        for row in 0..batch.num_rows() {
            if !share.owns(rows.value(row)) {
                continue;
            }
            let other = (bounded.value(row) == 1).then(|| others.value(row));
            let side = match sides.value(row) {
                0 => &mut self.by_from,
                1 => &mut self.by_until,
                side => return Err(mismatch(&name, format!("there is no side {side}"))),
            };
            add(side, (bounds.value(row), other, rows.value(row).into()), counts.value(row));
        }
        Ok(())
    }

    fn shape(&self) -> String {
        let types: Vec<&DataType> = self.codec.schema().fields().iter().map(|field| field.data_type()).collect();
        format!("temporal filter of {types:?} from {:?} until {:?}", self.spec.valid_from, self.spec.valid_until)
    }
}

impl TickOperator for TemporalFilter {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        let mut changes = BTreeMap::new();
        self.move_time(progress.now_ms, &mut changes);
        for delta in &input {
            self.apply(delta, progress.now_ms, &mut changes);
        }
        self.now_ms = Some(progress.now_ms);
        output.deltas.extend(self.codec.delta(&changes));
        if progress.finalized_ms > self.finalized_ms {
            self.finalized_ms = progress.finalized_ms;
            progress.finalized_ms.into_iter().for_each(|finalized_ms| self.settle(finalized_ms));
        }
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let sides = [(0, &self.by_from), (1, &self.by_until)];
        let all =
            || sides.iter().flat_map(|(side, bounds)| bounds.iter().map(move |(key, count)| (*side, key, *count)));
        let saved = Saved::new(&self.name, &self.shape())
            .fact("now_ms", self.now_ms)
            .fact("finalized_ms", self.finalized_ms)
            .numbers("side", all().map(|(side, _, _)| side))
            .numbers("bound", all().map(|(_, (bound, _, _), _)| *bound))
            .numbers("other", all().map(|(_, (_, other, _), _)| other.unwrap_or(0)))
            .numbers("bounded", all().map(|(_, (_, other, _), _)| i64::from(other.is_some())))
            .numbers("count", all().map(|(_, _, count)| count))
            .bytes("row", all().map(|(_, (_, _, row), _)| row));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        (self.now_ms, self.finalized_ms) = (None, None);
        self.by_from.clear();
        self.by_until.clear();
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        let bytes = |bounds: &Bounds| bounds.keys().map(|(_, _, row)| row.len() + 64).sum::<usize>();
        StateSize {
            entries: self.by_from.len() + self.by_until.len(),
            bytes: bytes(&self.by_from) + bytes(&self.by_until),
        }
    }
}

fn is_valid(from: Option<i64>, until: Option<i64>, now_ms: i64) -> bool {
    from.is_none_or(|from| from <= now_ms) && until.is_none_or(|until| now_ms < until)
}

/// The first possible entry with a bound after this time.
fn start(after_ms: i64) -> (i64, Option<i64>, Row) {
    (after_ms.saturating_add(1), None, Row::default())
}

fn add(bounds: &mut Bounds, key: (i64, Option<i64>, Row), diff: i64) {
    let count = bounds.entry(key.clone()).or_default();
    *count += diff;
    if *count == 0 {
        bounds.remove(&key);
    }
}
