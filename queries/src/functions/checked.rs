//! Arithmetic that fails on overflow, where DataFusion wraps around or leaves the precision of a decimal, and that
//! makes one NaN and one zero.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;

use super::canonical::canonical;

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
            let strict = if widest { Arc::new(WithinPrecision(strict)) } else { strict };
            return canonical(strict, schema).map(Transformed::yes);
        }
        canonical(expr, schema).map(Transformed::yes)
    })
    .data()
}

/// Decimals that have at most as many digits as their type says.
#[derive(Debug, Eq)]
struct WithinPrecision(Arc<dyn PhysicalExpr>);

// Derived, it would move the value out of the other's pointer.
impl PartialEq for WithinPrecision {
    fn eq(&self, other: &WithinPrecision) -> bool {
        *self.0 == *other.0
    }
}

impl Hash for WithinPrecision {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for WithinPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for WithinPrecision {
    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.0.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let value = self.0.evaluate(batch)?;
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

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(child) => Ok(Arc::new(WithinPrecision(child))),
            None => datafusion_common::internal_err!("a check of decimals has one input"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}
