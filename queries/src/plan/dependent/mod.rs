//! Subqueries that depend on the outer row in a way that DataFusion does not take apart, or not rightly, such as
//! `(SELECT count(*) FROM t x WHERE x.b < t.b)`.
//!
//! Such a subquery is computed once for each different outer row: the values it reads of the outer relation, each
//! combination once, are pushed below its conditions and are carried along as further columns; the outer relation is
//! then joined to the result by these values (Neumann and Kemper, Unnesting Arbitrary Queries, 2015).
//! Here are subqueries as values and behind LATERAL; [`super::subqueries`] makes values of EXISTS and IN.

mod easy;
mod push;
mod reads;

use std::collections::{BTreeMap, BTreeSet};

use datafusion_common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DataFusionError, JoinType, NullEquality, Result, ScalarValue};
use datafusion_expr::expr::Case;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::conjunction;
use datafusion_expr::{Aggregate, Expr, ExprSchemable as _, Join, LogicalPlan, LogicalPlanBuilder, Subquery, lit};
use datafusion_sql::sqlparser::tokenizer::Span;

use self::easy::{Above, easy};
use self::push::Pushing;
use super::errors::PlanIssue;
use crate::diagnostic::Code;

/// Marks relations that are computed for each left row by a subquery inside of them alone; DataFusion marks those
/// that read the left row themselves.
pub(super) fn marked(plan: LogicalPlan) -> Result<LogicalPlan> {
    reads::marked(plan, &mut Vec::new())
}

/// Takes subqueries apart that DataFusion does not.
pub(super) fn unnested(plan: LogicalPlan) -> Result<LogicalPlan> {
    taken_apart(plan, &mut 0)
}

