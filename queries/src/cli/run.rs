//! `run` and `replay`: from a job file to running threads.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::Write as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use highwater_engine::job::{Job, JobError, JobOutput, JobSource, JobState, Summary, run as run_job};
use highwater_engine::metrics::{Counter, Registry};
use highwater_engine::model::alert::notification_schema;
use highwater_engine::model::{BlockHash, BlockRef, BlockRun, errors_schema};
use highwater_engine::options::Options;
use highwater_engine::sink::{Delivery, Notifications, Sink, SinkConnector as _, SinkError};
use highwater_engine::source::{ReadRequest, SourceError, SourceEvent, SourceReader, TableRequest};
use highwater_engine::state::{Checkpoint, StateDir};
use highwater_sinks::stdout::Stdout;

use super::CliError;
use super::args::RunArgs;
use super::job_file::{LoadedJob, load};
use super::listening::Listening;
use super::outputs::{BesideBar, Destination, ErrorCount, ErrorWatch, Nothing};
use super::watch::Watch;
use crate::plan::{Emit, JobPlan, PlannedSink, SinkInput};
use crate::render::{OutputPlan, Rendered, render};

/// Ticks in flight in catch-up; live ticks come one by one. Enough to keep the workers busy, and few enough that what
/// was read is still in the processor's cache when it is worked on.
const IN_FLIGHT: usize = 4;

/// Where in the state directory alert channels note what they send.
pub(super) const LEDGER: &str = "alerts.db";

/// Which blocks to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// First block, inclusive.
    pub from: Option<u64>,
    /// Last block, inclusive.
    pub to: Option<u64>,
    /// Whether history is replayed: many blocks a tick unless said otherwise.
    pub replay: bool,
    /// Whether alert channels send.
    pub delivery: Delivery,
}

/// Blocks a tick of a replay at most.
const REPLAY_BLOCKS_PER_TICK: u32 = 1_000;

/// What a run did.
#[derive(Debug)]
pub struct Outcome {
    /// Totals.
    pub summary: Summary,
    /// Rows of each view that could not be evaluated.
    pub errors: Vec<(String, u64)>,
    /// Logs that each event of the job skipped, because they only look like it.
    pub skipped_logs: Vec<(String, u64)>,
    /// Metrics.
    pub metrics: Registry,
}

/// How a run shows itself.
#[derive(Debug, Clone, Default)]
pub struct Display {
    /// A progress bar on standard error.
    pub bar: bool,
    /// Colour on standard error.
    pub colour: bool,
    /// Standard output.
    pub terminal: highwater_engine::sink::Terminal,
}

/// Runs a job file until its source ends or `stop` is set.
///
/// # Errors
/// [`CliError::Job`] with diagnostics for mistakes in the job, [`CliError::Run`] for failures while running.
pub fn run(args: &RunArgs, range: Range, display: &Display, stop: Arc<AtomicBool>) -> Result<Outcome, CliError> {
    let destination = Destination {
        terminal: display.terminal,
        out: args.out.clone(),
        ledger: args.state.as_ref().map(|state| state.join(LEDGER)),
        delivery: range.delivery,
        metrics: Registry::default(),
    };
    run_loaded(load(&args.job, destination)?, args, range, display, stop)
}

