//! Statements of a text one by one: what they answer, and what is wrong with them.

use std::fmt::Write as _;
use std::io::Write as _;

use highwater_engine::error::chain;

use super::super::{CliError, Streams, print};
use super::remote::Remote;
use super::show::{self, Format, counted};
use super::subscribe::{self, Interrupts};
use crate::plan::sql_type;
use crate::session::{Answer, RelationKind, Session, SessionError, Subscription};
use crate::sql::statement_spans;

/// Whether all statements of a text were carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
}

/// A session, and how it shows itself.
pub(super) struct Statements {
    pub(super) session: Session,
    pub(super) remote: Option<Remote>,
    pub(super) format: Format,
    pub(super) streams: Streams,
    pub(super) interrupts: Interrupts,
}

impl Statements {
    pub(super) fn new(session: Session, remote: Option<Remote>, format: Format, streams: Streams) -> Statements {
        Statements { session, remote, format, streams, interrupts: Interrupts::default() }
    }

    /// Makes the views of the job known to the session.
    pub(super) fn introduce(&mut self) -> Result<(), CliError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        for name in remote.names() {
            let text = format!("CREATE TABLE \"{}\" WITH (connector = 'job')", name.replace('"', "\"\""));
            self.session.execute(&text).map_err(|error| CliError::Connect(error.into()))?;
        }
        Ok(())
    }

    /// Carries out a text up to its first mistake, which is told.
    pub(super) fn run(&mut self, path: &str, text: &str) -> Result<Outcome, CliError> {
        if let Some(command) = text.trim().strip_prefix('\\') {
            return self.command(command.trim_end_matches(';'));
        }
        for span in statement_spans(text) {
            let answers = self.session.execute(&text[span.start..span.end]);
            let shown = match answers {
                Ok(answers) => answers.into_iter().try_for_each(|answer| self.show(answer)),
                Err(error) => Err(Stop::Mistake(error)),
            };
            match shown {
                Ok(()) => {}
                Err(Stop::Cli(error)) => return Err(error),
                Err(Stop::Mistake(error)) => {
                    self.tell(path, text, span.start, error);
                    return Ok(Outcome::Failed);
                }
            }
        }
        Ok(Outcome::Done)
    }

    fn show(&mut self, answer: Answer) -> Result<(), Stop> {
        match answer {
            Answer::Done => Ok(()),
            Answer::Changed(rows) if self.format == Format::Table => {
                print(&format!("{} changed\n", counted(rows))).map_err(Stop::Cli)
            }
            Answer::Changed(_) => Ok(()),
            Answer::Text(text) => print(&format!("{}\n", text.trim_end())).map_err(Stop::Cli),
            Answer::Rows(rows) => print(&show::all(self.format, &rows.batch, self.streams.stdout)).map_err(Stop::Cli),
            Answer::Subscription(subscription) => self.subscribe(&subscription),
        }
    }

    fn subscribe(&mut self, subscription: &Subscription) -> Result<(), Stop> {
        subscribe::run(self, subscription)
    }

    /// Tells what is wrong with a statement that starts at this byte of its text.
    fn tell(&self, path: &str, text: &str, start: usize, error: SessionError) {
        let colour = self.streams.stderr_colour;
        let mut told = String::new();
        match error {
            SessionError::Statement(mistakes) => {
                for mut mistake in mistakes {
                    if let Some(span) = &mut mistake.span {
                        span.start += start;
                        span.end += start;
                    }
                    let _ = writeln!(told, "{}", mistake.render(path, text, colour));
                }
            }
            error => {
                let red = anstyle::AnsiColor::Red.on_default().bold();
                let style = if colour { red } else { anstyle::Style::new() };
                let _ = writeln!(told, "{style}error{style:#}: {}", chain(&error));
            }
        }
        // Nothing can be done about a closed standard error.
        let _ = std::io::stderr().write_all(told.as_bytes());
    }

    /// `\d`, `\d name`, `\?`.
    fn command(&mut self, command: &str) -> Result<Outcome, CliError> {
        let mut words = command.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("?"), None, _) => print(HELP)?,
            (Some("d"), None, _) => print(&self.relations())?,
            (Some("d"), Some(name), None) => match self.session.columns_of(&plain_name(name)) {
                Ok(columns) => {
                    let mut text = String::new();
                    for field in columns.fields() {
                        let optional = if field.is_nullable() { "" } else { " NOT NULL" };
                        let _ = writeln!(text, " {} {}{optional}", field.name(), sql_type(field));
                    }
                    print(&text)?;
                }
                Err(error) => {
                    self.tell("sql", command, 0, error);
                    return Ok(Outcome::Failed);
                }
            },
            _ => {
                // Nothing can be done about a closed standard error.
                let _ = writeln!(std::io::stderr(), "there is no command \\{command}; \\? lists them");
                return Ok(Outcome::Failed);
            }
        }
        Ok(Outcome::Done)
    }

    fn relations(&self) -> String {
        let remote = |name: &str| self.remote.as_ref().is_some_and(|remote| remote.has(name));
        let mut text = String::new();
        for (name, kind) in self.session.relations() {
            let kind = match kind {
                RelationKind::Table => "table",
                RelationKind::Fixed if remote(&name) => "view of the job",
                RelationKind::Fixed => "table (fixed)",
                RelationKind::View => "view",
            };
            let _ = writeln!(text, " {kind:<15}  {name}");
        }
        if text.is_empty() { "nothing is defined yet\n".to_owned() } else { text }
    }
}

/// A name as SQL reads it.
fn plain_name(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// Why a statement ends the ones behind it.
pub(super) enum Stop {
    /// It is wrong, or cannot be answered.
    Mistake(SessionError),
    /// The command itself cannot go on.
    Cli(CliError),
}

impl From<SessionError> for Stop {
    fn from(error: SessionError) -> Stop {
        Stop::Mistake(error)
    }
}

const HELP: &str = "\
 statement;     SELECT, CREATE TABLE | VIEW, INSERT, UPDATE, DELETE, DROP, EXPLAIN, SUBSCRIBE
 FROM 'path'    a file, such as 'out/trades/*.parquet' or 'tokens.csv', or a folder that a sink writes
 \\d             tables and views
 \\d name        the columns of one
 \\?             this
 \\q             leave (or Ctrl-D); Ctrl-C drops the line, and ends SUBSCRIBE
";
