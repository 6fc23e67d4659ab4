//! What a person at a terminal wants to see of notifications: what was told, without the columns for programs.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use highwater_engine::model::alert::notification_schema;
use highwater_engine::model::{Delta, Diffs};
use highwater_engine::sink::SinkRequest;

/// The columns that are shown.
const SHOWN: [&str; 5] = ["notified_at", "kind", "severity", "title", "reason"];

/// Cuts notifications down to what is shown.
pub(super) struct Told(Vec<usize>);

impl Told {
    /// For notifications: what to cut, and the request as it is then. None for other relations.
    pub(super) fn of(request: &SinkRequest) -> Option<(Told, SinkRequest)> {
        let schema = notification_schema();
        if request.schema != schema {
            return None;
        }
        let columns: Vec<usize> = SHOWN.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let schema = Arc::new(schema.project(&columns).ok()?);
        let shown = SinkRequest { schema, key: None, closing: None, order: vec![(0, false)], ..request.clone() };
        Some((Told(columns), shown))
    }

    /// The rows that were sent, with the columns that are shown.
    pub(super) fn cut(&self, delta: &Delta) -> Result<Delta, ArrowError> {
        let decisions = delta.batch.column_by_name("decision").map(|column| column.as_string::<i32>());
        let sent: Vec<bool> =
            (0..delta.len()).map(|row| decisions.is_none_or(|words| words.value(row) == "send")).collect();
        let diffs: Vec<i64> =
            sent.iter().enumerate().filter(|(_, sent)| **sent).map(|(row, _)| delta.diffs.at(row)).collect();
        let batch = filter_record_batch(&delta.batch.project(&self.0)?, &BooleanArray::from(sent))?;
        Ok(Delta { batch, diffs: Diffs::Rows(diffs.into()), origin: delta.origin })
    }
}
