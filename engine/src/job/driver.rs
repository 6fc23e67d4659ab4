//! The loop that moves a job forward.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::feeds::Feeds;
use super::meters::Meters;
use super::output::{Output, sink_error};
use super::seal::Whole;
use super::ticks::{self, CutTick, Shape, TickCutter, TickPlan};
use super::{Job, JobError, JobState, Observer, Summary, TickReport};
use crate::Tick;
use crate::chain::ChainTracker;
use crate::clock::Stopwatch;
use crate::journal::{Journal, JournalEntry};
use crate::model::Delta;
use crate::runtime::{Runtime, RuntimeConfig, SealedTick, TickInput};
use crate::sink::SinkError;
use crate::source::{SourceError, SourceEvent, SourceReader};
use crate::state::Checkpoint;

/// Events the source may be ahead.
const SOURCE_QUEUE: usize = 4;

/// Runs a job until its source ends, it is asked to stop, or something fails.
///
/// In each case the ticks before are finished and the sinks are closed.
pub fn run(job: Job, observer: &mut dyn Observer) -> Result<Summary, JobError> {
    let mut driver = Driver::start(job)?;
    let outcome = driver.drive(observer);
    let settled = match &outcome {
        Ok(()) => Ok(()),
        // What came before the failure is good.
        Err(JobError::Source { .. } | JobError::SourceLost { .. }) => driver.drain(observer),
        Err(JobError::Chain { .. }) => driver.settle(observer),
        Err(_) => return outcome.and(driver.finish()).map(|()| driver.summary.clone()),
    };
    let closed = settled.and_then(|()| driver.checkpoint(observer)).and(driver.finish());
    outcome.and(closed)?;
    Ok(std::mem::take(&mut driver.summary))
}

struct Driver {
    source_name: String,
    events: Receiver<Result<SourceEvent, SourceError>>,
    source_thread: Option<JoinHandle<()>>,
    chain: ChainTracker,
    cutter: TickCutter,
    /// Ticks cut and not yet planned.
    ready: VecDeque<CutTick>,
    /// Ticks planned and not yet submitted: the rest of a change that takes several.
    planned: VecDeque<TickPlan>,
    /// Sealed ticks of such a change, until it is whole.
    whole: Whole,
    finalized: Option<u64>,
    cursor: Option<u64>,
    next_tick: Tick,
    shape: Shape,
    runtime: Runtime,
    constants: Vec<(usize, Delta)>,
    feeds: Feeds,
    /// Index of the first table that a feed gives.
    first_feed: usize,
    outputs: Vec<Output>,
    watches: VecDeque<Stopwatch>,
    state: Option<KeptState>,
    stop: Arc<AtomicBool>,
    started: Stopwatch,
    meters: Meters,
    summary: Summary,
}

struct KeptState {
    state: JobState,
    journal: Journal,
    since: Stopwatch,
    relaxed: bool,
}

/// What the next look at the source gave.
enum Pull {
    Event(SourceEvent),
    Nothing,
    Ended,
}

impl Driver {
    fn start(job: Job) -> Result<Driver, JobError> {
        let started = Stopwatch::start();
        let first_feed = job.source.tables + job.constants.len();
        let tables = first_feed + job.feeds.len();
        let feeds = Feeds::new(job.feeds, &job.metrics)?;
        let outputs = job.outputs.into_iter().map(Output::new).collect::<Result<Vec<_>, _>>()?;
        let config =
            RuntimeConfig { workers: job.workers, in_flight: job.in_flight.max(1), tables, outputs: outputs.len() };
        let runtime = Runtime::start(config, job.build)?;
        let constants = (job.source.tables..).zip(job.constants).map(|(table, batch)| {
            // Constants are there before every block: nothing can take them back.
            (table, Delta::of_block(batch, 1, 0))
        });
        let (sender, events) = sync_channel(SOURCE_QUEUE);
        let reader = job.source.reader;
        let stop = job.stop.clone();
        let mut driver = Driver {
            chain: ChainTracker::new(job.source.name.clone()),
            cutter: TickCutter::new(job.source.blocks_per_tick, None),
            ready: VecDeque::new(),
            planned: VecDeque::new(),
            whole: Whole::default(),
            finalized: None,
            cursor: None,
            next_tick: 1,
            shape: Shape { workers: job.workers, one_block_a_tick: job.source.one_block_a_tick },
            runtime,
            constants: constants.collect(),
            feeds,
            first_feed,
            outputs,
            watches: VecDeque::new(),
            state: None,
            stop: job.stop,
            started,
            meters: Meters::new(&job.metrics, &job.source.name),
            summary: Summary::default(),
            source_name: job.source.name,
            events,
            source_thread: None,
        };
        if let Some(state) = job.state
            && let Err(error) = driver.restore(state, job.source.blocks_per_tick)
        {
            // The driver waits for the source's end when it goes, and no source runs yet.
            drop(sender);
            return Err(error);
        }
        driver.source_thread = Some(std::thread::spawn(move || pull(reader, &sender, &stop)));
        Ok(driver)
    }

