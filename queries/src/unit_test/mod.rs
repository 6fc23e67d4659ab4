//! `EXECUTE UNIT TEST name FOR view MOCK … EXPECTED …`: a view over rows that the test gives.
//!
//! The job is planned as it is, with the relations of the test in the place of what its sources and files have:
//! tables of sources get blocks with the given rows, reference tables and other views have them from the start.
//! Blocks come one a tick; `REORG n` takes the newest n back in the tick in which the blocks of its step come.
//!
//! Read next: [`run`], `mock` (rows as blocks), `catalog` (what stands in for the world).

mod catalog;
mod mock;

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::record_batch::RecordBatch;
use datafusion_sql::sqlparser::ast::Query;
use highwater_engine::consolidate::{Consolidator, diff_column};
use highwater_engine::model::format::write_json_row;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::runtime::{Runtime, RuntimeConfig, TickInput};

use self::catalog::MockCatalog;
use self::mock::{Chain, Given, Rows};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::plan::{Catalog, Emit, JobPlan, PlannedView, SinkInput, plan};
use crate::render::{OutputPlan, Rendered, render};
use crate::session::SessionError;
use crate::sql::{GivenRows, Job, Name, SessionStatement, Statement, UnitTestStatement, normal, parse_session};

/// What became of a unit test.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// What was wrong after which step (from 1); nothing if all held.
    pub failure: Option<Failure>,
}

/// A step after which the view does not hold what is expected.
#[derive(Debug)]
pub struct Failure {
    /// The step, from 1.
    pub step: usize,
    /// Rows that are expected and not there, as JSON.
    pub missing: Vec<String>,
    /// Rows that are there and not expected, as JSON.
    pub unexpected: Vec<String>,
    /// Rows that could not be evaluated, with the reason.
    pub errors: Vec<String>,
}

/// A test that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnitTestError {
    /// The test or the job is wrong.
    #[error("the test cannot be planned")]
    Job(Vec<Diagnostic>),
    /// The dataflow could not be made or did not go on.
    #[error("the view cannot be maintained")]
    Dataflow(#[source] highwater_engine::error::BoxError),
}

/// The unit tests of a job.
pub fn tests(job: &Job) -> Vec<UnitTestStatement> {
    let tests = job.statements.iter().filter_map(|statement| match statement {
        Statement::UnitTest(test) => Some(test.clone()),
        _ => None,
    });
    tests.collect()
}

/// Runs a unit test of a job; `world` opens what the test does not give.
///
/// # Errors
/// If the test names what is not there, or the job has mistakes.
pub fn run(job: &Job, test: &UnitTestStatement, world: &mut dyn Catalog) -> Result<Report, UnitTestError> {
    let given = Given::new(test);
    let planned = planned(job, test, &given, world)?;
    let view = planned.views.iter().position(|view| view.name == test.view.text);
    let view = view.ok_or_else(|| unknown_view(&test.view))?;
    let planned = Arc::new(planned);
    let mut dataflow = Dataflow::start(planned.clone(), view).map_err(UnitTestError::Dataflow)?;
    let mut chain = Chain::new(&planned, test).map_err(UnitTestError::Job)?;
    let mut failure = None;
    for (index, step) in test.steps.iter().enumerate() {
        let ticks = chain.step(step.reorg, given.step(index), test).map_err(UnitTestError::Job)?;
        for (progress, deltas) in ticks {
            dataflow.tick(progress, deltas).map_err(UnitTestError::Dataflow)?;
        }
        let Some(expected) = &step.expected else { continue };
        failure = dataflow.compare(index + 1, expected, &planned.views[view])?;
        if failure.is_some() {
            break;
        }
    }
    Ok(Report { name: test.name.text.clone(), failure })
}

fn unknown_view(name: &Name) -> UnitTestError {
    let message = format!("view \"{}\" does not exist", name.text);
    UnitTestError::Job(vec![Diagnostic::new(Code::UnknownTable, message, name.span)])
}

/// The plan of the view that is tested, and of what it reads, over the rows of the test.
fn planned(
    job: &Job,
    test: &UnitTestStatement,
    given: &Given,
    world: &mut dyn Catalog,
) -> Result<JobPlan, UnitTestError> {
    let mut own = job.clone();
    own.in_session = true;
    own.statements.retain(|statement| {
        !matches!(statement, Statement::Sink(_) | Statement::Alert(_) | Statement::Explain(_) | Statement::UnitTest(_))
    });
    let given_views: Vec<String> = given.names().cloned().collect();
    for statement in &mut own.statements {
        if let Statement::Table(table) = statement
            && table.values.is_some()
            && let Some(rows) = given.first(&table.name.text)
        {
            let columns: Vec<String> = table.columns.iter().map(|column| normal(&column.name)).collect();
            table.values = Some(query(&rows.of_columns(&columns))?);
        }
        let Statement::View(view) = statement else { continue };
        if view.name.text == test.view.text || given_views.contains(&view.name.text) {
            view.materialized = true;
        }
    }
    let as_it_is = plan(&own, &mut MockCatalog { world: &mut *world, given }).map_err(UnitTestError::Job)?;
    let mut replaced = false;
    for statement in &mut own.statements {
        let Statement::View(view) = statement else { continue };
        let (Some(rows), Some(planned)) =
            (given.first(&view.name.text), as_it_is.views.iter().find(|planned| planned.name == view.name.text))
        else {
            continue;
        };
        // A view that is given has the rows of the test, whatever its query is.
        view.query = query(&rows.query(&planned.schema))?;
        replaced = true;
    }
    if !replaced {
        return Ok(as_it_is);
    }
    plan(&own, &mut MockCatalog { world, given }).map_err(UnitTestError::Job)
}

