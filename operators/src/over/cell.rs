//! Single values of columns: what functions read and what they answer.

use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int64Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows as EncodedRows, SortField};
use highwater_engine::model::wide::wide_kind;

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Null,
    /// A count, an integer, a decimal without its point.
    Integer(i128),
    Float(f64),
    /// The encoding of a value of any type of a fixed width up to sixteen bytes, from the highest byte on.
    Packed(u128),
    /// The encoding of a value of any other type, or a 256-bit integer.
    Bytes(Rc<[u8]>),
    /// A sum that does not fit its type.
    TooLarge,
}

impl Cell {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Cell::Null)
    }

    fn kind(&self) -> u8 {
        match self {
            Cell::Null => 0,
            Cell::Integer(_) => 1,
            Cell::Float(_) => 2,
            Cell::Packed(_) => 3,
            Cell::Bytes(_) => 4,
            Cell::TooLarge => 5,
        }
    }
}

/// Floats by their bits, so that what looks different is different.
impl Ord for Cell {
    fn cmp(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Integer(a), Cell::Integer(b)) => a.cmp(b),
            (Cell::Float(a), Cell::Float(b)) => a.total_cmp(b),
            (Cell::Packed(a), Cell::Packed(b)) => a.cmp(b),
            (Cell::Bytes(a), Cell::Bytes(b)) => a.cmp(b),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Cell) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Cell) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cell {}

/// What is read of each row for the calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) kind: SlotKind,
    pub(super) column: Option<usize>,
    /// Rows where this column is not true are read as NULL.
    pub(super) filter: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SlotKind {
    /// Whether there is a value.
    Presence,
    /// A number to add: an integer, a float, or the bytes of a 256-bit integer.
    Number,
    /// A number to average: a float.
    Float,
    /// The value itself, encoded.
    Value,
    /// The place on the axis of RANGE distances, which grows in the order of the rows.
    Axis {
        /// Whether the sort column falls.
        descending: bool,
    },
}

/// A [`Slot`] of the rows of one batch.
pub(super) struct Reader {
    column: Column,
    nulls: Option<NullBuffer>,
    filter: Option<BooleanArray>,
    negate: bool,
}

enum Column {
    Nothing,
    Integer(Int64Array),
    Decimal(Decimal128Array),
    Float(Float64Array),
    Wide(FixedSizeBinaryArray),
    Encoded(EncodedRows, bool),
}

impl Reader {
    /// Reads a slot of this batch; `codec` is that of a [`SlotKind::Value`].
    pub(super) fn new(slot: Slot, batch: &RecordBatch, codec: Option<&ValueCodec>) -> Reader {
        let argument = slot.column.map(|index| batch.column(index));
        let column = match (slot.kind, slot.column, argument, codec) {
            (SlotKind::Value, _, Some(array), Some(codec)) => codec.encode(array),
            (SlotKind::Number | SlotKind::Axis { .. }, Some(index), Some(array), _) => {
                numbers(batch.schema_ref().field(index), array)
            }
            (SlotKind::Float, Some(index), Some(array), _) => floats(batch.schema_ref().field(index), array),
            _ => Column::Nothing,
        };
        Reader {
            column,
            nulls: argument.and_then(|array| array.logical_nulls()),
            filter: slot.filter.map(|index| batch.column(index).as_boolean().clone()),
            negate: slot.kind == SlotKind::Axis { descending: true },
        }
    }

    /// The value of a row.
    pub(super) fn read(&self, row: usize) -> Cell {
        let is_null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let passes = self.filter.as_ref().is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        if is_null || !passes {
            return Cell::Null;
        }
        let sign = if self.negate { -1 } else { 1 };
        match &self.column {
            Column::Nothing => Cell::Integer(1),
            Column::Integer(array) => Cell::Integer(i128::from(array.value(row)) * sign),
            Column::Decimal(array) => Cell::Integer(array.value(row) * sign),
            Column::Float(array) if self.negate => Cell::Float(-array.value(row)),
            Column::Float(array) => Cell::Float(array.value(row)),
            Column::Wide(array) => Cell::Bytes(array.value(row).into()),
            Column::Encoded(rows, packs) => packed(rows.row(row).data(), *packs),
        }
    }
}

