//! Whether the cost of a block grows with history: one block a tick, one tick in flight, finality behind, state
//! bounded by windows, finality or a live span of time; thread CPU of the dataflow for a block after few and after
//! many blocks.

mod cases;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::harness::{Knobs, run_sql};
use crate::meter::{Samples, tenths};
use crate::replay::last_block;
use crate::report;
use cases::{CASES, Case, PRELUDE};

/// What to measure, and when.
#[derive(Debug, Args)]
pub(crate) struct GrowthArguments {
    /// Folder made by `prepare_growth.py`
    #[arg(long)]
    data: PathBuf,
    /// Only the operators whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// After how many blocks the cost of a block is told
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,50000")]
    marks: Vec<u64>,
    /// Blocks before each of these over which the cost is taken; two hours of the workload
    #[arg(long, default_value_t = 600)]
    span: u64,
    /// Blocks between the head and the newest final block
    #[arg(long, default_value_t = 64)]
    confirmations: u64,
}

pub(crate) fn run(arguments: &GrowthArguments) -> anyhow::Result<()> {
    let wanted = |case: &&Case| arguments.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()));
    for case in CASES.iter().filter(wanted) {
        measure(arguments, case)?;
    }
    Ok(())
}

fn measure(arguments: &GrowthArguments, case: &Case) -> anyhow::Result<()> {
    let out = tempfile::tempdir()?;
    let blocks = arguments.marks.iter().copied().max().unwrap_or(0);
    let knobs = Knobs {
        workers: 1,
        blocks_per_tick: 1,
        in_flight: 1,
        confirmations: Some(arguments.confirmations),
        to_block: Some(last_block(&arguments.data, blocks)?),
    };
    let ran = run_sql(&job(case, &arguments.data, out.path()), Path::new("."), knobs)?;
    let changes = ran.summary.inserted + ran.summary.retracted;
    ensure!(changes > 0, "{} has no rows, so that it measures nothing", case.name);
    let mut result = Map::new();
    result.insert("operator".to_owned(), json!(case.name));
    result.insert("blocks".to_owned(), json!(ran.summary.blocks));
    result.insert("changes_per_block".to_owned(), json!(changes / ran.summary.blocks.max(1)));
    for mark in &arguments.marks {
        let end = usize::try_from(*mark)?.min(ran.tick_cpu.len());
        let start = end.saturating_sub(usize::try_from(arguments.span)?);
        let ticks = &ran.tick_cpu[start..end];
        result.insert(format!("cpu_us_at_{mark}"), cost(ticks));
    }
    report(&Value::Object(result))
}

/// The mean, which counts what happens once in many blocks, and the median, which does not.
fn cost(ticks: &[Duration]) -> Value {
    let count = u32::try_from(ticks.len()).unwrap_or(u32::MAX).max(1);
    let mean = ticks.iter().sum::<Duration>() / count;
    json!({ "mean": tenths(mean.as_secs_f64() * 1e6), "p50": Samples::new(ticks.to_vec()).micros(50) })
}

fn job(case: &Case, data: &Path, out: &Path) -> String {
    let source = format!(
        "CREATE SOURCE eth WITH (connector = 'parquet', path = '{}');
CREATE TABLE labels (pool TEXT, label TEXT) WITH (connector = 'parquet', path = '{}', reload = INTERVAL '0 seconds');",
        data.display(),
        data.join("labels.pq").display()
    );
    let sink = format!(
        "CREATE SINK rows FROM measured WITH (connector = 'parquet', path = '{}', mode = 'changelog') {};",
        out.display(),
        case.emit
    );
    format!("{source}\n{PRELUDE}\nCREATE MATERIALIZED VIEW measured AS {};\n{sink}\n", case.query)
}
