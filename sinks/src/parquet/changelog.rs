//! `mode = 'changelog'`: every change of the view, with its tick and sign.
//!
//! To the columns of the view come `_tick`, `_diff` (change of the row's count), `_op` (`insert` or
//! `retract`), `_block` (head of the chain at the tick) and `finality` (`final` if the row could not
//! change any more at that tick, else `latest`). The sum of `_diff` by row up to a tick is the view at
//! that tick. Files hold whole ticks, are named by them and are never rewritten.
//!
//! State: the rows of the ticks since the last file, at most `file_rows` and one tick.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::sink::{Closing, Sink, SinkError, SinkReport, SinkRequest, SinkState, SinkTick};
use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
use super::cadence::{Cadence, Timer};
use super::manifest::{Head, Manifest, Part};
use super::partition::Partition;
use super::store::Store;
use crate::common::{counted, encode_error, write_error};
use crate::lines::{count, op};

/// The columns of a change log of this view.
pub(super) fn schema(view: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = view.fields().iter().cloned().collect();
    let mut add = |name: &str, kind: DataType| fields.push(Arc::new(Field::new(name, kind, false)));
    add("_tick", DataType::Int64);
    add("_diff", DataType::Int64);
    add("_op", DataType::Utf8);
    add("_block", DataType::Int64);
    add("finality", DataType::Utf8);
    Arc::new(Schema::new(fields))
}

/// A running change log sink.
pub(super) struct Changelog {
    request: SinkRequest,
    schema: SchemaRef,
    store: Store,
    timer: Timer,
    partition: Option<Partition>,
    file_rows: usize,
    buffer: Buffer,
    /// First and last tick in the buffer.
    ticks: Option<(u64, u64)>,
    facts: Facts,
}

/// What a checkpoint keeps.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Facts {
    parts: Vec<Part>,
    head: Option<Head>,
    inserted: u64,
    retracted: u64,
}

impl Changelog {
    pub(super) fn new(
        request: SinkRequest,
        store: Store,
        cadence: Cadence,
        partition: Option<Partition>,
        file_rows: usize,
    ) -> Changelog {
        Changelog {
            schema: schema(&request.schema),
            request,
            store,
            timer: Timer::new(cadence),
            partition,
            file_rows,
            buffer: Buffer::default(),
            ticks: None,
            facts: Facts::default(),
        }
    }

