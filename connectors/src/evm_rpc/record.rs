//! The option `record`: every delivered block as a line of the form that the connector `recording` reads.
//!
//! A run that takes blocks back is a run of `branch_new` lines, anything else are `head` lines; what the
//! node said about finality at that moment is on each line. So the recording replays as the same runs.
//!
//! A recording goes on where it ends. Blocks that it holds already are not written again, and one that leaves
//! the recorded chain is a branch of it, also if the reorg happened while nobody was recording.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use highwater_engine::model::BlockHash;
use highwater_engine::source::SourceError;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fetch::Fetched;
use super::header::Header;
use super::options::TraceApi;
use crate::recording::Appender;

/// Writes a recording.
pub(super) struct Recorder {
    path: PathBuf,
    blocks: Appender,
    traces: Option<Appender>,
    api: TraceApi,
    /// What the lines say about the chain's id, once it is known.
    pub(super) chain_id: u64,
    /// The recorded canonical chain, oldest first; without what is final and behind.
    chain: Vec<(u64, BlockHash)>,
    /// Whether `chain` begins with the first block of the recording, which may be replaced.
    from_first: bool,
    finalized: Option<u64>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    block: Option<&'a RawValue>,
    #[serde(default)]
    finalized: Option<u64>,
}

impl Recorder {
    /// A recorder into this file, and into the file of traces beside it if the job reads traces.
    ///
    /// # Errors
    /// A file cannot be read or written, or holds something else than a chain.
    pub(super) fn open(path: &Path, api: TraceApi) -> Result<Recorder, SourceError> {
        let blocks = Appender::open(path, None)?;
        let mut recorder = Recorder {
            path: path.to_owned(),
            blocks,
            traces: None,
            api,
            chain_id: 1,
            chain: Vec::new(),
            from_first: true,
            finalized: None,
        };
        let lines = recorder.read()?;
        if api != TraceApi::Off {
            let name =
                if path.extension().is_some_and(|end| end == "gz") { "traces.ndjson.gz" } else { "traces.ndjson" };
            recorder.traces = Some(Appender::open(&path.with_file_name(name), Some(lines))?);
        }
        Ok(recorder)
    }

    /// Reads what was recorded, and counts its lines.
    fn read(&mut self) -> Result<u64, SourceError> {
        let mut lines = self.blocks.lines()?;
        while lines.advance()? {
            let malformed = |detail| SourceError::Malformed { place: lines.place().to_string(), detail };
            let text = lines.text()?;
            if text.is_empty() {
                continue;
            }
            let line: Line<'_> = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
            let Some(block) = line.block else { continue };
            let header = Header::read(block.get()).map_err(malformed)?;
            let keep = self.fork(header).ok_or_else(|| malformed("the block does not follow the chain".to_owned()))?;
            self.chain.truncate(keep);
            self.chain.push((header.number, header.hash));
            self.finalized = self.finalized.max(line.finalized);
        }
        Ok(lines.line())
    }

    /// Where a run should begin that goes on with the recording: the newest recorded block that is final, so
    /// that every branch that may still come leaves the chain in sight.
    pub(super) fn begin(&self) -> Option<u64> {
        let (first, _) = *self.chain.first()?;
        Some(self.finalized.map_or(first, |finalized| finalized.max(first)))
    }

