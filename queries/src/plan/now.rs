//! Where `now()` stands: the block time of the tick being processed.
//!
//! It has no value of its own. The planner takes comparisons with it out of the predicates and makes
//! temporal filters of them; anywhere else it is a diagnostic.

use datafusion_common::tree_node::TreeNode as _;
use datafusion_expr::Expr;

/// Whether this very expression is `now()`.
pub(super) fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.name() == "now")
}

/// Whether `now()` stands anywhere in the expression.
pub(super) fn has_now(expr: &Expr) -> bool {
    expr.exists(|part| Ok(is_now(part))).unwrap_or(false)
}
