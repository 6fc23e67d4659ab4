//! Arithmetic that fails on overflow, where DataFusion wraps around or leaves the precision of a decimal, and that
//! makes one NaN and one zero.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Schema};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;

use super::canonical::canonical;
use super::finish::Finish;

/// Makes `+`, `-` and `*` in an expression over these columns fail on overflow, and floats have one form. Unary minus
/// of integers is covered too, as [`super::rewrite()`] makes it a subtraction.
///
/// # Errors
/// If the expression cannot be rebuilt.
pub fn checked(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|expr| {
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>()
            && matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply)
        {
            let strict = BinaryExpr::new(Arc::clone(binary.left()), *binary.op(), Arc::clone(binary.right()));
            let strict: Arc<dyn PhysicalExpr> = Arc::new(strict.with_fail_on_overflow(true));
            // A narrower decimal has room for every result.
            let widest = matches!(strict.data_type(schema)?, DataType::Decimal128(DECIMAL128_MAX_PRECISION, _));
            let strict = if widest { Finish::WithinPrecision.of(strict) } else { strict };
            return canonical(strict, schema).map(Transformed::yes);
        }
        canonical(expr, schema).map(Transformed::yes)
    })
    .data()
}

/// Fails on a decimal that has more digits than its type says.
pub(super) fn within_precision(value: ColumnarValue) -> Result<ColumnarValue> {
    match &value {
        ColumnarValue::Array(array) => {
            if let Some(decimals) = array.as_primitive_opt::<Decimal128Type>() {
                decimals.validate_decimal_precision(decimals.precision())?;
            }
        }
        ColumnarValue::Scalar(scalar @ ScalarValue::Decimal128(Some(_), precision, _)) => {
            scalar.to_array()?.as_primitive::<Decimal128Type>().validate_decimal_precision(*precision)?;
        }
        ColumnarValue::Scalar(_) => {}
    }
    Ok(value)
}
