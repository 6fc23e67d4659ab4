//! The values of the outer rows pushed below the conditions that read them.
//!
//! A plan that reads outer columns becomes one that has these values as further columns: it is then the plan of each
//! different outer row, side by side. What puts rows together puts together only rows of the same values.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode as _};
use datafusion_common::{Column, DFSchema, DataFusionError, JoinType, NullEquality, Result};
use datafusion_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{
    Aggregate, Distinct, Expr, ExprSchemable as _, Extension, FetchType, Join, Limit, LogicalPlan, LogicalPlanBuilder,
    Projection, SkipType, Sort, Window, WindowFunctionDefinition, lit, when,
};

use super::super::registry::registry;
use super::super::sets::SetNode;
use super::easy::grouping_sets;
use super::{empty_call, reads, refused};
use crate::diagnostic::Code;

/// Numbers the rows of each outer row for a LIMIT.
const PLACE: &str = "place in subquery";

/// What to write instead of a subquery that depends on the outer row.
const ELSEWHERE: &str =
    "join the outer table inside the subquery, GROUP BY its columns too, and join the result to it by them";

/// The values of the outer relation that a subquery reads, each combination once.
pub(super) struct Pushing<'p> {
    /// The relation of them.
    pub(super) values: LogicalPlan,
    /// What each is called in it.
    pub(super) places: BTreeMap<Column, String>,
    /// The aggregate of which a row where none is found is made elsewhere.
    pub(super) except: Option<&'p Aggregate>,
}