fn taken_apart(plan: LogicalPlan, count: &mut usize) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) => lateral(join, count).map(Transformed::yes),
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Aggregate(_) => {
            let schema = plan.inputs()[0].schema().clone();
            let mut found = false;
            for expr in plan.expressions() {
                found |= expr.exists(|part| match part {
                    Expr::ScalarSubquery(query) => hard(query, &schema),
                    _ => Ok(false),
                })?;
            }
            if found { rewritten(plan, count).map(Transformed::yes) } else { Ok(Transformed::no(plan)) }
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

/// Whether a subquery as a value depends on the rows of a relation, and not in a way that DataFusion takes apart.
fn hard(query: &Subquery, schema: &DFSchema) -> Result<bool> {
    let reads = reads::of_plan(&query.subquery)?;
    Ok(!reads.is_empty() && within(&reads, schema) && !easy(&query.subquery, Above::ROWS)?)
}

/// Whether EXISTS or IN of a subquery is to be a value, because DataFusion would not make a join of it, or a wrong
/// one.
pub(super) fn hard_to_ask(query: &Subquery, schema: &DFSchema) -> Result<bool> {
    let reads = reads::of_plan(&query.subquery)?;
    let simple = reads.is_empty() || within(&reads, schema) && easy(&query.subquery, Above::ASKED)?;
    Ok(!simple)
}

/// Whether a subquery depends on outer rows.
pub(super) fn depends(query: &Subquery) -> Result<bool> {
    Ok(!reads::of_plan(&query.subquery)?.is_empty())
}

/// Whether an expression has a subquery.
pub(super) fn asks(expr: &Expr) -> Result<bool> {
    expr.exists(|part| Ok(reads::subquery(part).is_some()))
}

/// The columns around it that an expression reads, itself and in its subqueries.
pub(super) fn columns(expr: &Expr) -> Result<BTreeSet<Column>> {
    let mut columns = reads::of_expr(expr, &[])?;
    columns.extend(expr.column_refs().into_iter().cloned());
    Ok(columns)
}

/// Whether the right side of a join reads rows of its left side.
pub(super) fn is_lateral(join: &Join) -> bool {
    reads::lateral(join).is_some()
}

/// Refuses what is left of subqueries where nothing takes them apart.
pub(super) fn checked(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.apply_with_subqueries(|node| {
        let place = match node {
            LogicalPlan::Sort(_) => "ORDER BY",
            LogicalPlan::Window(_) => "the window of a function",
            LogicalPlan::Values(_) => "VALUES",
            LogicalPlan::Join(_) => "ON",
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        for expr in node.expressions() {
            let reads = reads::of_expr(&expr, &[])?;
            if asks(&expr)? && !reads.is_empty() {
                let message = format!("a subquery that depends on the outer row is not supported in {place} yet");
                let hint = "make it a column of a subquery in FROM: (SELECT …, (SELECT …) AS x FROM …)";
                return Err(refused(Code::Unsupported, &message, hint, &reads));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let reads = reads::of_plan(&plan)?;
    match reads.iter().next() {
        Some(column) => {
            let message = format!("\"{}\" of an outer row cannot be read here yet", column.flat_name());
            let hint = "join the outer table inside the subquery, and join the result to it by its key";
            Err(refused(Code::Unsupported, &message, hint, &reads))
        }
        None => Ok(plan),
    }
}

fn within(reads: &BTreeSet<Column>, schema: &DFSchema) -> bool {
    reads.iter().all(|column| schema.has_column(column))
}

/// A join to a relation that is computed for each left row, as a join to that of all left rows.
fn lateral(join: Join, count: &mut usize) -> Result<LogicalPlan> {
    let Some(subquery) = reads::lateral(&join) else { return Ok(LogicalPlan::Join(join)) };
    let reads = reads::of_plan(&subquery.subquery)?;
    let mine = !reads.is_empty() && within(&reads, join.left.schema());
    if !mine || !matches!(join.join_type, JoinType::Inner | JoinType::Left) || easy(&subquery.subquery, Above::ROWS)? {
        return Ok(LogicalPlan::Join(join));
    }
    *count += 1;
    let pushing = pushing(&join.left, reads, &format!("__outer_{count}"), None)?;
    let mut body = taken_apart(pushing.aligned(&subquery.subquery)?, count)?;
    let mut relation = None;
    if let LogicalPlan::SubqueryAlias(alias) = join.right.as_ref() {
        relation = Some(alias.alias.clone());
        body = LogicalPlanBuilder::from(body).alias(alias.alias.clone())?.build()?;
    }
    let left: Vec<Column> = pushing.places.keys().cloned().collect();
    let right: Vec<Column> = pushing.places.values().map(|place| Column::new(relation.clone(), place)).collect();
    let filter = conjunction(join.on.into_iter().map(|(left, right)| left.eq(right)).chain(join.filter));
    let shown: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
    LogicalPlanBuilder::from(join.left.as_ref().clone())
        .join_detailed(body, join.join_type, (left, right), filter, NullEquality::NullEqualsNull)?
        .project(shown)?
        .build()
}

/// The values of a relation that a subquery reads.
fn pushing<'p>(
    input: &LogicalPlan,
    reads: BTreeSet<Column>,
    name: &str,
    except: Option<&'p Aggregate>,
) -> Result<Pushing<'p>> {
    let places: BTreeMap<Column, String> =
        reads.into_iter().enumerate().map(|(index, column)| (column, format!("{name}_{index}"))).collect();
    let values = places.iter().map(|(column, place)| Expr::Column(column.clone()).alias(place));
    let values = LogicalPlanBuilder::from(input.clone()).project(values)?.distinct()?.alias(name)?.build()?;
    Ok(Pushing { values, places, except })
}

fn rewritten(plan: LogicalPlan, count: &mut usize) -> Result<LogicalPlan> {
    let mut input = plan.inputs()[0].clone();
    let shown = input.schema().clone();
    let names = NamePreserver::new(&plan);
    let mut exprs = Vec::new();
    for expr in plan.expressions() {
        let name = names.save(&expr);
        let expr = expr.transform_down(|part| match part {
            Expr::ScalarSubquery(query) if hard(&query, &shown)? => {
                *count += 1;
                let (with_value, value) = joined(&input, &query, count)?;
                input = with_value;
                Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        })?;
        exprs.push(name.restore(expr.data));
    }
    let is_filter = matches!(plan, LogicalPlan::Filter(_));
    let plan = plan.with_new_exprs(exprs, vec![input])?;
    if !is_filter {
        return Ok(plan);
    }
    let columns: Vec<Expr> = shown.columns().into_iter().map(Expr::Column).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// The outer relation with the value of a subquery, and the expression of the value.
fn joined(input: &LogicalPlan, query: &Subquery, count: &mut usize) -> Result<(LogicalPlan, Expr)> {
    let name = format!("__outer_{count}");
    let empty = over_no_rows(&query.subquery)?;
    let except = empty.as_ref().map(|(_, aggregate)| *aggregate);
    let pushing = pushing(input, reads::of_plan(&query.subquery)?, &name, except)?;
    let body = taken_apart(pushing.aligned(&query.subquery)?, count)?;
    let value = Expr::Column(Column::from(body.schema().qualified_field(0))).alias(format!("{name}_value"));
    let found = lit(true).alias(format!("{name}_found"));
    let carried = pushing.places.values().map(|place| Expr::Column(Column::new_unqualified(place)));
    let body = LogicalPlanBuilder::from(body).project([value, found].into_iter().chain(carried))?.build()?;
    let body = LogicalPlanBuilder::from(body).alias(format!("{name}_result"))?.build()?;
    let at = |column: String| Column::new(Some(format!("{name}_result")), column);
    let left: Vec<Column> = pushing.places.keys().cloned().collect();
    let right: Vec<Column> = pushing.places.values().map(|place| at(place.clone())).collect();
    let joined = LogicalPlanBuilder::from(input.clone())
        .join_detailed(body, JoinType::Left, (left, right), None, NullEquality::NullEqualsNull)?
        .build()?;
    let value = Expr::Column(at(format!("{name}_value")));
    let Some((empty, _)) = empty else { return Ok((joined, value)) };
    let empty = empty.cast_to(&value.get_type(joined.schema())?, joined.schema().as_ref())?;
    let missing = Expr::Column(at(format!("{name}_found"))).is_null();
    let case = Case::new(None, vec![(Box::new(missing), Box::new(empty))], Some(Box::new(value)));
    Ok((joined, Expr::Case(case)))
}

/// What the value of a subquery is where no row is found, and the aggregate that makes it so; none if that is not
/// simply told.
fn over_no_rows(plan: &LogicalPlan) -> Result<Option<(Expr, &Aggregate)>> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => over_no_rows(&alias.input),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => match aggregate.aggr_expr.first() {
            Some(call) => Ok(Some((empty_call(call, &aggregate.input)?, aggregate))),
            None => Ok(None),
        },
        LogicalPlan::Projection(projection) => {
            let mut below = projection.input.as_ref();
            while let LogicalPlan::SubqueryAlias(alias) = below {
                below = alias.input.as_ref();
            }
            let (LogicalPlan::Aggregate(aggregate), [expr]) = (below, projection.expr.as_slice()) else {
                return Ok(None);
            };
            let nested = expr.exists(|part| Ok(matches!(part, Expr::ScalarSubquery(_))))?;
            if !aggregate.group_expr.is_empty() || nested {
                return Ok(None);
            }
            let schema = projection.input.schema();
            let value = expr.clone().unalias_nested().data.transform_up(|part| match part {
                Expr::Column(column) => {
                    let index = schema.index_of_column(&column)?;
                    Ok(Transformed::yes(empty_call(&aggregate.aggr_expr[index], &aggregate.input)?))
                }
                Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
                other => Ok(Transformed::no(other)),
            })?;
            Ok(Some((value.data, aggregate)))
        }
        _ => Ok(None),
    }
}

/// What an aggregate is over no rows, or for the grouping of all rows.
fn empty_call(call: &Expr, input: &LogicalPlan) -> Result<Expr> {
    match call {
        Expr::Alias(alias) => empty_call(&alias.expr, input),
        Expr::AggregateFunction(function) if function.func.name() == "grouping" => {
            Ok(lit((1_i32 << function.params.args.len()) - 1))
        }
        Expr::AggregateFunction(function) => {
            let data_type = call.get_type(input.schema())?;
            Ok(Expr::Literal(function.func.default_value(&data_type)?, None))
        }
        _ => Ok(Expr::Literal(ScalarValue::Null, None)),
    }
}

/// A subquery that cannot be taken apart, at the keyword of the message or at an outer column that it reads.
pub(super) fn refused<'c>(
    code: Code,
    message: &str,
    hint: &str,
    reads: impl IntoIterator<Item = &'c Column>,
) -> DataFusionError {
    let is_keyword = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
    let keyword = message.split(' ').find(is_keyword).map(str::to_owned);
    let columns = reads.into_iter().map(Column::flat_name);
    PlanIssue::new(code, message, Span::empty()).hint(hint).near(keyword.into_iter().chain(columns)).into()
}
