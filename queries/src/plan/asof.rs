//! `left [LEFT] ASOF JOIN right MATCH_CONDITION (left.t >= right.t) ON left.k = right.k`: each row meets the one
//! row of the other side that is nearest in time.
//!
//! DataFusion does not plan it. In the syntax tree it becomes a JOIN whose condition holds the match in a marker
//! function; in the plan, before the optimizer sees it, that join becomes a node of ours.

use std::cmp::Ordering;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, DFSchema, DFSchemaRef, JoinType, Result};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable as _, Extension, Join, LogicalPlan, Operator};
use datafusion_expr::{UserDefinedLogicalNodeCore, build_join_schema};
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, Function, JoinConstraint, JoinOperator, Query, SetExpr, Spanned as _, TableFactor,
    TableWithJoins, VisitMut as _, VisitorMut,
};
use highwater_operators::asof_join::AsofCondition;

use super::errors::PlanIssue;
use crate::diagnostic::Code;
use crate::functions::{ASOF, ASOF_LEFT, call};

const USAGE: &str = "write a [LEFT] ASOF JOIN b MATCH_CONDITION (a.time >= b.time) ON a.key = b.key";

/// Puts markers in the place of the ASOF joins of a query.
///
/// # Errors
/// If one has no ON.
pub(super) fn mark(query: &mut Query) -> Result<()> {
    let mut marker = Marker { mistake: None };
    let _: ControlFlow<()> = query.visit(&mut marker);
    match marker.mistake {
        Some(mistake) => Err(mistake.into()),
        None => Ok(()),
    }
}

struct Marker {
    mistake: Option<PlanIssue>,
}

impl VisitorMut for Marker {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.set(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            self.joins(table_with_joins);
        }
        ControlFlow::Continue(())
    }
}

impl Marker {
    fn set(&mut self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => select.from.iter_mut().for_each(|from| self.joins(from)),
            SetExpr::SetOperation { left, right, .. } => {
                self.set(left);
                self.set(right);
            }
            _ => {}
        }
    }

    fn joins(&mut self, from: &mut TableWithJoins) {
        for join in &mut from.joins {
            let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator else { continue };
            let JoinConstraint::On(on) = constraint else {
                let issue = PlanIssue::new(Code::UnsupportedJoin, "an ASOF JOIN needs ON", match_condition.span());
                self.mistake = Some(issue.hint(USAGE));
                continue;
            };
            let (left, condition) = unwrapped(match_condition);
            let name = if left { ASOF_LEFT } else { ASOF };
            let marked = SqlExpr::BinaryOp {
                left: Box::new(SqlExpr::Nested(Box::new(on.clone()))),
                op: BinaryOperator::And,
                right: Box::new(call(name, vec![condition])),
            };
            let constraint = JoinConstraint::On(marked);
            join.join_operator =
                if left { JoinOperator::LeftOuter(constraint) } else { JoinOperator::Inner(constraint) };
        }
    }
}

/// The condition without the word that says that the join is a left one.
fn unwrapped(condition: &SqlExpr) -> (bool, SqlExpr) {
    if let SqlExpr::Function(function) = condition
        && function.name.to_string() == ASOF_LEFT
        && let Some(inner) = only_argument(function)
    {
        return (true, inner);
    }
    (false, condition.clone())
}

fn only_argument(function: &Function) -> Option<SqlExpr> {
    use datafusion_sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments};
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] => Some(inner.clone()),
        _ => None,
    }
}

/// An ASOF join.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AsofNode {
    pub(super) left: LogicalPlan,
    pub(super) right: LogicalPlan,
    /// Pairs of equal keys, one after the other, then the two times: all of the left, then of the right.
    exprs: Vec<Expr>,
    pub(super) condition: Nearest,
    /// Whether rows that meet none are shown.
    pub(super) outer: bool,
    schema: DFSchemaRef,
}

/// [`AsofCondition`], with the traits that DataFusion asks of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Nearest {
    AtOrBefore,
    Before,
    AtOrAfter,
    After,
}

impl From<Nearest> for AsofCondition {
    fn from(nearest: Nearest) -> AsofCondition {
        match nearest {
            Nearest::AtOrBefore => AsofCondition::AtOrBefore,
            Nearest::Before => AsofCondition::Before,
            Nearest::AtOrAfter => AsofCondition::AtOrAfter,
            Nearest::After => AsofCondition::After,
        }
    }
}

impl AsofNode {
    /// The keys and at last the time of one side.
    pub(super) fn side(&self, right: bool) -> &[Expr] {
        let half = self.exprs.len() / 2;
        if right { &self.exprs[half..] } else { &self.exprs[..half] }
    }
}

