//! The columns of outer rows that a plan reads, and other columns in their place.

use std::collections::{BTreeMap, BTreeSet};

use datafusion_common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion_expr::{Expr, Join, LogicalPlan, Subquery};

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
fn subquery(expr: &Expr) -> Option<&Subquery> {
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