    fn restore(&mut self, mut state: JobState, blocks_per_tick: usize) -> Result<(), JobError> {
        let checkpoint = state.checkpoint.take();
        let last = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.tick);
        if let Some(checkpoint) = checkpoint {
            self.chain = ChainTracker::restore(&self.source_name, checkpoint.finalized, checkpoint.open);
            self.finalized = checkpoint.finalized.map(|block| block.number);
            self.cursor = checkpoint.cursor;
            self.cutter = TickCutter::new(blocks_per_tick, self.chain.head());
            self.constants.clear();
            self.feeds.restore(&checkpoint.feeds);
            self.runtime.load(checkpoint.operators)?;
            for (name, sink_state) in &checkpoint.sinks {
                let Some(output) = self.outputs.iter_mut().find(|output| output.output.name == *name) else { continue };
                output.output.sink.restore(sink_state).map_err(|source| sink_error(name, source))?;
            }
        }
        self.next_tick = last + 1;
        self.summary.last_tick = last;
        let journal = Journal::open(&state.directory.journal_path(), last)?;
        self.state = Some(KeptState { state, journal, since: Stopwatch::start(), relaxed: blocks_per_tick > 1 });
        Ok(())
    }

    fn drive(&mut self, observer: &mut dyn Observer) -> Result<(), JobError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                self.summary.stopped = true;
                return self.drain(observer);
            }
            while self.runtime.has_room() && self.submit_next()? {}
            if self.has_waiting() {
                self.seal_next(observer)?;
                continue;
            }
            match self.pull()? {
                Pull::Event(event) => self.take(event, observer),
                Pull::Ended => return self.end(observer),
                Pull::Nothing => self.seal_next(observer)?,
            }
            self.checkpoint_if_due(observer)?;
        }
    }

    /// The next event; waits for the source only if no tick is in flight.
    fn pull(&mut self) -> Result<Pull, JobError> {
        // The source's thread looks at the stop as well, and may see it first.
        let gone = || match self.stop.load(Ordering::Relaxed) {
            true => Ok(Pull::Nothing),
            false => Err(JobError::SourceLost { name: self.source_name.clone() }),
        };
        let event = match self.events.try_recv() {
            Ok(event) => event,
            Err(TryRecvError::Disconnected) => return gone(),
            Err(TryRecvError::Empty) if self.runtime.in_flight() > 0 => return Ok(Pull::Nothing),
            Err(TryRecvError::Empty) => match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => return Ok(Pull::Nothing),
                Err(RecvTimeoutError::Disconnected) => return gone(),
            },
        };
        match event {
            Ok(SourceEvent::End) => Ok(Pull::Ended),
            Ok(event) => Ok(Pull::Event(event)),
            Err(source) => Err(JobError::Source { name: self.source_name.clone(), source }),
        }
    }

    fn take(&mut self, event: SourceEvent, observer: &mut dyn Observer) {
        match event {
            SourceEvent::Blocks { run, cursor, finalized } => {
                self.finalized = self.finalized.max(finalized);
                self.ready.extend(self.cutter.push(run, cursor));
            }
            SourceEvent::Skipped { count, reason } => {
                self.summary.skipped += count;
                self.meters.skipped.add(count);
                observer.on_skipped(count, &reason);
            }
            SourceEvent::Idle => self.ready.extend(self.cutter.flush()),
            SourceEvent::End => unreachable!("the end is told apart when pulling"),
        }
    }

    /// Whether ticks wait for room.
    fn has_waiting(&self) -> bool {
        !self.planned.is_empty() || !self.ready.is_empty()
    }

    /// Submits the next tick; false if none waits.
    fn submit_next(&mut self) -> Result<bool, JobError> {
        while self.planned.is_empty() {
            let Some(cut) = self.ready.pop_front() else { return Ok(false) };
            let planned = ticks::plan(self.next_tick, cut.runs, self.finalized, &mut self.chain, self.shape);
            let planned = planned.map_err(|source| JobError::Chain { name: self.source_name.clone(), source })?;
            self.planned.extend(planned);
            self.cursor = cut.cursor.or(self.cursor);
        }
        let Some(plan) = self.planned.pop_front() else { return Ok(false) };
        self.note(&plan)?;
        self.submit_input(plan.input)?;
        Ok(true)
    }

    fn submit_input(&mut self, mut input: TickInput) -> Result<(), JobError> {
        input.deltas[0].append(&mut self.constants);
        let changes = self.feeds.changes(input.progress.more_follow)?;
        input.deltas[0].extend(changes.into_iter().map(|(feed, delta)| (self.first_feed + feed, delta)));
        self.next_tick = input.progress.tick + 1;
        self.watches.push_back(Stopwatch::start());
        self.runtime.submit(input)?;
        self.meters.in_flight.set(self.runtime.in_flight() as u64);
        Ok(())
    }

    /// Journals a tick and counts what goes in.
    fn note(&mut self, plan: &TickPlan) -> Result<(), JobError> {
        let progress = &plan.input.progress;
        let (mut rows, mut rows_reverted, mut reverted) = (0, 0, 0);
        for change in &plan.changes {
            rows += change.applied.row_count() as u64;
            reverted += change.reverted.len() as u64;
            let batches = change.reverted.iter().flat_map(|tracked| &tracked.rows);
            rows_reverted += batches.map(|batch| batch.num_rows() as u64).sum::<u64>();
        }
        self.summary.blocks += progress.applied_blocks;
        self.summary.blocks_reverted += reverted;
        self.summary.reorgs += u64::from(progress.reorg.is_some());
        self.summary.rows += rows;
        self.summary.rows_reverted += rows_reverted;
        self.meters.blocks.add(progress.applied_blocks);
        self.meters.rows.add(rows);
        self.meters.reorgs.add(u64::from(progress.reorg.is_some()));
        self.meters.head.set(progress.head_number);
        let Some(kept) = &mut self.state else { return Ok(()) };
        let applied = plan.changes.iter().flat_map(|change| &change.applied.blocks);
        let entry = JournalEntry {
            tick: progress.tick,
            source: self.source_name.clone(),
            reverted: plan
                .changes
                .iter()
                .flat_map(|change| &change.reverted)
                .map(|tracked| tracked.block.hash.to_string())
                .collect(),
            applied: applied
                .map(|block| (block.number, block.hash.to_string(), block.parent.to_string(), block.timestamp_ms))
                .collect(),
            cursor: self.cursor.unwrap_or(0),
        };
        kept.journal.append(&entry, kept.relaxed)?;
        Ok(())
    }

    /// Waits for the oldest tick in flight, if there is one, and hands it to the sinks.
    fn seal_next(&mut self, observer: &mut dyn Observer) -> Result<(), JobError> {
        let Some(sealed) = self.runtime.next_sealed()? else { return Ok(()) };
        self.meters.in_flight.set(self.runtime.in_flight() as u64);
        self.summary.ticks += 1;
        self.summary.last_tick = sealed.progress.tick;
        self.summary.worker_cpu += sealed.worker_cpu;
        let Some(sealed) = self.whole.add(sealed) else {
            self.watches.pop_front();
            return Ok(());
        };
        self.commit(&sealed)?;
        if let Some(watch) = self.watches.pop_front() {
            self.meters.latency.record(watch.elapsed());
        }
        self.summary.elapsed = self.started.elapsed();
        observer.on_tick(&TickReport { progress: &sealed.progress, summary: &self.summary });
        Ok(())
    }

    fn commit(&mut self, sealed: &SealedTick) -> Result<(), JobError> {
        for (output, deltas) in self.outputs.iter_mut().zip(&sealed.outputs) {
            let (inserted, retracted) = output.commit(&sealed.progress, deltas)?;
            self.summary.inserted += inserted;
            self.summary.retracted += retracted;
            self.meters.inserted.add(inserted);
            self.meters.retracted.add(retracted);
        }
        Ok(())
    }

    /// Finishes what was cut and submitted, and what waits in the cutter.
    fn drain(&mut self, observer: &mut dyn Observer) -> Result<(), JobError> {
        self.ready.extend(self.cutter.flush());
        while self.has_waiting() {
            while !self.runtime.has_room() {
                self.seal_next(observer)?;
            }
            self.submit_next()?;
        }
        self.settle(observer)
    }

    /// Seals all ticks in flight.
    fn settle(&mut self, observer: &mut dyn Observer) -> Result<(), JobError> {
        while self.runtime.in_flight() > 0 {
            self.seal_next(observer)?;
        }
        Ok(())
    }

    /// The source has ended. Without a state directory the job will not go on later, so everything
    /// that came is final.
    fn end(&mut self, observer: &mut dyn Observer) -> Result<(), JobError> {
        self.drain(observer)?;
        if self.state.is_some() {
            return Ok(());
        }
        if let Some(input) = ticks::last_tick(self.next_tick, &mut self.chain, self.shape.workers) {
            self.submit_input(input)?;
            self.settle(observer)?;
        }
        Ok(())
    }

    fn checkpoint_if_due(&mut self, observer: &mut dyn Observer) -> Result<(), JobError> {
        // A checkpoint never stands within a change of several ticks: sinks have seen none of it.
        let within = !self.planned.is_empty();
        if !within && self.state.as_ref().is_some_and(|kept| kept.since.elapsed() >= kept.state.every) {
            self.settle(observer)?;
            self.checkpoint(observer)?;
        }
        Ok(())
    }

    /// Writes a checkpoint of the last sealed tick. Nothing is in flight.
    fn checkpoint(&mut self, observer: &mut dyn Observer) -> Result<(), JobError> {
        let Some(kept) = &mut self.state else { return Ok(()) };
        kept.journal.sync()?;
        let mut checkpoint = Checkpoint {
            tick: self.summary.last_tick,
            cursor: self.cursor,
            finalized: self.chain.finalized(),
            open: self.chain.open_blocks().cloned().collect(),
            operators: self.runtime.save()?,
            sinks: Vec::new(),
            feeds: self.feeds.checkpoint(),
        };
        for output in &mut self.outputs {
            let name = output.output.name.clone();
            let state = output.output.sink.checkpoint().map_err(|source| sink_error(&name, source))?;
            checkpoint.sinks.push((name, state));
        }
        kept.state.directory.write(&checkpoint)?;
        kept.since = Stopwatch::start();
        observer.on_checkpoint(checkpoint.tick);
        Ok(())
    }

    /// Closes the sinks and completes the summary: after a failure too, what was sealed is kept.
    fn finish(&mut self) -> Result<(), JobError> {
        let mut result = Ok(());
        for output in &mut self.outputs {
            match output.output.sink.finish() {
                Ok(report) => self.summary.sinks.push((output.output.name.clone(), report)),
                Err(SinkError::Closed) => {}
                Err(source) => result = result.and_then(|()| Err(sink_error(&output.output.name, source))),
            }
        }
        self.summary.elapsed = self.started.elapsed();
        self.summary.tick_p50 = self.meters.latency.quantile(0.5);
        self.summary.tick_p99 = self.meters.latency.quantile(0.99);
        self.stop.store(true, Ordering::Relaxed);
        result
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The reader may wait for room in the queue; taking its events lets it see the stop.
        while self.events.recv().is_ok() {}
        if let Some(thread) = self.source_thread.take() {
            // A panic of the reader has printed its message; the driver has seen the queue close.
            drop(thread.join());
        }
    }
}

/// The source's thread: pulls until the end, an error, or a stop.
fn pull(mut reader: Box<dyn SourceReader>, sender: &SyncSender<Result<SourceEvent, SourceError>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let event = reader.next();
        let last = matches!(event, Err(_) | Ok(SourceEvent::End));
        if sender.send(event).is_err() || last {
            return;
        }
    }
}
