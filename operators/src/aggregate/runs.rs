//! Rows of a part by the time their group closes.

use arrow::array::{Array as _, ArrayRef, AsArray as _, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMillisecondType;
use highwater_engine::model::Diffs;

use crate::rows::{Part, Permanence};

/// Rows next to each other with one closing time.
pub(super) struct Run {
    pub(super) closing: Option<i64>,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// The runs of a part, by its closing column.
pub(super) fn closing_runs(column: &ArrayRef) -> Vec<Run> {
    let times = column.as_primitive::<TimestampMillisecondType>();
    let mut runs: Vec<Run> = Vec::new();
    for (row, closing) in times.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.closing == closing => run.len += 1,
            _ => runs.push(Run { closing, start: row, len: 1 }),
        }
    }
    runs
}

/// The part with the rows of each closing time together.
pub(super) fn sorted_by_closing(part: &Part, column: &ArrayRef) -> Part {
    let times = column.as_primitive::<TimestampMillisecondType>();
    let rows = u32::try_from(times.len()).expect("a tick has fewer than 2^32 rows");
    let mut order: Vec<u32> = (0..rows).collect();
    order.sort_by_key(|row| {
        let row = *row as usize;
        times.is_valid(row).then(|| times.value(row))
    });
    let diffs = match &part.diffs {
        Diffs::Uniform(diff) => Diffs::Uniform(*diff),
        Diffs::Rows(diffs) => Diffs::Rows(order.iter().map(|row| diffs[*row as usize]).collect()),
    };
    let permanence = match &part.permanence {
        Permanence::Rows(blocks) => Permanence::Rows(order.iter().map(|row| blocks[*row as usize]).collect()),
        whole => whole.clone(),
    };
    let batch =
        take_record_batch(&part.batch, &UInt32Array::from(order)).expect("the order is one of the batch's rows");
    Part { batch, diffs, permanence }
}
