//! One worker thread: takes commands, steps timely, reports sealed ticks.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::core::Input as _;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

use super::graph::{FailureCell, Graph, OutputBuffer, StateCell, StateLimit};
use super::{Build, RuntimeConfig, SavedStates};
use crate::Tick;
use crate::clock;
use crate::error::StateError;
use crate::model::{Delta, Progress};
use crate::operator::{Share, StateSize};

/// How often state is compared with its limit: after so many ticks, or after so many rows.
const COUNT_EVERY_TICKS: u64 = 64;
const COUNT_EVERY_ROWS: usize = 50_000;

/// What the driver asks of a worker.
pub(super) enum Command {
    Tick { progress: Progress, deltas: Vec<(usize, Delta)> },
    Save,
    Load(Arc<SavedStates>),
    Sizes,
}

/// What a worker answers.
pub(super) enum Report {
    Sealed {
        tick: Tick,
        outputs: Vec<(usize, Delta)>,
        cpu: Duration,
    },
    Saved(Result<Vec<(String, Vec<RecordBatch>)>, StateError>),
    Loaded(Result<(), StateError>),
    Sizes(Vec<(String, StateSize)>),
    /// An operator cannot go on.
    Failed {
        operator: String,
        reason: String,
    },
    /// The worker panicked; its message is on standard error.
    Lost,
}

/// Tells the driver when the worker panics: other workers keep the channel open, so that its end
/// would not be seen.
struct PanicReport(SyncSender<Report>);

impl Drop for PanicReport {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A full queue wakes the driver as well, and it finds the next send to this worker fail.
            drop(self.0.try_send(Report::Lost));
        }
    }
}

/// Starts the worker threads.
pub(super) fn spawn(
    config: RuntimeConfig,
    build: Build,
    receivers: Vec<Option<Receiver<Command>>>,
    hello: SyncSender<(usize, Thread)>,
    reports: SyncSender<Report>,
) -> Result<timely::communication::WorkerGuards<()>, String> {
    let communication = match config.workers {
        1 => timely::CommunicationConfig::Thread,
        workers => timely::CommunicationConfig::Process(workers),
    };
    let timely_config = timely::Config { communication, worker: timely::WorkerConfig::default() };
    let receivers = Mutex::new(receivers);
    timely::execute(timely_config, move |worker| {
        let receiver = receivers
            .lock()
            .expect("taking a receiver does not panic")
            .get_mut(worker.index())
            .and_then(Option::take)
            .expect("each worker takes its receiver once");
        let _panic_report = PanicReport(reports.clone());
        let mut loop_ = WorkerLoop::new(worker, config, &build, reports.clone());
        if hello.send((worker.index(), std::thread::current())).is_ok() {
            loop_.run(worker, &receiver);
        }
    })
}

type DeltaInput = InputHandle<Tick, CapacityContainerBuilder<Vec<Delta>>>;
type ProgressInput = InputHandle<Tick, CapacityContainerBuilder<Vec<Progress>>>;

struct WorkerLoop {
    share: Share,
    tables: Vec<DeltaInput>,
    progress: ProgressInput,
    states: Vec<(String, StateCell)>,
    outputs: OutputBuffer,
    failure: FailureCell,
    limit: Option<StateLimit>,
    /// What this worker last counted of its own state, and the ticks and rows it has taken since.
    held: usize,
    since: (u64, usize),
    probe: Handle<Tick>,
    reports: SyncSender<Report>,
    /// Ticks taken and not yet sealed, with the thread's CPU time when they were taken.
    open: VecDeque<(Tick, Duration)>,
}

impl WorkerLoop {
    fn new(worker: &mut Worker, config: RuntimeConfig, build: &Build, reports: SyncSender<Report>) -> WorkerLoop {
        let share = Share { index: worker.index(), peers: worker.peers() };
        let outputs: OutputBuffer = Rc::new(RefCell::new(BTreeMap::new()));
        let failure = FailureCell::default();
        let probe = Handle::new();
        let mut tables: Vec<DeltaInput> = (0..config.tables).map(|_| InputHandle::new_with_builder()).collect();
        let mut progress: ProgressInput = InputHandle::new_with_builder();
        let (states, limit) = worker.dataflow::<Tick, _, _>(|scope| {
            let streams = tables.iter_mut().map(|table| scope.input_from(table)).collect();
            let progress = scope.input_from(&mut progress);
            let mut graph =
                Graph::new(scope, share, streams, progress, outputs.clone(), failure.clone(), probe.clone());
            build(&mut graph);
            (graph.states, graph.limit)
        });
        WorkerLoop {
            share,
            tables,
            progress,
            states,
            outputs,
            failure,
            limit,
            held: 0,
            since: (0, 0),
            probe,
            reports,
            open: VecDeque::new(),
        }
    }

