//! `record`: what a source delivers, written down, to be replayed for ever.
//!
//! As Parquet it is a job of its own: one sink for each table, rows once they are final, so that what is
//! written is the canonical chain. As JSON lines the source itself writes each block as the node gave it,
//! branches that lost included (option `record` of the connector `evm`).

use std::fmt::Write as _;

use super::CliError;
use super::args::{RecordArgs, RecordFormat, SetOption};
use super::job_file::{LoadedJob, load, load_text};
use super::outputs::Destination;
use crate::sql::Statement;

/// Names of the sinks that a recording adds, which no job can have: a space is in them.
const PREFIX: &str = "recording of ";

/// The job that records.
pub(super) fn load_recording(args: &RecordArgs) -> Result<LoadedJob, CliError> {
    let mut job = args.run.job.clone();
    let out = args.run.out.clone().ok_or(CliError::NoPlace)?;
    let mut loaded = load(&job, Destination::default())?;
    loaded.take_plan()?;
    let source = source_name(&loaded, args.source.as_deref())?;
    let tables = match args.format {
        RecordFormat::Parquet => tables(&loaded, &source, &args.tables)?,
        RecordFormat::Json => {
            let value = out.join("blocks.ndjson.gz").display().to_string();
            job.set.push(SetOption { owner: source.clone(), option: "record".to_owned(), value });
            vec!["blocks".to_owned()]
        }
    };
    let text = with_sinks(&loaded, &source, &tables, args.format);
    let destination = Destination { out: Some(out), ..Destination::default() };
    load_text(&job, destination, text, |statement| match statement {
        Statement::Source(_) | Statement::Secret(_) | Statement::Set(_) | Statement::Table(_) => true,
        Statement::Sink(sink) => sink.name.text.starts_with(PREFIX),
        Statement::View(_) | Statement::Alert(_) | Statement::Explain(_) | Statement::UnitTest(_) => false,
    })
}

fn source_name(loaded: &LoadedJob, wanted: Option<&str>) -> Result<String, CliError> {
    let known: Vec<&String> = loaded.loader.sources.keys().collect();
    match (wanted, known.as_slice()) {
        (Some(wanted), known) if known.iter().any(|name| *name == wanted) => Ok(wanted.to_owned()),
        (None, [one]) => Ok((*one).clone()),
        (wanted, known) => {
            let known = known.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            Err(CliError::WhichSource { wanted: wanted.map(str::to_owned), known })
        }
    }
}

/// The tables to write: those asked for, else all but traces, which many sources do not have.
fn tables(loaded: &LoadedJob, source: &str, wanted: &[String]) -> Result<Vec<String>, CliError> {
    let offered: Vec<String> = loaded.loader.sources[source].tables().into_iter().map(|table| table.name).collect();
    if wanted.is_empty() {
        return Ok(offered.into_iter().filter(|name| name != "traces").collect());
    }
    match wanted.iter().find(|name| !offered.contains(name)) {
        Some(unknown) => Err(CliError::UnknownTable { table: unknown.clone(), known: offered.join(", ") }),
        None => Ok(wanted.to_vec()),
    }
}

fn with_sinks(loaded: &LoadedJob, source: &str, tables: &[String], format: RecordFormat) -> String {
    let mut text = format!("{}\n;\n", loaded.text);
    for table in tables {
        let options = match format {
            RecordFormat::Parquet => format!("connector = 'parquet', path = '{table}'"),
            // The blocks are read for the sake of being written by the source; nobody looks at the rows.
            RecordFormat::Json => "connector = 'file', path = '/dev/null'".to_owned(),
        };
        let columns = if format == RecordFormat::Json { "block_number" } else { "*" };
        let _ = writeln!(
            text,
            "CREATE SINK \"{PREFIX}{table}\" FROM (SELECT {columns} FROM \"{source}\".\"{table}\") \
             WITH ({options}) EMIT ON FINALITY;"
        );
    }
    text
}
