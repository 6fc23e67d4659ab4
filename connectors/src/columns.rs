//! Building Arrow columns: plain vectors that can be cut back when a block turns out to be bad.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, FixedSizeBinaryArray, Int64Array,
    NullBufferBuilder, StringArray, TimestampMillisecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::TableRows;
use highwater_engine::model::wide::wide_kind;

use crate::evm::field::{Fault, Field};

enum Values {
    Int(Vec<i64>),
    Time(Vec<i64>),
    Wei(Vec<i128>),
    Wide(Vec<u8>),
    Fixed { width: usize, data: Vec<u8> },
    Bytes { ends: Vec<i32>, data: Vec<u8> },
    Text { ends: Vec<i32>, data: Vec<u8> },
    Bool(BooleanBufferBuilder),
}

/// One column under construction.
pub(crate) struct Column {
    name: String,
    nullable: bool,
    /// Whether a value that cannot be read becomes NULL, where the column allows it.
    lenient: bool,
    values: Values,
    nulls: NullBufferBuilder,
    rows: usize,
}

/// Digits of the largest wei price a `Decimal128(38, 0)` holds.
const WEI_MAX: u128 = 10u128.pow(38) - 1;

fn wei(field: Field<'_>) -> Result<i128, Fault> {
    let value = field.u128()?;
    if value > WEI_MAX {
        return Err(Fault::TooLarge);
    }
    i128::try_from(value).map_err(|_| Fault::TooLarge)
}

impl Column {
    /// An empty column for `field`.
    pub(crate) fn new(field: &ArrowField) -> Column {
        let values = match field.data_type() {
            DataType::Int64 => Values::Int(Vec::new()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => Values::Time(Vec::new()),
            DataType::Decimal128(38, 0) => Values::Wei(Vec::new()),
            DataType::FixedSizeBinary(_) if wide_kind(field).is_some() => Values::Wide(Vec::new()),
            DataType::FixedSizeBinary(width) => {
                Values::Fixed { width: usize::try_from(*width).expect("widths are positive"), data: Vec::new() }
            }
            DataType::Binary => Values::Bytes { ends: vec![0], data: Vec::new() },
            DataType::Utf8 => Values::Text { ends: vec![0], data: Vec::new() },
            DataType::Boolean => Values::Bool(BooleanBufferBuilder::new(0)),
            other => unreachable!("chain tables have no {other} column"),
        };
        Column {
            name: field.name().clone(),
            nullable: field.is_nullable(),
            lenient: false,
            values,
            nulls: NullBufferBuilder::new(0),
            rows: 0,
        }
    }

    /// Makes values that cannot be read NULL, where the column allows it.
    pub(crate) fn be_lenient(&mut self) {
        self.lenient = self.nullable;
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Appends uninterpreted values; what is absent becomes NULL where the column allows it.
    pub(crate) fn fields<'a>(&mut self, fields: impl Iterator<Item = Field<'a>>) -> Result<(), Fault> {
        let Column { nullable, lenient, values, nulls, rows, .. } = self;
        let mut rule = Appending { nullable: *nullable, lenient: *lenient, nulls, rows };
        match values {
            Values::Int(out) => rule.scalars(fields, out, Field::i64),
            Values::Wei(out) => rule.scalars(fields, out, wei),
            Values::Wide(out) => rule.fixed(fields, out, 32, |field, out| {
                out.copy_from_slice(&field.wide()?);
                Ok(())
            }),
            Values::Fixed { width, data } => rule.fixed(fields, data, *width, Field::write_to),
            Values::Bytes { ends, data } => rule.bytes(fields, ends, data),
            Values::Time(_) | Values::Text { .. } | Values::Bool(_) => {
                unreachable!("column {} is not filled from chain values", self.name)
            }
        }
    }

    /// Appends one value, `count` times.
    pub(crate) fn repeat(&mut self, field: Field<'_>, count: usize) -> Result<(), Fault> {
        match &mut self.values {
            Values::Int(out) => out.extend(std::iter::repeat_n(field.i64()?, count)),
            Values::Fixed { width, data } => {
                let mut value = vec![0; *width];
                field.write_to(&mut value)?;
                data.reserve(*width * count);
                (0..count).for_each(|_| data.extend_from_slice(&value));
            }
            _ => return self.fields(std::iter::repeat_n(field, count)),
        }
        self.nulls.append_n_non_nulls(count);
        self.rows += count;
        Ok(())
    }

    /// Appends whole numbers.
    pub(crate) fn ints(&mut self, numbers: impl Iterator<Item = Result<Option<i64>, Fault>>) -> Result<(), Fault> {
        let Values::Int(out) = &mut self.values else { unreachable!("column {} is not BIGINT", self.name) };
        for number in numbers {
            let number = number?;
            append_valid(number.is_some(), self.nullable, &mut self.nulls)?;
            out.push(number.unwrap_or(0));
            self.rows += 1;
        }
        Ok(())
    }

    /// Appends texts.
    pub(crate) fn texts<'a>(&mut self, texts: impl Iterator<Item = Option<&'a str>>) -> Result<(), Fault> {
        let Values::Text { ends, data } = &mut self.values else { unreachable!("column {} is not text", self.name) };
        for text in texts {
            append_valid(text.is_some(), self.nullable, &mut self.nulls)?;
            data.extend_from_slice(text.unwrap_or("").as_bytes());
            ends.push(i32::try_from(data.len()).map_err(|_| Fault::TooLarge)?);
            self.rows += 1;
        }
        Ok(())
    }

