//! State machines over the history of a key, exact when history changes.
//!
//! Definition: the output of a key is a function of its *signals* in order and of the time that has passed:
//! [`Machine::advance`] to the time of each moment, [`Machine::apply`] its signals, at the end `advance` to the
//! time that is visible. Nothing else: the order in which ticks brought the signals has no part in it.
//!
//! What a moment is ([`Clock`]): by block, the signals of a moment are what one block changed in the input, so
//! history must come one block a tick; by row, each row names its own time (the end of its window), and any
//! number of blocks may share a tick.
//!
//! State: for each key the machine's state at finality (`base`), the signals after it, and the state now. A
//! reorg takes signals away and runs the machine again from `base`. Work: proportional to the signals of the keys
//! that changed, plus, in a reorg, the signals after finality of the keys that the lost blocks touched.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, Share, StateSize, TickOperator};
use serde::{Deserialize, Serialize};

use super::changes::{Changes, refuse};
use super::horizon::{Outlook, order_of};
use super::machine::Seen;
pub use super::machine::{Clock, Horizon, Machine, Moment, ReadSignal};
use super::saved;

/// Signals by moment, each with how often it came.
type Log<S> = Vec<(Moment, Vec<(S, i64)>)>;

struct Timeline<M: Machine> {
    /// The state at finality; none if it is the state now.
    base: Option<Box<M::State>>,
    /// Signals after finality, in order; those beyond the horizon too.
    log: Log<M::Signal>,
    /// How many entries of the log are in `current`.
    applied: usize,
    current: M::State,
    /// The time it is scheduled for.
    scheduled: Option<i64>,
}

impl<M: Machine> Default for Timeline<M> {
    fn default() -> Timeline<M> {
        Timeline { base: None, log: Vec::new(), applied: 0, current: M::State::default(), scheduled: None }
    }
}

impl<M: Machine> Timeline<M> {
    /// Works off the log as far as it is seen.
    fn catch_up(&mut self, machine: &M, seen: Seen) {
        while let Some((moment, signals)) = self.log.get(self.applied).filter(|(moment, _)| moment.order <= seen.order)
        {
            machine.advance(&mut self.current, moment.time_ms);
            machine.apply(&mut self.current, *moment, signals);
            self.applied += 1;
        }
        machine.advance(&mut self.current, seen.now_ms);
    }

    /// Whether nothing would be lost by forgetting the key.
    fn is_blank(&self) -> bool {
        self.base.is_none() && self.log.is_empty() && self.current == M::State::default()
    }
}

type Key = Arc<[u8]>;

/// Runs a [`Machine`] for every key.
pub struct Timelines<M: Machine> {
    name: String,
    shape: String,
    machine: M,
    clock: Clock,
    outlook: Outlook,
    keys: BTreeMap<Key, Timeline<M>>,
    /// Keys by the order at which something of theirs happened that is not final.
    touched: BTreeMap<i64, BTreeSet<Key>>,
    /// Keys by the time at which something is due.
    schedule: BTreeMap<i64, BTreeSet<Key>>,
    /// What was visible after the last tick.
    seen: Seen,
}

/// Keys to look at: whether each has to begin again from its base.
type Work = BTreeMap<Key, bool>;

impl<M: Machine> Timelines<M> {
    /// `shape` names everything saved state depends on.
    pub fn new(name: &str, shape: String, machine: M, clock: Clock, horizon: Horizon) -> Timelines<M> {
        Timelines {
            name: name.to_owned(),
            shape,
            machine,
            clock,
            outlook: Outlook::new(clock, horizon),
            keys: BTreeMap::new(),
            touched: BTreeMap::new(),
            schedule: BTreeMap::new(),
            seen: Seen::NOTHING,
        }
    }

