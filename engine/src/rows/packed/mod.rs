//! Rows of few bytes, in the order of `arrow-row`.
//!
//! A column is a byte that says whether it is NULL, and its value: numbers with the highest byte first and a sign
//! such that bytes compare as numbers do; text and bytes up to a zero. Text that is 20 or 32 bytes in lower-case hex
//! (addresses, hashes) is these bytes. Two rows are equal if and only if their bytes are. Rows with a column of
//! another type are as `arrow-row` makes them.
//!
//! Bytes compare as the rows do (ascending, NULL first), unless a column has text of more than one form:
//! [`Forms`] tells.
//!
//! Saved state holds the rows of `arrow-row`, which do not depend on how a version of this file packs them.

mod decode;
mod encode;

use arrow::array::{ArrayRef, LargeBinaryBuilder, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::row::Rows as ArrowRows;

use super::RowCodec;
use encode::{Column, Fields};

/// Before a value that is NULL. NULLs come first.
const NULL: u8 = 0;
/// Before a value. This and the next ones are a bit each, so that [`Forms`] holds any of them.
const VALUE: u8 = 1;
/// Before text that is 20 bytes in hex.
const HEX_20: u8 = 2;
/// Before text that is 32 bytes in hex.
const HEX_32: u8 = 4;
/// Characters of text that is 20 bytes in hex.
const TEXT_20: usize = 42;
/// Characters of text that is 32 bytes in hex.
const TEXT_32: usize = 66;
/// Ends text and bytes.
const END: u8 = 0;
/// Before what would be taken for an end, or for this, which stands behind it plus one.
const ESCAPE: u8 = 1;
/// Rows that are brought from one form into the other at a time.
const CHUNK_ROWS: usize = 1 << 14;

/// How a column is kept.
#[derive(Clone, Copy)]
enum Kind {
    /// A number of so many bytes.
    Number(usize, Sign),
    /// So many bytes.
    Plain(usize),
    Boolean,
    Text,
    Bytes,
}

/// What the highest bit of a number means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// Part of the magnitude.
    Unsigned,
    /// Less than all others: two's complement.
    Signed,
    /// Less than all others, and the greater the magnitude the less: IEEE 754.
    Float,
}

impl Sign {
    /// The bit to turn in the highest byte of a number that is not negative, and back.
    #[inline]
    fn mask(self) -> u8 {
        if self == Sign::Unsigned { 0 } else { 0x80 }
    }

    /// Whether all bits are to be turned, by the highest byte.
    #[inline]
    fn is_negative(self, highest: u8) -> bool {
        self == Sign::Float && highest & 0x80 != 0
    }
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Kind> {
        let sign = match data_type {
            DataType::Boolean => return Some(Kind::Boolean),
            DataType::Utf8 => return Some(Kind::Text),
            DataType::Binary => return Some(Kind::Bytes),
            DataType::FixedSizeBinary(width) => return usize::try_from(*width).ok().map(Kind::Plain),
            // Several numbers.
            DataType::Interval(_) => return None,
            floating if floating.is_floating() => Sign::Float,
            unsigned if unsigned.is_unsigned_integer() => Sign::Unsigned,
            _ => Sign::Signed,
        };
        data_type.primitive_width().map(|width| Kind::Number(width, sign))
    }
}

/// Rows of some columns to bytes and back.
pub struct PackedCodec {
    /// `None`: a column is of a type that is left to `arrow-row`.
    kinds: Option<Vec<Kind>>,
    rows: RowCodec,
}

/// Which forms the text of each column came in.
#[derive(Clone, Default, Debug)]
pub struct Forms(Vec<u8>);

impl Forms {
    /// Whether the bytes of such rows compare as the rows do.
    pub fn in_order(&self) -> bool {
        self.0.iter().all(|forms| forms.count_ones() <= 1)
    }

    /// Adds those of other rows.
    pub fn add(&mut self, other: &Forms) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(forms, others)| *forms |= others);
    }
}

/// Rows as bytes.
pub struct PackedRows(Repr);

enum Repr {
    /// All of one length.
    Even { bytes: Vec<u8>, width: usize, forms: Forms },
    /// Of any length.
    Uneven { bytes: Vec<u8>, ends: Vec<usize>, forms: Forms },
    /// As `arrow-row` makes them.
    Arrow(ArrowRows),
}

