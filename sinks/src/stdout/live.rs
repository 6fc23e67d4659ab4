//! What a person sees: changed rows tick by tick, notes about reorgs, and the view at the end.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use highwater_engine::model::{Delta, Reorg};
use highwater_engine::sink::{SinkRequest, SinkTick};

use super::table::{Layout, cells};
use highwater_engine::model::format::grouped;

use crate::common::counted;
use crate::contents::Contents;
use crate::lines::{Corrections, corrected_rows};

/// The table form of one view.
pub(super) struct Live {
    view: String,
    schema: SchemaRef,
    order: Vec<(usize, bool)>,
    limit: usize,
    colour: bool,
    width: usize,
    contents: Contents,
    corrections: Corrections,
    /// Column widths of the changed rows so far: they only grow, so that lines stay aligned.
    changes: Layout,
    head_shown: bool,
    block: Option<u64>,
}

/// How a changed row is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Changed,
    Gone,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Mark::New => '+',
            Mark::Changed => '~',
            Mark::Gone => '-',
        }
    }

    fn style(self) -> Style {
        let colour = match self {
            Mark::New | Mark::Changed => AnsiColor::Green,
            Mark::Gone => AnsiColor::Red,
        };
        colour.on_default()
    }
}

impl Live {
    pub(super) fn new(request: &SinkRequest, order: Vec<(usize, bool)>, limit: usize) -> Result<Live, ArrowError> {
        Ok(Live {
            view: request.view.clone(),
            schema: request.schema.clone(),
            order,
            limit,
            colour: request.terminal.colour,
            width: usize::from(request.terminal.width),
            contents: Contents::whole(request)?,
            corrections: Corrections::new(request)?,
            changes: Layout::new(&request.schema),
            head_shown: false,
            block: None,
        })
    }

    /// Appends what a person should see of a tick.
    pub(super) fn commit(&mut self, out: &mut String, tick: &SinkTick<'_>) -> Result<(), ArrowError> {
        self.block = Some(tick.progress.head_number);
        let corrected = corrected_rows(tick);
        let reorg = tick.progress.reorg.as_ref().filter(|_| corrected > 0);
        if let Some(reorg) = reorg {
            self.write_reorg(out, reorg, corrected);
        }
        for delta in tick.changes.iter().filter(|delta| !delta.is_empty()) {
            self.contents.add(delta)?;
            self.write_changes(out, delta, tick.progress.head_number, reorg.is_some())?;
        }
        Ok(())
    }

    fn write_reorg(&self, out: &mut String, reorg: &Reorg, corrected: u64) {
        let rows = counted(corrected, "row");
        let text = format!(
            "⟲ reorg at block {}, depth {}: {rows} of {} corrected",
            reorg.ancestor_number + 1,
            reorg.depth,
            self.view
        );
        self.line(out, &text, AnsiColor::Yellow.on_default().bold());
    }

    fn write_changes(&mut self, out: &mut String, delta: &Delta, block: u64, reorg: bool) -> Result<(), ArrowError> {
        let marks = self.marks(delta, reorg)?;
        let shown: Vec<_> = marks.iter().take(self.limit).collect();
        let rows: Vec<Vec<String>> = shown.iter().map(|(row, _)| cells(&delta.batch, *row)).collect();
        // The sign and the block take this much of a line.
        let margin = 14;
        let grew = self.changes.fit(&rows, self.width.saturating_sub(margin));
        if !self.head_shown || grew {
            let head = format!("{:>10}    {}", "block", self.changes.head());
            self.line(out, head.trim_end(), Style::new().bold());
            self.head_shown = true;
        }
        for ((_, mark), row) in shown.iter().zip(&rows) {
            let text = format!("{block:>10}  {} {}", mark.sign(), self.changes.row(row));
            self.line(out, text.trim_end(), mark.style());
        }
        let hidden = marks.len() - shown.len();
        if hidden > 0 {
            let text = format!("{block:>10}  … {} changed", more(hidden));
            self.line(out, &text, Style::new().dimmed());
        }
        Ok(())
    }

