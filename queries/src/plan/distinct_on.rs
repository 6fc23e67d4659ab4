//! `DISTINCT ON` as the first row of each partition.
//!
//! DataFusion turns it into aggregates before it pushes filters down, and therefore pushes filters through the node
//! as it does through DISTINCT. But a filter of the rows that were chosen is none of the rows to choose from. It does
//! not push one through `row_number() = 1`, unless it is of the partition.

use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, Result};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::{Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, lit};

use super::registry::registry;

/// The column that numbers the rows of a partition.
pub(super) const PLACE: &str = "place of distinct on";

/// Rewrites each `DISTINCT ON`.
pub(super) fn first_of_each(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Distinct(Distinct::On(distinct)) => numbered(distinct).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

fn numbered(distinct: DistinctOn) -> Result<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, .. } = distinct;
    let Some(function) = registry().window.get("row_number") else {
        return datafusion_common::internal_err!("row_number is a window function");
    };
    let order = sort_expr.into_iter().flatten().filter(|sort| !on_expr.contains(&sort.expr)).collect();
    let function = WindowFunctionDefinition::WindowUDF(function.clone());
    let mut place = WindowFunction::new(function, Vec::new());
    (place.params.partition_by, place.params.order_by) = (on_expr, order);
    let place = Expr::from(place).alias(PLACE);
    LogicalPlanBuilder::from(input.as_ref().clone())
        .window(vec![place])?
        .filter(Expr::Column(Column::new_unqualified(PLACE)).eq(lit(1_u64)))?
        .project(select_expr)?
        .build()
}
