//! `highwater slt`: runs sqllogictest files against maintained views.
//!
//! Every query is kept up to date while the rows of its tables come, one by one or in a random order with rows
//! that go and come again, and what it holds at the end is compared with the file. So a file that was written
//! for a batch engine tests incremental maintenance.

mod compare;
mod incomplete;
mod script;
mod text;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueHint};
use highwater_engine::clock::unix_time_ms;
use sqllogictest::{
    Condition, Control, DefaultColumnType, ExpectedError, QueryExpect, Record, SortMode, StatementExpect,
};

use super::{CliError, Streams, print};
use crate::diagnostic::Code;
use crate::session::{Answer, Feeding, Rows, Session, SessionError};
use crate::sql::{SessionStatement, parse_session};
use compare::{Expected, agrees};
use incomplete::Incomplete;

/// Which files, and how rows come.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("feeding").args(["batch", "row", "churn"]))]
pub(crate) struct SltArgs {
    /// sqllogictest files
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// All rows of a table in one tick (the default)
    #[arg(long)]
    batch: bool,
    /// One tick a row, in the order in which statements changed the tables
    #[arg(long)]
    row: bool,
    /// Rows come, go and come again in a random order
    #[arg(long, value_name = "SEED")]
    churn: Option<u64>,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// What `skipif` and `onlyif` know this engine as (may be repeated)
    #[arg(long, value_name = "NAME", default_values = ["highwater", "postgresql"])]
    label: Vec<String>,
    /// Show every statement that does not agree, not only the first of each file
    #[arg(long)]
    all: bool,
}

/// What became of the records of files.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    agree: usize,
    differ: usize,
    /// What is not supported, by reason.
    refused: BTreeMap<String, usize>,
}

impl Tally {
    fn refusals(&self) -> usize {
        self.refused.values().sum()
    }

    fn add(&mut self, other: Tally) {
        self.agree += other.agree;
        self.differ += other.differ;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

/// Runs the files; an error if a statement does not agree.
pub(crate) fn execute(args: &SltArgs, streams: Streams) -> Result<(), CliError> {
    let mut all = Tally::default();
    let bar = streams.stderr_interactive.then(|| indicatif::ProgressBar::new(args.files.len() as u64));
    for file in &args.files {
        let (tally, text) = run_file(file, args)?;
        let line = format!(
            "{}: {} agree, {} differ, {} not supported\n{text}",
            file.display(),
            tally.agree,
            tally.differ,
            tally.refusals()
        );
        match &bar {
            Some(bar) => bar.suspend(|| print(&line))?,
            None => print(&line)?,
        }
        bar.iter().for_each(|bar| bar.inc(1));
        all.add(tally);
    }
    bar.iter().for_each(indicatif::ProgressBar::finish_and_clear);
    let mut text = String::new();
    for (reason, count) in &all.refused {
        let _ = writeln!(text, "not supported, {count} times: {reason}");
    }
    let total = all.agree + all.differ + all.refusals();
    let _ = writeln!(text, "{} of {total} statements agree", all.agree);
    print(&text)?;
    match (total, all.differ) {
        (0, _) => Err(CliError::NothingRun),
        (_, 0) => Ok(()),
        (_, differ) => Err(CliError::Disagree(differ)),
    }
}

fn run_file(file: &Path, args: &SltArgs) -> Result<(Tally, String), CliError> {
    let records = script::records(file, &args.label).map_err(|(path, source)| CliError::ReadScript { path, source })?;
    let mut script = Script::new(args);
    for record in records {
        if script.record(record).is_break() {
            break;
        }
    }
    Ok((script.tally, script.text))
}

/// A file being run.
struct Script<'a> {
    args: &'a SltArgs,
    session: Session,
    sort: SortMode,
    hash_threshold: u64,
    tally: Tally,
    incomplete: Incomplete,
    /// What did not agree.
    text: String,
}

/// What became of one record.
enum Fate {
    Agrees,
    Differs(String),
    Refused(String),
}

impl Script<'_> {
    fn new(args: &SltArgs) -> Script<'_> {
        let feeding = match (args.row, args.churn) {
            (true, _) => Feeding::Row,
            (false, Some(seed)) => Feeding::Churn(seed),
            (false, None) => Feeding::Batch,
        };
        let mut session = Session::new();
        session.feeding = feeding;
        session.workers = args.workers;
        session.now_ms = unix_time_ms();
        let sort = SortMode::NoSort;
        let (tally, incomplete) = (Tally::default(), Incomplete::default());
        Script { args, session, sort, hash_threshold: 0, tally, incomplete, text: String::new() }
    }

    fn skipped(&self, conditions: &[Condition]) -> bool {
        conditions.iter().any(|condition| match condition {
            Condition::OnlyIf { label } => !self.args.label.contains(label),
            Condition::SkipIf { label } => self.args.label.contains(label),
        })
    }

    fn record(&mut self, record: Record<DefaultColumnType>) -> std::ops::ControlFlow<()> {
        match record {
            Record::Statement { loc, conditions, sql, expected, .. } if !self.skipped(&conditions) => {
                let answer = self.session.execute(&sql);
                let fate = statement_fate(answer, &expected);
                self.note(&loc.to_string(), &sql, fate);
            }
            Record::Query { loc, conditions, sql, expected, .. } if !self.skipped(&conditions) => {
                let answer = self.session.execute(&sql);
                let fate = self.query_fate(&sql, answer, expected);
                self.note(&loc.to_string(), &sql, fate);
            }
            Record::System { loc, conditions, command, .. } if !self.skipped(&conditions) => {
                let fate = Fate::Refused("a command of the system".to_owned());
                self.note(&loc.to_string(), &command, fate);
            }
            Record::Control(Control::SortMode(sort)) => self.sort = sort,
            Record::HashThreshold { threshold, .. } => self.hash_threshold = threshold,
            Record::Halt { .. } => return std::ops::ControlFlow::Break(()),
            _ => {}
        }
        std::ops::ControlFlow::Continue(())
    }

    fn query_fate(
        &self,
        sql: &str,
        answer: Result<Vec<Answer>, SessionError>,
        expected: QueryExpect<DefaultColumnType>,
    ) -> Fate {
        let (types, mut sort, results) = match expected {
            QueryExpect::Error(expected) => return statement_fate(answer, &StatementExpect::Error(expected)),
            QueryExpect::Results { types, sort_mode, results, .. } => (types, sort_mode.unwrap_or(self.sort), results),
        };
        // Rows have an order where the query gives them one, and nowhere else.
        let hashed = results.len() == 1 && results[0].contains(" values hashing to ");
        if sort == SortMode::NoSort && !hashed && !is_ordered(sql) {
            sort = SortMode::RowSort;
        }
        match answer {
            Err(error) => failed(&error),
            Ok(answers) => match answers.into_iter().next_back() {
                Some(Answer::Rows(Rows { batch, .. })) => {
                    let expected = Expected { types: &types, sort, lines: &results, threshold: self.hash_threshold };
                    agrees(&batch, &expected).map_or_else(Fate::Differs, |()| Fate::Agrees)
                }
                Some(Answer::Text(_)) => Fate::Refused("the text of EXPLAIN as rows".to_owned()),
                Some(Answer::Changed(count)) if results == [count.to_string()] => Fate::Agrees,
                _ if results.is_empty() => Fate::Agrees,
                _ => Fate::Differs("the statement has no rows".to_owned()),
            },
        }
    }

    fn note(&mut self, place: &str, sql: &str, fate: Fate) {
        let fate = self.incomplete.follow(sql, fate);
        let (what, why) = match fate {
            Fate::Agrees => {
                self.tally.agree += 1;
                return;
            }
            Fate::Differs(why) => {
                self.tally.differ += 1;
                ("differs", why)
            }
            Fate::Refused(why) => {
                *self.tally.refused.entry(why.clone()).or_default() += 1;
                ("not supported", why)
            }
        };
        if self.text.is_empty() || self.args.all {
            let sql = sql.trim().replace('\n', "\n    ");
            let _ = writeln!(self.text, "  {place}: {what}\n    {sql}\n    {}", why.replace('\n', "\n    "));
        }
    }
}

