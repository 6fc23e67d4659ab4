//! Keeps the first rows of an order: `ORDER BY … LIMIT k OFFSET o`, or `row_number() <= k` (also `rank()` and
//! `dense_rank()`) by partition.
//!
//! Definition: out(t) = of each partition of the input accumulated up to t, the rows whose number, counted in
//! the order of the sort keys, is above `offset` and at most `offset + limit`. Rows equal in the sort keys have
//! one rank; for `row_number()` ties go by the whole row, so that the answer is one, and copies of a row have a
//! number each. As in `tests/reference/top_k.rs`.
//!
//! Cost: a change costs a search in its partition. A change after the last row that is shown ends there; else
//! the rows up to the last one shown are walked once a tick, and no more of the partition. A partition that comes and
//! is final in one tick, as in a replay, keeps only its first rows.
//!
//! State: the rows of partitions that may still change, in order. With a closing column, a partition
//! leaves memory when its time is final and its rows stay published.
//! Reorg: a retraction takes its row out of the order and what follows moves up.

mod partition;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_engine::error::{Class, Classified, StateError};
use highwater_engine::model::{Delta, Diffs, Origin, Progress, error_delta, format};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};
use highwater_engine::rows::KeyTable;

use crate::codec::mismatch;
use crate::ordering::RowOrder;
use crate::rows::{Loaded, Saved, as_i64, value};
use partition::{Change, Numbers, Partition};

/// How the rows of a partition are numbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ranking {
    /// `row_number()`: every row has its own; ties go by the whole row.
    RowNumber,
    /// `rank()`: one more than the rows before; rows equal in the sort columns have the same.
    Rank,
    /// `dense_rank()`: as `rank()`, without gaps.
    DenseRank,
}

/// Which rows come first.
#[derive(Clone, Debug)]
pub struct TopKSpec {
    /// Columns of the input; the output has them too.
    pub input: SchemaRef,
    /// Columns of `PARTITION BY`; none: one order over everything.
    pub partition: Vec<usize>,
    /// Columns of `ORDER BY` with their direction and place of NULLs.
    pub sort: Vec<(usize, SortOptions)>,
    /// How many numbers are shown of a partition; with ranks that can be more rows.
    pub limit: usize,
    /// How many numbers are left out before them: the first one shown is `offset + 1`.
    pub offset: usize,
    /// Position within `partition` of a `Timestamp(Millisecond)` column after which a partition cannot change.
    pub closing: Option<usize>,
    /// What is counted by `limit` and `offset`.
    pub ranking: Ranking,
    /// Name of a last column of the output with the number of the row (`Int64`), if it is wanted.
    pub show_rank: Option<String>,
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

/// Bytes of a row in memory beside its key: pointers, counts, room in the tree.
const ROW_BYTES: usize = 64;

/// Partitions that close together.
#[derive(Default)]
struct Generation {
    keys: KeyTable,
    /// By id of the key.
    partitions: Vec<Partition>,
    /// It leaves with the tick it came with, and nothing is taken back in between: only the first rows matter.
    is_passing: bool,
}

impl Generation {
    fn id(&mut self, key: &[u8]) -> u32 {
        let id = self.keys.find_or_insert(key);
        if self.partitions.len() <= id as usize {
            self.partitions.resize_with(id as usize + 1, Partition::default);
        }
        id
    }

    /// Ids by key: an order that does not depend on what has come before.
    fn sorted(&self) -> Vec<u32> {
        let mut ids = self.keys.ids();
        ids.sort_unstable_by_key(|id| self.keys.key(*id));
        ids
    }
}

/// Changed rows of one tick, on their way to a batch.
#[derive(Default)]
struct Changes {
    changes: Vec<Change>,
    /// The bytes of each partition and where its changes end.
    partitions: Vec<(Box<[u8]>, usize)>,
}

impl Changes {
    fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let starts = std::iter::once(0).chain(self.partitions.iter().map(|(_, end)| *end));
        starts.zip(&self.partitions).flat_map(|(start, (partition, end))| {
            self.changes[start..*end].iter().map(|change| (partition.as_ref(), change.key.as_ref()))
        })
    }
}

