//! Connected components: one edge at a hundred thousand nodes, through the operator, as `WITH RECURSIVE`, and as
//! differential's own `iterate` says it.
//!
//! Every side is given the same edges. The operator is measured over a random graph, a random tree (every retraction
//! splits it) and a ring (every other retraction searches half of it).

mod iterate;
mod operator;
mod recursive;

use std::time::Duration;

use clap::{Args, ValueEnum};
use highwater_engine::clock::{Stopwatch, thread_cpu};
use highwater_engine::model::{BlockHash, BlockRef, Progress};
use serde_json::json;

use crate::meter::{Samples, thousandths};
use crate::random::Random;
use crate::report;

/// Which sides to measure.
#[derive(Debug, Args)]
pub(crate) struct Q5Arguments {
    /// One side only; each in a process of its own keeps their memory apart
    #[arg(long, value_enum)]
    side: Option<Side>,
    /// Nodes of the graph
    #[arg(long, default_value_t = 100_000)]
    nodes: u64,
    /// Edges added and retracted one by one
    #[arg(long, default_value_t = 2_000)]
    edges: usize,
}

/// Who computes the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    /// `CONNECTED_COMPONENTS`
    Operator,
    /// `WITH RECURSIVE` over 64-bit numbers
    Recursive,
    /// `WITH RECURSIVE` over addresses
    RecursiveAddresses,
    /// Differential's `iterate` over pairs of 32-bit numbers
    Iterate,
}

/// The ends of an edge.
type Edge = (u64, u64);

pub(crate) fn run(arguments: &Q5Arguments) -> anyhow::Result<()> {
    let wanted = |side: Side| arguments.side.is_none_or(|only| only == side);
    if wanted(Side::Operator) {
        operator::measure(arguments)?;
    }
    if wanted(Side::Recursive) {
        recursive::measure(arguments, recursive::Ends::Numbers)?;
    }
    if wanted(Side::RecursiveAddresses) {
        recursive::measure(arguments, recursive::Ends::Addresses)?;
    }
    if wanted(Side::Iterate) {
        iterate::measure(arguments)?;
    }
    Ok(())
}

/// A random graph with three edges for two nodes, and edges to add to it.
fn graph(arguments: &Q5Arguments) -> (Vec<Edge>, Vec<Edge>) {
    let mut random = Random(7);
    let mut edge = || (random.below(arguments.nodes), random.below(arguments.nodes));
    let first = (0..arguments.nodes * 3 / 2).map(|_| edge()).collect();
    (first, (0..arguments.edges).map(|_| edge()).collect())
}

/// What one step takes of the clock and of the processor.
fn timed<T>(step: impl FnOnce() -> T) -> (Sample, T) {
    let (wall, cpu) = (Stopwatch::start(), thread_cpu());
    let done = step();
    let sample = Sample { wall: wall.elapsed(), cpu: thread_cpu().saturating_sub(cpu) };
    (sample, done)
}

#[derive(Clone, Copy)]
struct Sample {
    wall: Duration,
    cpu: Duration,
}

/// The samples of new or of retracted edges.
#[derive(Default)]
struct Steps {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
    rows: usize,
}

impl Steps {
    fn add(&mut self, (sample, rows): (Sample, usize)) {
        self.wall.push(sample.wall);
        self.cpu.push(sample.cpu);
        self.rows += rows;
    }

    fn as_json(&self) -> serde_json::Value {
        let (wall, cpu) = (Samples::new(self.wall.clone()), Samples::new(self.cpu.clone()));
        json!({
            "wall_p50_us": wall.micros(50),
            "wall_p99_us": wall.micros(99),
            "cpu_p50_us": cpu.micros(50),
            "cpu_p99_us": cpu.micros(99),
            "cpu_max_us": cpu.micros(100),
            "rows": self.rows,
        })
    }
}

/// Prints what a side took: to take in the first edges, for each new one, and for each retracted one.
fn tell(side: &str, graph: &str, first: Sample, new: &Steps, retracted: &Steps) -> anyhow::Result<()> {
    report(&json!({
        "query": "q5",
        "side": side,
        "graph": graph,
        "first_cpu_s": thousandths(first.cpu.as_secs_f64()),
        "new": new.as_json(),
        "retracted": retracted.as_json(),
    }))
}

fn progress() -> Progress {
    let hash = BlockHash([0; 32]);
    Progress::at(1, &BlockRef { number: 1, hash, parent: hash, timestamp_ms: 0 })
}
