//! Operators while SQL becomes a plan, before DataFusion would judge their types.

use datafusion_common::{DFSchema, Result};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion_expr::{Expr, GetFieldAccess, Operator};
use datafusion_functions_nested::expr_fn::array_element;
use datafusion_sql::sqlparser::ast::BinaryOperator;

use super::operators::plan_binary;
use super::rewrite::rewrite_unless;

/// Gives operators over 256-bit integers and over bytes beside literals their meaning.
#[derive(Debug)]
pub(crate) struct WidePlanner;

/// What it is asked about.
static OPERATORS: [(BinaryOperator, Operator); 13] = [
    (BinaryOperator::Plus, Operator::Plus),
    (BinaryOperator::Minus, Operator::Minus),
    (BinaryOperator::Multiply, Operator::Multiply),
    (BinaryOperator::Divide, Operator::Divide),
    (BinaryOperator::Modulo, Operator::Modulo),
    (BinaryOperator::Eq, Operator::Eq),
    (BinaryOperator::NotEq, Operator::NotEq),
    (BinaryOperator::Lt, Operator::Lt),
    (BinaryOperator::LtEq, Operator::LtEq),
    (BinaryOperator::Gt, Operator::Gt),
    (BinaryOperator::GtEq, Operator::GtEq),
    (BinaryOperator::Spaceship, Operator::IsNotDistinctFrom),
    (BinaryOperator::StringConcat, Operator::StringConcat),
];

/// Whether an expression has come by here, so that it and what it is made of have their meaning.
fn is_planned(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(binary) if OPERATORS.iter().any(|(_, operator)| *operator == binary.op))
}

impl ExprPlanner for WidePlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some((_, operator)) = OPERATORS.iter().find(|(sql, _)| *sql == expr.op) else {
            return Ok(PlannerResult::Original(expr));
        };
        let RawBinaryExpr { op, left, right } = expr;
        let left = rewrite_unless(left, schema, &is_planned)?;
        let right = rewrite_unless(right, schema, &is_planned)?;
        match plan_binary(&left, *operator, &right, schema)? {
            Some(planned) => Ok(PlannerResult::Planned(planned)),
            None => Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        }
    }

    /// `array_agg(x)[i]` is an element of the list; DataFusion would make it a call of its own `nth_value`.
    fn plan_field_access(&self, access: RawFieldAccessExpr, _: &DFSchema) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = access;
        Ok(match (field_access, expr) {
            (GetFieldAccess::ListIndex { key }, list @ Expr::AggregateFunction(_)) => {
                PlannerResult::Planned(array_element(list, *key))
            }
            (field_access, expr) => PlannerResult::Original(RawFieldAccessExpr { field_access, expr }),
        })
    }
}
