//! Follows the chain: history by height, then block by block, and through reorgs.
//!
//! Announcements are wake-ups only. What is delivered links by parent hash to what was delivered before;
//! a branch that leaves it is walked back by hash to the block they share and handed over as one run. A
//! longer branch that links is believed. A branch that is not longer, or that leaves the delivered chain
//! below finality, is a suspicion until another endpoint says the same, or the only endpoint repeats it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use highwater_engine::model::BlockHash;
use highwater_engine::source::{SourceError, SourceEvent};

use super::branch::Lost;
use super::fetch::{Ahead, Fetched, Fetcher, Want};
use super::finality::Finality;
use super::header::Header;
use super::heads::{Board, Hint};
use super::intake::Intake;
use super::outlet::{Closed, Outlet};
use super::pool::{Pool, Wish};
use super::pool_book::PoolBook;
use super::record::Recorder;
use super::window::{Fork, Window};

/// Gaps up to this many blocks are closed by hash, longer ones by height and many at a time.
const NEAR: u64 = 4;
/// This far below the head blocks are asked of the endpoint that announced it.
const STICKY: u64 = 64;
/// How often in a row a block may be missing before the source gives up.
const MISSING: u32 = 5;
/// How often a block may break rules, for each endpoint, before the source gives up.
const REJECTED: usize = 6;
/// First pause before a block that broke a rule is asked for again.
const REJECTED_PAUSE: Duration = Duration::from_millis(50);

/// Why following has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody reads any more.
    Closed,
    /// It cannot go on.
    Failed(SourceError),
}

impl From<Closed> for Ended {
    fn from(_: Closed) -> Ended {
        Ended::Closed
    }
}

impl From<SourceError> for Ended {
    fn from(error: SourceError) -> Ended {
        Ended::Failed(error)
    }
}

/// Delivers the chain.
pub(super) struct Follower {
    pub(super) fetcher: Fetcher,
    pub(super) intake: Intake,
    /// Asks for the coins of pools.
    pub(super) pool_book: PoolBook,
    pub(super) window: Window,
    pub(super) finality: Finality,
    pub(super) board: Rc<Board>,
    /// Writes down what is delivered.
    pub(super) recorder: Option<Recorder>,
    pub(super) outlet: Outlet,
    /// First height to deliver while the window is empty.
    pub(super) start: u64,
    /// Last height to deliver.
    pub(super) end: Option<u64>,
    /// Blocks of a run of history.
    pub(super) batch: usize,
    /// Blocks of history that are fetched ahead.
    pub(super) ahead: usize,
    /// Whether the chain that is delivered begins here, and does not go on one that is not known.
    pub(super) begins: bool,
    /// A height that no endpoint had, and how often in a row.
    pub(super) missing: Option<(u64, u32)>,
    /// An announced block that no endpoint had.
    pub(super) lost: Lost,
}

impl Follower {
    /// Follows until the last wanted block, or for ever.
    pub(super) async fn run(&mut self) -> Result<(), Ended> {
        while !self.is_done() {
            let hint = self.board.take().await;
            self.advance(hint).await?;
        }
        Ok(self.outlet.send(Ok(SourceEvent::End)).await?)
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.fetcher.pool
    }