impl Pushing<'_> {
    /// The columns of a plan and then the values, under their own names.
    pub(super) fn aligned(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let pushed = self.below(plan)?;
        let exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        LogicalPlanBuilder::from(pushed.clone()).project(exprs.into_iter().chain(self.all(&pushed)?))?.build()
    }

    fn depends(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(reads::of_plan(plan)?.iter().any(|column| self.places.contains_key(column)))
    }

    /// A plan with the values as further columns.
    fn below(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        if self.depends(plan)? {
            return self.push(plan);
        }
        if let LogicalPlan::EmptyRelation(empty) = plan
            && empty.produce_one_row
        {
            return Ok(self.values.clone());
        }
        LogicalPlanBuilder::from(plan.clone()).cross_join(self.values.clone())?.build()
    }

    fn push(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        match plan {
            LogicalPlan::Filter(filter) => {
                let input = self.below(&filter.input)?;
                let predicate = self.inner(filter.predicate.clone(), input.schema())?;
                LogicalPlanBuilder::from(input).filter(predicate)?.build()
            }
            LogicalPlan::Projection(projection) => self.projected(projection, self.below(&projection.input)?),
            LogicalPlan::SubqueryAlias(alias) => {
                LogicalPlanBuilder::from(self.below(&alias.input)?).alias(alias.alias.clone())?.build()
            }
            LogicalPlan::Subquery(subquery) => self.below(&subquery.subquery),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                LogicalPlanBuilder::from(self.aligned(input)?).distinct()?.build()
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregated(aggregate),
            LogicalPlan::Window(window) => self.windowed(window),
            LogicalPlan::Join(join) if reads::lateral(join).is_some() => self.lateral(join),
            LogicalPlan::Join(join) => self.joined(join),
            // Rows of a relation have no order.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.below(&sort.input),
            LogicalPlan::Limit(limit) => self.limited(limit),
            LogicalPlan::Union(union) => {
                let mut sides = union.inputs.iter().map(|input| self.aligned(input));
                let first = sides.next().unwrap_or_else(|| datafusion_common::internal_err!("a union has inputs"))?;
                sides.try_fold(LogicalPlanBuilder::from(first), |all, side| all.union(side?))?.build()
            }
            LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<SetNode>() {
                Some(sets) => {
                    let (left, right) = (self.aligned(&sets.left)?, self.aligned(&sets.right)?);
                    let node = Arc::new(SetNode { left, right, except: sets.except });
                    Ok(LogicalPlan::Extension(Extension { node }))
                }
                None => Err(self.unsupported("this table function or construct", ELSEWHERE)),
            },
            LogicalPlan::Values(_) => {
                Err(self.unsupported("VALUES of outer columns", "write SELECT … UNION ALL SELECT …"))
            }
            LogicalPlan::Unnest(_) => Err(self.unsupported("UNNEST", ELSEWHERE)),
            _ => Err(self.unsupported("this construct", ELSEWHERE)),
        }
    }

    fn projected(&self, projection: &Projection, input: LogicalPlan) -> Result<LogicalPlan> {
        let mut exprs = Vec::new();
        for (expr, column) in projection.expr.iter().zip(projection.schema.columns()) {
            exprs.push(self.named(expr, column, input.schema())?);
        }
        exprs.extend(self.all(&input)?);
        LogicalPlanBuilder::from(input).project(exprs)?.build()
    }

    /// An expression that reads the values, under the name of a column of the plan.
    fn named(&self, expr: &Expr, column: Column, schema: &DFSchema) -> Result<Expr> {
        let expr = self.inner(expr.clone(), schema)?;
        let same = expr.qualified_name() == (column.relation.clone(), column.name.clone());
        Ok(if same { expr } else { expr.alias_qualified(column.relation, column.name) })
    }

    fn aggregated(&self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let input = self.below(&aggregate.input)?;
        let sets = grouping_sets(aggregate);
        let mut groups = Vec::new();
        let columns = aggregate.schema.columns();
        for (expr, column) in aggregate.group_expr.iter().zip(&columns) {
            match sets {
                Some(_) if expr.contains_outer() => {
                    return Err(self.unsupported(
                        "GROUPING SETS of outer columns",
                        "group by columns of the tables inside the subquery",
                    ));
                }
                Some(_) => groups.push(expr.clone()),
                None => groups.push(self.named(expr, column.clone(), input.schema())?),
            }
        }
        let first_call = columns.len() - aggregate.aggr_expr.len();
        let mut calls = Vec::new();
        for (expr, column) in aggregate.aggr_expr.iter().zip(&columns[first_call..]) {
            calls.push(self.named(expr, column.clone(), input.schema())?);
        }
        let shown = columns.into_iter().filter(|column| column.name != Aggregate::INTERNAL_GROUPING_ID).collect();
        groups.extend(self.plain(&input)?);
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, calls)?);
        if self.except.is_some_and(|except| std::ptr::eq(except, aggregate)) {
            return self.shown(grouped, shown);
        }
        match of_all_rows(aggregate) {
            0 => self.shown(grouped, shown),
            1 => self.completed(aggregate, grouped, shown),
            _ => Err(self.unsupported("the grouping () twice", "write () once and UNION ALL")),
        }
    }

    /// The columns of the plan first, as everything above expects, and the values.
    fn shown(&self, plan: LogicalPlan, shown: Vec<Column>) -> Result<LogicalPlan> {
        let exprs: Vec<Expr> = shown.into_iter().map(Expr::Column).chain(self.all(&plan)?).collect();
        LogicalPlanBuilder::from(plan).project(exprs)?.build()
    }

    /// Groups with one over no rows for each outer row without any.
    fn completed(&self, aggregate: &Aggregate, grouped: LogicalPlan, shown: Vec<Column>) -> Result<LogicalPlan> {
        let found = "found in subquery";
        let mut exprs: Vec<Expr> = shown.iter().cloned().map(Expr::Column).collect();
        for place in self.places.values() {
            exprs.push(carried(grouped.schema(), place).map(Expr::Column)?.alias(other(place)));
        }
        exprs.push(lit(true).alias(found));
        let grouped = LogicalPlanBuilder::from(grouped).project(exprs)?.build()?;
        let left: Vec<Column> = self.values.schema().columns();
        let right: Vec<Column> = left.iter().map(|column| Column::new_unqualified(other(&column.name))).collect();
        let all = LogicalPlanBuilder::from(self.values.clone())
            .join_detailed(grouped, JoinType::Left, (left, right), None, NullEquality::NullEqualsNull)?
            .build()?;
        let first_call = shown.len() - aggregate.aggr_expr.len();
        let mut exprs = Vec::new();
        for (index, column) in shown.into_iter().enumerate() {
            let value = Expr::Column(column.clone());
            let empty =
                index.checked_sub(first_call).map(|call| empty_call(&aggregate.aggr_expr[call], &aggregate.input));
            match empty.transpose()? {
                Some(Expr::Literal(empty, _)) if !empty.is_null() => {
                    let empty = lit(empty).cast_to(&value.get_type(all.schema())?, all.schema().as_ref())?;
                    let missing = Expr::Column(Column::new_unqualified(found)).is_null();
                    let value = when(missing, empty).otherwise(value)?;
                    exprs.push(value.alias_qualified(column.relation, column.name));
                }
                _ => exprs.push(value),
            }
        }
        exprs.extend(self.all(&all)?);
        LogicalPlanBuilder::from(all).project(exprs)?.build()
    }

    fn windowed(&self, window: &Window) -> Result<LogicalPlan> {
        let input = self.below(&window.input)?;
        let values = self.plain(&input)?;
        let width = window.input.schema().fields().len();
        let mut calls = Vec::new();
        for (expr, column) in window.window_expr.iter().zip(window.schema.columns().split_off(width)) {
            let expr = expr.clone().transform_up(|part| match part {
                Expr::WindowFunction(mut call) => {
                    call.params.partition_by.extend(values.iter().cloned());
                    Ok(Transformed::yes(Expr::WindowFunction(call)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            calls.push(self.named(&expr.data, column, input.schema())?);
        }
        LogicalPlanBuilder::from(input).window(calls)?.build()
    }

    fn limited(&self, limit: &Limit) -> Result<LogicalPlan> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(self.unsupported(
                "a LIMIT that is not a number",
                "number the rows in a subquery, row_number() OVER (ORDER BY …), and compare the number",
            ));
        };
        self.first(&limit.input, skip as u64, fetch.map(|fetch| fetch as u64))
    }

    /// The first rows of each outer row.
    fn first(&self, plan: &LogicalPlan, skip: u64, fetch: Option<u64>) -> Result<LogicalPlan> {
        match plan {
            LogicalPlan::Sort(sort) => self.numbered(sort, skip, fetch),
            LogicalPlan::Projection(projection) => {
                self.projected(projection, self.first(&projection.input, skip, fetch)?)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                LogicalPlanBuilder::from(self.first(&alias.input, skip, fetch)?).alias(alias.alias.clone())?.build()
            }
            _ => {
                let message = "LIMIT without ORDER BY does not say which rows";
                Err(refused(Code::LimitWithoutOrder, message, "add ORDER BY", self.places.keys()))
            }
        }
    }

    fn numbered(&self, sort: &Sort, skip: u64, fetch: Option<u64>) -> Result<LogicalPlan> {
        let input = self.below(&sort.input)?;
        let Some(function) = registry().window.get("row_number") else {
            return datafusion_common::internal_err!("row_number is a window function");
        };
        let mut place = WindowFunction::new(WindowFunctionDefinition::WindowUDF(function.clone()), Vec::new());
        place.params.partition_by = self.plain(&input)?;
        for key in &sort.expr {
            let expr = self.inner(key.expr.clone(), input.schema())?;
            place.params.order_by.push(SortExpr { expr, ..key.clone() });
        }
        let shown: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let number = || Expr::Column(Column::new_unqualified(PLACE));
        let last = fetch.map(|fetch| number().lt_eq(lit(skip.saturating_add(fetch))));
        let wanted = conjunction((skip > 0).then(|| number().gt(lit(skip))).into_iter().chain(last));
        LogicalPlanBuilder::from(input)
            .window(vec![Expr::from(place).alias(PLACE)])?
            .filter(wanted.unwrap_or_else(|| lit(true)))?
            .project(shown)?
            .build()
    }

    /// A join whose right side reads rows of the left one: the values are among them.
    fn lateral(&self, join: &Join) -> Result<LogicalPlan> {
        let left = self.below(&join.left)?;
        let hidden = join.left.schema();
        let mut seen = reads::Places::new();
        for (column, place) in &self.places {
            if !hidden.has_column(column) {
                seen.insert(column.clone(), carried(left.schema(), place)?);
            }
        }
        let right = reads::outer(join.right.as_ref().clone(), &seen)?;
        let schema = left.schema().join(right.schema())?;
        let filter = join.filter.clone().map(|filter| self.inner(filter, &schema)).transpose()?;
        self.rebuilt(join, left, right, join.on.clone(), filter, join.null_equality)
    }

    fn joined(&self, join: &Join) -> Result<LogicalPlan> {
        use JoinType as T;
        let (in_left, in_right) = (self.depends(&join.left)?, self.depends(&join.right)?);
        // A side whose rows may be shown without a partner, or not at all, has to have the values itself.
        let (to_left, to_right) = match join.join_type {
            T::Inner => (in_left || !in_right, in_right),
            T::Left | T::LeftSemi | T::LeftAnti => (true, in_right),
            T::Right | T::RightSemi | T::RightAnti => (in_left, true),
            T::Full | T::LeftMark | T::RightMark => {
                return Err(self.unsupported(
                    "FULL JOIN",
                    "write a LEFT JOIN, and UNION ALL the rows of the right side that have no partner",
                ));
            }
        };
        if join.null_aware {
            return Err(self.unsupported("NOT IN as a join", ELSEWHERE));
        }
        let mut left = if to_left { self.below(&join.left)? } else { join.left.as_ref().clone() };
        let mut right = if to_right { self.below(&join.right)? } else { join.right.as_ref().clone() };
        let (mut on, mut filter, mut null_equality) = (join.on.clone(), join.filter.clone(), join.null_equality);
        if to_left && to_right {
            let kept_right = matches!(join.join_type, T::Right | T::RightSemi | T::RightAnti);
            let renamed = if kept_right { &mut left } else { &mut right };
            *renamed = self.renamed(renamed.clone())?;
            if null_equality == NullEquality::NullEqualsNothing {
                let equal = std::mem::take(&mut on).into_iter().map(|(left, right)| left.eq(right));
                filter = conjunction(equal.chain(filter));
                null_equality = NullEquality::NullEqualsNull;
            }
            for place in self.places.values() {
                let (one, two) = if kept_right { (other(place), place.clone()) } else { (place.clone(), other(place)) };
                let key = |side: &LogicalPlan, name: &str| carried(side.schema(), name).map(Expr::Column);
                on.push((key(&left, &one)?, key(&right, &two)?));
            }
        }
        let schema = left.schema().join(right.schema())?;
        let filter = filter.map(|filter| self.inner(filter, &schema)).transpose()?;
        self.rebuilt(join, left, right, on, filter, null_equality)
    }

    /// The values under other names.
    fn renamed(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let exprs: Vec<Expr> = plan
            .schema()
            .columns()
            .into_iter()
            .map(|column| {
                let name = column.name.clone();
                let is_value = self.places.values().any(|place| *place == name);
                if is_value { Expr::Column(column).alias(other(&name)) } else { Expr::Column(column) }
            })
            .collect();
        LogicalPlanBuilder::from(plan).project(exprs)?.build()
    }

    fn rebuilt(
        &self,
        join: &Join,
        left: LogicalPlan,
        right: LogicalPlan,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
        null_equality: NullEquality,
    ) -> Result<LogicalPlan> {
        let (left, right, constraint) = (Arc::new(left), Arc::new(right), join.join_constraint);
        let with = Join::try_new(left, right, on, filter, join.join_type, constraint, null_equality, false)?;
        self.shown(LogicalPlan::Join(with), join.schema.columns())
    }

    /// The values as columns of a plan, under their own names.
    fn all(&self, plan: &LogicalPlan) -> Result<Vec<Expr>> {
        self.places.values().map(|place| Ok(Expr::Column(carried(plan.schema(), place)?).alias(place))).collect()
    }

    /// The values as columns of a plan.
    fn plain(&self, plan: &LogicalPlan) -> Result<Vec<Expr>> {
        self.places.values().map(|place| carried(plan.schema(), place).map(Expr::Column)).collect()
    }

    /// An expression that reads the values instead of the outer row.
    fn inner(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        let mut seen = reads::Places::new();
        for (column, place) in &self.places {
            seen.insert(column.clone(), carried(schema, place)?);
        }
        reads::own(expr, &seen, &[schema])
    }

    fn unsupported(&self, what: &str, hint: &str) -> DataFusionError {
        let message = format!("{what} in a subquery that depends on the outer row is not supported yet");
        refused(Code::Unsupported, &message, hint, self.places.keys())
    }
}

/// A column that is carried along, whatever its relation is called by now.
fn carried(schema: &DFSchema, place: &str) -> Result<Column> {
    match schema.iter().find(|(_, field)| field.name() == place) {
        Some(field) => Ok(Column::from(field)),
        None => datafusion_common::internal_err!("{place} was lost"),
    }
}

/// What a value is called on the other side of a join.
fn other(place: &str) -> String {
    format!("{place}_other")
}

/// How often rows are grouped as a whole.
fn of_all_rows(aggregate: &Aggregate) -> usize {
    use datafusion_expr::GroupingSet;
    match grouping_sets(aggregate) {
        None => usize::from(aggregate.group_expr.is_empty()),
        Some(Expr::GroupingSet(GroupingSet::GroupingSets(sets))) => sets.iter().filter(|set| set.is_empty()).count(),
        Some(_) => 1,
    }
}
