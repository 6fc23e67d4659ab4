//! From DataFusion's logical plan to the dataflow of [`crate::plan`].
//!
//! Columns keep their positions: column `i` of a logical plan is column `i` of the node it becomes, so
//! expressions can be bound to the logical schema and evaluated on the node's batches.

mod aggregate;
mod asof;
mod call;
mod changing_join;
mod grouping;
mod join;
mod keyed;
mod lookup;
mod over;
mod recursion;
mod relation;
mod scalar;
mod session_groups;
mod sets;
mod shown;
mod statics;
mod temporal;
mod top_k;

pub(super) use aggregate::duration;
pub(super) use lookup::of_tables;
pub(super) use scalar::repointed;
pub(super) use top_k::ALL_ROWS;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_expr::{Distinct, LogicalPlan};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal, cast};

use super::asof::AsofNode;
use super::errors::Place;
use super::facts::Facts;
use super::ir::{Node, NodeKind, StateEntry};
use super::keyed::KeyedNode;
use super::recursion::MutualNode;
use super::sets::SetNode;
use super::temporal::TemporalNode;
use super::window::WindowNode;
use crate::diagnostic::{Code, Diagnostic};

/// A node and what is known of its rows.
///
/// The node may have columns after those of the logical plan (where the plan has none at all).
#[derive(Debug, Clone)]
pub(super) struct Lowered {
    pub(super) node: Node,
    pub(super) facts: Facts,
}

impl Lowered {
    pub(super) fn width(&self) -> usize {
        self.facts.columns.len()
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.node.schema
    }

    pub(super) fn field(&self, column: usize) -> &Field {
        self.node.schema.field(column)
    }
}

/// What is known of views that other views read.
pub(super) struct ViewInfo {
    pub(super) facts: Facts,
    /// Whether its rows come from reloaded tables and nothing else.
    pub(super) of_tables: bool,
}

/// Lowers the query of one view.
pub(super) struct Lowerer<'a> {
    /// The view, for names of state.
    pub(super) view: &'a str,
    /// Where its query stands.
    pub(super) place: Place<'a>,
    /// The views before it.
    pub(super) views: &'a [ViewInfo],
    /// Whether the job allows unbounded state here.
    pub(super) unbounded: bool,
    /// Whether a LIMIT without ORDER BY may take any rows, because a person looks at them once.
    pub(super) any_rows: bool,
    /// The relations being defined by themselves where lowering stands.
    recursive: recursion::Scope,
    /// The state found so far.
    pub(super) state: Vec<StateEntry>,
    counts: BTreeMap<&'static str, usize>,
}

type Lower<T> = Result<T, Diagnostic>;

impl<'a> Lowerer<'a> {
    pub(super) fn new(view: &'a str, place: Place<'a>, views: &'a [ViewInfo], unbounded: bool) -> Lowerer<'a> {
        Lowerer {
            view,
            place,
            views,
            unbounded,
            any_rows: false,
            recursive: Vec::new(),
            state: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The whole query: like [`Lowerer::lower`], and nothing that cannot be shown is in its columns.
    pub(super) fn root(&mut self, plan: &LogicalPlan) -> Lower<Lowered> {
        let lowered = self.lower(plan)?;
        self.checked_root(lowered)
    }

    /// What every query that is shown must have.
    fn checked_root(&self, lowered: Lowered) -> Lower<Lowered> {
        if lowered.width() == 0 {
            return Err(Diagnostic::new(Code::Unsupported, "the query has no columns", self.place.start()));
        }
        self.signed(lowered)
    }

    /// Views have no unsigned columns: what DataFusion's functions count in `UInt64` becomes BIGINT.
    fn signed(&self, lowered: Lowered) -> Lower<Lowered> {
        let unsigned = |field: &Field| field.data_type().is_unsigned_integer();
        if !lowered.schema().fields().iter().any(|field| unsigned(field)) {
            return Ok(lowered);
        }
        let mut columns = scalar::keep_columns(&lowered, 0..lowered.width());
        for column in columns.iter_mut().filter(|column| unsigned(&column.field)) {
            column.expression = cast(column.expression.clone(), lowered.schema(), DataType::Int64)
                .map_err(|error| self.place.diagnose(&error))?;
            column.field = column.field.clone().with_data_type(DataType::Int64);
        }
        Ok(scalar::project(lowered, columns))
    }

    fn lower(&mut self, plan: &LogicalPlan) -> Lower<Lowered> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.distinct_on(distinct),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_ref();
                if let Some(window) = node.as_any().downcast_ref::<WindowNode>() {
                    self.window(window)
                } else if let Some(temporal) = node.as_any().downcast_ref::<TemporalNode>() {
                    self.temporal(temporal)
                } else if let Some(sets) = node.as_any().downcast_ref::<SetNode>() {
                    self.sets(sets)
                } else if let Some(keyed) = node.as_any().downcast_ref::<KeyedNode>() {
                    self.keyed(keyed)
                } else if let Some(mutual) = node.as_any().downcast_ref::<MutualNode>() {
                    self.mutual(mutual)
                } else if let Some(asof) = node.as_any().downcast_ref::<AsofNode>() {
                    self.asof(asof)
                } else {
                    Err(self.unsupported("this construct", node.name()))
                }
            }
            LogicalPlan::Window(window) => self.over(window),
            LogicalPlan::Unnest(_) => Err(self.unsupported("UNNEST", "unnest")),
            LogicalPlan::Subquery(_) => Err(self
                .unsupported("a subquery here", "select")
                .with_hint("join the outer table inside the subquery, and join the result to it by its key")),
            _ => Err(Diagnostic::new(Code::Unsupported, "this statement cannot be a view", self.place.start())),
        }
    }

