//! From a parsed job to a [`JobPlan`]: names are bound, queries planned incrementally, state bounded.
//!
//! DataFusion reads and types the SELECTs; what comes out is our own plan ([`Node`]), because a plan
//! that is kept up to date differs from one that runs once: there is no order, `now()` moves, and
//! every piece of state needs a bound. What cannot be kept up to date is a diagnostic here, never a
//! surprise at run time.
//!
//! Read next: `job` (a whole job), `query` (one SELECT), `lower` (logical plan to nodes), `facts`
//! (when rows are final).

mod alert_options;
mod alerts;
mod asof;
mod block_relations;
mod catalog;
mod context;
mod dependent;
mod dispatch;
mod distinct_on;
mod documentation;
mod errors;
mod events;
mod explain;
mod facts;
mod ir;
mod job;
mod join_subqueries;
mod keyed;
mod lower;
mod macro_checks;
mod macros;
mod mev_settings;
mod names;
mod narrow;
mod node;
mod now;
mod null_joins;
mod options;
mod planned_alert;
mod prune;
mod query;
mod recursion;
mod refused;
mod registry;
mod relational;
mod same;
mod series;
mod sets;
mod sinks;
mod standard;
mod subqueries;
mod tables;
mod temporal;
mod unique;
mod using;
mod window;
mod words;

pub(crate) use block_relations::input_schema;
pub use catalog::{Catalog, LoadError, LoadRequest, given};
pub use documentation::{CONSTRUCTS, ConstructDoc, DIFFERENCES, table_functions};
pub use events::PlannedEvent;
pub use explain::{explain, explain_state, explain_view};
pub use ir::{
    AggregateCall, AggregateFunction, AggregateParameters, Emit, JobPlan, JoinKind, Node, NodeKind, PlannedOption,
    PlannedSetting, PlannedSink, PlannedSource, PlannedTable, PlannedView, ReloadedTable, Shown, SinkInput, SortKey,
    StateEntry, ViewClosing, Window,
};
pub use job::plan;
pub(crate) use names::{functions_called, relations};
pub use planned_alert::PlannedAlert;
pub use relational::{
    AsofClosing, AsofColumn, AsofCondition, AsofJoinNode, ChangingJoin, JoinColumn, JoinNode, OverCall, OverNode,
    RecursionNode, RecursiveBinding, Retain, SessionGroups, SessionKey, SessionNode, SetOperation,
};
pub(crate) use unique::columns as unique_columns;
pub use words::sql_type;
pub(crate) use words::type_name;

/// An expression in a type; itself where it has it.
fn cast_unless(
    expr: datafusion_expr::Expr,
    wanted: &arrow::datatypes::DataType,
    schema: &datafusion_common::DFSchema,
) -> datafusion_common::Result<datafusion_expr::Expr> {
    use datafusion_expr::ExprSchemable as _;
    if expr.get_type(schema)? == *wanted {
        return Ok(expr);
    }
    Ok(datafusion_expr::Expr::Cast(datafusion_expr::Cast::new(Box::new(expr), wanted.clone())))
}
