//! What an operator means when a side is a 256-bit integer, or bytes beside a literal.

use datafusion_common::{DFSchema, Result, plan_err};
use datafusion_expr::{BinaryExpr, Expr, Operator};
use highwater_engine::model::wide::Wide;

use super::arithmetic::operator_function;
use super::compare::comparison_function;
use super::convert::{Operand, call, into_bytes_like};
use super::decimal;
use super::from_wide::TO_TEXT;
use super::function::sql_name;

/// The meaning of `left operator right`, or `None` if DataFusion's own applies.
///
/// # Errors
/// If the two sides have no common meaning.
pub(crate) fn plan_binary(left: &Expr, operator: Operator, right: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    if matches!(operator, Operator::And | Operator::Or) {
        return Ok(None);
    }
    // An operand without a type yet (a placeholder, an outer column) is DataFusion's to judge.
    let (Ok(left), Ok(right)) = (Operand::new(left.clone(), schema), Operand::new(right.clone(), schema)) else {
        return Ok(None);
    };
    if left.wide.is_none() && right.wide.is_none() {
        if let Some(comparison) = decimal::compare(&left, operator, &right).filter(|_| compares(operator)) {
            return Ok(Some(comparison));
        }
        return plan_bytes(left, operator, right);
    }
    match operator {
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
            arithmetic(left, operator, right).map(Some)
        }
        Operator::StringConcat => Ok(Some(binary(as_text(left), operator, as_text(right)))),
        _ if compares(operator) => comparison(left, operator, right).map(Some),
        _ => plan_err!("{} {operator} {} has no meaning", left.type_name(), right.type_name()),
    }
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))
}

fn as_text(operand: Operand) -> Expr {
    if operand.wide.is_some() { call(&TO_TEXT, vec![operand]) } else { operand.expr }
}

/// Refuses bytes that are no number beside a 256-bit integer.
fn refuse_bytes(left: &Operand, operator: Operator, right: &Operand) -> Result<()> {
    let is_column = |operand: &Operand| operand.is_plain_bytes() && !matches!(operand.expr, Expr::Literal(..));
    if is_column(left) || is_column(right) {
        return plan_err!(
            "{} {operator} {} has no meaning: write uint256(…) around the bytes to read them as a number",
            left.type_name(),
            right.type_name()
        );
    }
    Ok(())
}

fn arithmetic(left: Operand, operator: Operator, right: Operand) -> Result<Expr> {
    refuse_bytes(&left, operator, &right)?;
    if left.is_fractional() || right.is_fractional() {
        return Ok(binary(left.into_double(), operator, right.into_double()));
    }
    let kind = arithmetic_kind(&left, &right)?;
    let Some(function) = operator_function(kind, operator) else {
        return plan_err!("{} has no operator {operator}", sql_name(kind));
    };
    let wide = |operand: Operand| -> Result<Operand> {
        let data_type = operand.data_type.clone();
        Ok(Operand { expr: operand.into_wide(kind)?, data_type, wide: Some(kind) })
    };
    Ok(call(function, vec![wide(left)?, wide(right)?]))
}

/// INT256 if a side is, or is a negative literal; other integers take the kind of the wide side.
fn arithmetic_kind(left: &Operand, right: &Operand) -> Result<Wide> {
    for operand in [left, right] {
        let negative = operand.literal_number()?.is_some_and(|number| number.is_negative());
        if operand.wide == Some(Wide::Signed) || (operand.wide.is_none() && negative) {
            return Ok(Wide::Signed);
        }
    }
    Ok(Wide::Unsigned)
}

fn comparison(left: Operand, operator: Operator, right: Operand) -> Result<Expr> {
    refuse_bytes(&left, operator, &right)?;
    let whole_literal = |operand: &Operand| matches!(operand.literal_number(), Ok(Some(_)));
    let fractional = |operand: &Operand| operand.is_fractional() && !whole_literal(operand);
    if fractional(&left) || fractional(&right) {
        return Ok(binary(left.into_double(), operator, right.into_double()));
    }
    let left_kind = left.own_kind(right.wide.unwrap_or(Wide::Unsigned))?;
    let right_kind = right.own_kind(left_kind)?;
    let left = Operand { data_type: left.data_type.clone(), wide: Some(left_kind), expr: left.into_wide(left_kind)? };
    let right =
        Operand { data_type: right.data_type.clone(), wide: Some(right_kind), expr: right.into_wide(right_kind)? };
    if left_kind == right_kind {
        return Ok(binary(left.expr, operator, right.expr));
    }
    match comparison_function(operator) {
        Some(function) => Ok(call(function, vec![left, right])),
        None => plan_err!("{operator} needs both sides of one type: convert one with uint256(…) or int256(…)"),
    }
}

/// Bytes compared with a literal: the literal becomes bytes.
fn plan_bytes(left: Operand, operator: Operator, right: Operand) -> Result<Option<Expr>> {
    if !compares(operator) || !(left.is_plain_bytes() || right.is_plain_bytes()) {
        return Ok(None);
    }
    let (left_type, right_type) = (left.data_type.clone(), right.data_type.clone());
    let left_literal = matches!(left.expr, Expr::Literal(..));
    if left.is_plain_bytes() && !left_literal {
        let right = into_bytes_like(right, &left_type)?;
        return Ok(Some(binary(left.expr, operator, right)));
    }
    if right.is_plain_bytes() {
        let left = into_bytes_like(left, &right_type)?;
        return Ok(Some(binary(left, operator, right.expr)));
    }
    Ok(None)
}
