//! Rows as few bytes: how operators keep what is compared and given back, but never put in order.
//!
//! A row is a bit a column that says whether it is NULL, then the values: numbers as they are, text and bytes behind
//! their length. Text that is 20 or 32 bytes in lower-case hex (addresses, hashes) is kept as these bytes. Two rows
//! are equal if and only if their bytes are. Columns of other types are kept as `arrow-row` keeps them.
//!
//! Saved state holds the rows of `arrow-row`, which do not depend on how a version of this file packs them.

mod decode;
mod encode;

use arrow::array::{ArrayRef, LargeBinaryBuilder, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::row::Rows as EncodedRows;

use crate::rows::RowCodec;
use decode::Building;
use encode::Column;

/// Lengths below this are told by one byte.
const LONG: u8 = 250;
/// Behind it stand 20 bytes that are shown in hex.
const HEX_20: u8 = 251;
/// Behind it stand 32 bytes that are shown in hex.
const HEX_32: u8 = 252;
/// Rows that are brought from one form into the other at a time.
const CHUNK_ROWS: usize = 1 << 14;

/// How a column is kept.
#[derive(Clone, Copy)]
enum Kind {
    /// So many bytes.
    Fixed(usize),
    Boolean,
    Text,
    Bytes,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Kind> {
        match data_type {
            DataType::Boolean => Some(Kind::Boolean),
            DataType::Utf8 => Some(Kind::Text),
            DataType::Binary => Some(Kind::Bytes),
            DataType::FixedSizeBinary(width) => usize::try_from(*width).ok().map(Kind::Fixed),
            other => other.primitive_width().map(Kind::Fixed),
        }
    }

    /// Bytes of every value, if they are equally many.
    fn width(self) -> Option<usize> {
        match self {
            Kind::Fixed(width) => Some(width),
            Kind::Boolean => Some(1),
            Kind::Text | Kind::Bytes => None,
        }
    }
}

/// Rows of some columns to bytes and back.
pub(crate) struct PackedCodec {
    /// `None`: a column is of a type that is left to `arrow-row`.
    kinds: Option<Vec<Kind>>,
    rows: RowCodec,
}

/// Rows as bytes.
pub(crate) enum PackedRows {
    /// Bytes of all rows, and where each ends.
    Packed { bytes: Vec<u8>, ends: Vec<usize> },
    /// As `arrow-row` makes them.
    Arrow(EncodedRows),
}

impl PackedRows {
    /// The bytes of a row.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        match self {
            PackedRows::Packed { bytes, ends } => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                &bytes[start..ends[row]]
            }
            PackedRows::Arrow(rows) => rows.row(row).data(),
        }
    }
}

impl PackedCodec {
    /// For these columns of a schema.
    pub(crate) fn new(schema: &SchemaRef, columns: &[usize]) -> Result<PackedCodec, ArrowError> {
        let rows = RowCodec::new(schema, columns)?;
        let kinds = rows.schema().fields().iter().map(|field| Kind::of(field.data_type())).collect();
        Ok(PackedCodec { kinds, rows })
    }

    /// The same without packing, which costs a little and saves memory: for rows that soon leave.
    pub(crate) fn passing(schema: &SchemaRef, columns: &[usize]) -> Result<PackedCodec, ArrowError> {
        Ok(PackedCodec { kinds: None, rows: RowCodec::new(schema, columns)? })
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    /// Bytes of every row, if they are equally many.
    pub(crate) fn width(&self) -> Option<usize> {
        let fields = self.schema().fields().iter();
        let values: Option<usize> = fields.map(|field| Kind::of(field.data_type())?.width()).sum();
        let header = match &self.kinds {
            Some(kinds) => header(kinds),
            // A byte a column says whether it is NULL.
            None => self.schema().fields().len(),
        };
        values.map(|values| header + values)
    }

    /// The rows of a batch that has exactly these columns.
    pub(crate) fn encode(&self, columns: &[ArrayRef], rows: usize) -> PackedRows {
        let Some(kinds) = &self.kinds else { return PackedRows::Arrow(self.rows.encode(columns, rows)) };
        let columns: Vec<Column> = kinds.iter().zip(columns).map(|(kind, column)| Column::new(*kind, column)).collect();
        let header = header(kinds);
        let width = header + columns.iter().map(Column::width).sum::<usize>();
        let (mut bytes, mut ends) = (Vec::with_capacity(rows * width), Vec::with_capacity(rows));
        let has_nulls = columns.iter().any(|column| column.nulls.is_some());
        for row in 0..rows {
            let start = bytes.len();
            bytes.resize(start + header, 0);
            if has_nulls {
                for (place, _) in columns.iter().enumerate().filter(|(_, column)| column.is_null(row)) {
                    bytes[start + place / 8] |= 1 << (place % 8);
                }
            }
            columns.iter().for_each(|column| column.append(row, &mut bytes));
            ends.push(bytes.len());
        }
        PackedRows::Packed { bytes, ends }
    }

    /// The rows as a batch.
    pub(crate) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> RecordBatch {
        let Some(kinds) = &self.kinds else { return self.rows.decode(rows) };
        let mut columns: Vec<Building> = kinds.iter().map(|kind| Building::new(*kind)).collect();
        let mut count = 0;
        for row in rows {
            let (nulls, mut values) = row.split_at(header(kinds));
            for (place, column) in columns.iter_mut().enumerate() {
                column.take(&mut values, nulls[place / 8] & (1 << (place % 8)) != 0);
            }
            count += 1;
        }
        let fields = self.schema().fields().iter();
        let arrays = columns.into_iter().zip(fields).map(|(column, field)| column.finish(field.data_type())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema().clone(), arrays, &options)
            .expect("the rows decode to the columns they were made of")
    }

    /// A row of NULLs.
    pub(crate) fn null_row(&self) -> Vec<u8> {
        let fields = self.schema().fields().iter();
        let columns: Vec<ArrayRef> = fields.map(|field| new_null_array(field.data_type(), 1)).collect();
        self.encode(&columns, 1).row(0).to_vec()
    }

    /// Rows in the form of saved state.
    pub(crate) fn portable(&self, rows: &[&[u8]]) -> EncodedRows {
        let batch = self.decode(rows.iter().copied());
        self.rows.encode(batch.columns(), rows.len())
    }

    /// Appends rows in the form of saved state.
    pub(crate) fn save(&self, rows: &[&[u8]], saved: &mut LargeBinaryBuilder) {
        for chunk in rows.chunks(CHUNK_ROWS) {
            let encoded = self.portable(chunk);
            (0..chunk.len()).for_each(|row| saved.append_value(encoded.row(row)));
        }
    }

    /// Rows of saved state: their columns, and as they are kept.
    pub(crate) fn load<'a>(&self, saved: impl IntoIterator<Item = &'a [u8]>) -> (RecordBatch, PackedRows) {
        let batch = self.rows.decode(saved);
        let rows = self.encode(batch.columns(), batch.num_rows());
        (batch, rows)
    }
}

