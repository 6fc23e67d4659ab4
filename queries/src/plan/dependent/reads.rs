//! The columns of outer rows that a plan reads, and other columns in their place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ExprSchema as _, JoinType, Result, Spans};
use datafusion_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Subquery};

use super::refused;
use crate::diagnostic::Code;

/// The outer columns that a plan and the subqueries inside of it read, without those that are theirs alone.
pub(super) fn of_plan(plan: &LogicalPlan) -> Result<BTreeSet<Column>> {
    let mut found = BTreeSet::new();
    for input in plan.inputs() {
        found.extend(of_plan(input)?);
    }
    if let LogicalPlan::Join(join) = plan
        && lateral(join).is_some()
    {
        found = of_plan(&join.left)?;
        found.extend(of_plan(&join.right)?.into_iter().filter(|column| !join.left.schema().has_column(column)));
    }
    for expr in plan.expressions() {
        found.extend(of_expr(&expr, &scope(plan))?);
    }
    Ok(found)
}

/// The relations whose columns the expressions of a plan see.
fn scope(plan: &LogicalPlan) -> Vec<&DFSchema> {
    plan.inputs().into_iter().map(|input| input.schema().as_ref()).collect()
}

/// The outer columns that an expression over these relations reads.
pub(super) fn of_expr(expr: &Expr, scope: &[&DFSchema]) -> Result<BTreeSet<Column>> {
    let mut found = BTreeSet::new();
    expr.apply(|part| {
        if let Expr::OuterReferenceColumn(_, column) = part {
            found.insert(column.clone());
        }
        if let Some(subquery) = subquery(part) {
            let inner = of_plan(&subquery.subquery)?.into_iter();
            found.extend(inner.filter(|column| !scope.iter().any(|schema| schema.has_column(column))));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The subquery that an expression is.
pub(super) fn subquery(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

/// The right side of a join that reads rows of its left side, under its name.
pub(super) fn lateral(join: &Join) -> Option<&Subquery> {
    match join.right.as_ref() {
        LogicalPlan::Subquery(subquery) => Some(subquery),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some(subquery),
            _ => None,
        },
        _ => None,
    }
}

/// Marks right sides of joins that read their left side only in subqueries. What a relation further out has too is
/// left to it.
pub(super) fn marked(plan: LogicalPlan, around: &mut Vec<DFSchemaRef>) -> Result<LogicalPlan> {
    let plan = match plan {
        LogicalPlan::Join(mut join) => {
            let is_lateral = lateral(&join).is_some();
            join.left = Arc::new(marked(Arc::unwrap_or_clone(join.left), around)?);
            around.extend(is_lateral.then(|| join.left.schema().clone()));
            join.right = Arc::new(marked(Arc::unwrap_or_clone(join.right), around)?);
            around.truncate(around.len() - usize::from(is_lateral));
            marked_join(join, around)?
        }
        other => other.map_children(|input| marked(input, around).map(Transformed::yes))?.data,
    };
    let scope: Vec<DFSchemaRef> = plan.inputs().into_iter().map(|input| input.schema().clone()).collect();
    let count = scope.len();
    around.extend(scope);
    let plan = plan.map_subqueries(|subquery| marked(subquery, around).map(Transformed::yes))?.data;
    around.truncate(around.len() - count);
    Ok(plan)
}

fn marked_join(mut join: Join, around: &[DFSchemaRef]) -> Result<LogicalPlan> {
    if lateral(&join).is_some() || !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(LogicalPlan::Join(join));
    }
    let schema = join.left.schema();
    let mut columns: BTreeSet<Column> = of_plan(&join.right)?;
    columns.retain(|column| schema.has_column(column));
    if let Some(column) = columns.iter().find(|column| around.iter().any(|outer| outer.has_column(column))) {
        let message = format!("\"{}\" may be of either of two relations around this subquery", column.flat_name());
        return Err(refused(Code::AmbiguousColumn, &message, "give one of them another alias", [column]));
    }
    let Some(column) = columns.iter().next() else { return Ok(LogicalPlan::Join(join)) };
    let field = schema.field_from_column(column)?.clone();
    let outer_ref_columns = vec![Expr::OuterReferenceColumn(field, column.clone())];
    let inside = |subquery| LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans: Spans::new() });
    join.right = Arc::new(match Arc::unwrap_or_clone(join.right) {
        LogicalPlan::SubqueryAlias(alias) => {
            LogicalPlanBuilder::from(inside(alias.input)).alias(alias.alias)?.build()?
        }
        other => inside(Arc::new(other)),
    });
    Ok(LogicalPlan::Join(join))
}

/// Columns in the place of outer ones.
pub(super) type Places = BTreeMap<Column, Column>;

/// An expression over relations that hold the places: it reads them as its own columns, and its subqueries as
/// columns of their outer row.
pub(super) fn own(expr: Expr, places: &Places, scope: &[&DFSchema]) -> Result<Expr> {
    let expr = expr.transform_up(|part| match part {
        Expr::OuterReferenceColumn(_, column) if places.contains_key(&column) => {
            Ok(Transformed::yes(Expr::Column(places[&column].clone())))
        }
        part => inside(part, places, scope),
    })?;
    Ok(expr.data)
}

/// A plan around which the places are.
pub(super) fn outer(plan: LogicalPlan, places: &Places) -> Result<LogicalPlan> {
    let plan = plan.transform_up(|plan| {
        let plan = match plan {
            LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }) => {
                let outer_ref_columns = moved(outer_ref_columns, places)?;
                LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans })
            }
            plan => plan,
        };
        let schemas: Vec<_> = plan.inputs().into_iter().map(|input| input.schema().clone()).collect();
        let scope: Vec<&DFSchema> = schemas.iter().map(AsRef::as_ref).collect();
        let plan = plan.map_expressions(|expr| {
            expr.transform_up(|part| match part {
                Expr::OuterReferenceColumn(field, column) if places.contains_key(&column) => {
                    Ok(Transformed::yes(Expr::OuterReferenceColumn(field, places[&column].clone())))
                }
                part => inside(part, places, &scope),
            })
        })?;
        Ok(Transformed::yes(plan.data))
    })?;
    Ok(plan.data)
}