/// The first rows of each partition.
pub struct TopK {
    name: String,
    spec: TopKSpec,
    output: SchemaRef,
    numbers: Numbers,
    order: RowOrder,
    /// By closing time; `None` for partitions that never close.
    live: BTreeMap<Option<i64>, Generation>,
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
        let number = spec.show_rank.as_ref().map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
        let output = match &number {
            Some(number) => Arc::new(Schema::new_with_metadata(
                spec.input.fields().iter().chain([number]).cloned().collect::<Vec<_>>(),
                spec.input.metadata().clone(),
            )),
            None => spec.input.clone(),
        };
        let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
        let after = count(spec.offset);
        let numbers = Numbers { ranking: spec.ranking, after, last: after.saturating_add(count(spec.limit)) };
        let order = RowOrder::new(&spec.input, &spec.partition, &spec.sort)?;
        Ok(TopK { name: name.to_owned(), spec, output, numbers, order, live: BTreeMap::new(), closed_ms: None })
    }

    /// Columns of the output: those of the input, then the number if it is shown.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// How rows must reach the workers.
    pub fn route(&self) -> Route {
        if self.spec.partition.is_empty() { Route::First } else { Route::Key(self.spec.partition.clone()) }
    }

    /// The closing times of rows, if partitions close.
    fn closings(&self, delta: &Delta) -> Option<ArrayRef> {
        self.spec.closing.map(|position| as_i64(delta.batch.column(self.spec.partition[position])))
    }

    /// Closing times of which rows are taken back.
    fn retracted(&self, input: &[Delta]) -> BTreeSet<i64> {
        let mut retracted = BTreeSet::new();
        for delta in input.iter().filter(|delta| !matches!(delta.diffs, Diffs::Uniform(diff) if diff > 0)) {
            let Some(times) = self.closings(delta) else { continue };
            let times = times.as_primitive::<Int64Type>();
            let rows = (0..delta.len()).filter(|row| delta.diffs.at(*row) <= 0);
            retracted.extend(rows.filter_map(|row| value(times, row)));
        }
        retracted
    }

    fn apply(
        &mut self,
        delta: &Delta,
        passes: impl Fn(Option<i64>) -> bool,
        touched: &mut Vec<(Option<i64>, u32)>,
        output: &mut Output,
    ) {
        let times = self.closings(delta);
        let closing = |row: usize| times.as_ref().and_then(|times| value(times.as_primitive::<Int64Type>(), row));
        let rows = self.order.encode(&delta.batch);
        let mut late: Vec<usize> = Vec::new();
        let mut start = 0;
        while start < delta.len() {
            // Rows of one partition mostly come together.
            let (closes, key) = (closing(start), rows.partition(start));
            let same = |row: &usize| closing(*row) == closes && rows.partition(*row) == key;
            let end = (start + 1..delta.len()).find(|row| !same(row)).unwrap_or(delta.len());
            let run = start..end;
            start = end;
            if closes.is_some() && closes <= self.closed_ms {
                late.extend(run);
                continue;
            }
            let new = || Generation { is_passing: passes(closes), ..Generation::default() };
            let generation = self.live.entry(closes).or_insert_with(new);
            let id = generation.id(key);
            let partition = &mut generation.partitions[id as usize];
            let mut matters = false;
            for row in run {
                matters |= match generation.is_passing {
                    true => partition.pass(rows.key(row), rows.sort_width(row), delta.diffs.at(row), self.numbers),
                    false => partition.add(rows.key(row), rows.sort_width(row), delta.diffs.at(row)),
                };
            }
            if matters && !partition.is_touched {
                partition.is_touched = true;
                touched.push((closes, id));
            }
        }
        refuse(delta, &late, output);
    }

    /// What has changed in the touched partitions; empty ones are forgotten.
    fn changes(&mut self, mut touched: Vec<(Option<i64>, u32)>) -> Changes {
        let live = &self.live;
        touched.sort_unstable_by_key(|(closing, id)| {
            (*closing, live.get(closing).map(|generation| generation.keys.key(*id)))
        });
        let mut found = Changes::default();
        for (closing, id) in touched {
            let Some(generation) = self.live.get_mut(&closing) else { continue };
            let partition = &mut generation.partitions[id as usize];
            let before = found.changes.len();
            partition.refresh(self.numbers, self.spec.show_rank.is_some(), &mut |change| found.changes.push(change));
            if found.changes.len() > before {
                found.partitions.push((generation.keys.key(id).into(), found.changes.len()));
            }
            if partition.is_empty() {
                *partition = Partition::default();
                generation.keys.remove(id);
            }
            if generation.keys.is_empty() {
                self.live.remove(&closing);
            }
        }
        found
    }

    fn delta(&self, found: &Changes) -> Option<Delta> {
        if found.changes.is_empty() {
            return None;
        }
        let mut columns = self.order.decode(found.rows());
        if self.spec.show_rank.is_some() {
            let numbers = found.changes.iter().map(|change| change.number);
            columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(found.changes.len()));
        let batch = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)
            .expect("the rows decode to the columns they were made of");
        Some(Delta::derived(batch, found.changes.iter().map(|change| change.diff).collect()))
    }

    fn shape(&self) -> String {
        let types: Vec<&DataType> = self.spec.input.fields().iter().map(|field| field.data_type()).collect();
        let TopKSpec { partition, sort, closing, .. } = &self.spec;
        format!("first rows of {types:?} by {partition:?}, order {sort:?}, closing {closing:?}")
    }

    fn owns(&self, key: &[u8], share: Share) -> bool {
        if self.spec.partition.is_empty() { share.index == 0 } else { share.owns(key) }
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        self.closed_ms = self.closed_ms.max(loaded.fact("closed_ms")?);
        let (closing, closes) = (loaded.numbers("closing")?, loaded.numbers("closes")?);
        let (keys, rows) = (loaded.bytes("partition")?, loaded.bytes("row")?);
        let (widths, counts) = (loaded.numbers("sort_width")?, loaded.numbers("count")?);
        for row in (0..batch.num_rows()).filter(|row| self.owns(keys.value(*row), share)).collect::<Vec<_>>() {
            let closing = (closes.value(row) == 1).then(|| closing.value(row));
            let width = usize::try_from(widths.value(row)).ok().filter(|width| *width <= rows.value(row).len());
            let width = width.ok_or_else(|| mismatch(&name, "a row is shorter than its sort columns"))?;
            let generation = self.live.entry(closing).or_default();
            let id = generation.id(keys.value(row));
            generation.partitions[id as usize].add(rows.value(row), width, counts.value(row));
        }
        Ok(())
    }
}