    /// `… is not supported yet`, at a word of the query.
    fn unsupported(&self, what: &str, word: &str) -> Diagnostic {
        Diagnostic::new(Code::Unsupported, format!("{what} is not supported yet"), self.place.find(word))
    }

    /// The stable name of a new piece of state.
    fn id(&mut self, operator: &'static str) -> String {
        let count = self.counts.entry(operator).or_default();
        let id = format!("{}/{operator}-{count}", self.view);
        *count += 1;
        id
    }

    /// Notes a piece of state, and refuses it where nothing bounds it.
    fn keep(&mut self, id: &str, operator: &'static str, key: String, bound: Option<String>, word: &str) -> Lower<()> {
        let unbounded = bound.is_none();
        if unbounded && !self.unbounded && operator == "join" {
            return Err(self.unbounded_join());
        }
        if unbounded && !self.unbounded {
            return Err(Diagnostic::new(
                Code::UnboundedState,
                format!("the state of this {operator} grows for ever: its key is {key}"),
                self.place.find(word),
            )
            .with_hint("group by the window of a TUMBLE, or add WHERE block_timestamp > now() - INTERVAL '1 hour'")
            .with_note("state without bound must be asked for: WITH (unbounded = 'yes')"));
        }
        let bound = bound.unwrap_or_else(|| "none".to_owned());
        self.state.push(StateEntry { id: id.to_owned(), operator, key, bound, unbounded });
        Ok(())
    }
}

/// A relation without the rows that may still change: a row is final at a column and so many milliseconds.
pub(super) fn only_final(view: &str, lowered: Lowered, column: usize, offset_ms: i64) -> Lowered {
    let width = lowered.width();
    let mut columns = scalar::keep_columns(&lowered, 0..width);
    let field = lowered.field(column).clone();
    let time: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), column));
    let offset = Arc::new(Literal::new(ScalarValue::new_interval_mdn(0, 0, offset_ms.saturating_mul(1_000_000))));
    let instant = Arc::new(BinaryExpr::new(time, Operator::Plus, offset));
    let facts = super::facts::ColumnFacts::default();
    columns.push(scalar::Computed { expression: instant, field: field.with_name("final_at"), facts, from: None });
    let lowered = scalar::project(lowered, columns);
    let facts = lowered.facts.clone();
    let schema = lowered.node.schema.clone();
    let kind = NodeKind::Final { id: format!("{view}/final-0"), input: Box::new(lowered.node), time: width };
    let gated = Lowered { node: Node { kind, schema }, facts };
    let columns = scalar::keep_columns(&gated, 0..width);
    scalar::project(gated, columns)
}

/// The schema of a logical plan as Arrow's.
fn arrow_schema(plan: &LogicalPlan) -> SchemaRef {
    plan.schema().inner().clone()
}

fn filter_node(input: Node, predicate: Arc<dyn PhysicalExpr>) -> Node {
    let schema = input.schema.clone();
    Node { kind: NodeKind::Filter { input: Box::new(input), predicate }, schema }
}