impl PackedRows {
    /// The bytes of a row.
    #[inline]
    pub fn row(&self, row: usize) -> &[u8] {
        match &self.0 {
            Repr::Even { bytes, width, .. } => &bytes[row * width..][..*width],
            Repr::Uneven { bytes, ends, .. } => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                &bytes[start..ends[row]]
            }
            Repr::Arrow(rows) => rows.row(row).data(),
        }
    }

    /// Their memory, for [`PackedCodec::encode_in`].
    pub fn into_buffer(self) -> Vec<u8> {
        match self.0 {
            Repr::Even { bytes, .. } | Repr::Uneven { bytes, .. } => bytes,
            Repr::Arrow(_) => Vec::new(),
        }
    }

    /// The forms of their text.
    pub fn forms(&self) -> Option<&Forms> {
        match &self.0 {
            Repr::Even { forms, .. } | Repr::Uneven { forms, .. } => Some(forms),
            Repr::Arrow(_) => None,
        }
    }
}

impl PackedCodec {
    /// For these columns of a schema.
    ///
    /// # Errors
    /// If a column is not there, or of a type without an order.
    pub fn new(schema: &SchemaRef, columns: &[usize]) -> Result<PackedCodec, ArrowError> {
        let rows = RowCodec::new(schema, columns)?;
        let kinds = rows.schema().fields().iter().map(|field| Kind::of(field.data_type())).collect();
        Ok(PackedCodec { kinds, rows })
    }

    /// The same without packing, which costs a little and saves memory: for rows that soon leave.
    ///
    /// # Errors
    /// If a column is not there, or of a type without an order.
    pub fn passing(schema: &SchemaRef, columns: &[usize]) -> Result<PackedCodec, ArrowError> {
        Ok(PackedCodec { kinds: None, rows: RowCodec::new(schema, columns)? })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    /// Bytes of every row, if its types alone tell.
    pub fn fixed_width(&self) -> Option<usize> {
        let width = |kind: &Kind| match kind {
            Kind::Number(width, _) | Kind::Plain(width) => Some(1 + width),
            Kind::Boolean => Some(2),
            Kind::Text | Kind::Bytes => None,
        };
        self.kinds.as_ref()?.iter().map(width).sum()
    }

    /// The rows of a batch that has exactly these columns.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize) -> PackedRows {
        self.encode_in(Vec::new(), columns, rows)
    }

    /// The same in the memory of a buffer, whatever it holds: first touches of memory cost more than the encoding.
    pub fn encode_in(&self, mut buffer: Vec<u8>, columns: &[ArrayRef], rows: usize) -> PackedRows {
        buffer.clear();
        let Some(kinds) = &self.kinds else { return PackedRows(Repr::Arrow(self.rows.encode(columns, rows))) };
        let mut columns: Vec<Column> =
            kinds.iter().zip(columns).map(|(kind, column)| Column::new(*kind, column)).collect();
        PackedRows(match even_rows(buffer, &columns, rows) {
            Ok(even) => even,
            Err(buffer) => uneven_rows(buffer, &mut columns, rows),
        })
    }

    /// The rows as a batch.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> RecordBatch {
        let Some(kinds) = &self.kinds else { return self.rows.decode(rows) };
        let mut rows: Vec<&[u8]> = rows.into_iter().collect();
        let fields = self.schema().fields().iter();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = kinds.iter().zip(fields).map(|(kind, field)| decode::column(*kind, field.data_type(), &mut rows));
        let columns = columns.collect();
        RecordBatch::try_new_with_options(self.schema().clone(), columns, &options)
            .expect("the rows decode to the columns they were made of")
    }

    /// A row of NULLs.
    pub fn null_row(&self) -> Vec<u8> {
        let fields = self.schema().fields().iter();
        let columns: Vec<ArrayRef> = fields.map(|field| new_null_array(field.data_type(), 1)).collect();
        self.encode(&columns, 1).row(0).to_vec()
    }

    /// Rows in the form of saved state.
    pub fn portable(&self, rows: &[&[u8]]) -> ArrowRows {
        let batch = self.decode(rows.iter().copied());
        self.rows.encode(batch.columns(), rows.len())
    }

    /// Appends rows in the form of saved state.
    pub fn save(&self, rows: &[&[u8]], saved: &mut LargeBinaryBuilder) {
        for chunk in rows.chunks(CHUNK_ROWS) {
            let encoded = self.portable(chunk);
            (0..chunk.len()).for_each(|row| saved.append_value(encoded.row(row)));
        }
    }

    /// Rows of saved state: their columns, and as they are kept.
    pub fn load<'a>(&self, saved: impl IntoIterator<Item = &'a [u8]>) -> (RecordBatch, PackedRows) {
        let batch = self.rows.decode(saved);
        let rows = self.encode(batch.columns(), batch.num_rows());
        (batch, rows)
    }
}