    /// Which rows to show, and how. A row replaced in the ordinary course of things is shown once, as
    /// changed; in a reorg the row taken back is shown too.
    fn marks(&self, delta: &Delta, reorg: bool) -> Result<Vec<(usize, Mark)>, ArrowError> {
        let replaces = self.corrections.of(delta)?;
        let mut marks: Vec<(usize, Mark)> = Vec::with_capacity(delta.len());
        for (row, replaces) in replaces.iter().enumerate() {
            let gone = delta.diffs.at(row) < 0;
            if !gone && *replaces && !reorg {
                marks.pop();
            }
            let mark = match (gone, *replaces) {
                (true, _) => Mark::Gone,
                (false, true) => Mark::Changed,
                (false, false) => Mark::New,
            };
            marks.push((row, mark));
        }
        Ok(marks)
    }

    /// Appends the view as it is.
    pub(super) fn finish(&self, out: &mut String) -> Result<(), ArrowError> {
        let batch = concat_batches(&self.schema, &self.rows()?)?;
        let top = self.top(&batch)?;
        let rows: Vec<Vec<String>> = (0..top.num_rows()).map(|row| cells(&top, row)).collect();
        let mut layout = Layout::new(&self.schema);
        layout.fit(&rows, self.width.saturating_sub(1));

        let count = batch.num_rows();
        let shown = match count {
            1 => "1 row".to_owned(),
            count if count == top.num_rows() => format!("{} rows", grouped_usize(count)),
            count => format!("{} of {} rows", grouped_usize(top.num_rows()), grouped_usize(count)),
        };
        let at = self.block.map(|block| format!(" at block {block}")).unwrap_or_default();
        out.push('\n');
        self.line(out, &format!("{}: {shown}{at}", self.view), Style::new().bold());
        self.line(out, &format!(" {}", layout.head()), Style::new().bold());
        self.line(out, &format!(" {}", layout.rule()), Style::new().dimmed());
        for row in &rows {
            self.line(out, format!(" {}", layout.row(row)).trim_end(), Style::new());
        }
        if count > top.num_rows() {
            self.line(out, &format!(" … {}", more(count - top.num_rows())), Style::new().dimmed());
        }
        Ok(())
    }

    /// The first rows in the order of the table.
    fn top(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.order.is_empty() {
            return Ok(batch.slice(0, batch.num_rows().min(self.limit)));
        }
        let field = |(column, descending): &(usize, bool)| {
            let options = SortOptions { descending: *descending, nulls_first: false };
            SortField::new_with_options(self.schema.field(*column).data_type().clone(), options)
        };
        let converter = RowConverter::new(self.order.iter().map(field).collect())?;
        let columns: Vec<ArrayRef> = self.order.iter().map(|(column, _)| batch.column(*column).clone()).collect();
        let keys = converter.convert_columns(&columns)?;
        let mut sorted: Vec<usize> = (0..batch.num_rows()).collect();
        // Stable: rows that are equal in the wanted order stay in the order of the key.
        sorted.sort_by(|a, b| keys.row(*a).cmp(&keys.row(*b)));
        sorted.truncate(self.limit);
        let indices: Vec<u32> = sorted
            .into_iter()
            .map(u32::try_from)
            .collect::<Result<_, _>>()
            .map_err(|_| ArrowError::ComputeError("more than 2^32 rows in a table".to_owned()))?;
        take_record_batch(batch, &UInt32Array::from(indices))
    }

    /// The rows of the view.
    pub(super) fn rows(&self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.contents.batches().collect()
    }

    /// Replaces the rows of the view.
    pub(super) fn restore(&mut self, rows: &[RecordBatch]) -> Result<(), ArrowError> {
        self.contents.clear();
        rows.iter().try_for_each(|batch| self.contents.add(&Delta::derived(batch.clone(), vec![1; batch.num_rows()])))
    }

    fn line(&self, out: &mut String, text: &str, style: Style) {
        let _ = if self.colour && style != Style::new() {
            writeln!(out, "{style}{text}{style:#}")
        } else {
            writeln!(out, "{text}")
        };
    }
}

fn grouped_usize(count: usize) -> String {
    grouped(u64::try_from(count).unwrap_or(u64::MAX))
}

fn more(count: usize) -> String {
    format!("{} more {}", grouped_usize(count), if count == 1 { "row" } else { "rows" })
}
