//! `now()`: the block time of the tick being processed.
//!
//! It has no value of its own. The planner takes comparisons with it out of the predicates and makes
//! temporal filters of them; anywhere else it is a diagnostic.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result, internal_err};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use highwater_engine::model::wide::timestamp_type;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    signature: Signature,
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("now() is taken out of every expression before it is evaluated")
    }
}

/// The function. Volatile, so that no rule of the optimizer gives it a value.
pub(super) fn now_function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Now { signature: Signature::nullary(Volatility::Volatile) }))
}

/// Whether this very expression is `now()`.
pub(super) fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.name() == "now")
}

/// Whether `now()` stands anywhere in the expression.
pub(super) fn has_now(expr: &Expr) -> bool {
    use datafusion_common::tree_node::TreeNode as _;
    expr.exists(|part| Ok(is_now(part))).unwrap_or(false)
}
