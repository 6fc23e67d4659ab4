//! Runs a dataflow on timely worker threads, one tick after the other.
//!
//! ```text
//! driver ── Command::Tick ──▶ worker 0 ─┐ exchange by key ┌─▶ sealed outputs
//!        ── Command::Tick ──▶ worker 1 ─┘                 └─▶ Report ──▶ driver
//! ```
//!
//! Each worker builds the same [`Graph`]. A tick is handed to all workers; whole blocks stay on one
//! worker until an operator with state needs its keys together. Workers park when nothing is to do.
//! A tick is *sealed* when the frontier of all outputs has passed it on every worker. Several ticks
//! may be in flight; they are sealed in order. All queues are bounded.

mod graph;
mod packet;
mod worker;

pub use graph::{Graph, Node, StateLimit};
pub use packet::partition;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Thread;
use std::time::Duration;

use arrow::record_batch::RecordBatch;

use crate::Tick;
use crate::error::{Class, Classified, StateError};
use crate::model::{Delta, Progress};
use crate::operator::StateSize;
use worker::{Command, Report};

/// Builds the dataflow; called once on every worker with the same result.
pub type Build = Arc<dyn for<'a, 's> Fn(&'a mut Graph<'s>) + Send + Sync>;

/// How the runtime is set up.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeConfig {
    /// Worker threads.
    pub workers: usize,
    /// Ticks that may be in flight.
    pub in_flight: usize,
    /// Number of source tables ([`Graph::table`]).
    pub tables: usize,
    /// Number of outputs ([`Graph::output`]).
    pub outputs: usize,
}

/// All input of one tick.
#[derive(Clone, Debug)]
pub struct TickInput {
    /// The chain at this tick.
    pub progress: Progress,
    /// Changes of source tables, as `(table, delta)`, for each worker.
    pub deltas: Vec<Vec<(usize, Delta)>>,
}

/// A tick all workers have finished.
#[derive(Debug)]
pub struct SealedTick {
    /// The chain at this tick.
    pub progress: Progress,
    /// Changes of each output, from all workers, not consolidated.
    pub outputs: Vec<Vec<Delta>>,
    /// CPU time the worker threads spent from taking the tick to sealing it, added up. Meaningful
    /// with one tick in flight.
    pub worker_cpu: Duration,
}

/// The saved state of one operator, from all workers.
pub type SavedStates = BTreeMap<String, Vec<RecordBatch>>;

/// The runtime has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A worker thread has ended: an invariant was broken; its message is on standard error.
    #[error("a dataflow worker stopped unexpectedly")]
    WorkerLost,
    /// The worker threads could not be started.
    #[error("starting {workers} worker threads failed: {detail}")]
    Start {
        /// How many.
        workers: usize,
        /// Why.
        detail: String,
    },
    /// An operator cannot go on.
    #[error("{operator}: {reason}")]
    Operator {
        /// Its name: the view and the step.
        operator: String,
        /// Why, for the reader of the job.
        reason: String,
    },
    /// Saving or loading operator state failed.
    #[error("the state of the dataflow could not be {action}")]
    State {
        /// `saved` or `loaded`.
        action: &'static str,
        /// Why.
        source: StateError,
    },
}

impl Classified for RuntimeError {
    fn class(&self) -> Class {
        match self {
            RuntimeError::WorkerLost | RuntimeError::Start { .. } => Class::INTERNAL,
            RuntimeError::Operator { .. } => Class::USER,
            RuntimeError::State { source, .. } => source.class(),
        }
    }
}

/// A running dataflow.
pub struct Runtime {
    config: RuntimeConfig,
    commands: Vec<SyncSender<Command>>,
    threads: Vec<Thread>,
    reports: Receiver<Report>,
    guards: Option<timely::communication::WorkerGuards<()>>,
    pending: VecDeque<Pending>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("config", &self.config)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

/// A tick in flight.
struct Pending {
    sealed: SealedTick,
    workers_left: usize,
}

impl Runtime {
    /// Starts the workers and builds the dataflow on each.
    pub fn start(config: RuntimeConfig, build: Build) -> Result<Runtime, RuntimeError> {
        let (report_sender, reports) = sync_channel(config.workers * (config.in_flight + 3) + 1);
        let (hello_sender, hellos) = sync_channel(config.workers);
        let mut commands = Vec::with_capacity(config.workers);
        let mut receivers = Vec::with_capacity(config.workers);
        for _ in 0..config.workers {
            let (sender, receiver) = sync_channel(config.in_flight + 2);
            commands.push(sender);
            receivers.push(Some(receiver));
        }
        let guards = worker::spawn(config, build, receivers, hello_sender, report_sender)
            .map_err(|detail| RuntimeError::Start { workers: config.workers, detail })?;
        let mut threads: Vec<Option<Thread>> = vec![None; config.workers];
        for _ in 0..config.workers {
            let (index, thread): (usize, Thread) = hellos.recv().map_err(|_| RuntimeError::WorkerLost)?;
            threads[index] = Some(thread);
        }
        let threads = threads.into_iter().map(|thread| thread.expect("every worker says hello once")).collect();
        Ok(Runtime { config, commands, threads, reports, guards: Some(guards), pending: VecDeque::new() })
    }

