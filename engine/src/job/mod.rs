//! Runs a job: pulls the source, cuts ticks, feeds the runtime, hands sealed ticks to the sinks.
//!
//! ```text
//! source thread ─▶ bounded queue ─▶ driver: chain tracker ─▶ journal ─▶ runtime ─▶ seal ─▶ sinks
//! ```
//!
//! The driver is the only one that decides what a tick is. Sinks get sealed ticks in order. A stop
//! request finishes the ticks in flight, takes a checkpoint and closes the sinks.

mod driver;
mod feeds;
mod meters;
mod output;
mod seal;
mod ticks;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::Tick;
use crate::chain::ChainError;
use crate::error::{Class, Classified, StateError};
use crate::feed::Feed;
use crate::metrics::Registry;
use crate::model::Progress;
use crate::runtime::{Build, RuntimeError};
use crate::sink::{Sink, SinkError, SinkReport};
use crate::source::{SourceError, SourceReader};
use crate::state::{Checkpoint, StateDir};

pub use driver::run;

/// A job, ready to run.
pub struct Job {
    /// The source; its reader was started with the checkpoint's cursor, if there is a checkpoint.
    pub source: JobSource,
    /// Rows that are there from the first tick on; table indices follow those of the source.
    pub constants: Vec<RecordBatch>,
    /// Relations that change from outside; table indices follow those of the constants.
    pub feeds: Vec<Box<dyn Feed>>,
    /// Builds the dataflow.
    pub build: Build,
    /// Worker threads.
    pub workers: usize,
    /// Ticks in flight.
    pub in_flight: usize,
    /// One entry for each output of the dataflow, in order.
    pub outputs: Vec<JobOutput>,
    /// Where state is kept, if anywhere.
    pub state: Option<JobState>,
    /// Set to stop: the job drains and ends cleanly.
    pub stop: Arc<AtomicBool>,
    /// Where metrics go.
    pub metrics: Registry,
}

/// The source of a job.
pub struct JobSource {
    /// Its name.
    pub name: String,
    /// Its reader.
    pub reader: Box<dyn SourceReader>,
    /// Number of tables it delivers.
    pub tables: usize,
    /// Blocks a tick holds, if they come fast enough.
    pub blocks_per_tick: usize,
    /// Whether a tick never adds more than one block, those of a reorg included, so that operators which
    /// remember what happened block by block see a new branch as if it had been there from the start. Sinks
    /// see a reorg whole in any case.
    pub one_block_a_tick: bool,
}

/// One output of a job.
pub struct JobOutput {
    /// Name of the sink.
    pub name: String,
    /// Columns of its view.
    pub schema: SchemaRef,
    /// Columns that identify a row.
    pub key: Option<Vec<usize>>,
    /// Where changes go.
    pub sink: Box<dyn Sink>,
}

/// The state directory of a job.
pub struct JobState {
    /// The directory.
    pub directory: StateDir,
    /// What was found there.
    pub checkpoint: Option<Checkpoint>,
    /// Wall time between checkpoints.
    pub every: Duration,
}

/// Watches a job: progress bars and logs.
pub trait Observer {
    /// A tick was sealed and handed to all sinks.
    fn on_tick(&mut self, report: &TickReport<'_>);
    /// The source skipped something that it could not use.
    fn on_skipped(&mut self, count: u64, reason: &str);
    /// A checkpoint was taken.
    fn on_checkpoint(&mut self, tick: Tick);
}

/// What happened up to a tick.
#[derive(Debug)]
pub struct TickReport<'a> {
    /// The chain at this tick.
    pub progress: &'a Progress,
    /// Totals so far.
    pub summary: &'a Summary,
}

/// What a job has done.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Ticks sealed.
    pub ticks: u64,
    /// Blocks added, those of replaced branches included.
    pub blocks: u64,
    /// Blocks taken back.
    pub blocks_reverted: u64,
    /// Reorgs.
    pub reorgs: u64,
    /// Rows read, over all tables.
    pub rows: u64,
    /// Rows taken back with their blocks, over all tables.
    pub rows_reverted: u64,
    /// Rows that went out to sinks.
    pub inserted: u64,
    /// Rows that were taken back at sinks.
    pub retracted: u64,
    /// Things skipped by the source.
    pub skipped: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// CPU time of the dataflow workers.
    pub worker_cpu: Duration,
    /// Median wall time of a tick, from the source to the sinks.
    pub tick_p50: Duration,
    /// 99th percentile of the same.
    pub tick_p99: Duration,
    /// The last sealed tick.
    pub last_tick: Tick,
    /// What each sink did, by name.
    pub sinks: Vec<(String, SinkReport)>,
    /// Whether the job was stopped before the source ended.
    pub stopped: bool,
}

/// A job failed. Everything committed before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The source failed.
    #[error("source \"{name}\" failed")]
    Source {
        /// Its name.
        name: String,
        /// Why.
        source: SourceError,
    },
    /// The source's thread ended without saying so: an invariant was broken.
    #[error("source \"{name}\" stopped unexpectedly")]
    SourceLost {
        /// Its name.
        name: String,
    },
    /// The chain does not fit together.
    #[error("source \"{name}\" gave blocks that do not fit its chain")]
    Chain {
        /// Its name.
        name: String,
        /// Why.
        source: ChainError,
    },
    /// A sink failed.
    #[error("sink \"{name}\" failed")]
    Sink {
        /// Its name.
        name: String,
        /// Why.
        source: SinkError,
    },
    /// State could not be kept.
    #[error("keeping the job's state failed")]
    State(#[from] StateError),
    /// The dataflow failed.
    #[error("running the dataflow failed")]
    Runtime(#[from] RuntimeError),
    /// Changes of a tick could not be put in order.
    #[error("ordering the changes of \"{name}\" failed")]
    Consolidate {
        /// The sink or the table.
        name: String,
        /// Why.
        source: arrow::error::ArrowError,
    },
}

impl Classified for JobError {
    fn class(&self) -> Class {
        match self {
            JobError::Source { source, .. } => source.class(),
            JobError::Chain { source, .. } => source.class(),
            JobError::Sink { source, .. } => source.class(),
            JobError::State(source) => source.class(),
            JobError::Runtime(source) => source.class(),
            JobError::Consolidate { .. } | JobError::SourceLost { .. } => Class::INTERNAL,
        }
    }
}
