//! How far the chain is final: the node's tag, or the number of blocks after.

use std::rc::Rc;
use std::time::Duration;

use highwater_engine::model::BlockHash;
use tokio::sync::watch;

use super::call::ErrorKind;
use super::header::Header;
use super::options::FinalityRule;
use super::pool::{Pool, Wish};
use super::window::Window;

/// What the node says of its tag.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Tag {
    /// Not asked yet.
    #[default]
    Unknown,
    /// It has none.
    None,
    /// This block is final, says this endpoint.
    At(Header, usize),
}

/// Asks for the finalized tag again and again.
pub(super) async fn ask_for_tag(pool: Rc<Pool>, news: watch::Sender<Tag>, every: Duration) {
    loop {
        if let Ok(at) = pool.choose(&Wish::default()).await {
            match pool.header_at(at, "\"finalized\"").await {
                Ok(header) => drop(news.send_replace(Tag::At(header, at))),
                Err(error) if matches!(error.kind, ErrorKind::JsonRpc | ErrorKind::NullResult) => {
                    news.send_if_modified(|tag| {
                        let first = matches!(tag, Tag::Unknown);
                        if first {
                            *tag = Tag::None;
                        }
                        first
                    });
                }
                // The pool has noted it.
                Err(_) => {}
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// The highest height known to be final; never goes down.
pub(super) struct Finality {
    rule: FinalityRule,
    confirmations: u64,
    news: watch::Receiver<Tag>,
    highest: Option<u64>,
    /// The answer that was refused last.
    refused: Option<BlockHash>,
}

impl Finality {
    pub(super) fn new(
        rule: FinalityRule,
        confirmations: u64,
        news: watch::Receiver<Tag>,
        highest: Option<u64>,
    ) -> Finality {
        Finality { rule, confirmations, news, highest, refused: None }
    }

    /// Waits for the first answer about the tag, if it is asked.
    pub(super) async fn first_news(&mut self, at_most: Duration) {
        if self.rule == FinalityRule::Tag {
            // Without an answer in time, the follower begins without and nothing is final yet.
            let known = self.news.wait_for(|tag| !matches!(tag, Tag::Unknown));
            let _ = tokio::time::timeout(at_most, known).await;
        }
    }

    /// How much of the history up to `to` is final already, by what is known before it is read.
    ///
    /// Only what is known before tells: a block that is read first and found deep below a head later may have
    /// been replaced in between.
    pub(super) fn of_history(&self, to: u64, agreed: Option<u64>) -> Option<u64> {
        match (self.rule, *self.news.borrow()) {
            (FinalityRule::Tag, Tag::At(header, _)) => Some(header.number.min(to)),
            (FinalityRule::Tag, Tag::Unknown) => None,
            (FinalityRule::Tag, Tag::None) | (FinalityRule::Confirmations, _) => {
                agreed?.min(to).checked_sub(self.confirmations)
            }
        }
    }

    /// The newest final height after the newest block of the window was delivered. `history` is what
    /// [`Finality::of_history`] said, if the block was read as history.
    pub(super) fn after(&mut self, window: &Window, history: Option<u64>, pool: &Pool) -> Option<u64> {
        let (head, _) = window.head()?;
        let news = *self.news.borrow();
        let found = match (self.rule, news) {
            (FinalityRule::Tag, Tag::At(header, at)) => self.of_tag(header, at, window, pool),
            (FinalityRule::Tag, Tag::Unknown) => None,
            (FinalityRule::Tag, Tag::None) | (FinalityRule::Confirmations, _) => head.checked_sub(self.confirmations),
        };
        self.highest = self.highest.max(found).max(history.map(|history| history.min(head)));
        self.highest
    }

    fn of_tag(&mut self, header: Header, at: usize, window: &Window, pool: &Pool) -> Option<u64> {
        // Above the delivered head it says nothing of the branch that was delivered.
        let delivered = window.hash_at(header.number)?;
        if delivered != header.hash {
            // A reorg that is still to come or a wrong endpoint: either way our block is not final.
            if self.refused.replace(header.hash) != Some(header.hash) {
                let detail = "its final block is not the one delivered";
                pool.distrust(at, "eth_getBlockByNumber", "finalized-mismatch", detail);
            }
            return None;
        }
        Some(header.number)
    }
}
