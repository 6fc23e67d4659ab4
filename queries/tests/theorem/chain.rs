//! Views over a chain, run as a job runs them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use highwater::plan::{Catalog, Emit, JobPlan, LoadError, LoadRequest, PlannedSink, PlannedView, SinkInput, plan};
use highwater::render::{OutputPlan, render};
use highwater_engine::Tick;
use highwater_engine::job::{Job, JobOutput, JobSource, JobState, Observer, TickReport, run};
use highwater_engine::metrics::Registry;
use highwater_engine::model::format::write_json_row;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::source::{SourceEvent, TableSchema};
use highwater_engine::testing::{RecordingSink, ScriptedReader};

use crate::Contents;
use crate::history::{History, batch, moves_batch, moves_schema, schema};
use crate::oracle::{Oracle, known_refusal, normal};
use crate::spell::{Column, Kind, Relation, Spelled};

struct Tables;

impl Catalog for Tables {
    fn secret(&mut self, _: &LoadRequest) -> Result<String, LoadError> {
        unreachable!("the jobs have no secrets")
    }

    fn open_source(&mut self, _: &LoadRequest) -> Result<Vec<TableSchema>, LoadError> {
        Ok(vec![
            TableSchema { name: "events".to_owned(), schema: schema() },
            TableSchema { name: "moves".to_owned(), schema: moves_schema() },
        ])
    }

    fn load_table(&mut self, _: &LoadRequest) -> Result<RecordBatch, LoadError> {
        Ok(names())
    }

    fn check_sink(&mut self, _: &PlannedSink, _: &PlannedView) -> Result<(), LoadError> {
        Ok(())
    }
}

