//! Rows that are final when they come go past the table of rows that may still change.
//!
//! So it is with history, where a tick brings whole windows: what is new, is not taken back in the same
//! tick and belongs to a closing value of which nothing is held, only has to be put in order.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows};
use highwater_engine::model::{Delta, Diffs};

use crate::byte_order::prefix;
use crate::contents::Sealed;

/// Consecutive rows of a delta with one closing value.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    delta: usize,
    start: usize,
    len: usize,
    closing: i64,
    /// Every row comes, once.
    comes: bool,
}

/// Appends the runs of a delta.
pub(crate) fn add_runs(runs: &mut Vec<Run>, index: usize, delta: &Delta, closing: impl Fn(usize) -> i64) {
    let uniform = matches!(delta.diffs, Diffs::Uniform(1));
    let mut start = 0;
    while start < delta.len() {
        let mut run = Run { delta: index, start, len: 0, closing: closing(start), comes: true };
        while start < delta.len() && closing(start) == run.closing {
            run.comes &= uniform || delta.diffs.at(start) == 1;
            start += 1;
        }
        run.len = start - run.start;
        runs.push(run);
    }
}

/// Splits runs into those that are final as they are and the others, which `is_known` says more about:
/// whether rows of a closing value are held or not final yet.
pub(crate) fn split(runs: Vec<Run>, is_known: impl Fn(i64) -> bool) -> (Vec<Run>, Vec<Run>) {
    let mut refused: BTreeSet<i64> = BTreeSet::new();
    for run in &runs {
        if !refused.contains(&run.closing) && (!run.comes || is_known(run.closing)) {
            refused.insert(run.closing);
        }
    }
    runs.into_iter().partition(|run| !refused.contains(&run.closing))
}

/// The rows of runs as deltas without copying; neighbours stay together.
pub(crate) fn slices(runs: &[Run], deltas: &[Delta]) -> Vec<Delta> {
    let mut joined: Vec<(usize, usize, usize)> = Vec::with_capacity(runs.len());
    for run in runs {
        match joined.last_mut() {
            Some((delta, start, len)) if *delta == run.delta && *start + *len == run.start => *len += run.len,
            _ => joined.push((run.delta, run.start, run.len)),
        }
    }
    joined.into_iter().map(|(delta, start, len)| deltas[delta].slice(start, len)).collect()
}

/// The place of a row, and what decides most comparisons.
struct Place {
    closing: i64,
    prefix: u64,
    delta: u32,
    row: u32,
}

/// The rows of runs by closing value, then key; `None` if two rows have one key, so that the key alone
/// does not put them in order.
pub(crate) fn sort(
    runs: &[Run],
    deltas: &[Delta],
    key: &[usize],
    converter: &RowConverter,
) -> Result<Option<Sealed>, ArrowError> {
    let mut keys: Vec<Rows> = Vec::with_capacity(deltas.len());
    for delta in deltas {
        let columns: Vec<ArrayRef> = key.iter().map(|column| delta.batch.column(*column).clone()).collect();
        keys.push(converter.convert_columns(&columns)?);
    }
    let mut places: Vec<Place> = Vec::with_capacity(runs.iter().map(|run| run.len).sum());
    for run in runs {
        for row in run.start..run.start + run.len {
            let prefix = prefix(keys[run.delta].row(row).data());
            places.push(Place { closing: run.closing, prefix, delta: small(run.delta)?, row: small(row)? });
        }
    }
    let bytes = |place: &Place| keys[place.delta as usize].row(place.row as usize).data();
    places.sort_unstable_by(|a, b| {
        let closing = a.closing.cmp(&b.closing);
        closing.then(a.prefix.cmp(&b.prefix)).then_with(|| bytes(a).cmp(bytes(b)))
    });
    let twice = |pair: &[Place]| {
        let [a, b] = pair else { return false };
        a.closing == b.closing && a.prefix == b.prefix && bytes(a) == bytes(b)
    };
    if places.windows(2).any(twice) {
        return Ok(None);
    }
    let (mut closings, mut ends) = (Vec::new(), Vec::new());
    for group in places.chunk_by(|a, b| a.closing == b.closing) {
        closings.push(group[0].closing);
        ends.push(ends.last().copied().unwrap_or(0) + group.len());
    }
    Ok(Some(Sealed { batch: gather(&places, deltas)?, closings, ends }))
}

fn gather(places: &[Place], deltas: &[Delta]) -> Result<RecordBatch, ArrowError> {
    if let [delta] = deltas {
        let rows = UInt32Array::from_iter_values(places.iter().map(|place| place.row));
        return take_record_batch(&delta.batch, &rows);
    }
    let batches: Vec<&RecordBatch> = deltas.iter().map(|delta| &delta.batch).collect();
    let rows: Vec<(usize, usize)> = places.iter().map(|place| (place.delta as usize, place.row as usize)).collect();
    interleave_record_batch(&batches, &rows)
}

fn small(number: usize) -> Result<u32, ArrowError> {
    let too_many = |_| ArrowError::ComputeError("more than 2^32 rows in one tick; use fewer blocks a tick".to_owned());
    u32::try_from(number).map_err(too_many)
}
