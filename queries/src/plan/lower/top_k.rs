//! ORDER BY … LIMIT, `row_number() <= k` and DISTINCT ON: all are the first rows of partitions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{Sort as SortExpr, WindowFunctionDefinition};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{
    BinaryExpr, Cast, DistinctOn, Expr, FetchType, Filter, Limit, LogicalPlan, Operator, Projection, SkipType, Sort,
    Window,
};
use datafusion_physical_expr::expressions::{Literal, cast};

use super::super::distinct_on::PLACE;
use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{Node, NodeKind, SortKey};
use super::super::node::Ranking;
use super::aggregate::{duration, position_in};
use super::scalar::{Computed, column_of, is_time, keep_columns, moved, project};
use super::{Lower, Lowered, Lowerer, filter_node};
use crate::diagnostic::{Code, Diagnostic};

/// More rows than there can be.
pub(in super::super) const ALL_ROWS: usize = usize::MAX >> 1;

/// Which rows of which partitions.
struct Request<'p> {
    partition: &'p [Expr],
    sort: &'p [SortExpr],
    limit: usize,
    offset: usize,
    /// What is counted.
    ranking: Ranking,
    /// Whether the number of the row is a last column.
    numbered: bool,
    /// The word of the query that asks for it.
    word: &'static str,
}

impl Request<'_> {
    /// Rows in one order, without their numbers.
    fn plain<'p>(
        partition: &'p [Expr],
        sort: &'p [SortExpr],
        limit: usize,
        offset: usize,
        word: &'static str,
    ) -> Request<'p> {
        Request { partition, sort, limit, offset, ranking: Ranking::RowNumber, numbered: false, word }
    }
}

