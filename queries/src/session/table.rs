//! What a table of a session holds, how it came to that, and the statements that change it.

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, max, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Answer, Session, SessionError, mistake};
use crate::diagnostic::Code;
use crate::sql::Name;

/// A table whose rows statements change.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) schema: SchemaRef,
    /// The types of its columns as they were written.
    types: Vec<String>,
    /// The columns of its primary key.
    key: Vec<usize>,
    /// Its time column and how late a row may be (milliseconds), if its rows become final.
    watermark: Option<(usize, i64)>,
    /// Everything that happened to it: rows that came (`1`) and went (`-1`), in order.
    pub(super) history: Vec<(RecordBatch, i64)>,
}

impl Table {
    pub(super) fn new(
        schema: SchemaRef,
        types: Vec<String>,
        key: Vec<usize>,
        watermark: Option<(usize, i64)>,
    ) -> Table {
        Table { schema, types, key, watermark, history: Vec::new() }
    }

    /// A table from outside the session: all its rows came at once.
    pub(super) fn holding(rows: RecordBatch) -> Table {
        let (schema, history) = (rows.schema(), vec![(rows, 1)]);
        Table { schema, types: Vec::new(), key: Vec::new(), watermark: None, history }
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
    fn in_time(&self, rows: RecordBatch) -> Result<RecordBatch, SessionError> {
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
    fn check(&self, name: &Name, added: &RecordBatch, removed: Option<&RecordBatch>) -> Result<(), SessionError> {
        for (field, column) in self.schema.fields().iter().zip(added.columns()) {
            if !field.is_nullable() && column.null_count() > 0 {
                let message = format!("column \"{}\" of table \"{}\" cannot be NULL", field.name(), name.text);
                return Err(mistake(Code::TypeMismatch, message, name));
            }
        }
        if self.key.is_empty() {
            return Ok(());
        }
        let converter = self.converter(&self.key)?;
        let keys = |batch: &RecordBatch| -> Result<Vec<OwnedRow>, SessionError> {
            let columns: Vec<ArrayRef> = self.key.iter().map(|column| batch.column(*column).clone()).collect();
            let rows = converter.convert_columns(&columns).map_err(internal)?;
            Ok(rows.iter().map(|row| row.owned()).collect())
        };
        let mut known: BTreeSet<OwnedRow> = keys(&self.rows()?)?.into_iter().collect();
        for key in removed.map(keys).transpose()?.unwrap_or_default() {
            known.remove(&key);
        }
        for key in keys(added)? {
            if !known.insert(key) {
                let names: Vec<&str> = self.key.iter().map(|key| self.schema.field(*key).name().as_str()).collect();
                let message = format!("table \"{}\" has a row of this {} already", name.text, names.join(", "));
                return Err(mistake(Code::DuplicateName, message, name));
            }
        }
        Ok(())
    }

    /// A column as SQL writes it.
    fn quoted(&self, column: usize) -> String {
        format!("\"{}\"", self.schema.field(column).name().replace('"', "\"\""))
    }

    /// `CAST(x AS type)` to the type of a column.
    fn cast(&self, column: usize, value: &str) -> String {
        format!("CAST({value} AS {}) AS {}", self.types[column], self.quoted(column))
    }

    /// The rows of a query with the columns of the table.
    fn typed(&self, rows: &RecordBatch) -> Result<RecordBatch, SessionError> {
        let columns = rows.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(internal)?;
        let nullable = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let nullable = Arc::new(arrow::datatypes::Schema::new(nullable.collect::<Vec<_>>()));
        RecordBatch::try_new(nullable, columns).map_err(internal)
    }

    fn solid(&self, rows: &RecordBatch) -> Result<RecordBatch, SessionError> {
        RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec()).map_err(internal)
    }
}

impl Session {
    fn table(&self, name: &Name) -> Result<&Table, SessionError> {
        self.tables.get(&name.text).ok_or_else(|| {
            let message = match self.names().contains(&name.text) {
                true => format!("the rows of \"{}\" cannot be changed by statements", name.text),
                false => format!("table \"{}\" does not exist", name.text),
            };
            mistake(Code::UnknownTable, message, name)
        })
    }

