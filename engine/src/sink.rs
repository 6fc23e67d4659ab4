//! The contract of sinks.
//!
//! The engine calls [`Sink::commit`] once for every sealed tick that changed the sink's view or its
//! finality, in tick order, with the consolidated changes. A sink never sees two changes of one tick
//! that cancel. [`Sink::checkpoint`] makes everything committed so far durable and returns what
//! [`Sink::restore`] needs to go on from there; after a restart ticks past the checkpoint are sent
//! again, so `restore` must first take back what was written after it.

use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::Tick;
use crate::error::{BoxError, Class, Classified};
use crate::metrics::Registry;
use crate::model::{Delta, Progress};
use crate::options::{OptionDoc, OptionError, Options};

/// A kind of sink, such as `parquet`.
pub trait SinkConnector: Sync {
    /// The word in `WITH (connector = '…')`.
    fn name(&self) -> &'static str;
    /// One sentence.
    fn about(&self) -> &'static str;
    /// The options it takes.
    fn options(&self) -> &'static [OptionDoc];
    /// Whether it shows the notifications of an alert ([`crate::model::alert::notification_schema`]) rather
    /// than its stories. A sink that only shows notifications refuses other views in [`SinkConnector::check`].
    fn notifications(&self) -> Notifications {
        Notifications::Never
    }
    /// Checks options without touching anything: what `check` calls. Calls [`Options::finish`].
    fn check(&self, request: &SinkRequest, options: Options) -> Result<(), SinkError>;
    /// Opens the sink. Calls [`Options::finish`].
    fn open(&self, request: SinkRequest, options: Options) -> Result<Box<dyn Sink>, SinkError>;
}

/// What a kind of sink does with an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notifications {
    /// It shows any view; of an alert, the stories.
    Never,
    /// It shows any view; of an alert, the notifications.
    OfAlerts,
    /// It delivers notifications and nothing else.
    Only,
}

/// When rows of a view are final, read off the rows themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// A row cannot change once [`Progress::is_time_final`] holds for this timestamp column (milliseconds).
    Time(usize),
    /// A row cannot change once [`Progress::is_final`] holds for this `Int64` block-number column.
    Block(usize),
}

/// What a sink is opened for.
#[derive(Clone, Debug)]
pub struct SinkRequest {
    /// Name of the sink.
    pub name: String,
    /// Name of the view it shows.
    pub view: String,
    /// Columns of the view, with extension metadata.
    pub schema: SchemaRef,
    /// Columns that identify a row of the view (the grouping keys), if the view has such.
    pub key: Option<Vec<usize>>,
    /// When rows of the view are final, if that can be read off them.
    pub closing: Option<Closing>,
    /// Whether rows may be taken back after they were sent (false for `EMIT ON FINALITY`).
    pub corrections: bool,
    /// Column and direction (`true` = descending) in which rows are best shown, from the view's ORDER BY.
    pub order: Vec<(usize, bool)>,
    /// Where standard output goes.
    pub terminal: Terminal,
    /// The folder relative sink paths start from, if moved by `--out`.
    pub out: Option<PathBuf>,
    /// The file in which alert channels note what they are to send and have sent; none without a state
    /// directory: then that is lost with the process.
    pub ledger: Option<PathBuf>,
    /// Whether alert channels really send.
    pub delivery: Delivery,
    /// Where the sink's counters go.
    pub metrics: Registry,
}

/// Whether alert channels really send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delivery {
    /// Yes.
    #[default]
    Send,
    /// No: what would be sent is printed as JSON lines (`replay --dry-run`).
    Print,
    /// No (a replay without `--send`).
    Off,
}

/// What standard output is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Terminal {
    /// Whether a person looks at it.
    pub interactive: bool,
    /// Whether colour is wanted.
    pub colour: bool,
    /// Columns.
    pub width: u16,
}

/// The changes of one sealed tick for one sink.
#[derive(Debug)]
pub struct SinkTick<'a> {
    /// The tick.
    pub tick: Tick,
    /// The chain at this tick.
    pub progress: &'a Progress,
    /// Consolidated changes. If [`Sink::canonical_order`] is true: one delta, sorted by key, then
    /// retractions first, then row; the same bytes for any number of workers. Otherwise any number of
    /// deltas in any order, not consolidated.
    pub changes: &'a [Delta],
}

/// A running sink.
pub trait Sink: Send {
    /// Whether `commit` wants its changes consolidated and in canonical order.
    fn canonical_order(&self) -> bool {
        true
    }

    /// Takes the changes of one tick. Called for every tick, also without changes.
    fn commit(&mut self, tick: SinkTick<'_>) -> Result<(), SinkError>;

    /// Makes all committed ticks durable; the result goes into the checkpoint.
    fn checkpoint(&mut self) -> Result<SinkState, SinkError>;

    /// Goes back to a checkpoint: takes back whatever was written after it.
    fn restore(&mut self, state: &SinkState) -> Result<(), SinkError>;

    /// The job has ended: flush, close, report.
    fn finish(&mut self) -> Result<SinkReport, SinkError>;
}

/// What a sink needs to continue.
#[derive(Clone, Debug, Default)]
pub struct SinkState {
    /// Small facts as JSON (file lists, offsets).
    pub facts: serde_json::Value,
    /// Rows (the live part of a snapshot).
    pub rows: Vec<RecordBatch>,
}

/// What a sink has done, for the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Rows inserted.
    pub inserted: u64,
    /// Rows taken back.
    pub retracted: u64,
    /// Where it went, for the reader: `12 files in out/failure_rate`.
    pub place: String,
}

/// A sink failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// An option is wrong.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The view cannot be shown by this sink.
    #[error("sink \"{sink}\" cannot show view \"{view}\": {detail}")]
    Unsupported {
        /// The sink.
        sink: String,
        /// The view.
        view: String,
        /// Why, and what to do.
        detail: String,
    },
    /// Writing failed. Nothing committed before is lost.
    #[error("{action} {place} failed")]
    Write {
        /// What was being done: `writing`, `renaming`.
        action: &'static str,
        /// To what.
        place: String,
        /// Why.
        source: BoxError,
    },
    /// The reader of a pipe went away: a normal end.
    #[error("standard output was closed")]
    Closed,
}

impl Classified for SinkError {
    fn class(&self) -> Class {
        match self {
            SinkError::Option(error) => error.class(),
            SinkError::Unsupported { .. } => Class::USER,
            SinkError::Write { .. } => Class::TRANSIENT,
            SinkError::Closed => Class::EXTERNAL,
        }
    }
}
