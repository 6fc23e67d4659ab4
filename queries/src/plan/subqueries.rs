//! Subqueries as SQL means them, where DataFusion's rewriting would mean something else.
//!
//! * A subquery as a value that may have several rows: as a join it would repeat the outer row; here it is an
//!   error row.
//! * `NOT IN (SELECT …)` beside other conditions or with a list that depends on the row: DataFusion's mark joins
//!   know no NULL. `x NOT IN (SELECT y …)` is true just where no row of the list may equal x, that is
//!   `NOT EXISTS (SELECT … WHERE (y = x) IS NOT FALSE)`.
//! * `EXISTS` and `IN (SELECT …)` outside of conditions: they ask whether a count is above zero. So do those in
//!   conditions that depend on the outer row in a way of which DataFusion makes no join, or a wrong one.
//! * `x IN (SELECT count(*) …)` of outer rows: there is one row always, so that it is `x = (SELECT count(*) …)`.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode as _};
use datafusion_common::{DFSchemaRef, Result, ScalarValue, Spans};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{
    BinaryExpr, Distinct, Expr, ExprSchemable as _, FetchType, LogicalPlan, LogicalPlanBuilder, Operator, SkipType,
    Subquery, binary_expr, lit, when,
};

use super::dependent::{depends, hard_to_ask};
use super::join_subqueries::moved_out;
use crate::functions;

/// Rewrites the subqueries of a plan.
pub(super) fn exact(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| {
        let plan = moved_out(below_aggregate(plan)?)?;
        let names = NamePreserver::new(&plan);
        let (filter, shows) = (matches!(plan, LogicalPlan::Filter(_)), matches!(plan, LogicalPlan::Projection(_)));
        let schema = match &plan {
            LogicalPlan::Join(join) => Some(join.schema.clone()),
            plan => plan.inputs().first().map(|input| input.schema().clone()),
        };
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let Some(schema) = &schema else { return Ok(Transformed::no(expr)) };
            let rewritten = if filter {
                let parts = split_conjunction_owned(expr).into_iter().map(|part| match part {
                    Expr::InSubquery(list) if list.negated && plain(&list)? => Ok(Expr::InSubquery(list)),
                    Expr::Not(inner) => match *inner {
                        Expr::InSubquery(list) if !list.negated && plain(&list)? => Ok(!Expr::InSubquery(list)),
                        inner => condition(!inner, schema),
                    },
                    part => condition(part, schema),
                });
                conjunction(parts.collect::<Result<Vec<_>>>()?)
            } else {
                Some(if shows { value(expr, schema)? } else { self::rewritten(of_one_row(expr)?, schema)? })
            };
            let rewritten = rewritten.unwrap_or_else(|| lit(true));
            Ok(Transformed::yes(name.restore(rewritten)))
        })
    })?;
    Ok(plan.data)
}

/// Subqueries in the arguments of aggregates as columns of what is aggregated.
fn below_aggregate(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(plan) };
    let schema = aggregate.input.schema().clone();
    let mut columns: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    let width = columns.len();
    let mut moved = |expr: Expr| {
        let saved = expr.schema_name().to_string();
        let expr = as_value(of_one_row(expr)?, &schema)?.transform_up(|part| {
            let Expr::ScalarSubquery(subquery) = part else { return Ok(Transformed::no(part)) };
            let name = format!("subquery:{}", columns.len());
            columns.push(single(subquery)?.alias(&name));
            Ok(Transformed::yes(Expr::Column(datafusion_common::Column::new_unqualified(name))))
        })?;
        Ok(if expr.transformed { expr.data.alias(saved) } else { expr.data })
    };
    let groups = aggregate.group_expr.iter().cloned().map(&mut moved).collect::<Result<Vec<Expr>>>()?;
    let calls = aggregate.aggr_expr.iter().cloned().map(&mut moved).collect::<Result<Vec<Expr>>>()?;
    if columns.len() == width {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let below = LogicalPlanBuilder::from(aggregate.input.as_ref().clone()).project(columns)?.build()?;
    LogicalPlanBuilder::from(below).aggregate(groups, calls)?.build()
}

/// Whether DataFusion's own null-aware join does: the list is one for all rows, the value depends on the row.
fn plain(list: &InSubquery) -> Result<bool> {
    Ok(!depends(&list.subquery)? && !list.expr.column_refs().is_empty())
}

/// One of the conditions of a WHERE.
pub(super) fn condition(expr: Expr, schema: &DFSchemaRef) -> Result<Expr> {
    rewritten(asking(of_one_row(expr)?, schema, true)?, schema)
}

/// An expression that is shown, or asked for NULL.
pub(super) fn value(expr: Expr, schema: &DFSchemaRef) -> Result<Expr> {
    rewritten(as_value(of_one_row(expr)?, schema)?, schema)
}

/// A condition that keeps a row where it is true, so that false and NULL are all the same: with `EXISTS` and `IN` of
/// which DataFusion makes joins, among AND and OR, and with values in the place of all others.
fn asking(expr: Expr, schema: &DFSchemaRef, alone: bool) -> Result<Expr> {
    let hard = |subquery: &Subquery| hard_to_ask(subquery, schema);
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let alone = alone && op == Operator::And;
            Ok(binary_expr(asking(*left, schema, alone)?, op, asking(*right, schema, alone)?))
        }
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(list) => {
                asking(Expr::InSubquery(InSubquery { negated: !list.negated, ..list }), schema, alone)
            }
            Expr::Exists(exists) => asking(Expr::Exists(Exists { negated: !exists.negated, ..exists }), schema, alone),
            inner => Ok(!as_value(inner, schema)?),
        },
        Expr::InSubquery(list) if list.negated => asking(not_in(list, schema)?, schema, alone),
        // Beside OR it would call two columns the same.
        Expr::InSubquery(list) if hard(&list.subquery)? || !alone && calls(&list.subquery.subquery)? => {
            let (equal, subquery) = compared(list, schema)?;
            some(filtered(&subquery, equal)?)
        }
        Expr::Exists(Exists { subquery, negated }) if hard(&subquery)? => {
            let found = some(subquery)?;
            Ok(if negated { !found } else { found })
        }
        Expr::InSubquery(list) => Ok(Expr::InSubquery(list)),
        Expr::Exists(exists) => Ok(Expr::Exists(exists)),
        other => as_value(other, schema),
    }
}

