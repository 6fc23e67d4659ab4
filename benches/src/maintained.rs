//! The queries of TPC-H and Nexmark as maintained views, each over rows that come block by block; from Parquet to
//! Parquet.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use crate::replay::{ReplayArguments, meta, replay};
use crate::report;

/// The share of the stock in the file of TPC-H's q11.
const STOCK_SHARE: &str = "0.05";

/// Which queries to run, and how.
#[derive(Debug, Args)]
pub(crate) struct MaintainedArguments {
    #[command(flatten)]
    replay: ReplayArguments,
    #[arg(value_enum)]
    workload: Workload,
    /// Only these queries, as `q05,q17`
    #[arg(long, value_delimiter = ',', overrides_with = "only")]
    only: Vec<String>,
    /// The folder with the queries of each workload
    #[arg(long, default_value = "queries/tests")]
    queries: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Workload {
    Tpch,
    Nexmark,
}

impl Workload {
    /// The folder of its queries.
    fn folder(self) -> &'static str {
        match self {
            Workload::Tpch => "tpch",
            Workload::Nexmark => "nexmark",
        }
    }
}

/// Each query in a process of its own, because CPU time and peak memory are those of a process.
pub(crate) fn run(arguments: &MaintainedArguments) -> anyhow::Result<()> {
    let folder = arguments.queries.join(arguments.workload.folder());
    match arguments.only.as_slice() {
        [query] => one(arguments, &folder, query),
        [] => names(&folder)?.iter().try_for_each(|query| apart(query)),
        some => some.iter().try_for_each(|query| apart(query)),
    }
}

/// The queries of a folder, by name.
fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let files = fs::read_dir(folder).with_context(|| format!("looking for queries in {}", folder.display()))?;
    let files = files.map(|file| Ok(file?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    let queries = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "sql"));
    let names = queries.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<_> = names.filter(|name| name != "tables").collect();
    names.sort();
    ensure!(!names.is_empty(), "there are no queries in {}", folder.display());
    Ok(names)
}

/// Runs one query with the arguments of this process; of an option given twice, the last is taken.
fn apart(query: &str) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).args(["--only", query]);
    let output = command.stderr(Stdio::inherit()).output().context("starting a run")?;
    ensure!(output.status.success(), "{query} failed");
    report(&serde_json::from_slice(&output.stdout)?)
}

fn one(arguments: &MaintainedArguments, folder: &Path, query: &str) -> anyhow::Result<()> {
    let read = |name: &str| {
        let path = folder.join(format!("{name}.sql"));
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let views = views(&read("tables")?)?;
    let workload = arguments.workload.folder();
    let text = scaled(workload, query, read(query)?, &arguments.replay.data)?;
    replay(&format!("{workload} {query}"), &arguments.replay, |data, out| {
        let out = out.join(query);
        format!(
            "CREATE SOURCE source WITH (connector = 'parquet', path = '{}');\n\n{views}
CREATE MATERIALIZED VIEW {query} WITH (unbounded = 'yes') AS\n{text};\n
CREATE SINK rows FROM {query} WITH (connector = 'parquet', path = '{}', mode = 'snapshot', compression = 'snappy');\n",
            data.display(),
            out.display()
        )
    })
}

/// The query with what depends on the scale of the data: the share of the stock that q11 asks for is 0.0001 at a scale
/// of one (clause 2.4.11.3), and in the file that of the few rows that tests have.
fn scaled(workload: &str, query: &str, text: String, data: &Path) -> anyhow::Result<String> {
    if (workload, query) != ("tpch", "q11") {
        return Ok(text);
    }
    let scale = meta(data)?["size"].as_f64().context("meta.json has no size")?;
    ensure!(text.contains(STOCK_SHARE), "{query} does not ask for {STOCK_SHARE} of the stock");
    Ok(text.replace(STOCK_SHARE, &format!("{:.10}", 0.0001 / scale)))
}

/// The tables of a workload as views of the source's, without their blocks.
fn views(tables: &str) -> anyhow::Result<String> {
    let mut views = String::new();
    for table in tables.split("CREATE TABLE ").skip(1) {
        let (name, _) = table.split_once(' ').context("a table has a name")?;
        writeln!(views, "CREATE VIEW {name} AS SELECT * EXCLUDE (block_number, block_timestamp) FROM source.{name};")?;
    }
    Ok(views)
}