    /// Takes back what blocks above the fork had brought, and gives it: the input of the tick says what the new
    /// branch is against the old one. Keys of which something lies beyond what is seen now begin again.
    fn take_back(&mut self, progress: &Progress, seen: Seen, work: &mut Work) -> BTreeMap<Key, Vec<(M::Signal, i64)>> {
        let mut taken: BTreeMap<Key, Vec<(M::Signal, i64)>> = BTreeMap::new();
        let fork = match (self.clock, &progress.reorg) {
            (Clock::Block, Some(reorg)) => order_of(reorg.ancestor_number),
            _ => i64::MAX,
        };
        let last = fork.min(seen.order);
        let Some(after) = last.checked_add(1).filter(|_| last < self.seen.order || fork < i64::MAX) else {
            return taken;
        };
        for key in self.touched.split_off(&after).into_values().flatten().collect::<BTreeSet<Key>>() {
            let Some(timeline) = self.keys.get_mut(&key) else { continue };
            let keep = timeline.log.partition_point(|(moment, _)| moment.order <= fork);
            let lost = timeline.log.split_off(keep).into_iter().flat_map(|(_, signals)| signals);
            taken.entry(key.clone()).or_default().extend(lost);
            for (moment, _) in timeline.log.iter().rev().take_while(|(moment, _)| moment.order > last) {
                self.touched.entry(moment.order).or_default().insert(key.clone());
            }
            work.insert(key, true);
        }
        taken
    }

    /// Puts the signals of a tick into the logs.
    fn take_in(&mut self, input: Vec<Delta>, progress: &Progress, work: &mut Work, output: &mut Output) {
        let mut incoming: BTreeMap<Key, BTreeMap<Moment, BTreeMap<M::Signal, i64>>> = BTreeMap::new();
        let block = order_of(progress.head_number);
        let of_block = Moment { order: block, time_ms: progress.now_ms, block: Some(block) };
        for delta in input.iter().filter(|delta| !delta.is_empty()) {
            for (row, read) in self.machine.read(&delta.batch).into_iter().enumerate() {
                let diff = delta.diffs.at(row);
                match read {
                    Ok((key, time_ms, signal)) => {
                        let moment = match self.clock {
                            Clock::Block => of_block,
                            Clock::Row => Moment { order: time_ms, time_ms, block: None },
                        };
                        let signals = incoming.entry(key).or_default().entry(moment).or_default();
                        *signals.entry(signal).or_default() += diff;
                    }
                    Err(reason) => refuse(delta, row, diff, reason, output),
                }
            }
        }
        let seen = self.outlook.look(progress);
        for (key, signals) in self.take_back(progress, seen, work) {
            let moments = incoming.entry(key).or_default().entry(of_block).or_default();
            for (signal, count) in signals {
                *moments.entry(signal).or_default() += count;
            }
        }
        for (key, moments) in incoming {
            self.note(&key, moments, work);
        }
        // What came into sight, now or because the horizon has moved.
        if let Some(first) = self.seen.order.checked_add(1).filter(|first| *first <= seen.order) {
            for key in self.touched.range(first..=seen.order).flat_map(|(_, keys)| keys) {
                work.entry(key.clone()).or_default();
            }
        }
        self.seen = seen;
    }

    /// Puts signals of a key into its log; it begins again if they belong to a past that was worked off.
    fn note(&mut self, key: &Key, moments: BTreeMap<Moment, BTreeMap<M::Signal, i64>>, work: &mut Work) {
        let timeline = self.keys.entry(key.clone()).or_default();
        for (moment, signals) in moments {
            self.touched.entry(moment.order).or_default().insert(key.clone());
            let net = signals.into_iter().filter(|(_, count)| *count != 0);
            let at = timeline.log.partition_point(|(known, _)| *known < moment);
            match timeline.log.get_mut(at).filter(|(known, _)| *known == moment) {
                None => {
                    let net: Vec<_> = net.collect();
                    if net.is_empty() {
                        continue;
                    }
                    timeline.log.insert(at, (moment, net));
                }
                Some((_, known)) => {
                    let mut sum: BTreeMap<M::Signal, i64> = known.drain(..).collect();
                    for (signal, count) in net {
                        *sum.entry(signal).or_default() += count;
                    }
                    known.extend(sum.into_iter().filter(|(_, count)| *count != 0));
                    if known.is_empty() {
                        timeline.log.remove(at);
                    }
                }
            }
            // Also what was only due since then may come out differently.
            let past = at < timeline.applied || (self.clock == Clock::Row && moment.time_ms < self.seen.now_ms);
            *work.entry(key.clone()).or_default() |= past;
        }
    }

