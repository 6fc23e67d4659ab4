//! Joins whose keys may be NULL on both sides (`IS NOT DISTINCT FROM`), beside conditions for which NULL is equal to
//! nothing.
//!
//! A join says of all of its keys at once whether NULL is equal to NULL, and DataFusion forgets that: it makes keys
//! of conditions that are pushed into such a join, and gives inner joins that it puts in another order the rule of
//! the topmost. So before it looks for keys, `a = b` in such a join gets `a IS NOT NULL` beside it; and inner joins
//! are such joins only once they have their order.

use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, JoinType, NullEquality, Result};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator, binary_expr};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

/// What is done to the joins of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NullJoins {
    /// Before keys are made of equalities.
    Guarded,
    /// Before inner joins are put in order.
    AsConditions,
    /// After that.
    AsKeys,
}

impl OptimizerRule for NullJoins {
    fn name(&self) -> &str {
        match self {
            NullJoins::Guarded => "null_joins_guarded",
            NullJoins::AsConditions => "null_joins_as_conditions",
            NullJoins::AsKeys => "null_joins_as_keys",
        }
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let nulls_equal = join.null_equality == NullEquality::NullEqualsNull;
        let join = match self {
            NullJoins::Guarded if nulls_equal => guarded(join),
            NullJoins::AsConditions if nulls_equal && join.join_type == JoinType::Inner => as_conditions(join),
            NullJoins::AsKeys if !nulls_equal && !join.null_aware => as_keys(join),
            _ => Transformed::no(join),
        };
        Ok(join.update_data(LogicalPlan::Join))
    }
}

/// `a = b` as `a = b AND a IS NOT NULL`, of which the first may become a key.
fn guarded(mut join: Join) -> Transformed<Join> {
    let mut parts: Vec<Expr> = join.filter.take().into_iter().flat_map(split_conjunction_owned).collect();
    let mut guards = Vec::new();
    for part in &parts {
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part
            && !left.column_refs().is_empty()
            && !right.column_refs().is_empty()
        {
            let guard = left.as_ref().clone().is_not_null();
            guards.extend((!parts.contains(&guard) && !guards.contains(&guard)).then_some(guard));
        }
    }
    let changed = !guards.is_empty();
    parts.extend(guards);
    join.filter = conjunction(parts);
    if changed { Transformed::yes(join) } else { Transformed::no(join) }
}

fn as_conditions(mut join: Join) -> Transformed<Join> {
    let same = |(left, right)| binary_expr(left, Operator::IsNotDistinctFrom, right);
    join.filter = conjunction(std::mem::take(&mut join.on).into_iter().map(same).chain(join.filter.take()));
    join.null_equality = NullEquality::NullEqualsNothing;
    Transformed::yes(join)
}

/// Keys of all `a IS NOT DISTINCT FROM b` between the sides.
fn as_keys(mut join: Join) -> Transformed<Join> {
    let (left, right) = (join.left.schema().clone(), join.right.schema().clone());
    let mut pairs = Vec::new();
    let mut rest = Vec::new();
    for part in join.filter.iter().cloned().flat_map(split_conjunction_owned) {
        match part {
            Expr::BinaryExpr(BinaryExpr { left: one, op: Operator::IsNotDistinctFrom, right: two }) => {
                match (of(&one, &left) && of(&two, &right), of(&two, &left) && of(&one, &right)) {
                    (true, _) => pairs.push((*one, *two)),
                    (_, true) => pairs.push((*two, *one)),
                    _ => rest.push(binary_expr(*one, Operator::IsNotDistinctFrom, *two)),
                }
            }
            other => rest.push(other),
        }
    }
    if pairs.is_empty() {
        return Transformed::no(join);
    }
    rest.extend(join.on.iter().map(|(left, _)| left.clone().is_not_null()));
    join.on.extend(pairs);
    join.filter = conjunction(rest);
    join.null_equality = NullEquality::NullEqualsNull;
    Transformed::yes(join)
}

/// Whether an expression is of the columns of one side.
fn of(expr: &Expr, side: &Arc<DFSchema>) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|column| side.has_column(column))
}
