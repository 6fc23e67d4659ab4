//! Runs a SQL job in this process with knobs that the command does not have: a finality that lags
//! behind, one tick in flight, a look at every tick.
//!
//! The way is that of `highwater run`: parse, plan, open, render, drive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use arrow::record_batch::RecordBatch;
use highwater::plan::{
    Catalog, Emit, JobPlan, LoadError, LoadRequest, PlannedSink, PlannedView, SinkInput, given, plan,
};
use highwater::render::{OutputPlan, render};
use highwater_connectors::SOURCES;
use highwater_engine::Tick;
use highwater_engine::feed::Feed;
use highwater_engine::job::{Job, JobOutput, JobSource, Observer, Summary, TickReport, run};
use highwater_engine::metrics::Registry;
use highwater_engine::model::BlockRun;
use highwater_engine::options::Options;
use highwater_engine::sink::{Notifications, SinkRequest, Terminal};
use highwater_engine::source::{
    ReadRequest, Source, SourceError, SourceEvent, SourceReader, TableRequest, TableSchema,
};
use highwater_sinks::SINKS;
use serde_json::json;

use crate::meter::{Cost, Samples, tenths, thousandths};
use crate::reference::{self, Relabelled};

/// How a job is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knobs {
    pub(crate) workers: usize,
    pub(crate) blocks_per_tick: usize,
    pub(crate) in_flight: usize,
    /// Deliver blocks one by one, with finality so many blocks behind the head.
    pub(crate) confirmations: Option<u64>,
    /// Last block read.
    pub(crate) to_block: Option<u64>,
}

/// What a run did.
pub(crate) struct Ran {
    pub(crate) summary: Summary,
    /// CPU time of the worker threads for each tick that brought blocks.
    pub(crate) tick_cpu: Vec<Duration>,
}

/// Runs the job in `text`; relative paths start from `base`.
pub(crate) fn run_sql(text: &str, base: &Path, knobs: Knobs) -> anyhow::Result<Ran> {
    let mut ticks = Ticks::default();
    let summary = drive(text, base, knobs, &mut ticks)?;
    Ok(Ran { summary, tick_cpu: ticks.cpu })
}

/// Runs the job in `text` and tells `watch` of every tick once all sinks have it.
pub(crate) fn run_sql_watched(
    text: &str,
    base: &Path,
    knobs: Knobs,
    watch: impl FnMut(&TickReport<'_>),
) -> anyhow::Result<()> {
    drive(text, base, knobs, &mut Watched(watch)).map(drop)
}

fn drive(text: &str, base: &Path, knobs: Knobs, observer: &mut dyn Observer) -> anyhow::Result<Summary> {
    let mut opener = Opener { base: base.to_owned(), sources: BTreeMap::new() };
    let mistakes = |diagnostics: Vec<highwater::diagnostic::Diagnostic>| {
        let texts: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.render("job", text, false)).collect();
        anyhow!("{}", texts.join("\n"))
    };
    let job = highwater::sql::parse(text).map_err(mistakes)?;
    let plan = Arc::new(plan(&job, &mut opener).map_err(mistakes)?);
    let source = opener.start(&plan, knobs)?;
    let (outputs, output_plans) = opener.outputs(&plan)?;
    let feeds = plan
        .reloaded
        .iter()
        .map(|table| -> Box<dyn Feed> { Box::new(Relabelled::new(&table.name, table.rows.clone())) });
    let feeds = feeds.collect();
    let rendered = render(plan, output_plans)?;
    let job = Job {
        source,
        constants: rendered.constants,
        feeds,
        build: rendered.build,
        workers: knobs.workers,
        in_flight: knobs.in_flight,
        outputs,
        state: None,
        stop: Arc::new(AtomicBool::new(false)),
        metrics: Registry::default(),
    };
    Ok(run(job, observer)?)
}

/// Adds what a run did and cost to its result. CPU and memory are those of the whole process.
pub(crate) fn add_costs(result: &mut serde_json::Value, ran: &Ran, seconds: f64) -> anyhow::Result<()> {
    let cost = Cost::so_far()?;
    let events = ran.summary.rows;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let per_row = (cost.user_s + cost.system_s) * 1e9 / events.max(1) as f64;
    let ticks = Samples::new(ran.tick_cpu.clone());
    let costs = json!({
        "events": events,
        "blocks": ran.summary.blocks,
        "ticks": ran.tick_cpu.len(),
        "seconds": thousandths(seconds),
        "cpu_user_s": cost.user_s,
        "cpu_sys_s": cost.system_s,
        "cpu_ns_per_row": tenths(per_row),
        "worker_cpu_s": thousandths(ran.summary.worker_cpu.as_secs_f64()),
        "tick_cpu_p50_us": ticks.micros(50),
        "tick_cpu_p99_us": ticks.micros(99),
        "peak_rss_mb": tenths(cost.peak_rss_mb),
        "changes": ran.summary.inserted + ran.summary.retracted,
        "rows": ran.summary.inserted - ran.summary.retracted,
    });
    if let (Some(result), serde_json::Value::Object(costs)) = (result.as_object_mut(), costs) {
        result.extend(costs);
    }
    Ok(())
}

/// Notes the CPU time of every tick.
#[derive(Default)]
struct Ticks {
    cpu: Vec<Duration>,
    total: Duration,
}

impl Observer for Ticks {
    fn on_tick(&mut self, report: &TickReport<'_>) {
        if report.progress.applied_blocks > 0 {
            self.cpu.push(report.summary.worker_cpu - self.total);
        }
        self.total = report.summary.worker_cpu;
    }

