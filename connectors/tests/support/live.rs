//! The live connector at scripted nodes, followed as a job does: through the engine's chain tracker.

#![allow(dead_code, reason = "every suite uses a part of this")]

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use highwater_engine::chain::ChainTracker;
use highwater_engine::clock::Stopwatch;
use highwater_engine::metrics::Registry;
use highwater_engine::model::{BlockRef, BlockRun};
use highwater_engine::source::{ReadRequest, SourceError, SourceEvent, SourceReader};
use highwater_testnode::{Builder, Chain, Node, Tag};

use crate::support::{all_columns, check_run, open};

/// How long a source may take to get to where it must be.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came so far.
pub(crate) struct Seen {
    tracker: ChainTracker,
    /// Canonical blocks from the first one on; the tracker forgets those that are final.
    pub(crate) chain: Vec<BlockRef>,
    /// For each reorg how many blocks were taken back.
    pub(crate) reorgs: Vec<usize>,
    /// How many blocks each run had.
    pub(crate) runs: Vec<usize>,
    /// Rows of the last wanted table, by block; what a reorg takes back goes.
    pub(crate) rows: BTreeMap<u64, arrow::record_batch::RecordBatch>,
    pub(crate) finalized: Option<u64>,
    pub(crate) cursor: Option<u64>,
    /// Runs whose first block was known already.
    pub(crate) repeated: usize,
    pub(crate) error: Option<SourceError>,
    pub(crate) ended: bool,
    pub(crate) idles: u64,
    /// When the newest block came.
    pub(crate) arrived: Stopwatch,
    stop: bool,
}

/// A source that is being followed.
pub(crate) struct Live {
    shared: Arc<(Mutex<Seen>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    metrics: Registry,
}

/// A job that goes on: where it stopped, and what it knew.
#[derive(Clone, Default)]
pub(crate) struct Stopped {
    pub(crate) cursor: Option<u64>,
    pub(crate) known: Vec<BlockRef>,
}

pub(crate) const TABLES: &[&str] = &["blocks", "transactions", "logs"];

impl Live {
    /// Follows with the usual tables.
    pub(crate) fn start(given: &[(&str, &str)]) -> Live {
        Live::with(given, TABLES, |_| {})
    }

    pub(crate) fn with(given: &[(&str, &str)], tables: &[&str], change: impl FnOnce(&mut ReadRequest)) -> Live {
        let source = open("evm", given).unwrap();
        let mut request = all_columns(source.as_ref(), tables);
        change(&mut request);
        let metrics = request.metrics.clone();
        let tracker = match request.known.split_first() {
            None => ChainTracker::new("eth"),
            Some((finalized, open)) => {
                let rows = |block: &BlockRef| highwater_engine::chain::TrackedBlock { block: *block, rows: Vec::new() };
                ChainTracker::restore("eth", Some(*finalized), open.iter().map(rows))
            }
        };
        let seen = Seen {
            tracker,
            chain: request.known.clone(),
            reorgs: Vec::new(),
            runs: Vec::new(),
            rows: BTreeMap::new(),
            finalized: None,
            cursor: None,
            repeated: 0,
            error: None,
            ended: false,
            idles: 0,
            arrived: Stopwatch::start(),
            stop: false,
        };
        let mut reader = source.start(request).unwrap();
        let shared = Arc::new((Mutex::new(seen), Condvar::new()));
        let told = shared.clone();
        let thread = std::thread::spawn(move || while follow_on(reader.as_mut(), &told) {});
        Live { shared, thread: Some(thread), metrics }
    }

    /// Waits until `condition` holds, and looks. Fails if the source fails first.
    pub(crate) fn wait<T>(&self, what: &str, condition: impl Fn(&Seen) -> bool, look: impl FnOnce(&Seen) -> T) -> T {
        let (lock, changed) = &*self.shared;
        let waits = |seen: &mut Seen| !condition(seen) && seen.error.is_none();
        let (seen, _) = changed.wait_timeout_while(lock.lock().unwrap(), PATIENCE, waits).unwrap();
        let met = condition(&seen);
        assert!(
            met,
            "waited in vain for {what}; head {:?}, error {:?}\n{}",
            seen.chain.last(),
            seen.error.as_ref().map(|error| highwater_engine::error::chain(error)),
            self.metrics.prometheus()
        );
        look(&seen)
    }

    /// Waits until the followed chain is the node's, from its first block on.
    pub(crate) fn wait_for_chain_of(&self, node: &Node) {
        let wanted: Vec<[u8; 32]> = node.canonical().iter().map(|block| block.hash.0).collect();
        let is_there = |seen: &Seen| seen.chain.last().map(|block| block.hash.0) == wanted.last().copied();
        self.wait("the node's head", is_there, |seen| {
            let followed: Vec<_> = seen.chain.iter().map(|block| block.hash.0).collect();
            let from = wanted.len().checked_sub(followed.len()).expect("no more blocks than the node has");
            assert_eq!(followed, wanted[from..]);
        });
    }