    /// Appends one text, `count` times.
    pub(crate) fn repeat_text(&mut self, text: &str, count: usize) -> Result<(), Fault> {
        let Values::Text { ends, data } = &mut self.values else { unreachable!("column {} is not text", self.name) };
        data.reserve(text.len() * count);
        for _ in 0..count {
            data.extend_from_slice(text.as_bytes());
            ends.push(i32::try_from(data.len()).map_err(|_| Fault::TooLarge)?);
        }
        self.nulls.append_n_non_nulls(count);
        self.rows += count;
        Ok(())
    }

    /// Appends truth values.
    pub(crate) fn bools(&mut self, values: impl Iterator<Item = Result<Option<bool>, Fault>>) -> Result<(), Fault> {
        let Values::Bool(out) = &mut self.values else { unreachable!("column {} is not BOOLEAN", self.name) };
        for value in values {
            let value = value?;
            append_valid(value.is_some(), self.nullable, &mut self.nulls)?;
            out.append(value.unwrap_or(false));
            self.rows += 1;
        }
        Ok(())
    }

    /// Appends one time, `count` times.
    pub(crate) fn repeat_time(&mut self, time_ms: i64, count: usize) {
        let Values::Time(out) = &mut self.values else { unreachable!("column {} is not a time", self.name) };
        out.extend(std::iter::repeat_n(time_ms, count));
        self.nulls.append_n_non_nulls(count);
        self.rows += count;
    }

    fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Int(out) | Values::Time(out) => out.truncate(rows),
            Values::Wei(out) => out.truncate(rows),
            Values::Wide(out) => out.truncate(rows * 32),
            Values::Fixed { width, data } => data.truncate(rows * *width),
            Values::Bytes { ends, data } | Values::Text { ends, data } => {
                ends.truncate(rows + 1);
                let end = ends.last().copied().unwrap_or(0);
                data.truncate(usize::try_from(end).expect("offsets are positive"));
            }
            Values::Bool(out) => out.truncate(rows),
        }
        self.nulls.truncate(rows);
        self.rows = rows;
    }

    /// The column as an array; the builder is empty afterwards.
    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        self.rows = 0;
        Ok(match &mut self.values {
            Values::Int(out) => Arc::new(Int64Array::try_new(take_scalars(out), nulls)?),
            Values::Time(out) => {
                Arc::new(TimestampMillisecondArray::try_new(take_scalars(out), nulls)?.with_timezone("UTC"))
            }
            Values::Wei(out) => {
                Arc::new(Decimal128Array::try_new(take_scalars(out), nulls)?.with_precision_and_scale(38, 0)?)
            }
            Values::Wide(data) => fixed_array(32, data, nulls)?,
            Values::Fixed { width, data } => fixed_array(*width, data, nulls)?,
            Values::Bytes { ends, data } => {
                let (offsets, data) = take_parts(ends, data);
                Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
            }
            Values::Text { ends, data } => {
                let (offsets, data) = take_parts(ends, data);
                Arc::new(StringArray::try_new(offsets, data, nulls)?)
            }
            Values::Bool(out) => Arc::new(BooleanArray::new(out.finish(), nulls)),
        })
    }
}

#[inline]
fn append_valid(valid: bool, nullable: bool, nulls: &mut NullBufferBuilder) -> Result<(), Fault> {
    if valid {
        nulls.append_non_null();
    } else if nullable {
        nulls.append_null();
    } else {
        return Err(Fault::Missing);
    }
    Ok(())
}

