//! A folder of JSON-RPC results: line `n` of each file is about the same block.

use std::collections::VecDeque;

use highwater_engine::model::BlockRef;
use highwater_engine::source::{ReadRequest, SourceError, SourceEvent, SourceReader};

use super::lines::Lines;
use super::options::{Files, Settings, require};
use crate::evm::ingest::{BlockData, EvmIngest, Needs, parse};
use crate::evm::json::Block;
use crate::evm::json::reader::Json;
use crate::range::BlockRange;

/// Delivers one block a run, in the order of the file.
pub(super) struct FolderReader {
    blocks: Lines,
    receipts: Option<Lines>,
    traces: Option<Lines>,
    ingest: EvmIngest,
    range: BlockRange,
    confirmations: u64,
    allow_gaps: bool,
    /// The block delivered last.
    previous: Option<BlockRef>,
    waiting: VecDeque<SourceEvent>,
}

impl FolderReader {
    pub(super) fn start(
        settings: &Settings,
        ingest: EvmIngest,
        request: &ReadRequest,
    ) -> Result<FolderReader, SourceError> {
        let Files::Folder { blocks, receipts, traces } = &settings.files else {
            unreachable!("the caller chose by the kind of files")
        };
        let Needs { receipts: need_receipts, traces: need_traces } = ingest.needs();
        if need_receipts {
            require(receipts, "receipts", "logs, token transfers or the outcome of transactions")?;
        }
        if need_traces {
            require(traces, "traces", "the table traces")?;
        }
        let mut reader = FolderReader {
            blocks: Lines::open(blocks)?,
            receipts: need_receipts.then(|| Lines::open(receipts)).transpose()?,
            traces: need_traces.then(|| Lines::open(traces)).transpose()?,
            ingest,
            range: BlockRange::of(request),
            confirmations: settings.confirmations.unwrap_or(0),
            allow_gaps: settings.allow_gaps,
            previous: None,
            waiting: VecDeque::new(),
        };
        if let Some(cursor) = request.resume {
            reader.resume_after(cursor)?;
        }
        Ok(reader)
    }

    /// Passes over the first `cursor` lines and learns which block was delivered last.
    fn resume_after(&mut self, cursor: u64) -> Result<(), SourceError> {
        if cursor == 0 {
            return Ok(());
        }
        if !self.blocks.skip(cursor)? {
            let detail = format!("the file ends before line {cursor}, where reading should go on");
            return Err(SourceError::Malformed { place: self.blocks.place().to_string(), detail });
        }
        for lines in [&mut self.receipts, &mut self.traces].into_iter().flatten() {
            lines.skip(cursor)?;
        }
        // Only delivered blocks have a cursor, so the line read last holds the block delivered last.
        let place = self.blocks.place();
        let block: Block<'_> = parse(&place, "the block", self.blocks.text()?)?;
        self.previous = crate::evm::ingest::block_ref(&block).ok();
        Ok(())
    }

    /// Reads the next block; false at the end.
    fn read_block(&mut self) -> Result<bool, SourceError> {
        if !self.blocks.advance()? {
            return Ok(false);
        }
        for (lines, what) in [(&mut self.receipts, "receipts"), (&mut self.traces, "traces")] {
            let Some(lines) = lines else { continue };
            if !lines.advance()? {
                let detail = format!("the file of {what} ends here, but there are more blocks");
                return Err(SourceError::Malformed { place: lines.place().to_string(), detail });
            }
        }
        let text = self.blocks.text()?;
        if text.is_empty() {
            return Ok(true);
        }
        let place = self.blocks.place();
        let block: Block<'_> = parse(&place, "the block", text)?;
        let number = block.number.u64().ok();
        if number.is_some_and(|number| !self.range.contains(number)) {
            return Ok(!number.is_some_and(|number| self.range.is_after(number)));
        }
        let data = BlockData {
            block,
            receipts: parse_line(self.receipts.as_ref(), "the receipts")?,
            traces: parse_line(self.traces.as_ref(), "the traces")?,
            ..BlockData::default()
        };
        let block = self.ingest.push_data(&place, data)?;
        self.deliver(block)?;
        Ok(true)
    }

    fn deliver(&mut self, block: BlockRef) -> Result<(), SourceError> {
        let mut run = self.ingest.finish()?;
        if let Some(previous) = self.previous.filter(|previous| block.number > previous.number + 1) {
            if !self.allow_gaps {
                let detail = format!(
                    "blocks {} to {} are missing (option gaps = 'allow' accepts that)",
                    previous.number + 1,
                    block.number - 1
                );
                return Err(SourceError::Malformed { place: self.blocks.place().to_string(), detail });
            }
            // The engine follows a chain; across a gap the block before it stands in for the parent.
            if let Some(first) = run.blocks.first_mut() {
                first.parent = previous.hash;
            }
        }
        self.previous = Some(block);
        let finalized = block.number.checked_sub(self.confirmations);
        self.waiting.push_back(SourceEvent::Blocks { run, cursor: self.blocks.line(), finalized });
        if let Some(skipped) = self.ingest.take_skipped() {
            self.waiting.push_back(SourceEvent::Skipped { count: skipped.count, reason: skipped.reason });
        }
        Ok(())
    }
}

fn parse_line<'a, T: Json<'a>>(lines: Option<&'a Lines>, what: &str) -> Result<Option<T>, SourceError> {
    lines.map(|lines| parse(&lines.place(), what, lines.text()?)).transpose()
}

impl SourceReader for FolderReader {
    fn next(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            if !self.read_block()? {
                return Ok(SourceEvent::End);
            }
        }
    }
}