    fn run(&mut self, worker: &mut Worker, commands: &Receiver<Command>) {
        loop {
            match commands.try_recv() {
                Ok(command) => {
                    if self.obey(command).is_err() {
                        return;
                    }
                    worker.step();
                }
                Err(TryRecvError::Disconnected) => return,
                // Parks until a command (the driver unparks us) or a message of another worker.
                Err(TryRecvError::Empty) => {
                    worker.step_or_park(None);
                }
            }
            if self.report_sealed().is_err() {
                return;
            }
        }
    }

    /// Carries out a command; an error means that the driver has gone.
    fn obey(&mut self, command: Command) -> Result<(), ()> {
        let report = match command {
            Command::Tick { progress, deltas } => {
                self.feed(progress, deltas);
                return Ok(());
            }
            Command::Save => Report::Saved(self.save()),
            Command::Load(states) => Report::Loaded(self.load(&states)),
            Command::Sizes => {
                Report::Sizes(self.states.iter().map(|(name, state)| (name.clone(), state.borrow().size())).collect())
            }
        };
        self.reports.send(report).map_err(|_| ())
    }

    fn feed(&mut self, progress: Progress, deltas: Vec<(usize, Delta)>) {
        let tick = progress.tick;
        self.open.push_back((tick, clock::thread_cpu()));
        if *self.progress.time() < tick {
            self.tables.iter_mut().for_each(|table| table.advance_to(tick));
            self.progress.advance_to(tick);
        }
        self.since.0 += 1;
        for (table, delta) in deltas {
            self.since.1 += delta.len();
            self.tables[table].send(delta);
        }
        self.progress.send(progress);
        for table in &mut self.tables {
            table.advance_to(tick + 1);
            table.flush();
        }
        self.progress.advance_to(tick + 1);
        self.progress.flush();
    }

    /// Reports every open tick that the frontier has passed.
    fn report_sealed(&mut self) -> Result<(), ()> {
        if let Some((operator, reason)) = self.failure.borrow_mut().take() {
            self.reports.send(Report::Failed { operator, reason }).map_err(|_| ())?;
        }
        while let Some((tick, taken)) = self.open.front().copied() {
            if self.probe.less_equal(&tick) {
                break;
            }
            self.open.pop_front();
            self.count_state();
            let outputs = self.outputs.borrow_mut().remove(&tick).unwrap_or_default();
            let cpu = clock::thread_cpu().saturating_sub(taken);
            self.reports.send(Report::Sealed { tick, outputs, cpu }).map_err(|_| ())?;
        }
        Ok(())
    }

    /// Now and then compares the state with its limit: counting it costs some operators a walk over it.
    fn count_state(&mut self) {
        let Some(limit) = self.limit.clone() else { return };
        if self.since.0 < COUNT_EVERY_TICKS && self.since.1 < COUNT_EVERY_ROWS {
            return;
        }
        self.since = (0, 0);
        let sizes = || self.states.iter().map(|(name, state)| (state.borrow().size().bytes, name));
        let held: usize = sizes().map(|(bytes, _)| bytes).sum();
        let before = std::mem::replace(&mut self.held, held);
        limit.held.fetch_add(held, Ordering::Relaxed);
        let all = limit.held.fetch_sub(before, Ordering::Relaxed).saturating_sub(before);
        if all <= limit.bytes {
            return;
        }
        let Some((largest, name)) = sizes().max() else { return };
        let megabytes = |bytes: usize| bytes.div_ceil(1 << 20);
        let reason = format!(
            "the state of the job takes {} MB, its limit is {} MB, and {} MB of it are here; bound the view by a window \
             or a temporal filter, or raise state.limit_mb",
            megabytes(all),
            megabytes(limit.bytes),
            megabytes(largest)
        );
        let name = name.clone();
        self.failure.borrow_mut().get_or_insert((name, reason));
    }

    fn save(&self) -> Result<Vec<(String, Vec<RecordBatch>)>, StateError> {
        self.states.iter().map(|(name, state)| Ok((name.clone(), state.borrow().save()?))).collect()
    }

    fn load(&self, states: &SavedStates) -> Result<(), StateError> {
        for (name, state) in &self.states {
            if let Some(batches) = states.get(name) {
                state.borrow_mut().load(batches, self.share)?;
            }
        }
        Ok(())
    }
}
