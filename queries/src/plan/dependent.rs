//! Subqueries as values that depend on the outer row by more than equality, such as
//! `(SELECT count(*) FROM t x WHERE x.b < t.b)`.
//!
//! DataFusion takes only equalities apart. Here the subquery is computed once for each different outer row: the
//! values it reads of the outer relation, each once, are joined below its conditions and are carried along as
//! further grouping columns; the outer relation is then joined to the result by these values (Neumann and Kemper,
//! Unnesting Arbitrary Queries, 2015). Where no row was found, the aggregates are what they are over no rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion_common::{Column, JoinType, NullEquality, Result, ScalarValue};
use datafusion_expr::expr::Case;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};

/// Takes subqueries apart that DataFusion does not.
pub(super) fn unnested(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut count = 0;
    let plan = plan.transform_up_with_subqueries(|plan| {
        if !matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Aggregate(_)) {
            return Ok(Transformed::no(plan));
        }
        let is_hard = |expr: &Expr| expr.exists(|part| Ok(matches!(part, Expr::ScalarSubquery(query) if hard(query)?)));
        let mut found = false;
        for expr in plan.expressions() {
            found |= is_hard(&expr)?;
        }
        if found { rewritten(plan, &mut count).map(Transformed::yes) } else { Ok(Transformed::no(plan)) }
    })?;
    Ok(plan.data)
}