impl Lowerer<'_> {
    /// A bare ORDER BY has no meaning for a relation that changes; it is kept for display.
    pub(super) fn sort(&mut self, sort: &Sort) -> Lower<Lowered> {
        let mut input = self.lower(&sort.input)?;
        input.facts.order = display_order(&sort.expr, sort.input.schema());
        Ok(input)
    }

    pub(super) fn limit(&mut self, limit: &Limit) -> Lower<Lowered> {
        let skip = limit.get_skip_type().map_err(|error| self.place.diagnose(&error))?;
        let fetch = limit.get_fetch_type().map_err(|error| self.place.diagnose(&error))?;
        match (skip, fetch) {
            (SkipType::Literal(offset), FetchType::Literal(Some(rows))) => self.limited(&limit.input, rows, offset),
            (SkipType::Literal(offset), FetchType::Literal(None)) => self.limited(&limit.input, ALL_ROWS, offset),
            _ => Err(self.unsupported("a LIMIT that is not a number", "limit")),
        }
    }

    pub(super) fn limited(&mut self, plan: &LogicalPlan, limit: usize, offset: usize) -> Lower<Lowered> {
        if limit == 0 {
            let input = self.lower(plan)?;
            let never = Arc::new(Literal::new(ScalarValue::Boolean(Some(false))));
            return Ok(Lowered { node: filter_node(input.node, never), facts: input.facts });
        }
        match plan {
            LogicalPlan::Sort(sort) => {
                let input = self.lower(&sort.input)?;
                let request = Request::plain(&[], &sort.expr, limit, offset, "limit");
                self.top_k(input, sort.input.schema(), &request)
            }
            LogicalPlan::SubqueryAlias(alias) => self.limited(&alias.input, limit, offset),
            LogicalPlan::Projection(projection) => {
                let input = self.limited(&projection.input, limit, offset)?;
                self.project_exprs(input, &projection.expr, projection.input.schema(), &projection.schema)
            }
            _ if self.any_rows => {
                let input = self.lower(plan)?;
                let request = Request::plain(&[], &[], limit, offset, "limit");
                self.top_k(input, plan.schema(), &request)
            }
            _ => Err(Diagnostic::new(
                Code::LimitWithoutOrder,
                "LIMIT without ORDER BY does not say which rows",
                self.place.find("limit"),
            )
            .with_hint("add ORDER BY")),
        }
    }

    pub(super) fn distinct_on(&mut self, distinct: &DistinctOn) -> Lower<Lowered> {
        let any = self.any_rows.then(Vec::new);
        let Some(sort) = distinct.sort_expr.as_ref().or(any.as_ref()) else {
            return Err(Diagnostic::new(
                Code::LimitWithoutOrder,
                "DISTINCT ON without ORDER BY does not say which row",
                self.place.find("distinct"),
            )
            .with_hint("add ORDER BY, the DISTINCT ON columns first"));
        };
        let input = self.lower(&distinct.input)?;
        let schema = distinct.input.schema();
        let rest: Vec<SortExpr> = sort.iter().filter(|sort| !distinct.on_expr.contains(&sort.expr)).cloned().collect();
        let request = Request::plain(&distinct.on_expr, &rest, 1, 0, "distinct");
        let first = self.top_k(input, schema, &request)?;
        self.project_exprs(first, &distinct.select_expr, schema, &distinct.schema)
    }

    /// The first rows of each partition; columns as in the input.
    fn top_k(&mut self, input: Lowered, schema: &DFSchema, request: &Request<'_>) -> Lower<Lowered> {
        let width = input.width();
        let mut columns = keep_columns(&input, 0..width);
        let mut place = |lowerer: &Self, expr: &Expr| -> Lower<usize> {
            if let Some(column) = column_of(expr, schema) {
                return Ok(column);
            }
            columns.push(lowerer.computed(expr, schema, &input.facts)?);
            Ok(columns.len() - 1)
        };
        let mut partition = Vec::with_capacity(request.partition.len());
        for expr in request.partition {
            partition.push(place(self, expr)?);
        }
        let mut sort = Vec::with_capacity(request.sort.len());
        for key in request.sort {
            let column = place(self, &key.expr)?;
            sort.push(SortKey { column, descending: !key.asc, nulls_first: key.nulls_first });
        }
        let timed = |column: &usize| Some((columns[*column].facts.time?.offset_ms, *column));
        let closing = partition.iter().filter_map(timed).min();
        let names = partition.iter().map(|column| columns[*column].field.name().clone()).collect::<Vec<_>>().join(", ");
        let order = display_order(request.sort, schema);
        let facts = top_facts(&input.facts, &columns, &partition, request.limit, order);
        let (mut closing_at, mut bound) = (None, input.facts.bound.clone());
        if let Some((offset_ms, column)) = closing {
            let later = if offset_ms == 0 { String::new() } else { format!(" + {}", duration(offset_ms)) };
            bound = Some(format!("partitions until {}{later} is final", columns[column].field.name()));
            let column = self.instant(&mut columns, column, offset_ms, schema, request, &input.facts)?;
            closing_at = Some(position_in(&mut partition, column));
        }
        let id = self.id("top-k");
        let key = if names.is_empty() { "none".to_owned() } else { names };
        self.keep(&id, "top-k", key, bound, request.word)?;
        let known: Vec<ColumnFacts> = columns.iter().map(|column| column.facts.clone()).collect();
        let prepared = if columns.len() > width { project(input, columns) } else { input };
        let mut fields: Vec<Field> = prepared.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        let show_rank = request.numbered.then(|| "rank".to_owned());
        let mut kept: Vec<usize> = (0..width).collect();
        let (mut known, mut facts) = (known, facts);
        if let Some(name) = &show_rank {
            kept.push(fields.len());
            fields.push(Field::new(name, DataType::Int64, false));
            known.push(ColumnFacts::default());
            facts.columns.push(ColumnFacts::default());
        }
        let schema = Arc::new(Schema::new(fields));
        let input = Box::new(prepared.node);
        let Request { limit, offset, ranking, .. } = *request;
        let kind =
            NodeKind::TopK { id, input, partition, sort, limit, offset, closing: closing_at, ranking, show_rank };
        let all = Lowered { node: Node { kind, schema }, facts: Facts { columns: known, ..facts.clone() } };
        let kept = keep_columns(&all, kept);
        Ok(Lowered { facts, node: project(all, kept).node })
    }

    /// A column with the instant at which a partition is final.
    fn instant(
        &self,
        columns: &mut Vec<Computed>,
        column: usize,
        offset_ms: i64,
        schema: &DFSchema,
        request: &Request<'_>,
        facts: &Facts,
    ) -> Lower<usize> {
        if offset_ms == 0 && is_time(columns[column].field.data_type()) {
            return Ok(column);
        }
        let is_column = |expr: &&Expr| column_of(expr, schema) == Some(column);
        let expr = request.partition.iter().find(is_column).or(request.partition.first());
        let Some(expr) = expr else { return Ok(column) };
        let computed = self.computed(&moved(expr.clone(), offset_ms, schema), schema, facts)?;
        let field = computed.field.clone().with_name("final_at");
        columns.push(Computed { field, ..computed });
        Ok(columns.len() - 1)
    }

    /// A filter over the one rank of a window node, such as `row_number() <= 10`, if it is one.
    pub(super) fn ranked(&mut self, filter: &Filter) -> Lower<Option<Lowered>> {
        let mut chain = Vec::new();
        let Some(window) = window_below(&filter.input, &mut chain) else { return Ok(None) };
        let Some((ranking, partition, sort)) = only_rank(window) else { return Ok(None) };
        let mut range = Range::default();
        let mut rest = Vec::new();
        for predicate in split_conjunction(&filter.predicate) {
            if !range.narrow(predicate, &filter.input) {
                rest.push(predicate.clone());
            }
        }
        let (Some(last), first) = (range.last, range.first.max(1)) else { return Ok(None) };
        let (Ok(offset), Ok(limit)) = (usize::try_from(first - 1), usize::try_from(last - first + 1)) else {
            return Ok(None);
        };
        if limit == 0 {
            return Ok(None);
        }
        let input = self.lower(&window.input)?;
        let of_distinct = window.schema.fields().last().is_some_and(|field| field.name() == PLACE);
        let word = if of_distinct { "distinct" } else { "over" };
        let request = Request { partition, sort, limit, offset, ranking, numbered: true, word };
        let top = self.top_k(input, window.input.schema(), &request)?;
        let mut current = self.numbered(top, window)?;
        for projection in chain.into_iter().rev() {
            current = self.project_exprs(current, &projection.expr, projection.input.schema(), &projection.schema)?;
        }
        match conjunction(rest) {
            Some(predicate) => self.filtered(current, &predicate, filter.input.schema()).map(Some),
            None => Ok(Some(current)),
        }
    }

    /// The number of the row in the type that the plan gives it.
    fn numbered(&self, top: Lowered, window: &Window) -> Lower<Lowered> {
        let width = top.width();
        let mut columns = keep_columns(&top, 0..width);
        if let Some(rank) = columns.last_mut() {
            let field = window.schema.field(width - 1).as_ref().clone();
            rank.expression = cast(rank.expression.clone(), top.schema(), field.data_type().clone())
                .map_err(|error| self.place.diagnose(&error))?;
            (rank.field, rank.from) = (field, None);
        }
        Ok(project(top, columns))
    }
}

