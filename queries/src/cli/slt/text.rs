//! Values as the files write them.

use arrow::array::{Array as _, ArrayRef};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use highwater_engine::model::format::write_text;
use highwater_engine::model::wide::wide_kind;

const OPTIONS: FormatOptions<'static> = FormatOptions::new()
    .with_null("NULL")
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"));

/// The rows of a batch, value by value.
pub(super) fn values(batch: &RecordBatch) -> Vec<Vec<String>> {
    let columns: Vec<Vec<String>> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (0..batch.num_rows()).map(|row| value(field, column, row)).collect())
        .collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

fn value(field: &Field, column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    let by_hand = wide_kind(field).is_some()
        || matches!(column.data_type(), DataType::FixedSizeBinary(_) | DataType::Binary | DataType::LargeBinary);
    let text = if by_hand {
        let mut text = String::new();
        write_text(&mut text, field, column.as_ref(), row);
        text
    } else {
        ArrayFormatter::try_new(column, &OPTIONS).map(|formatter| formatter.value(row).to_string()).unwrap_or_default()
    };
    if text.is_empty() { "(empty)".to_owned() } else { text }
}

/// A value of a column type as the first sqllogictest wrote it: `I` without a fraction, `R` with three digits.
pub(super) fn classic(text: &str, column: char) -> String {
    let number = || match text {
        "true" => Some(1.0),
        "false" => Some(0.0),
        _ => text.parse::<f64>().ok(),
    };
    match column {
        _ if text == "NULL" => text.to_owned(),
        'I' if text.parse::<i128>().is_ok() => text.to_owned(),
        'I' => number().map_or_else(|| "0".to_owned(), |number| format!("{:.0}", number.trunc())),
        'R' => number().map_or_else(|| text.to_owned(), |number| format!("{number:.3}")),
        _ => text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '@' }).collect(),
    }
}
