//! Keeps `WITH RECURSIVE` and `WITH MUTUALLY RECURSIVE` true tick by tick.
//!
//! Definition: out(t) = the result binding after the last round over the inputs accumulated up to t, as
//! [`RecursionSpec`] says and `tests/reference/recursion.rs` writes down.
//!
//! The rounds are a loop of differential dataflow (McSherry, Murray, Isaacs, Isard: *Differential dataflow*,
//! CIDR 2013) in a timely worker of its own, without threads: the changes of a tick go in, the worker runs until
//! no round changes anything more, and what comes out is added up. A change costs what it changes in each
//! round, so the retraction of an edge is no more than the insertion of one.
//!
//! State: for each relation that a join or an aggregate reads, its rows and the rounds in which they come and
//! go, with a limit that holds within a tick too; it grows and shrinks with the inputs. Saved are the inputs;
//! loading works the rounds out again.
//! Reorg: a retraction is a change like any other.
//! Errors: rows that an expression inside cannot evaluate and that are there at the end of a tick. A tick that
//! needs more rounds than allowed ends the job.
//!
//! Floats: -0.0 comes out as 0.0, and every NaN as one, for rows are equal by their bytes.
//!
//! All rows go to the first worker: one round depends on the whole of the round before.

mod dataflow;
mod groups;
mod layout;
mod operators;
mod plan;
mod row;
mod spec;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TablesOperator};

pub use spec::{BatchFactory, Binding, Body, RecursionError, RecursionSpec, RecursiveJoin};

use crate::codec::mismatch;
use crate::rows::{Loaded, Saved};
use dataflow::{Changes, Session};
use operators::error_columns;
use plan::{Plan, types};
use row::{Columns, Row};

/// Bytes of an entry beside those of a long row: the row itself, its count, its place.
const ENTRY_BYTES: usize = 48;

/// A recursive query over changing relations.
///
/// With [`Body::Values`] or an aggregate without keys it has rows from the first tick on, whatever comes in; run it on
/// the first worker only ([`Recursion::routes`]), or call [`TablesOperator::load`] with no state on every
/// worker, which silences all but the first.
pub struct Recursion {
    name: String,
    spec: RecursionSpec,
    plan: Plan,
    inputs: Vec<Input>,
    output: Columns,
    errors: Columns,
    /// Built when there is something to do: other workers than the first never need it.
    session: Option<Session>,
    failure: Option<String>,
    result: Held,
    active: bool,
    /// Bytes that the rounds may take.
    limit: Option<usize>,
}

/// A relation from outside.
struct Input {
    columns: Columns,
    rows: BTreeMap<Row, i64>,
    held: Held,
}

/// How much there is of a relation.
#[derive(Clone, Copy, Default)]
struct Held {
    rows: i64,
    bytes: i64,
}

impl Held {
    fn add(&mut self, row: &Row, diff: i64) {
        let long = if let Row::Long(bytes) = row { bytes.len() } else { 0 };
        self.rows += diff;
        self.bytes += diff * i64::try_from(long + ENTRY_BYTES).expect("a row is in memory");
    }
}

impl Recursion {
    /// A recursion that has seen nothing. `name` is the view's, for messages.
    pub fn new(name: &str, spec: RecursionSpec) -> Result<Recursion, RecursionError> {
        let plan = Plan::new(&spec)?;
        // Built once here, so that building it later cannot fail.
        drop(Session::new(&spec, &plan)?);
        let inputs = spec
            .inputs
            .iter()
            .map(|schema| Ok(Input { columns: Columns::new(schema)?, rows: BTreeMap::new(), held: Held::default() }));
        Ok(Recursion {
            name: name.to_owned(),
            inputs: inputs.collect::<Result<_, RecursionError>>()?,
            output: Columns::new(&spec.bindings[spec.result].schema)?,
            errors: error_columns(),
            plan,
            spec,
            session: None,
            failure: None,
            result: Held::default(),
            active: true,
            limit: None,
        })
    }

    /// The same, ending with a reason once its rounds take more bytes than this, be it amid a tick.
    #[must_use]
    pub fn with_state_limit(self, bytes: Option<usize>) -> Recursion {
        Recursion { limit: bytes, ..self }
    }