    pub(super) fn next_number(&self) -> u64 {
        self.window.head().map_or(self.start, |(number, _)| number + 1)
    }

    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next_number() > end)
    }

    async fn advance(&mut self, hint: Hint) -> Result<(), Ended> {
        let Header { number, hash, .. } = hint.header;
        if self.is_passed_by(hint.header) || self.window.contains(hash) || self.window.is_past(number) {
            // Known, or so old that it says nothing: an endpoint that lags behind.
            return Ok(());
        }
        let limit = self.end.map_or(number, |end| end.min(number));
        let next = self.next_number();
        let is_far = self.window.head().is_none() || limit < number || number >= next + NEAR;
        if is_far {
            if let Some(other) = self.catch_up(next, limit, hint.endpoint).await? {
                let head = self.window.head();
                self.join(other).await?;
                if self.window.head() != head {
                    self.board.put(hint);
                }
                return Ok(());
            }
            if limit < number || self.next_number() <= limit || self.window.contains(hash) {
                return Ok(());
            }
        }
        self.join(hint).await
    }

    /// Delivers the blocks `from..=to` by height. Ends early with a block that does not link to the one
    /// before it, or when a block cannot be had.
    async fn catch_up(&mut self, from: u64, to: u64, prefer: Option<usize>) -> Result<Option<Hint>, Ended> {
        let history = self.finality.of_history(to, self.pool().agreed_head());
        let mut pending = VecDeque::new();
        let mut gathered: Vec<Fetched> = Vec::new();
        let mut upcoming = from;
        loop {
            while pending.len() < self.ahead && upcoming <= to {
                pending.push_back(self.fetch_ahead(upcoming, to, prefer));
                upcoming += 1;
            }
            let Some(task) = pending.pop_front() else { break };
            let Some(fetched) = task.finish().await? else {
                self.deliver_next(gathered, history).await?;
                self.missed(to, prefer)?;
                return Ok(None);
            };
            let before = gathered.last().map(|before| before.header.hash).or(self.window.head().map(|(_, hash)| hash));
            if before.is_some_and(|before| before != fetched.header.parent) {
                drop(pending);
                self.deliver_next(gathered, history).await?;
                return Ok(Some(Hint { header: fetched.header, endpoint: Some(fetched.endpoint) }));
            }
            gathered.push(fetched);
            if gathered.len() >= self.batch && !self.deliver_next(std::mem::take(&mut gathered), history).await? {
                return Ok(None);
            }
        }
        self.deliver_next(gathered, history).await?;
        self.pause().await?;
        Ok(None)
    }

    /// Nobody has the next block, though the chain is said to go on to `to`.
    fn missed(&mut self, to: u64, said_by: Option<usize>) -> Result<(), Ended> {
        let number = self.next_number();
        if let Some(endpoint) = said_by.filter(|_| self.pool().agreed_head().is_none_or(|agreed| agreed < number)) {
            self.pool().distrust(
                endpoint,
                "eth_getBlockByNumber",
                "invented-head",
                "nobody has the blocks below its head",
            );
            return Ok(());
        }
        let before = self.missing.filter(|(missing, _)| *missing == number).map_or(0, |(_, times)| times);
        self.missing = Some((number, before + 1));
        // Near the head a block may be on its way; deep below it is gone.
        if before + 1 < MISSING || to - number < STICKY {
            return Ok(());
        }
        let detail = format!(
            "no endpoint has this block with all that is wanted of it, though the chain goes on to block {to}; \
             nodes that have dropped their history cannot serve it"
        );
        Err(SourceError::Malformed { place: format!("block {number}"), detail }.into())
    }

    fn fetch_ahead(&self, number: u64, to: u64, prefer: Option<usize>) -> Ahead {
        let fetcher = self.fetcher.clone();
        // Near the head endpoints may be on different branches; history is shared out by weight.
        let prefer = prefer.filter(|_| to - number < STICKY);
        let wish = Wish { prefer, ..Wish::default() };
        Ahead::start(fetcher, Want::Number(number), wish)
    }

    /// Delivers blocks on top of the delivered chain; `history` is how far history is final. False if one of them could not be used.
    pub(super) async fn deliver_next(&mut self, blocks: Vec<Fetched>, history: Option<u64>) -> Result<bool, Ended> {
        let Some(first) = blocks.first() else { return Ok(true) };
        let link = self.window.fork(first.header.number, first.header.parent);
        let fork = link.expect("the caller has seen that the blocks link");
        self.deliver(fork, blocks, history).await
    }

    pub(super) async fn deliver(
        &mut self,
        fork: Fork,
        mut blocks: Vec<Fetched>,
        history: Option<u64>,
    ) -> Result<bool, Ended> {
        self.pool_book.ask(&self.fetcher.pool, &mut blocks).await;
        let mut taken = Vec::new();
        for fetched in blocks {
            match self.take_in(fetched).await? {
                Some(fetched) if self.recorder.is_some() => taken.push(fetched),
                Some(_) => {}
                None => {
                    self.intake.discard()?;
                    return Ok(false);
                }
            }
        }
        let mut run = self.intake.finish(&self.fetcher.pool.samples)?;
        if self.begins && self.window.is_root(fork) {
            // Whatever replaces the first block has the same parent, so that it can.
            run.blocks.iter_mut().take(1).for_each(|block| block.parent = BlockHash::default());
        }
        self.window.extend(fork, &run.blocks);
        let (cursor, _) = self.window.head().expect("blocks were just added");
        let finalized = self.finality.after(&self.window, history, &self.fetcher.pool);
        if let Some(finalized) = finalized {
            self.window.finalize(finalized);
            self.intake.finalize(finalized);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&taken, finalized)?;
        }
        self.pool().meters.reorgs.add(u64::from(fork.depth > 0));
        self.outlet.send(Ok(SourceEvent::Blocks { run, cursor, finalized })).await?;
        if let Some(skipped) = self.intake.take_skipped() {
            let event = SourceEvent::Skipped { count: skipped.count, reason: skipped.reason };
            self.outlet.send(Ok(event)).await?;
        }
        Ok(true)
    }

    /// Nothing more comes at once: the engine closes a tick that is not full.
    pub(super) async fn pause(&self) -> Result<(), Ended> {
        Ok(self.outlet.send(Ok(SourceEvent::Idle)).await?)
    }

    /// Takes one block in. A block that breaks a rule is asked for elsewhere; `None` if nobody else has it.
    async fn take_in(&mut self, mut fetched: Fetched) -> Result<Option<Fetched>, Ended> {
        let wanted = fetched.header;
        let mut avoid = Vec::new();
        for attempt in 1.. {
            let error = match self.intake.push(self.fetcher.pool.label(fetched.endpoint), &fetched) {
                Ok(()) => return Ok(Some(fetched)),
                Err(error) => error,
            };
            let rule = match &error {
                SourceError::InvalidBlock { rule, .. } => rule,
                SourceError::Malformed { .. } => "malformed",
                _ => return Err(error.into()),
            };
            self.pool().meters.rejected(rule);
            self.pool().distrust(fetched.endpoint, "eth_getBlockByHash", rule, &error.to_string());
            if attempt >= REJECTED * self.pool().len() {
                return Err(error.into());
            }
            avoid.push(fetched.endpoint);
            if avoid.len() >= self.pool().len() {
                let rounds = u32::try_from(avoid.len() / self.pool().len()).unwrap_or(u32::MAX);
                tokio::time::sleep(REJECTED_PAUSE * 2u32.saturating_pow(rounds.min(6))).await;
            }
            let wish = Wish { prefer: None, avoid: avoid.clone() };
            match self.fetcher.fetch(Want::Hash(wanted.hash), wish).await? {
                Some(again) => fetched = Fetched { pools: fetched.pools, ..again },
                None => return Ok(None),
            }
        }
        unreachable!("the loop ends by returning")
    }
}
