//! Follows the chain: history by height, then block by block, and through reorgs.
//!
//! Announcements are wake-ups only. What is delivered links by parent hash to what was delivered before;
//! a branch that leaves it is walked back by hash to the block they share and handed over as one run. A
//! longer branch that links is believed. A branch that is not longer, or that leaves the delivered chain
//! below finality, is a suspicion until another endpoint says the same, or the only endpoint repeats it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use highwater_engine::model::{BlockHash, BlockRef};
use highwater_engine::source::{SourceError, SourceEvent};

use super::fetch::{Ahead, Fetched, Fetcher, Want};
use super::finality::Finality;
use super::header::Header;
use super::heads::{Board, Hint};
use super::intake::Intake;
use super::outlet::{Closed, Outlet};
use super::pool::{Pool, Wish};
use super::window::{Fork, Window};

/// Gaps up to this many blocks are closed by hash, longer ones by height and many at a time.
const NEAR: u64 = 4;
/// This far below the head blocks are asked of the endpoint that announced it.
const STICKY: u64 = 64;
/// How often in a row a block may be missing before the source gives up.
const MISSING: u32 = 5;
/// How often a block may break rules, for each endpoint, before the source gives up.
const REJECTED: usize = 6;
/// How often the only endpoint must repeat what nobody else can confirm.
const REPEATS: u32 = 3;
/// Longest pause between two such questions.
const REPEAT_PAUSE: Duration = Duration::from_millis(100);
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

/// What an unconfirmed branch turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Confirmed,
    Refused,
    /// Something newer was announced, which decides better.
    Overtaken,
}

/// A branch and the place where it leaves the delivered chain.
enum Walk {
    /// It does so here; blocks oldest first.
    Meets(Fork, Vec<Fetched>),
    /// It comes from below finality; its lowest block that was seen, and who has it.
    Below(Header, usize),
    /// A block of it cannot be had.
    Lost,
}

/// Delivers the chain.
pub(super) struct Follower {
    pub(super) fetcher: Fetcher,
    pub(super) intake: Intake,
    pub(super) window: Window,
    pub(super) finality: Finality,
    pub(super) board: Rc<Board>,
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

    fn pool(&self) -> &Pool {
        &self.fetcher.pool
    }