    /// How many ticks are in flight.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Whether another tick may be submitted now.
    pub fn has_room(&self) -> bool {
        self.pending.len() < self.config.in_flight
    }

    /// Hands a tick to the workers. Ticks are submitted in order, and only while [`Runtime::has_room`].
    pub fn submit(&mut self, input: TickInput) -> Result<(), RuntimeError> {
        debug_assert!(self.has_room(), "submit only with room, or queues would have no bound");
        debug_assert_eq!(input.deltas.len(), self.config.workers);
        let sealed = SealedTick {
            progress: input.progress.clone(),
            outputs: vec![Vec::new(); self.config.outputs],
            worker_cpu: Duration::ZERO,
        };
        self.pending.push_back(Pending { sealed, workers_left: self.config.workers });
        for (index, deltas) in input.deltas.into_iter().enumerate() {
            self.send(index, Command::Tick { progress: input.progress.clone(), deltas })?;
        }
        Ok(())
    }

    /// Waits for the oldest tick in flight to be sealed; `None` if none is in flight.
    pub fn next_sealed(&mut self) -> Result<Option<SealedTick>, RuntimeError> {
        loop {
            match self.pending.front() {
                None => return Ok(None),
                Some(pending) if pending.workers_left == 0 => {
                    return Ok(self.pending.pop_front().map(|pending| pending.sealed));
                }
                Some(_) => match self.receive()? {
                    Report::Sealed { tick, outputs, cpu } => self.note_sealed(tick, outputs, cpu),
                    Report::Saved(..) | Report::Loaded(..) | Report::Sizes(..) => {
                        unreachable!("these answer commands that wait for them")
                    }
                    Report::Failed { .. } | Report::Lost => unreachable!("an error of receiving"),
                },
            }
        }
    }

    fn note_sealed(&mut self, tick: Tick, outputs: Vec<(usize, Delta)>, cpu: Duration) {
        let pending = self
            .pending
            .iter_mut()
            .find(|pending| pending.sealed.progress.tick == tick)
            .expect("workers seal only ticks that were submitted");
        for (output, delta) in outputs {
            pending.sealed.outputs[output].push(delta);
        }
        pending.sealed.worker_cpu += cpu;
        pending.workers_left -= 1;
    }

    /// The state of all operators. Only while nothing is in flight.
    pub fn save(&mut self) -> Result<SavedStates, RuntimeError> {
        assert!(self.pending.is_empty(), "state is saved between ticks");
        let mut all = SavedStates::new();
        self.ask(
            || Command::Save,
            |report| {
                let Report::Saved(saved) = report else { return Ok(()) };
                for (name, batches) in saved.map_err(|source| RuntimeError::State { action: "saved", source })? {
                    all.entry(name).or_default().extend(batches);
                }
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// Loads the state of all operators. Only before the first tick.
    pub fn load(&mut self, states: SavedStates) -> Result<(), RuntimeError> {
        let states = Arc::new(states);
        self.ask(
            || Command::Load(states.clone()),
            |report| match report {
                Report::Loaded(Err(source)) => Err(RuntimeError::State { action: "loaded", source }),
                _ => Ok(()),
            },
        )
    }

    /// The size of the state of each operator, added up over workers. Only while nothing is in flight.
    pub fn sizes(&mut self) -> Result<BTreeMap<String, StateSize>, RuntimeError> {
        assert!(self.pending.is_empty(), "sizes are asked between ticks");
        let mut all: BTreeMap<String, StateSize> = BTreeMap::new();
        self.ask(
            || Command::Sizes,
            |report| {
                if let Report::Sizes(sizes) = report {
                    for (name, size) in sizes {
                        let sum = all.entry(name).or_default();
                        sum.entries += size.entries;
                        sum.bytes += size.bytes;
                    }
                }
                Ok(())
            },
        )?;
        Ok(all)
    }

    fn ask(
        &mut self,
        command: impl Fn() -> Command,
        mut take: impl FnMut(Report) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        for index in 0..self.config.workers {
            self.send(index, command())?;
        }
        let mut result = Ok(());
        for _ in 0..self.config.workers {
            let answer = take(self.receive()?);
            if result.is_ok() {
                result = answer;
            }
        }
        result
    }

    fn send(&self, worker: usize, command: Command) -> Result<(), RuntimeError> {
        self.commands[worker].send(command).map_err(|_| RuntimeError::WorkerLost)?;
        self.threads[worker].unpark();
        Ok(())
    }

    /// Waits for a report.
    fn receive(&mut self) -> Result<Report, RuntimeError> {
        match self.reports.recv() {
            Ok(Report::Lost) | Err(_) => {
                // The other workers would wait for the lost one for ever: they are left, not joined.
                std::mem::forget(self.guards.take());
                Err(RuntimeError::WorkerLost)
            }
            Ok(Report::Failed { operator, reason }) => Err(RuntimeError::Operator { operator, reason }),
            Ok(report) => Ok(report),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.commands.clear();
        self.threads.iter().for_each(Thread::unpark);
        // Workers that wait to report must not wait for ever.
        while self.reports.try_recv().is_ok() {}
        drop(self.guards.take());
    }
}
