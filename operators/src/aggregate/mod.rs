//! Keeps `SELECT keys, calls FROM input GROUP BY keys` true tick by tick.
//!
//! Definition: out(t) = the groups of the input accumulated up to t with their results, as in
//! `tests/reference/aggregate.rs`; a group exists while it has rows; without keys there is always one.
//!
//! State: one entry for each group that may still change. With a closing key, groups live in
//! *generations*, one for each closing time; when that time is final the generation is dropped as a
//! whole and its rows stay published. Without, a group lives as long as it has rows.
//!
//! Reorg: every accumulator takes changes of either sign, exactly (integer and wide sums, exact float
//! sums, multisets), so a retraction restores the state bit by bit.
//!
//! Errors: a sum that does not fit its type makes an error row in place of the group's row until it
//! fits again; a row for a generation that is already dropped makes an error row.

mod accumulators;
mod block;
mod function;
mod generation;
mod runs;
mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, LargeBinaryBuilder};
use arrow::datatypes::{Schema, SchemaRef, TimestampMillisecondType};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Diffs, Origin, Progress, RegionColumn, Regions, error_delta, format};
use highwater_engine::operator::{Output, Share, StateSize, TickOperator};
use highwater_engine::rows::{PackedCodec, PackedRows};

pub use block::BlockAggregate;
pub use function::{AggregateFunction, AggregateParameters};
pub use spec::{AggregateCall, AggregateError, AggregateSpec};

pub(crate) use accumulators::{ExactFloat, Wide};

use crate::codec::{Decoder, mismatch};
use crate::rows::{Loaded, Part, SMALL_ROWS, Saved, coalesce};
use generation::{Changes, Columns, Generation, SavedGroups, Slice};
use runs::{Run, closing_runs, sorted_by_closing};

const CLOSED_MS: &str = "closed_ms";
/// Emptied generations kept, so that a new window does not grow its tables from nothing.
const SPARE_GENERATIONS: usize = 8;

/// A grouped aggregate over a changing relation.
///
/// Without keys it emits its one row from the first tick on; run it on the first worker only
/// ([`AggregateSpec::route`]), or call [`TickOperator::load`] with no state on every worker, which
/// silences all but the first.
pub struct Aggregate {
    name: String,
    spec: AggregateSpec,
    output: SchemaRef,
    key_codec: PackedCodec,
    /// How keys are divided where generations do not do it.
    regions: Regions,
    /// By closing time; `None` for groups that never close.
    generations: BTreeMap<Option<i64>, Generation>,
    spare: Vec<Generation>,
    /// Groups that close up to this time are gone.
    closed_ms: Option<i64>,
    /// False on the workers that do not own the one group of an aggregate without keys.
    active: bool,
}

impl Aggregate {
    /// An aggregate with nothing in it. `name` is the view's, for messages.
    pub fn new(name: &str, spec: AggregateSpec) -> Result<Aggregate, AggregateError> {
        spec.check()?;
        let output = spec.output_schema()?;
        let key_schema: SchemaRef = Arc::new(Schema::new(output.fields()[..spec.keys.len()].to_vec()));
        let key_codec = key_codec(&key_schema, spec.closing.is_some())?;
        // Built once here so that building one later cannot fail.
        let first = Generation::new(&spec)?;
        let mut aggregate = Aggregate {
            name: name.to_owned(),
            spec,
            output,
            key_codec,
            regions: Regions::new(&key_schema),
            generations: BTreeMap::new(),
            spare: Vec::new(),
            closed_ms: None,
            active: true,
        };
        if aggregate.spec.keys.is_empty() {
            aggregate.generations.insert(None, first);
        }
        Ok(aggregate)
    }

