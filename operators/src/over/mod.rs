//! SQL window functions over a changing relation: ranks, `lag` and `lead`, and functions of frames.
//!
//! Definition: out(t) = the rows of the input accumulated up to t, each with its answers, as in
//! `tests/reference/over.rs`. Rows are in the order of the sort keys; ties go by the whole row, so that the answer
//! is one; copies of a row have a place each. Peers (for ranks, RANGE and GROUPS) are rows equal in the sort keys.
//!
//! Cost: of one change, the rows whose answer it may change and the rows these see, plus a search and at most a
//! chunk of 64 rows. Running answers (ranks, frames from the start of the partition, `ewma`) go on from a state
//! kept at each chunk, so a row at the end costs the same however long the partition is; a row before it is
//! followed to the end. Answers that depend on the rows after (`percent_rank`, `cume_dist`, `ntile`, frames to
//! the end of the partition) are made anew for the whole partition.
//!
//! State: the rows of partitions that may still change, with what the calls read of them and what was answered.
//! With a closing column, a partition leaves memory when its time is final and its rows stay published.
//! Reorg: a retraction takes the last copy of its row out of the order, and the rows that saw it are answered
//! again. Sums are exact, so nothing of it is left in them.
//!
//! Errors: a sum that does not fit its type makes an error row in place of the row until it fits again; a row for
//! a partition that is already dropped makes an error row.

mod accumulator;
mod cell;
mod evaluate;
mod frame;
mod partition;
mod plan;
mod reach;
mod sequence;
mod spec;

use std::collections::BTreeMap;
use std::rc::Rc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Origin, Progress, error_delta, format};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};

pub use spec::{Bound, Distance, Frame, OverCall, OverError, OverFunction, OverSpec, Units};

use crate::codec::mismatch;
use crate::ordering::RowOrder;
use crate::rows::{Loaded, Saved, as_i64, value};
use crate::top_k::refuse;
use cell::{Cell, Reader};
use partition::{Changed, Gap};
use plan::Plan;
use sequence::{Element, Sequence};

/// A partition: when it closes, and its bytes.
type Place = (Option<i64>, Box<[u8]>);
/// The changes of one partition: of each row how many copies come or go, and where the row was read.
type Pending = BTreeMap<Rc<[u8]>, Net>;

/// The net change of one row in a tick.
struct Net {
    diff: i64,
    sort_width: usize,
    delta: usize,
    row: usize,
}

/// Window functions over one order.
pub struct Over {
    name: String,
    spec: OverSpec,
    output: SchemaRef,
    plan: Plan,
    order: RowOrder,
    /// By closing time (`None`: never), then by partition.
    live: BTreeMap<Option<i64>, BTreeMap<Box<[u8]>, Sequence>>,
    closed_ms: Option<i64>,
    read_rows: u64,
}

impl Over {
    /// Window functions that have seen nothing. `name` is the view's, for messages.
    pub fn new(name: &str, spec: OverSpec) -> Result<Over, OverError> {
        spec.check()?;
        Ok(Over {
            name: name.to_owned(),
            output: spec.output_schema()?,
            plan: Plan::new(&spec)?,
            order: RowOrder::new(&spec.input, &spec.partition, &spec.sort)?,
            spec,
            live: BTreeMap::new(),
            closed_ms: None,
            read_rows: 0,
        })
    }

    /// Columns of the output: those of the input, then one a call.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// How rows must reach the workers.
    pub fn route(&self) -> Route {
        self.spec.route()
    }

    /// How many rows have been read so far to answer: what the work grows with.
    pub fn read_rows(&self) -> u64 {
        self.read_rows
    }

    /// The net changes of a tick by partition.
    fn collect(&self, input: &[Delta], output: &mut Output) -> BTreeMap<Place, Pending> {
        let mut pending: BTreeMap<Place, Pending> = BTreeMap::new();
        for (index, delta) in input.iter().enumerate() {
            let column = |position: usize| as_i64(delta.batch.column(self.spec.partition[position]));
            let closing: Option<ArrayRef> = self.spec.closing.map(column);
            let rows = self.order.encode(&delta.batch);
            let mut late: Vec<usize> = Vec::new();
            for row in 0..delta.len() {
                let closing = closing.as_ref().and_then(|times| value(times.as_primitive::<Int64Type>(), row));
                if closing.is_some() && closing <= self.closed_ms {
                    late.push(row);
                    continue;
                }
                let changes = pending.entry((closing, rows.partition(row).into())).or_default();
                let first = Net { diff: 0, sort_width: rows.sort_width(row), delta: index, row };
                changes.entry(rows.key(row).into()).or_insert(first).diff += delta.diffs.at(row);
            }
            refuse(delta, &late, output);
        }
        pending
    }

