//! `highwater sql`: SQL by hand, over files and over the views of a running job.
//!
//! The shell keeps a [`Session`] and gives it one statement after the other. Files that a query names are read
//! once (`files`); with `--connect` the materialised views of a job are tables too (`remote`).

mod files;
mod glob;
mod helper;
mod remote;
mod shell;
mod show;
mod statements;
mod subscribe;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use highwater_engine::clock::unix_time_ms;

use super::{CliError, Streams};
use crate::session::Session;
use files::Files;
use remote::Remote;
use show::Format;
use statements::{Outcome, Statements};

/// What to run, and over what.
#[derive(Debug, Clone, Args)]
pub(crate) struct SqlArgs {
    /// Run these statements and end (may be repeated)
    #[arg(long, short, value_name = "SQL")]
    command: Vec<String>,
    /// Run the statements of a file and end (may be repeated)
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "command")]
    file: Vec<PathBuf>,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Read the materialised views of a job that listens here (its `SET sql.listen`, or `run --sql-listen`)
    #[arg(long, value_name = "ADDRESS")]
    connect: Option<String>,
}

/// Runs the shell, or what it is given.
pub(crate) fn execute(args: &SqlArgs, streams: Streams) -> Result<(), CliError> {
    let files = Files::new(PathBuf::from("."));
    let remote = args.connect.as_deref().map(Remote::connect).transpose().map_err(CliError::Connect)?;
    let mut session = match &remote {
        Some(remote) => Session::over(Box::new(remote.world(files))),
        None => Session::over(Box::new(files)),
    };
    session.now_ms = unix_time_ms();
    let mut statements = Statements::new(session, remote, args.format, streams);
    statements.introduce()?;
    if !args.command.is_empty() {
        for text in &args.command {
            run(&mut statements, "-c", text)?;
        }
        return Ok(());
    }
    if !args.file.is_empty() {
        for path in &args.file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| CliError::ReadScript { path: path.clone(), source: Box::new(source) })?;
            run(&mut statements, &path.display().to_string(), &text)?;
        }
        return Ok(());
    }
    if std::io::stdin().is_terminal() && streams.stdout.interactive {
        return shell::run(&mut statements);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|source| CliError::ReadScript { path: PathBuf::from("standard input"), source: Box::new(source) })?;
    run(&mut statements, "standard input", &text)
}

/// Runs a text up to its first mistake, which is told.
fn run(statements: &mut Statements, path: &str, text: &str) -> Result<(), CliError> {
    match statements.run(path, text)? {
        Outcome::Done => Ok(()),
        Outcome::Failed => Err(CliError::Told),
    }
}
