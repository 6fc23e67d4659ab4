//! Rows of the private dataflow: `arrow::row` bytes.
//!
//! All relations share the one type [`Row`], so that differential's operators are compiled once. Columns are
//! built only where an expression is evaluated; see `layout.rs` for the rest.

use highwater_engine::rows::RowCodec;
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, new_null_array};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// What fits beside a length and a tag in three machine words: two 64-bit columns, or an address.
const INLINE: usize = 22;

/// An encoded row; cloning it never allocates.
#[derive(Clone)]
pub(super) enum Row {
    /// Padded with zeros.
    Short { len: u8, bytes: [u8; INLINE] },
    /// Longer than [`INLINE`].
    Long(Rc<[u8]>),
}

impl Row {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Row::Short { len, bytes } => &bytes[..usize::from(*len)],
            Row::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Row {
    #[inline]
    fn from(row: &[u8]) -> Row {
        if row.len() > INLINE {
            return Row::Long(row.into());
        }
        let mut bytes = [0; INLINE];
        bytes[..row.len()].copy_from_slice(row);
        Row::Short { len: u8::try_from(row.len()).expect("at most INLINE"), bytes }
    }
}

/// Numbers in the order of the bytes: comparing rows is most of what a dataflow does, and this needs no call. The
/// second overlaps the first, which does not change the order.
#[inline]
fn words(bytes: &[u8; INLINE]) -> (u128, u64) {
    let head = bytes.first_chunk().expect("16 of 22 bytes");
    let tail = bytes.last_chunk().expect("8 of 22 bytes");
    (u128::from_be_bytes(*head), u64::from_be_bytes(*tail))
}

impl PartialEq for Row {
    #[inline]
    fn eq(&self, other: &Row) -> bool {
        match (self, other) {
            (Row::Short { len, bytes }, Row::Short { len: other_len, bytes: other }) => {
                len == other_len && words(bytes) == words(other)
            }
            (Row::Long(bytes), Row::Long(other)) => bytes == other,
            // The length decides on the form.
            _ => false,
        }
    }
}

impl Eq for Row {}

impl Ord for Row {
    #[inline]
    fn cmp(&self, other: &Row) -> Ordering {
        match (self, other) {
            // The padding is the smallest byte, so only rows that differ by trailing zeros need the length.
            (Row::Short { len, bytes }, Row::Short { len: other_len, bytes: other }) => {
                words(bytes).cmp(&words(other)).then(len.cmp(other_len))
            }
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl PartialOrd for Row {
    #[inline]
    fn partial_cmp(&self, other: &Row) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Row").field(&self.as_bytes()).finish()
    }
}

/// Batches of one schema to rows and back.
pub(super) struct Columns {
    codec: RowCodec,
}

impl Columns {
    pub(super) fn new(schema: &SchemaRef) -> Result<Columns, ArrowError> {
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        Ok(Columns { codec: RowCodec::new(schema, &all)? })
    }

    /// The rows of a batch. -0.0 becomes 0.0 and every NaN the same NaN, for they are equal in SQL.
    pub(super) fn encode(&self, batch: &RecordBatch) -> Vec<Row> {
        let columns: Vec<ArrayRef> = batch.columns().iter().map(one_zero).collect();
        let rows = self.codec.encode(&columns, batch.num_rows());
        rows.iter().map(|row| Row::from(row.data())).collect()
    }

    pub(super) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) -> RecordBatch {
        self.codec.decode(rows.into_iter().map(Row::as_bytes))
    }
}

/// The row in which every column is NULL.
pub(super) fn null_row(schema: &SchemaRef) -> Result<Row, ArrowError> {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let columns: Vec<ArrayRef> = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    Ok(Row::from(RowCodec::new(schema, &all)?.encode(&columns, 1).row(0).data()))
}

fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        _ => column.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;
    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn rows_sort_as_their_bytes() {
        let mut bytes: Vec<Vec<u8>> = Vec::new();
        for len in [0, 1, 2, 21, 22, 23, 24] {
            for fill in [0, 1, 255] {
                bytes.push(vec![fill; len]);
                bytes.extend((len > 0).then(|| [vec![fill; len - 1], vec![0]].concat()));
            }
        }
        for one in &bytes {
            for other in &bytes {
                let (left, right) = (Row::from(one.as_slice()), Row::from(other.as_slice()));
                assert_eq!(left.cmp(&right), one.cmp(other), "{one:?} {other:?}");
                assert_eq!(left == right, one == other);
                assert_eq!(left.as_bytes(), one.as_slice());
            }
        }
        assert_eq!(size_of::<Row>(), 24);
    }

    #[test]
    fn zeros_and_nans_are_one() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, false)]));
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let batch = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
        let rows = Columns::new(&schema).unwrap().encode(&batch);
        assert_eq!(rows[0], rows[1]);
        assert_eq!(rows[2], rows[3]);
    }
}