    /// Writes what of a run of blocks is not recorded yet.
    ///
    /// # Errors
    /// A file cannot be written, or the blocks do not follow what is recorded.
    pub(super) fn write(&mut self, run: &[Fetched], finalized: Option<u64>) -> Result<(), SourceError> {
        let Some(known) = run.iter().position(|fetched| !self.holds(fetched.header)) else { return Ok(()) };
        let run = &run[known..];
        let keep = self.fork(run[0].header).ok_or_else(|| self.does_not_follow(run[0].header))?;
        let event = if keep == self.chain.len() { "head" } else { "branch_new" };
        self.finalized = self.finalized.max(finalized);
        let mut lines = Vec::new();
        let mut trace_lines = Vec::new();
        for fetched in run {
            self.push_line(&mut lines, event, fetched);
            if let Some(traces) = &fetched.traces {
                let key = if self.api == TraceApi::Geth { "callTracer" } else { "trace_block" };
                trace_lines.extend_from_slice(format!("{{\"{key}\":").as_bytes());
                push_text(&mut trace_lines, traces);
                trace_lines.extend_from_slice(b"}\n");
            }
        }
        // Traces first: lines that have no block yet can be cut off, a block without traces cannot.
        if let Some(traces) = &mut self.traces {
            traces.append(&trace_lines)?;
        }
        self.blocks.append(&lines)?;
        self.chain.truncate(keep);
        self.chain.extend(run.iter().map(|fetched| (fetched.header.number, fetched.header.hash)));
        self.forget();
        Ok(())
    }

    fn push_line(&self, lines: &mut Vec<u8>, event: &str, fetched: &Fetched) {
        let Header { number, hash, .. } = fetched.header;
        let written = write!(
            lines,
            "{{\"event\":\"{event}\",\"chain_id\":{},\"number\":{number},\"hash\":\"{hash}\"",
            self.chain_id
        );
        written.expect("writing to memory does not fail");
        if let Some(finalized) = self.finalized {
            write!(lines, ",\"finalized\":{finalized}").expect("writing to memory does not fail");
        }
        lines.extend_from_slice(b",\"block\":");
        push_text(lines, &fetched.block);
        if let Some(receipts) = &fetched.receipts {
            lines.extend_from_slice(b",\"receipts\":");
            push_text(lines, receipts);
        }
        if let Some(pools) = &fetched.pools {
            lines.extend_from_slice(b",\"pools\":");
            push_text(lines, pools);
        }
        lines.extend_from_slice(b"}\n");
    }

    fn holds(&self, header: Header) -> bool {
        self.at(header.number).is_some_and(|index| self.chain[index].1 == header.hash)
    }

    /// Where the recorded block of this height is.
    fn at(&self, number: u64) -> Option<usize> {
        let (first, _) = *self.chain.first()?;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        (index < self.chain.len()).then_some(index)
    }

    /// How many blocks of the chain stay if this one is next; `None` if it does not link.
    fn fork(&self, header: Header) -> Option<usize> {
        let Some((first, _)) = self.chain.first() else { return Some(0) };
        if header.number == *first {
            return self.from_first.then_some(0);
        }
        let index = self.at(header.number.checked_sub(1)?)?;
        (self.chain[index].1 == header.parent).then_some(index + 1)
    }

    /// Drops what no branch can reach any more.
    fn forget(&mut self) {
        let reachable = self.finalized.and_then(|finalized| self.at(finalized)).unwrap_or(0);
        // Not block by block, which would move all the others each time.
        if reachable > 1_000 {
            self.chain.drain(..reachable);
            self.from_first = false;
        }
    }

    fn does_not_follow(&self, header: Header) -> SourceError {
        let held = match (self.chain.first(), self.chain.last()) {
            (Some((first, _)), Some((last, hash))) if self.from_first => format!("blocks {first} to {last} ({hash})"),
            (_, last) => last.map_or_else(String::new, |(last, hash)| format!("blocks up to {last} ({hash})")),
        };
        let detail = format!(
            "the recording holds {held}, and block {} ({}) with parent {} does not follow them; begin at one of them, or record into another file",
            header.number, header.hash, header.parent
        );
        SourceError::Malformed { place: self.path.display().to_string(), detail }
    }
}

/// The text on one line. Within strings JSON has no line breaks, so those that are there mean nothing.
fn push_text(line: &mut Vec<u8>, text: &RawValue) {
    let parts = text.get().as_bytes().split(|byte| matches!(byte, b'\n' | b'\r'));
    parts.for_each(|part| line.extend_from_slice(part));
}
