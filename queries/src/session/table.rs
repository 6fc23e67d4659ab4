//! What a table of a session holds, how it came to that, and which rows it may hold.

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, max, take_record_batch};
use arrow::datatypes::{FieldRef, SchemaRef, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{SessionError, mistake};
use crate::diagnostic::Code;
use crate::sql::{Name, TableStatement};

/// A table whose rows statements change.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) schema: SchemaRef,
    /// The types of its columns as they were written.
    types: Vec<String>,
    /// What a column holds where a row leaves it out, as SQL; none for NULL.
    defaults: Vec<Option<String>>,
    /// The columns of its primary key, and of what else is unique.
    keys: Vec<Vec<usize>>,
    /// Its time column and how late a row may be (milliseconds), if its rows become final.
    watermark: Option<(usize, i64)>,
    /// Everything that happened to it: rows that came (`1`) and went (`-1`), in order.
    pub(super) history: Vec<(RecordBatch, i64)>,
}

impl Table {
    /// An empty table with these columns.
    pub(super) fn new(schema: SchemaRef, table: &TableStatement) -> Table {
        let index = |column: &String| schema.index_of(column).ok();
        let indices = |columns: &[String]| columns.iter().filter_map(index).collect::<Vec<_>>();
        let primary = Some(table.primary_key.as_slice()).filter(|key| !key.is_empty());
        let unique = table.unique.iter().map(|unique| unique.columns.as_slice());
        let watermark = table.watermark.as_ref();
        let default = |field: &FieldRef| {
            let mut given = table.defaults.iter().filter(|(column, _)| column.text == *field.name());
            given.next().map(|(_, value)| value.clone())
        };
        Table {
            types: table.columns.iter().map(|column| column.data_type.to_string()).collect(),
            defaults: schema.fields().iter().map(default).collect(),
            keys: primary.into_iter().chain(unique).map(indices).collect(),
            watermark: watermark.and_then(|mark| Some((index(&mark.column.text)?, mark.delay_ms))),
            schema,
            history: Vec::new(),
        }
    }

    /// A table from outside the session: all its rows came at once.
    pub(super) fn holding(rows: RecordBatch) -> Table {
        let (schema, history) = (rows.schema(), vec![(rows, 1)]);
        Table { schema, types: Vec::new(), defaults: Vec::new(), keys: Vec::new(), watermark: None, history }
    }

    /// Whether its rows become final.
    pub(super) fn is_watermarked(&self) -> bool {
        self.watermark.is_some()
    }

    /// The time up to which its rows are final after the first changes of its history, milliseconds.
    pub(super) fn final_ms(&self, changes: usize) -> Option<i64> {
        let (column, delay_ms) = self.watermark?;
        let came = self.history.iter().take(changes).filter(|(_, diff)| *diff > 0);
        let newest = came.filter_map(|(batch, _)| max(batch.column(column).as_primitive::<TimestampMillisecondType>()));
        Some(newest.max()?.saturating_sub(delay_ms))
    }

    /// The rows that do not come too late.
    pub(super) fn in_time(&self, rows: RecordBatch) -> Result<RecordBatch, SessionError> {
        let Some(((column, _), final_ms)) = self.watermark.zip(self.final_ms(self.history.len())) else {
            return Ok(rows);
        };
        let times = rows.column(column).as_primitive::<TimestampMillisecondType>();
        let in_time: BooleanArray = times.iter().map(|time| Some(time.is_none_or(|time| time >= final_ms))).collect();
        filter_record_batch(&rows, &in_time).map_err(internal)
    }

