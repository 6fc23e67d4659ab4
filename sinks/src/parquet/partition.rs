//! Folders such as `block_date=2023-11-14`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::format;

/// What Hive and its heirs call the folder of NULL.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// How rows are spread over folders.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    column: usize,
    date: bool,
    /// Name before the `=`.
    name: String,
}

impl Partition {
    /// Reads `to_address` or `date(window_start)`; or says what is expected.
    pub(super) fn read(schema: &Schema, text: &str) -> Result<Partition, String> {
        let text = text.trim();
        let inner = text.strip_prefix("date(").and_then(|rest| rest.strip_suffix(')'));
        let date = inner.is_some();
        let name = inner.unwrap_or(text).trim();
        let Some((column, field)) = schema.column_with_name(name) else {
            return Err("a column of the view, or date(column)".to_owned());
        };
        let kind = field.data_type();
        if date {
            if !matches!(kind, DataType::Timestamp(_, _)) {
                return Err("date() of a timestamp column".to_owned());
            }
            return Ok(Partition { column, date, name: date_name(schema, name) });
        }
        if matches!(kind, DataType::Date32 | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
            || kind.is_integer()
        {
            Ok(Partition { column, date, name: name.to_owned() })
        } else {
            Err(format!("a column of dates, text or whole numbers ({name} is {kind}), or date(column)"))
        }
    }

    /// Spreads rows over folders, keeping their order in each.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<BTreeMap<String, RecordBatch>, ArrowError> {
        let source = batch.column(self.column);
        let values = if self.date { dates(source)? } else { source.clone() };
        let field = Field::new(&self.name, values.data_type().clone(), true);
        let mut rows: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            text.clear();
            self.folder(&mut text, &field, &values, row);
            let index = u32::try_from(row).expect("a batch has less than 2^32 rows");
            match rows.get_mut(&text) {
                Some(indices) => indices.push(index),
                None => {
                    rows.insert(text.clone(), vec![index]);
                }
            }
        }
        rows.into_iter()
            .map(|(folder, indices)| Ok((folder, take_record_batch(batch, &UInt32Array::from(indices))?)))
            .collect()
    }

    fn folder(&self, out: &mut String, field: &Field, values: &ArrayRef, row: usize) {
        escape(out, &self.name);
        out.push('=');
        if values.is_null(row) {
            out.push_str(NULL_FOLDER);
            return;
        }
        let mut value = String::new();
        format::write_text(&mut value, field, values, row);
        escape(out, &value);
    }
}

/// The UTC date of each timestamp. Time zones only say how to show a timestamp: its number is UTC.
fn dates(timestamps: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, _) = timestamps.data_type() else {
        return Err(ArrowError::CastError(format!("{} has no date", timestamps.data_type())));
    };
    cast(&cast(timestamps, &DataType::Int64)?, &DataType::Timestamp(*unit, None))
        .and_then(|plain| cast(&plain, &DataType::Date32))
}

/// `block_timestamp` gives `block_date`, `window_start` gives `window_start_date`.
fn date_name(schema: &Schema, column: &str) -> String {
    let stem = column.strip_suffix("_timestamp").or_else(|| column.strip_suffix("_time")).unwrap_or(column);
    let name = format!("{stem}_date");
    if schema.column_with_name(&name).is_some() { format!("{name}_partition") } else { name }
}

/// Percent-encodes what has a meaning in paths or folders of this form.
fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_safe() {
        let mut out = String::new();
        escape(&mut out, "../a=b c");
        assert_eq!(out, "..%2Fa%3Db%20c");
    }
}