/// How a column takes values, and where it notes which are NULL.
struct Appending<'c> {
    nullable: bool,
    lenient: bool,
    nulls: &'c mut NullBufferBuilder,
    rows: &'c mut usize,
}

impl Appending<'_> {
    /// Notes one more row; tells whether it has a value, given what became of reading it.
    #[inline]
    fn note<T>(&mut self, read: Result<T, Fault>, field: Field<'_>) -> Result<Option<T>, Fault> {
        let value = match read {
            Ok(value) => Some(value),
            Err(_) if self.lenient || field.is_absent() => None,
            Err(fault) => return Err(fault),
        };
        append_valid(value.is_some(), self.nullable, self.nulls)?;
        *self.rows += 1;
        Ok(value)
    }

    fn scalars<'a, T: Copy + Default>(
        &mut self,
        fields: impl Iterator<Item = Field<'a>>,
        out: &mut Vec<T>,
        read: impl Fn(Field<'a>) -> Result<T, Fault>,
    ) -> Result<(), Fault> {
        out.reserve(fields.size_hint().0);
        for field in fields {
            out.push(self.note(read(field), field)?.unwrap_or_default());
        }
        Ok(())
    }

    fn fixed<'a>(
        &mut self,
        fields: impl Iterator<Item = Field<'a>>,
        out: &mut Vec<u8>,
        width: usize,
        write: impl Fn(Field<'a>, &mut [u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        out.reserve(width * fields.size_hint().0);
        for field in fields {
            let start = out.len();
            out.resize(start + width, 0);
            if self.note(write(field, &mut out[start..]), field)?.is_none() {
                out[start..].fill(0);
            }
        }
        Ok(())
    }

    fn bytes<'a>(
        &mut self,
        fields: impl Iterator<Item = Field<'a>>,
        ends: &mut Vec<i32>,
        data: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        for field in fields {
            let start = data.len();
            if self.note(field.append_to(data), field)?.is_none() {
                data.truncate(start);
            }
            ends.push(i32::try_from(data.len()).map_err(|_| Fault::TooLarge)?);
        }
        Ok(())
    }
}

fn take_scalars<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let capacity = values.len();
    ScalarBuffer::from(std::mem::replace(values, Vec::with_capacity(capacity)))
}

fn take_parts(ends: &mut Vec<i32>, data: &mut Vec<u8>) -> (OffsetBuffer<i32>, Buffer) {
    let mut fresh = Vec::with_capacity(ends.len());
    fresh.push(0);
    let ends = std::mem::replace(ends, fresh);
    let capacity = data.len();
    let data = std::mem::replace(data, Vec::with_capacity(capacity));
    (OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from_vec(data))
}

fn fixed_array(width: usize, data: &mut Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let capacity = data.len();
    let data = std::mem::replace(data, Vec::with_capacity(capacity));
    let width = i32::try_from(width).expect("widths came from an Arrow type");
    Ok(Arc::new(FixedSizeBinaryArray::try_new(width, Buffer::from_vec(data), nulls)?))
}

/// The wanted columns of one table under construction, block after block.
pub(crate) struct TableBuilder {
    schema: SchemaRef,
    /// The wanted columns.
    pub(crate) columns: Vec<Column>,
    rows: usize,
    ends: Vec<usize>,
}

impl TableBuilder {
    /// A builder for the columns `wanted` (indices) of `schema`.
    pub(crate) fn new(schema: &Schema, wanted: &[usize]) -> Result<TableBuilder, ArrowError> {
        let schema = Arc::new(schema.project(wanted)?);
        let columns = schema.fields().iter().map(|field| Column::new(field)).collect();
        Ok(TableBuilder { schema, columns, rows: 0, ends: Vec::new() })
    }

    /// Ends a block that brought `rows` rows; every column must have got as many.
    pub(crate) fn end_block(&mut self, rows: usize) {
        self.rows += rows;
        self.ends.push(self.rows);
        debug_assert!(self.columns.iter().all(|column| column.rows == self.rows), "columns of one table end together");
    }

    /// Forgets what came after the last `blocks` blocks were ended.
    pub(crate) fn truncate(&mut self, blocks: usize) {
        self.ends.truncate(blocks);
        self.rows = self.ends.last().copied().unwrap_or(0);
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// All blocks as one batch; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<TableRows, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        Ok(TableRows { batch, ends: std::mem::take(&mut self.ends) })
    }
}