/// The rank of a window node that has nothing else.
fn only_rank(window: &Window) -> Option<(Ranking, &[Expr], &[SortExpr])> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let Expr::WindowFunction(call) = unaliased(expr) else { return None };
    let WindowFunctionDefinition::WindowUDF(function) = &call.fun else { return None };
    let ranking = match function.name() {
        "row_number" => Ranking::RowNumber,
        "rank" => Ranking::Rank,
        "dense_rank" => Ranking::DenseRank,
        _ => return None,
    };
    Some((ranking, &call.params.partition_by, &call.params.order_by))
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// The window node below projections and aliases, and the projections from the outside in.
fn window_below<'p>(plan: &'p LogicalPlan, chain: &mut Vec<&'p Projection>) -> Option<&'p Window> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => window_below(&alias.input, chain),
        LogicalPlan::Projection(projection) => {
            chain.push(projection);
            window_below(&projection.input, chain)
        }
        LogicalPlan::Window(window) => Some(window),
        _ => None,
    }
}

/// Whether a column of the plan is the result of the window function below.
fn is_rank(plan: &LogicalPlan, column: usize) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_rank(&alias.input, column),
        LogicalPlan::Projection(projection) => {
            let schema = projection.input.schema();
            let inner = projection.expr.get(column).and_then(|expr| column_of(expr, schema));
            inner.is_some_and(|inner| is_rank(&projection.input, inner))
        }
        LogicalPlan::Window(window) => column >= window.input.schema().fields().len(),
        _ => false,
    }
}

/// The numbers of rows wanted, from 1, both inclusive.
#[derive(Default)]
struct Range {
    first: i64,
    last: Option<i64>,
}

impl Range {
    /// Takes `n <= 10` and the like; false if the predicate is of another kind.
    fn narrow(&mut self, predicate: &Expr, plan: &LogicalPlan) -> bool {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = predicate else { return false };
        let (column, op, number) = match (number(left), number(right)) {
            (None, Some(number)) => (left.as_ref(), *op, number),
            (Some(number), None) => (right.as_ref(), op.swap().unwrap_or(*op), number),
            _ => return false,
        };
        let column = match column {
            Expr::Cast(Cast { expr, .. }) => expr.as_ref(),
            other => other,
        };
        if !column_of(column, plan.schema()).is_some_and(|column| is_rank(plan, column)) {
            return false;
        }
        let (first, last) = match op {
            Operator::LtEq => (1, Some(number)),
            Operator::Lt => (1, number.checked_sub(1)),
            Operator::Eq => (number, Some(number)),
            Operator::GtEq => (number, None),
            Operator::Gt => (number.saturating_add(1), None),
            _ => return false,
        };
        self.first = self.first.max(first);
        self.last = match (self.last, last) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        true
    }
}

/// A whole number in the query.
fn number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(number), _) => *number,
        Expr::Literal(ScalarValue::UInt64(number), _) => number.and_then(|number| number.try_into().ok()),
        Expr::Literal(ScalarValue::Int32(number), _) => number.map(i64::from),
        _ => None,
    }
}

/// The columns of an order, up to the first that is no plain column.
fn display_order(sort: &[SortExpr], schema: &DFSchema) -> Vec<(usize, bool)> {
    sort.iter().map_while(|key| Some((column_of(&key.expr, schema)?, !key.asc))).collect()
}

/// A row of a partition may be pushed out until the partition is final, so only columns of the
/// partition say when a row is.
fn top_facts(
    input: &Facts,
    columns: &[Computed],
    partition: &[usize],
    limit: usize,
    order: Vec<(usize, bool)>,
) -> Facts {
    let of = |(index, facts): (usize, &ColumnFacts)| {
        let within = partition.contains(&index);
        ColumnFacts {
            time: facts.time.filter(|_| within),
            number: facts.number.filter(|_| within),
            block: false,
            ..facts.clone()
        }
    };
    let finite = partition.iter().all(|column| columns[*column].facts.finite);
    let bound = if finite { Some(format!("the first {limit} rows")) } else { input.bound.clone() };
    let columns = input.columns.iter().enumerate().map(of).collect();
    Facts { columns, linear: false, block_local: false, bound, key: input.key.clone(), order }
}
