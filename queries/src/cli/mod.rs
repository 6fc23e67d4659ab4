//! The `highwater` command: run, replay, check, explain.
//!
//! Data goes to standard output, everything else to standard error. This is the only module that
//! sees connectors and sinks.

mod alerts;
mod args;
mod job_file;
mod listening;
mod loader;
mod outputs;
mod record;
mod reference;
mod reload;
mod run;
mod serve;
mod slt;
mod sql;
mod tables;
mod unit_test;
mod watch;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use highwater_engine::error::{Classified, Fault, chain};
use highwater_engine::job::JobError;
use highwater_engine::sink::{Delivery, SinkError, Terminal};
use highwater_sinks::alert::LedgerError;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, ExplainArgs, RecordArgs};
pub use args::{JobArgs, RunArgs, SetOption};
pub use run::{Display, Outcome, Range, run};

use crate::diagnostic::Diagnostic;
use crate::plan::{JobPlan, LoadError, explain_state, explain_view};
use outputs::Destination;

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The job file cannot be read.
    #[error("reading the job {} failed", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The job has mistakes.
    #[error("the job {path} has {} mistakes", diagnostics.len())]
    Job {
        /// The file.
        path: String,
        /// Its text.
        text: String,
        /// The mistakes.
        diagnostics: Vec<Diagnostic>,
    },
    /// `--set` names nothing in the job.
    #[error("--set {0}.…: the job has no source, table or sink \"{0}\"")]
    UnusedSet(String),
    /// A view that the job does not have.
    #[error("the job has no view \"{name}\"; it has {known}")]
    UnknownView {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Several chains in one job.
    #[error("the job reads the sources {0}; this version runs one source a job, so make it two jobs")]
    SeveralSources(String),
    /// A recording of a job with several sources, or none.
    #[error("{}; it has {}", match wanted {
        Some(wanted) => format!("the job has no source \"{wanted}\""),
        None => "say with --source which source to record".to_owned(),
    }, if known.is_empty() { "none" } else { known })]
    WhichSource {
        /// What was asked for.
        wanted: Option<String>,
        /// What there is.
        known: String,
    },
    /// A recording of a table that the source does not have.
    #[error("the source has no table \"{table}\"; it has {known}")]
    UnknownTable {
        /// What was asked for.
        table: String,
        /// What there is.
        known: String,
    },
    /// A recording without a place.
    #[error("say with --out in which folder to record")]
    NoPlace,
    /// A range of blocks that holds none.
    #[error("--from {from} --to {to} holds no block")]
    EmptyRange {
        /// First block.
        from: u64,
        /// Last block.
        to: u64,
    },
    /// A job without views.
    #[error("the job {0} has nothing to run; add CREATE MATERIALIZED VIEW name AS SELECT …")]
    Empty(String),
    /// A row failed in a view that stops for that.
    #[error("view \"{view}\" stops at a row that cannot be evaluated")]
    RowError {
        /// The view.
        view: String,
        /// The row.
        source: SinkError,
    },
    /// A sink cannot be opened.
    #[error("sink \"{name}\" cannot be opened")]
    Load {
        /// The sink.
        name: String,
        /// Why.
        source: LoadError,
    },
    /// The job failed while running.
    #[error("the job failed")]
    Run(#[source] JobError),
    /// An operator refused what the planner made.
    #[error("the plan cannot be rendered; this is a bug in highwater")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The ledger of alerts cannot be used.
    #[error("the alerts of the job cannot be looked at")]
    Ledger(#[source] Box<LedgerError>),
    /// There is no such delivery.
    #[error("nothing called {which} {needed}; `highwater alerts list` shows what there is")]
    NoDelivery {
        /// What was asked for.
        which: String,
        /// What it would have to be.
        needed: &'static str,
    },
    /// A mute of nothing.
    #[error("say with --alert or --group what to keep back")]
    MuteWhat,
    /// A file of statements cannot be read.
    #[error("reading {} failed", path.display())]
    ReadScript {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Unit tests failed.
    #[error("{0} unit tests failed")]
    TestsFailed(usize),
    /// Statements gave other rows than their file says.
    #[error("{0} statements do not agree")]
    Disagree(usize),
    /// Files without a statement that was run prove nothing.
    #[error("no statement was run: the files have none, or all are for other engines")]
    NothingRun,
    /// A file cannot be written.
    #[error("writing {} failed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The terminal cannot be used.
    #[error("the terminal cannot be used")]
    Terminal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A running job cannot be asked.
    #[error("{}", chain(.0.as_ref()))]
    Connect(Box<dyn std::error::Error + Send + Sync>),
    /// A job cannot listen.
    #[error("listening at {address} failed")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The state of a job knows nothing of what its views hold.
    #[error(
        "the state in {} was kept without sql.listen, so it does not say what the views hold; begin anew with \
         --reset, or do not listen",
        path.display()
    )]
    StateWithoutContents {
        /// The directory.
        path: PathBuf,
    },
    /// A statement failed, and was told.
    #[error("a statement failed")]
    Told,
    /// The reader of standard output went away: a normal end.
    #[error("standard output was closed")]
    Closed,
}