    /// The rows of a file for one delta.
    fn rows(&self, delta: &Delta, progress: &Progress) -> Result<RecordBatch, ArrowError> {
        let len = delta.len();
        let diffs = delta.diffs.to_array(len);
        let ops = StringArray::from_iter_values(diffs.values().iter().map(|diff| op(*diff)));
        let mut columns: Vec<ArrayRef> = delta.batch.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_value(as_i64(progress.tick), len)));
        columns.push(Arc::new(diffs));
        columns.push(Arc::new(ops));
        columns.push(Arc::new(Int64Array::from_value(as_i64(progress.head_number), len)));
        columns.push(Arc::new(self.finality(&delta.batch, progress)));
        RecordBatch::try_new(self.schema.clone(), columns)
    }

    fn finality(&self, batch: &RecordBatch, progress: &Progress) -> StringArray {
        let word = |is_final: bool| if is_final { "final" } else { "latest" };
        let rows = 0..batch.num_rows();
        match self.request.closing {
            Some(Closing::Time(index)) => {
                let times = batch.column(index).as_primitive::<TimestampMillisecondType>();
                let is_final = |row| times.is_valid(row) && progress.is_time_final(times.value(row));
                StringArray::from_iter_values(rows.map(|row| word(is_final(row))))
            }
            Some(Closing::Block(index)) => {
                let blocks = batch.column(index).as_primitive::<Int64Type>();
                let is_final = |row| {
                    let number = u64::try_from(blocks.value(row)).unwrap_or(0);
                    blocks.is_valid(row) && (progress.end_of_input || progress.is_final(number))
                };
                StringArray::from_iter_values(rows.map(|row| word(is_final(row))))
            }
            None => StringArray::from_iter_values(rows.map(|_| word(!self.request.corrections))),
        }
    }

    /// Writes waiting ticks into files and lets them count.
    fn flush(&mut self) -> Result<(), SinkError> {
        if let Some((first, last)) = self.ticks {
            let parts = self.write_files(first, last)?;
            self.facts.parts.extend(parts);
            self.buffer.clear();
            self.ticks = None;
        }
        let manifest = Manifest::new(self.store.view(), "changelog", self.facts.head, self.facts.parts.clone());
        self.store.commit(&manifest)
    }

    fn write_files(&mut self, first: u64, last: u64) -> Result<Vec<Part>, SinkError> {
        let folders = self.by_folder().map_err(|error| self.encoding(error))?;
        let name = format!("{}__{first:012}_to_{last:012}", self.store.stem());
        let mut parts = Vec::new();
        for (folder, rows) in folders {
            let mut facts = vec![
                ("highwater.first_tick", first.to_string()),
                ("highwater.last_tick", last.to_string()),
                ("highwater.finality", if self.request.corrections { "latest" } else { "final" }.to_owned()),
            ];
            if let Some(head) = self.facts.head {
                facts.push(("highwater.last_block", head.block.to_string()));
            }
            let mut part = self.store.write(&folder, &name, rows.into_iter().map(Ok), &facts)?;
            part.first_tick = Some(first);
            part.last_tick = Some(last);
            parts.push(part);
        }
        Ok(parts)
    }

    fn by_folder(&self) -> Result<BTreeMap<String, Vec<RecordBatch>>, ArrowError> {
        let Some(partition) = &self.partition else {
            return Ok(BTreeMap::from([(String::new(), self.buffer.batches().to_vec())]));
        };
        let mut folders: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
        for batch in self.buffer.batches() {
            for (folder, rows) in partition.split(batch)? {
                folders.entry(folder).or_default().push(rows);
            }
        }
        Ok(folders)
    }

    fn encoding(&self, error: ArrowError) -> SinkError {
        encode_error(self.store.view(), error)
    }
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Sink for Changelog {
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        let rows: usize = tick.changes.iter().map(Delta::len).sum();
        if self.buffer.rows() > 0 && self.buffer.rows() + rows > self.file_rows {
            self.flush()?;
        }
        for delta in tick.changes.iter().filter(|delta| !delta.is_empty()) {
            let rows = self.rows(delta, tick.progress).map_err(|error| self.encoding(error))?;
            self.buffer.push(rows).map_err(|error| encode_error(self.store.view(), error))?;
            let (inserted, retracted) = count(delta);
            self.facts.inserted += inserted;
            self.facts.retracted += retracted;
        }
        if rows > 0 {
            self.ticks = Some((self.ticks.map_or(tick.tick, |(first, _)| first), tick.tick));
        }
        self.facts.head = Some(Head { block: tick.progress.head_number, time_ms: tick.progress.now_ms });
        if self.timer.due(tick.progress) {
            self.flush()?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        self.flush()?;
        let facts = serde_json::to_value(&self.facts)
            .map_err(|error| write_error("saving the state of", self.store.root(), error))?;
        Ok(SinkState { facts, rows: Vec::new() })
    }

    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError> {
        let facts: Facts = serde_json::from_value(state.facts.clone())
            .map_err(|error| write_error("loading the state of", self.store.root(), error))?;
        self.store.resume(&facts.parts)?;
        self.facts = facts;
        self.buffer.clear();
        self.ticks = None;
        self.flush()?;
        self.store.keep_only(&self.facts.parts)
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        if self.facts.parts.is_empty() && self.ticks.is_none() {
            // An empty file tells readers the columns.
            let name = format!("{}__{:012}_to_{:012}", self.store.stem(), 0, 0);
            let part = self.store.write("", &name, [], &[])?;
            self.facts.parts.push(part);
        }
        self.flush()?;
        let files = u64::try_from(self.facts.parts.len()).unwrap_or(u64::MAX);
        let place = format!("{} in {}", counted(files, "file"), self.store.root().display());
        Ok(SinkReport { inserted: self.facts.inserted, retracted: self.facts.retracted, place })
    }
}
