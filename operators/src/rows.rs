//! Bringing the deltas of one tick into few large parts, and rows as saved state.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeBinaryArray, LargeBinaryBuilder};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Diffs, Origin, Progress};

use crate::codec::mismatch;

/// The block number that stands for "may be taken back at any time".
pub(crate) const NEVER_FINAL: u64 = u64::MAX;

/// Until when the rows of a part may be taken back.
#[derive(Clone, Debug)]
pub(crate) enum Permanence {
    /// Never taken back.
    Final,
    /// With the block of this height ([`NEVER_FINAL`]: at any time).
    Block(u64),
    /// One height a row.
    Rows(Vec<u64>),
}

impl Permanence {
    /// The rows from `offset`, `len` of them.
    pub(crate) fn slice(&self, offset: usize, len: usize) -> Permanence {
        match self {
            Permanence::Rows(blocks) => Permanence::Rows(blocks[offset..offset + len].to_vec()),
            whole => whole.clone(),
        }
    }
}

/// Several deltas as one.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) batch: RecordBatch,
    pub(crate) diffs: Diffs,
    pub(crate) permanence: Permanence,
}

/// Deltas with fewer rows are brought together: every kernel call costs as much as a hundred rows. Larger ones are
/// not worth the copy.
pub(crate) const SMALL_ROWS: usize = 1 << 12;

/// Deltas in turns, each a large one or several small ones.
pub(crate) fn turns(deltas: &[Delta]) -> impl Iterator<Item = &[Delta]> {
    deltas.chunk_by(|one, next| one.len().max(next.len()) < SMALL_ROWS)
}

/// Deltas of one change as parts, small ones brought together; retractions come first.
pub(crate) fn coalesce(input: Vec<Delta>, progress: &Progress) -> Vec<Part> {
    // Keyed by the change; `None` (a change for each row) first, so that order never depends on hashing.
    let mut classes: BTreeMap<Option<i64>, Vec<Delta>> = BTreeMap::new();
    for delta in input {
        if delta.is_empty() {
            continue;
        }
        let class = match delta.diffs {
            Diffs::Uniform(diff) => Some(diff),
            Diffs::Rows(_) => None,
        };
        classes.entry(class).or_default().push(delta);
    }
    classes.values().flat_map(|deltas| turns(deltas)).map(|deltas| concatenate(deltas, progress)).collect()
}

fn concatenate(deltas: &[Delta], progress: &Progress) -> Part {
    let permanence = permanence(deltas, progress);
    if let [Delta { batch, diffs, .. }] = deltas {
        return Part { batch: batch.clone(), diffs: diffs.clone(), permanence };
    }
    let schema = common_schema(deltas);
    let batch = concat_batches(&schema, deltas.iter().map(|delta| &delta.batch))
        .expect("the deltas of one relation have the same columns");
    let diffs = match deltas[0].diffs {
        Diffs::Uniform(diff) => Diffs::Uniform(diff),
        Diffs::Rows(_) => {
            let mut diffs: Vec<i64> = Vec::with_capacity(batch.num_rows());
            for delta in deltas {
                diffs.extend((0..delta.len()).map(|row| delta.diffs.at(row)));
            }
            Diffs::Rows(diffs.into())
        }
    };
    Part { batch, diffs, permanence }
}

/// The columns of all deltas. Branches of a union may differ in whether a column can be NULL.
fn common_schema(deltas: &[Delta]) -> SchemaRef {
    let first = deltas[0].batch.schema();
    if deltas.iter().all(|delta| *delta.batch.schema_ref() == first) {
        return first;
    }
    all_nullable(&first)
}

fn permanence(deltas: &[Delta], progress: &Progress) -> Permanence {
    let block = |delta: &Delta| match delta.origin {
        Origin::Block(number) => number,
        Origin::Derived => NEVER_FINAL,
    };
    // A retraction is never "final": it takes back a row that was remembered with its block.
    let is_final = |delta: &Delta| {
        matches!(delta.diffs, Diffs::Uniform(diff) if diff > 0)
            && matches!(delta.origin, Origin::Block(number) if progress.is_final(number))
    };
    if deltas.iter().all(is_final) {
        return Permanence::Final;
    }
    let first = block(&deltas[0]);
    if deltas.iter().all(|delta| block(delta) == first) {
        return Permanence::Block(first);
    }
    let each = deltas.iter().flat_map(|delta| std::iter::repeat_n(block(delta), delta.len()));
    Permanence::Rows(each.collect())
}

/// The columns of one relation as those of two whose rows are compared: any may be NULL.
pub(crate) fn all_nullable(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ))
}

