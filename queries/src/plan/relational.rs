//! Steps over relations that may change at any time: joins, set operations, window functions.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
pub use highwater_operators::asof_join::{AsofClosing, AsofColumn, AsofCondition};
pub use highwater_operators::join::{JoinColumn, JoinKind as ChangingJoin, Retain};
pub use highwater_operators::multiset::SetOperation;
pub use highwater_operators::over::OverCall;
pub use highwater_operators::session_window::SessionKey;

use super::ir::{AggregateCall, SortKey};
use super::node::Node;

/// Two relations, both of which may change.
#[derive(Debug, Clone)]
pub struct JoinNode {
    /// Name of the state.
    pub id: String,
    /// The left side.
    pub left: Node,
    /// The right side.
    pub right: Node,
    /// The kind of join.
    pub kind: ChangingJoin,
    /// Columns that must be equal, of the same types. None: every row meets every row.
    pub keys: Vec<(usize, usize)>,
    /// Whether a NULL key matches a NULL key.
    pub null_equals_null: bool,
    /// A further Boolean condition over the columns of the left side and then those of the right.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// How long rows are kept.
    pub retain: Retain,
    /// The columns of the output.
    pub output: Vec<JoinColumn>,
}

/// Rows with the windows of their sessions, or what is computed of each session.
#[derive(Debug, Clone)]
pub struct SessionNode {
    /// Name of the state.
    pub id: String,
    /// Where rows come from.
    pub input: Node,
    /// The time column, `Timestamp(ms, UTC)`.
    pub time: usize,
    /// Columns whose equal values share sessions.
    pub key: Vec<usize>,
    /// A pause that ends a session, milliseconds.
    pub gap_ms: i64,
    /// A row of time v is final once the finalised block time is v plus this; none if rows may always change.
    pub final_offset_ms: Option<i64>,
    /// None: the columns of the input, `window_start`, `window_end`.
    pub groups: Option<SessionGroups>,
}

/// Sessions as groups: these columns, then those of the calls.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionGroups {
    /// The keys of the session and both bounds.
    pub keys: Vec<SessionKey>,
    /// The aggregates, over the columns of the input.
    pub calls: Vec<AggregateCall>,
}

/// Each left row with the right row of its key that is nearest in time.
#[derive(Debug, Clone)]
pub struct AsofJoinNode {
    /// Name of the state.
    pub id: String,
    /// The left side.
    pub left: Node,
    /// The right side.
    pub right: Node,
    /// Columns that must be equal, of the same types.
    pub keys: Vec<(usize, usize)>,
    /// The time columns.
    pub times: (usize, usize),
    /// Which right rows may be met.
    pub condition: AsofCondition,
    /// Whether left rows that meet none are shown.
    pub outer: bool,
    /// How far times lie before those of their blocks, if that is known of both sides.
    pub closing: Option<AsofClosing>,
    /// The columns of the output.
    pub output: Vec<AsofColumn>,
}

/// Window functions over one partition and order. Output: the input's columns, then one a call.
#[derive(Debug, Clone)]
pub struct OverNode {
    /// Name of the state.
    pub id: String,
    /// Where rows come from.
    pub input: Node,
    /// Partition columns; none for one order over everything.
    pub partition: Vec<usize>,
    /// The order; ties are broken by the whole row.
    pub sort: Vec<SortKey>,
    /// The calls.
    pub calls: Vec<OverCall>,
    /// Position within `partition` of a `Timestamp(ms, UTC)` column: the partition is final once the
    /// finalised block time has reached it.
    pub closing: Option<usize>,
}

/// Relations that are defined by themselves or by each other.
#[derive(Debug, Clone)]
pub struct RecursionNode {
    /// Name of the state.
    pub id: String,
    /// What comes from outside the loop.
    pub inputs: Vec<Node>,
    /// The relations, in the order in which a round brings them up to date.
    pub bindings: Vec<RecursiveBinding>,
    /// The one that is meant.
    pub result: usize,
    /// How many rounds a change may take.
    pub limit: u64,
}

/// A relation that may be defined by itself. Leaves of its body are [`super::NodeKind::Variable`],
/// [`super::NodeKind::Outer`] and constants.
#[derive(Debug, Clone)]
pub struct RecursiveBinding {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its definition.
    pub body: Node,
    /// Whether each row counts once (`UNION`).
    pub distinct: bool,
}