    /// Columns of the output: keys, then calls.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    fn apply(&mut self, part: &Part, progress: &Progress, output: &mut Output) {
        let Some(position) = self.spec.closing else {
            let columns = self.spec.key_columns(&part.batch);
            let keys = Keys { encoded: &self.encode(&part.batch), regions: &self.regions.of(&columns) };
            self.apply_run(None, part, &keys, 0, progress);
            return;
        };
        let column = part.batch.column(self.spec.keys[position]).clone();
        let runs = closing_runs(&column);
        // Interleaved windows (HOP) would make a run of every row: bring them together first.
        let distinct: BTreeSet<Option<i64>> = runs.iter().map(|run| run.closing).collect();
        if runs.len() > 2 * distinct.len() + 2 {
            let part = sorted_by_closing(part, &column);
            let column = part.batch.column(self.spec.keys[position]).clone();
            self.apply_runs(&part, &closing_runs(&column), progress, output);
        } else {
            self.apply_runs(part, &runs, progress, output);
        }
    }

    fn apply_runs(&mut self, part: &Part, runs: &[Run], progress: &Progress, output: &mut Output) {
        // A generation is a time already.
        let keys = Keys { encoded: &self.encode(&part.batch), regions: &RegionColumn::One };
        for run in runs {
            if run.closing.is_some() && run.closing <= self.closed_ms && !self.generations.contains_key(&run.closing) {
                self.refuse(part, run, output);
                continue;
            }
            if runs.len() == 1 {
                self.apply_run(run.closing, part, &keys, 0, progress);
                continue;
            }
            let diffs = match &part.diffs {
                Diffs::Uniform(diff) => Diffs::Uniform(*diff),
                Diffs::Rows(diffs) => Diffs::Rows(diffs.slice(run.start, run.len)),
            };
            let slice = Part {
                batch: part.batch.slice(run.start, run.len),
                diffs,
                permanence: part.permanence.slice(run.start, run.len),
            };
            self.apply_run(run.closing, &slice, &keys, run.start, progress);
        }
    }

    fn apply_run(&mut self, closing: Option<i64>, part: &Part, keys: &Keys<'_>, offset: usize, progress: &Progress) {
        let (spec, spare) = (&self.spec, &mut self.spare);
        let generation = self.generations.entry(closing).or_insert_with(|| {
            let make = || Generation::new(spec).expect("the same generation was built when the operator was");
            spare.pop().unwrap_or_else(make)
        });
        generation.apply(
            spec,
            &Slice {
                batch: &part.batch,
                diffs: &part.diffs,
                permanence: &part.permanence,
                finalized_number: progress.finalized_number,
                keys: keys.encoded,
                regions: keys.regions,
                offset,
            },
        );
    }

    fn encode(&self, batch: &RecordBatch) -> PackedRows {
        self.key_codec.encode(&self.spec.key_columns(batch), batch.num_rows())
    }

    /// A row for a window that has left memory cannot be counted any more.
    fn refuse(&self, part: &Part, run: &Run, output: &mut Output) {
        let rows: Vec<(String, String)> = (run.start..run.start + run.len)
            .map(|row| {
                let mut text = String::new();
                format::write_json_row(&mut text, &part.batch, row);
                ("window already closed".to_owned(), text)
            })
            .collect();
        let diffs = (run.start..run.start + run.len).map(|row| part.diffs.at(row)).collect();
        output.errors.push(error_delta(&rows, diffs, Origin::Derived));
    }

    fn emit(&mut self, output: &mut Output) {
        let changes: Vec<Changes> =
            self.generations.values_mut().filter_map(|generation| generation.finish(&self.key_codec)).collect();
        for change in &changes {
            emit_failures(&self.key_codec, &change.failures, 1, Origin::Derived, output);
        }
        let (old, new): (Vec<Columns>, Vec<Columns>) =
            changes.into_iter().map(|change| (change.old, change.new)).unzip();
        let [old, new] = [old, new].map(|rows| batch_of(rows, &self.output));
        output.deltas.extend(deltas_of(old, new));
    }

    /// Drops generations that cannot change any more.
    fn close(&mut self, progress: &Progress) {
        let Some(finalized_ms) = progress.finalized_ms else { return };
        // Going by what is final and not by the end of input: a job may be continued after its input grew.
        if self.spec.closing.is_none() {
            return;
        }
        self.closed_ms = self.closed_ms.max(Some(finalized_ms));
        while let Some(closing) = self.generations.keys().copied().flatten().next()
            && closing <= finalized_ms
        {
            let Some(mut generation) = self.generations.remove(&Some(closing)) else { break };
            if self.spare.len() < SPARE_GENERATIONS {
                generation.clear();
                self.spare.push(generation);
            }
        }
    }

    /// What a saved state must have been made for.
    fn shape(&self) -> String {
        let calls: Vec<String> = self.spec.calls.iter().map(|call| self.spec.call_shape(call)).collect();
        let keys: Vec<String> =
            self.key_codec.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
        format!("aggregate by ({}) of {}, closing {:?}", keys.join(", "), calls.join(", "), self.spec.closing)
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        self.closed_ms = self.closed_ms.max(loaded.fact(CLOSED_MS)?);
        let (keys, counts) = (loaded.bytes("key")?, loaded.numbers("rows")?);
        let (columns, packed) = self.key_codec.load(keys.iter().flatten());
        let columns = columns.columns();
        let times = self.spec.closing.map(|position| columns[position].as_primitive::<TimestampMillisecondType>());
        let regions = if times.is_some() { RegionColumn::One } else { self.regions.of(columns) };
        let mut states = Vec::with_capacity(self.spec.calls.len());
        for index in 0..self.spec.calls.len() {
            states.push(loaded.bytes(&format!("state_{index}"))?);
        }
        for row in 0..batch.num_rows() {
            if !self.owns(keys.value(row), share) {
                continue;
            }
            let closing = times.and_then(|times| times.is_valid(row).then(|| times.value(row)));
            let mut decoders: Vec<Decoder<'_>> = states.iter().map(|states| Decoder(states.value(row))).collect();
            let generation = match self.generations.entry(closing) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(Generation::new(&self.spec).map_err(|error| mismatch(&name, error.to_string()))?)
                }
            };
            generation
                .load(regions.at(row), packed.row(row), counts.value(row), &mut decoders)
                .map_err(|truncated| truncated.of(&name))?;
        }
        Ok(())
    }

    fn owns(&self, key: &[u8], share: Share) -> bool {
        if self.spec.keys.is_empty() { share.index == 0 } else { share.owns(key) }
    }
}

