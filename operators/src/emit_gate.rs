//! Holds rows back until they may be shown: `EMIT ON WINDOW CLOSE` and `EMIT ON FINALITY`.
//!
//! Definition: on window close, the rows whose time column has been reached by `now`; they are taken back
//! when `now` goes back or when they change. On finality, the rows that can no longer change, each shown
//! once and never corrected.
//!
//! State: rows that wait, consolidated; on window close also rows shown whose time is not final yet.
//! Reorg: a row that is taken back while it waits is never shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Origin, Progress, error_delta, format};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};
use highwater_engine::rows::RowCodec;
use highwater_engine::sink::Closing;

use crate::rows::{Loaded, Saved, as_i64, is_i64, value};
use crate::temporal_filter::{TemporalFilter, TemporalFilterError, TemporalFilterSpec};

/// When a row may be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmitPolicy {
    /// When the block time has reached this timestamp column; taken back if it goes back. NULL: at once.
    OnWindowClose {
        /// The column, `Timestamp(Millisecond)` or `Int64` milliseconds.
        time: usize,
    },
    /// When the row cannot change any more.
    OnFinality {
        /// How finality is read off the row; `None`: when the block it comes from is final. A row that
        /// does not say (NULL, or made by a stateful operator without `closing`) waits for the end of input.
        closing: Option<Closing>,
    },
}

/// A gate in front of a sink.
pub struct EmitGate(Gate);

enum Gate {
    WindowClose(TemporalFilter),
    Finality(FinalityGate),
}

impl EmitGate {
    /// A gate for rows of this schema. `name` is the sink's, for messages.
    pub fn new(name: &str, input: &SchemaRef, policy: EmitPolicy) -> Result<EmitGate, TemporalFilterError> {
        let output: Vec<usize> = (0..input.fields().len()).collect();
        Ok(EmitGate(match policy {
            EmitPolicy::OnWindowClose { time } => Gate::WindowClose(TemporalFilter::new(
                name,
                TemporalFilterSpec { input: input.clone(), valid_from: Some(time), valid_until: None, output },
            )?),
            EmitPolicy::OnFinality { closing } => {
                if let Some(Closing::Time(index) | Closing::Block(index)) = closing
                    && !input.fields().get(index).is_some_and(|field| is_i64(field.data_type()))
                {
                    return Err(TemporalFilterError::Bound { index });
                }
                let codec = RowCodec::new(input, &output)?;
                Gate::Finality(FinalityGate { name: name.to_owned(), closing, codec, waiting: BTreeMap::new() })
            }
        }))
    }

    /// Equal rows must meet, so that a retraction finds what it takes back.
    pub fn route(&self) -> Route {
        match &self.0 {
            Gate::WindowClose(filter) => filter.route(),
            Gate::Finality(gate) => Route::Key((0..gate.codec.schema().fields().len()).collect()),
        }
    }
}

impl TickOperator for EmitGate {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        match &mut self.0 {
            Gate::WindowClose(filter) => filter.on_tick(input, progress, output),
            Gate::Finality(gate) => gate.on_tick(input, progress, output),
        }
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        match &self.0 {
            Gate::WindowClose(filter) => filter.save(),
            Gate::Finality(gate) => gate.save(),
        }
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        match &mut self.0 {
            Gate::WindowClose(filter) => filter.load(state, share),
            Gate::Finality(gate) => gate.load(state, share),
        }
    }

    fn size(&self) -> StateSize {
        match &self.0 {
            Gate::WindowClose(filter) => filter.size(),
            Gate::Finality(gate) => gate.size(),
        }
    }
}

/// The height or time that stands for "only when everything is final".
const END_OF_INPUT: i64 = i64::MAX;

type Rows = BTreeMap<Arc<[u8]>, i64>;

struct FinalityGate {
    name: String,
    closing: Option<Closing>,
    codec: RowCodec,
    /// Rows by the height or time that makes them final.
    waiting: BTreeMap<i64, Rows>,
}

