//! Subqueries in the ON of a join, which DataFusion takes apart in WHERE only.
//!
//! Of an inner join they are conditions on its pairs. Of an outer join they are conditions on the rows of the side
//! that is shown with a partner only, or values beside the rows of the other side.

use std::sync::Arc;

use datafusion_common::{Column, JoinType, Result};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder};

use super::dependent;
use super::subqueries::{condition, value};
use crate::diagnostic::Code;

/// The join without subqueries in its ON.
pub(super) fn moved_out(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Join(mut join) = plan else { return Ok(plan) };
    let outer = matches!(join.join_type, JoinType::Left | JoinType::Right | JoinType::Full);
    if !outer && join.join_type != JoinType::Inner {
        return Ok(LogicalPlan::Join(join));
    }
    let (mut asking, mut rest) = (Vec::new(), Vec::new());
    for part in join.filter.take().into_iter().flat_map(split_conjunction_owned) {
        if dependent::asks(&part)? { &mut asking } else { &mut rest }.push(part);
    }
    join.filter = conjunction(rest);
    match (outer, conjunction(asking.clone())) {
        (_, None) => Ok(LogicalPlan::Join(join)),
        (false, Some(condition)) => LogicalPlanBuilder::from(LogicalPlan::Join(join)).filter(condition)?.build(),
        (true, Some(_)) => beside(join, asking),
    }
}

/// An outer join with conditions that are decided on one of its sides.
fn beside(mut join: Join, parts: Vec<Expr>) -> Result<LogicalPlan> {
    let shown: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
    for (index, part) in parts.into_iter().enumerate() {
        let columns = dependent::columns(&part)?;
        let in_left = columns.iter().all(|column| join.left.schema().has_column(column));
        let in_right = columns.iter().all(|column| join.right.schema().has_column(column));
        let right = match (join.join_type, in_left, in_right) {
            (JoinType::Right, true, _) => false,
            (_, _, true) => true,
            (_, true, _) => false,
            (_, false, false) => return Err(of_both(&columns)),
        };
        if right && dependent::is_lateral(&join) {
            return Err(of_both(&columns));
        }
        let side = if right { &mut join.right } else { &mut join.left };
        let (input, schema) = (LogicalPlanBuilder::from(side.as_ref().clone()), side.schema().clone());
        let with = if (join.join_type, right) == (JoinType::Left, true)
            || (join.join_type, right) == (JoinType::Right, false)
        {
            input.filter(condition(part, &schema)?)?
        } else {
            let name = format!("condition:{index}");
            let mut exprs: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
            exprs.push(value(part, &schema)?.alias(&name));
            join.filter =
                conjunction(join.filter.take().into_iter().chain([Expr::Column(Column::new_unqualified(name))]));
            input.project(exprs)?
        };
        *side = Arc::new(with.build()?);
    }
    let Join { left, right, on, filter, join_type, join_constraint, null_equality, null_aware, .. } = join;
    let join = Join::try_new(left, right, on, filter, join_type, join_constraint, null_equality, null_aware)?;
    LogicalPlanBuilder::from(LogicalPlan::Join(join)).project(shown)?.build()
}

fn of_both<'c>(columns: impl IntoIterator<Item = &'c Column>) -> datafusion_common::DataFusionError {
    let message = "a subquery about both sides of an outer join is not supported in its ON yet";
    let hint = "write an inner JOIN with this condition in a subquery, and LEFT JOIN to that by a key of the left side";
    dependent::refused(Code::Unsupported, message, hint, columns)
}