impl TickOperator for TopK {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        let mut touched = Vec::new();
        let retracted = self.retracted(&input);
        let first_rows_do = self.spec.ranking == Ranking::RowNumber;
        let passes = |closes: Option<i64>| {
            let is_final = closes.is_some() && closes <= progress.finalized_ms;
            first_rows_do && is_final && closes.is_none_or(|closes| !retracted.contains(&closes))
        };
        for delta in &input {
            self.apply(delta, passes, &mut touched, output);
        }
        let changes = self.changes(touched);
        output.deltas.extend(self.delta(&changes));
        if let (Some(finalized_ms), true) = (progress.finalized_ms, self.spec.closing.is_some()) {
            self.closed_ms = self.closed_ms.max(Some(finalized_ms));
            self.live.retain(|closing, _| closing.is_none() || *closing > Some(finalized_ms));
        }
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let mut all = Vec::new();
        for (closing, generation) in &self.live {
            for id in generation.sorted() {
                let rows = generation.partitions[id as usize].rows();
                all.extend(rows.map(|(row, entry)| (*closing, generation.keys.key(id), row, *entry)));
            }
        }
        let saved = Saved::new(&self.name, &self.shape())
            .fact("closed_ms", self.closed_ms)
            .numbers("closing", all.iter().map(|(closing, ..)| closing.unwrap_or(0)))
            .numbers("closes", all.iter().map(|(closing, ..)| i64::from(closing.is_some())))
            .bytes("partition", all.iter().map(|(_, partition, ..)| partition))
            .bytes("row", all.iter().map(|(_, _, row, _)| row))
            .numbers("sort_width", all.iter().map(|(.., entry)| i64::from(entry.sort_width)))
            .numbers("count", all.iter().map(|(.., entry)| entry.count));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.live.clear();
        self.closed_ms = None;
        state.iter().try_for_each(|batch| self.load_batch(batch, share))?;
        for partition in self.live.values_mut().flat_map(|generation| &mut generation.partitions) {
            partition.refresh(self.numbers, false, &mut |_| {});
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        let partitions = || self.live.values().flat_map(|generation| &generation.partitions);
        let rows = || partitions().flat_map(Partition::rows);
        StateSize { entries: rows().count(), bytes: rows().map(|(row, _)| row.len() + ROW_BYTES).sum() }
    }
}

/// Rows for partitions that have left memory.
pub(crate) fn refuse(delta: &Delta, late: &[usize], output: &mut Output) {
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
