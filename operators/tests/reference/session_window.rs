//! Sessions by their definition: sort the rows of each key by time, cut where the gap is.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use highwater_operators::session_window::{SessionWindow, SessionWindowSpec};

use crate::harness::{Relation, cells, relation, text};

#[allow(dead_code, reason = "session aggregates take the rows themselves")]
pub(crate) fn session_window(spec: &SessionWindowSpec, input: &RecordBatch) -> Relation {
    let output = session_rows(spec, input);
    relation((0..output.num_rows()).map(|row| text(&output, row)))
}

/// The rows with their windows.
pub(crate) fn session_rows(spec: &SessionWindowSpec, input: &RecordBatch) -> RecordBatch {
    let keys = input.project(&spec.key).expect("keys exist");
    let times = cast(input.column(spec.time), &DataType::Int64).expect("a time");
    let times = times.as_primitive::<Int64Type>();
    let mut by_key: BTreeMap<Vec<String>, Vec<(i64, usize)>> = BTreeMap::new();
    for row in (0..input.num_rows()).filter(|row| times.is_valid(*row)) {
        by_key.entry(cells(&keys, row)).or_default().push((times.value(row), row));
    }
    let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for mut members in by_key.into_values() {
        members.sort_unstable();
        for session in members.chunk_by(|(before, _), (after, _)| after - before < spec.gap_ms) {
            rows.extend(session.iter().map(|(_, row)| u32::try_from(*row).expect("few rows")));
            starts.extend(session.iter().map(|_| session[0].0));
            ends.extend(session.iter().map(|_| session[session.len() - 1].0 + spec.gap_ms));
        }
    }
    let input = take_record_batch(input, &UInt32Array::from(rows)).expect("rows of the input");
    let bounds = [starts, ends].map(|times| Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC")));
    let columns = input.columns().iter().cloned().chain(bounds.map(|bound| bound as ArrayRef)).collect();
    let schema = SessionWindow::new("reference", spec.clone()).expect("a valid window").output_schema().clone();
    RecordBatch::try_new(schema, columns).expect("columns fit")
}
