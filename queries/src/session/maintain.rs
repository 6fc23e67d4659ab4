//! One query of a session as a maintained view.

use std::sync::Arc;

use arrow::array::{AsArray as _, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::consolidate::{Consolidator, diff_column};
use highwater_engine::model::Delta;

use super::changes::{self, Feeding, Tick};
use super::define::at;
use super::live::{Live, Moment};
use super::table::{Table, internal};
use super::{Rows, Session, SessionError, moved};
use crate::plan::{JobPlan, PlannedView, Shown, plan};
use crate::sql::{QUERY, SessionStatement, relations_read};

/// What a maintained query was after each tick.
#[derive(Debug)]
pub struct Maintained {
    /// What each tick changed, consolidated.
    pub ticks: Vec<Vec<Delta>>,
    /// What came to the tables of the query in each tick: the name of the table, and its changes.
    pub inputs: Vec<Vec<(String, Delta)>>,
    view: Arc<PlannedView>,
    errors: Vec<Delta>,
}

impl Session {
    /// The rows of a query over all rows of the tables, in one tick.
    pub(super) fn at_once(&self, text: &str) -> Result<RecordBatch, SessionError> {
        self.run(text, 0, Feeding::Batch).and_then(|maintained| maintained.rows()).map(|rows| rows.batch)
    }

    /// A query maintained as the session says. `offset` is where it stands in its text.
    ///
    /// # Errors
    /// If the query is wrong.
    pub fn maintain(&self, text: &str, offset: usize) -> Result<Maintained, SessionError> {
        self.run(text, offset, self.feeding)
    }

    fn run(&self, text: &str, offset: usize, feeding: Feeding) -> Result<Maintained, SessionError> {
        let now_ms = self.outside.prepare(&self.needed(&reads_of_query(text)?))?.unwrap_or(self.now_ms);
        let (plan, view) = self.plan(text, offset)?;
        let tables = self.tables_of(&plan);
        let tables: Vec<&Table> = tables.iter().map(AsRef::as_ref).collect();
        let ticks = changes::ticks(&tables, feeding)?;
        self.dataflow(plan, view, ticks, now_ms)
    }

    /// What the tables of a plan hold: the session's own, and those from outside.
    pub(super) fn tables_of(&self, plan: &JobPlan) -> Vec<Held<'_>> {
        let held = plan.reloaded.iter().map(|table| match self.tables.get(&table.name) {
            Some(own) => Held::Own(own),
            None => Held::Outside(Box::new(Table::holding(table.rows.clone()))),
        });
        held.collect()
    }

    /// The plan of a query and the index of its view.
    pub(super) fn plan(&self, text: &str, offset: usize) -> Result<(JobPlan, usize), SessionError> {
        let needed = self.needed(&reads_of_query(text)?);
        let before = self.prefix(&|name| needed.iter().any(|needed| needed == name));
        let shift = before.len();
        let job = self.job(&(before + text)).map_err(|mistakes| at(moved(mistakes, shift), offset))?;
        let plan = plan(&job, &mut self.catalog()).map_err(|mistakes| at(moved(mistakes, shift), offset))?;
        let view = plan.views.iter().position(|view| view.name == QUERY);
        let view = view.ok_or_else(|| SessionError::Row("there is no query".to_owned()))?;
        Ok((plan, view))
    }

    /// The columns of the table that a statement makes.
    pub(super) fn table_schema(&self, statement: &str) -> Result<SchemaRef, SessionError> {
        let job = self.job(statement).map_err(SessionError::Statement)?;
        let planned = plan(&job, &mut self.catalog()).map_err(SessionError::Statement)?;
        let table = planned.reloaded.first();
        table.map(|table| table.rows.schema()).ok_or_else(|| SessionError::Row("there is no table".to_owned()))
    }

    fn dataflow(&self, plan: JobPlan, view: usize, ticks: Vec<Tick>, now_ms: i64) -> Result<Maintained, SessionError> {
        let plan = Arc::new(plan);
        let mut live = Live::start(plan.clone(), view, self.workers.max(1))?;
        let consolidator = Consolidator::new(plan.views[view].schema.clone(), None).map_err(internal)?;
        let shown = Arc::new(plan.views[view].clone());
        let mut maintained = Maintained { ticks: Vec::new(), inputs: Vec::new(), view: shown, errors: Vec::new() };
        for (tick, Tick { changes, final_ms }) in (1_u64..).zip(ticks) {
            let named = changes.iter().map(|(table, delta)| (plan.reloaded[*table].name.clone(), delta.clone()));
            maintained.inputs.push(named.collect());
            let changed = live.step(Moment { tick, now_ms, final_ms }, changes)?;
            maintained.errors.extend(changed.errors);
            maintained.ticks.push(consolidator.consolidate(&changed.rows).map_err(internal)?.into_iter().collect());
        }
        Ok(maintained)
    }
}

