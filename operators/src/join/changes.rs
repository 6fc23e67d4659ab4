//! The changes of one side in one tick, as columns.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use highwater_engine::model::{Delta, Origin, error_delta, format};
use highwater_engine::operator::Output;

/// Rows that come and go.
pub(crate) struct Changes {
    /// Key columns, as they are compared.
    pub(crate) keys: Vec<ArrayRef>,
    /// The columns that are kept.
    pub(crate) columns: Vec<ArrayRef>,
    /// The change of each row.
    pub(crate) diffs: Vec<i64>,
}

impl Changes {
    /// Brings deltas together; large columns are what makes the kernels cheap.
    pub(crate) fn gather(deltas: &[Delta], keys: &[usize], kept: &[usize]) -> Changes {
        let column = |index: &usize| match deltas {
            [delta] => delta.batch.column(*index).clone(),
            deltas => {
                let parts: Vec<_> = deltas.iter().map(|delta| delta.batch.column(*index).as_ref()).collect();
                concat(&parts).expect("the deltas of one relation have the same columns")
            }
        };
        if deltas.is_empty() {
            return Changes { keys: Vec::new(), columns: Vec::new(), diffs: Vec::new() };
        }
        let diffs = deltas.iter().flat_map(|delta| (0..delta.len()).map(|row| delta.diffs.at(row)));
        Changes {
            keys: keys.iter().map(|key| comparable(column(key))).collect(),
            columns: kept.iter().map(column).collect(),
            diffs: diffs.collect(),
        }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.diffs.len()
    }

    /// Whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.diffs.is_empty()
    }
}

/// Floats that are equal in SQL as the same bytes: one zero, one NaN.
pub(crate) fn comparable(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value + 0.0 }),
        ),
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value + 0.0 }),
        ),
        _ => column,
    }
}

/// Tells of rows whose key is closed: ascending places in the deltas one after another.
pub(crate) fn refuse(deltas: &[Delta], late: &[usize], output: &mut Output) {
    let mut late = late.iter().copied().peekable();
    let (mut rows, mut diffs, mut offset) = (Vec::new(), Vec::new(), 0);
    for delta in deltas {
        while let Some(row) = late.next_if(|row| *row < offset + delta.len()) {
            let mut text = String::new();
            format::write_json_row(&mut text, &delta.batch, row - offset);
            rows.push(("window already closed".to_owned(), text));
            diffs.push(delta.diffs.at(row - offset));
        }
        offset += delta.len();
    }
    if !rows.is_empty() {
        output.errors.push(error_delta(&rows, diffs, Origin::Derived));
    }
}
