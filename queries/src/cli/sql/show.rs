//! Rows as a table, as CSV, as JSON lines.

use std::fmt::Write as _;

use arrow::array::Array as _;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::format::{grouped, write_json_row, write_text};
use highwater_engine::sink::Terminal;
use highwater_sinks::stdout::AlignedRows;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns and the number of rows
    Table,
    /// Comma-separated values under a line of names; NULL is an empty field
    Csv,
    /// One JSON object a row
    Json,
}

/// Writes the rows of one query, batch after batch.
pub(super) enum Writer {
    Table(AlignedRows),
    Csv { head_shown: bool },
    Json,
}

impl Writer {
    pub(super) fn new(format: Format, schema: &SchemaRef, terminal: Terminal) -> Writer {
        match format {
            Format::Table => Writer::Table(AlignedRows::new(schema, terminal)),
            Format::Csv => Writer::Csv { head_shown: false },
            Format::Json => Writer::Json,
        }
    }

    /// Appends rows, with the names of the columns before the first.
    pub(super) fn write(&mut self, out: &mut String, rows: &RecordBatch) {
        match self {
            Writer::Table(aligned) => aligned.write(out, rows),
            Writer::Csv { head_shown } => {
                if !std::mem::replace(head_shown, true) {
                    let names = rows.schema();
                    let names = names.fields().iter().map(|field| Some(field.name().clone()));
                    csv_line(out, names);
                }
                for row in 0..rows.num_rows() {
                    csv_line(out, cells(rows, row));
                }
            }
            Writer::Json => {
                for row in 0..rows.num_rows() {
                    write_json_row(out, rows, row);
                    out.push('\n');
                }
            }
        }
    }
}

/// All rows of a query; a table says how many.
pub(super) fn all(format: Format, rows: &RecordBatch, terminal: Terminal) -> String {
    let mut text = String::new();
    Writer::new(format, &rows.schema(), terminal).write(&mut text, rows);
    if format == Format::Table {
        let _ = writeln!(text, "({})", counted(rows.num_rows()));
    }
    text
}

/// `1 row`, `2 rows`.
pub(super) fn counted(rows: usize) -> String {
    let ending = if rows == 1 { "" } else { "s" };
    format!("{} row{ending}", grouped(rows as u64))
}

/// The fields of a row; none for NULL.
fn cells(rows: &RecordBatch, row: usize) -> impl Iterator<Item = Option<String>> {
    let schema = rows.schema();
    let cells = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
        if column.is_null(row) {
            return None;
        }
        let mut text = String::new();
        write_text(&mut text, field, column, row);
        Some(text)
    });
    cells.collect::<Vec<_>>().into_iter()
}

/// An empty text has quotes, so that it is not NULL.
fn csv_line(out: &mut String, fields: impl Iterator<Item = Option<String>>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            out.push(',');
        }
        match field {
            None => {}
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                let _ = write!(out, "\"{}\"", text.replace('"', "\"\""));
            }
            Some(text) => out.push_str(&text),
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn the_three_forms() {
        let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b, c", DataType::Utf8, true)];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            Arc::new(StringArray::from(vec![Some("x\"y"), Some(""), None])),
        ];
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let shown = |format| all(format, &rows, Terminal::default());
        assert_eq!(shown(Format::Csv), "a,\"b, c\"\n1,\"x\"\"y\"\n,\"\"\n3,\n");
        let json = "{\"a\":1,\"b, c\":\"x\\\"y\"}\n{\"a\":null,\"b, c\":\"\"}\n{\"a\":3,\"b, c\":null}\n";
        assert_eq!(shown(Format::Json), json);
        assert_eq!(shown(Format::Table), "    a  b, c\n ────  ────\n    1  x\"y\n null\n    3  null\n(3 rows)\n");
    }
}