/// Whether a plan has aggregates or window functions, which are called as they are written.
fn calls(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_))))
}

/// `EXISTS` and `IN` of outer rows where it is known that there is one row, or does not matter how rows are shown.
fn of_one_row(expr: Expr) -> Result<Expr> {
    let expr = expr.transform_up(|part| match part {
        Expr::Exists(exists) if depends(&exists.subquery)? => {
            if is_one_row(&exists.subquery.subquery) {
                return Ok(Transformed::yes(lit(!exists.negated)));
            }
            let plan = asked(exists.subquery.subquery.as_ref())?;
            let subquery = Subquery { subquery: Arc::new(plan.clone()), ..exists.subquery };
            Ok(Transformed::yes(Expr::Exists(Exists { subquery, ..exists })))
        }
        Expr::InSubquery(list) if depends(&list.subquery)? && is_one_row(&list.subquery.subquery) => {
            let value = Expr::ScalarSubquery(list.subquery);
            Ok(Transformed::yes(if list.negated { list.expr.not_eq(value) } else { Expr::eq(*list.expr, value) }))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(expr.data)
}

/// Whether a plan has one row, whatever its input.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch.is_none() && is_one_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        _ => false,
    }
}

/// What decides whether a plan has rows: not what it shows of them, nor in which order.
fn asked(plan: &LogicalPlan) -> Result<&LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) => asked(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => asked(&alias.input),
        LogicalPlan::Distinct(Distinct::All(input)) => asked(input),
        LogicalPlan::Window(window) => asked(&window.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => asked(&sort.input),
        LogicalPlan::Limit(limit) => match (limit.get_skip_type()?, limit.get_fetch_type()?) {
            (SkipType::Literal(0), FetchType::Literal(fetch)) if fetch != Some(0) => asked(&limit.input),
            _ => Ok(plan),
        },
        _ => Ok(plan),
    }
}

fn rewritten(expr: Expr, schema: &DFSchemaRef) -> Result<Expr> {
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

fn not_in(list: InSubquery, schema: &DFSchemaRef) -> Result<Expr> {
    let (equal, subquery) = compared(list, schema)?;
    let subquery = filtered(&subquery, equal.is_not_false())?;
    Ok(Expr::Exists(Exists { subquery, negated: true }))
}

/// `EXISTS` and `IN` as values, which may be NULL, by counting: DataFusion knows them as conditions only.
fn as_value(expr: Expr, schema: &DFSchemaRef) -> Result<Expr> {
    let expr = expr.transform_up(|part| match part {
        Expr::Exists(Exists { subquery, negated }) => {
            let found = some(subquery)?;
            Ok(Transformed::yes(if negated { !found } else { found }))
        }
        Expr::InSubquery(list) => {
            let negated = list.negated;
            let (equal, subquery) = compared(list, schema)?;
            let found = some(filtered(&subquery, equal.clone())?)?;
            let unknown = some(filtered(&subquery, equal.is_null())?)?;
            let unknown_value = Expr::Literal(ScalarValue::Boolean(None), None);
            let found = when(found, lit(true)).when(unknown, unknown_value).otherwise(lit(false))?;
            Ok(Transformed::yes(if negated { !found } else { found }))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(expr.data)
}

/// Whether a subquery has a row.
fn some(subquery: Subquery) -> Result<Expr> {
    let rows = functions::count().call(vec![lit(1_i64)]).alias("rows");
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
    let counted = plan.aggregate(Vec::<Expr>::new(), vec![rows])?.build()?;
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(counted), ..subquery }).gt(lit(0_i64)))
}

/// The rows of a subquery for which a condition is true.
fn filtered(subquery: &Subquery, condition: Expr) -> Result<Subquery> {
    // One filter: of two that depend on the outer row DataFusion loses the columns of the lower one.
    let (condition, plan) = match subquery.subquery.as_ref() {
        LogicalPlan::Filter(filter) => (filter.predicate.clone().and(condition), filter.input.clone()),
        _ => (condition, subquery.subquery.clone()),
    };
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(plan)).filter(condition)?.build()?;
    let outer_ref_columns = subquery.outer_ref_columns.clone();
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::default() })
}

/// Whether an element of the list is equal to the value, and the list as it depends on the value.
fn compared(list: InSubquery, schema: &DFSchemaRef) -> Result<(Expr, Subquery)> {
    let InSubquery { expr, mut subquery, .. } = list;
    let mut element = Expr::Column(datafusion_common::Column::from(subquery.subquery.schema().qualified_field(0)));
    if let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() {
        // Beside the conditions that are there already: what lies between would have to let them through.
        element = projection.expr[0].clone().unalias();
        subquery.subquery = projection.input.clone();
    }
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
    Ok((element.eq(value.data), Subquery { outer_ref_columns: outer, ..subquery }))
}
