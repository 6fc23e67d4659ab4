//! What a job is after planning: plain data that the renderer turns into operators.
//!
//! A [`JobPlan`] holds views in dependency order. Each view is a tree of [`Node`]s; every node knows
//! its output schema, with extension metadata. Columns are always indices into the output of the
//! node's input, expressions are evaluated on batches of that input. Nothing here refers to names
//! of the SQL text, except where a name is shown to people.

use std::fmt;
use std::time::Duration;

use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::sink::Closing;
pub use highwater_operators::aggregate::{AggregateFunction, AggregateParameters};

pub use super::node::{Node, NodeKind};
use crate::diagnostic::Span;

/// A planned job.
#[derive(Debug)]
pub struct JobPlan {
    /// The sources that are read, each with the tables and columns that any view needs.
    pub sources: Vec<PlannedSource>,
    /// The reference tables that are read again while the job runs.
    pub reloaded: Vec<ReloadedTable>,
    /// Maintained views; a view reads only views before it.
    pub views: Vec<PlannedView>,
    /// Sinks in the order of the job.
    pub sinks: Vec<PlannedSink>,
    /// `SET name = value` in the order of the job.
    pub settings: Vec<PlannedSetting>,
    /// Every piece of keyed state with its bound: what `EXPLAIN STATE` prints.
    pub state: Vec<StateEntry>,
    /// The texts asked for by `EXPLAIN` statements, in the order of the job.
    pub explains: Vec<String>,
}

/// A source and what is read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSource {
    /// Name of the source.
    pub name: String,
    /// The tables read, sorted by name.
    pub tables: Vec<PlannedTable>,
}

/// A table of a source and the columns read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTable {
    /// Name without the source.
    pub name: String,
    /// Indices into the table's full schema, ascending: the union over the whole job.
    pub columns: Vec<usize>,
    /// The schema of just these columns.
    pub schema: SchemaRef,
}

/// A reference table that is read again while the job runs.
#[derive(Debug, Clone)]
pub struct ReloadedTable {
    /// Its name.
    pub name: String,
    /// What it had when the job was planned; its columns are those of the table for ever.
    pub rows: RecordBatch,
    /// Wall time between two looks at its file; zero to look at every tick.
    pub every: Duration,
}

/// A maintained view.
#[derive(Debug, Clone)]
pub struct PlannedView {
    /// Its name. The query of `CREATE SINK name FROM (query)` becomes a view of the sink's name.
    pub name: String,
    /// The dataflow.
    pub root: Node,
    /// Columns with extension metadata; the same as `root.schema`.
    pub schema: SchemaRef,
    /// Columns that identify a row, if the view has such; no columns for a view of one row.
    pub key: Option<Vec<usize>>,
    /// When a row of the view is final, if that can be read off the row.
    pub closing: Option<ViewClosing>,
    /// Whether each row is an image of rows of one block, so that it goes only with that block:
    /// all deltas have [`highwater_engine::model::Origin::Block`].
    pub linear: bool,
    /// Column and direction (`true` = descending) of an ORDER BY at the top: for display only.
    pub order: Vec<(usize, bool)>,
    /// How a session shows it to people.
    pub shown: Option<Shown>,
    /// Whether a row that cannot be evaluated stops the job (`WITH (on_error = 'stop')`).
    pub on_error_stop: bool,
    /// Whether the SQL said MATERIALIZED.
    pub materialized: bool,
    /// Whether it is what a sink tells of an alert: it may change between two runs as sinks may.
    pub of_sink: bool,
    /// Options of the view that the planner does not read itself (such as `retain`).
    pub options: Vec<PlannedOption>,
    /// Its name in the job's text; of a sink's query, the sink's name.
    pub span: Span,
}

/// How the rows of a query are shown: its columns, and the order of its ORDER BY, which may need more columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The first columns are those of the query; the others are for the order.
    pub columns: usize,
    /// The order.
    pub sort: Vec<SortKey>,
}

/// When a row of a view is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewClosing {
    /// The column to look at.
    pub closing: Closing,
    /// For [`Closing::Time`]: milliseconds to add to the column (0 for `window_end`, the window's
    /// size if only `window_start` is shown, 1 for a block time). 0 for [`Closing::Block`].
    pub offset_ms: i64,
}

