//! The JSON lines of `stdout` and `file`: one line a changed row, the same bytes on every run.
//!
//! ```text
//! {"sink":"s","view":"v","tick":7,"block":46,"reorg":{"ancestor":45,"depth":1,"replaced_by":2}}
//! {"sink":"s","view":"v","tick":7,"block":46,"op":"retract","diff":-1,"reorg":true,"row":{…}}
//! ```
//! The first form precedes the rows of a tick in which a reorg took rows of this view back.

use std::fmt::Write as _;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use highwater_engine::model::{Delta, Progress, format};
use highwater_engine::sink::{SinkRequest, SinkTick};

/// Writes the ticks of one sink as JSON lines.
pub(crate) struct LineFormat {
    /// `{"sink":…,"view":…,"tick":`
    head: String,
    corrections: Corrections,
}

impl LineFormat {
    pub(crate) fn new(request: &SinkRequest) -> Result<LineFormat, ArrowError> {
        let mut head = String::from("{\"sink\":");
        format::json_string(&mut head, &request.name);
        head.push_str(",\"view\":");
        format::json_string(&mut head, &request.view);
        head.push_str(",\"tick\":");
        Ok(LineFormat { head, corrections: Corrections::new(request)? })
    }

    /// Appends the lines of one tick.
    pub(crate) fn write(&self, out: &mut String, tick: &SinkTick<'_>) -> Result<(), ArrowError> {
        let reorg = tick.progress.reorg.as_ref().filter(|_| corrected_rows(tick) > 0);
        if let Some(reorg) = reorg {
            self.write_head(out, tick.progress);
            let _ = writeln!(
                out,
                ",\"reorg\":{{\"ancestor\":{},\"depth\":{},\"replaced_by\":{}}}}}",
                reorg.ancestor_number, reorg.depth, reorg.replaced_by
            );
        }
        for delta in tick.changes {
            let corrected = if reorg.is_some() { self.corrections.of(delta)? } else { Vec::new() };
            for row in 0..delta.len() {
                let diff = delta.diffs.at(row);
                self.write_head(out, tick.progress);
                let _ = write!(out, ",\"op\":\"{}\",\"diff\":{diff}", op(diff));
                if corrected.get(row).copied().unwrap_or(false) {
                    out.push_str(",\"reorg\":true");
                }
                out.push_str(",\"row\":");
                format::write_json_row(out, &delta.batch, row);
                out.push_str("}\n");
            }
        }
        Ok(())
    }

    fn write_head(&self, out: &mut String, progress: &Progress) {
        let _ = write!(out, "{}{},\"block\":{}", self.head, progress.tick, progress.head_number);
    }
}

/// The word for a change.
pub(crate) fn op(diff: i64) -> &'static str {
    if diff < 0 { "retract" } else { "insert" }
}

/// How many rows a tick takes back.
pub(crate) fn corrected_rows(tick: &SinkTick<'_>) -> u64 {
    tick.changes.iter().map(|delta| count(delta).1).sum()
}

/// Rows inserted and rows taken back by a delta.
pub(crate) fn count(delta: &Delta) -> (u64, u64) {
    (0..delta.len()).fold((0, 0), |(inserted, retracted), row| match delta.diffs.at(row) {
        diff if diff < 0 => (inserted, retracted + diff.unsigned_abs()),
        diff => (inserted + diff.unsigned_abs(), retracted),
    })
}

/// Tells which rows of a canonical delta correct a row sent before.
///
/// A retraction does; an insertion does if a row of the same key is retracted in the same tick.
pub(crate) struct Corrections {
    key: Option<(Vec<usize>, RowConverter)>,
}

impl Corrections {
    pub(crate) fn new(request: &SinkRequest) -> Result<Corrections, ArrowError> {
        let key = match request.key.as_deref() {
            None | Some([]) => None,
            Some(key) => {
                let field = |index: &usize| SortField::new(request.schema.field(*index).data_type().clone());
                Some((key.to_vec(), RowConverter::new(key.iter().map(field).collect())?))
            }
        };
        Ok(Corrections { key })
    }

    /// One flag a row; relies on the canonical order (by key, retractions first).
    pub(crate) fn of(&self, delta: &Delta) -> Result<Vec<bool>, ArrowError> {
        let mut flags: Vec<bool> = (0..delta.len()).map(|row| delta.diffs.at(row) < 0).collect();
        if let Some((key, converter)) = &self.key {
            let columns: Vec<ArrayRef> = key.iter().map(|index| delta.batch.column(*index).clone()).collect();
            let keys = converter.convert_columns(&columns)?;
            for row in 1..delta.len() {
                if flags[row - 1] && keys.row(row) == keys.row(row - 1) {
                    flags[row] = true;
                }
            }
        }
        Ok(flags)
    }
}
