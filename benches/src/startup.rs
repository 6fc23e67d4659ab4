//! How long the command takes to check a job, and from its start to its first row.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use highwater_engine::clock::Stopwatch;
use serde_json::json;

use crate::meter::Samples;
use crate::report;

/// Which command and which jobs.
#[derive(Debug, Args)]
pub(crate) struct StartupArguments {
    /// The `highwater` command (default: beside this program)
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Folder with the shipped jobs
    #[arg(long, default_value = "queries/jobs")]
    jobs: PathBuf,
    /// Times each is started
    #[arg(long, default_value_t = 9)]
    runs: usize,
}

pub(crate) fn run(arguments: &StartupArguments) -> anyhow::Result<()> {
    let beside = || std::env::current_exe().map(|program| program.with_file_name("highwater"));
    let binary = arguments.binary.clone().map_or_else(beside, Ok)?;
    let mut jobs: Vec<PathBuf> =
        std::fs::read_dir(&arguments.jobs)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    jobs.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    jobs.sort();
    for job in &jobs {
        let checks = repeat(arguments.runs, || check(&binary, job))?;
        let rows = repeat(arguments.runs, || first_row(&binary, job))?;
        report(&json!({
            "job": job.file_stem().map(|name| name.to_string_lossy()),
            "check_ms_min": millis(&checks, 0),
            "check_ms_p50": millis(&checks, 50),
            "first_row_ms_min": millis(&rows, 0),
            "first_row_ms_p50": millis(&rows, 50),
        }))?;
    }
    Ok(())
}

fn repeat(runs: usize, mut measure: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Samples> {
    Ok(Samples::new((0..runs.max(1)).map(|_| measure()).collect::<Result<_, _>>()?))
}

fn millis(samples: &Samples, percent: usize) -> f64 {
    samples.micros(percent) / 1e3
}

fn check(binary: &Path, job: &Path) -> anyhow::Result<Duration> {
    let watch = Stopwatch::start();
    let status = Command::new(binary).arg("check").arg(job).stdout(Stdio::null()).status().context("starting check")?;
    ensure!(status.success(), "check of {} failed", job.display());
    Ok(watch.elapsed())
}

/// Until the first line on standard output; the rest of the run is not waited for.
fn first_row(binary: &Path, job: &Path) -> anyhow::Result<Duration> {
    let out = tempfile::tempdir()?;
    let watch = Stopwatch::start();
    let mut child = Command::new(binary)
        .arg("run")
        .arg(job)
        .arg("--out")
        .arg(out.path())
        .arg("--quiet")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting run")?;
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().context("standard output was piped")?).read_line(&mut line)?;
    let elapsed = watch.elapsed();
    child.kill()?;
    child.wait()?;
    ensure!(read > 0, "{} printed no row", job.display());
    Ok(elapsed)
}
