//! Peak memory over a part of the blocks and over all of them: flat, if state below finality leaves.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::report;

/// What to measure memory over.
#[derive(Debug, Args)]
pub(crate) struct MemoryArguments {
    /// Folder with the generated `txs.parquet` and `meta.json`
    #[arg(long)]
    data: PathBuf,
    /// Numbers of blocks
    #[arg(long, value_delimiter = ',', default_values_t = [5_000_u64, 25_000, 50_000])]
    blocks: Vec<u64>,
    /// Blocks a tick
    #[arg(long, default_value_t = 100)]
    blocks_per_tick: usize,
}

/// Each number of blocks in a process of its own, because a process never forgets its peak.
pub(crate) fn run(arguments: &MemoryArguments) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    for blocks in &arguments.blocks {
        let output = Command::new(&program)
            .args(["q1", "--data"])
            .arg(&arguments.data)
            .args(["--blocks", &blocks.to_string(), "--blocks-per-tick", &arguments.blocks_per_tick.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .context("starting a run")?;
        ensure!(output.status.success(), "a run over {blocks} blocks failed");
        report(&serde_json::from_slice(&output.stdout)?)?;
    }
    Ok(())
}