    /// Applies the changes of one partition and answers again.
    fn revise(
        &mut self,
        (closing, key): &Place,
        pending: Pending,
        readers: &[Vec<Reader>],
        output: &mut Output,
    ) -> Vec<Changed> {
        let live = self.live.entry(*closing).or_default();
        let mut sequence = live.remove(key).unwrap_or_default();
        let mut gaps = Vec::new();
        for (row, net) in pending {
            for _ in net.diff..0 {
                let removed = sequence.remove(&row);
                if removed.is_none() {
                    output.failure =
                        Some("a row was taken back from a window function that it had never reached".into());
                    break;
                }
                gaps.push(Gap { key: row.clone(), removed });
            }
            if net.diff > 0 {
                let values = readers[net.delta].iter().map(|reader| reader.read(net.row)).collect();
                let element = Element { key: row.clone(), sort_width: net.sort_width, values, results: Box::default() };
                (0..net.diff).for_each(|_| sequence.insert(element.clone()));
                gaps.push(Gap { key: row, removed: None });
            }
        }
        let mut changed = Vec::new();
        let read = partition::refresh(&mut sequence, &self.plan, gaps, &mut changed);
        self.read_rows += read as u64;
        if !sequence.is_empty() {
            live.insert(key.clone(), sequence);
        } else if live.is_empty() {
            self.live.remove(closing);
        }
        changed
    }

    fn readers(&self, batch: &RecordBatch) -> Vec<Reader> {
        let slots = self.plan.slots.iter().zip(&self.plan.codecs);
        slots.map(|(slot, codec)| Reader::new(*slot, batch, codec.as_ref())).collect()
    }

    /// Rows of the output, and error rows for those with an answer that does not fit.
    fn emit(&self, changed: &[(Box<[u8]>, Vec<Changed>)], output: &mut Output) {
        let all = || changed.iter().flat_map(|(partition, rows)| rows.iter().map(move |row| (partition.as_ref(), row)));
        let failed_call = |row: &Changed| row.results.iter().position(|cell| *cell == Cell::TooLarge);
        let shown: Vec<(&[u8], &Changed)> = all().filter(|(_, row)| failed_call(row).is_none()).collect();
        if !shown.is_empty() {
            let mut columns = self.input_columns(&shown);
            let first = self.spec.input.fields().len();
            for (index, call) in self.plan.calls.iter().enumerate() {
                let codec = call.codec.and_then(|slot| self.plan.codecs[slot].as_ref());
                let cells = shown.iter().map(|(_, row)| &row.results[index]);
                columns.push(cell::column(self.output.field(first + index), codec, cells));
            }
            let batch = batch(&self.output, columns, shown.len());
            output.deltas.push(Delta::derived(batch, shown.iter().map(|(_, row)| row.diff).collect()));
        }
        let failed: Vec<(&[u8], &Changed)> = all().filter(|(_, row)| failed_call(row).is_some()).collect();
        if failed.is_empty() {
            return;
        }
        let rows = batch(&self.spec.input, self.input_columns(&failed), failed.len());
        let error = |(index, (_, row)): (usize, &(&[u8], &Changed))| {
            let call = failed_call(row).map_or("", |call| self.spec.calls[call].name.as_str());
            let mut text = String::new();
            format::write_json_row(&mut text, &rows, index);
            (format!("the sum \"{call}\" does not fit its type"), text)
        };
        let errors: Vec<(String, String)> = failed.iter().enumerate().map(error).collect();
        let diffs = failed.iter().map(|(_, row)| row.diff).collect();
        output.errors.push(error_delta(&errors, diffs, Origin::Derived));
    }