/// Whether a subquery depends on the outer row in a way that DataFusion does not take apart.
fn hard(query: &Subquery) -> Result<bool> {
    if query.outer_ref_columns.is_empty() {
        return Ok(false);
    }
    let (mut hard, mut filters) = (false, 0);
    query.subquery.apply(|plan| {
        let easy = |part: &Expr| match part {
            part if !part.contains_outer() => true,
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                let outer = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(..));
                let inner = |expr: &Expr| !expr.contains_outer() && !expr.column_refs().is_empty();
                outer(left) && inner(right) || outer(right) && inner(left)
            }
            _ => false,
        };
        match plan {
            LogicalPlan::Filter(filter) => {
                filters += usize::from(filter.predicate.contains_outer());
                hard |= !split_conjunction(&filter.predicate).into_iter().all(easy);
            }
            other => hard |= other.expressions().iter().any(Expr::contains_outer),
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    // Of two it loses the columns of the lower one.
    Ok(hard || filters > 1)
}

fn rewritten(plan: LogicalPlan, count: &mut usize) -> Result<LogicalPlan> {
    let mut input = plan.inputs()[0].clone();
    let shown = input.schema().clone();
    let names = NamePreserver::new(&plan);
    let mut exprs = Vec::new();
    for expr in plan.expressions() {
        let name = names.save(&expr);
        let expr = expr.transform_down(|part| match part {
            Expr::ScalarSubquery(query) if hard(&query)? => {
                *count += 1;
                match joined(&input, &query, *count)? {
                    Some((with_value, value)) => {
                        input = with_value;
                        Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                    }
                    None => Ok(Transformed::no(Expr::ScalarSubquery(query))),
                }
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

/// The outer relation with the value of a subquery, and the expression of the value; none if it cannot be had so.
fn joined(input: &LogicalPlan, query: &Subquery, number: usize) -> Result<Option<(LogicalPlan, Expr)>> {
    let mut outer: Vec<Column> = Vec::new();
    query.subquery.apply(|plan| {
        for expr in plan.expressions() {
            expr.apply(|part| {
                if let Expr::OuterReferenceColumn(_, column) = part
                    && !outer.contains(column)
                {
                    outer.push(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !outer.iter().all(|column| input.schema().has_column(column)) {
        return Ok(None);
    }
    let name = format!("__outer_{number}");
    let places: BTreeMap<Column, String> =
        outer.iter().enumerate().map(|(index, column)| (column.clone(), format!("{name}_{index}"))).collect();
    let values = outer.iter().map(|column| Expr::Column(column.clone()).alias(&places[column]));
    let values = LogicalPlanBuilder::from(input.clone()).project(values)?.distinct()?.alias(name.as_str())?.build()?;
    let Some(empty) = over_no_rows(&query.subquery)? else { return Ok(None) };
    let pushing = Pushing { values, places: &places };
    let Some(body) = pushing.push(&query.subquery)? else { return Ok(None) };
    let value = Expr::Column(Column::from(body.schema().qualified_field(0))).alias(format!("{name}_value"));
    let carried = places.values().map(|place| carried(&body, place)).collect::<Result<Vec<_>>>()?;
    let found = lit(true).alias(format!("{name}_found"));
    let body = LogicalPlanBuilder::from(body).project([value, found].into_iter().chain(carried))?.build()?;
    let body = LogicalPlanBuilder::from(body).alias(format!("{name}_result"))?.build()?;
    let at = |column: String| Column::new(Some(format!("{name}_result")), column);
    let left: Vec<Column> = places.keys().cloned().collect();
    let right: Vec<Column> = places.values().map(|place| at(place.clone())).collect();
    let joined = LogicalPlanBuilder::from(input.clone())
        .join_detailed(body, JoinType::Left, (left, right), None, NullEquality::NullEqualsNull)?
        .build()?;
    let value = Expr::Column(at(format!("{name}_value")));
    let empty = empty.cast_to(&value.get_type(joined.schema())?, joined.schema().as_ref())?;
    let missing = Expr::Column(at(format!("{name}_found"))).is_null();
    let case = Case::new(None, vec![(Box::new(missing), Box::new(empty))], Some(Box::new(value)));
    Ok(Some((joined, Expr::Case(case))))
}

/// A column that is carried along, whatever its relation is called by now.
fn carried(plan: &LogicalPlan, place: &str) -> Result<Expr> {
    let found = plan.schema().iter().find(|(_, field)| field.name() == place);
    match found {
        Some((qualifier, field)) => Ok(Expr::Column(Column::from((qualifier, field))).alias(place)),
        None => datafusion_common::internal_err!("{place} was lost"),
    }
}

/// What the subquery's value is where no row is found; none if that cannot be told.
fn over_no_rows(plan: &LogicalPlan) -> Result<Option<Expr>> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => over_no_rows(&alias.input),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            Ok(aggregate.aggr_expr.first().map(empty_call))
        }
        LogicalPlan::Projection(projection) => {
            let mut below = projection.input.as_ref();
            while let LogicalPlan::SubqueryAlias(alias) = below {
                below = alias.input.as_ref();
            }
            let LogicalPlan::Aggregate(aggregate) = below else { return Ok(None) };
            if !aggregate.group_expr.is_empty() {
                return Ok(None);
            }
            let schema = projection.input.schema();
            let value = projection.expr[0].clone().unalias_nested().data.transform_up(|part| match part {
                Expr::Column(column) => {
                    let index = schema.index_of_column(&column)?;
                    Ok(Transformed::yes(empty_call(&aggregate.aggr_expr[index])))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(Some(value.data))
        }
        _ => Ok(None),
    }
}

fn empty_call(call: &Expr) -> Expr {
    match call {
        Expr::Alias(alias) => empty_call(&alias.expr),
        Expr::AggregateFunction(function) if ["count", "regr_count"].contains(&function.func.name()) => lit(0_i64),
        _ => Expr::Literal(ScalarValue::Null, None),
    }
}

/// Joins the values of the outer relation below the conditions that read them.
struct Pushing<'p> {
    values: LogicalPlan,
    places: &'p BTreeMap<Column, String>,
}

impl Pushing<'_> {
    /// The plan with the values as further columns; none if it holds what they cannot pass.
    fn push(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        Ok(match plan {
            LogicalPlan::Filter(filter) => {
                let Some(input) = self.below(&filter.input)? else { return Ok(None) };
                let predicate = self.inner(filter.predicate.clone(), &input)?;
                Some(LogicalPlanBuilder::from(input).filter(predicate)?.build()?)
            }
            LogicalPlan::Projection(projection) => {
                let Some(input) = self.below(&projection.input)? else { return Ok(None) };
                let mut exprs = Vec::new();
                for (expr, column) in projection.expr.iter().zip(projection.schema.columns()) {
                    exprs.push(self.inner(expr.clone(), &input)?.alias(column.name));
                }
                exprs.extend(self.all(&input)?);
                Some(LogicalPlanBuilder::from(input).project(exprs)?.build()?)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(input) = self.below(&alias.input)? else { return Ok(None) };
                Some(LogicalPlanBuilder::from(input).alias(alias.alias.clone())?.build()?)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Some(input) = self.below(input)? else { return Ok(None) };
                Some(LogicalPlanBuilder::from(input).distinct()?.build()?)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let Some(input) = self.below(&aggregate.input)? else { return Ok(None) };
                let mut groups = Vec::new();
                for expr in &aggregate.group_expr {
                    groups.push(self.inner(expr.clone(), &input)?);
                }
                let mut calls = Vec::new();
                for expr in &aggregate.aggr_expr {
                    let name = expr.schema_name().to_string();
                    calls.push(self.inner(expr.clone(), &input)?.alias_if_changed(name)?);
                }
                let shown = aggregate.schema.columns();
                groups.extend(self.plain(&input)?);
                let grouped = Aggregate::try_new(Arc::new(input), groups, calls)?;
                let grouped = LogicalPlan::Aggregate(grouped);
                // The columns of the plan first, as everything above expects.
                let mut exprs: Vec<Expr> = shown.into_iter().map(Expr::Column).collect();
                exprs.extend(self.all(&grouped)?);
                Some(LogicalPlanBuilder::from(grouped).project(exprs)?.build()?)
            }
            _ => None,
        })
    }

    fn below(&self, input: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        let mut depends = false;
        input.apply(|plan| {
            depends |= plan.expressions().iter().any(Expr::contains_outer);
            Ok(if depends { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if depends {
            return self.push(input);
        }
        let with = LogicalPlanBuilder::from(input.clone()).cross_join(self.values.clone())?.build()?;
        Ok(Some(with))
    }

    /// The values as columns of a plan, under their own names.
    fn all(&self, plan: &LogicalPlan) -> Result<Vec<Expr>> {
        self.places.values().map(|place| carried(plan, place)).collect()
    }

    /// The values as columns of a plan.
    fn plain(&self, plan: &LogicalPlan) -> Result<Vec<Expr>> {
        Ok(self.all(plan)?.into_iter().map(Expr::unalias).collect())
    }

    /// An expression that reads the values instead of the outer row.
    fn inner(&self, expr: Expr, plan: &LogicalPlan) -> Result<Expr> {
        let expr = expr.transform_up(|part| match &part {
            Expr::OuterReferenceColumn(_, column) => match self.places.get(column) {
                Some(place) => Ok(Transformed::yes(carried(plan, place)?.unalias())),
                None => Ok(Transformed::no(part)),
            },
            _ => Ok(Transformed::no(part)),
        })?;
        Ok(expr.data)
    }
}