/// Runs a job that was read.
pub(super) fn run_loaded(
    mut loaded: LoadedJob,
    args: &RunArgs,
    range: Range,
    display: &Display,
    stop: Arc<AtomicBool>,
) -> Result<Outcome, CliError> {
    if let (Some(from), Some(to)) = (range.from, range.to)
        && from > to
    {
        return Err(CliError::EmptyRange { from, to });
    }
    let plan = Arc::new(loaded.take_plan()?);
    if plan.views.is_empty() && plan.explains.is_empty() {
        return Err(CliError::Empty(args.job.job.display().to_string()));
    }
    for text in &plan.explains {
        // Nothing can be done about a closed standard error.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    let listening = Listening::open(&loaded, args, &plan, range.replay)?;
    let checkpoint = open_state(args, &plan, range)?;
    if let (Some(listening), Some((_, Some(checkpoint))), Some(path)) = (&listening, &checkpoint, &args.state) {
        listening.check(checkpoint, path)?;
    }
    let metrics = loaded.loader.metrics();
    let mut request =
        ReadRequest { from_block: range.from, to_block: range.to, metrics: metrics.clone(), ..ReadRequest::default() };
    let state = checkpoint.map(|(directory, checkpoint)| {
        if let Some(checkpoint) = &checkpoint {
            go_on_from(checkpoint, &mut request);
        }
        JobState { directory, checkpoint, every: args.checkpoint_every }
    });
    let (source, blocks) = open_source(&mut loaded, &plan, args, range, request)?;
    let watch = Watch::new(display.bar, display.colour, blocks);
    let (mut outputs, mut output_plans, errors) = open_outputs(&mut loaded, &plan, &watch)?;
    if let Some(listening) = listening {
        listening.start(&mut outputs, &mut output_plans, args.quiet);
    }
    let skipped = plan.skipped_logs();
    let feeds = plan.reloaded.iter().map(|table| loaded.loader.feed(table)).collect();
    let Rendered { build, constants } =
        render(plan, output_plans).map_err(|source| CliError::Internal(Box::new(source)))?;
    let job = Job {
        in_flight: IN_FLIGHT,
        workers: usize::from(args.workers.or(loaded.loader.settings.workers).unwrap_or(1)),
        source,
        constants,
        feeds,
        build,
        outputs,
        state,
        stop: stop.clone(),
        metrics: metrics.clone(),
    };
    drive(job, watch, &errors, skipped, metrics)
}

fn drive(
    job: Job,
    mut watch: Watch,
    errors: &[ErrorCount],
    skipped: BTreeMap<String, Counter>,
    metrics: Registry,
) -> Result<Outcome, CliError> {
    let result = run_job(job, &mut watch);
    watch.clear();
    match result {
        Ok(summary) => {
            let errors = errors.iter().map(|errors| (errors.view.clone(), errors.get())).collect();
            let help = "Logs with the topic of an event that are not of it.";
            for (event, count) in &skipped {
                metrics.counter("highwater_skipped_logs_total", ("event", event), help).add(count.get());
            }
            let skipped_logs = skipped.into_iter().map(|(event, count)| (event, count.get())).collect();
            Ok(Outcome { summary, errors, skipped_logs, metrics })
        }
        Err(JobError::Sink { source: SinkError::Closed, .. }) => Err(CliError::Closed),
        Err(JobError::Sink { name, source }) if ErrorWatch::is_name(&name) => {
            Err(CliError::RowError { view: ErrorWatch::view_of(&name), source })
        }
        Err(error) => Err(CliError::Run(error)),
    }
}

fn open_state(
    args: &RunArgs,
    plan: &JobPlan,
    range: Range,
) -> Result<Option<(StateDir, Option<Checkpoint>)>, CliError> {
    let Some(path) = &args.state else { return Ok(None) };
    let fingerprint = fingerprint(plan, range);
    let opened = StateDir::open(path, &fingerprint, args.reset);
    opened.map(Some).map_err(|source| CliError::Run(JobError::State(source)))
}

/// What state depends on: the sources' tables, the views, and what the rules of relations were told. Sinks and workers may change.
fn fingerprint(plan: &JobPlan, range: Range) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for source in &plan.sources {
        let _ = write!(text, "{}:", source.name);
        for table in &source.tables {
            let _ = write!(text, "{}{:?}", table.name, table.columns);
        }
    }
    for table in &plan.reloaded {
        let schema = table.rows.schema();
        let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), crate::plan::sql_type(field)));
        let _ = write!(text, "{}{:?}", table.name, columns.collect::<Vec<_>>());
    }
    for view in plan.views.iter().filter(|view| !view.of_sink) {
        text.push_str(&crate::plan::explain_view(plan, &view.name).unwrap_or_default());
    }
    for settings in plan.mev_settings() {
        let _ = write!(text, "{settings:?}");
    }
    let _ = write!(text, "{:?}", range.from);
    alloy_primitives::keccak256(text.as_bytes()).to_string()
}

/// Where a source goes on, and the chain it must fit.
fn go_on_from(checkpoint: &Checkpoint, request: &mut ReadRequest) {
    request.resume = checkpoint.cursor;
    request.known = checkpoint.finalized.into_iter().chain(checkpoint.open.iter().map(|open| open.block)).collect();
}

fn open_source(
    loaded: &mut LoadedJob,
    plan: &JobPlan,
    args: &RunArgs,
    range: Range,
    mut request: ReadRequest,
) -> Result<(JobSource, Option<u64>), CliError> {
    let planned = match plan.sources.as_slice() {
        [] => {
            return Ok((
                JobSource {
                    name: "none".to_owned(),
                    reader: Box::new(OneBlock(false)),
                    tables: 0,
                    blocks_per_tick: 1,
                    one_block_a_tick: false,
                },
                None,
            ));
        }
        [planned] => planned,
        several => {
            let names: Vec<_> = several.iter().map(|source| format!("\"{}\"", source.name)).collect();
            return Err(CliError::SeveralSources(names.join(" and ")));
        }
    };
    let source = loaded.loader.sources.remove(&planned.name).expect("the planner opened every source it names");
    let default = if range.replay { REPLAY_BLOCKS_PER_TICK } else { 0 };
    let asked = args.blocks_per_tick.or(loaded.loader.settings.blocks_per_tick).unwrap_or(default);
    // What an alert must not miss happens between two blocks.
    let one_block_a_tick = plan.has_alerts_by_block();
    let blocks_per_tick = match usize::try_from(asked) {
        _ if one_block_a_tick => 1,
        Ok(0) | Err(_) => source.blocks_per_tick(),
        Ok(blocks) => blocks,
    };
    let blocks = source.block_count_hint();
    request.tables = planned
        .tables
        .iter()
        .map(|table| TableRequest { name: table.name.clone(), columns: table.columns.clone() })
        .collect();
    let count = request.tables.len();
    let reader = source
        .start(request)
        .map_err(|error| CliError::Run(JobError::Source { name: planned.name.clone(), source: error }))?;
    Ok((JobSource { name: planned.name.clone(), reader, tables: count, blocks_per_tick, one_block_a_tick }, blocks))
}

