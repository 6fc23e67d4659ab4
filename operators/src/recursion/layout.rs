//! Taking encoded rows apart by column.
//!
//! An encoded row is the encodings of its columns one after the other, and each of them tells where it
//! ends. So keys are cut out, and rows of a join put together, by copying bytes.

use arrow::datatypes::{DataType, SchemaRef};

use super::row::Row;

/// How long the encoding of each column is; `None`: its bytes tell.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    widths: Vec<Option<usize>>,
}

impl Layout {
    /// The layout of some columns of a schema, or the first of them that cannot be told apart.
    pub(super) fn new(schema: &SchemaRef, columns: &[usize]) -> Result<Layout, DataType> {
        let width = |column: &usize| width(schema.field(*column).data_type());
        Ok(Layout { widths: columns.iter().map(width).collect::<Result<_, _>>()? })
    }

    /// The layout of some of the columns.
    pub(super) fn of(&self, columns: &[usize]) -> Layout {
        Layout { widths: columns.iter().map(|column| self.widths[*column]).collect() }
    }

    fn is_fixed(&self) -> bool {
        self.widths.iter().all(Option::is_some)
    }

    /// Where each column begins, and where the last one ends.
    pub(super) fn offsets(&self, row: &[u8], offsets: &mut Vec<usize>) {
        offsets.clear();
        let mut at = 0;
        offsets.push(at);
        for width in &self.widths {
            at += width.unwrap_or_else(|| variable_width(&row[at..]));
            offsets.push(at);
        }
    }
}

fn width(data_type: &DataType) -> Result<Option<usize>, DataType> {
    match data_type {
        DataType::Boolean => Ok(Some(2)),
        DataType::FixedSizeBinary(width) => Ok(usize::try_from(*width).ok().map(|width| width + 1)),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => Ok(None),
        other => other.primitive_width().map(|width| Some(width + 1)).ok_or_else(|| other.clone()),
    }
}

/// The length of a text or of bytes: a tag; then, unless NULL or empty, four blocks of 8 bytes and after them
/// blocks of 32, each followed by 0xFF if another one comes.
fn variable_width(bytes: &[u8]) -> usize {
    const NOT_EMPTY: u8 = 2;
    if bytes[0] != NOT_EMPTY {
        return 1;
    }
    let (mut at, mut blocks) = (1, 0);
    loop {
        at += if blocks < 4 { 8 } else { 32 };
        blocks += 1;
        at += 1;
        if bytes[at - 1] != 0xFF {
            return at;
        }
    }
}

/// Whether one of the first columns of a row is NULL.
pub(super) fn has_null(row: &[u8], offsets: &[usize]) -> bool {
    offsets[..offsets.len() - 1].iter().any(|at| row[*at] == 0)
}

/// A row that is read.
struct Source {
    layout: Layout,
    offsets: Vec<usize>,
    /// Whether the offsets are the same for every row.
    fixed: bool,
}

/// Columns that lie side by side in a source.
#[derive(Clone, Copy)]
struct Piece {
    source: usize,
    from: usize,
    to: usize,
}

/// Makes rows of columns of other rows.
pub(super) struct Projection<const N: usize> {
    sources: [Source; N],
    pieces: Vec<Piece>,
    buffer: Vec<u8>,
}

impl<const N: usize> Projection<N> {
    /// Each column of the result as source and column of it.
    pub(super) fn new(layouts: [Layout; N], columns: &[(usize, usize)]) -> Projection<N> {
        let mut sources = layouts.map(|layout| {
            let (fixed, mut offsets) = (layout.is_fixed(), Vec::new());
            if fixed {
                layout.offsets(&[], &mut offsets);
            }
            Source { layout, offsets, fixed }
        });
        // What is not read is not looked through.
        for (index, source) in sources.iter_mut().enumerate() {
            source.fixed |= columns.iter().all(|(used, _)| *used != index);
        }
        let mut pieces: Vec<Piece> = Vec::new();
        for (source, column) in columns {
            match pieces.last_mut() {
                Some(last) if last.source == *source && last.to == *column => last.to += 1,
                _ => pieces.push(Piece { source: *source, from: *column, to: *column + 1 }),
            }
        }
        Projection { sources, pieces, buffer: Vec::new() }
    }

    /// The row.
    #[inline]
    pub(super) fn apply(&mut self, rows: [&[u8]; N]) -> Row {
        for (source, row) in self.sources.iter_mut().zip(rows) {
            if !source.fixed {
                source.layout.offsets(row, &mut source.offsets);
            }
        }
        self.buffer.clear();
        for Piece { source, from, to } in &self.pieces {
            let offsets = &self.sources[*source].offsets;
            self.buffer.extend_from_slice(&rows[*source][offsets[*from]..offsets[*to]]);
        }
        Row::from(self.buffer.as_slice())
    }
}