/// A query of a text that was made here.
fn query(text: &str) -> Result<Box<Query>, UnitTestError> {
    let (_, statements) = parse_session(text).map_err(UnitTestError::Job)?;
    match statements.into_iter().next() {
        Some(SessionStatement::Query(query, _)) => Ok(query),
        _ => Err(UnitTestError::Job(vec![Diagnostic::new(Code::Internal, "the rows of a test are a query", None)])),
    }
}

/// The view, running.
struct Dataflow {
    runtime: Runtime,
    constants: Vec<RecordBatch>,
    source_tables: usize,
    rows: Vec<Delta>,
    errors: Vec<Delta>,
    consolidator: Consolidator,
}

type Boxed<T> = Result<T, highwater_engine::error::BoxError>;

impl Dataflow {
    fn start(plan: Arc<JobPlan>, view: usize) -> Boxed<Dataflow> {
        let output = |input| OutputPlan { input, emit: Emit::Changes };
        let outputs = vec![output(SinkInput::View(view)), output(SinkInput::Errors(view))];
        let consolidator = Consolidator::new(plan.views[view].schema.clone(), None)?;
        let sources: usize = plan.sources.iter().map(|source| source.tables.len()).sum();
        let reloaded = plan.reloaded.len();
        let Rendered { build, constants } = render(plan, outputs)?;
        let tables = sources + constants.len() + reloaded;
        let config = RuntimeConfig { workers: 1, in_flight: 1, tables, outputs: 2 };
        let runtime = Runtime::start(config, build)?;
        let (rows, errors) = (Vec::new(), Vec::new());
        Ok(Dataflow { runtime, constants, source_tables: sources, rows, errors, consolidator })
    }

    /// One tick; `deltas` are of the tables of sources.
    fn tick(&mut self, progress: Progress, mut deltas: Vec<(usize, Delta)>) -> Boxed<()> {
        // Constants are there from the first tick.
        for (index, rows) in std::mem::take(&mut self.constants).into_iter().enumerate() {
            let count = rows.num_rows();
            deltas.push((self.source_tables + index, Delta::derived(rows, vec![1; count])));
        }
        self.runtime.submit(TickInput { progress, deltas: vec![deltas] })?;
        let Some(sealed) = self.runtime.next_sealed()? else { return Ok(()) };
        let mut outputs = sealed.outputs.into_iter();
        self.rows.extend(outputs.next().unwrap_or_default());
        self.errors.extend(outputs.next().unwrap_or_default());
        Ok(())
    }

    fn compare(&self, step: usize, expected: &GivenRows, view: &PlannedView) -> Result<Option<Failure>, UnitTestError> {
        let wrong = |error: arrow::error::ArrowError| UnitTestError::Dataflow(error.into());
        let mut columns = Vec::with_capacity(expected.columns.len());
        for column in &expected.columns {
            let found = view.schema.index_of(&column.text);
            columns.push(found.map_err(|_| {
                let message = format!("view \"{}\" has no column \"{}\"", view.name, column.text);
                UnitTestError::Job(vec![Diagnostic::new(Code::UnknownColumn, message, column.span)])
            })?);
        }
        let schema = Arc::new(view.schema.project(&columns).map_err(wrong)?);
        let rows = Rows::new(expected).typed(&schema).map_err(|error| match error {
            SessionError::Statement(mistakes) => UnitTestError::Job(at(mistakes, expected.span)),
            other => UnitTestError::Dataflow(other.into()),
        })?;
        let schema = rows.schema();
        let held = self.consolidator.consolidate(&self.rows).map_err(wrong)?;
        let mut all = vec![Delta::derived(rows.clone(), vec![-1; rows.num_rows()])];
        if let Some(held) = held {
            let shown = held.batch.project(&columns).map_err(wrong)?;
            let shown = RecordBatch::try_new(schema.clone(), shown.columns().to_vec()).map_err(wrong)?;
            all.push(held.with_batch(shown));
        }
        let differences = Consolidator::new(schema, None).and_then(|both| both.consolidate(&all)).map_err(wrong)?;
        let errors = Consolidator::new(highwater_engine::model::errors_schema(), None);
        let errors = errors.and_then(|errors| errors.consolidate(&self.errors)).map_err(wrong)?;
        let mut failure = Failure { step, missing: Vec::new(), unexpected: Vec::new(), errors: Vec::new() };
        if let Some(differences) = differences {
            for (row, diff) in diff_column(&differences).values().iter().enumerate() {
                let mut text = String::new();
                write_json_row(&mut text, &differences.batch, row);
                let list = if *diff < 0 { &mut failure.missing } else { &mut failure.unexpected };
                list.extend(std::iter::repeat_n(text, usize::try_from(diff.unsigned_abs()).unwrap_or(1)));
            }
        }
        if let Some(errors) = errors {
            let reasons = errors.batch.column(0).as_string::<i32>();
            failure.errors = reasons.iter().flatten().map(str::to_owned).collect();
        }
        let held = failure.missing.is_empty() && failure.unexpected.is_empty() && failure.errors.is_empty();
        Ok(if held { None } else { Some(failure) })
    }
}

/// Mistakes of a text that was made of the job's, at the place of the part it was made of.
fn at(mistakes: Vec<Diagnostic>, span: Span) -> Vec<Diagnostic> {
    let moved = mistakes.into_iter().map(|mut mistake| {
        mistake.span = Some(span);
        mistake
    });
    moved.collect()
}
