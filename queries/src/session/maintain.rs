//! One query of a session as a maintained view.

use std::sync::Arc;

use arrow::array::{AsArray as _, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::record_batch::RecordBatch;
use highwater_engine::consolidate::{Consolidator, diff_column};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::runtime::{Runtime, RuntimeConfig, TickInput};
use highwater_engine::source::TableSchema;

use super::changes::{self, Feeding, Tick};
use super::define::at;
use super::table::{Table, internal};
use super::{Rows, Session, SessionError, moved};
use crate::plan::{Catalog, Emit, JobPlan, LoadError, LoadRequest, PlannedSink, PlannedView, Shown, SinkInput, plan};
use crate::render::{OutputPlan, Rendered, render};
use crate::sql::{QUERY, SessionStatement, Statement, TableStatement, relations_read};

/// The world outside a session: there is none.
pub(super) struct Tables;

impl Catalog for Tables {
    fn setting(&mut self, _: &crate::plan::PlannedSetting) -> Result<(), LoadError> {
        Ok(())
    }

    fn secret(&mut self, request: &LoadRequest) -> Result<String, LoadError> {
        Err(refused("secret", request))
    }

    fn open_source(&mut self, request: &LoadRequest) -> Result<Vec<TableSchema>, LoadError> {
        Err(refused("source", request))
    }

    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError> {
        Err(refused("table", request))
    }

    fn check_sink(&mut self, _: &PlannedSink, _: &PlannedView) -> Result<(), LoadError> {
        Ok(())
    }
}

fn refused(kind: &'static str, request: &LoadRequest) -> LoadError {
    LoadError::UnknownConnector { kind, name: request.connector.clone(), known: Vec::new() }
}

/// What a maintained query was after each tick.
#[derive(Debug)]
pub struct Maintained {
    /// What each tick changed, consolidated.
    pub ticks: Vec<Vec<Delta>>,
    /// What each tick was fed: changes of tables, by name.
    pub fed: Vec<Vec<(String, Delta)>>,
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
        let plan = self.plan(text, offset)?;
        let view = plan.views.iter().position(|view| view.name == QUERY);
        let view = view.ok_or_else(|| SessionError::Row("there is no query".to_owned()))?;
        let tables = plan.reloaded.iter().map(|table| {
            let found = self.tables.get(&table.name);
            found.ok_or_else(|| SessionError::Row(format!("table \"{}\" has no rows of this session", table.name)))
        });
        let tables = tables.collect::<Result<Vec<&Table>, _>>()?;
        let ticks = changes::ticks(&tables, feeding)?;
        self.dataflow(plan, view, ticks)
    }

    fn plan(&self, text: &str, offset: usize) -> Result<JobPlan, SessionError> {
        let (_, statements) = crate::sql::parse_session(text).map_err(SessionError::Statement)?;
        let reads = match statements.as_slice() {
            [SessionStatement::Query(query, _)] => relations_read(query),
            _ => return Err(SessionError::Row("one query is needed".to_owned())),
        };
        let needed = self.needed(&reads);
        let before = self.prefix(&|name| needed.iter().any(|needed| needed == name));
        let shift = before.len();
        let job = self.job(&(before + text)).map_err(|mistakes| at(moved(mistakes, shift), offset))?;
        plan(&job, &mut Tables).map_err(|mistakes| at(moved(mistakes, shift), offset))
    }

    /// The schema of a table's columns.
    pub(super) fn table_schema(&self, table: &TableStatement) -> Result<arrow::datatypes::SchemaRef, SessionError> {
        let columns: Vec<String> = table.columns.iter().map(ToString::to_string).collect();
        let text = format!("CREATE TABLE t ({})", columns.join(", "));
        let mut job = self.job(&text).map_err(SessionError::Statement)?;
        job.statements.retain(|statement| matches!(statement, Statement::Table(_)));
        let planned = plan(&job, &mut Tables).map_err(SessionError::Statement)?;
        Ok(planned.reloaded[0].rows.schema())
    }

    fn dataflow(&self, plan: JobPlan, view: usize, ticks: Vec<Tick>) -> Result<Maintained, SessionError> {
        let failed = |error: highwater_engine::error::BoxError| SessionError::Dataflow(error);
        let plan = Arc::new(plan);
        let output = |input| OutputPlan { input, emit: Emit::Changes };
        let outputs = vec![output(SinkInput::View(view)), output(SinkInput::Errors(view))];
        let Rendered { build, constants } = render(plan.clone(), outputs).map_err(|error| failed(error.into()))?;
        let workers = self.workers.max(1);
        let tables = constants.len() + plan.reloaded.len();
        let config = RuntimeConfig { workers, in_flight: 1, tables, outputs: 2 };
        let mut runtime = Runtime::start(config, build).map_err(|error| failed(error.into()))?;
        let schema = plan.views[view].schema.clone();
        let consolidator = Consolidator::new(schema, None).map_err(internal)?;
        let mut maintained = Maintained {
            ticks: Vec::new(),
            fed: Vec::new(),
            view: Arc::new(plan.views[view].clone()),
            errors: Vec::new(),
        };
        for (tick, changes) in (1_u64..).zip(ticks) {
            let mut deltas: Vec<Vec<(usize, Delta)>> = vec![Vec::new(); workers];
            if tick == 1 {
                let whole = |batch: &RecordBatch| Delta::derived(batch.clone(), vec![1; batch.num_rows()]);
                deltas[0].extend(constants.iter().map(whole).enumerate());
            }
            let named = |(table, delta): &(usize, Delta)| (plan.reloaded[*table].name.clone(), delta.clone());
            maintained.fed.push(changes.iter().map(named).collect());
            for (table, delta) in changes {
                deltas[0].push((constants.len() + table, delta));
            }
            let head = BlockRef {
                number: tick,
                hash: BlockHash::default(),
                parent: BlockHash::default(),
                timestamp_ms: self.now_ms,
            };
            let progress = Progress::at(tick, &head);
            runtime.submit(TickInput { progress, deltas }).map_err(|error| failed(error.into()))?;
            let sealed = runtime.next_sealed().map_err(|error| failed(error.into()))?;
            let mut outputs = sealed.map(|sealed| sealed.outputs).unwrap_or_default().into_iter();
            let rows = outputs.next().unwrap_or_default();
            maintained.errors.extend(outputs.next().unwrap_or_default());
            maintained.ticks.push(consolidator.consolidate(&rows).map_err(internal)?.into_iter().collect());
        }
        Ok(maintained)
    }
}

impl Maintained {
    /// What it holds after the last tick, in the order of its ORDER BY.
    ///
    /// # Errors
    /// If a row could not be evaluated.
    pub fn rows(&self) -> Result<Rows, SessionError> {
        let errors = Consolidator::new(highwater_engine::model::errors_schema(), None).map_err(internal)?;
        if let Some(errors) = errors.consolidate(&self.errors).map_err(internal)? {
            let reasons = errors.batch.column(0).as_string::<i32>();
            return Err(SessionError::Row(reasons.value(0).to_owned()));
        }
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
