//! The sink around a channel: notes what the dataflow wants told, and lets the sender tell it.
//!
//! `commit` writes one transaction into the ledger and returns; it never waits for a channel. What a
//! retraction does: what was not sent is cancelled; what was, is amended if something else of the same group
//! and kind comes in its place in the same tick, else withdrawn ([`super::ledger::book`]).

use std::sync::Arc;

use arrow::array::AsArray;
use highwater_engine::error::chain;
use highwater_engine::model::Progress;
use highwater_engine::sink::{Sink, SinkError, SinkReport, SinkRequest, SinkState, SinkTick};
use serde_json::{Value, json};

use super::Message;
use super::channel::Channel;
use super::clock::Clock;
use super::ledger::Ledger;
use super::ledger::book::{Book, Position};
use super::ledger::queue::Queue;
use super::meters::Meters;
use super::pace::millis;
use super::sender::{Sender, Work};
use super::settings::Settings;
use crate::common::counted;

/// The rows of a tick: what is gone, and what came, in the order in which it is told.
pub(super) fn read_tick(tick: &SinkTick<'_>) -> (Vec<Message>, Vec<Message>) {
    let (mut gone, mut came) = (Vec::new(), Vec::new());
    for delta in tick.changes {
        let decisions = delta.batch.column_by_name("decision").map(|column| column.as_string::<i32>());
        for row in 0..delta.len() {
            let mut message = Message::read(&delta.batch, row);
            let suppressed = decisions.is_some_and(|decisions| decisions.value(row) == "suppress");
            message.suppressed_by =
                suppressed.then(|| message.suppressed_by.take().unwrap_or_else(|| "not_wanted".to_owned()));
            if delta.diffs.at(row) < 0 { gone.push(message) } else { came.push(message) }
        }
    }
    came.sort_by(|a, b| a.told_order().cmp(&b.told_order()));
    // What was told last is taken back first: an end before its beginning, so that a service that keeps
    // incidents ends with none.
    gone.sort_by(|a, b| b.told_order().cmp(&a.told_order()));
    (gone, came)
}

/// Where this run stands to the former one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing has come yet.
    Fresh,
    /// It is going on.
    Under,
}

pub(super) struct Outbox {
    request: SinkRequest,
    settings: Settings,
    ledger: Ledger,
    channel: Arc<dyn Channel>,
    clock: Arc<dyn Clock>,
    meters: Meters,
    sender: Option<Sender>,
    start: Start,
    /// Notifications of which the ledger knows more than this run.
    doubts: u64,
    /// Whether this run has had ticks of many blocks, so that its ticks are not those of the former one.
    wide: bool,
    finalized_number: Option<u64>,
    counts: (u64, u64),
}

impl Outbox {
    pub(super) fn open(
        request: SinkRequest,
        settings: Settings,
        channel: Arc<dyn Channel>,
        clock: Arc<dyn Clock>,
    ) -> Result<Outbox, SinkError> {
        if request.ledger.is_none() {
            let message = "alerts are kept in memory: what is not sent when the process ends is lost; give --state";
            tracing::warn!(sink = request.name, "{message}");
        }
        let ledger = Ledger::open(request.ledger.as_deref())?;
        let (sink, now_ms) = (request.name.clone(), clock.now_ms());
        let recovered =
            ledger.transaction("writing to", |transaction| Queue { transaction, sink: &sink, now_ms }.recover())?;
        if recovered > 0 {
            tracing::warn!(sink, recovered, "the last run ended while alerts were on their way; they are sent again");
        }
        let meters = Meters::new(&request.metrics, &request.name);
        Ok(Outbox {
            request,
            settings,
            ledger,
            channel,
            clock,
            meters,
            sender: None,
            start: Start::Fresh,
            doubts: 0,
            wide: false,
            finalized_number: None,
            counts: (0, 0),
        })
    }

