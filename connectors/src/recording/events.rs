//! A file of block events: a chain as it was seen live, competing branches included.
//!
//! Each line has a block with its receipts and an `event`:
//!
//! * `setup`, `head` or nothing: the block became the head.
//! * `branch_old`: the same, but the block will lose; it was canonical until then.
//! * `branch_new`: a block of the branch that wins. A row of them, each the parent of the next, is
//!   handed over as one run, which makes it one atomic reorg.
//!
//! `finalized` is the newest final height when the block came; without it, so many blocks below the head.
//! A line without a block announces a head whose block stands on a line of its own; it says nothing new.

use std::borrow::Cow;
use std::collections::VecDeque;

use highwater_engine::model::{BlockHash, BlockRef};
use highwater_engine::source::{ReadRequest, SourceError, SourceEvent, SourceReader};

use super::lines::{LinePlace, Lines};
use super::options::{Files, LIVE_CONFIRMATIONS, Settings, require};
use crate::evm::field::Field;
use crate::evm::ingest::{BlockData, EvmIngest, Needs, parse};
use crate::evm::json::shape::{PassedOver, object};
use crate::evm::json::{Block, PoolAnswer, Receipt, TraceItem};
use crate::range::BlockRange;

struct Event<'a, R> {
    event: Option<Cow<'a, str>>,
    block: Option<Block<'a>>,
    receipts: Option<R>,
    finalized: Field<'a>,
    /// What the node answered about pools of the block.
    pools: Vec<PoolAnswer<'a>>,
}

impl<R> Default for Event<'_, R> {
    fn default() -> Self {
        Event { event: None, block: None, receipts: None, finalized: Field::Absent, pools: Vec::new() }
    }
}

object!(Event<R>, Other, { "event" => event, "block" => block, "receipts" => receipts, "finalized" => finalized, "pools" => pools, });

#[derive(Default)]
struct TraceLine<'a> {
    trace_block: Option<Vec<TraceItem<'a>>>,
    call_tracer: Option<Vec<TraceItem<'a>>>,
}

object!(TraceLine, Other, { "trace_block" => trace_block, "callTracer" => call_tracer, });

/// What a line turned out to be.
enum Taken {
    /// Nothing to deliver.
    Nothing,
    /// A block that is a run of its own.
    Single,
    /// A block of the branch that wins.
    Branch,
}

/// Delivers one block a run, and a whole new branch as one run.
pub(super) struct EventReader {
    lines: Lines,
    traces: Option<Lines>,
    ingest: EvmIngest,
    needs: Needs,
    range: BlockRange,
    /// How many blocks must follow a final one, whatever the lines say.
    confirmations: Option<u64>,
    /// The newest height that a line called final.
    finalized: Option<u64>,
    /// The first block of the file and its parent. Both branches of a reorg that began below it start there, so
    /// they need one parent.
    first: Option<(u64, BlockHash)>,
    /// The line under `lines` was read but not used.
    line_waits: bool,
    waiting: VecDeque<Result<SourceEvent, SourceError>>,
}

impl EventReader {
    pub(super) fn start(
        settings: &Settings,
        ingest: EvmIngest,
        request: &ReadRequest,
    ) -> Result<EventReader, SourceError> {
        let Files::Events { blocks, traces } = &settings.files else {
            unreachable!("the caller chose by the kind of files")
        };
        let needs = ingest.needs();
        if needs.traces {
            require(traces, "traces", "the table traces")?;
        }
        let mut reader = EventReader {
            lines: Lines::open(blocks)?,
            traces: needs.traces.then(|| Lines::open(traces)).transpose()?,
            ingest,
            needs,
            range: BlockRange::of(request),
            confirmations: settings.confirmations,
            finalized: None,
            first: None,
            line_waits: false,
            waiting: VecDeque::new(),
        };
        let done = request.resume.unwrap_or(0);
        if !reader.skip(done)? {
            let detail = format!("the file ends before line {done}, where reading should go on");
            return Err(SourceError::Malformed { place: reader.lines.place().to_string(), detail });
        }
        if let Some(traces) = &mut reader.traces {
            traces.skip(done)?;
        }
        Ok(reader)
    }

    /// Passes over lines, but not without a look at the first block.
    fn skip(&mut self, count: u64) -> Result<bool, SourceError> {
        for left in (0..count).rev() {
            if !self.lines.advance()? {
                return Ok(false);
            }
            let text = self.lines.text()?;
            if text.is_empty() {
                continue;
            }
            let line = read_event(&self.lines.place(), text, false)?;
            let Some(block) = line.block else { continue };
            self.first = block.number.u64().ok().zip(block.parent_hash.fixed().ok().map(BlockHash));
            return self.lines.skip(left);
        }
        Ok(true)
    }

    fn advance(&mut self) -> Result<bool, SourceError> {
        if std::mem::take(&mut self.line_waits) {
            return Ok(true);
        }
        if !self.lines.advance()? {
            return Ok(false);
        }
        if let Some(traces) = &mut self.traces
            && !traces.advance()?
        {
            let detail = "the file of traces ends here, but there are more blocks".to_owned();
            return Err(SourceError::Malformed { place: traces.place().to_string(), detail });
        }
        Ok(true)
    }

