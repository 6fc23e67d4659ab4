//! Integer arithmetic that fails on overflow, where DataFusion wraps around.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;

/// Makes `+`, `-` and `*` in an expression fail on overflow. Unary minus of integers is covered
/// too, as [`super::rewrite()`] makes it a subtraction.
///
/// # Errors
/// If the expression cannot be rebuilt.
pub fn checked(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|expr| {
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>()
            && matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply)
        {
            let strict = BinaryExpr::new(Arc::clone(binary.left()), *binary.op(), Arc::clone(binary.right()));
            let strict: Arc<dyn PhysicalExpr> = Arc::new(strict.with_fail_on_overflow(true));
            return Ok(Transformed::yes(strict));
        }
        Ok(Transformed::no(expr))
    })
    .data()
}