    fn input_columns(&self, rows: &[(&[u8], &Changed)]) -> Vec<ArrayRef> {
        self.order.decode(rows.iter().map(|(partition, row)| (*partition, row.key.as_ref())))
    }

    fn shape(&self) -> String {
        let types: Vec<&DataType> = self.spec.input.fields().iter().map(|field| field.data_type()).collect();
        let OverSpec { partition, sort, closing, .. } = &self.spec;
        format!("window functions of {types:?} by {partition:?}, order {sort:?}, closing {closing:?}")
    }

    fn owns(&self, key: &[u8], share: Share) -> bool {
        if self.spec.partition.is_empty() { share.index == 0 } else { share.owns(key) }
    }

    fn load_batch(&mut self, saved: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), saved)?;
        self.closed_ms = self.closed_ms.max(loaded.fact("closed_ms")?);
        let (closing, closes) = (loaded.numbers("closing")?, loaded.numbers("closes")?);
        let (keys, rows, widths) = (loaded.bytes("partition")?, loaded.bytes("row")?, loaded.numbers("sort_width")?);
        let owned: Vec<usize> = (0..saved.num_rows()).filter(|row| self.owns(keys.value(*row), share)).collect();
        let columns = self.order.decode(owned.iter().map(|row| (keys.value(*row), rows.value(*row))));
        let readers = self.readers(&batch(&self.spec.input, columns, owned.len()));
        for (index, row) in owned.into_iter().enumerate() {
            let closing = (closes.value(row) == 1).then(|| closing.value(row));
            let width = usize::try_from(widths.value(row)).ok().filter(|width| *width <= rows.value(row).len());
            let sort_width = width.ok_or_else(|| mismatch(&name, "a row is shorter than its sort columns"))?;
            let values = readers.iter().map(|reader| reader.read(index)).collect();
            let key: Rc<[u8]> = rows.value(row).into();
            let sequence = self.live.entry(closing).or_default().entry(keys.value(row).into()).or_default();
            sequence.insert(Element { key, sort_width, values, results: Box::default() });
        }
        Ok(())
    }
}

impl TickOperator for Over {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        let pending = self.collect(&input, output);
        let readers: Vec<Vec<Reader>> = input.iter().map(|delta| self.readers(&delta.batch)).collect();
        let mut changed = Vec::new();
        for (place, pending) in pending {
            let rows = self.revise(&place, pending, &readers, output);
            changed.push((place.1, rows));
        }
        self.emit(&changed, output);
        if let (Some(finalized_ms), true) = (progress.finalized_ms, self.spec.closing.is_some()) {
            self.closed_ms = self.closed_ms.max(Some(finalized_ms));
            self.live.retain(|closing, _| closing.is_none() || *closing > Some(finalized_ms));
        }
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let all = || {
            self.live.iter().flat_map(|(closing, partitions)| {
                partitions.iter().flat_map(move |(partition, rows)| {
                    rows.elements().map(move |element| (*closing, partition, element))
                })
            })
        };
        let width = |element: &Element| i64::try_from(element.sort_width).expect("a row is shorter than 2^63 bytes");
        let saved = Saved::new(&self.name, &self.shape())
            .fact("closed_ms", self.closed_ms)
            .numbers("closing", all().map(|(closing, ..)| closing.unwrap_or(0)))
            .numbers("closes", all().map(|(closing, ..)| i64::from(closing.is_some())))
            .bytes("partition", all().map(|(_, partition, _)| partition))
            .bytes("row", all().map(|(.., element)| &element.key))
            .numbers("sort_width", all().map(|(.., element)| width(element)));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.live.clear();
        self.closed_ms = None;
        state.iter().try_for_each(|batch| self.load_batch(batch, share))?;
        for sequence in self.live.values_mut().flat_map(BTreeMap::values_mut) {
            partition::start(sequence, &self.plan);
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        let rows = || self.live.values().flat_map(BTreeMap::values).flat_map(Sequence::elements);
        let cells = self.plan.slots.len() + self.plan.calls.len();
        let bytes = |element: &Element| size_of::<Element>() + element.key.len() + cells * size_of::<Cell>();
        StateSize { entries: rows().count(), bytes: rows().map(bytes).sum() }
    }
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .expect("the rows decode to the columns they were made of")
}