/// What a table of a query holds.
pub(super) enum Held<'s> {
    /// A table of the session.
    Own(&'s Table),
    /// A table from outside.
    Outside(Box<Table>),
}

impl AsRef<Table> for Held<'_> {
    fn as_ref(&self) -> &Table {
        match self {
            Held::Own(table) => table,
            Held::Outside(table) => table,
        }
    }
}

/// The plain names that the text of a query reads.
fn reads_of_query(text: &str) -> Result<Vec<String>, SessionError> {
    let (_, statements) = crate::sql::parse_session(text).map_err(SessionError::Statement)?;
    match statements.as_slice() {
        [SessionStatement::Query(query, _)] => Ok(relations_read(query)),
        _ => Err(SessionError::Row("one query is needed".to_owned())),
    }
}

/// The first row that could not be evaluated and still stands is an error.
pub(super) fn no_errors(errors: &[Delta]) -> Result<(), SessionError> {
    let consolidator = Consolidator::new(highwater_engine::model::errors_schema(), None).map_err(internal)?;
    match consolidator.consolidate(errors).map_err(internal)? {
        Some(errors) => Err(SessionError::Row(errors.batch.column(0).as_string::<i32>().value(0).to_owned())),
        None => Ok(()),
    }
}

impl Maintained {
    /// What it holds after the last tick, in the order of its ORDER BY.
    ///
    /// # Errors
    /// If a row could not be evaluated.
    pub fn rows(&self) -> Result<Rows, SessionError> {
        no_errors(&self.errors)?;
        let schema = self.view.schema.clone();
        let consolidator = Consolidator::new(schema.clone(), None).map_err(internal)?;
        let all: Vec<Delta> = self.ticks.iter().flatten().cloned().collect();
        let whole = consolidator.consolidate(&all).map_err(internal)?;
        let shown = self.view.shown.clone().unwrap_or(Shown { columns: schema.fields().len(), sort: Vec::new() });
        let columns: Vec<usize> = (0..shown.columns).collect();
        let rows = match whole {
            None => RecordBatch::new_empty(schema),
            Some(whole) => sorted(&repeated(&whole)?, &shown)?,
        };
        let batch = rows.project(&columns).map_err(internal)?;
        Ok(Rows { batch, ordered: !shown.sort.is_empty() })
    }
}

/// Each row as often as it is there.
fn repeated(whole: &Delta) -> Result<RecordBatch, SessionError> {
    let counts = diff_column(whole);
    if let Some(row) = counts.values().iter().position(|count| *count < 0) {
        let mut text = String::new();
        highwater_engine::model::format::write_json_row(&mut text, &whole.batch, row);
        return Err(SessionError::Row(format!("a row was taken back that was not there: {text}")));
    }
    let mut indices: Vec<u32> = Vec::new();
    for (row, count) in (0_u32..).zip(counts.values()) {
        indices.extend(std::iter::repeat_n(row, usize::try_from(*count).unwrap_or_default()));
    }
    take_record_batch(&whole.batch, &UInt32Array::from(indices)).map_err(internal)
}

fn sorted(rows: &RecordBatch, shown: &Shown) -> Result<RecordBatch, SessionError> {
    if shown.sort.is_empty() {
        return Ok(rows.clone());
    }
    let keys = shown.sort.iter().map(|key| SortColumn {
        values: rows.column(key.column).clone(),
        options: Some(SortOptions { descending: key.descending, nulls_first: key.nulls_first }),
    });
    // Rows of one place in the order stay in the order of the rows themselves.
    let place = UInt32Array::from_iter_values(0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX));
    let keys: Vec<SortColumn> = keys.chain([SortColumn { values: Arc::new(place), options: None }]).collect();
    let order = lexsort_to_indices(&keys, None).map_err(internal)?;
    take_record_batch(rows, &order).map_err(internal)
}
