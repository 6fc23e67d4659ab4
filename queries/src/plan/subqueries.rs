//! Subqueries as SQL means them, where DataFusion's rewriting would mean something else.
//!
//! * A subquery as a value that may have several rows: as a join it would repeat the outer row; here it is an
//!   error row.
//! * `NOT IN (SELECT …)` beside other conditions or with a list that depends on the row: DataFusion's mark joins
//!   know no NULL. `x NOT IN (SELECT y …)` is true just where no row of the list may equal x, that is
//!   `NOT EXISTS (SELECT … WHERE (y = x) IS NOT FALSE)`.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode as _};
use datafusion_common::{Result, Spans};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Subquery};

use crate::functions;

/// Rewrites the subqueries of a plan.
pub(super) fn exact(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let filter = matches!(plan, LogicalPlan::Filter(_));
        let schema = plan.inputs().first().map(|input| input.schema().clone());
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let Some(schema) = &schema else { return Ok(Transformed::no(expr)) };
            let rewritten = if filter {
                let parts = split_conjunction_owned(expr).into_iter().map(|part| match part {
                    Expr::InSubquery(list) if list.negated && plain(&list) => Ok(Expr::InSubquery(list)),
                    Expr::Not(inner) if matches!(inner.as_ref(), Expr::InSubquery(list) if !list.negated && plain(list)) => {
                        Ok(Expr::Not(inner))
                    }
                    part => rewritten(part, schema),
                });
                conjunction(parts.collect::<Result<Vec<_>>>()?)
            } else {
                Some(self::rewritten(expr, schema)?)
            };
            let rewritten = rewritten.unwrap_or_else(|| datafusion_expr::lit(true));
            Ok(Transformed::yes(name.restore(rewritten)))
        })
    })?;
    Ok(plan.data)
}

/// Whether DataFusion's own null-aware join does: the list is one for all rows, the value depends on the row.
fn plain(list: &InSubquery) -> bool {
    list.subquery.outer_ref_columns.is_empty() && !list.expr.column_refs().is_empty()
}

fn rewritten(expr: Expr, schema: &datafusion_common::DFSchemaRef) -> Result<Expr> {
    let expr = expr.transform_up(|part| match part {
        Expr::ScalarSubquery(subquery) => single(subquery).map(Transformed::yes),
        Expr::InSubquery(list) if list.negated => not_in(list, schema).map(Transformed::yes),
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(list) if !list.negated => {
                not_in(InSubquery { negated: true, ..list }, schema).map(Transformed::yes)
            }
            other => Ok(Transformed::no(Expr::Not(Box::new(other)))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    Ok(expr.data)
}

/// A value of at most one row, or an error row.
fn single(subquery: Subquery) -> Result<Expr> {
    let plan = subquery.subquery.as_ref();
    if plan.max_rows().is_some_and(|rows| rows <= 1) {
        return Ok(Expr::ScalarSubquery(subquery));
    }
    let column = Expr::Column(datafusion_common::Column::from(plan.schema().qualified_field(0)));
    let name = plan.schema().field(0).name().clone();
    let value = functions::single_value().call(vec![column]).alias(name);
    let single = LogicalPlanBuilder::from(plan.clone()).aggregate(Vec::<Expr>::new(), vec![value])?.build()?;
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(single), ..subquery }))
}

fn not_in(list: InSubquery, schema: &datafusion_common::DFSchemaRef) -> Result<Expr> {
    let InSubquery { expr, subquery, .. } = list;
    let plan = subquery.subquery.as_ref();
    let element = Expr::Column(datafusion_common::Column::from(plan.schema().qualified_field(0)));
    // Seen from inside the list the value is of the outer row.
    let value = expr.transform_up(|part| match part {
        Expr::Column(column) => {
            let field = Expr::Column(column.clone()).to_field(schema.as_ref())?.1;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let mut outer = subquery.outer_ref_columns.clone();
    value.data.apply(|part| {
        if matches!(part, Expr::OuterReferenceColumn(..)) && !outer.contains(part) {
            outer.push(part.clone());
        }
        Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
    })?;
    let may_equal = element.eq(value.data).is_not_false();
    let filtered = LogicalPlanBuilder::from(plan.clone()).filter(may_equal)?.build()?;
    let subquery = Subquery { subquery: Arc::new(filtered), outer_ref_columns: outer, spans: Spans::default() };
    Ok(Expr::Exists(Exists { subquery, negated: true }))
}