fn numbers(field: &Field, array: &ArrayRef) -> Column {
    let as_type = |data_type: &DataType| cast(array, data_type).expect("the type was checked to be a number");
    match field.data_type() {
        _ if wide_kind(field).is_some() => Column::Wide(array.as_fixed_size_binary().clone()),
        DataType::Float32 | DataType::Float64 => {
            Column::Float(as_type(&DataType::Float64).as_primitive::<Float64Type>().clone())
        }
        DataType::Decimal128(..) => Column::Decimal(array.as_primitive::<Decimal128Type>().clone()),
        DataType::UInt64 => {
            Column::Decimal(as_type(&DataType::Decimal128(20, 0)).as_primitive::<Decimal128Type>().clone())
        }
        _ => Column::Integer(as_type(&DataType::Int64).as_primitive::<Int64Type>().clone()),
    }
}

fn floats(field: &Field, array: &ArrayRef) -> Column {
    let floats = wide_floats(field, array)
        .unwrap_or_else(|| cast(array, &DataType::Float64).expect("every number has a nearest double"));
    Column::Float(floats.as_primitive::<Float64Type>().clone())
}

fn wide_floats(field: &Field, array: &ArrayRef) -> Option<ArrayRef> {
    let kind = wide_kind(field)?;
    let float = |bytes: Option<&[u8]>| bytes.map(|bytes| super::accumulator::wide(kind, bytes).to_f64());
    Some(Arc::new(array.as_fixed_size_binary().iter().map(float).collect::<Float64Array>()))
}

/// The mark that stands before every value of a fixed width that is not NULL.
const PRESENT: u8 = 1;

fn packed(bytes: &[u8], packs: bool) -> Cell {
    if !packs {
        return Cell::Bytes(bytes.into());
    }
    let mut all = [0; 16];
    all[..bytes.len() - 1].copy_from_slice(&bytes[1..]);
    Cell::Packed(u128::from_be_bytes(all))
}

/// Values of one column to cells that sort as they do, and back.
pub(super) struct ValueCodec {
    converter: RowConverter,
    null: Box<[u8]>,
    packs: bool,
}

impl ValueCodec {
    pub(super) fn new(data_type: &DataType) -> Result<ValueCodec, ArrowError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let null: Box<[u8]> =
            converter.convert_columns(&[arrow::array::new_null_array(data_type, 1)])?.row(0).data().into();
        let is_fixed = data_type.is_primitive() || data_type == &DataType::Boolean;
        Ok(ValueCodec { converter, packs: is_fixed && null.len() <= 17, null })
    }

    fn encode(&self, array: &ArrayRef) -> Column {
        let rows = self.converter.convert_columns(std::slice::from_ref(array));
        Column::Encoded(rows.expect("the array has the type of the column"), self.packs)
    }

    fn decode<'a>(&self, cells: impl Iterator<Item = &'a Cell>) -> ArrayRef {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for cell in cells {
            match cell {
                Cell::Packed(value) => {
                    bytes.push(PRESENT);
                    bytes.extend_from_slice(&value.to_be_bytes()[..self.null.len() - 1]);
                }
                Cell::Bytes(value) => bytes.extend_from_slice(value),
                _ => bytes.extend_from_slice(&self.null),
            }
            ends.push(bytes.len());
        }
        let parser = self.converter.parser();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let rows = starts.zip(&ends).map(|(start, end)| parser.parse(&bytes[start..*end]));
        self.converter.convert_rows(rows).expect("the bytes were made by this converter").remove(0)
    }
}

/// Cells of one call to a column of the output.
pub(super) fn column<'a>(field: &Field, codec: Option<&ValueCodec>, cells: impl Iterator<Item = &'a Cell>) -> ArrayRef {
    if let Some(codec) = codec {
        return codec.decode(cells);
    }
    let integer = |cell: &Cell| if let Cell::Integer(value) = cell { Some(*value) } else { None };
    match field.data_type() {
        DataType::Int64 => {
            let number = |cell| integer(cell).and_then(|value| i64::try_from(value).ok());
            Arc::new(cells.map(number).collect::<Int64Array>())
        }
        DataType::Decimal128(precision, scale) => {
            let array = cells.map(integer).collect::<Decimal128Array>();
            Arc::new(array.with_precision_and_scale(*precision, *scale).expect("a type of the output"))
        }
        DataType::Float64 => {
            let float = |cell: &Cell| if let Cell::Float(value) = cell { Some(*value) } else { None };
            Arc::new(cells.map(float).collect::<Float64Array>())
        }
        _ => {
            let bytes = |cell: &'a Cell| if let Cell::Bytes(bytes) = cell { Some(bytes.as_ref()) } else { None };
            let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(cells.map(bytes), 32);
            Arc::new(array.expect("a sum of another type is a 256-bit integer"))
        }
    }
}