impl CliError {
    /// 2 if the command line or the job file is wrong, 1 if the job failed.
    fn exit_code(&self) -> u8 {
        match self {
            CliError::Run(error) if error.class().fault == Fault::User => 2,
            CliError::Run(_)
            | CliError::RowError { .. }
            | CliError::Internal(_)
            | CliError::Write { .. }
            | CliError::Listen { .. }
            | CliError::Connect(_)
            | CliError::Told
            | CliError::Disagree(_)
            | CliError::NothingRun
            | CliError::TestsFailed(_) => 1,
            CliError::Closed => 0,
            _ => 2,
        }
    }
}

/// What standard output and standard error are.
#[derive(Debug, Clone, Copy)]
struct Streams {
    stdout: Terminal,
    stderr_interactive: bool,
    stderr_colour: bool,
}

impl Streams {
    fn look() -> Streams {
        let colour = |choice: anstream::ColorChoice| choice != anstream::ColorChoice::Never;
        let width = console_width();
        Streams {
            stdout: Terminal {
                interactive: std::io::stdout().is_terminal(),
                colour: colour(anstream::AutoStream::choice(&std::io::stdout())),
                width,
            },
            stderr_interactive: std::io::stderr().is_terminal(),
            stderr_colour: colour(anstream::AutoStream::choice(&std::io::stderr())),
        }
    }
}

/// Columns of the terminal; a usual width where there is none.
fn console_width() -> u16 {
    console::Term::stdout().size_checked().map_or(120, |(_, columns)| columns)
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let streams = Streams::look();
    start_logging(streams);
    match execute(cli.command, streams) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, streams);
            ExitCode::from(error.exit_code())
        }
    }
}

