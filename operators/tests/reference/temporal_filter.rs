//! The temporal filter by its definition: the rows whose bounds contain now.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use highwater_operators::temporal_filter::TemporalFilterSpec;

use crate::harness::{Relation, relation, text};

pub(crate) fn temporal_filter(spec: &TemporalFilterSpec, input: &RecordBatch, now_ms: i64) -> Relation {
    let bound = |index: Option<usize>, row: usize| {
        let column = cast(input.column(index?), &DataType::Int64).expect("a time");
        column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
    };
    let shown = input.project(&spec.output).expect("columns exist");
    let valid = |row: &usize| {
        bound(spec.valid_from, *row).is_none_or(|from| from <= now_ms)
            && bound(spec.valid_until, *row).is_none_or(|until| now_ms < until)
    };
    relation((0..input.num_rows()).filter(valid).map(|row| text(&shown, row)))
}