/// A sink.
#[derive(Debug)]
pub struct PlannedSink {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub input: SinkInput,
    /// When rows go out.
    pub emit: Emit,
    /// The word in `connector = '…'`.
    pub connector: String,
    /// The other options, secrets resolved.
    pub options: Vec<PlannedOption>,
    /// The sink's name in the job's text.
    pub span: Span,
}

/// What a sink shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkInput {
    /// The view of this index.
    View(usize),
    /// The rows of this view that could not be evaluated.
    Errors(usize),
}

/// When the rows of a sink go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Emit {
    /// At once, with corrections.
    #[default]
    Changes,
    /// Once the window of a row is over by block time; corrected if a reorg changes it later.
    OnWindowClose,
    /// Once a row is final; never corrected.
    OnFinality,
}

/// `SET name = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSetting {
    /// Name, lower case.
    pub name: String,
    /// Value as text.
    pub value: String,
    /// The value in the job's text.
    pub span: Span,
}

/// One option of a `WITH (…)` list with its place in the text.
#[derive(Clone, PartialEq, Eq)]
pub struct PlannedOption {
    /// Name, lower case.
    pub name: String,
    /// Value as text; may be a secret.
    pub value: String,
    /// Where the name is.
    pub name_span: Span,
    /// Where the value is.
    pub value_span: Span,
}

impl fmt::Debug for PlannedOption {
    /// The name only: the value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedOption").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which windows rows go to. Windows are aligned to the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// Windows side by side.
    Tumble {
        /// Width in milliseconds.
        size_ms: i64,
    },
    /// Overlapping windows.
    Hop {
        /// Distance between starts in milliseconds; longer than the width leaves gaps.
        slide_ms: i64,
        /// Width in milliseconds.
        size_ms: i64,
    },
    /// Windows side by side, each also cut short after every step: totals since midnight, hour by hour.
    Cumulate {
        /// Distance between ends in milliseconds.
        step_ms: i64,
        /// Width of the longest in milliseconds, a multiple of the step.
        size_ms: i64,
    },
}

impl Window {
    /// Width in milliseconds.
    pub fn size_ms(&self) -> i64 {
        match self {
            Window::Tumble { size_ms } | Window::Hop { size_ms, .. } | Window::Cumulate { size_ms, .. } => *size_ms,
        }
    }
}

/// One aggregate of an [`NodeKind::Aggregate`] or [`NodeKind::BlockAggregate`].
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateCall {
    /// What is computed.
    pub function: AggregateFunction,
    /// The argument columns; none only for [`AggregateFunction::CountAll`].
    pub arguments: Vec<usize>,
    /// Each value counts once.
    pub distinct: bool,
    /// The order of the values, for functions that have one.
    pub order_by: Vec<SortKey>,
    /// The constants.
    pub parameters: AggregateParameters,
    /// A Boolean column: only rows where it is true count.
    pub filter: Option<usize>,
    /// Name, type and metadata of the result.
    pub field: FieldRef,
}

impl AggregateCall {
    /// The call over columns that have moved: column `i` is now `places[i]`.
    pub fn placed(self, places: &[usize]) -> AggregateCall {
        let place = |column: usize| places[column];
        AggregateCall {
            arguments: self.arguments.into_iter().map(place).collect(),
            order_by: self.order_by.into_iter().map(|key| SortKey { column: place(key.column), ..key }).collect(),
            filter: self.filter.map(place),
            ..self
        }
    }
}

/// One column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// The column.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// Where NULL goes.
    pub nulls_first: bool,
}

/// How rows meet a reference table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// A row for each match.
    Inner,
    /// A row for each match, or one with NULLs.
    Left,
    /// The row, if there is a match.
    Semi,
    /// The row, if there is no match.
    Anti,
}

/// One piece of state, for `EXPLAIN STATE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// Name of the state, such as `failure_rate/aggregate-0`.
    pub id: String,
    /// The operator, such as `aggregate`.
    pub operator: &'static str,
    /// The key columns in words.
    pub key: String,
    /// What bounds it, in words.
    pub bound: String,
    /// Whether nothing bounds it.
    pub unbounded: bool,
}
