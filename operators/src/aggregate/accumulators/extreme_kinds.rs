//! The value types of `min` and `max`: fixed ones without bytes, all others through row encoding.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, FixedSizeBinaryArray, PrimitiveArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows as EncodedRows, SortField};

use crate::codec::{Decoder, Encode as _, Truncated};

/// A type that `min` and `max` compare.
pub(super) trait Kind {
    /// One value.
    type Value: Ord + Clone;
    /// An argument, opened once a batch.
    type Column;

    fn open(&self, argument: &ArrayRef) -> Self::Column;
    fn value(column: &Self::Column, row: usize) -> Self::Value;
    fn compare(column: &Self::Column, row: usize, with: &Self::Value) -> Ordering {
        Self::value(column, row).cmp(with)
    }
    fn array(&self, values: impl Iterator<Item = Option<Self::Value>>) -> ArrayRef;
    fn save(value: &Self::Value, bytes: &mut Vec<u8>);
    fn load(state: &mut Decoder<'_>) -> Result<Self::Value, Truncated>;
    /// Bytes of a value outside of itself.
    fn heap_bytes(_value: &Self::Value) -> usize {
        0
    }
}

/// A number that saves itself.
pub(super) trait SavedNumber: ArrowPrimitiveType {
    fn save(value: Self::Native, bytes: &mut Vec<u8>);
    fn load(state: &mut Decoder<'_>) -> Result<Self::Native, Truncated>;
}

impl SavedNumber for Int64Type {
    fn save(value: i64, bytes: &mut Vec<u8>) {
        bytes.put_i64(value);
    }

    fn load(state: &mut Decoder<'_>) -> Result<i64, Truncated> {
        state.i64()
    }
}

impl SavedNumber for Decimal128Type {
    fn save(value: i128, bytes: &mut Vec<u8>) {
        bytes.put_i128(value);
    }

    fn load(state: &mut Decoder<'_>) -> Result<i128, Truncated> {
        state.i128()
    }
}

/// Numbers, and what is a number underneath: dates and timestamps.
pub(super) struct Numbers<T> {
    storage: DataType,
    shown: DataType,
    number: PhantomData<T>,
}

impl<T> Numbers<T> {
    /// Values of type `shown`, kept as `storage`.
    pub(super) fn new(storage: DataType, shown: DataType) -> Numbers<T> {
        Numbers { storage, shown, number: PhantomData }
    }
}

/// The same numbers as another type.
pub(super) fn reinterpret(array: &ArrayRef, to: &DataType) -> ArrayRef {
    if array.data_type() == to {
        return array.clone();
    }
    cast(array, to).expect("the two types hold the same numbers")
}

impl<T: SavedNumber> Kind for Numbers<T>
where
    T::Native: Ord,
{
    type Value = T::Native;
    type Column = PrimitiveArray<T>;

    fn open(&self, argument: &ArrayRef) -> Self::Column {
        reinterpret(argument, &self.storage).as_primitive::<T>().clone()
    }

    #[inline]
    fn value(column: &Self::Column, row: usize) -> Self::Value {
        column.values()[row]
    }

    fn array(&self, values: impl Iterator<Item = Option<Self::Value>>) -> ArrayRef {
        let array = values.collect::<PrimitiveArray<T>>().with_data_type(self.storage.clone());
        reinterpret(&(Arc::new(array) as ArrayRef), &self.shown)
    }

    fn save(value: &Self::Value, bytes: &mut Vec<u8>) {
        T::save(*value, bytes);
    }

    fn load(state: &mut Decoder<'_>) -> Result<Self::Value, Truncated> {
        T::load(state)
    }
}

/// A double in total order: -0 before 0, NaN after everything.
#[derive(Clone, Copy)]
pub(super) struct Total(f64);

impl PartialEq for Total {
    fn eq(&self, other: &Total) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Total {}

impl Ord for Total {
    fn cmp(&self, other: &Total) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Total) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Floats.
pub(super) struct Floats(DataType);

impl Floats {
    /// Values of this float type.
    pub(super) fn new(data_type: DataType) -> Floats {
        Floats(data_type)
    }
}

impl Kind for Floats {
    type Value = Total;
    type Column = PrimitiveArray<Float64Type>;