    /// The rows it holds, those that came last behind the others.
    pub(super) fn rows(&self) -> Result<RecordBatch, SessionError> {
        let gone = self.history.iter().any(|(_, diff)| *diff < 0);
        let came = self.history.iter().filter(|(_, diff)| *diff > 0).map(|(batch, _)| batch);
        let came = concat_batches(&self.schema, came).map_err(internal)?;
        if !gone {
            return Ok(came);
        }
        let converter = self.converter(&(0..self.schema.fields().len()).collect::<Vec<_>>())?;
        let mut left: BTreeMap<OwnedRow, usize> = BTreeMap::new();
        for (batch, _) in self.history.iter().filter(|(_, diff)| *diff < 0) {
            let rows = converter.convert_columns(batch.columns()).map_err(internal)?;
            rows.iter().for_each(|row| *left.entry(row.owned()).or_default() += 1);
        }
        let rows = converter.convert_columns(came.columns()).map_err(internal)?;
        let mut kept: Vec<u32> = Vec::new();
        for (index, row) in (0_u32..).zip(rows.iter()) {
            match left.get_mut(&row.owned()) {
                Some(count) if *count > 0 => *count -= 1,
                _ => kept.push(index),
            }
        }
        take_record_batch(&came, &UInt32Array::from(kept)).map_err(internal)
    }

    fn converter(&self, columns: &[usize]) -> Result<RowConverter, SessionError> {
        let fields = columns.iter().map(|column| SortField::new(self.schema.field(*column).data_type().clone()));
        RowConverter::new(fields.collect()).map_err(internal)
    }

    /// Refuses rows of a key that is there, or NULL where none may be.
    pub(super) fn check(
        &self,
        name: &Name,
        added: &RecordBatch,
        removed: Option<&RecordBatch>,
    ) -> Result<(), SessionError> {
        for (field, column) in self.schema.fields().iter().zip(added.columns()) {
            if !field.is_nullable() && column.null_count() > 0 {
                let message = format!("column \"{}\" of table \"{}\" cannot be NULL", field.name(), name.text);
                return Err(mistake(Code::TypeMismatch, message, name));
            }
        }
        self.keys.iter().try_for_each(|key| self.check_key(key, name, added, removed))
    }

    fn check_key(
        &self,
        key: &[usize],
        name: &Name,
        added: &RecordBatch,
        removed: Option<&RecordBatch>,
    ) -> Result<(), SessionError> {
        let converter = self.converter(key)?;
        let keys = |batch: &RecordBatch| -> Result<Vec<OwnedRow>, SessionError> {
            let columns: Vec<ArrayRef> = key.iter().map(|column| batch.column(*column).clone()).collect();
            let rows = converter.convert_columns(&columns).map_err(internal)?;
            // NULL is like nothing, not even another NULL.
            let known = |row: &usize| columns.iter().all(|column| column.is_valid(*row));
            Ok((0..batch.num_rows()).filter(known).map(|row| rows.row(row).owned()).collect())
        };
        let mut known: BTreeSet<OwnedRow> = keys(&self.rows()?)?.into_iter().collect();
        for key in removed.map(keys).transpose()?.unwrap_or_default() {
            known.remove(&key);
        }
        for row in keys(added)? {
            if !known.insert(row) {
                let names: Vec<&str> = key.iter().map(|key| self.schema.field(*key).name().as_str()).collect();
                let message = format!("table \"{}\" has a row of this {} already", name.text, names.join(", "));
                return Err(mistake(Code::DuplicateName, message, name));
            }
        }
        Ok(())
    }

    /// A column as SQL writes it.
    pub(super) fn quoted(&self, column: usize) -> String {
        format!("\"{}\"", self.schema.field(column).name().replace('"', "\"\""))
    }

    /// `CAST(x AS type)` to the type of a column.
    pub(super) fn cast(&self, column: usize, value: &str) -> String {
        format!("CAST({value} AS {})", self.types[column])
    }

    /// What a column holds where a row leaves it out, as SQL.
    pub(super) fn default(&self, column: usize) -> &str {
        self.defaults[column].as_deref().unwrap_or("NULL")
    }

    /// The rows of a query with the columns of the table.
    pub(super) fn typed(&self, rows: &RecordBatch) -> Result<RecordBatch, SessionError> {
        let columns = rows.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(internal)?;
        let nullable = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let nullable = Arc::new(arrow::datatypes::Schema::new(nullable.collect::<Vec<_>>()));
        RecordBatch::try_new(nullable, columns).map_err(internal)
    }

    pub(super) fn solid(&self, rows: &RecordBatch) -> Result<RecordBatch, SessionError> {
        RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec()).map_err(internal)
    }
}

pub(super) fn internal(error: arrow::error::ArrowError) -> SessionError {
    SessionError::Row(error.to_string())
}
