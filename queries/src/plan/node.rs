//! The steps of a view's dataflow.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use highwater_operators::alert::notification::Dispatch;
use highwater_operators::alert::rate_limit::Limit;
use highwater_operators::alert::timeline::Clock;
use highwater_operators::mev::{BlockRelation, MevSettings};
pub(super) use highwater_operators::top_k::Ranking;

use super::events::PlannedEvent;
use super::ir::{AggregateCall, JoinKind, SortKey, Window};
use super::planned_alert::PlannedAlert;
use super::relational::{AsofJoinNode, JoinNode, OverNode, RecursionNode, SessionNode, SetOperation};

/// One step of a view's dataflow.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub kind: NodeKind,
    /// Its output columns.
    pub schema: SchemaRef,
}

/// The steps. Those with an `id` keep state; the id (`failure_rate/aggregate-0`) names it in checkpoints.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Rows of a chain table.
    Scan {
        /// Index into [`super::ir::JobPlan::sources`].
        source: usize,
        /// Index into [`super::ir::PlannedSource::tables`].
        table: usize,
        /// Indices into the columns of that [`super::ir::PlannedTable`], in output order.
        columns: Vec<usize>,
    },
    /// Rows of a maintained view.
    View {
        /// Index into [`super::ir::JobPlan::views`].
        view: usize,
        /// Indices into its columns, in output order.
        columns: Vec<usize>,
    },
    /// Rows of a maintained view that could not be evaluated.
    Errors {
        /// Index into [`super::ir::JobPlan::views`].
        view: usize,
        /// Indices into `error, row`, in output order.
        columns: Vec<usize>,
    },
    /// Rows of a relation that a source has because of its tables; made once, whoever reads it.
    BlockRelation {
        /// Name of the relation and of its state: `eth/sandwiches`.
        id: String,
        /// What it is.
        relation: &'static BlockRelation,
        /// What its rules know beyond the chain.
        settings: Arc<MevSettings>,
        /// What it reads, in the order of the relation's inputs; none for an optional one that is not there.
        inputs: Vec<Option<Node>>,
        /// Indices into its columns, in output order.
        columns: Vec<usize>,
    },
    /// Logs of one event; made once, whoever reads them.
    DecodeEvent {
        /// The event.
        event: Arc<PlannedEvent>,
        /// The logs.
        input: Box<Node>,
        /// Indices into its columns: those that any reader wants, ascending.
        made: Vec<usize>,
        /// Indices into its columns, in output order.
        columns: Vec<usize>,
    },
    /// Constant rows, there from the first tick and never taken back (a reference table, VALUES).
    Values {
        /// The rows.
        batch: RecordBatch,
    },
    /// Rows of a reference table that is read again: they come and go at any tick, before its blocks.
    LiveTable {
        /// Index into [`super::ir::JobPlan::reloaded`].
        table: usize,
        /// Its name, for people.
        name: String,
        /// Indices into its columns, in output order.
        columns: Vec<usize>,
    },
    /// Rows for which the predicate is true.
    Filter {
        /// Where rows come from.
        input: Box<Node>,
        /// A Boolean expression over the input.
        predicate: Arc<dyn PhysicalExpr>,
    },
    /// One output column for each expression; names and metadata are in the schema.
    Project {
        /// Where rows come from.
        input: Box<Node>,
        /// Expressions over the input.
        expressions: Vec<Arc<dyn PhysicalExpr>>,
    },
    /// Assigns rows to windows: appends `window_start` and `window_end`, `Timestamp(ms, UTC)`, not null.
    /// A row without a time is dropped; HOP may give a row several times.
    Window {
        /// Where rows come from.
        input: Box<Node>,
        /// The time column, `Timestamp(ms, UTC)`.
        time: usize,
        /// The windows.
        window: Window,
    },
    /// Groups; the output is the key columns, then one column a call.
    Aggregate {
        /// Name of the state.
        id: String,
        /// Where rows come from.
        input: Box<Node>,
        /// Key columns; none for one group that is always there.
        keys: Vec<usize>,
        /// The aggregates.
        calls: Vec<AggregateCall>,
        /// Position within `keys` of a `Timestamp(ms, UTC)` column: the group is final once the finalised
        /// block time has reached it.
        closing: Option<usize>,
    },
    /// The same, where no group spans two blocks: no state.
    BlockAggregate {
        /// Where rows come from.
        input: Box<Node>,
        /// Key columns; one of them names the block or the transaction.
        keys: Vec<usize>,
        /// The aggregates.
        calls: Vec<AggregateCall>,
    },
    /// All rows of all inputs; columns by position.
    Union {
        /// Where rows come from.
        inputs: Vec<Node>,
    },
    /// The first rows of each partition in an order.
    TopK {
        /// Name of the state.
        id: String,
        /// Where rows come from.
        input: Box<Node>,
        /// Partition columns; none for one order over everything.
        partition: Vec<usize>,
        /// The order; ties are broken by the whole row.
        sort: Vec<SortKey>,
        /// How many rows each partition shows.
        limit: usize,
        /// How many rows each partition skips first.
        offset: usize,
        /// What is counted.
        ranking: Ranking,
        /// Name of a last column with the number of the row, if it is shown.
        show_rank: Option<String>,
        /// Position within `partition` of a `Timestamp(ms, UTC)` column: the partition is final once the
        /// finalised block time has reached it.
        closing: Option<usize>,
    },
    /// Two relations that may both change.
    Join(Box<JoinNode>),
    /// Each left row with the right row that is nearest in time.
    AsofJoin(Box<AsofJoinNode>),
    /// `EXCEPT ALL` or `INTERSECT ALL` of two relations of the same columns.
    Multiset {
        /// Name of the state.
        id: String,
        /// The left side.
        left: Box<Node>,
        /// The right side.
        right: Box<Node>,
        /// Which.
        operation: SetOperation,
    },
    /// Windows of rows that follow each other closely.
    Session(Box<SessionNode>),
    /// Nodes of a graph with the least node of their component: `node`, `component`.
    Components {
        /// Name of the state.
        id: String,
        /// The edges.
        input: Box<Node>,
        /// The columns that hold the ends of an edge.
        ends: [usize; 2],
        /// A node with more neighbours connects nothing.
        hub_limit: Option<usize>,
    },
    /// Relations that are defined by themselves.
    Recursion(Box<RecursionNode>),
    /// Inside a recursion: a relation that is being defined.
    Variable {
        /// Index into [`RecursionNode::bindings`].
        binding: usize,
        /// Indices into its columns, in output order.
        columns: Vec<usize>,
    },
    /// Inside a recursion: a relation from outside.
    Outer {
        /// Index into [`RecursionNode::inputs`].
        input: usize,
    },
    /// Rows that are final, each once; in sessions, for `EMIT ON WINDOW CLOSE`.
    Final {
        /// Name of the state.
        id: String,
        /// Where rows come from.
        input: Box<Node>,
        /// The `Timestamp(ms, UTC)` column with the instant at which a row is final.
        time: usize,
    },
    /// Window functions.
    Over(Box<OverNode>),
    /// Each row once for each list of expressions: the columns of several groupings.
    Expand {
        /// Where rows come from.
        input: Box<Node>,
        /// Expressions over the input, one list a copy.
        copies: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    },
    /// Rows that are there for a time only: `valid_from <= now < valid_until`. Both columns are
    /// `Timestamp(ms, UTC)` without NULL, and stay in the output.
    TemporalFilter {
        /// Name of the state.
        id: String,
        /// Where rows come from.
        input: Box<Node>,
        /// First instant of the row, inclusive.
        valid_from: Option<usize>,
        /// End of the row, exclusive.
        valid_until: Option<usize>,
    },
    /// Stories of an alert, and what happens to them: [`highwater_operators::alert::changes_schema`].
    Stories {
        /// Name of the state.
        id: String,
        /// Findings: the view's columns, then those computed for the alert.
        input: Box<Node>,
        /// The alert.
        alert: Arc<PlannedAlert>,
    },
    /// Findings of an alert: [`highwater_engine::model::alert::finding_schema`].
    Findings {
        /// Name of the state.
        id: String,
        /// As of the stories.
        input: Box<Node>,
        /// The alert.
        alert: Arc<PlannedAlert>,
    },
    /// What a sink is to tell of an alert: [`highwater_engine::model::alert::notification_schema`].
    Notifications {
        /// Name of the state.
        id: String,
        /// What happens to stories.
        input: Box<Node>,
        /// The sink.
        sink: String,
        /// The alert.
        alert: Arc<PlannedAlert>,
        /// What the sink wants.
        dispatch: Arc<Dispatch>,
    },
    /// Notifications, those over the limit suppressed.
    RateLimit {
        /// Name of the state.
        id: String,
        /// Notifications.
        input: Box<Node>,
        /// What orders them.
        clock: Clock,
        /// The limit.
        limit: Limit,
    },
    /// Rows joined to a reference table that is known when the job starts. Output: the input's
    /// columns, then for Inner and Left the table's.
    BroadcastJoin {
        /// Where rows come from.
        input: Box<Node>,
        /// The reference rows, already filtered and projected.
        table: RecordBatch,
        /// Name of the table, for people.
        table_name: String,
        /// The kind of join.
        join: JoinKind,
        /// Key columns of the input. None: every row of the table matches.
        input_keys: Vec<usize>,
        /// The matching columns of the table, of the same types.
        table_keys: Vec<usize>,
        /// Whether a NULL key matches a NULL key.
        null_equals_null: bool,
        /// A further Boolean condition over the input's columns followed by the table's.
        residual: Option<Arc<dyn PhysicalExpr>>,
    },
    /// Rows that go only with their block, joined to reference tables that are read again, as these are when
    /// the block comes. Output: the input's columns, then for Inner and Left the table's.
    LookupJoin {
        /// Name of the state.
        id: String,
        /// Where rows come from.
        input: Box<Node>,
        /// The table: reloaded tables and nothing else.
        table: Box<Node>,
        /// Name of the table, for people.
        table_name: String,
        /// The kind of join.
        join: JoinKind,
        /// Key columns of the input. None: every row of the table matches.
        input_keys: Vec<usize>,
        /// The matching columns of the table, of the same types.
        table_keys: Vec<usize>,
        /// Whether a NULL key matches a NULL key.
        null_equals_null: bool,
    },
}

impl Node {
    /// A relation without columns: stands where a node is taken out for a moment.
    pub(super) fn nothing() -> Node {
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        Node { kind: NodeKind::Values { batch: RecordBatch::new_empty(schema.clone()) }, schema }
    }
}