    fn next_number(&self) -> u64 {
        self.window.head().map_or(self.start, |(number, _)| number + 1)
    }

    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next_number() > end)
    }

    async fn advance(&mut self, hint: Hint) -> Result<(), Ended> {
        let Header { number, hash, .. } = hint.header;
        if self.window.contains(hash) || self.window.floor().is_some_and(|floor| number <= floor) {
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
                self.deliver_next(gathered).await?;
                self.missed(to, prefer)?;
                return Ok(None);
            };
            let before = gathered.last().map(|before| before.header.hash).or(self.window.head().map(|(_, hash)| hash));
            if before.is_some_and(|before| before != fetched.header.parent) {
                drop(pending);
                self.deliver_next(gathered).await?;
                return Ok(Some(Hint { header: fetched.header, endpoint: Some(fetched.endpoint) }));
            }
            gathered.push(fetched);
            if gathered.len() >= self.batch && !self.deliver_next(std::mem::take(&mut gathered)).await? {
                return Ok(None);
            }
        }
        self.deliver_next(gathered).await?;
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

    /// Brings the chain to a head that is not far.
    async fn join(&mut self, hint: Hint) -> Result<(), Ended> {
        match self.walk(hint).await? {
            Walk::Lost => {
                if let Some(endpoint) = hint.endpoint.filter(|_| self.pool().len() > 1) {
                    self.suspect(hint.header, endpoint, "neither it nor anybody else has the block it announced");
                }
                tracing::debug!(block = hint.header.number, hash = %hint.header.hash, "an announced block cannot be had");
                Ok(())
            }
            Walk::Below(lowest, endpoint) => self.refuse_or_fail(lowest, endpoint).await,
            Walk::Meets(fork, blocks) if fork.depth == 0 => {
                for block in blocks {
                    if !self.deliver_next(vec![block]).await? {
                        break;
                    }
                    self.pause().await?;
                }
                Ok(())
            }
            Walk::Meets(fork, blocks) => self.reorganize(fork, blocks).await,
        }
    }

    /// Fetches a head and its ancestors until one links to the delivered chain.
    async fn walk(&self, hint: Hint) -> Result<Walk, Ended> {
        let mut blocks = VecDeque::new();
        let mut hash = hint.header.hash;
        let mut prefer = hint.endpoint;
        loop {
            let wish = prefer.map_or_else(Wish::default, Wish::prefer);
            let Some(fetched) = self.fetcher.fetch(Want::Hash(hash), wish).await? else { return Ok(Walk::Lost) };
            let Header { number, parent, .. } = fetched.header;
            prefer = Some(fetched.endpoint);
            let endpoint = fetched.endpoint;
            let header = fetched.header;
            blocks.push_front(fetched);
            if let Some(fork) = self.window.fork(number, parent) {
                return Ok(Walk::Meets(fork, blocks.into()));
            }
            if self.window.is_below(number) {
                return Ok(Walk::Below(header, endpoint));
            }
            hash = parent;
        }
    }

    /// Follows a branch that takes blocks back, if it is to be believed.
    async fn reorganize(&mut self, fork: Fork, blocks: Vec<Fetched>) -> Result<(), Ended> {
        let (Some(tip), Some((head, _))) = (blocks.last(), self.window.head()) else { return Ok(()) };
        let (tip, endpoint) = (tip.header, tip.endpoint);
        if tip.number <= head {
            match self.confirm(tip, endpoint, Some(tip.number)).await? {
                Verdict::Confirmed => {}
                Verdict::Overtaken => return Ok(()),
                Verdict::Refused => {
                    self.suspect(tip, endpoint, "nobody else has this block, and its branch is not longer");
                    return Ok(());
                }
            }
        }
        tracing::info!(
            endpoint = self.pool().label(endpoint),
            depth = fork.depth,
            head = tip.number,
            hash = %tip.hash,
            "following a reorg"
        );
        self.deliver(fork, blocks).await?;
        self.pause().await
    }

    async fn refuse_or_fail(&self, lowest: Header, endpoint: usize) -> Result<(), Ended> {
        match self.confirm(lowest, endpoint, None).await? {
            Verdict::Overtaken => Ok(()),
            Verdict::Refused => {
                self.suspect(lowest, endpoint, "its branch leaves the delivered chain below finality");
                Ok(())
            }
            Verdict::Confirmed => Err(Ended::Failed(SourceError::ForkBelowFinality {
                place: self.pool().label(endpoint).to_owned(),
                number: lowest.number,
                hash: lowest.hash,
                finalized: self.window.floor().unwrap_or(self.start),
            })),
        }
    }

    fn suspect(&self, header: Header, endpoint: usize, detail: &str) {
        self.pool().meters.suspicions.add(1);
        let detail = format!("block {} ({}): {detail}", header.number, header.hash);
        self.pool().distrust(endpoint, "eth_getBlockByHash", "unconfirmed-branch", &detail);
    }

    /// Whether a block is canonical in the eyes of another endpoint, or, if there is no other, again and
    /// again in the eyes of the one that has it, unless a block above `until` is announced meanwhile.
    async fn confirm(&self, header: Header, endpoint: usize, until: Option<u64>) -> Result<Verdict, Ended> {
        let which = format!("\"{:#x}\"", header.number);
        let mut asked = 0;
        for other in (0..self.pool().len()).filter(|other| *other != endpoint) {
            let Ok(found) = self.pool().header_at(other, &which).await else { continue };
            if found.hash == header.hash {
                return Ok(Verdict::Confirmed);
            }
            asked += 1;
        }
        if asked > 0 {
            return Ok(Verdict::Refused);
        }
        for _ in 0..REPEATS {
            tokio::time::sleep(REPEAT_PAUSE).await;
            let newer = self.board.look().filter(|newer| until.is_some_and(|until| newer.header.number > until));
            if newer.is_some_and(|newer| !self.window.contains(newer.header.hash)) {
                return Ok(Verdict::Overtaken);
            }
            match self.pool().header_at(endpoint, &which).await {
                Ok(found) if found.hash == header.hash => {}
                _ => return Ok(Verdict::Refused),
            }
        }
        Ok(Verdict::Confirmed)
    }

    /// Delivers blocks on top of the delivered chain. False if one of them could not be used.
    async fn deliver_next(&mut self, blocks: Vec<Fetched>) -> Result<bool, Ended> {
        let Some(first) = blocks.first() else { return Ok(true) };
        let link = self.window.fork(first.header.number, first.header.parent);
        let fork = link.expect("the caller has seen that the blocks link");
        self.deliver(fork, blocks).await
    }

    async fn deliver(&mut self, fork: Fork, blocks: Vec<Fetched>) -> Result<bool, Ended> {
        for fetched in blocks {
            if self.take_in(fetched).await?.is_none() {
                self.intake.discard()?;
                return Ok(false);
            }
        }
        let mut run = self.intake.finish(&self.fetcher.pool.samples)?;
        if self.begins && self.window.is_root(fork) {
            // Whatever replaces the first block has the same parent, so that it can.
            run.blocks.iter_mut().take(1).for_each(|block| block.parent = BlockHash::default());
        }
        self.window.extend(fork, &run.blocks);
        let (cursor, _) = self.window.head().expect("blocks were just added");
        let finalized = self.finality.after(&self.window, self.pool().agreed_head(), &self.fetcher.pool);
        if let Some(finalized) = finalized {
            self.window.finalize(finalized);
            self.intake.finalize(finalized);
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
    async fn pause(&self) -> Result<(), Ended> {
        Ok(self.outlet.send(Ok(SourceEvent::Idle)).await?)
    }

    /// Takes one block in. A block that breaks a rule is asked for elsewhere; `None` if nobody else has it.
    async fn take_in(&mut self, mut fetched: Fetched) -> Result<Option<BlockRef>, Ended> {
        let wanted = fetched.header;
        let mut avoid = Vec::new();
        for attempt in 1.. {
            let error = match self.intake.push(self.fetcher.pool.label(fetched.endpoint), &fetched) {
                Ok(block) => return Ok(Some(block)),
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
                Some(again) => fetched = again,
                None => return Ok(None),
            }
        }
        unreachable!("the loop ends by returning")
    }
}
