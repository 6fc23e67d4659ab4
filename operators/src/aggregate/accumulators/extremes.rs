//! `min(x)` and `max(x)`.
//!
//! A row that cannot be taken back any more is folded into one value a group. Other rows wait in an
//! ordered multiset with the height of their block, and are folded when that block is final; rows of
//! stateful operators stay there as long as they exist.
//! State: one value a group, and one entry for each distinct (group, value, block) that is not final.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Field, Int64Type};
use arrow::row::{OwnedRow, Row, RowConverter, RowParser, Rows as EncodedRows, SortField};

use super::{Accumulator, Failures, Rows};
use crate::aggregate::AggregateError;
use crate::codec::{Decoder, Encode as _, Truncated};
use crate::rows::{NEVER_FINAL, Permanence};

/// Smallest or largest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// `min`
    Smallest,
    /// `max`
    Largest,
}

/// `min` or `max` over an argument of this field.
pub(super) fn extreme(field: &Field, side: Side) -> Result<Box<dyn Accumulator>, AggregateError> {
    let data_type = field.data_type().clone();
    Ok(match &data_type {
        number if is_i64(number) => Box::new(Extreme::new(Numbers::<Int64Type>::new(data_type), side)),
        DataType::Decimal128(_, _) => Box::new(Extreme::new(Numbers::<Decimal128Type>::new(data_type), side)),
        DataType::Float32 | DataType::Float64 => Box::new(Extreme::new(Floats { data_type }, side)),
        DataType::FixedSizeBinary(32) => Box::new(Extreme::new(Words, side)),
        _ => Box::new(Extreme::new(Encoded::new(data_type)?, side)),
    })
}

/// Types whose order is that of 64-bit integers.
fn is_i64(data_type: &DataType) -> bool {
    use DataType as D;
    matches!(
        data_type,
        D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 | D::Date32 | D::Date64
            | D::Timestamp(_, _)
    )
}