/// Bytes that say what is NULL.
fn header(kinds: &[Kind]) -> usize {
    kinds.len().div_ceil(8)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_primitives::hex;
    use arrow::array::{Array as _, BinaryArray, BooleanArray, Int64Array, LargeStringArray, StringArray};
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str = "0x00112233445566778899aabbccddeeff00112233";

    type Value = (Option<i64>, Option<String>, Option<Vec<u8>>, Option<bool>, Option<[u8; 3]>);

    fn text() -> impl Strategy<Value = String> {
        let hex = proptest::collection::vec(any::<u8>(), 0..40).prop_map(hex::encode_prefixed);
        prop_oneof![
            hex.clone(),
            proptest::collection::vec(any::<u8>(), 20).prop_map(hex::encode_prefixed),
            proptest::collection::vec(any::<u8>(), 32).prop_map(hex::encode_prefixed),
            proptest::collection::vec(any::<u8>(), 20).prop_map(hex::encode_upper_prefixed),
            Just(ADDRESS.replace('a', "A")),
            Just(ADDRESS.replace('f', "g")),
            ".{0,5}",
            "[ab]{0,2}",
            (245_usize..300).prop_map(|len| "é".repeat(len / 2)),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..3);
        (
            proptest::option::of(-2_i64..2),
            proptest::option::of(text()),
            proptest::option::of(bytes),
            proptest::option::of(any::<bool>()),
            proptest::option::of(any::<[u8; 3]>()),
        )
    }

    fn batch(values: &[Value]) -> RecordBatch {
        let fixed = arrow::array::FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            values.iter().map(|value| value.4.as_ref()),
            3,
        );
        let columns: Vec<ArrayRef> = vec![
            Arc::new(values.iter().map(|value| value.0).collect::<Int64Array>()),
            Arc::new(values.iter().map(|value| value.1.as_deref()).collect::<StringArray>()),
            Arc::new(values.iter().map(|value| value.2.as_deref()).collect::<BinaryArray>()),
            Arc::new(values.iter().map(|value| value.3).collect::<BooleanArray>()),
            Arc::new(fixed.expect("three bytes each")),
        ];
        let field = |(name, column): (usize, &ArrayRef)| Field::new(name.to_string(), column.data_type().clone(), true);
        let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns).expect("one length")
    }

    proptest! {
        /// Rows come back, from a slice too; they are equal where their bytes are, and only there.
        #[test]
        fn rows_come_back(values in proptest::collection::vec(value(), 1..30), skipped in 0_usize..3) {
            let batch = batch(&values);
            let batch = batch.slice(skipped.min(values.len() - 1), values.len() - skipped.min(values.len() - 1));
            let codec = PackedCodec::new(&batch.schema(), &[0, 1, 2, 3, 4]).expect("types with an order");
            let rows = codec.encode(batch.columns(), batch.num_rows());
            let bytes: Vec<&[u8]> = (0..batch.num_rows()).map(|row| rows.row(row)).collect();
            prop_assert_eq!(&codec.decode(bytes.iter().copied()), &batch);
            let portable = codec.portable(&bytes);
            for one in 0..bytes.len() {
                for other in 0..bytes.len() {
                    prop_assert_eq!(bytes[one] == bytes[other], portable.row(one) == portable.row(other));
                }
            }
        }
    }

    #[test]
    fn addresses_are_twenty_bytes() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some(ADDRESS), None]));
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("pool", DataType::Utf8, true)]));
        let codec = PackedCodec::new(&schema, &[0]).expect("text");
        let rows = codec.encode(&[column], 2);
        assert_eq!(rows.row(0).len(), 22);
        assert_eq!(rows.row(1).len(), 2);
        assert_eq!(codec.width(), None);
    }

    #[test]
    fn other_types_are_left_to_arrow() {
        let column: ArrayRef = Arc::new(LargeStringArray::from(vec!["a", "b"]));
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("name", DataType::LargeUtf8, false)]));
        let codec = PackedCodec::new(&schema, &[0]).expect("text");
        let rows = codec.encode(std::slice::from_ref(&column), 2);
        assert_eq!(codec.decode([rows.row(0), rows.row(1)]).column(0), &column);
    }
}