/// Whether the query says how its rows are ordered.
fn is_ordered(sql: &str) -> bool {
    match parse_session(sql) {
        Ok((_, statements)) => {
            matches!(statements.last(), Some(SessionStatement::Query(query, _)) if query.order_by.is_some())
        }
        Err(_) => true,
    }
}

fn statement_fate(answer: Result<Vec<Answer>, SessionError>, expected: &StatementExpect) -> Fate {
    match (answer, expected) {
        (Ok(_), StatementExpect::Ok) => Fate::Agrees,
        (Ok(answers), StatementExpect::Count(wanted)) => match answers.last() {
            Some(Answer::Changed(count)) if *count as u64 == *wanted => Fate::Agrees,
            Some(Answer::Done) if *wanted == 0 => Fate::Agrees,
            Some(Answer::Rows(rows)) if rows.batch.num_rows() as u64 == *wanted => Fate::Agrees,
            other => Fate::Differs(format!("expected {wanted} rows, found {other:?}")),
        },
        (Ok(_), StatementExpect::Error(_)) => Fate::Differs("expected an error".to_owned()),
        (Err(_), StatementExpect::Error(ExpectedError::Empty)) => Fate::Agrees,
        // The words of an error are each engine's own.
        (Err(_), StatementExpect::Error(_)) => Fate::Agrees,
        (Err(error), _) => failed(&error),
    }
}

/// A statement that should have worked: not supported, or wrong.
fn failed(error: &SessionError) -> Fate {
    let refusal = match error {
        SessionError::Statement(mistakes) => mistakes.iter().find(|mistake| {
            matches!(
                mistake.code,
                Code::Unsupported
                    | Code::UnsupportedJoin
                    | Code::UnknownFunction
                    | Code::UnknownType
                    | Code::Syntax
                    | Code::NowMisuse
                    | Code::UnboundedState
                    | Code::EmitImpossible
                    | Code::LimitWithoutOrder
            )
        }),
        _ => None,
    };
    match refusal {
        Some(mistake) => {
            let hint = mistake.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Fate::Refused(format!("{}{hint}", mistake.message))
        }
        None => Fate::Differs(highwater_engine::error::chain(error)),
    }
}
