//! Operators while SQL becomes a plan, before DataFusion would judge their types.

use datafusion_common::{DFSchema, Result};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{Expr, Operator};
use datafusion_sql::sqlparser::ast::BinaryOperator;

use super::operators::plan_binary;
use super::rewrite::rewrite_expr_below;

/// Gives operators over 256-bit integers and over bytes beside literals their meaning.
#[derive(Debug)]
pub(crate) struct WidePlanner;

fn operator(sql: &BinaryOperator) -> Option<Operator> {
    match sql {
        BinaryOperator::Plus => Some(Operator::Plus),
        BinaryOperator::Minus => Some(Operator::Minus),
        BinaryOperator::Multiply => Some(Operator::Multiply),
        BinaryOperator::Divide => Some(Operator::Divide),
        BinaryOperator::Modulo => Some(Operator::Modulo),
        BinaryOperator::Eq => Some(Operator::Eq),
        BinaryOperator::NotEq => Some(Operator::NotEq),
        BinaryOperator::Lt => Some(Operator::Lt),
        BinaryOperator::LtEq => Some(Operator::LtEq),
        BinaryOperator::Gt => Some(Operator::Gt),
        BinaryOperator::GtEq => Some(Operator::GtEq),
        BinaryOperator::Spaceship => Some(Operator::IsNotDistinctFrom),
        BinaryOperator::StringConcat => Some(Operator::StringConcat),
        _ => None,
    }
}

/// What [`operator`] gives.
const PLANNED: [Operator; 13] = [
    Operator::Plus,
    Operator::Minus,
    Operator::Multiply,
    Operator::Divide,
    Operator::Modulo,
    Operator::Eq,
    Operator::NotEq,
    Operator::Lt,
    Operator::LtEq,
    Operator::Gt,
    Operator::GtEq,
    Operator::IsNotDistinctFrom,
    Operator::StringConcat,
];

/// Whether an expression has come by here, so that it and what it is made of have their meaning.
fn is_planned(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(binary) if PLANNED.contains(&binary.op))
}

impl ExprPlanner for WidePlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some(operator) = operator(&expr.op) else { return Ok(PlannerResult::Original(expr)) };
        let RawBinaryExpr { op, left, right } = expr;
        let left = rewrite_expr_below(left, schema, &is_planned)?;
        let right = rewrite_expr_below(right, schema, &is_planned)?;
        match plan_binary(&left, operator, &right, schema)? {
            Some(planned) => Ok(PlannerResult::Planned(planned)),
            None => Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        }
    }
}