    pub(crate) fn wait_for_error(&self) -> SourceError {
        let (lock, changed) = &*self.shared;
        let waits = |seen: &mut Seen| seen.error.is_none();
        let (mut seen, _) = changed.wait_timeout_while(lock.lock().unwrap(), PATIENCE, waits).unwrap();
        seen.error.take().unwrap_or_else(|| panic!("the source does not fail: {}", self.metrics.prometheus()))
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.shared.0.lock().unwrap())
    }

    /// A metric's value over all its labels that contain `label`; zero if there is none.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let text = self.metrics.prometheus();
        let of_metric = |line: &&str| line.split(['{', ' ']).next() == Some(name) && line.contains(label);
        let values = text.lines().filter(of_metric).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    /// Everything that is counted, as text.
    pub(crate) fn metrics(&self) -> String {
        self.metrics.prometheus()
    }

    /// Stops, as a job does after a checkpoint.
    pub(crate) fn stop(mut self) -> Stopped {
        self.end();
        let seen = self.shared.0.lock().unwrap();
        let known = seen.tracker.finalized().into_iter().chain(seen.tracker.open_blocks().map(|open| open.block));
        Stopped { cursor: seen.cursor, known: known.collect() }
    }

    fn end(&mut self) {
        if let Ok(mut seen) = self.shared.0.lock() {
            seen.stop = true;
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Ok(mut seen) = self.shared.0.lock() {
            seen.stop = true;
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn follow_on(reader: &mut dyn SourceReader, (lock, changed): &(Mutex<Seen>, Condvar)) -> bool {
    let event = reader.next();
    let Ok(mut seen) = lock.lock() else { return false };
    match event {
        Ok(SourceEvent::Blocks { run, cursor, finalized }) => seen.apply(run, cursor, finalized),
        Ok(SourceEvent::Idle) => seen.idles += 1,
        Ok(SourceEvent::Skipped { .. }) => {}
        Ok(SourceEvent::End) => seen.ended = true,
        Err(error) => seen.error = Some(error),
    }
    changed.notify_all();
    !seen.stop && !seen.ended && seen.error.is_none()
}

impl Seen {
    fn apply(&mut self, run: BlockRun, cursor: u64, finalized: Option<u64>) {
        check_run(&run);
        assert!(finalized >= self.finalized, "finality went back from {:?} to {finalized:?}", self.finalized);
        self.finalized = finalized;
        self.cursor = Some(cursor);
        let given = run.blocks.len();
        let change = match self.tracker.apply(run, finalized) {
            Ok(change) => change,
            Err(error) => panic!("the engine refuses the run: {error}"),
        };
        self.repeated += given - change.applied.blocks.len();
        self.runs.push(given);
        if !change.reverted.is_empty() {
            self.reorgs.push(change.reverted.len());
        }
        for reverted in &change.reverted {
            assert_eq!(self.chain.pop(), Some(reverted.block));
            self.rows.remove(&reverted.block.number);
        }
        for (index, block) in change.applied.blocks.iter().enumerate() {
            self.chain.push(*block);
            if let Some(table) = change.applied.tables.last() {
                self.rows.insert(block.number, table.slice(index, index + 1));
            }
        }
        self.arrived = Stopwatch::start();
    }
}

pub(crate) const DEVNET: u64 = 31_337;

/// A straight chain; the node starts at `head`, and each block after it is a step.
pub(crate) fn chain(head: usize, blocks: usize) -> Chain {
    let mut builder = Builder::new(DEVNET);
    let mut hashes = vec![builder.genesis()];
    hashes.extend(builder.extend(builder.genesis(), blocks));
    builder.into_chain(hashes[head], &hashes[head + 1..])
}

pub(crate) fn node(head: usize, blocks: usize) -> Node {
    let node = Node::start(chain(head, blocks));
    node.configure(|manner| manner.finalized = Tag::Behind(16));
    node
}

/// Two nodes that know one chain.
pub(crate) fn twins(head: usize, blocks: usize) -> [Node; 2] {
    let chain = chain(head, blocks);
    [Node::start(chain.clone()), Node::start(chain)]
}

/// What most tests give: fast questions, and from the first block on.
pub(crate) fn usual<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut given = vec![("url", url), ("poll_interval", "20 ms"), ("request_timeout", "300 ms")];
    for default in [("from_block", "earliest"), ("confirmations", "16")] {
        if !more.iter().any(|(name, _)| *name == default.0) {
            given.push(default);
        }
    }
    given.retain(|(name, _)| !more.iter().any(|(given, _)| given == name));
    given.extend(more);
    given
}

pub(crate) fn follow(node: &Node, more: &[(&str, &str)]) -> Live {
    Live::start(&usual(&node.http_url(), more))
}

pub(crate) fn listen(node: &Node, more: &[(&str, &str)]) -> Live {
    let url = format!("{} {}", node.http_url(), node.ws_url());
    Live::start(&usual(&url, more))
}

pub(crate) fn follow_both(nodes: &[Node; 2], more: &[(&str, &str)]) -> Live {
    let url = format!("{}, {}", nodes[0].http_url(), nodes[1].http_url());
    Live::start(&usual(&url, more))
}

/// The label of a node's endpoint in metrics, as far as it is known from outside.
pub(crate) fn label(node: &Node) -> String {
    format!("{}#", node.http_url().trim_start_matches("http://"))
}