    pub(super) fn insert(&mut self, name: &Name, given: &[Name], rows: &str) -> Result<Answer, SessionError> {
        let table = self.table(name)?;
        let width = table.schema.fields().len();
        let mut columns: Vec<usize> = Vec::new();
        for column in given {
            let found = table.schema.index_of(&column.text).map_err(|_| {
                let message = format!("table \"{}\" has no column \"{}\"", name.text, column.text);
                mistake(Code::UnknownColumn, message, name)
            })?;
            if columns.contains(&found) {
                let message = format!("column \"{}\" stands twice", column.text);
                return Err(mistake(Code::DuplicateName, message, name));
            }
            columns.push(found);
        }
        if columns.is_empty() {
            columns = (0..width).collect();
        }
        let value = |column: usize| match columns.iter().position(|given| *given == column) {
            Some(at) => table.cast(column, &format!("v{at}")),
            None => table.cast(column, "NULL"),
        };
        let values: Vec<String> = (0..width).map(value).collect();
        let names: Vec<String> = (0..columns.len()).map(|at| format!("v{at}")).collect();
        let text = format!("SELECT {} FROM ({rows}) AS given ({})", values.join(", "), names.join(", "));
        let added = table.typed(&self.at_once(&text)?)?;
        table.check(name, &added, None)?;
        let added = table.in_time(table.solid(&added)?)?;
        self.note(name, [(added, 1)])
    }

    pub(super) fn update(
        &mut self,
        name: &Name,
        values: &[(Name, String)],
        condition: Option<String>,
    ) -> Result<Answer, SessionError> {
        let table = self.table(name)?;
        let width = table.schema.fields().len();
        let mut new: Vec<String> = (0..width).map(|column| table.quoted(column)).collect();
        for (column, value) in values {
            let index = table.schema.index_of(&column.text).map_err(|_| {
                let message = format!("table \"{}\" has no column \"{}\"", name.text, column.text);
                mistake(Code::UnknownColumn, message, name)
            })?;
            new[index] = format!("CAST({value} AS {})", table.types[index]);
        }
        let old = (0..width).map(|column| format!("{} AS old_{column}", table.quoted(column)));
        let new = new.iter().enumerate().map(|(column, value)| format!("{value} AS new_{column}"));
        let shown: Vec<String> = old.chain(new).collect();
        let rows = self.at_once(&selection(&shown.join(", "), name, condition))?;
        let (old, new): (Vec<usize>, Vec<usize>) = ((0..width).collect(), (width..2 * width).collect());
        let old = table.typed(&rows.project(&old).map_err(internal)?)?;
        let new = table.typed(&rows.project(&new).map_err(internal)?)?;
        table.check(name, &new, Some(&old))?;
        let (old, new) = (table.solid(&old)?, table.solid(&new)?);
        self.note(name, [(old, -1), (new, 1)])
    }

    pub(super) fn delete(&mut self, name: &Name, condition: Option<String>) -> Result<Answer, SessionError> {
        let table = self.table(name)?;
        let columns: Vec<String> = (0..table.schema.fields().len()).map(|column| table.quoted(column)).collect();
        let rows = self.at_once(&selection(&columns.join(", "), name, condition))?;
        let rows = table.solid(&table.typed(&rows)?)?;
        self.note(name, [(rows, -1)])
    }

    fn note<const N: usize>(&mut self, name: &Name, changes: [(RecordBatch, i64); N]) -> Result<Answer, SessionError> {
        let count = changes.iter().map(|(rows, _)| rows.num_rows()).max().unwrap_or_default();
        if let Some(table) = self.tables.get_mut(&name.text) {
            table.history.extend(changes.into_iter().filter(|(rows, _)| rows.num_rows() > 0));
        }
        Ok(Answer::Changed(count))
    }
}

fn selection(shown: &str, table: &Name, condition: Option<String>) -> String {
    let condition = condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
    format!("SELECT {shown} FROM \"{}\"{condition}", table.text.replace('"', "\"\""))
}

pub(super) fn internal(error: arrow::error::ArrowError) -> SessionError {
    SessionError::Row(error.to_string())
}
