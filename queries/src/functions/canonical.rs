//! One NaN and one zero: the processor makes NaN of either sign, and zero too, which comparisons of rows by their
//! bytes (GROUP BY, DISTINCT, joins, the rows of a view) would keep apart.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Literal, NegativeExpr, TryCastExpr};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::finish::Finish;

/// The expression, with what may make such floats made to give those of one form.
///
/// # Errors
/// If the expression has no type.
pub(super) fn canonical(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return Ok(match scalar(literal.value()) {
            Some(value) => Arc::new(Literal::new(value)),
            None => expr,
        });
    }
    if !may_make(expr.as_ref()) || !is_float(&expr.data_type(schema)?) {
        return Ok(expr);
    }
    // Arithmetic on a NaN is a NaN whatever its sign, and a sum or product with a zero is one of either sign alike: the
    // outermost of a chain of operators is enough. A quotient by zero has the sign of that zero.
    let expr = if is_arithmetic(expr.as_ref()) && !divides(expr.as_ref()) { bare(expr)? } else { expr };
    Ok(Finish::OneForm.of(expr))
}

/// A constant of one form, if it has another.
pub(crate) fn scalar(value: &ScalarValue) -> Option<ScalarValue> {
    match value {
        ScalarValue::Float64(Some(value)) if is_odd_64(*value) => Some(ScalarValue::Float64(Some(one_64(*value)))),
        ScalarValue::Float32(Some(value)) if is_odd_32(*value) => Some(ScalarValue::Float32(Some(one_32(*value)))),
        _ => None,
    }
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

fn is_arithmetic(expr: &dyn PhysicalExpr) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    expr.is::<NegativeExpr>()
        || expr
            .downcast_ref::<BinaryExpr>()
            .is_some_and(|binary| matches!(binary.op(), Plus | Minus | Multiply | Divide | Modulo))
}

fn divides(expr: &dyn PhysicalExpr) -> bool {
    expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| *binary.op() == Operator::Divide)
}

fn may_make(expr: &dyn PhysicalExpr) -> bool {
    is_arithmetic(expr) || expr.is::<CastExpr>() || expr.is::<TryCastExpr>() || expr.is::<ScalarFunctionExpr>()
}

/// The expression without the checks of its operands.
fn bare(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let inner = |child: &Arc<dyn PhysicalExpr>| Finish::OneForm.taken_off(child).unwrap_or(child).clone();
    let children = expr.children().into_iter().map(inner).collect();
    expr.with_new_children(children)
}

// Without branches, so that the compiler looks at several values at once.
fn is_odd_64(value: f64) -> bool {
    let bits = value.to_bits();
    (value.is_nan() & (bits != f64::NAN.to_bits())) | (bits == (-0.0_f64).to_bits())
}

fn is_odd_32(value: f32) -> bool {
    let bits = value.to_bits();
    (value.is_nan() & (bits != f32::NAN.to_bits())) | (bits == (-0.0_f32).to_bits())
}

fn one_64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

fn one_32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// The values with those of another form changed; copied only if there are such.
fn changed<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    is_odd: impl Fn(T::Native) -> bool,
    one: impl Fn(T::Native) -> T::Native,
) -> Option<ArrayRef> {
    let odd = values.values().iter().fold(false, |odd, value| odd | is_odd(*value));
    odd.then(|| Arc::new(values.unary::<_, T>(one)) as ArrayRef)
}

fn array(values: &ArrayRef) -> Option<ArrayRef> {
    match values.data_type() {
        DataType::Float64 => changed(values.as_primitive::<Float64Type>(), is_odd_64, one_64),
        DataType::Float32 => changed(values.as_primitive::<Float32Type>(), is_odd_32, one_32),
        _ => None,
    }
}

/// The values with floats of one form.
pub(super) fn one_form(value: ColumnarValue) -> ColumnarValue {
    match value {
        ColumnarValue::Array(values) => ColumnarValue::Array(array(&values).unwrap_or(values)),
        ColumnarValue::Scalar(value) => ColumnarValue::Scalar(scalar(&value).unwrap_or(value)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array as _, ArrayRef, AsArray as _, Float64Array};
    use arrow::datatypes::Float64Type;

    use super::array;

    #[test]
    fn one_nan_and_one_zero() {
        let odd: ArrayRef = Arc::new(Float64Array::from(vec![Some(-f64::NAN), Some(-0.0), None, Some(-1.5)]));
        let one = array(&odd).expect("there are odd values");
        let bits: Vec<u64> = one.as_primitive::<Float64Type>().iter().flatten().map(f64::to_bits).collect();
        assert_eq!(bits, [f64::NAN, 0.0, -1.5].map(f64::to_bits));
        assert_eq!(one.null_count(), 1);
        assert!(array(&one).is_none(), "nothing is left to change");
    }
}