    /// Reads up to the end of the next run. False at the end of the file.
    fn read_run(&mut self) -> Result<bool, SourceError> {
        if !self.advance()? {
            return Ok(false);
        }
        match self.take_line(None)? {
            Taken::Nothing => return Ok(true),
            Taken::Single => self.deliver(self.lines.line())?,
            Taken::Branch => self.read_branch()?,
        }
        Ok(true)
    }

    /// Gathers the branch that the block taken last begins.
    fn read_branch(&mut self) -> Result<(), SourceError> {
        loop {
            let cursor = self.lines.line();
            let tip = self.ingest.last_block();
            let taken = match self.advance() {
                Ok(true) => self.take_line(tip),
                Ok(false) => return self.deliver(cursor),
                Err(error) => Err(error),
            };
            match taken {
                Ok(Taken::Branch) => {}
                Ok(Taken::Nothing) => {
                    self.line_waits = true;
                    return self.deliver(cursor);
                }
                Ok(Taken::Single) => unreachable!("only blocks that continue the branch are taken"),
                Err(error) => {
                    // What was read before the fault counts.
                    self.deliver(cursor)?;
                    self.waiting.push_back(Err(error));
                    return Ok(());
                }
            }
        }
    }

    /// Takes the block of the current line in. After `tip`, only a block that continues that branch is
    /// taken, and anything else is nothing.
    fn take_line(&mut self, tip: Option<BlockRef>) -> Result<Taken, SourceError> {
        let place = self.lines.place();
        let text = self.lines.text()?;
        if text.is_empty() {
            return Ok(Taken::Nothing);
        }
        let line = read_event(&place, text, self.needs.receipts)?;
        let Some(block) = line.block else { return Ok(Taken::Nothing) };
        let is_branch = line.event.as_deref() == Some("branch_new");
        if let Some(tip) = tip
            && !(is_branch && block.parent_hash.fixed() == Ok(tip.hash.0))
        {
            return Ok(Taken::Nothing);
        }
        if self.first.is_none() {
            self.first = block.number.u64().ok().zip(block.parent_hash.fixed().ok().map(BlockHash));
        }
        if block.number.u64().is_ok_and(|number| !self.range.contains(number)) {
            return Ok(Taken::Nothing);
        }
        if self.needs.receipts && line.receipts.is_none() {
            let detail = "the line has no receipts, and wanted columns need them".to_owned();
            return Err(SourceError::Malformed { place: place.to_string(), detail });
        }
        let traces = self.traces.as_ref().map(read_traces).transpose()?;
        self.ingest.push_data(&place, BlockData { block, receipts: line.receipts, traces, pools: line.pools })?;
        self.finalized = self.finalized.max(line.finalized.u64().ok());
        Ok(if is_branch { Taken::Branch } else { Taken::Single })
    }

    fn deliver(&mut self, cursor: u64) -> Result<(), SourceError> {
        let mut run = self.ingest.finish()?;
        for block in &mut run.blocks {
            if block.number == self.range.from && self.range.from > 0 {
                // Both branches of a reorg that began below the first wanted block start there, so
                // they need one parent.
                block.parent = BlockHash::default();
            } else if let Some((number, parent)) = self.first
                && block.number == number
            {
                block.parent = parent;
            }
        }
        let newest = run.blocks.last().map(|block| block.number);
        let finalized = match (self.confirmations, self.finalized) {
            (None, Some(finalized)) => newest.map(|newest| newest.min(finalized)),
            (confirmations, _) => {
                newest.and_then(|newest| newest.checked_sub(confirmations.unwrap_or(LIVE_CONFIRMATIONS)))
            }
        };
        self.waiting.push_back(Ok(SourceEvent::Blocks { run, cursor, finalized }));
        if let Some(skipped) = self.ingest.take_skipped() {
            self.waiting.push_back(Ok(SourceEvent::Skipped { count: skipped.count, reason: skipped.reason }));
        }
        Ok(())
    }
}

fn read_event<'a>(
    place: &LinePlace<'_>,
    text: &'a str,
    with_receipts: bool,
) -> Result<Event<'a, Vec<Receipt<'a>>>, SourceError> {
    if with_receipts {
        return parse(place, "the event", text);
    }
    let line: Event<'a, PassedOver> = parse(place, "the event", text)?;
    Ok(Event { event: line.event, block: line.block, receipts: None, finalized: line.finalized, pools: line.pools })
}

fn read_traces(lines: &Lines) -> Result<Vec<TraceItem<'_>>, SourceError> {
    let line: TraceLine<'_> = parse(&lines.place(), "the traces", lines.text()?)?;
    Ok(line.trace_block.or(line.call_tracer).unwrap_or_default())
}

impl SourceReader for EventReader {
    fn next(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            if !self.read_run()? {
                return Ok(SourceEvent::End);
            }
        }
    }
}
