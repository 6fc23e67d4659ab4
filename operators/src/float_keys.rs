//! Floats as keys: row bytes tell the two zeros apart, SQL does not.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

/// The column with `-0.0` written as `0.0`; columns that are not floats are given back as they are.
pub(crate) fn one_zero(column: &ArrayRef) -> ArrayRef {
    // Adding zero changes no other float: NaN keeps its bits, and -0.0 + 0.0 is 0.0 (IEEE 754, 6.3).
    match column.data_type() {
        DataType::Float32 => {
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| value + 0.0))
        }
        DataType::Float64 => {
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| value + 0.0))
        }
        _ => column.clone(),
    }
}