    fn on_skipped(&mut self, _: u64, _: &str) {}

    fn on_checkpoint(&mut self, _: Tick) {}
}

/// Tells of every tick.
struct Watched<F>(F);

impl<F: FnMut(&TickReport<'_>)> Observer for Watched<F> {
    fn on_tick(&mut self, report: &TickReport<'_>) {
        (self.0)(report);
    }

    fn on_skipped(&mut self, _: u64, _: &str) {}

    fn on_checkpoint(&mut self, _: Tick) {}
}

/// Opens what a job names.
struct Opener {
    base: PathBuf,
    sources: BTreeMap<String, Box<dyn Source>>,
}

impl Opener {
    fn start(&mut self, plan: &JobPlan, knobs: Knobs) -> anyhow::Result<JobSource> {
        let [planned] = plan.sources.as_slice() else { bail!("the job of a benchmark has one source") };
        let source = self.sources.remove(&planned.name).context("the planner opens every source")?;
        let wanted = planned.tables.iter();
        let tables: Vec<_> =
            wanted.map(|table| TableRequest { name: table.name.clone(), columns: table.columns.clone() }).collect();
        let count = tables.len();
        let reader = source.start(ReadRequest { tables, to_block: knobs.to_block, ..ReadRequest::default() })?;
        let reader: Box<dyn SourceReader> = match knobs.confirmations {
            None => reader,
            Some(confirmations) => Box::new(Live { reader, confirmations, run: None, at: 0 }),
        };
        let one_block_a_tick = plan.has_alerts_by_block();
        let blocks_per_tick = if one_block_a_tick { 1 } else { knobs.blocks_per_tick };
        Ok(JobSource { name: planned.name.clone(), reader, tables: count, blocks_per_tick, one_block_a_tick })
    }

    fn outputs(&self, plan: &JobPlan) -> anyhow::Result<(Vec<JobOutput>, Vec<OutputPlan>)> {
        let mut outputs = Vec::new();
        let mut plans = Vec::new();
        for sink in &plan.sinks {
            let SinkInput::View(view) = sink.input else { bail!("the sinks of a benchmark show views") };
            let view = &plan.views[view];
            let connector = SINKS.iter().find(|known| known.name() == sink.connector).context("an unknown sink")?;
            let options = Options::new(format!("sink \"{}\"", sink.name), &self.base, given(&sink.options));
            let opened = connector.open(request(sink, view), options)?;
            let (schema, key) = (view.schema.clone(), view.key.clone());
            outputs.push(JobOutput { name: sink.name.clone(), schema, key, sink: opened });
            plans.push(OutputPlan { input: sink.input, emit: sink.emit });
        }
        Ok((outputs, plans))
    }
}

fn request(sink: &PlannedSink, view: &PlannedView) -> SinkRequest {
    SinkRequest {
        name: sink.name.clone(),
        view: view.name.clone(),
        schema: view.schema.clone(),
        key: view.key.clone(),
        closing: view.closing.filter(|closing| closing.offset_ms == 0).map(|closing| closing.closing),
        corrections: sink.emit != Emit::OnFinality,
        order: view.order.clone(),
        terminal: Terminal::default(),
        out: None,
        ledger: None,
        delivery: highwater_engine::sink::Delivery::default(),
        metrics: highwater_engine::metrics::Registry::default(),
    }
}

impl Catalog for Opener {
    fn secret(&mut self, request: &LoadRequest) -> Result<String, LoadError> {
        Err(unknown("secret", request))
    }

    fn open_source(&mut self, request: &LoadRequest) -> Result<Vec<TableSchema>, LoadError> {
        let found = SOURCES.iter().find(|source| source.name() == request.connector);
        let connector = found.ok_or_else(|| unknown("source", request))?;
        let options = Options::new(format!("source \"{}\"", request.name), &self.base, request.given());
        let source = connector.open(options).map_err(|error| LoadError::Failed(error.into()))?;
        let tables = source.tables();
        self.sources.insert(request.name.clone(), source);
        Ok(tables)
    }

    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError> {
        let mut options = Options::new(format!("table \"{}\"", request.name), &self.base, request.given());
        let path = options.require_path("path")?;
        options.finish()?;
        reference::read(&path).map_err(|error| LoadError::Failed(error.into()))
    }

    fn notifications(&self, _: &str, connector: &str) -> Notifications {
        SINKS.iter().find(|known| known.name() == connector).map_or(Notifications::Never, |found| found.notifications())
    }

    fn check_sink(&mut self, _: &PlannedSink, _: &PlannedView) -> Result<(), LoadError> {
        Ok(())
    }
}

fn unknown(kind: &'static str, request: &LoadRequest) -> LoadError {
    LoadError::UnknownConnector { kind, name: request.connector.clone(), known: Vec::new() }
}

/// Hands out the blocks of a reader one by one, as a node that follows the head does.
struct Live {
    reader: Box<dyn SourceReader>,
    confirmations: u64,
    run: Option<BlockRun>,
    at: usize,
}

impl SourceReader for Live {
    fn next(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            if let Some(run) = &self.run
                && self.at < run.blocks.len()
            {
                let number = run.blocks[self.at].number;
                let block = run.slice(self.at, self.at + 1);
                self.at += 1;
                let finalized = number.checked_sub(self.confirmations);
                return Ok(SourceEvent::Blocks { run: block, cursor: number, finalized });
            }
            match self.reader.next()? {
                SourceEvent::Blocks { run, .. } => {
                    self.run = Some(run);
                    self.at = 0;
                }
                other => return Ok(other),
            }
        }
    }
}
