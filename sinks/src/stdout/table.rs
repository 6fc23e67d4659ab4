//! Aligned columns for a terminal.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Float64Type, SchemaRef};
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
            if field.data_type() == &DataType::Float64 {
                return float(column.as_primitive::<Float64Type>().value(row));
            }
            let mut text = String::new();
            format::write_text(&mut text, field, column, row);
            printable(text)
        })
        .collect()
}

/// The cells of a row as text with every digit, safe to print on a terminal.
pub(super) fn exact_cells(batch: &RecordBatch, row: usize) -> Vec<String> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let cell = |(field, column): (&std::sync::Arc<Field>, &std::sync::Arc<dyn Array>)| {
        if column.is_null(row) {
            return "null".to_owned();
        }
        let mut text = String::new();
        format::write_text(&mut text, field, column, row);
        printable(text)
    };
    columns.map(cell).collect()
}

/// A float for people: two decimals, or four digits of what is smaller than one.
fn float(value: f64) -> String {
    let text = match value.abs() {
        size if !size.is_normal() || size >= 1e15 => return value.to_string(),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 1e-6 => format!("{value:.*}", decimals_below_one(size)),
        _ => return format!("{value:.3e}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Decimals that show four digits of a number below one.
fn decimals_below_one(size: f64) -> usize {
    let zeros = (1..).take_while(|power| size * 10f64.powi(*power) < 1.0).count();
    zeros + 4
}

/// Text of the chain must not steer the terminal.
fn printable(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    } else {
        text
    }
}

/// What the values of a column are, as far as it matters for shortening them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Text, shortened at its end.
    Text,
    /// Numbers, never shortened.
    Number,
    /// Hex bytes, shortened in the middle.
    Hex,
    /// 256-bit integers, shown as `≈1.234e56`.
    Wide,
    /// Times, which lose the year or the date.
    Time,
}

impl Kind {
    fn of(field: &Field) -> Kind {
        match field.data_type() {
            _ if wide::wide_kind(field).is_some() => Kind::Wide,
            DataType::FixedSizeBinary(_) | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Kind::Hex,
            DataType::Timestamp(..) => Kind::Time,
            kind if kind.is_numeric() => Kind::Number,
            _ => Kind::Text,
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Kind::Number | Kind::Wide)
    }
}

/// The widths of the columns of a table.
pub(super) struct Layout {
    names: Vec<String>,
    kinds: Vec<Kind>,
    widths: Vec<usize>,
}

impl Layout {
    pub(super) fn new(schema: &SchemaRef) -> Layout {
        let names: Vec<String> = schema.fields().iter().map(|field| printable(field.name().clone())).collect();
        let kinds = schema.fields().iter().map(|field| Kind::of(field)).collect();
        let widths = names.iter().map(|name| width(name)).collect();
        Layout { names, kinds, widths }
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

    /// Amounts beyond any name first, hex down to `0x5fbd…0aa3`, times down to day and time, then the widest
    /// column that is no number, until the line fits.
    fn squeeze(&mut self, limit: usize) {
        for (kind, short) in [(Kind::Wide, SHORT_NUMBER), (Kind::Hex, SHORT_HEX), (Kind::Time, SHORT_TIME)] {
            for index in (0..self.names.len()).filter(|index| self.kinds[*index] == kind) {
                if self.total() > limit {
                    self.widths[index] = self.widths[index].min(short.max(width(&self.names[index])));
                }
            }
        }
        while self.total() > limit {
            let candidates =
                (0..self.widths.len()).filter(|index| matches!(self.kinds[*index], Kind::Text | Kind::Time));
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
            let cell = shorten(cell, self.widths[index], self.kinds[index]);
            let pad = " ".repeat(self.widths[index].saturating_sub(width(&cell)));
            if self.kinds[index].is_number() {
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

/// Width of `11-14 22:13:00`.
const SHORT_TIME: usize = 14;

fn shorten(cell: &str, limit: usize, kind: Kind) -> String {
    if width(cell) <= limit {
        return cell.to_owned();
    }
    let (sign, digits) = cell.strip_prefix('-').map_or(("", cell), |digits| ("-", digits));
    if kind == Kind::Wide && digits.len() > 4 && digits.is_ascii() {
        return format!("≈{sign}{}.{}e{}", &digits[..1], &digits[1..4], digits.len() - 1);
    }
    if kind == Kind::Time
        && let Some((date, time)) = cell.split_once('T')
        && let (Some(date), Some(time)) = (date.get(5..10), time.get(..8))
    {
        return if limit < SHORT_TIME { time.to_owned() } else { format!("{date} {time}") };
    }
    if kind == Kind::Hex && cell.is_ascii() && cell.len() > SHORT_HEX {
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
        assert_eq!(shorten(&address, 11, Kind::Hex), "0x5fbd…0aa3");
        assert_eq!(shorten("a long text", 6, Kind::Text), "a lon…");
        assert_eq!(shorten("short", 6, Kind::Text), "short");
        assert_eq!(shorten(&format!("-1234{}", "5".repeat(60)), 10, Kind::Wide), "≈-1.234e63");
        assert_eq!(shorten("2023-11-14T22:13:00Z", 14, Kind::Time), "11-14 22:13:00");
        assert_eq!(shorten("2023-11-14T22:13:00Z", 9, Kind::Time), "22:13:00");
        assert_eq!(shorten("2023-11-14T22:13:00Z", 20, Kind::Time), "2023-11-14T22:13:00Z");
        assert_eq!(printable("a\u{1b}[2Jb".to_owned()), "a\u{fffd}[2Jb");
    }
    #[test]
    fn floats_for_people() {
        let shown = [567_662.666, 2.5, 3.0, -0.0, 0.012_345_6, 0.5, 1.5e-9, 2e300].map(float);
        assert_eq!(shown[..6], ["567662.67", "2.5", "3", "-0", "0.01235", "0.5"]);
        assert_eq!(shown[6], "1.500e-9");
        assert_eq!(float(f64::NAN), "NaN");
    }
}
