//! The pass over the SQL text's tree, before it is planned: what DataFusion would type too early.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, UnaryOperator, Value, ValueWithSpan, VisitMut,
    visit_expressions_mut,
};

use super::literals;
use super::markers::{CASE, NEGATE};

/// Prepares a query or statement for planning: whole-number literals beyond BIGINT become exact
/// decimals or UINT256 values, literals of times and bytes are read as in PostgreSQL, and CASE and
/// unary minus get stand-ins that know 256-bit types.
pub fn prepare<V: VisitMut>(query: &mut V) {
    let _: ControlFlow<()> = visit_expressions_mut(query, |expr| {
        match expr {
            Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
                if let Some(literal) = large_literal(digits) {
                    *expr = literal;
                }
            }
            // It changes nothing, and DataFusion wants to know the type of what it stands before.
            Expr::UnaryOp { op: UnaryOperator::Plus, expr: operand } => *expr = (**operand).clone(),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } if is_beyond_by_one(operand) => {
                **operand = Expr::Value(Value::Number(BEYOND_BY_ONE.to_owned(), false).into());
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } if !is_literal(operand) => {
                *expr = call(NEGATE, vec![(**operand).clone()]);
            }
            Expr::Cast { .. } | Expr::TypedString(_) => {
                if let Some(literal) = literals::read(expr) {
                    *expr = literal;
                }
            }
            Expr::Case { conditions, else_result, .. } => {
                let branches = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                let types: Vec<Expr> = branches.flat_map(branches_of).collect();
                let args = std::iter::once(expr.clone()).chain(types).collect();
                *expr = call(CASE, args);
            }
            Expr::AnyOp { right, .. } if !matches!(**right, Expr::Subquery(_)) && !is_null(right) => {
                let unknown = unknown_element((**right).clone());
                *expr =
                    Expr::BinaryOp { left: Box::new(expr.clone()), op: BinaryOperator::Or, right: Box::new(unknown) };
            }
            Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if is_logical(right) => {
                *expr = regrouped(expr.clone());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// NULL if a NULL is in the array, else false: what a comparison with ANY element is if none of them is true, and what
/// DataFusion forgets.
fn unknown_element(array: Expr) -> Expr {
    let place = call("array_position", vec![array, Expr::Value(Value::Null.into())]);
    call("nullif", vec![Expr::IsNotNull(Box::new(place)), Expr::Value(Value::Boolean(true).into())])
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Null, .. }))
}

fn is_logical(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op, .. } if is_logical_operator(op))
}

/// `a IS DISTINCT FROM b AND c` as SQL reads it: the parser takes `b AND c` together, though no parentheses are
/// there (parentheses would stand in the tree).
fn regrouped(expr: Expr) -> Expr {
    let (left, right, is_not) = match expr {
        Expr::IsDistinctFrom(left, right) => (left, right, false),
        Expr::IsNotDistinctFrom(left, right) => (left, right, true),
        other => return other,
    };
    let compared = |left, right| match is_not {
        false => Expr::IsDistinctFrom(left, right),
        true => Expr::IsNotDistinctFrom(left, right),
    };
    match *right {
        Expr::BinaryOp { left: first, op, right: rest } if is_logical_operator(&op) => {
            Expr::BinaryOp { left: Box::new(regrouped(compared(left, first))), op, right: rest }
        }
        other => compared(left, Box::new(other)),
    }
}

fn is_logical_operator(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Xor)
}

/// The magnitude of the least BIGINT, which is not itself a BIGINT.
const BEYOND_BY_ONE: &str = "9223372036854775808";

fn is_beyond_by_one(operand: &Expr) -> bool {
    let Expr::Cast { expr, data_type: DataType::Decimal(_), .. } = operand else { return false };
    matches!(expr.as_ref(), Expr::Value(value) if value.value == Value::SingleQuotedString(BEYOND_BY_ONE.to_owned()))
}

/// A whole number that BIGINT does not hold, in a type that does: DataFusion's own would wrap around.
fn large_literal(digits: &str) -> Option<Expr> {
    let plain = digits.replace('_', "");
    if !plain.bytes().all(|byte| byte.is_ascii_digit()) || plain.parse::<i64>().is_ok() {
        return None;
    }
    let data_type = match plain.parse::<u64>() {
        Ok(_) => DataType::Decimal(ExactNumberInfo::PrecisionAndScale(20, 0)),
        Err(_) => DataType::UInt256,
    };
    let expr = Box::new(Expr::Value(Value::SingleQuotedString(plain).into()));
    Some(Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None })
}

/// Numbers and intervals: DataFusion negates them as it reads them.
fn is_literal(operand: &Expr) -> bool {
    match operand {
        Expr::Interval(_) => true,
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        _ => false,
    }
}

/// The branches that decide a branch's type: of a nested CASE its own, so that nesting stays small.
fn branches_of(branch: &Expr) -> Vec<Expr> {
    if let Expr::Function(function) = branch
        && function.name.to_string() == CASE
        && let FunctionArguments::List(list) = &function.args
    {
        let inner = list.args.iter().skip(1).filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(inner)) => Some(inner.clone()),
            _ => None,
        });
        return inner.collect();
    }
    vec![branch.clone()]
}

/// A call as the syntax tree has it.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