impl Projection<1> {
    /// Columns of one row, in this order.
    pub(super) fn columns(layout: &Layout, columns: &[usize]) -> Projection<1> {
        let columns: Vec<(usize, usize)> = columns.iter().map(|column| (0, *column)).collect();
        Projection::new([layout.clone()], &columns)
    }
}

/// Cuts a row into a key and the rest that is needed.
pub(super) struct KeyCut {
    key: Projection<1>,
    /// `None`: the whole row.
    value: Option<Projection<1>>,
    key_layout: Layout,
    offsets: Vec<usize>,
    drop_nulls: bool,
}

impl KeyCut {
    /// With `drop_nulls`, rows with a NULL in their key are left out: it equals nothing.
    pub(super) fn new(layout: &Layout, key: &[usize], value: &[usize], drop_nulls: bool) -> KeyCut {
        let whole = value.iter().copied().eq(0..layout.widths.len());
        KeyCut {
            key: Projection::columns(layout, key),
            value: (!whole).then(|| Projection::columns(layout, value)),
            key_layout: layout.of(key),
            offsets: Vec::new(),
            drop_nulls,
        }
    }

    /// The key and the rest.
    pub(super) fn cut(&mut self, row: Row) -> Option<(Row, Row)> {
        let key = self.key.apply([row.as_bytes()]);
        if self.drop_nulls {
            self.key_layout.offsets(key.as_bytes(), &mut self.offsets);
            if has_null(key.as_bytes(), &self.offsets) {
                return None;
            }
        }
        let value = match &mut self.value {
            Some(value) => value.apply([row.as_bytes()]),
            None => row,
        };
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array as _, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array,
        Int32Array, StringArray, TimestampMillisecondArray, UInt8Array,
    };
    use arrow::datatypes::{Field, Schema};
    use arrow::record_batch::RecordBatch;

    use super::super::row::Columns;
    use super::*;

    /// Every type, with NULLs, and texts around the lengths where blocks begin.
    fn wide() -> RecordBatch {
        let texts: Vec<Option<String>> = [0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 200]
            .iter()
            .map(|len| Some("x".repeat(*len)))
            .chain([None])
            .collect();
        let len = texts.len();
        let number = |row: usize| (!row.is_multiple_of(3)).then(|| i32::try_from(row).unwrap() - 5);
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..len).map(number).collect::<Int32Array>()),
            Arc::new(texts.iter().cloned().collect::<StringArray>()),
            Arc::new((0..len).map(|row| (row != 2).then_some(row % 2 == 0)).collect::<BooleanArray>()),
            Arc::new(texts.iter().rev().map(|text| text.as_ref().map(String::as_bytes)).collect::<BinaryArray>()),
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    (0..len).map(|row| (row != 4).then_some([0xFF; 20])),
                    20,
                )
                .unwrap(),
            ),
            Arc::new((0..len).map(|row| number(row).map(i128::from)).collect::<Decimal128Array>()),
            Arc::new((0..len).map(|row| number(row).map(i64::from)).collect::<TimestampMillisecondArray>()),
            Arc::new((0..len).map(|row| number(row).map(f64::from)).collect::<Float64Array>()),
            Arc::new((0..len).map(|row| u8::try_from(row).ok()).collect::<UInt8Array>()),
        ];
        let fields = columns.iter().enumerate();
        let fields: Vec<Field> =
            fields.map(|(at, column)| Field::new(at.to_string(), column.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    #[test]
    fn columns_are_cut_where_arrow_puts_them() {
        let batch = wide();
        let all: Vec<usize> = (0..batch.num_columns()).collect();
        let layout = Layout::new(&batch.schema(), &all).unwrap();
        let rows = Columns::new(&batch.schema()).unwrap().encode(&batch);
        for chosen in [vec![1], vec![3, 1], vec![8, 0, 1, 2], vec![4, 5, 6, 7], vec![3, 3], vec![]] {
            let mut projection = Projection::columns(&layout, &chosen);
            let cut: Vec<Row> = rows.iter().map(|row| projection.apply([row.as_bytes()])).collect();
            let projected = batch.project(&chosen).unwrap();
            assert_eq!(cut, Columns::new(&projected.schema()).unwrap().encode(&projected), "columns {chosen:?}");
        }
    }

    #[test]
    fn nulls_of_a_key_are_seen() {
        let batch = wide();
        let all: Vec<usize> = (0..batch.num_columns()).collect();
        let layout = Layout::new(&batch.schema(), &all).unwrap();
        let rows = Columns::new(&batch.schema()).unwrap().encode(&batch);
        for column in all {
            let mut cut = KeyCut::new(&layout, &[column], &[0], true);
            for (at, row) in rows.iter().enumerate() {
                assert_eq!(
                    cut.cut(row.clone()).is_none(),
                    batch.column(column).is_null(at),
                    "column {column}, row {at}"
                );
            }
        }
    }
}
