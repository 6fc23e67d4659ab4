//! Helpers for tests of sources, operators and sinks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;

use crate::Tick;
use crate::error::BoxError;
use crate::metrics::Registry;
use crate::model::{BlockHash, BlockRef, BlockRun, Delta, TableRows};
use crate::sink::{Delivery, Sink, SinkError, SinkReport, SinkRequest, SinkState, SinkTick, Terminal};
use crate::source::{SourceError, SourceEvent, SourceReader};

/// A block of a branch (any byte) at a height; 12 seconds a block. The parent is the given block, or
/// the same branch one lower.
pub fn block(branch: u8, number: u64, parent: Option<&BlockRef>) -> BlockRef {
    let parent = parent.map_or_else(|| hash(branch, number.wrapping_sub(1)), |parent| parent.hash);
    let timestamp_ms = i64::try_from(number).expect("small test heights") * 12_000;
    BlockRef { number, hash: hash(branch, number), parent, timestamp_ms }
}

/// The hash that [`block`] gives.
pub fn hash(branch: u8, number: u64) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[0] = branch;
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    BlockHash(bytes)
}

/// What a sink of a view is told: rows may be taken back and have no key, and nothing else is asked for.
pub fn sink_request(name: &str, view: &str, schema: SchemaRef) -> SinkRequest {
    SinkRequest {
        name: name.to_owned(),
        view: view.to_owned(),
        schema,
        key: None,
        closing: None,
        corrections: true,
        order: Vec::new(),
        terminal: Terminal::default(),
        out: None,
        ledger: None,
        delivery: Delivery::default(),
        metrics: Registry::default(),
    }
}

/// A run of blocks without tables.
pub fn run_of(blocks: &[BlockRef]) -> BlockRun {
    BlockRun { blocks: blocks.to_vec(), tables: Vec::new() }
}

/// A run of one block with rows.
pub fn run_with(block: BlockRef, tables: Vec<arrow::record_batch::RecordBatch>) -> BlockRun {
    let tables = tables.into_iter().map(|batch| TableRows { ends: vec![batch.num_rows()], batch }).collect();
    BlockRun { blocks: vec![block], tables }
}

/// A source that hands over prepared events.
#[derive(Debug)]
pub struct ScriptedReader {
    events: VecDeque<Result<SourceEvent, BoxError>>,
}

impl ScriptedReader {
    /// Hands over these events, then `End`.
    pub fn new(events: Vec<SourceEvent>) -> ScriptedReader {
        ScriptedReader { events: events.into_iter().map(Ok).collect() }
    }

    /// Adds a failure at the end.
    #[must_use]
    pub fn then_fail(mut self, why: &str) -> ScriptedReader {
        self.events.push_back(Err(why.into()));
        self
    }
}

impl SourceReader for ScriptedReader {
    fn next(&mut self) -> Result<SourceEvent, SourceError> {
        match self.events.pop_front() {
            Some(Ok(event)) => Ok(event),
            Some(Err(source)) => Err(SourceError::Read { action: "reading", place: "the script".to_owned(), source }),
            None => Ok(SourceEvent::End),
        }
    }
}

/// The changes a [`RecordingSink`] got, by tick.
pub type Recorded = Arc<Mutex<Vec<(Tick, Vec<Delta>)>>>;

/// A sink that keeps what it gets.
#[derive(Debug, Default)]
pub struct RecordingSink {
    recorded: Recorded,
}

impl RecordingSink {
    /// A sink and the handle to what it will have recorded. Ticks without changes are recorded too.
    pub fn new() -> (RecordingSink, Recorded) {
        let sink = RecordingSink::default();
        let recorded = sink.recorded.clone();
        (sink, recorded)
    }
}

impl Sink for RecordingSink {
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError> {
        self.recorded.lock().expect("no test panics while holding this").push((tick.tick, tick.changes.to_vec()));
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<SinkState, SinkError> {
        Ok(SinkState::default())
    }

    fn restore(&mut self, _state: &SinkState) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, SinkError> {
        Ok(SinkReport::default())
    }
}
