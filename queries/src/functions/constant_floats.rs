//! Floats computed of constants, before DataFusion folds them: it would compare a NaN of either sign.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatchOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::canonical::scalar;

/// Puts its value in the place of arithmetic on floats, and of a cast to one, that read constants alone and give a
/// NaN or zero of another form than all others have.
///
/// # Errors
/// If the plan cannot be rebuilt.
pub fn constant_floats(plan: LogicalPlan) -> Result<LogicalPlan> {
    let folded = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            if !expr.exists(|part| Ok(computes(part)))? {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            Ok(expr.transform_up(folded)?.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(folded.data)
}

fn folded(expr: Expr) -> Result<Transformed<Expr>> {
    match Some(&expr).filter(|expr| computes(expr)).and_then(value).and_then(|value| scalar(&value)) {
        Some(value) => Ok(Transformed::yes(Expr::Literal(value, None))),
        None => Ok(Transformed::no(expr)),
    }
}

/// Whether an expression is a float computed of constants.
fn computes(expr: &Expr) -> bool {
    let of_constants = match expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => is_constant(left) && is_constant(right),
        Expr::Negative(inner) | Expr::Cast(Cast { expr: inner, .. }) => is_constant(inner),
        _ => false,
    };
    of_constants && expr.get_type(&DFSchema::empty()).is_ok_and(|data_type| data_type.is_floating())
}

/// Whether no column and no function stands in an expression.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Negative(inner) | Expr::Cast(Cast { expr: inner, .. }) => is_constant(inner),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => is_constant(left) && is_constant(right),
        _ => false,
    }
}

fn value(expr: &Expr) -> Option<ScalarValue> {
    let (schema, context) = (DFSchema::empty(), PhysicalPlanningContext::default());
    constant_value(&create_physical_expr(expr, &schema, &ExecutionProps::new(), &context).ok()?).ok()
}

/// The value of an expression that reads no column.
///
/// # Errors
/// If it reads one, or fails.
pub(crate) fn constant_value(expr: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    match expr.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
    }
}
