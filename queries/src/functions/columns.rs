//! Reading arguments row by row without copying them, and writing 256-bit results.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, Float64Array, LargeBinaryArray, LargeStringArray, NullBufferBuilder, StringArray,
    StringViewArray,
};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type};
use datafusion_common::{Result, ScalarValue, exec_err, internal_err};
use datafusion_expr::ColumnarValue;
use highwater_engine::model::wide::{Wide, int256_from_bytes, uint256_from_bytes};

use super::number::{Number, decimal_number, parse_number};

/// Tells whether a type holds bytes.
pub(crate) fn is_bytes(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(data_type, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

/// Tells whether a type holds text.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Tells whether a type holds exact numbers: integers and decimals.
pub(crate) fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
}

/// A column or constant of bytes.
#[derive(Clone, Copy)]
pub(crate) enum Bytes<'a> {
    Constant(Option<&'a [u8]>),
    Fixed(&'a FixedSizeBinaryArray),
    Binary(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(value: &'a ColumnarValue) -> Result<Self> {
        match value {
            ColumnarValue::Scalar(ScalarValue::Null) => Ok(Bytes::Constant(None)),
            ColumnarValue::Scalar(
                ScalarValue::FixedSizeBinary(_, bytes)
                | ScalarValue::Binary(bytes)
                | ScalarValue::LargeBinary(bytes)
                | ScalarValue::BinaryView(bytes),
            ) => Ok(Bytes::Constant(bytes.as_deref())),
            ColumnarValue::Array(array) => match array.data_type() {
                DataType::FixedSizeBinary(_) => Ok(Bytes::Fixed(array.as_fixed_size_binary())),
                DataType::Binary => Ok(Bytes::Binary(array.as_binary())),
                DataType::LargeBinary => Ok(Bytes::Large(array.as_binary())),
                DataType::BinaryView => Ok(Bytes::View(array.as_binary_view())),
                DataType::Null => Ok(Bytes::Constant(None)),
                other => internal_err!("expected bytes, got {other}"),
            },
            ColumnarValue::Scalar(other) => internal_err!("expected bytes, got {}", other.data_type()),
        }
    }

    pub(crate) fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Bytes::Constant(value) => *value,
            Bytes::Fixed(array) => array.is_valid(row).then(|| array.value(row)),
            Bytes::Binary(array) => array.is_valid(row).then(|| array.value(row)),
            Bytes::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Bytes::View(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

/// A column or constant of text.
#[derive(Clone, Copy)]
pub(crate) enum Text<'a> {
    Constant(Option<&'a str>),
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Text<'a> {
    pub(crate) fn new(value: &'a ColumnarValue) -> Result<Self> {
        match value {
            ColumnarValue::Scalar(ScalarValue::Null) => Ok(Text::Constant(None)),
            ColumnarValue::Scalar(
                ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text),
            ) => Ok(Text::Constant(text.as_deref())),
            ColumnarValue::Array(array) => match array.data_type() {
                DataType::Utf8 => Ok(Text::Small(array.as_string())),
                DataType::LargeUtf8 => Ok(Text::Large(array.as_string())),
                DataType::Utf8View => Ok(Text::View(array.as_string_view())),
                DataType::Null => Ok(Text::Constant(None)),
                other => internal_err!("expected text, got {other}"),
            },
            ColumnarValue::Scalar(other) => internal_err!("expected text, got {}", other.data_type()),
        }
    }

    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Text::Constant(value) => *value,
            Text::Small(array) => array.is_valid(row).then(|| array.value(row)),
            Text::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Text::View(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

/// A column or constant of anything that can become a 256-bit integer.
pub(crate) enum Numbers<'a> {
    Wide(Wide, Bytes<'a>),
    /// Plain bytes, read as an unsigned big-endian number.
    Bytes(Bytes<'a>),
    Text(Text<'a>),
    Small(Repeat, Decimal128Array, i8),
    Medium(Repeat, Decimal256Array, i8),
    Double(Repeat, Float64Array),
}

/// Whether row 0 stands for every row.
#[derive(Clone, Copy)]
pub(crate) struct Repeat(bool);

impl Repeat {
    fn row(self, row: usize) -> usize {
        if self.0 { 0 } else { row }
    }
}

impl<'a> Numbers<'a> {
    pub(crate) fn new(value: &'a ColumnarValue, wide: Option<Wide>) -> Result<Self> {
        let data_type = value.data_type();
        if let Some(kind) = wide {
            return Ok(Numbers::Wide(kind, Bytes::new(value)?));
        }
        if is_text(&data_type) {
            return Ok(Numbers::Text(Text::new(value)?));
        }
        if is_bytes(&data_type) || data_type.is_null() {
            return Ok(Numbers::Bytes(Bytes::new(value)?));
        }
        let (repeat, array) = match value {
            ColumnarValue::Array(array) => (Repeat(false), Arc::clone(array)),
            ColumnarValue::Scalar(scalar) => (Repeat(true), scalar.to_array()?),
        };
        match data_type {
            DataType::Decimal128(_, scale) => {
                Ok(Numbers::Small(repeat, array.as_primitive::<Decimal128Type>().clone(), scale))
            }
            DataType::Decimal256(_, scale) => {
                Ok(Numbers::Medium(repeat, array.as_primitive::<Decimal256Type>().clone(), scale))
            }
            other if other.is_integer() => {
                let array = cast(&array, &DataType::Decimal128(38, 0))?;
                Ok(Numbers::Small(repeat, array.as_primitive::<Decimal128Type>().clone(), 0))
            }
            other if other.is_floating() => {
                let array = cast(&array, &DataType::Float64)?;
                Ok(Numbers::Double(repeat, array.as_primitive::<Float64Type>().clone()))
            }
            other => internal_err!("expected a number, got {other}"),
        }
    }

    /// The number of a row, `None` for NULL.
    ///
    /// # Errors
    /// If the row holds no whole number that fits 256 bits.
    pub(crate) fn get(&self, row: usize) -> Result<Option<Number>> {
        match self {
            Numbers::Wide(Wide::Unsigned, bytes) => Ok(bytes.get(row).map(uint256_from_bytes).map(Number::unsigned)),
            Numbers::Wide(Wide::Signed, bytes) => Ok(bytes.get(row).map(int256_from_bytes).map(Number::signed)),
            Numbers::Bytes(bytes) => match bytes.get(row) {
                Some(bytes) if bytes.len() > 32 => {
                    exec_err!("{} bytes do not fit a 256-bit integer", bytes.len())
                }
                Some(bytes) => Ok(Some(Number::unsigned(uint256_from_bytes(bytes)))),
                None => Ok(None),
            },
            Numbers::Text(text) => text.get(row).map(parse_number).transpose(),
            Numbers::Small(repeat, array, scale) => {
                let row = repeat.row(row);
                array.is_valid(row).then(|| decimal_number(array.value(row).into(), *scale)).transpose()
            }
            Numbers::Medium(repeat, array, scale) => {
                let row = repeat.row(row);
                array.is_valid(row).then(|| decimal_number(array.value(row), *scale)).transpose()
            }
            Numbers::Double(repeat, array) => {
                let row = repeat.row(row);
                array.is_valid(row).then(|| Number::from_double(array.value(row))).transpose()
            }
        }
    }
}

/// Fixed-size binary results, one buffer for all rows.
pub(crate) struct FixedWriter<const N: usize> {
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl<const N: usize> FixedWriter<N> {
    pub(crate) fn new(rows: usize) -> Self {
        FixedWriter { bytes: Vec::with_capacity(rows * N), nulls: NullBufferBuilder::new(rows) }
    }

    pub(crate) fn push(&mut self, value: Option<[u8; N]>) {
        match value {
            Some(value) => {
                self.bytes.extend_from_slice(&value);
                self.nulls.append_non_null();
            }
            None => {
                self.bytes.resize(self.bytes.len() + N, 0);
                self.nulls.append_null();
            }
        }
    }

    pub(crate) fn finish(mut self) -> Result<ArrayRef> {
        let width = i32::try_from(N).expect("widths of chain types are small");
        let array = FixedSizeBinaryArray::try_new(width, Buffer::from_vec(self.bytes), self.nulls.finish())?;
        Ok(Arc::new(array))
    }
}

/// Fills a fixed-size binary result row by row.
pub(crate) fn fill_fixed<const N: usize>(
    rows: usize,
    mut value: impl FnMut(usize) -> Result<Option<[u8; N]>>,
) -> Result<ArrayRef> {
    let mut writer = FixedWriter::new(rows);
    for row in 0..rows {
        writer.push(value(row)?);
    }
    writer.finish()
}

/// Fills a text result row by row; `write` appends the text to the buffer, or says that it is NULL.
pub(crate) fn fill_text(rows: usize, mut write: impl FnMut(usize, &mut String) -> Result<bool>) -> Result<ArrayRef> {
    let mut builder = arrow::array::StringBuilder::with_capacity(rows, rows * 32);
    let mut text = String::new();
    for row in 0..rows {
        text.clear();
        builder.append_option(write(row, &mut text)?.then_some(text.as_str()));
    }
    Ok(Arc::new(builder.finish()))
}

/// Fills a truth column row by row.
pub(crate) fn fill_truth(rows: usize, value: impl Fn(usize) -> Option<bool>) -> ArrayRef {
    Arc::new((0..rows).map(value).collect::<BooleanArray>())
}
