//! Keeps the first rows of an order: `ORDER BY … LIMIT k OFFSET o`, or `row_number() <= k` by partition.
//!
//! Definition: out(t) = of each partition of the input accumulated up to t, the rows after the first
//! `offset` up to `limit` of them, in the order of the sort keys; ties go by the whole row, so that the
//! answer is one. As in `tests/reference/top_k.rs`.
//!
//! State: the rows of partitions that may still change, in order. With a closing column, a partition
//! leaves memory when its time is final and its rows stay published.
//! Reorg: a retraction takes its row out of the order and what follows moves up.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::row::{RowConverter, SortField};
use highwater_engine::error::{Class, Classified, StateError};
use highwater_engine::model::{Delta, Origin, Progress, error_delta, format};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};

use crate::rows::{Loaded, RowCodec, Saved, as_i64, value};

/// Which rows come first.
#[derive(Clone, Debug)]
pub struct TopKSpec {
    /// Columns of the input, and of the output.
    pub input: SchemaRef,
    /// Columns of `PARTITION BY`; none: one order over everything.
    pub partition: Vec<usize>,
    /// Columns of `ORDER BY` with their direction and place of NULLs.
    pub sort: Vec<(usize, SortOptions)>,
    /// How many rows are shown of a partition.
    pub limit: usize,
    /// How many rows are left out before them.
    pub offset: usize,
    /// Position within `partition` of a `Timestamp(Millisecond)` column after which a partition cannot change.
    pub closing: Option<usize>,
}

/// A top-k that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopKError {
    /// A column index points past the input's columns.
    #[error("the input has no column {index}")]
    MissingColumn {
        /// The index.
        index: usize,
    },
    /// A closing column that is not a partition column of type timestamp in milliseconds.
    #[error("the closing position {position} is not a partition column of type timestamp (ms)")]
    Closing {
        /// Position within the partition columns.
        position: usize,
    },
    /// The columns cannot be encoded.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for TopKError {
    fn class(&self) -> Class {
        Class::INTERNAL
    }
}

type Row = Arc<[u8]>;
/// Rows in order with their multiplicity.
type Ordered = BTreeMap<Row, i64>;

/// The first rows of each partition.
pub struct TopK {
    name: String,
    spec: TopKSpec,
    partitions: RowCodec,
    /// Sort columns in their order, then all columns: the order of rows, and what to show of them.
    converter: RowConverter,
    /// By closing time, then by partition key.
    live: BTreeMap<Option<i64>, BTreeMap<Row, Ordered>>,
    closed_ms: Option<i64>,
}

impl TopK {
    /// A top-k with nothing in it. `name` is the view's, for messages.
    pub fn new(name: &str, spec: TopKSpec) -> Result<TopK, TopKError> {
        let columns = spec.input.fields().len();
        let used = spec.partition.iter().copied().chain(spec.sort.iter().map(|(index, _)| *index));
        if let Some(index) = used.into_iter().find(|index| *index >= columns) {
            return Err(TopKError::MissingColumn { index });
        }
        if let Some(position) = spec.closing {
            let closes = |index: &usize| {
                matches!(spec.input.field(*index).data_type(), DataType::Timestamp(TimeUnit::Millisecond, _))
            };
            if !spec.partition.get(position).is_some_and(closes) {
                return Err(TopKError::Closing { position });
            }
        }
        let sorted = spec.sort.iter().map(|(index, options)| {
            SortField::new_with_options(spec.input.field(*index).data_type().clone(), *options)
        });
        let whole = spec.input.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(sorted.chain(whole).collect())?;
        let partitions = RowCodec::new(&spec.input, &spec.partition)?;
        Ok(TopK { name: name.to_owned(), spec, partitions, converter, live: BTreeMap::new(), closed_ms: None })
    }

