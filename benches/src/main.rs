//! Measures Highwater: CPU a row of a replay, CPU and latency of a live block, memory, start-up, decoding.
//!
//! Every command prints one JSON object a line to standard output. Numbers of two programs are
//! comparable only if they were measured in turn on one machine; `README.md` says how.

mod growth;
mod harness;
mod ingest;
mod latency;
mod live;
mod maintained;
mod memory;
mod meter;
mod q1;
mod q2;
mod q3;
mod q4;
mod q5;
mod q6;
mod random;
mod reference;
mod replay;
mod startup;

use std::io::Write as _;

use clap::{Parser, Subcommand};

/// Benchmarks of Highwater
#[derive(Debug, Parser)]
#[command(name = "highwater-benches")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A windowed aggregate over a folder of transactions, from Parquet to Parquet
    Q1(q1::Q1Arguments),
    /// Sandwiches in a folder of trades that `prepare_q2.py` made, from Parquet to Parquet
    Q2(replay::ReplayArguments),
    /// The first ten contracts by gas of every window, from Parquet to Parquet
    Q3(replay::ReplayArguments),
    /// Trades at prices that are corrected later, and their hourly volume, from Parquet to Parquet
    Q4(q4::Q4Arguments),
    /// Connected components: one edge, through the operator, as WITH RECURSIVE, and by hand on differential
    Q5(q5::Q5Arguments),
    /// First alerts of failing contracts, from Parquet to Parquet
    Q6(q6::Q6Arguments),
    /// The queries of TPC-H or Nexmark as maintained views, from Parquet to Parquet
    Maintained(maintained::MaintainedArguments),
    /// Whether a block costs the same after fifty thousand blocks, for every operator that keeps state
    Growth(growth::GrowthArguments),
    /// Thread CPU of the dataflow for one live block
    Latency(latency::LatencyArguments),
    /// From the last byte of a block on the socket to its row at the sink
    Live(live::LiveArguments),
    /// JSON-RPC text to Arrow tables, beside the same text into alloy's types
    Ingest(ingest::IngestArguments),
    /// Time of `check`, and from process start to the first row
    Startup(startup::StartupArguments),
    /// Peak memory over a part of the blocks and over all of them
    Memory(memory::MemoryArguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Q1(arguments) => q1::run(&arguments),
        Command::Q2(arguments) => q2::run(&arguments),
        Command::Q3(arguments) => q3::run(&arguments),
        Command::Q4(arguments) => q4::run(&arguments),
        Command::Q5(arguments) => q5::run(&arguments),
        Command::Q6(arguments) => q6::run(&arguments),
        Command::Maintained(arguments) => maintained::run(&arguments),
        Command::Growth(arguments) => growth::run(&arguments),
        Command::Latency(arguments) => latency::run(&arguments),
        Command::Live(arguments) => live::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Startup(arguments) => startup::run(&arguments),
        Command::Memory(arguments) => memory::run(&arguments),
    }
}

/// Prints a result.
fn report(result: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}
