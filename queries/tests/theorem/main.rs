//! The one theorem: for every view and every tick, the sum of all deltas emitted up to the tick equals
//! the view evaluated from scratch over the canonical chain as of the tick.
//!
//! Random histories (forks of depth one to twelve), random views out of the supported SQL, ticks of 1 to
//! 100 blocks, 1, 2 and 4 workers, a stop and a restart in the middle. The independent evaluation is
//! DataFusion's own engine over the canonical rows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod aggregates;
mod history;
mod oracle;
mod query;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
use highwater_engine::state::StateDir;
use highwater_engine::testing::{RecordingSink, ScriptedReader};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use history::{History, history};
use oracle::Oracle;
use query::{Query, query};

/// Rows as text with their multiplicity: what both sides are brought to.
pub(crate) type Contents = BTreeMap<String, i64>;

struct Tables;

impl Catalog for Tables {
    fn secret(&mut self, _: &LoadRequest) -> Result<String, LoadError> {
        unreachable!("the jobs have no secrets")
    }

    fn open_source(&mut self, _: &LoadRequest) -> Result<Vec<TableSchema>, LoadError> {
        Ok(vec![TableSchema { name: "events".to_owned(), schema: history::schema() }])
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

fn planned(view: &str) -> JobPlan {
    let text = format!(
        "CREATE SOURCE eth WITH (connector = 'test');\n\
         CREATE TABLE names (id BIGINT, name TEXT, factor BIGINT) WITH (connector = 'csv', path = 'names.csv');\n\
         CREATE MATERIALIZED VIEW v WITH (unbounded = 'yes') AS {view};\n\
         CREATE SINK out FROM v WITH (connector = 'stdout');"
    );
    let rendered = |diagnostics: Vec<highwater::diagnostic::Diagnostic>| -> String {
        diagnostics.iter().map(|diagnostic| diagnostic.render("job.sql", &text, false)).collect()
    };
    let job = highwater::sql::parse(&text).unwrap_or_else(|diagnostics| panic!("{}", rendered(diagnostics)));
    plan(&job, &mut Tables).unwrap_or_else(|diagnostics| panic!("{}", rendered(diagnostics)))
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
struct Run {
    ticks: Vec<(Progress, Vec<Delta>)>,
}

fn execute(
    view: &str,
    events: Vec<SourceEvent>,
    workers: usize,
    blocks_per_tick: usize,
    state: Option<JobState>,
) -> Run {
    let plan = Arc::new(planned(view));
    let (sink, recorded) = RecordingSink::new();
    let view = &plan.views[0];
    let outputs = vec![JobOutput {
        name: "out".to_owned(),
        schema: view.schema.clone(),
        key: view.key.clone(),
        sink: Box::new(sink),
    }];
    let tables = plan.sources.iter().map(|source| source.tables.len()).sum();
    let rendered = render(plan.clone(), vec![OutputPlan { input: SinkInput::View(0), emit: Emit::Changes }]).unwrap();
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

/// The columns of the table that the plan asks its source for.
fn columns(view: &str) -> Option<Vec<usize>> {
    planned(view).sources.first().map(|source| source.tables[0].columns.clone())
}

fn add(contents: &mut Contents, deltas: &[Delta]) {
    for delta in deltas {
        for row in 0..delta.len() {
            let mut text = String::new();
            write_json_row(&mut text, &delta.batch, row);
            *contents.entry(oracle::normal(&text)).or_default() += delta.diffs.at(row);
        }
    }
    contents.retain(|_, count| *count != 0);
}

/// Runs a view and compares it with the oracle after every tick; gives the final contents.
fn holds(oracle: &Oracle, query: &Query, history: &History, run: &Run, delivered: &mut usize, contents: &mut Contents) {
    for (progress, deltas) in &run.ticks {
        add(contents, deltas);
        assert!(contents.values().all(|count| *count > 0), "a row was taken back that was not there: {contents:?}");
        *delivered += usize::try_from(progress.applied_blocks).unwrap();
        let canonical = history.canonical_after(*delivered);
        let expected = oracle.evaluate(&query.oracle(progress.now_ms), &canonical);
        assert_eq!(*contents, expected, "tick {} of {}", progress.tick, query.ours());
    }
}

/// `PROPTEST_CASES=2000 cargo test -p highwater --test theorem` looks deeper.
fn runner(cases: u32) -> TestRunner {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = Config::default();
    let cases = if asked { default.cases } else { cases };
    TestRunner::new(Config { cases, max_shrink_iters: 200, failure_persistence: None, ..default })
}

#[test]
fn every_tick_of_every_view_equals_the_view_from_scratch() {
    let oracle = Oracle::new();
    let sizes = prop_oneof![2 => Just(1_usize), 1 => 2_usize..10, 1 => Just(100_usize)];
    let workers = prop::sample::select(vec![1_usize, 2, 4]);
    runner(60)
        .run(&(query(), history(), workers, sizes), |(query, history, workers, blocks_per_tick)| {
            let view = query.ours();
            let run = execute(&view, history.events(columns(&view).as_deref()), workers, blocks_per_tick, None);
            holds(&oracle, &query, &history, &run, &mut 0, &mut Contents::new());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_job_that_is_stopped_and_started_gives_the_same() {
    let oracle = Oracle::new();
    let workers = prop::sample::select(vec![1_usize, 2, 3]);
    runner(30)
        .run(
            &(query(), history(), workers.clone(), workers, 1_usize..5, any::<prop::sample::Index>()),
            |(query, history, first_workers, second_workers, blocks_per_tick, cut)| {
                let view = query.ours();
                let columns = columns(&view);
                let cut = 1 + cut.index(history.runs.len());
                let folder = tempfile::tempdir().unwrap();
                let open = || {
                    let (directory, checkpoint) = StateDir::open(folder.path(), "job", false).unwrap();
                    JobState { directory, checkpoint, every: Duration::from_secs(3600) }
                };
                let (mut delivered, mut contents) = (0, Contents::new());
                let events = history.events(columns.as_deref()).into_iter().take(cut).collect();
                let first = execute(&view, events, first_workers, blocks_per_tick, Some(open()));
                holds(&oracle, &query, &history, &first, &mut delivered, &mut contents);
                let events = history.events(columns.as_deref()).into_iter().skip(cut).collect();
                let second = execute(&view, events, second_workers, blocks_per_tick, Some(open()));
                holds(&oracle, &query, &history, &second, &mut delivered, &mut contents);
                Ok(())
            },
        )
        .unwrap();
}

#[test]
fn workers_do_not_change_a_byte_and_tick_sizes_not_the_end() {
    runner(30)
        .run(&(query(), history()), |(query, history)| {
            let view = query.ours();
            let columns = columns(&view);
            let bytes = |workers: usize, blocks_per_tick: usize| -> Vec<String> {
                let run = execute(&view, history.events(columns.as_deref()), workers, blocks_per_tick, None);
                let lines = run.ticks.iter().flat_map(|(progress, deltas)| {
                    let rows = deltas.iter().flat_map(|delta| (0..delta.len()).map(move |row| (delta, row)));
                    rows.map(|(delta, row)| {
                        let mut text = format!("{} {} ", progress.tick, delta.diffs.at(row));
                        write_json_row(&mut text, &delta.batch, row);
                        text
                    })
                    .collect::<Vec<_>>()
                });
                lines.collect()
            };
            let one = bytes(1, 1);
            prop_assert_eq!(&one, &bytes(2, 1));
            prop_assert_eq!(&one, &bytes(4, 1));
            let end = |blocks_per_tick: usize| {
                let run = execute(&view, history.events(columns.as_deref()), 1, blocks_per_tick, None);
                let mut contents = Contents::new();
                run.ticks.iter().for_each(|(_, deltas)| add(&mut contents, deltas));
                contents
            };
            prop_assert_eq!(end(1), end(7));
            prop_assert_eq!(end(1), end(100));
            Ok(())
        })
        .unwrap();
}

/// Every kind of view at least once, whatever the random ones are.
#[test]
fn fixed_views_over_a_random_history() {
    let oracle = Oracle::new();
    let views = [
        "SELECT window_start, window_end, k, count(*) AS n, count(*) FILTER (WHERE b) AS f, sum(a) AS total, \
         avg(a) AS mean, min(a) AS least, max(w) AS most, count(DISTINCT s) AS kinds FROM {tumble:60} \
         GROUP BY window_start, window_end, k HAVING count(*) > 1",
        "SELECT window_end, sum(w) AS weight, stddev_pop(a) AS spread, var_samp(a) AS variance FROM {hop:20:60} GROUP BY window_end",
        "SELECT block_hash, transaction_hash, count(*) AS n, max(a) AS most FROM {events} GROUP BY block_hash, transaction_hash",
        "SELECT k, s, a FROM {events} WHERE block_timestamp > {now} - INTERVAL '45 seconds' AND a > 0",
        "SELECT count(*) AS n, sum(a) AS total FROM {events} WHERE block_timestamp >= {now} - INTERVAL '1 minute'",
        "SELECT s, n FROM (SELECT s, count(*) AS n FROM {events} GROUP BY s) WHERE n > 2 UNION ALL SELECT s, 0 FROM {events} WHERE a > 90",
    ];
    runner(6)
        .run(&history(), |history| {
            for view in views {
                let query = Query::new(view);
                let ours = query.ours();
                let run = execute(&ours, history.events(columns(&ours).as_deref()), 2, 1, None);
                holds(&oracle, &query, &history, &run, &mut 0, &mut Contents::new());
            }
            Ok(())
        })
        .unwrap();
}