fn start_logging(streams: Streams) {
    let filter = EnvFilter::try_from_env("HIGHWATER_LOG").unwrap_or_else(|_| EnvFilter::new("highwater=warn,warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if streams.stderr_interactive {
        builder.with_ansi(streams.stderr_colour).without_time().with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
}

fn execute(command: Command, streams: Streams) -> Result<(), CliError> {
    match command {
        Command::Run(args) => run_and_report(&args, Range::default(), streams),
        Command::Replay(args) => {
            let delivery = match (args.dry_run, args.send) {
                (true, _) => Delivery::Print,
                (false, true) => Delivery::Send,
                (false, false) => Delivery::Off,
            };
            let range = Range { from: args.from, to: args.to, replay: true, delivery };
            run_and_report(&args.run, range, streams)
        }
        Command::Record(args) => record(&args, streams),
        Command::Alerts { command } => alerts::execute(&command),
        Command::Test(args) => unit_test::execute(&args),
        Command::Slt(args) => slt::execute(&args, streams),
        Command::Sql(args) => sql::execute(&args, streams),
        Command::Check(args) => check(&args, streams),
        Command::Explain(args) => explain(&args),
        Command::Reference { page } => print(&reference::page(page)),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "highwater", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
    }
}

fn run_and_report(args: &RunArgs, range: Range, streams: Streams) -> Result<(), CliError> {
    let mut display = display(args, streams);
    // What a dry run prints stands alone.
    display.bar &= range.delivery != Delivery::Print;
    let outcome = run(args, range, &display, run::stop_on_interrupt())?;
    tell(args, &outcome, streams)
}

fn record(args: &RecordArgs, streams: Streams) -> Result<(), CliError> {
    let loaded = record::load_recording(args)?;
    let range = Range { from: args.from, to: args.to, ..Range::default() };
    let display = display(&args.run, streams);
    let outcome = run::run_loaded(loaded, &args.run, range, &display, run::stop_on_interrupt())?;
    tell(&args.run, &outcome, streams)
}

fn display(args: &RunArgs, streams: Streams) -> Display {
    Display { bar: streams.stderr_interactive && !args.quiet, colour: streams.stderr_colour, terminal: streams.stdout }
}

/// Metrics and summary of a run.
fn tell(args: &RunArgs, outcome: &Outcome, streams: Streams) -> Result<(), CliError> {
    if let Some(path) = &args.metrics {
        run::write_metrics(path, &outcome.metrics)?;
    }
    if !args.quiet {
        if streams.stderr_interactive {
            watch::print_summary(outcome, streams.stderr_colour);
        } else {
            let line = watch::summary_json(outcome);
            // Nothing can be done about a closed standard error.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
    Ok(())
}

fn check(args: &JobArgs, streams: Streams) -> Result<(), CliError> {
    let mut loaded = job_file::load(args, Destination { terminal: streams.stdout, ..Destination::default() })?;
    let plan = loaded.take_plan()?;
    for text in &plan.explains {
        print(&format!("{text}\n"))?;
    }
    let (views, sinks) = (plan.views.len(), plan.sinks.len());
    let path = args.job.display();
    print(&format!("{path}: fine ({views} view{}, {sinks} sink{})\n", plural(views), plural(sinks)))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn explain(args: &ExplainArgs) -> Result<(), CliError> {
    let mut loaded = job_file::load(&args.job, Destination::default())?;
    let plan = loaded.take_plan()?;
    let known = || plan.views.iter().map(|view| format!("\"{}\"", view.name)).collect::<Vec<_>>().join(", ");
    let text = match &args.view {
        None if args.state => explain_state(&plan),
        None => crate::plan::explain(&plan),
        Some(name) if !plan.views.iter().any(|view| view.name == *name) => {
            return Err(CliError::UnknownView { name: name.clone(), known: known() });
        }
        Some(name) if args.state => {
            let prefix = format!("{name}/");
            let state = plan.state.iter().filter(|entry| entry.id.starts_with(&prefix)).cloned().collect();
            explain_state(&JobPlan { state, ..plan })
        }
        Some(name) => explain_view(&plan, name).unwrap_or_default(),
    };
    print(&text)
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(_) => Err(CliError::Closed),
    }
}

fn report(error: &CliError, streams: Streams) {
    let mut text = String::new();
    match error {
        CliError::Closed | CliError::Told => return,
        CliError::Job { path, text: job, diagnostics } => {
            let rendered = diagnostics.iter().map(|diagnostic| diagnostic.render(path, job, streams.stderr_colour));
            text = rendered.collect::<Vec<_>>().join("\n");
            text.push('\n');
        }
        error => {
            let style =
                if streams.stderr_colour { anstyle::AnsiColor::Red.on_default().bold() } else { anstyle::Style::new() };
            let _ = writeln!(text, "{style}error{style:#}: {}", chain(error));
        }
    }
    // Nothing can be done about a closed standard error.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
