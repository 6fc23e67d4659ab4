//! Rows of a query for a person: aligned columns under their names.

use anstyle::Style;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use highwater_engine::sink::Terminal;

use super::table::{Layout, exact_cells};

/// Writes rows as aligned columns, batch after batch. Columns only grow wider; when one does, their names are
/// written again.
pub struct AlignedRows {
    layout: Layout,
    /// Columns of the terminal; 0 where no person looks, and then nothing is shortened.
    limit: usize,
    head: Style,
    rule: Style,
    head_shown: bool,
}

impl std::fmt::Debug for AlignedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedRows").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl AlignedRows {
    /// For rows of these columns.
    pub fn new(schema: &SchemaRef, terminal: Terminal) -> AlignedRows {
        let plain = Style::new();
        let colour = terminal.colour;
        AlignedRows {
            layout: Layout::new(schema),
            limit: if terminal.interactive { usize::from(terminal.width).saturating_sub(1) } else { 0 },
            head: if colour { plain.bold() } else { plain },
            rule: if colour { plain.dimmed() } else { plain },
            head_shown: false,
        }
    }

    /// Appends the rows, and before the first of them the names of the columns.
    pub fn write(&mut self, out: &mut String, rows: &RecordBatch) {
        let cells: Vec<Vec<String>> = (0..rows.num_rows()).map(|row| exact_cells(rows, row)).collect();
        let grew = self.layout.fit(&cells, self.limit);
        if grew || !self.head_shown {
            line(out, &self.layout.head(), self.head);
            line(out, &self.layout.rule(), self.rule);
            self.head_shown = true;
        }
        for row in &cells {
            line(out, &self.layout.row(row), Style::new());
        }
    }
}

fn line(out: &mut String, text: &str, style: Style) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let _ = writeln!(out, " {style}{}{style:#}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn rows_are_exact_and_names_come_again_only_when_a_column_grows() {
        let fields = vec![Field::new("name", DataType::Utf8, true), Field::new("x", DataType::Float64, true)];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let rows = |name: &str, x: f64| {
            let columns: Vec<arrow::array::ArrayRef> =
                vec![Arc::new(StringArray::from(vec![name])), Arc::new(Float64Array::from(vec![x]))];
            RecordBatch::try_new(schema.clone(), columns).unwrap()
        };
        let mut aligned = AlignedRows::new(&schema, Terminal::default());
        let mut text = String::new();
        aligned.write(&mut text, &rows("a", 0.123_456_789));
        aligned.write(&mut text, &rows("b", 2.5));
        aligned.write(&mut text, &rows("longer", 1.0));
        let expected = " name            x\n ────  ───────────\n a     0.123456789\n b             2.5\n";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.matches("name").count(), 2);
    }
}