impl TickOperator for Aggregate {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        if !self.active {
            debug_assert!(input.iter().all(Delta::is_empty), "rows without a key go to the first worker");
            return;
        }
        for part in coalesce(input, progress) {
            self.apply(&part, progress, output);
        }
        self.emit(output);
        self.close(progress);
        if let Some(finalized_number) = progress.finalized_number {
            self.generations.values_mut().for_each(|generation| generation.fold(finalized_number));
        }
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let calls = self.spec.calls.len();
        let mut groups =
            SavedGroups { keys: LargeBinaryBuilder::new(), counts: Vec::new(), states: vec![Vec::new(); calls] };
        self.generations.values().for_each(|generation| generation.save(&self.key_codec, &mut groups));
        let mut saved = Saved::new(&self.name, &self.shape())
            .fact(CLOSED_MS, self.closed_ms)
            .binary("key", groups.keys.finish())
            .numbers("rows", groups.counts);
        for (index, states) in groups.states.into_iter().enumerate() {
            saved = saved.bytes(&format!("state_{index}"), states);
        }
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.generations.clear();
        self.closed_ms = None;
        self.active = !self.spec.keys.is_empty() || share.index == 0;
        if self.spec.keys.is_empty() && self.active {
            let global = Generation::new(&self.spec).map_err(|error| mismatch(&self.name, error.to_string()))?;
            self.generations.insert(None, global);
        }
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        StateSize {
            entries: self.generations.values().map(Generation::len).sum(),
            bytes: self.generations.values().chain(&self.spare).map(Generation::bytes).sum(),
        }
    }
}

/// The keys of a part.
struct Keys<'a> {
    encoded: &'a PackedRows,
    regions: &'a RegionColumn<'a>,
}

/// Rows of all generations as one batch.
fn batch_of(parts: Vec<Columns>, schema: &SchemaRef) -> Option<RecordBatch> {
    let batch = |Columns { columns, rows }| {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .expect("results have the types of the output schema")
    };
    let mut batches: Vec<RecordBatch> = parts.into_iter().filter(|part| part.rows > 0).map(batch).collect();
    match batches.len() {
        0 => None,
        1 => batches.pop(),
        _ => Some(arrow::compute::concat_batches(schema, &batches).expect("the batches have one schema")),
    }
}

/// What goes and what comes, as one delta if they are small.
fn deltas_of(old: Option<RecordBatch>, new: Option<RecordBatch>) -> Vec<Delta> {
    let delta = |batch, diff| Delta { batch, diffs: Diffs::Uniform(diff), origin: Origin::Derived };
    let mut deltas: Vec<Delta> = Vec::with_capacity(2);
    deltas.extend(old.map(|batch| delta(batch, -1)));
    deltas.extend(new.map(|batch| delta(batch, 1)));
    if let [old, new] = &deltas[..]
        && old.len().max(new.len()) < SMALL_ROWS
    {
        let batch = arrow::compute::concat_batches(old.batch.schema_ref(), [&old.batch, &new.batch])
            .expect("the batches have one schema");
        let mut diffs = vec![-1; old.len()];
        diffs.resize(batch.num_rows(), 1);
        return vec![Delta::derived(batch, diffs)];
    }
    deltas
}

/// Error rows of groups whose result failed; the row shows the keys.
fn emit_failures(
    codec: &PackedCodec,
    failures: &[(Vec<u8>, String, i64)],
    sign: i64,
    origin: Origin,
    output: &mut Output,
) {
    if failures.is_empty() {
        return;
    }
    let keys = codec.decode(failures.iter().map(|(key, _, _)| key.as_slice()));
    let rows: Vec<(String, String)> = failures
        .iter()
        .enumerate()
        .map(|(row, (_, why, _))| {
            let mut text = String::new();
            format::write_json_row(&mut text, &keys, row);
            (why.clone(), text)
        })
        .collect();
    let diffs = failures.iter().map(|(_, _, diff)| diff * sign).collect();
    output.errors.push(error_delta(&rows, diffs, origin));
}

/// How keys are kept; `passing`: they leave with their window or their block.
fn key_codec(keys: &SchemaRef, passing: bool) -> Result<PackedCodec, AggregateError> {
    let columns: Vec<usize> = (0..keys.fields().len()).collect();
    Ok(if passing { PackedCodec::passing(keys, &columns) } else { PackedCodec::new(keys, &columns) }?)
}