impl PartialOrd for AsofNode {
    /// Nodes have no order worth the name; DataFusion asks for one.
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for AsofNode {
    fn name(&self) -> &str {
        "AsofJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.exprs.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        // A filter on the right side would let rows meet others.
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // The columns of `expressions()` are added by the optimizer. Of the right side all are read: of rows of one time
        // the greatest counts, whichever of its columns are shown.
        let width = self.left.schema().fields().len();
        let of_left = output_columns.iter().copied().filter(|column| *column < width).collect();
        Some(vec![of_left, (0..self.right.schema().fields().len()).collect()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsofJoin: {:?} on {:?}", self.condition, self.exprs)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [left, right] = <[LogicalPlan; 2]>::try_from(inputs)
            .or_else(|_| datafusion_common::internal_err!("an ASOF join has two inputs"))?;
        let kind = if self.outer { JoinType::Left } else { JoinType::Inner };
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &kind)?);
        Ok(AsofNode { left, right, exprs, schema, ..self.clone() })
    }
}

/// Puts nodes of ours in the place of the joins that were marked.
pub(super) fn own(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(filter) = join.filter.as_ref() else { return Ok(Transformed::no(plan)) };
        let parts = split_conjunction(filter);
        let marked = parts.iter().find_map(|part| match part {
            Expr::ScalarFunction(call) if [ASOF, ASOF_LEFT].contains(&call.name()) => Some(&call.args[0]),
            _ => None,
        });
        let Some(matched) = marked else { return Ok(Transformed::no(plan)) };
        let node = node(join, matched, &parts)?;
        Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
    })?;
    Ok(plan.data)
}

fn node(join: &Join, matched: &Expr, parts: &[&Expr]) -> Result<AsofNode> {
    let issue = |message: &str| {
        let span = datafusion_sql::sqlparser::tokenizer::Span::empty();
        PlanIssue::new(Code::UnsupportedJoin, message, span).hint(USAGE)
    };
    let (left, right) = (join.left.schema(), join.right.schema());
    let (left_time, operator, right_time) = sides(matched, left, right)
        .ok_or_else(|| issue("the match of an ASOF JOIN compares a time of the left side with one of the right"))?;
    let condition = match operator {
        Operator::GtEq => Nearest::AtOrBefore,
        Operator::Gt => Nearest::Before,
        Operator::LtEq => Nearest::AtOrAfter,
        Operator::Lt => Nearest::After,
        _ => return Err(issue("the match of an ASOF JOIN is one of >=, >, <= and <").into()),
    };
    let (mut left_exprs, mut right_exprs) = (Vec::new(), Vec::new());
    for (one, other) in &join.on {
        left_exprs.push(one.clone());
        right_exprs.push(other.clone());
    }
    for part in parts {
        match part {
            Expr::ScalarFunction(call) if [ASOF, ASOF_LEFT].contains(&call.name()) => {}
            Expr::Literal(value, _) if *value == datafusion_common::ScalarValue::Boolean(Some(true)) => {}
            part => match sides(part, left, right) {
                Some((one, Operator::Eq, other)) => {
                    left_exprs.push(one);
                    right_exprs.push(other);
                }
                _ => {
                    return Err(
                        issue("ON of an ASOF JOIN holds equal keys only; the time goes into MATCH_CONDITION").into()
                    );
                }
            },
        }
    }
    left_exprs.push(in_milliseconds(left_time, left)?);
    right_exprs.push(in_milliseconds(right_time, right)?);
    let exprs = left_exprs.into_iter().chain(right_exprs).collect();
    Ok(AsofNode {
        left: join.left.as_ref().clone(),
        right: join.right.as_ref().clone(),
        exprs,
        condition,
        outer: join.join_type == JoinType::Left,
        schema: join.schema.clone(),
    })
}

/// Times as milliseconds, numbers as they are.
fn in_milliseconds(time: Expr, schema: &DFSchema) -> Result<Expr> {
    let wanted = highwater_engine::model::wide::timestamp_type();
    Ok(match time.get_type(schema)? {
        DataType::Timestamp(_, _) | DataType::Date32 => super::cast_unless(time, &wanted, schema)?,
        _ => super::cast_unless(time, &DataType::Int64, schema)?,
    })
}

/// A comparison turned so that its left operand is of the left side.
fn sides(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Option<(Expr, Operator, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left: one, op, right: other }) = expr else { return None };
    let of = |expr: &Expr, schema: &DFSchema| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(|column: &Column| schema.has_column(column))
    };
    if of(one, left) && of(other, right) {
        return Some((one.as_ref().clone(), *op, other.as_ref().clone()));
    }
    (of(one, right) && of(other, left)).then(|| Some((other.as_ref().clone(), op.swap()?, one.as_ref().clone())))?
}
