//! Whatever the history: what stands at the receiver in the end is what the canonical chain asserts.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use highwater_engine::clock::Stopwatch;
use highwater_engine::sink::{Sink, SinkState};
use highwater_sinks::alert::connector::open_channel;
use highwater_sinks::alert::console::{self, Filter};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::history::{Block, Chain, Step};
use crate::receiver::{Fault, Scripted};
use crate::world::{QUICK, commit, options, request};

/// What happens after a tick.
#[derive(Clone, Debug)]
enum Event {
    /// Nothing: the sender goes on beside the next tick.
    Go,
    /// Everything is sent before the next tick.
    Settle,
    /// A checkpoint is taken.
    Checkpoint,
    /// The process ends, and the next one goes on from the checkpoint so many back, or from nothing, over the same
    /// chain.
    Restart(usize),
    /// The same, and the blocks since then never were: the chain grew otherwise.
    Elsewhere(usize, Vec<Step>),
}

fn block() -> impl Strategy<Value = Block> {
    vec((0_u8..3, 0_u8..4), 0..3)
}

fn step() -> impl Strategy<Value = Step> {
    let grow = prop_oneof![4 => vec(block(), 1), 1 => vec(block(), 2..4)];
    let grow = grow.prop_map(|added| Step { depth: 0, added });
    let reorg = (1_usize..4, vec(block(), 1..4)).prop_map(|(depth, added)| Step { depth, added });
    prop_oneof![3 => grow, 2 => reorg]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Go),
        4 => Just(Event::Settle),
        3 => Just(Event::Checkpoint),
        2 => (0_usize..3).prop_map(Event::Restart),
        1 => (0_usize..3, vec(step(), 0..3)).prop_map(|(back, steps)| Event::Elsewhere(back, steps)),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        2 => Just(Fault::Unreached),
        2 => Just(Fault::Unanswered),
        1 => Just(Fault::Busy(Duration::from_secs(2))),
    ]
}

/// A checkpoint: what the sink gave, and which steps came before it.
#[derive(Clone)]
struct Saved {
    state: Option<SinkState>,
    steps: usize,
}

struct Run<'a> {
    dir: &'a Path,
    channel: Arc<Scripted>,
    sink: Box<dyn Sink>,
    steps: Vec<Step>,
    chain: Chain,
    saved: Vec<Saved>,
}

fn open(dir: &Path, channel: &Arc<Scripted>) -> Box<dyn Sink> {
    let clock = Arc::new(channel.clock.clone());
    open_channel(request(dir), options(dir, QUICK), channel.clone(), clock).unwrap()
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        self.steps.push(step.clone());
        let tick = self.chain.step(step);
        commit(&mut *self.sink, &tick).unwrap();
    }

    /// Waits until nothing is to be sent but what is held.
    fn settle(&self) {
        let watch = Stopwatch::start();
        let ledger = self.dir.join("alerts.db");
        let open = |state: &str| {
            let filter = Filter { state: Some(state.to_owned()), ..Filter::default() };
            console::list(&ledger, &filter, 10_000).unwrap()
        };
        while !open("sending").is_empty() || open("waiting").iter().any(|entry| !entry.held) {
            // What waits behind something held in its group stays.
            let waiting = open("waiting");
            let behind = |group: &str| waiting.iter().any(|entry| entry.held && entry.message.group_key == group);
            if open("sending").is_empty() && waiting.iter().all(|entry| behind(&entry.message.group_key)) {
                break;
            }
            assert!(watch.elapsed() < Duration::from_secs(60), "{waiting:#?}");
            thread::yield_now();
        }
    }

    fn restart(&mut self, back: usize, other: Option<&[Step]>) {
        let index = self.saved.len().saturating_sub(1 + back);
        self.saved.truncate(index + 1);
        let Saved { state, steps } = self.saved[index].clone();
        let after = self.steps.split_off(steps);
        self.chain = Chain::default();
        for step in &self.steps {
            self.chain.skip(step);
        }
        // The old process lets go of the ledger only when the new one has none yet.
        self.sink = Box::new(Nothing);
        self.sink = open(self.dir, &self.channel);
        match &state {
            Some(state) => self.sink.restore(state).unwrap(),
            None => assert!(self.steps.is_empty()),
        }
        for step in other.unwrap_or(&after) {
            self.step(step);
        }
    }

    /// Blocks without notifications, until the chain is higher than it ever was, and the end of the source.
    fn finish(&mut self, highest: usize) {
        while self.chain.blocks.len() <= highest {
            self.step(&Step { depth: 0, added: vec![Vec::new()] });
        }
        let mut tick = self.chain.step(&Step { depth: 0, added: vec![Vec::new()] });
        tick.progress.end_of_input = true;
        commit(&mut *self.sink, &tick).unwrap();
        self.settle();
        self.sink.finish().unwrap();
    }
}