    /// Columns of the output: those of the result binding.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.spec.bindings[self.spec.result].schema
    }

    /// How rows of each relation must reach the workers: all to the first.
    pub fn routes(&self) -> Vec<Route> {
        vec![Route::First; self.spec.inputs.len()]
    }

    /// A dataflow to which the constants are fed.
    fn start(&self) -> Session {
        let mut session = Session::new(&self.spec, &self.plan).expect("the same one was built before");
        for (at, batch) in self.plan.constants.iter().enumerate() {
            let rows = Columns::new(&batch.schema()).expect("the plan was made of these columns").encode(batch);
            session.feed(self.spec.inputs.len() + at, rows.into_iter().map(|row| (row, 1)));
        }
        session
    }

    fn emit(&mut self, changes: Changes, output: &mut Output) {
        if !changes.rows.is_empty() {
            changes.rows.iter().for_each(|(row, diff)| self.result.add(row, *diff));
            let batch = self.output.decode(changes.rows.iter().map(|(row, _)| row));
            output.deltas.push(Delta::derived(batch, changes.rows.iter().map(|(_, diff)| *diff).collect()));
        }
        if !changes.errors.is_empty() {
            let batch = self.errors.decode(changes.errors.keys());
            output.errors.push(Delta::derived(batch, changes.errors.values().copied().collect()));
        }
    }

    /// What a saved state must have been made for.
    fn shape(&self) -> String {
        let inputs: Vec<String> = self.spec.inputs.iter().map(|schema| format!("({})", types(schema))).collect();
        format!("recursion over {}", inputs.join(", "))
    }

    fn load_batch(&mut self, batch: &RecordBatch) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        let (relations, rows, counts) = (loaded.numbers("relation")?, loaded.bytes("row")?, loaded.numbers("count")?);
        for at in 0..batch.num_rows() {
            let relation = usize::try_from(relations.value(at)).ok();
            let input = relation.and_then(|relation| self.inputs.get_mut(relation));
            let input = input.ok_or_else(|| mismatch(&name, "a row of a relation that is not there"))?;
            input.add(Row::from(rows.value(at)), counts.value(at));
        }
        Ok(())
    }
}

impl Input {
    fn add(&mut self, row: Row, diff: i64) {
        let mut entry = match self.rows.entry(row) {
            Entry::Vacant(entry) => {
                self.held.add(entry.key(), 1);
                entry.insert_entry(0)
            }
            Entry::Occupied(entry) => entry,
        };
        *entry.get_mut() += diff;
        if *entry.get() == 0 {
            let (row, _) = entry.remove_entry();
            self.held.add(&row, -1);
        }
    }

    /// Net changes of a tick.
    fn changes(&self, deltas: &[Delta]) -> Vec<(Row, i64)> {
        let mut changes: Vec<(Row, i64)> = Vec::new();
        for delta in deltas.iter().filter(|delta| !delta.is_empty()) {
            let rows = self.columns.encode(&delta.batch).into_iter().enumerate();
            changes.extend(rows.map(|(at, row)| (row, delta.diffs.at(at))));
        }
        differential_dataflow::consolidation::consolidate(&mut changes);
        changes
    }
}

impl TablesOperator for Recursion {
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, _: &Progress, output: &mut Output) {
        if let Some(reason) = &self.failure {
            output.failure = Some(reason.clone());
            return;
        }
        if !self.active {
            debug_assert!(inputs.iter().flatten().all(Delta::is_empty), "rows go to the first worker");
            return;
        }
        let changes: Vec<Vec<(Row, i64)>> =
            self.inputs.iter().zip(&inputs).map(|(input, deltas)| input.changes(deltas)).collect();
        let first = self.session.is_none() && !self.plan.constants.is_empty();
        if !first && changes.iter().all(Vec::is_empty) {
            return;
        }
        let mut session = self.session.take().unwrap_or_else(|| self.start());
        for (index, changes) in changes.into_iter().enumerate() {
            changes.iter().for_each(|(row, diff)| self.inputs[index].add(row.clone(), *diff));
            session.feed(index, changes);
        }
        let changes = session.tick(self.limit);
        if let Some(reason) = &changes.failure {
            // What is in the loop now is not the answer to anything.
            self.failure = Some(reason.clone());
            output.failure = Some(reason.clone());
            return;
        }
        self.session = Some(session);
        self.emit(changes, output);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        if self.session.is_none() {
            return Ok(Vec::new());
        }
        let rows = || {
            let numbered = self.inputs.iter().zip(0_i64..);
            numbered.flat_map(|(input, index)| input.rows.iter().map(move |(row, count)| (index, row, *count)))
        };
        let saved = Saved::new(&self.name, &self.shape())
            .numbers("relation", rows().map(|(index, ..)| index))
            .bytes("row", rows().map(|(_, row, _)| row.as_bytes()))
            .numbers("count", rows().map(|(.., count)| count));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.session = None;
        self.failure = None;
        self.result = Held::default();
        self.active = share.index == 0;
        for input in &mut self.inputs {
            input.rows.clear();
            input.held = Held::default();
        }
        if !self.active || state.is_empty() {
            return Ok(());
        }
        state.iter().try_for_each(|batch| self.load_batch(batch))?;
        let mut session = self.start();
        for (index, input) in self.inputs.iter().enumerate() {
            session.feed(index, input.rows.iter().map(|(row, count)| (row.clone(), *count)));
        }
        // It was told before the state was saved.
        let changes = session.tick(self.limit);
        changes.rows.iter().for_each(|(row, diff)| self.result.add(row, *diff));
        self.failure = changes.failure;
        self.session = Some(session);
        Ok(())
    }

    fn size(&self) -> StateSize {
        let held = || self.inputs.iter().map(|input| input.held).chain([self.result]);
        let positive = |sum: i64| usize::try_from(sum).unwrap_or(0);
        let rounds = self.session.as_ref().map_or(0, Session::bytes);
        StateSize {
            entries: positive(held().map(|held| held.rows).sum()),
            bytes: positive(held().map(|held| held.bytes).sum()) + rounds,
        }
    }
}