/// The places as the subquery sees them that an expression is. A column of the relations around it is meant before
/// one of the same name further out.
fn inside(part: Expr, places: &Places, scope: &[&DFSchema]) -> Result<Transformed<Expr>> {
    let Some(subquery) = subquery(&part) else { return Ok(Transformed::no(part)) };
    let hidden = |column: &Column| scope.iter().any(|schema| schema.has_column(column));
    let seen: Places =
        places.iter().filter(|(column, _)| !hidden(column)).map(|(a, b)| (a.clone(), b.clone())).collect();
    let outer_ref_columns = moved(subquery.outer_ref_columns.clone(), &seen)?;
    let plan = outer(subquery.subquery.as_ref().clone(), &seen)?;
    let moved = Subquery { subquery: plan.into(), outer_ref_columns, spans: subquery.spans.clone() };
    Ok(Transformed::yes(match part {
        Expr::ScalarSubquery(_) => Expr::ScalarSubquery(moved),
        Expr::Exists(exists) => Expr::Exists(Exists { subquery: moved, ..exists }),
        Expr::InSubquery(list) => Expr::InSubquery(InSubquery { subquery: moved, ..list }),
        Expr::SetComparison(set) => Expr::SetComparison(SetComparison { subquery: moved, ..set }),
        other => other,
    }))
}

fn moved(columns: Vec<Expr>, places: &Places) -> Result<Vec<Expr>> {
    let moved = columns.into_iter().map(|expr| match expr {
        Expr::OuterReferenceColumn(field, column) => {
            let column = places.get(&column).cloned().unwrap_or(column);
            Ok(Expr::OuterReferenceColumn(field, column))
        }
        other => Ok(other),
    });
    moved.collect()
}
