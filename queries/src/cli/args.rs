//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use highwater_engine::options::parse_duration;

use super::alerts::AlertsCommand;
use super::slt::SltArgs;
use super::sql::SqlArgs;
use super::unit_test::TestArgs;

/// Incremental SQL over blockchains, exact under reorg.
#[derive(Debug, Parser)]
#[command(
    name = "highwater",
    version,
    about = "Incremental SQL over blockchains, exact under reorg",
    long_about = "Highwater keeps SQL views true while blocks arrive, while a reorg takes blocks back, and while \
                  history is replayed. A job is one SQL file: sources, views, sinks.",
    after_help = "Exit codes: 0 the job is done, 1 the job failed, 2 the command line or the job file is wrong.\n\
                  Environment: NO_COLOR turns colour off; HIGHWATER_LOG sets log levels (such as debug).",
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job until its source ends or Ctrl-C
    #[command(after_help = "Examples:\n  \
        highwater run queries/jobs/quickstart.sql\n  \
        highwater run job.sql --set eth.connector=parquet --set eth.path=history --out results\n  \
        highwater run job.sql --state state/job        continue where the last run stopped\n  \
        highwater run job.sql | jq .row                deltas as JSON lines")]
    Run(RunArgs),
    /// Run a job over a range of past blocks
    #[command(after_help = "Examples:\n  \
        highwater replay job.sql --from 17686110 --to 17686121\n  \
        highwater replay job.sql --from 1000 --workers 2 --blocks-per-tick 200\n  \
        highwater replay job.sql --from 17686110 --dry-run      the alerts it would have sent, and nothing else")]
    Replay(ReplayArgs),
    /// Write down what a source delivers, to replay it for ever
    #[command(after_help = "Examples:\n  \
        highwater record job.sql --out recorded --from 17686110 --to 17686121\n  \
        highwater record job.sql --out recorded --format json      each block as the node gave it, reorgs included\n  \
        highwater replay job.sql --set eth.connector=parquet --set eth.path=recorded")]
    Record(RecordArgs),
    /// See what alerts told, send again what failed, acknowledge, mute; also while the job runs
    #[command(after_help = "Examples:\n  \
        highwater alerts list --state state/job --in dead\n  \
        highwater alerts retry --state state/job --dead          all dead letters again\n  \
        highwater alerts ack --state state/job 17\n  \
        highwater alerts mute --state state/job --alert whales --for '2 hours'")]
    Alerts {
        /// What to do
        #[command(subcommand)]
        command: AlertsCommand,
    },
    /// Run the unit tests of a job: views over rows that the tests give
    #[command(after_help = "Example:\n  highwater test job.sql")]
    Test(TestArgs),
    /// SQL by hand: over files, and over the materialised views of a running job
    #[command(after_help = "Examples:\n  \
        highwater sql                                                      a shell; \\? tells its commands\n  \
        highwater sql -c \"SELECT count(*) FROM 'out/trades/*.parquet'\"\n  \
        highwater sql --connect 127.0.0.1:7474 -c 'SELECT * FROM failure_rate' --format csv\n  \
        highwater sql --connect 127.0.0.1:7474 -c 'SUBSCRIBE failure_rate WITH (PROGRESS)'")]
    Sql(SqlArgs),
    /// Run sqllogictest files; every query is maintained while the rows of its tables come and go
    #[command(after_help = "Examples:\n  \
        highwater slt tests/*.slt                   all rows at once\n  \
        highwater slt --row tests/*.slt             one tick a row\n  \
        highwater slt --churn 7 tests/*.slt         rows come, go and come again in a random order")]
    Slt(SltArgs),
    /// Look for mistakes in a job without running it
    #[command(after_help = "Example:\n  highwater check job.sql && echo fine")]
    Check(JobArgs),
    /// Show how views are computed, or what state they keep
    #[command(after_help = "Examples:\n  \
        highwater explain job.sql                 all views\n  \
        highwater explain job.sql failure_rate    one view\n  \
        highwater explain job.sql --state         every piece of state, its key and its bound")]
    Explain(ExplainArgs),
    /// Print the reference of functions, connectors and error codes as Markdown
    Reference {
        /// Which page
        #[arg(value_enum)]
        page: ReferencePage,
    },
    /// Print shell completions
    #[command(after_help = "Example:\n  highwater completions bash > /etc/bash_completion.d/highwater")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// The pages of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReferencePage {
    /// The language: statements, constructs, differences
    Sql,
    /// SQL functions
    Functions,
    /// Tables and relations of EVM sources
    Tables,
    /// Options of sources and sinks
    Connectors,
    /// Diagnostic codes
    Errors,
}

/// A job file and changes to it.
#[derive(Debug, Clone, Args)]
pub struct JobArgs {
    /// The job: a SQL file
    #[arg(value_name = "JOB", value_hint = ValueHint::FilePath)]
    pub job: PathBuf,
    /// Set an option of a source, table or sink (may be repeated)
    #[arg(long, value_name = "NAME.OPTION=VALUE", value_parser = parse_set)]
    pub set: Vec<SetOption>,
}

/// `--set name.option=value`
#[derive(Clone, PartialEq, Eq)]
pub struct SetOption {
    /// The source, table or sink.
    pub owner: String,
    /// The option.
    pub option: String,
    /// Its value.
    pub value: String,
}

impl std::fmt::Debug for SetOption {
    /// Without the value: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.owner, self.option)
    }
}

/// How to run.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The job
    #[command(flatten)]
    pub job: JobArgs,
    /// Worker threads of the dataflow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Blocks that share a tick at most, when they come fast enough (results do not depend on it)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub blocks_per_tick: Option<u32>,
    /// Folder that relative paths of sinks start from (default: the job's folder)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Keep state here and continue from it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,
    /// Throw away the state of an earlier run
    #[arg(long, requires = "state")]
    pub reset: bool,
    /// Time between checkpoints of the state
    #[arg(long, value_name = "DURATION", default_value = "2 minutes", value_parser = parse_every)]
    pub checkpoint_every: Duration,
    /// Write metrics to this file at the end, in the Prometheus text format
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub metrics: Option<PathBuf>,
    /// Answer `highwater sql --connect` here, such as 127.0.0.1:7474 (before the job's SET sql.listen)
    #[arg(long, value_name = "ADDRESS")]
    pub sql_listen: Option<String>,
    /// No progress bar and no summary
    #[arg(long, short)]
    pub quiet: bool,
}

/// Which blocks to replay.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayArgs {
    /// How to run
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// First block, inclusive
    #[arg(long, value_name = "BLOCK")]
    pub(crate) from: Option<u64>,
    /// Last block, inclusive
    #[arg(long, value_name = "BLOCK")]
    pub(crate) to: Option<u64>,
    /// Write nothing: print the notifications that alert channels would send, as JSON lines
    #[arg(long, conflicts_with = "send")]
    pub(crate) dry_run: bool,
    /// Really send what alert channels are to send (without, a replay sends nothing)
    #[arg(long)]
    pub(crate) send: bool,
}

/// What to record.
#[derive(Debug, Clone, Args)]
pub(crate) struct RecordArgs {
    /// How to run; the job's views and sinks are left out
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// First block, inclusive
    #[arg(long, value_name = "BLOCK")]
    pub(crate) from: Option<u64>,
    /// Last block, inclusive
    #[arg(long, value_name = "BLOCK")]
    pub(crate) to: Option<u64>,
    /// The source (default: the only one of the job)
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Tables to write as Parquet (default: all but traces)
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    pub(crate) tables: Vec<String>,
    /// What to write
    #[arg(long, value_enum, default_value_t = RecordFormat::Parquet)]
    pub(crate) format: RecordFormat,
}

/// The forms of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RecordFormat {
    /// A folder of Parquet files a table: the canonical chain, once it is final
    Parquet,
    /// JSON lines as the node gave them: every block, those that lost included
    Json,
}

/// What to explain.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArgs {
    /// The job
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// One view (default: all)
    #[arg(value_name = "VIEW")]
    pub(crate) view: Option<String>,
    /// Show the state instead of the steps
    #[arg(long)]
    pub(crate) state: bool,
}

pub(super) fn parse_set(text: &str) -> Result<SetOption, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME.OPTION=VALUE, such as eth.path=blocks")?;
    let (owner, option) = name.split_once('.').ok_or("expected NAME.OPTION=VALUE, such as eth.path=blocks")?;
    if owner.is_empty() || option.is_empty() {
        return Err("expected NAME.OPTION=VALUE, such as eth.path=blocks".to_owned());
    }
    Ok(SetOption { owner: owner.to_owned(), option: option.to_ascii_lowercase(), value: value.to_owned() })
}

fn parse_every(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration, such as '2 minutes'".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn set_takes_values_with_equal_signs() {
        let set = parse_set("eth.url=http://127.0.0.1/?key=a").unwrap();
        assert_eq!(
            (set.owner.as_str(), set.option.as_str(), set.value.as_str()),
            ("eth", "url", "http://127.0.0.1/?key=a")
        );
        assert!(parse_set("eth=1").is_err());
    }
}