    /// Keys at which something is due.
    fn wake(&mut self, work: &mut Work) {
        while let Some(entry) = self.schedule.first_entry() {
            if *entry.key() >= self.seen.now_ms {
                break;
            }
            for key in entry.remove() {
                work.entry(key).or_default();
            }
        }
    }

    /// Brings a key to what is seen, and notes what changed in its rows.
    fn run(&mut self, key: &Key, again: bool, settled: bool, changes: &mut Changes<M>) {
        let Entry::Occupied(mut entry) = self.keys.entry(key.clone()) else { return };
        let timeline = entry.get_mut();
        let before = self.machine.rows(&timeline.current);
        if let Some(base) = timeline.base.as_deref().filter(|_| again) {
            timeline.current = base.clone();
            timeline.applied = 0;
        }
        if timeline.base.is_none() && !settled {
            timeline.base = Some(Box::new(timeline.current.clone()));
        }
        timeline.catch_up(&self.machine, self.seen);
        changes.compare(before, self.machine.rows(&timeline.current));
        if settled {
            timeline.base = None;
            timeline.log.drain(..timeline.applied);
            timeline.applied = 0;
            let rows = self.machine.settled(&timeline.current);
            self.machine.forget(&mut timeline.current, rows);
        } else {
            // Also what only time did can be undone.
            self.touched.entry(self.seen.order).or_default().insert(key.clone());
        }
        let due = self.machine.due(&timeline.current);
        reschedule(&mut self.schedule, key, timeline, due);
        if timeline.is_blank() {
            entry.remove();
        }
    }

    /// Folds what has become final into the bases.
    fn settle(&mut self, finality: Seen) {
        let Some(after) = finality.order.checked_add(1) else {
            let touched = std::mem::take(&mut self.touched);
            return self.settle_keys(touched, finality);
        };
        let open = self.touched.split_off(&after);
        let settled = std::mem::replace(&mut self.touched, open);
        self.settle_keys(settled, finality);
    }

    fn settle_keys(&mut self, touched: BTreeMap<i64, BTreeSet<Key>>, finality: Seen) {
        let keys: BTreeSet<Key> = touched.into_values().flatten().collect();
        for key in keys {
            let Entry::Occupied(mut entry) = self.keys.entry(key) else { continue };
            let timeline = entry.get_mut();
            let Some(base) = &mut timeline.base else { continue };
            let count = timeline.log[..timeline.applied].partition_point(|(moment, _)| moment.order <= finality.order);
            for (moment, signals) in timeline.log.drain(..count) {
                self.machine.advance(base, moment.time_ms);
                self.machine.apply(base, moment, &signals);
            }
            timeline.applied -= count;
            self.machine.advance(base, finality.now_ms);
            let rows = self.machine.settled(base);
            self.machine.forget(base, rows);
            self.machine.forget(&mut timeline.current, rows);
            if timeline.applied == 0 && **base == timeline.current {
                timeline.base = None;
            }
            if timeline.is_blank() {
                let (key, mut timeline) = entry.remove_entry();
                reschedule(&mut self.schedule, &key, &mut timeline, None);
            }
        }
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let rows = saved::read(&self.name, &self.shape, batch)?;
        self.seen = Seen { order: rows.order, now_ms: rows.now_ms };
        self.outlook.times = rows.times.iter().copied().collect();
        for (key, text) in rows.keys.iter().filter(|(key, _)| owns(share, key)) {
            let kept: Kept<M::State, M::Signal> = saved::parse(&self.name, text)?;
            let key: Key = key.as_slice().into();
            let mut timeline = Timeline::<M> { log: kept.log, current: kept.base, ..Timeline::default() };
            if kept.open {
                timeline.base = Some(Box::new(timeline.current.clone()));
                timeline.catch_up(&self.machine, self.seen);
            }
            let due = self.machine.due(&timeline.current);
            reschedule(&mut self.schedule, &key, &mut timeline, due);
            self.keys.insert(key, timeline);
        }
        for (order, keys) in rows.touched {
            let keys = keys.into_iter().map(Key::from).filter(|key| self.keys.contains_key(key));
            self.touched.entry(order).or_default().extend(keys);
        }
        Ok(())
    }
}