/// Stands where a sink was.
struct Nothing;

impl Sink for Nothing {
    fn commit(&mut self, _: highwater_engine::sink::SinkTick<'_>) -> Result<(), highwater_engine::sink::SinkError> {
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<SinkState, highwater_engine::sink::SinkError> {
        Ok(SinkState::default())
    }

    fn restore(&mut self, _: &SinkState) -> Result<(), highwater_engine::sink::SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<highwater_engine::sink::SinkReport, highwater_engine::sink::SinkError> {
        Ok(highwater_engine::sink::SinkReport::default())
    }
}

/// In each group, messages came first in the order in which the ledger has them.
fn assert_in_order(dir: &Path, channel: &Scripted) {
    let mut entries = console::list(&dir.join("alerts.db"), &Filter::default(), 10_000).unwrap();
    entries.reverse();
    let receiver = channel.receiver.lock().unwrap();
    let place = |key: &str| receiver.order.iter().position(|known| known == key);
    for group in ["g0", "g1", "g2"] {
        let sent = entries.iter().filter(|entry| entry.message.group_key == group && entry.state == "sent");
        let places: Vec<_> = sent.map(|entry| place(entry.key.as_ref().unwrap()).unwrap()).collect();
        assert!(places.is_sorted(), "{group}: {places:?} {:?}", receiver.order);
    }
    assert!(entries.iter().all(|entry| entry.state != "dead"));
}

fn check(history: &[(Step, Event)], faults: Vec<Fault>) {
    let dir = tempfile::tempdir().unwrap();
    let channel = Scripted::new(faults);
    let sink = open(dir.path(), &channel);
    let saved = vec![Saved { state: None, steps: 0 }];
    let mut run =
        Run { dir: dir.path(), channel: channel.clone(), sink, steps: Vec::new(), chain: Chain::default(), saved };
    let mut highest = 0;
    for (step, event) in history {
        run.step(step);
        highest = highest.max(run.chain.blocks.len());
        match event {
            Event::Go => {}
            Event::Settle => run.settle(),
            Event::Checkpoint => {
                let state = Some(run.sink.checkpoint().unwrap());
                run.saved.push(Saved { state, steps: run.steps.len() });
            }
            Event::Restart(back) => run.restart(*back, None),
            Event::Elsewhere(back, steps) => run.restart(*back, Some(steps)),
        }
        highest = highest.max(run.chain.blocks.len());
    }
    run.finish(highest);
    assert_eq!(channel.receiver.lock().unwrap().reads(), run.chain.reads());
    assert_in_order(dir.path(), &channel);
}

/// As many cases as `PROPTEST_CASES` says, else few: each writes a ledger to disk.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if config.cases == 256 { 32 } else { config.cases };
    ProptestConfig { cases, max_shrink_iters: 500, failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_stands_is_what_the_chain_asserts(
        history in vec((step(), event()), 1..24),
        faults in vec(fault(), 0..40),
    ) {
        check(&history, faults);
    }

    /// The same ticks again tell nothing again: no key but those of the run that never stopped.
    #[test]
    fn a_restart_over_the_same_chain_tells_nothing_twice(
        steps in vec(step(), 1..12),
        at in 0_usize..12,
        back in 0_usize..12,
    ) {
        // Ticks of one block, as alerts are fed.
        let steps: Vec<Step> = steps.into_iter().filter(|step| step.depth > 0 || step.added.len() == 1).collect();
        let at = at.min(steps.len());
        let once: Vec<_> = steps.iter().map(|step| (step.clone(), Event::Settle)).collect();
        let mut again = once.clone();
        if let Some((_, event)) = again.get_mut(at.saturating_sub(1 + back)) {
            *event = Event::Checkpoint;
        }
        if let Some((_, event)) = again.get_mut(at) {
            *event = Event::Restart(0);
        }
        prop_assert_eq!(keys(&again), keys(&once));
    }
}

/// What was told without faults, with everything sent before the next tick.
fn keys(history: &[(Step, Event)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let channel = Scripted::new([]);
    let sink = open(dir.path(), &channel);
    let saved = vec![Saved { state: None, steps: 0 }];
    let mut run =
        Run { dir: dir.path(), channel: channel.clone(), sink, steps: Vec::new(), chain: Chain::default(), saved };
    for (step, event) in history {
        run.step(step);
        run.settle();
        match event {
            Event::Checkpoint => {
                let state = Some(run.sink.checkpoint().unwrap());
                run.saved.push(Saved { state, steps: run.steps.len() });
            }
            Event::Restart(back) => run.restart(*back, None),
            _ => {}
        }
        run.settle();
    }
    run.finish(0);
    let mut keys = channel.receiver.lock().unwrap().order.clone();
    keys.sort();
    keys
}