/// Column by column, where the values of each take equally many bytes; otherwise gives the buffer back.
fn even_rows(mut bytes: Vec<u8>, columns: &[Column], rows: usize) -> Result<Repr, Vec<u8>> {
    let Some(widths) = columns.iter().map(Column::even_width).collect::<Option<Vec<usize>>>() else {
        return Err(bytes);
    };
    let width = widths.iter().sum::<usize>();
    bytes.resize(rows * width, NULL);
    let (mut place, mut forms) = (0, Vec::with_capacity(columns.len()));
    for (column, taken) in columns.iter().zip(widths) {
        let Some(form) = column.write(Fields { bytes: &mut bytes, row: width, place }) else {
            bytes.clear();
            return Err(bytes);
        };
        forms.push(form);
        place += taken;
    }
    Ok(Repr::Even { bytes, width, forms: Forms(forms) })
}

/// Row by row, each as long as its values are.
fn uneven_rows(mut bytes: Vec<u8>, columns: &mut [Column], rows: usize) -> Repr {
    bytes.reserve(rows * columns.iter().map(Column::width).sum::<usize>());
    let mut ends = Vec::with_capacity(rows);
    for row in 0..rows {
        columns.iter_mut().for_each(|column| column.append(row, &mut bytes));
        ends.push(bytes.len());
    }
    let forms = Forms(columns.iter().map(|column| column.forms).collect());
    Repr::Uneven { bytes, ends, forms }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_primitives::hex;
    use arrow::array::{
        Array as _, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
        Int16Array, Int64Array, IntervalYearMonthArray, LargeStringArray, StringArray, UInt8Array,
    };
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str = "0x00112233445566778899aabbccddeeff00112233";

    type Numbers = (Option<i64>, Option<i16>, Option<u8>, Option<f64>, Option<f32>, Option<i128>);
    type Value = (Numbers, Option<String>, Option<Vec<u8>>, Option<bool>, Option<[u8; 3]>);

    fn address() -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<u8>(), 20).prop_map(hex::encode_prefixed)
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(hex::encode_prefixed),
            address(),
            proptest::collection::vec(any::<u8>(), 32).prop_map(hex::encode_prefixed),
            proptest::collection::vec(any::<u8>(), 20).prop_map(hex::encode_upper_prefixed),
            Just(ADDRESS.replace('a', "A")),
            Just(ADDRESS.replace('f', "g")),
            ".{0,5}",
            "[ab\\x00\\x01\\x02]{0,3}",
            (245_usize..300).prop_map(|len| "é".repeat(len / 2)),
        ]
    }

    fn numbers() -> impl Strategy<Value = Numbers> {
        let floats = prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::NEG_INFINITY)];
        (
            proptest::option::of(prop_oneof![-2_i64..2, any::<i64>()]),
            proptest::option::of(any::<i16>()),
            proptest::option::of(any::<u8>()),
            proptest::option::of(floats),
            proptest::option::of(any::<f32>()),
            proptest::option::of(prop_oneof![-2_i128..2, -(1_i128 << 90)..1_i128 << 90]),
        )
    }

    fn value(text: impl Strategy<Value = String>) -> impl Strategy<Value = Value> {
        value_with(proptest::option::of(text))
    }

    fn value_with(text: impl Strategy<Value = Option<String>>) -> impl Strategy<Value = Value> {
        let bytes = proptest::collection::vec(0_u8..4, 0..4);
        (
            numbers(),
            text,
            proptest::option::of(bytes),
            proptest::option::of(any::<bool>()),
            proptest::option::of(any::<[u8; 3]>()),
        )
    }

    fn batch(values: &[Value]) -> RecordBatch {
        // Bytes of any width, and of those that have code of their own.
        let fixed = |width: i32| {
            let wide = |bytes: &[u8; 3]| bytes.iter().cycle().take(width.unsigned_abs() as usize).copied().collect();
            let each = values.iter().map(|value| value.4.as_ref().map(wide));
            FixedSizeBinaryArray::try_from_sparse_iter_with_size::<_, Vec<u8>>(each, width).expect("one width")
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(values.iter().map(|value| value.1.as_deref()).collect::<StringArray>()),
            Arc::new(values.iter().map(|value| value.0.0).collect::<Int64Array>()),
            Arc::new(values.iter().map(|value| value.0.1).collect::<Int16Array>()),
            Arc::new(values.iter().map(|value| value.0.2).collect::<UInt8Array>()),
            Arc::new(values.iter().map(|value| value.0.3).collect::<Float64Array>()),
            Arc::new(values.iter().map(|value| value.0.4).collect::<Float32Array>()),
            Arc::new(values.iter().map(|value| value.0.5).collect::<Decimal128Array>()),
            Arc::new(values.iter().map(|value| value.2.as_deref()).collect::<BinaryArray>()),
            Arc::new(values.iter().map(|value| value.3).collect::<BooleanArray>()),
            Arc::new(fixed(3)),
            Arc::new(fixed(20)),
            Arc::new(fixed(32)),
        ];
        let field = |(name, column): (usize, &ArrayRef)| Field::new(name.to_string(), column.data_type().clone(), true);
        let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns).expect("one length")
    }

    /// Rows come back, from a slice too; bytes compare as the columns do, and are equal where these are.
    fn check(values: &[Value], skipped: usize, columns: &[usize], one_form: bool) {
        let batch = batch(values).project(columns).expect("the columns are there");
        let skipped = skipped.min(values.len() - 1);
        let batch = batch.slice(skipped, values.len() - skipped);
        let codec = PackedCodec::new(&batch.schema(), &(0..columns.len()).collect::<Vec<_>>()).expect("ordered types");
        let rows = codec.encode(batch.columns(), batch.num_rows());
        let forms = rows.forms().expect("all types are packed");
        assert!(forms.in_order() || !one_form);
        let bytes: Vec<&[u8]> = (0..batch.num_rows()).map(|row| rows.row(row)).collect();
        let decoded = codec.decode(bytes.iter().copied());
        let portable = codec.portable(&bytes);
        let expected = codec.rows.encode(batch.columns(), batch.num_rows());
        assert_eq!(decoded.num_rows(), batch.num_rows());
        let fixed = codec.fixed_width();
        assert_eq!(fixed.is_none(), columns.contains(&0) || columns.contains(&7));
        assert!(fixed.is_none_or(|width| bytes.iter().all(|row| row.len() == width)));
        for one in 0..bytes.len() {
            // Bytes, because NaN is not equal to itself.
            assert_eq!(portable.row(one), expected.row(one));
            for other in 0..bytes.len() {
                let order = portable.row(one).cmp(&portable.row(other));
                assert_eq!(bytes[one] == bytes[other], order.is_eq());
                if forms.in_order() {
                    assert_eq!(bytes[one].cmp(bytes[other]), order, "{:?} and {:?}", values[one], values[other]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn rows_come_back(values in proptest::collection::vec(value(text()), 1..30), skipped in 0_usize..3) {
            check(&values, skipped, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], false);
        }

        #[test]
        fn rows_are_in_order(
            values in prop_oneof![
                proptest::collection::vec(value(address()), 1..30),
                proptest::collection::vec(value("[ab\\x00\\x01\\x02]{0,3}"), 1..30),
            ],
            first in 0_usize..12,
        ) {
            check(&values, 0, &[first, 0, 9, 1], true);
        }

        /// All columns but that of bytes are equally wide in every row here.
        #[test]
        fn rows_of_one_length_come_back(
            values in proptest::collection::vec(value_with(address().prop_map(Some)), 1..30),
            hashes in any::<bool>(),
            odd in prop_oneof![Just(None), text().prop_map(Some)],
            skipped in 0_usize..3,
        ) {
            let mut values = values;
            if hashes {
                let longer = |text: &mut String| text.push_str("00112233445566778899aabb");
                values.iter_mut().filter_map(|value| value.1.as_mut()).for_each(longer);
            }
            let one_form = odd.is_none();
            if let Some(odd) = odd {
                values[0].1 = Some(odd);
            }
            check(&values, skipped, &[0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11], one_form);
            check(&values, skipped, &[11, 10, 9, 8, 6, 5, 4, 3, 2, 1, 0], one_form);
        }

        #[test]
        fn forms_are_told(one in text(), other in text()) {
            let column: ArrayRef = Arc::new(StringArray::from(vec![one.as_str(), other.as_str()]));
            let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("pool", DataType::Utf8, true)]));
            let codec = PackedCodec::new(&schema, &[0]).expect("text");
            let parts = [column.slice(0, 1), column.slice(1, 1)].map(|part| codec.encode(&[part], 1));
            let mut forms = Forms::default();
            parts.iter().for_each(|part| forms.add(part.forms().expect("text is packed")));
            let in_order = parts[0].row(0).cmp(parts[1].row(0)) == one.cmp(&other);
            prop_assert!(in_order || !forms.in_order());
        }
    }

    #[test]
    fn addresses_are_twenty_bytes() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some(ADDRESS), None]));
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("pool", DataType::Utf8, true)]));
        let codec = PackedCodec::new(&schema, &[0]).expect("text");
        let rows = codec.encode(&[column], 2);
        assert_eq!(rows.row(0).len(), 21);
        assert_eq!(rows.row(1).len(), 1);
    }

    #[test]
    fn other_types_are_left_to_arrow() {
        let columns: [ArrayRef; 2] =
            [Arc::new(LargeStringArray::from(vec!["a", "b"])), Arc::new(IntervalYearMonthArray::from(vec![1, 2]))];
        for column in columns {
            let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("name", column.data_type().clone(), false)]));
            let codec = PackedCodec::new(&schema, &[0]).expect("a type with an order");
            let rows = codec.encode(std::slice::from_ref(&column), 2);
            assert!(rows.forms().is_none());
            assert_eq!(codec.decode([rows.row(0), rows.row(1)]).column(0), &column);
        }
    }
}