    fn open(&self, argument: &ArrayRef) -> Self::Column {
        reinterpret(argument, &DataType::Float64).as_primitive::<Float64Type>().clone()
    }

    fn value(column: &Self::Column, row: usize) -> Total {
        Total(column.values()[row])
    }

    fn array(&self, values: impl Iterator<Item = Option<Total>>) -> ArrayRef {
        let array = values.map(|value| value.map(|total| total.0)).collect::<PrimitiveArray<Float64Type>>();
        reinterpret(&(Arc::new(array) as ArrayRef), &self.0)
    }

    fn save(value: &Total, bytes: &mut Vec<u8>) {
        bytes.put_u64(value.0.to_bits());
    }

    fn load(state: &mut Decoder<'_>) -> Result<Total, Truncated> {
        state.u64().map(|bits| Total(f64::from_bits(bits)))
    }
}

/// 32 bytes in byte order: 256-bit integers (their encoding sorts so) and hashes.
pub(super) struct Words;

impl Kind for Words {
    type Value = [u8; 32];
    type Column = FixedSizeBinaryArray;

    fn open(&self, argument: &ArrayRef) -> Self::Column {
        argument.as_fixed_size_binary().clone()
    }

    fn value(column: &Self::Column, row: usize) -> [u8; 32] {
        column.value(row).try_into().expect("the column has 32 bytes a value")
    }

    fn array(&self, values: impl Iterator<Item = Option<[u8; 32]>>) -> ArrayRef {
        let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 32);
        Arc::new(array.expect("every value has 32 bytes"))
    }

    fn save(value: &[u8; 32], bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(value);
    }

    fn load(state: &mut Decoder<'_>) -> Result<[u8; 32], Truncated> {
        state.take()
    }
}

/// Any other type that sorts, as row bytes.
pub(super) struct Encoded {
    data_type: DataType,
    converter: RowConverter,
}

impl Encoded {
    /// Values of this type.
    pub(super) fn new(data_type: DataType) -> Result<Encoded, ArrowError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Encoded { data_type, converter })
    }
}

impl Kind for Encoded {
    type Value = Box<[u8]>;
    type Column = EncodedRows;

    fn open(&self, argument: &ArrayRef) -> EncodedRows {
        self.converter
            .convert_columns(std::slice::from_ref(argument))
            .expect("the argument has the type the converter was made for")
    }

    fn value(column: &EncodedRows, row: usize) -> Box<[u8]> {
        column.row(row).data().into()
    }

    fn compare(column: &EncodedRows, row: usize, with: &Box<[u8]>) -> Ordering {
        column.row(row).data().cmp(with)
    }

    fn array(&self, values: impl Iterator<Item = Option<Box<[u8]>>>) -> ArrayRef {
        let mut present: Vec<Box<[u8]>> = Vec::new();
        let mut places: Vec<Option<u32>> = Vec::new();
        for value in values {
            places.push(value.map(|value| {
                present.push(value);
                u32::try_from(present.len() - 1).expect("groups are numbered with 32 bits")
            }));
        }
        let parser = self.converter.parser();
        let columns = self
            .converter
            .convert_rows(present.iter().map(|value| parser.parse(value)))
            .expect("the bytes were made by this converter");
        let shown = reinterpret(&columns[0], &self.data_type);
        take(&shown, &UInt32Array::from(places), None).expect("the places are within the values")
    }

    fn save(value: &Box<[u8]>, bytes: &mut Vec<u8>) {
        bytes.put_bytes(value);
    }

    fn load(state: &mut Decoder<'_>) -> Result<Box<[u8]>, Truncated> {
        state.bytes().map(Into::into)
    }

    fn heap_bytes(value: &Box<[u8]>) -> usize {
        value.len()
    }
}