/// A key as it is saved.
#[derive(Serialize, Deserialize)]
struct Kept<S, G> {
    base: S,
    open: bool,
    log: Log<G>,
}

/// Whose a key is; the one key of a machine that sees everything belongs to the first worker.
fn owns(share: Share, key: &[u8]) -> bool {
    if key.is_empty() { share.index == 0 } else { share.owns(key) }
}

fn reschedule<M: Machine>(
    schedule: &mut BTreeMap<i64, BTreeSet<Key>>,
    key: &Key,
    timeline: &mut Timeline<M>,
    next: Option<i64>,
) {
    if let Some(old) = timeline.scheduled.filter(|old| Some(*old) != next)
        && let Some(keys) = schedule.get_mut(&old)
    {
        keys.remove(key);
        if keys.is_empty() {
            schedule.remove(&old);
        }
    }
    if let Some(next) = next {
        schedule.entry(next).or_default().insert(key.clone());
    }
    timeline.scheduled = next;
}

impl<M: Machine> TickOperator for Timelines<M> {
    fn on_tick(&mut self, input: Vec<Delta>, progress: &Progress, output: &mut Output) {
        let mut work = Work::new();
        self.take_in(input, progress, &mut work, output);
        self.wake(&mut work);
        let finality = self.outlook.finality(progress);
        // Nothing that is seen can change any more: no past needs to be kept.
        let settled = self.seen.order <= finality.order && self.seen.now_ms <= finality.now_ms;
        let mut changes = Changes::default();
        for (key, again) in work {
            self.run(&key, again, settled, &mut changes);
        }
        changes.emit(&self.machine, output);
        // What is not seen yet is not worked off yet.
        self.settle(Seen { order: finality.order.min(self.seen.order), now_ms: finality.now_ms.min(self.seen.now_ms) });
        self.outlook.forget(finality);
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let keys = self.keys.iter().map(|(key, timeline)| {
            let base = timeline.base.as_deref().unwrap_or(&timeline.current).clone();
            let kept = Kept { base, open: timeline.base.is_some(), log: timeline.log.clone() };
            Ok((key.to_vec(), saved::text(&self.name, &kept)?))
        });
        let rows = saved::Rows {
            order: self.seen.order,
            now_ms: self.seen.now_ms,
            times: self.outlook.times.iter().map(|(order, time)| (*order, *time)).collect(),
            touched: self
                .touched
                .iter()
                .map(|(order, keys)| (*order, keys.iter().map(|key| key.to_vec()).collect()))
                .collect(),
            keys: keys.collect::<Result<_, StateError>>()?,
        };
        saved::write(&self.name, &self.shape, rows).map(|batch| vec![batch])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.keys.clear();
        self.touched.clear();
        self.schedule.clear();
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        let signals: usize = self.keys.values().map(|timeline| timeline.log.len()).sum();
        let state = std::mem::size_of::<M::State>() + 256;
        let bytes =
            self.keys.values().map(|timeline| state * (1 + usize::from(timeline.base.is_some()))).sum::<usize>();
        StateSize { entries: self.keys.len(), bytes: bytes + signals * (std::mem::size_of::<M::Signal>() + 128) }
    }
}