/// A column of times or numbers as 64-bit integers.
pub(crate) fn as_i64(column: &ArrayRef) -> ArrayRef {
    if column.data_type() == &DataType::Int64 {
        return column.clone();
    }
    cast(column, &DataType::Int64).expect("the column was checked to be a time or an integer")
}

/// Whether [`as_i64`] reads it: `Int64` or a timestamp in milliseconds.
pub(crate) fn is_i64(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _))
}

/// The value, unless it is NULL.
pub(crate) fn value(numbers: &Int64Array, row: usize) -> Option<i64> {
    numbers.is_valid(row).then(|| numbers.value(row))
}

/// Saved state: one batch of byte columns and numbers, with facts beside it.
pub(crate) struct Saved {
    columns: Vec<(String, ArrayRef)>,
    facts: HashMap<String, String>,
}

const OPERATOR: &str = "highwater.operator";
const SHAPE: &str = "highwater.shape";

impl Saved {
    /// The state of an operator whose form (columns, keys, functions) is described by `shape`.
    pub(crate) fn new(operator: &str, shape: &str) -> Saved {
        let facts = HashMap::from([(OPERATOR.to_owned(), operator.to_owned()), (SHAPE.to_owned(), shape.to_owned())]);
        Saved { columns: Vec::new(), facts }
    }

    /// A column of bytes.
    pub(crate) fn bytes<T: AsRef<[u8]>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Saved {
        let mut array = LargeBinaryBuilder::new();
        values.into_iter().for_each(|value| array.append_value(value));
        self.columns.push((name.to_owned(), Arc::new(array.finish())));
        self
    }

    /// A column of bytes that is there.
    pub(crate) fn binary(mut self, name: &str, values: LargeBinaryArray) -> Saved {
        self.columns.push((name.to_owned(), Arc::new(values)));
        self
    }

    /// A column of numbers.
    pub(crate) fn numbers(mut self, name: &str, values: impl IntoIterator<Item = i64>) -> Saved {
        self.columns.push((name.to_owned(), Arc::new(Int64Array::from_iter_values(values))));
        self
    }

    /// A number beside the columns, if known.
    pub(crate) fn fact(mut self, name: &str, value: Option<i64>) -> Saved {
        if let Some(value) = value {
            self.facts.insert(name.to_owned(), value.to_string());
        }
        self
    }

    /// As a batch.
    pub(crate) fn finish(self) -> Result<RecordBatch, StateError> {
        let fields: Vec<Field> =
            self.columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), false)).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, self.facts));
        let arrays = self.columns.into_iter().map(|(_, array)| array).collect();
        RecordBatch::try_new(schema, arrays).map_err(|source| StateError::Arrow { action: "saving", source })
    }
}

/// Reads what [`Saved`] wrote.
pub(crate) struct Loaded<'a> {
    operator: &'a str,
    batch: &'a RecordBatch,
}

impl<'a> Loaded<'a> {
    /// Checks that the state is of an operator of this form.
    pub(crate) fn open(operator: &'a str, shape: &str, batch: &'a RecordBatch) -> Result<Loaded<'a>, StateError> {
        let found = batch.schema_ref().metadata().get(SHAPE);
        if found.map(String::as_str) != Some(shape) {
            let found = found.map_or("nothing", String::as_str);
            return Err(mismatch(operator, format!("saved {found}, needed {shape}")));
        }
        Ok(Loaded { operator, batch })
    }

    /// A column of bytes.
    pub(crate) fn bytes(&self, name: &str) -> Result<&'a LargeBinaryArray, StateError> {
        self.column(name, &DataType::LargeBinary).map(|array| array.as_binary::<i64>())
    }

    /// A column of numbers.
    pub(crate) fn numbers(&self, name: &str) -> Result<&'a Int64Array, StateError> {
        self.column(name, &DataType::Int64).map(|array| array.as_primitive::<Int64Type>())
    }

    /// A number beside the columns.
    pub(crate) fn fact(&self, name: &str) -> Result<Option<i64>, StateError> {
        let Some(text) = self.batch.schema_ref().metadata().get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| mismatch(self.operator, format!("{name} is not a number")))
    }

    fn column(&self, name: &str, data_type: &DataType) -> Result<&'a ArrayRef, StateError> {
        self.batch
            .column_by_name(name)
            .filter(|array| array.data_type() == data_type && array.null_count() == 0)
            .ok_or_else(|| mismatch(self.operator, format!("the column {name} is missing or of another type")))
    }
}
