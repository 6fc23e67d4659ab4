//! Branches: walking a head back to the delivered chain, and whether it is believed.

use std::collections::VecDeque;
use std::time::Duration;

use highwater_engine::model::BlockHash;
use highwater_engine::source::SourceError;

use super::fetch::{Fetched, Want};
use super::follow::{Ended, Follower};
use super::header::Header;
use super::heads::Hint;
use super::pool::Wish;
use super::window::Fork;

/// How often the only endpoint must repeat what nobody else can confirm.
const REPEATS: u32 = 3;
/// Longest pause between two such questions.
const REPEAT_PAUSE: Duration = Duration::from_millis(100);
/// Pause before an announced block that nobody has is asked for again.
const LOST_PAUSE: Duration = Duration::from_millis(500);
/// How often that is done.
const LOST: u32 = 8;

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

/// A block that was announced and that nobody has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    hash: BlockHash,
    times: u32,
}

impl Follower {
    /// Brings the chain to a head that is not far.
    pub(super) async fn join(&mut self, hint: Hint) -> Result<(), Ended> {
        match self.walk(hint).await? {
            Walk::Lost => {
                self.lost(hint);
                Ok(())
            }
            Walk::Below(lowest, endpoint) => self.refuse_or_fail(lowest, endpoint).await,
            Walk::Meets(fork, blocks) if fork.depth == 0 => {
                for block in blocks {
                    if !self.deliver_next(vec![block], None).await? {
                        break;
                    }
                    self.pause().await?;
                }
                Ok(())
            }
            Walk::Meets(fork, blocks) => self.reorganize(fork, blocks).await,
        }
    }

    /// Nobody has an announced block. Where there is nobody else to announce it, it may be on its way still and
    /// is asked for again in a while.
    fn lost(&mut self, hint: Hint) {
        let Header { number, hash, .. } = hint.header;
        tracing::debug!(block = number, %hash, "an announced block cannot be had");
        let before = if self.lost.hash == hash { self.lost.times } else { 0 };
        self.lost = Lost { hash, times: before + 1 };
        if self.pool().len() > 1 {
            if let Some(endpoint) = hint.endpoint {
                self.suspect(hint.header, endpoint, "neither it nor anybody else has the block it announced");
            }
            return;
        }
        if before + 1 < LOST {
            let board = self.board.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(LOST_PAUSE).await;
                board.put(hint);
            });
        }
    }

    /// Whether this is a block that nobody had and that the chain has passed by.
    pub(super) fn is_passed_by(&self, header: Header) -> bool {
        self.lost.hash == header.hash && (header.number < self.next_number() || self.lost.times >= LOST)
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
        // The engine closes the tick before, so that what is final after the reorg is not taken for final in it.
        self.pause().await?;
        self.deliver(fork, blocks, None).await?;
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
}
