//! The contract of sources.
//!
//! A [`SourceConnector`] is one line in the list of connectors. [`SourceConnector::open`] reads the
//! options and gives a [`Source`] that knows its tables; [`Source::start`] gives a [`SourceReader`]
//! that is pulled from its own thread.
//!
//! A reader hands over blocks in the order in which they became canonical. A run of blocks that does
//! not extend the previous head is a reorg: the engine takes back the old branch down to the parent of
//! the run's first block and adds the run, in one tick. Sources never send retractions themselves.

use arrow::datatypes::SchemaRef;

use crate::error::{BoxError, Class, Classified};
use crate::metrics::Registry;
use crate::model::{BlockHash, BlockRef, BlockRun};
use crate::options::{OptionDoc, OptionError, Options};

/// A kind of source, such as `recording`.
pub trait SourceConnector: Sync {
    /// The word in `WITH (connector = '…')`.
    fn name(&self) -> &'static str;
    /// One sentence.
    fn about(&self) -> &'static str;
    /// The options it takes.
    fn options(&self) -> &'static [OptionDoc];
    /// Reads the options (and calls [`Options::finish`]) and looks at what is there, so that `check` finds mistakes.
    fn open(&self, options: Options) -> Result<Box<dyn Source>, SourceError>;
}

/// An opened source: its tables are known, nothing runs yet.
pub trait Source: Send {
    /// The tables it offers. The first five columns of a chain table are `chain, chain_id,
    /// block_number, block_hash, block_timestamp`; a column file may lack some of them.
    fn tables(&self) -> Vec<TableSchema>;

    /// The id of the chain it reads, if it knows that before it reads.
    fn chain_id(&self) -> Option<u64> {
        None
    }

    /// How many blocks one tick should hold: 1 for live chains, more for history.
    fn blocks_per_tick(&self) -> usize {
        1
    }

    /// How many blocks the source will deliver, if it knows: for progress bars.
    fn block_count_hint(&self) -> Option<u64> {
        None
    }

    /// Starts reading.
    fn start(self: Box<Self>, request: ReadRequest) -> Result<Box<dyn SourceReader>, SourceError>;
}

/// One table of a source.
#[derive(Clone, Debug)]
pub struct TableSchema {
    /// Name without the source.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
}

/// What a job wants of a source.
#[derive(Clone, Debug, Default)]
pub struct ReadRequest {
    /// The tables, in the order in which [`BlockRun::tables`] must have them.
    pub tables: Vec<TableRequest>,
    /// First block wanted, inclusive.
    pub from_block: Option<u64>,
    /// Last block wanted, inclusive.
    pub to_block: Option<u64>,
    /// Continue after this cursor (as given by [`SourceEvent::Blocks`]) instead of from the start.
    pub resume: Option<u64>,
    /// When going on: the chain as the job knows it, the newest final block and the blocks above it,
    /// oldest first. A source that follows a live chain looks here for the block where the chain it sees
    /// now leaves the one the job knows, so that a reorg during the pause is found. Sources that read
    /// files have no use for it. May be empty.
    pub known: Vec<BlockRef>,
    /// Where the reader counts what it does.
    pub metrics: Registry,
}

/// One wanted table.
#[derive(Clone, Debug)]
pub struct TableRequest {
    /// Name without the source.
    pub name: String,
    /// Indices of the wanted columns in the table's schema, ascending. The batches hold just these.
    pub columns: Vec<usize>,
}

/// What a reader hands over.
#[derive(Debug)]
pub enum SourceEvent {
    /// Blocks that are canonical now.
    Blocks {
        /// The blocks.
        run: BlockRun,
        /// Opaque position after this run, for [`ReadRequest::resume`].
        cursor: u64,
        /// Height of the newest final block, if the source knows more than before.
        finalized: Option<u64>,
    },
    /// Something was skipped and counted, and the stream goes on (a log that cannot be decoded).
    Skipped {
        /// How many.
        count: u64,
        /// What and why, for the log.
        reason: String,
    },
    /// Nothing for now; ask again (the reader has waited a little itself).
    Idle,
    /// The source has ended.
    End,
}

/// A running source, pulled by one thread.
pub trait SourceReader: Send {
    /// The next event. May block, but not for ever: `Idle` at least every 100 ms.
    fn next(&mut self) -> Result<SourceEvent, SourceError>;
}

/// A source failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// An option is wrong.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A file or endpoint could not be read.
    #[error("{action} {place} failed")]
    Read {
        /// What was being done: `reading`, `opening`.
        action: &'static str,
        /// Of what, with line or row where there is one.
        place: String,
        /// Why.
        source: BoxError,
    },
    /// What was read is not what it should be.
    #[error("{place}: {detail}")]
    Malformed {
        /// Where: file and line, or endpoint.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// A block broke a rule of validation and was not used.
    #[error("block {number} ({hash}) of {place} breaks rule {rule}: {detail}")]
    InvalidBlock {
        /// Where it came from.
        place: String,
        /// Its height.
        number: u64,
        /// Its hash as given.
        hash: String,
        /// Stable name of the rule, such as `receipt-count`.
        rule: &'static str,
        /// What differs.
        detail: String,
    },
    /// The chain the endpoints agree on has left the one that was delivered below finality.
    #[error(
        "block {number} ({hash}) of {place} forks below final block {finalized}; what was delivered up to it cannot be taken back. Check the endpoints; if the chain was really rewritten, start again with --reset"
    )]
    ForkBelowFinality {
        /// Who says so.
        place: String,
        /// Height of the lowest block of the other branch that was seen.
        number: u64,
        /// Its hash.
        hash: BlockHash,
        /// Height of the newest final block.
        finalized: u64,
    },
    /// An endpoint serves another chain than the job is about.
    #[error("{place} serves chain id {found}, but {expected} is wanted; correct the option url or chain")]
    WrongChain {
        /// The endpoint.
        place: String,
        /// The chain id it answers with.
        found: u64,
        /// The chain id that is wanted.
        expected: u64,
    },
}

impl Classified for SourceError {
    fn class(&self) -> Class {
        match self {
            SourceError::Option(error) => error.class(),
            SourceError::Read { .. } => Class::TRANSIENT,
            SourceError::Malformed { .. }
            | SourceError::InvalidBlock { .. }
            | SourceError::ForkBelowFinality { .. } => Class::EXTERNAL,
            SourceError::WrongChain { .. } => Class::USER,
        }
    }
}
