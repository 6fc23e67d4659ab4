//! Aligned columns for a terminal.

use arrow::array::Array;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{format, wide};

/// Between two columns.
const GAP: usize = 2;
/// A column is not squeezed below this.
const NARROWEST: usize = 8;

/// The cells of a row as text, safe to print on a terminal.
pub(super) fn cells(batch: &RecordBatch, row: usize) -> Vec<String> {
    let fields = batch.schema_ref().fields();
    fields
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            if column.is_null(row) {
                return "null".to_owned();
            }
            let mut text = String::new();
            format::write_text(&mut text, field, column, row);
            printable(text)
        })
        .collect()
}

/// Text of the chain must not steer the terminal.
fn printable(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    } else {
        text
    }
}

/// The widths of the columns of a table.
pub(super) struct Layout {
    names: Vec<String>,
    right: Vec<bool>,
    /// Whether values are hex bytes, which may be shortened in the middle.
    hex: Vec<bool>,
    /// Whether values are 256-bit integers, which may be shown as `≈1.234e56`.
    wide: Vec<bool>,
    widths: Vec<usize>,
}

impl Layout {
    pub(super) fn new(schema: &SchemaRef) -> Layout {
        let names: Vec<String> = schema.fields().iter().map(|field| printable(field.name().clone())).collect();
        let wide: Vec<bool> = schema.fields().iter().map(|field| wide::wide_kind(field).is_some()).collect();
        let right = (0..names.len()).map(|index| schema.field(index).data_type().is_numeric() || wide[index]).collect();
        let hex = (0..names.len())
            .map(|index| {
                let bytes = matches!(
                    schema.field(index).data_type(),
                    DataType::FixedSizeBinary(_) | DataType::Binary | DataType::LargeBinary | DataType::BinaryView
                );
                bytes && !wide[index]
            })
            .collect();
        let widths = names.iter().map(|name| width(name)).collect();
        Layout { names, right, hex, wide, widths }
    }

    /// Widens the columns for these rows, as far as `limit` columns of the terminal allow (0: no limit).
    /// Tells whether a width has changed.
    pub(super) fn fit(&mut self, rows: &[Vec<String>], limit: usize) -> bool {
        let before = self.widths.clone();
        for row in rows {
            for (index, cell) in row.iter().enumerate() {
                self.widths[index] = self.widths[index].max(width(cell));
            }
        }
        if limit > 0 {
            self.squeeze(limit);
        }
        before != self.widths
    }

    /// Amounts beyond any name first, hex down to `0x5fbd…0aa3`, then the widest text column, until the line fits.
    fn squeeze(&mut self, limit: usize) {
        for (shortens, short) in [(&self.wide, SHORT_NUMBER), (&self.hex, SHORT_HEX)] {
            for index in (0..self.names.len()).filter(|index| shortens[*index]) {
                let total = self.widths.iter().sum::<usize>() + GAP * self.widths.len().saturating_sub(1);
                if total > limit {
                    self.widths[index] = self.widths[index].min(short.max(width(&self.names[index])));
                }
            }
        }
        while self.total() > limit {
            let candidates = (0..self.widths.len()).filter(|index| !self.right[*index] && !self.hex[*index]);
            let Some(widest) = candidates.max_by_key(|index| self.widths[*index]) else { return };
            if self.widths[widest] <= NARROWEST {
                return;
            }
            self.widths[widest] -= 1;
        }
    }

    fn total(&self) -> usize {
        self.widths.iter().sum::<usize>() + GAP * self.widths.len().saturating_sub(1)
    }

    /// The names of the columns.
    pub(super) fn head(&self) -> String {
        self.row(&self.names)
    }

    /// A line under the names.
    pub(super) fn rule(&self) -> String {
        let lines: Vec<String> = self.widths.iter().map(|width| "─".repeat(*width)).collect();
        lines.join(&" ".repeat(GAP))
    }

    /// A row in its columns.
    pub(super) fn row(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let cell = shorten(cell, self.widths[index], self.hex[index], self.wide[index]);
            let pad = " ".repeat(self.widths[index].saturating_sub(width(&cell)));
            if self.right[index] {
                line.push_str(&pad);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&pad);
            }
        }
        line
    }
}

/// Width of `0x5fbd…0aa3`.
const SHORT_HEX: usize = 11;

/// Width of `≈-1.234e56`.
const SHORT_NUMBER: usize = 10;

fn shorten(cell: &str, limit: usize, hex: bool, wide: bool) -> String {
    if width(cell) <= limit {
        return cell.to_owned();
    }
    let (sign, digits) = cell.strip_prefix('-').map_or(("", cell), |digits| ("-", digits));
    if wide && digits.len() > 4 && digits.is_ascii() {
        return format!("≈{sign}{}.{}e{}", &digits[..1], &digits[1..4], digits.len() - 1);
    }
    if hex && cell.is_ascii() && cell.len() > SHORT_HEX {
        return format!("{}…{}", &cell[..6], &cell[cell.len() - 4..]);
    }
    let mut short = String::new();
    let mut used = 1;
    for c in cell.chars() {
        used += char_width(c);
        if used > limit {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}

/// Terminal columns of a text.
fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char_width).sum() }
}

/// Terminal columns of a character: 2 for East Asian wide ones and emoji, 0 for joiners and accents that combine.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_and_shortening() {
        assert_eq!(width("abc"), 3);
        assert_eq!(width("蓝"), 2);
        let address = format!("0x5fbd{}0aa3", "1".repeat(32));
        assert_eq!(shorten(&address, 11, true, false), "0x5fbd…0aa3");
        assert_eq!(shorten("a long text", 6, false, false), "a lon…");
        assert_eq!(shorten("short", 6, false, false), "short");
        assert_eq!(shorten(&format!("-1234{}", "5".repeat(60)), 10, false, true), "≈-1.234e63");
        assert_eq!(printable("a\u{1b}[2Jb".to_owned()), "a\u{fffd}[2Jb");
    }
}