type Outputs = (Vec<JobOutput>, Vec<OutputPlan>, Vec<ErrorCount>);

fn open_outputs(loaded: &mut LoadedJob, plan: &JobPlan, watch: &Watch) -> Result<Outputs, CliError> {
    let mut outputs = Vec::new();
    let mut plans = Vec::new();
    let mut errors = Vec::new();
    let default_sinks = default_sinks(plan);
    for sink in plan.sinks.iter().chain(&default_sinks) {
        let (SinkInput::View(view) | SinkInput::Errors(view)) = sink.input;
        let view = &plan.views[view];
        let request = loaded.loader.request(sink, view);
        let (schema, key) = (request.schema.clone(), request.key.clone());
        let opened = open_sink(loaded, sink, view, request, watch)?;
        outputs.push(JobOutput { name: sink.name.clone(), schema, key, sink: opened });
        plans.push(OutputPlan { input: sink.input, emit: sink.emit });
    }
    for (index, view) in plan.views.iter().enumerate() {
        let (sink, count) = ErrorWatch::new(&view.name, view.on_error_stop);
        let name = ErrorWatch::name_of(&view.name);
        outputs.push(JobOutput { name, schema: errors_schema(), key: None, sink: Box::new(sink) });
        plans.push(OutputPlan { input: SinkInput::Errors(index), emit: Emit::Changes });
        errors.push(count);
    }
    Ok((outputs, plans, errors))
}

/// A job without sinks shows its views on standard output.
fn default_sinks(plan: &JobPlan) -> Vec<PlannedSink> {
    if !plan.sinks.is_empty() {
        return Vec::new();
    }
    let sink = |(index, view): (usize, &crate::plan::PlannedView)| PlannedSink {
        name: view.name.clone(),
        input: SinkInput::View(index),
        emit: Emit::Changes,
        connector: "stdout".to_owned(),
        options: Vec::new(),
        span: view.span,
    };
    plan.views.iter().enumerate().map(sink).collect()
}

fn open_sink(
    loaded: &mut LoadedJob,
    sink: &PlannedSink,
    view: &crate::plan::PlannedView,
    request: highwater_engine::sink::SinkRequest,
    watch: &Watch,
) -> Result<Box<dyn Sink>, CliError> {
    let failed = |source| CliError::Run(JobError::Sink { name: sink.name.clone(), source });
    let (connector, request, options) =
        loaded.loader.sink(sink, view, request).map_err(|source| CliError::Load { name: sink.name.clone(), source })?;
    let of_alert = request.schema == notification_schema() && connector.notifications() != Notifications::Never;
    match request.delivery {
        Delivery::Print if !of_alert => return Ok(Box::new(Nothing)),
        Delivery::Print if connector.notifications() == Notifications::OfAlerts => {
            return Stdout.open(request, Options::new("standard output", "", Vec::new())).map_err(failed);
        }
        _ => {}
    }
    match watch.bar() {
        Some(bar) if connector.name() == "stdout" => {
            Stdout.open_with(request, options, BesideBar::shared(bar.clone())).map_err(failed)
        }
        _ => connector.open(request, options).map_err(failed),
    }
}

/// A job that reads no chain still has one moment, in which its constants are there.
struct OneBlock(bool);

impl SourceReader for OneBlock {
    fn next(&mut self) -> Result<SourceEvent, SourceError> {
        if std::mem::replace(&mut self.0, true) {
            return Ok(SourceEvent::End);
        }
        let block = BlockRef { number: 0, hash: BlockHash([1; 32]), parent: BlockHash::default(), timestamp_ms: 0 };
        let run = BlockRun { blocks: vec![block], tables: Vec::new() };
        Ok(SourceEvent::Blocks { run, cursor: 0, finalized: Some(0) })
    }
}

/// Sets a flag at the first Ctrl-C; a second one ends the process at once.
#[expect(clippy::exit, reason = "the second Ctrl-C asks for just that")]
pub(super) fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let (heard, hearing) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            // Listening begins when it is first polled.
            let mut first = pin!(tokio::signal::ctrl_c());
            let early = poll_fn(|context| Poll::Ready(first.as_mut().poll(context))).await;
            let _ = heard.send(());
            let first = match early {
                Poll::Ready(first) => first,
                Poll::Pending => first.await,
            };
            if first.is_ok() {
                flag.store(true, Ordering::Relaxed);
                tracing::info!("stopping: finishing the ticks in flight; press Ctrl-C again to end at once");
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
    });
    // Until someone listens an interrupt would end the process without its last tick; a thread that could not listen
    // has hung up.
    let _ = hearing.recv();
    stop
}

/// Writes the metrics file.
pub(super) fn write_metrics(path: &Path, metrics: &Registry) -> Result<(), CliError> {
    std::fs::write(path, metrics.prometheus()).map_err(|source| CliError::Write { path: path.to_owned(), source })
}