    /// Works on the ledger in one transaction.
    fn book<T>(&self, work: impl FnOnce(&mut Book<'_>) -> rusqlite::Result<T>) -> Result<T, SinkError> {
        let done = self.ledger.transaction("writing to", |transaction| {
            let corrections = self.settings.corrections;
            let (sink, now_ms) = (self.request.name.as_str(), self.clock.now_ms());
            let mut book = Book { transaction, sink, now_ms, corrections, done: Default::default() };
            let result = work(&mut book)?;
            Ok((result, book.done))
        });
        let (result, done) = done?;
        self.meters.add(&done);
        Ok(result)
    }

    fn wake(&mut self) -> Result<(), SinkError> {
        if let Some(sender) = &self.sender {
            sender.wake();
            return Ok(());
        }
        let work = Work {
            sink: self.request.name.clone(),
            ledger: self.ledger.clone(),
            channel: self.channel.clone(),
            settings: self.settings.clone(),
            clock: self.clock.clone(),
            meters: self.meters.clone(),
        };
        let started = Sender::start(work).map_err(|error| SinkError::Write {
            action: "starting",
            place: format!("the sender of {}", self.request.name),
            source: error.into(),
        });
        self.sender = Some(started?);
        Ok(())
    }

    /// A run that nobody told where to go on begins with its first tick.
    fn begin(&mut self, progress: &Progress) -> Result<(), SinkError> {
        if self.start == Start::Under {
            return Ok(());
        }
        let first_block = number(progress.head_number.saturating_add(1).saturating_sub(progress.applied_blocks));
        self.doubts = self.book(|book| {
            book.start_again(number(progress.tick), first_block)?;
            book.doubts()
        })?;
        self.start = Start::Under;
        self.wake()
    }
}

/// A height or a tick as SQLite keeps it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Whether this run is as far as the former one: it has passed the former one's last tick; or, if its ticks
/// are other ones, the height; or nothing comes any more.
fn is_settled(progress: &Progress, wide: bool, former: &Position) -> bool {
    progress.end_of_input
        || number(progress.tick) >= former.last_tick
        || (wide && number(progress.head_number) >= former.last_head)
}

impl Sink for Outbox {
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        let progress = tick.progress;
        self.begin(progress)?;
        self.finalized_number = progress.finalized_number;
        self.wide |= progress.reorg.is_none() && progress.applied_blocks > 1;
        let (gone, came) = read_tick(&tick);
        if gone.is_empty() && came.is_empty() && self.doubts == 0 {
            return Ok(());
        }
        let wide = self.wide;
        self.doubts = self.book(|book| {
            book.tick(progress, &gone, &came, |former| is_settled(progress, wide, former))?;
            book.doubts()
        })?;
        self.counts.0 += u64::try_from(came.len()).unwrap_or(u64::MAX);
        self.counts.1 += u64::try_from(gone.len()).unwrap_or(u64::MAX);
        self.wake()
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        let finalized_number = self.finalized_number;
        let turn = self.book(|book| {
            if let Some(number) = finalized_number {
                book.forget_final(number)?;
            }
            Ok(book.position()?.turn)
        })?;
        let facts = json!({ "turn": turn, "inserted": self.counts.0, "retracted": self.counts.1 });
        Ok(SinkState { facts, rows: Vec::new() })
    }

    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError> {
        let fact = |name: &str| state.facts.get(name).and_then(Value::as_u64);
        let turn = fact("turn").map(number).ok_or_else(|| SinkError::Write {
            action: "going back in",
            place: format!("the ledger of {}", self.request.name),
            source: "the saved state has no turn".into(),
        })?;
        self.counts = (fact("inserted").unwrap_or(0), fact("retracted").unwrap_or(0));
        self.doubts = self.book(|book| {
            book.go_back(turn)?;
            book.doubts()
        })?;
        self.start = Start::Under;
        self.wake()
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        let deadline_ms = self.clock.now_ms().saturating_add(millis(self.settings.drain));
        if let Some(mut sender) = self.sender.take()
            && !sender.drain(deadline_ms)
        {
            tracing::error!(sink = self.request.name, "the sender of alerts broke down, which is a bug");
        }
        let (sink, now_ms) = (self.request.name.as_str(), self.clock.now_ms());
        let counted_states = self.ledger.read(|transaction| {
            let queue = Queue { transaction, sink, now_ms };
            Ok((queue.count("sent")?, queue.open()?, queue.count("dead")?, queue.count("suppressed")?))
        });
        let place = match counted_states {
            Ok((sent, waiting, dead, suppressed)) => {
                let mut place = format!("{} sent to {}", counted(sent, "message"), self.channel.place());
                for (count, state) in [(waiting, "waiting"), (dead, "dead"), (suppressed, "suppressed")] {
                    if count > 0 {
                        place.push_str(&format!(", {count} {state}"));
                    }
                }
                place
            }
            Err(error) => chain(&error),
        };
        let (inserted, retracted) = self.counts;
        Ok(SinkReport { inserted, retracted, place })
    }
}