/// The reference table: an id twice, one that no row has, and NULL.
pub(crate) fn names() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, false),
        Field::new("factor", DataType::Int64, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(1), Some(2), Some(77), None])),
        Arc::new(StringArray::from(vec!["zero", "one", "uno", "two", "none", "null"])),
        Arc::new(Int64Array::from(vec![1, 2, 3, 1, 5, 9])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// The oracle over the tables of the chain.
pub(crate) fn oracle() -> Oracle {
    let oracle = Oracle::over(&[("events", schema()), ("moves", moves_schema()), ("names", names().schema())]);
    oracle.fill("names", names());
    oracle
}

/// The tables as the generator sees them; the prefix of those of the chain.
pub(crate) fn relations(prefix: &str) -> Vec<Relation> {
    let columns = |columns: &[(&str, Kind)]| {
        let column =
            |(name, kind): &(&str, Kind)| Column { sql: (*name).to_owned(), kind: *kind, base: (*name).to_owned() };
        columns.iter().map(column).collect::<Vec<_>>()
    };
    let block = [("block_number", Kind::Int), ("block_hash", Kind::Hash), ("block_timestamp", Kind::Time)];
    let events = [
        ("transaction_hash", Kind::Hash),
        ("k", Kind::Int),
        ("s", Kind::Text),
        ("a", Kind::Int),
        ("w", Kind::Float),
        ("b", Kind::Bool),
    ];
    let moves = [("k", Kind::Int), ("s", Kind::Text), ("v", Kind::Int)];
    let names = [("id", Kind::Int), ("name", Kind::Text), ("factor", Kind::Int)];
    let of_chain = |name: &str, more: &[(&str, Kind)]| Relation {
        name: format!("{prefix}{name}"),
        columns: columns(&[&block, more].concat()),
        blocks: true,
    };
    let names = Relation { name: "names".to_owned(), columns: columns(&names), blocks: false };
    vec![of_chain("events", &events), of_chain("moves", &moves), names]
}

/// The job of a view and the views that it reads; none if it is refused for a known reason.
pub(crate) fn planned(view: &Spelled) -> Option<Arc<JobPlan>> {
    let views: String = (0..)
        .zip(&view.views)
        .map(|(index, text): (usize, &String)| {
            format!("CREATE MATERIALIZED VIEW v{index} WITH (unbounded = 'yes') AS {text};\n")
        })
        .collect();
    let text = format!(
        "CREATE SOURCE eth WITH (connector = 'test');\n\
         CREATE TABLE names (id BIGINT, name TEXT, factor BIGINT) WITH (connector = 'csv', path = 'names.csv');\n\
         {views}CREATE MATERIALIZED VIEW v WITH (unbounded = 'yes') AS {};\n\
         CREATE SINK out FROM v WITH (connector = 'stdout');",
        view.body
    );
    let rendered = |diagnostics: Vec<highwater::diagnostic::Diagnostic>| -> String {
        diagnostics.iter().map(|diagnostic| diagnostic.render("job.sql", &text, false)).collect()
    };
    let job = highwater::sql::parse(&text).unwrap_or_else(|diagnostics| panic!("{}", rendered(diagnostics)));
    match plan(&job, &mut Tables).map_err(rendered) {
        Ok(plan) => Some(Arc::new(plan)),
        Err(refusal) if known_refusal(&refusal) => None,
        Err(refusal) => panic!("{refusal}"),
    }
}

/// The tables and columns that a job asks its source for.
pub(crate) fn needed(plan: &JobPlan) -> Vec<(String, Vec<usize>)> {
    let tables = plan.sources.iter().flat_map(|source| &source.tables);
    tables.map(|table| (table.name.clone(), table.columns.clone())).collect()
}

/// The progress of each sealed tick.
#[derive(Default)]
struct Ticks(Vec<Progress>);

impl Observer for Ticks {
    fn on_tick(&mut self, report: &TickReport<'_>) {
        self.0.push(report.progress.clone());
    }
    fn on_skipped(&mut self, _: u64, _: &str) {}
    fn on_checkpoint(&mut self, _: Tick) {}
}

/// A run: what each tick was, and what it changed.
pub(crate) struct Run {
    pub(crate) ticks: Vec<(Progress, Vec<Delta>)>,
}

/// Runs the view `v` of a job.
pub(crate) fn execute(
    plan: &Arc<JobPlan>,
    events: Vec<SourceEvent>,
    workers: usize,
    blocks_per_tick: usize,
    state: Option<JobState>,
) -> Run {
    let (sink, recorded) = RecordingSink::new();
    let index = plan.views.iter().position(|view| view.name == "v").unwrap();
    let view = &plan.views[index];
    let outputs = vec![JobOutput {
        name: "out".to_owned(),
        schema: view.schema.clone(),
        key: view.key.clone(),
        sink: Box::new(sink),
    }];
    let tables = plan.sources.iter().map(|source| source.tables.len()).sum();
    let output = OutputPlan { input: SinkInput::View(index), emit: Emit::Changes };
    let rendered = render(plan.clone(), vec![output]).unwrap();
    let job = Job {
        source: JobSource {
            one_block_a_tick: false,
            name: "eth".to_owned(),
            reader: Box::new(ScriptedReader::new(events)),
            tables,
            blocks_per_tick,
        },
        constants: rendered.constants,
        feeds: Vec::new(),
        build: rendered.build,
        workers,
        in_flight: 3,
        outputs,
        state,
        stop: Arc::new(AtomicBool::new(false)),
        metrics: Registry::default(),
    };
    let mut ticks = Ticks::default();
    run(job, &mut ticks).unwrap();
    let recorded = Mutex::lock(&recorded).unwrap();
    Run { ticks: ticks.0.into_iter().zip(recorded.iter().map(|(_, deltas)| deltas.clone())).collect() }
}

/// Adds what changed.
pub(crate) fn add(contents: &mut Contents, deltas: &[Delta]) {
    for delta in deltas {
        for row in 0..delta.len() {
            let mut text = String::new();
            write_json_row(&mut text, &delta.batch, row);
            *contents.entry(normal(&text)).or_default() += delta.diffs.at(row);
        }
    }
    contents.retain(|_, count| *count != 0);
}

/// What is left to compare: the blocks delivered so far and what the view holds.
#[derive(Default)]
pub(crate) struct Held {
    delivered: usize,
    pub(crate) contents: Contents,
}

/// Compares a run with the oracle after every tick. `query` is the oracle's text at a block time.
pub(crate) fn holds(
    oracle: &Oracle,
    query: &dyn Fn(i64) -> String,
    view: &Spelled,
    history: &History,
    run: &Run,
    held: &mut Held,
) {
    for (progress, deltas) in &run.ticks {
        add(&mut held.contents, deltas);
        held.delivered += usize::try_from(progress.applied_blocks).unwrap();
        let canonical = history.canonical_after(held.delivered);
        oracle.fill("events", batch(&canonical));
        oracle.fill("moves", moves_batch(&canonical));
        let text = query(progress.now_ms);
        let Some(expected) = oracle.judge(&text, &held.contents) else { return };
        assert_eq!(held.contents, expected, "tick {} of {view:#?}\noracle: {text}", progress.tick);
    }
}
