//! Numbers of up to 64 bits as integers in the same order.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, PrimitiveArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::extreme_kinds::reinterpret;
use super::extremes::is_i64;

const SIGN: u64 = 1 << 63;

/// A type whose values sort as integers do: floats in total order, -0 before 0 and NaN after everything.
pub(super) struct Sortable {
    shown: DataType,
    is_float: bool,
}

/// An argument, opened once a batch.
pub(super) enum SortableColumn {
    Integers(PrimitiveArray<Int64Type>),
    Floats(PrimitiveArray<Float64Type>),
}

impl Sortable {
    /// Values of this type; `None` if it is not one of these numbers.
    pub(super) fn new(data_type: &DataType) -> Option<Sortable> {
        let is_float = matches!(data_type, DataType::Float32 | DataType::Float64);
        (is_float || is_i64(data_type)).then(|| Sortable { shown: data_type.clone(), is_float })
    }

    pub(super) fn open(&self, argument: &ArrayRef) -> SortableColumn {
        if self.is_float {
            SortableColumn::Floats(reinterpret(argument, &DataType::Float64).as_primitive().clone())
        } else {
            SortableColumn::Integers(reinterpret(argument, &DataType::Int64).as_primitive().clone())
        }
    }

    pub(super) fn array(&self, values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
        let array: ArrayRef = if self.is_float {
            let float = |bits: u64| f64::from_bits(if bits & SIGN == 0 { !bits } else { bits ^ SIGN });
            Arc::new(values.map(|bits| bits.map(float)).collect::<PrimitiveArray<Float64Type>>())
        } else {
            let integer = |bits: u64| (bits ^ SIGN).cast_signed();
            Arc::new(values.map(|bits| bits.map(integer)).collect::<PrimitiveArray<Int64Type>>())
        };
        reinterpret(&array, &self.shown)
    }
}

impl SortableColumn {
    #[inline]
    pub(super) fn value(&self, row: usize) -> u64 {
        match self {
            SortableColumn::Integers(values) => values.values()[row].cast_unsigned() ^ SIGN,
            SortableColumn::Floats(values) => {
                let bits = values.values()[row].to_bits();
                if bits & SIGN == 0 { bits ^ SIGN } else { !bits }
            }
        }
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            SortableColumn::Integers(values) => values.is_null(row),
            SortableColumn::Floats(values) => values.is_null(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int64Array, TimestampMillisecondArray, UInt32Array};

    use super::*;

    fn check(array: ArrayRef) {
        let sortable = Sortable::new(array.data_type()).expect("a number");
        let column = sortable.open(&array);
        let values: Vec<u64> = (0..array.len()).map(|row| column.value(row)).collect();
        assert!(values.is_sorted_by(|one, next| one < next), "{values:?} of {array:?}");
        assert_eq!(&sortable.array(values.iter().copied().map(Some)), &array);
    }

    #[test]
    fn order_and_values_stay() {
        check(Arc::new(Int64Array::from(vec![i64::MIN, -5, -1, 0, 1, 7, i64::MAX])));
        check(Arc::new(UInt32Array::from(vec![0, 1, u32::MAX])));
        check(Arc::new(TimestampMillisecondArray::from(vec![-1, 0, 1]).with_timezone("UTC")));
        let floats =
            [f64::NEG_INFINITY, f64::MIN, -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY, f64::NAN];
        check(Arc::new(Float64Array::from(floats.to_vec())));
        check(Arc::new(Float32Array::from(vec![f32::NEG_INFINITY, -1.5, 0.0, 0.1, f32::INFINITY])));
        assert!(Sortable::new(&DataType::Utf8).is_none());
        assert!(Sortable::new(&DataType::UInt64).is_none());
    }

    #[test]
    fn nulls_are_told() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
        let column = Sortable::new(array.data_type()).expect("a number").open(&array);
        assert!(!column.is_null(0) && column.is_null(1));
    }
}
