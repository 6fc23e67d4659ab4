//! Operators over relations that may change at any time.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray};
use arrow::compute::SortOptions;
use arrow::record_batch::RecordBatch;
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::{Transformed, TreeNode as _};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;
use highwater_operators::asof_join::{AsofJoin, AsofKind, AsofSpec};
use highwater_operators::components::{Components, ComponentsSpec};
use highwater_operators::join::{Join, JoinSpec, PairCondition};
use highwater_operators::multiset::Multiset;
use highwater_operators::over::{Over, OverSpec};

use highwater_operators::session_window::{SessionAggregate, SessionAggregateSpec, SessionWindow, SessionWindowSpec};

use super::operators::{RenderError, Stateful, aggregate_calls};
use super::stage::reason;
use crate::plan::{AsofJoinNode, JoinNode, Node, NodeKind, OverNode, SessionGroups, SessionNode};

/// The operator of a join of two relations that change.
pub(super) fn join(node: &JoinNode) -> Result<Join, RenderError> {
    let spec = JoinSpec {
        left: node.left.schema.clone(),
        right: node.right.schema.clone(),
        keys: node.keys.clone(),
        null_equals_null: node.null_equals_null,
        kind: node.kind,
        retain: node.retain,
        output: node.output.clone(),
    };
    let condition = node.condition.as_ref().map(Condition::new).transpose();
    let condition = condition.map_err(|error| RenderError::of(&node.id)(error.into()))?;
    let condition = condition.map(|condition| Box::new(condition) as Box<dyn PairCondition>);
    Join::new(&node.id, spec, condition).map_err(|error| RenderError::of(&node.id)(error.into()))
}

/// The operator of an ASOF join.
pub(super) fn asof(node: &AsofJoinNode) -> Result<AsofJoin, RenderError> {
    let spec = AsofSpec {
        left: node.left.schema.clone(),
        right: node.right.schema.clone(),
        keys: node.keys.clone(),
        times: node.times,
        condition: node.condition,
        kind: if node.outer { AsofKind::Left } else { AsofKind::Inner },
        closing: node.closing,
        output: node.output.clone(),
    };
    AsofJoin::new(&node.id, spec).map_err(|error| RenderError::of(&node.id)(error.into()))
}

/// The operator of `EXCEPT ALL` and `INTERSECT ALL`.
pub(super) fn multiset(node: &Node) -> Result<Multiset, RenderError> {
    let NodeKind::Multiset { id, left, right, operation } = &node.kind else {
        unreachable!("called for a set operation alone")
    };
    Multiset::new(id, left.schema.clone(), &right.schema, *operation).map_err(|error| RenderError::of(id)(error.into()))
}

/// The operator of window functions.
pub(super) fn over(node: &OverNode) -> Result<Stateful, RenderError> {
    let options = |descending, nulls_first| SortOptions { descending, nulls_first };
    let spec = OverSpec {
        input: node.input.schema.clone(),
        partition: node.partition.clone(),
        sort: node.sort.iter().map(|key| (key.column, options(key.descending, key.nulls_first))).collect(),
        calls: node.calls.clone(),
        closing: node.closing,
    };
    let operator = Over::new(&node.id, spec).map_err(|error| RenderError::of(&node.id)(error.into()))?;
    let route = operator.route();
    Ok(Stateful::new(&node.id, route, Box::new(operator)))
}

/// The operator of sessions, or of what is computed of them.
pub(super) fn session(node: &SessionNode) -> Result<Stateful, RenderError> {
    let id = &node.id;
    let spec = SessionWindowSpec {
        input: node.input.schema.clone(),
        time: node.time,
        key: node.key.clone(),
        gap_ms: node.gap_ms,
        final_offset_ms: node.final_offset_ms,
    };
    let Some(SessionGroups { keys, calls }) = &node.groups else {
        let operator = SessionWindow::new(id, spec).map_err(|error| RenderError::of(id)(error.into()))?;
        return Ok(Stateful::new(id, operator.route(), Box::new(operator)));
    };
    let spec = SessionAggregateSpec { sessions: spec, keys: keys.clone(), calls: aggregate_calls(calls) };
    let operator = SessionAggregate::new(id, spec).map_err(|error| RenderError::of(id)(error.into()))?;
    Ok(Stateful::new(id, operator.route(), Box::new(operator)))
}

/// The operator of connected components.
pub(super) fn components(node: &Node) -> Result<Stateful, RenderError> {
    let NodeKind::Components { id, input, ends, hub_limit } = &node.kind else {
        unreachable!("called for components alone")
    };
    let spec = ComponentsSpec { input: input.schema.clone(), ends: *ends, hub_limit: *hub_limit };
    let operator = Components::new(id, spec).map_err(|error| RenderError::of(id)(error.into()))?;
    Ok(Stateful::new(id, operator.route(), Box::new(operator)))
}

/// A condition on pairs of rows.
struct Condition {
    /// Over the columns it reads, in their order.
    expression: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
}

impl Condition {
    fn new(expression: &Arc<dyn PhysicalExpr>) -> Result<Condition, DataFusionError> {
        let mut columns: Vec<usize> = collect_columns(expression).iter().map(Column::index).collect();
        columns.sort_unstable();
        columns.dedup();
        if columns.is_empty() {
            // The pairs need a column to be counted by.
            columns.push(0);
        }
        let moved = expression.clone().transform_up(|part| {
            let Some(column) = part.downcast_ref::<Column>() else { return Ok(Transformed::no(part)) };
            let place = columns.iter().position(|known| *known == column.index()).unwrap_or_default();
            let moved: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), place));
            Ok(Transformed::yes(moved))
        })?;
        Ok(Condition { expression: moved.data, columns })
    }

    fn verdict(&self, pairs: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
        let verdict = self.expression.evaluate(pairs)?.into_array(pairs.num_rows())?;
        verdict
            .as_boolean_opt()
            .cloned()
            .ok_or_else(|| DataFusionError::Internal(format!("the condition of a join gives {}", verdict.data_type())))
    }
}

impl PairCondition for Condition {
    fn columns(&self) -> Option<Vec<usize>> {
        Some(self.columns.clone())
    }

    fn evaluate(&mut self, pairs: &RecordBatch) -> (BooleanArray, Vec<(usize, String)>) {
        if let Ok(verdict) = self.verdict(pairs) {
            return (verdict, Vec::new());
        }
        // Some pair fails: each alone, so that the others are not lost.
        let mut failed = Vec::new();
        let verdicts = (0..pairs.num_rows()).map(|row| match self.verdict(&pairs.slice(row, 1)) {
            Ok(verdict) => verdict.is_valid(0) && verdict.value(0),
            Err(error) => {
                failed.push((row, reason(&error)));
                false
            }
        });
        let verdicts: Vec<bool> = verdicts.collect();
        (BooleanArray::from(verdicts), failed)
    }
}