impl FinalityGate {
    fn hold(&mut self, delta: &Delta) {
        let rows = self.codec.encode(delta.batch.columns(), delta.len());
        let due: Option<ArrayRef> = self.closing.map(|closing| match closing {
            Closing::Time(index) | Closing::Block(index) => as_i64(delta.batch.column(index)),
        });
        let of_block = match (self.closing, delta.origin) {
            (None, Origin::Block(number)) => i64::try_from(number).unwrap_or(END_OF_INPUT),
            _ => END_OF_INPUT,
        };
        for row in 0..delta.len() {
            let due = due.as_ref().and_then(|due| value(due.as_primitive::<Int64Type>(), row)).unwrap_or(of_block);
            self.add(due, rows.row(row).data().into(), delta.diffs.at(row));
        }
    }

    fn add(&mut self, due: i64, row: Arc<[u8]>, diff: i64) {
        let rows = self.waiting.entry(due).or_default();
        let count = rows.entry(row.clone()).or_default();
        *count += diff;
        if *count == 0 {
            rows.remove(&row);
        }
        if rows.is_empty() {
            self.waiting.remove(&due);
        }
    }

    fn is_due(&self, due: i64, progress: &Progress) -> bool {
        match self.closing {
            _ if progress.end_of_input => true,
            Some(Closing::Time(_)) => due != END_OF_INPUT && progress.is_time_final(due),
            // Heights are not negative; one that is belongs to no block and is before all of them.
            Some(Closing::Block(_)) | None => {
                due != END_OF_INPUT && u64::try_from(due).map_or(true, |number| progress.is_final(number))
            }
        }
    }

    fn release(&mut self, progress: &Progress) -> Rows {
        let mut released = Rows::new();
        while let Some(entry) = self.waiting.first_entry() {
            let due = *entry.key();
            if !self.is_due(due, progress) {
                break;
            }
            let Some((_, rows)) = self.waiting.pop_first() else { break };
            for (row, count) in rows {
                *released.entry(row).or_default() += count;
            }
        }
        released
    }

    /// A retraction of a row that was shown as final: a broken promise of whoever made the row.
    fn refuse(&self, released: &mut Rows, output: &mut Output) {
        let broken: Rows = released.extract_if(.., |_, count| *count < 0).collect();
        let Some(delta) = self.codec.delta(&broken) else { return };
        let text = |row| {
            let mut text = String::new();
            format::write_json_row(&mut text, &delta.batch, row);
            ("a row changed after it was final".to_owned(), text)
        };
        let rows: Vec<(String, String)> = (0..delta.len()).map(text).collect();
        output.errors.push(error_delta(&rows, vec![1; rows.len()], Origin::Derived));
    }

    fn shape(&self) -> String {
        let types: Vec<&DataType> = self.codec.schema().fields().iter().map(|field| field.data_type()).collect();
        format!("finality gate of {types:?} by {:?}", self.closing)
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        let (dues, rows, counts) = (loaded.numbers("due")?, loaded.bytes("row")?, loaded.numbers("count")?);
        for row in (0..batch.num_rows()).filter(|row| share.owns(rows.value(*row))) {
            self.add(dues.value(row), rows.value(row).into(), counts.value(row));
        }
        Ok(())
    }
}

impl TickOperator for FinalityGate {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        input.iter().for_each(|delta| self.hold(delta));
        let mut released = self.release(progress);
        self.refuse(&mut released, output);
        output.deltas.extend(self.codec.delta(&released));
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let all =
            || self.waiting.iter().flat_map(|(due, rows)| rows.iter().map(move |(row, count)| (*due, row, *count)));
        let saved = Saved::new(&self.name, &self.shape())
            .numbers("due", all().map(|(due, _, _)| due))
            .bytes("row", all().map(|(_, row, _)| row))
            .numbers("count", all().map(|(_, _, count)| count));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.waiting.clear();
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        let entries = self.waiting.values().map(BTreeMap::len).sum();
        let bytes = self.waiting.values().flat_map(BTreeMap::keys).map(|row| row.len() + 48).sum();
        StateSize { entries, bytes }
    }
}