    /// Columns of the output: those of the input.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.spec.input
    }

    /// How rows must reach the workers.
    pub fn route(&self) -> Route {
        if self.spec.partition.is_empty() { Route::First } else { Route::Key(self.spec.partition.clone()) }
    }

    fn apply(&mut self, delta: &Delta, touched: &mut BTreeMap<(Option<i64>, Row), Ordered>, output: &mut Output) {
        let column = |index: &usize| delta.batch.column(*index).clone();
        let keys: Vec<ArrayRef> = self.spec.partition.iter().map(column).collect();
        let closing: Option<ArrayRef> = self.spec.closing.map(|position| as_i64(&keys[position]));
        let keys = self.partitions.encode(&keys, delta.len());
        let columns: Vec<ArrayRef> = self
            .spec
            .sort
            .iter()
            .map(|(index, _)| column(index))
            .chain(delta.batch.columns().iter().cloned())
            .collect();
        let rows = self.converter.convert_columns(&columns).expect("the batch has the columns of the input");
        let mut late: Vec<usize> = Vec::new();
        for row in 0..delta.len() {
            let closing = closing.as_ref().and_then(|times| value(times.as_primitive::<Int64Type>(), row));
            if closing.is_some() && closing <= self.closed_ms {
                late.push(row);
                continue;
            }
            let partition: Row = keys.row(row).data().into();
            let ordered = self.live.entry(closing).or_default().entry(partition.clone()).or_default();
            let (limit, offset) = (self.spec.limit, self.spec.offset);
            touched.entry((closing, partition)).or_insert_with(|| shown(ordered, offset, limit));
            add(ordered, rows.row(row).data().into(), delta.diffs.at(row));
        }
        refuse(delta, &late, output);
    }

    /// Old and new rows of the touched partitions, without what they share.
    fn changes(&mut self, touched: BTreeMap<(Option<i64>, Row), Ordered>) -> Ordered {
        let mut changes = Ordered::new();
        for ((closing, partition), before) in touched {
            let Some(live) = self.live.get_mut(&closing) else { continue };
            let Some(ordered) = live.get(&partition) else { continue };
            for (row, count) in shown(ordered, self.spec.offset, self.spec.limit) {
                add(&mut changes, row, count);
            }
            for (row, count) in before {
                add(&mut changes, row, -count);
            }
            if ordered.is_empty() {
                live.remove(&partition);
            }
            if live.is_empty() {
                self.live.remove(&closing);
            }
        }
        changes
    }

    fn delta(&self, changes: &Ordered) -> Option<Delta> {
        if changes.is_empty() {
            return None;
        }
        let parser = self.converter.parser();
        let columns = self
            .converter
            .convert_rows(changes.keys().map(|row| parser.parse(row)))
            .expect("the bytes were made by this converter")
            .split_off(self.spec.sort.len());
        let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
        let batch = RecordBatch::try_new_with_options(self.spec.input.clone(), columns, &options)
            .expect("the rows decode to the columns they were made of");
        Some(Delta::derived(batch, changes.values().copied().collect()))
    }

    fn shape(&self) -> String {
        let types: Vec<&DataType> = self.spec.input.fields().iter().map(|field| field.data_type()).collect();
        let TopKSpec { partition, sort, closing, .. } = &self.spec;
        format!("top-k of {types:?} by {partition:?}, order {sort:?}, closing {closing:?}")
    }

    fn owns(&self, key: &[u8], share: Share) -> bool {
        if self.spec.partition.is_empty() { share.index == 0 } else { share.owns(key) }
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        self.closed_ms = self.closed_ms.max(loaded.fact("closed_ms")?);
        let (closing, closes) = (loaded.numbers("closing")?, loaded.numbers("closes")?);
        let (keys, rows, counts) = (loaded.bytes("partition")?, loaded.bytes("row")?, loaded.numbers("count")?);
        for row in (0..batch.num_rows()).filter(|row| self.owns(keys.value(*row), share)).collect::<Vec<_>>() {
            let closing = (closes.value(row) == 1).then(|| closing.value(row));
            let ordered = self.live.entry(closing).or_default().entry(keys.value(row).into()).or_default();
            add(ordered, rows.value(row).into(), counts.value(row));
        }
        Ok(())
    }
}

impl TickOperator for TopK {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        let mut touched = BTreeMap::new();
        for delta in &input {
            self.apply(delta, &mut touched, output);
        }
        let changes = self.changes(touched);
        output.deltas.extend(self.delta(&changes));
        if let (Some(finalized_ms), true) = (progress.finalized_ms, self.spec.closing.is_some()) {
            self.closed_ms = self.closed_ms.max(Some(finalized_ms));
            self.live.retain(|closing, _| closing.is_none() || *closing > Some(finalized_ms));
        }
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let all = || {
            self.live.iter().flat_map(|(closing, partitions)| {
                partitions.iter().flat_map(move |(partition, ordered)| {
                    ordered.iter().map(move |(row, count)| (*closing, partition, row, *count))
                })
            })
        };
        let saved = Saved::new(&self.name, &self.shape())
            .fact("closed_ms", self.closed_ms)
            .numbers("closing", all().map(|(closing, ..)| closing.unwrap_or(0)))
            .numbers("closes", all().map(|(closing, ..)| i64::from(closing.is_some())))
            .bytes("partition", all().map(|(_, partition, ..)| partition))
            .bytes("row", all().map(|(_, _, row, _)| row))
            .numbers("count", all().map(|(.., count)| count));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.live.clear();
        self.closed_ms = None;
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        let rows = || self.live.values().flat_map(BTreeMap::values).flat_map(BTreeMap::keys);
        StateSize { entries: rows().count(), bytes: rows().map(|row| row.len() + 48).sum() }
    }
}

/// The rows from `offset` on, `limit` of them.
fn shown(ordered: &Ordered, offset: usize, limit: usize) -> Ordered {
    let (mut skip, mut left) = (offset, limit);
    let mut shown = Ordered::new();
    for (row, count) in ordered {
        if left == 0 {
            break;
        }
        let count = usize::try_from(*count).unwrap_or(0);
        let skipped = skip.min(count);
        skip -= skipped;
        let take = left.min(count - skipped);
        left -= take;
        if take > 0 {
            shown.insert(row.clone(), i64::try_from(take).expect("at most the count of the row"));
        }
    }
    shown
}

fn add(ordered: &mut Ordered, row: Row, diff: i64) {
    let count = ordered.entry(row.clone()).or_default();
    *count += diff;
    if *count == 0 {
        ordered.remove(&row);
    }
}

/// Rows for partitions that have left memory.
fn refuse(delta: &Delta, late: &[usize], output: &mut Output) {
    if late.is_empty() {
        return;
    }
    let text = |row: &usize| {
        let mut text = String::new();
        format::write_json_row(&mut text, &delta.batch, *row);
        ("window already closed".to_owned(), text)
    };
    let rows: Vec<(String, String)> = late.iter().map(text).collect();
    let diffs = late.iter().map(|row| delta.diffs.at(*row)).collect();
    output.errors.push(error_delta(&rows, diffs, Origin::Derived));
}
