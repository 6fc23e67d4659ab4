//! The statements that change tables.
//!
//! A statement becomes a query over the tables, made as text; what is wrong with that query has places in
//! a text that nobody wrote, so places are found again in the statement.

use std::borrow::Cow;

use arrow::record_batch::RecordBatch;
use datafusion_sql::sqlparser::ast::{Expr, Parens, Query, SetExpr, Spanned};

use super::define::quoted;
use super::table::{Table, internal};
use super::{Answer, Session, SessionError, mistake};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::sql::{LineIndex, Name, has_query, is_default};

/// The rows of an INSERT.
pub(super) struct Given<'t> {
    query: &'t Query,
    pub(super) text: Cow<'t, str>,
    /// The text of the session and where the rows stand in it.
    within: Option<(&'t str, Span)>,
}

impl<'t> Given<'t> {
    /// Rows that stand in no text.
    pub(super) fn alone(query: &'t Query) -> Given<'t> {
        Given { query, text: Cow::Owned(query.to_string()), within: None }
    }

    /// Rows where they stand in the text of the session.
    pub(super) fn standing(query: &'t Query, whole: &'t str, span: Span) -> Given<'t> {
        Given { query, text: Cow::Borrowed(&whole[span.start..span.end]), within: Some((whole, span)) }
    }

    /// The rows of a plain VALUES.
    fn values(&self) -> Option<&'t [Parens<Vec<Expr>>]> {
        let Query { with, body, order_by, limit_clause, fetch, .. } = self.query;
        let plain = with.is_none() && order_by.is_none() && limit_clause.is_none() && fetch.is_none();
        match body.as_ref() {
            SetExpr::Values(values) if plain => Some(&values.rows),
            _ => None,
        }
    }

    /// Where a part of the rows stands.
    fn place_of(&self, part: &impl Spanned) -> Option<Span> {
        let (whole, span) = self.within?;
        Some(LineIndex::new(whole).span(part.span()).unwrap_or(span))
    }

    /// A mistake in the text of the rows as one in the text of the session.
    fn shifted(&self, error: SessionError) -> SessionError {
        let start = self.within.map(|(_, span)| span.start);
        each(error, |mistake| {
            let shifted = |span: Span| Some(Span { start: span.start + start?, end: span.end + start? });
            mistake.span = mistake.span.and_then(shifted);
        })
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

    pub(super) fn insert(&mut self, name: &Name, given: &[Name], rows: &Given<'_>) -> Result<Answer, SessionError> {
        let table = self.table(name)?;
        let columns = given_columns(table, name, given)?;
        let added = match rows.values() {
            Some(values) => self.constant_rows(table, &columns, values, rows)?,
            None => self.rows_of_query(table, &columns, rows)?,
        };
        let added = table.typed(&added)?;
        table.check(name, &added, None)?;
        let added = table.in_time(table.solid(&added)?)?;
        self.note(name, [(added, 1)])
    }

    /// The rows of VALUES, each value in the type of its column and not in that of the values of the other rows.
    fn constant_rows(
        &self,
        table: &Table,
        columns: &[usize],
        values: &[Parens<Vec<Expr>>],
        rows: &Given<'_>,
    ) -> Result<RecordBatch, SessionError> {
        if let Some(row) = values.iter().find(|row| row.content.len() != columns.len()) {
            return Err(other_width(row.content.len(), columns, rows.place_of(row)));
        }
        self.at_once(&cast_rows(table, columns, values)).map_err(placeless).map_err(|error| {
            let found = self.wrong_value(table, columns, values);
            found.map_or(error, |(row, column, error)| {
                let value = &values[row].content[column];
                let field = table.schema.field(columns[column]);
                let what = format!("{value} does not fit column \"{}\" in row {}", field.name(), row + 1);
                let place = rows.place_of(value);
                each(told(error), |mistake| {
                    if mistake.code == Code::TypeMismatch {
                        mistake.message = format!("{what}: {}", mistake.message);
                    }
                    mistake.span = place;
                })
            })
        })
    }

    /// The first value that its column cannot hold: the place of its row and its own, and what is wrong.
    fn wrong_value(
        &self,
        table: &Table,
        columns: &[usize],
        values: &[Parens<Vec<Expr>>],
    ) -> Option<(usize, usize, SessionError)> {
        let fails = |rows: &[Parens<Vec<Expr>>]| self.at_once(&cast_rows(table, columns, rows)).is_err();
        let (mut start, mut end) = (0, values.len());
        while end - start > 1 {
            let middle = start + (end - start) / 2;
            (start, end) = if fails(&values[start..middle]) { (start, middle) } else { (middle, end) };
        }
        let row = &values.get(start)?.content;
        row.iter().enumerate().find_map(|(column, value)| {
            let text = format!("SELECT {} AS value", cast_value(table, columns[column], value));
            Some((start, column, placeless(self.at_once(&text).err()?)))
        })
    }

    fn rows_of_query(&self, table: &Table, columns: &[usize], rows: &Given<'_>) -> Result<RecordBatch, SessionError> {
        let source = format!("({})", rows.text);
        let shown = |only: Option<usize>| cast_query(table, columns, &source, only);
        self.at_once(&shown(None)).map_err(|error| {
            let (plan, view) = match self.plan(&rows.text, 0) {
                Ok(planned) => planned,
                Err(error) => return rows.shifted(error),
            };
            let view = &plan.views[view];
            let width = view.shown.as_ref().map_or(view.schema.fields().len(), |shown| shown.columns);
            let place = rows.within.map(|(_, span)| span);
            if width != columns.len() {
                return other_width(width, columns, place);
            }
            let fits = |column: &&usize| self.at_once(&shown(Some(**column))).is_ok();
            let mut wrong = columns.iter().filter(|column| !fits(column));
            let wrong = wrong.next().filter(|_| self.at_once(&rows.text).is_ok());
            each(told(placeless(error)), |mistake| {
                if let Some(column) = wrong {
                    let name = table.schema.field(*column).name();
                    mistake.message = format!("a row does not fit column \"{name}\": {}", mistake.message);
                }
                mistake.span = place;
            })
        })
    }

    pub(super) fn update(
        &mut self,
        name: &Name,
        values: &[(Name, Option<String>)],
        condition: Option<String>,
    ) -> Result<Answer, SessionError> {
        let table = self.table(name)?;
        let width = table.schema.fields().len();
        let mut new: Vec<String> = (0..width).map(|column| table.quoted(column)).collect();
        for (column, value) in values {
            let index = index_of(table, name, column)?;
            new[index] = table.cast(index, value.as_deref().unwrap_or_else(|| table.default(index)));
        }
        let old = (0..width).map(|column| format!("{} AS old_{column}", table.quoted(column)));
        let new = new.iter().enumerate().map(|(column, value)| format!("{value} AS new_{column}"));
        let shown: Vec<String> = old.chain(new).collect();
        let rows = self.at_once(&selection(&shown.join(", "), name, condition)).map_err(placeless)?;
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
        let rows = self.at_once(&selection(&columns.join(", "), name, condition)).map_err(placeless)?;
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

/// The columns that an INSERT gives, in its order: all if it names none.
fn given_columns(table: &Table, name: &Name, given: &[Name]) -> Result<Vec<usize>, SessionError> {
    let mut columns: Vec<usize> = Vec::new();
    for column in given {
        let found = index_of(table, name, column)?;
        if columns.contains(&found) {
            let twice =
                Diagnostic::new(Code::DuplicateName, format!("column \"{}\" stands twice", column.text), column.span);
            return Err(SessionError::Statement(vec![twice]));
        }
        columns.push(found);
    }
    let width = table.schema.fields().len();
    Ok(if columns.is_empty() { (0..width).collect() } else { columns })
}

fn index_of(table: &Table, name: &Name, column: &Name) -> Result<usize, SessionError> {
    table.schema.index_of(&column.text).map_err(|_| {
        let message = format!("table \"{}\" has no column \"{}\"", name.text, column.text);
        SessionError::Statement(vec![Diagnostic::new(Code::UnknownColumn, message, column.span)])
    })
}

/// The query that gives rows of constants, all columns of the table in its order.
fn cast_rows(table: &Table, columns: &[usize], values: &[Parens<Vec<Expr>>]) -> String {
    let row = |row: &Parens<Vec<Expr>>| {
        let values = row.content.iter().zip(columns).map(|(value, column)| cast_value(table, *column, value));
        values.collect::<Vec<_>>().join(", ")
    };
    // A subquery as a value is planned in a SELECT only.
    let source = if values.iter().any(|row| row.content.iter().any(has_query)) {
        let rows: Vec<String> = values.iter().map(|values| format!("SELECT {}", row(values))).collect();
        rows.join(" UNION ALL ")
    } else {
        let rows: Vec<String> = values.iter().map(|values| format!("({})", row(values))).collect();
        format!("VALUES {}", rows.join(", "))
    };
    cast_query(table, columns, &format!("({source})"), None)
}

fn cast_value(table: &Table, column: usize, value: &Expr) -> String {
    match is_default(value) {
        true => table.cast(column, table.default(column)),
        false => table.cast(column, &value.to_string()),
    }
}

/// The query that gives the rows of another, all columns of the table in its order, or one of them.
fn cast_query(table: &Table, columns: &[usize], source: &str, only: Option<usize>) -> String {
    let value = |column: usize| {
        let cast = match columns.iter().position(|given| *given == column) {
            Some(at) => table.cast(column, &format!("v{at}")),
            None => table.cast(column, table.default(column)),
        };
        format!("{cast} AS {}", table.quoted(column))
    };
    let shown = (0..table.schema.fields().len()).filter(|column| only.is_none_or(|only| only == *column));
    let shown: Vec<String> = shown.map(value).collect();
    let names: Vec<String> = (0..columns.len()).map(|at| format!("v{at}")).collect();
    format!("SELECT {} FROM {source} AS given ({})", shown.join(", "), names.join(", "))
}

fn selection(shown: &str, table: &Name, condition: Option<String>) -> String {
    let condition = condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
    format!("SELECT {shown} FROM {}{condition}", quoted(&table.text))
}

fn other_width(values: usize, columns: &[usize], place: Option<Span>) -> SessionError {
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let message = format!("INSERT has {} for {}", plural(values, "value"), plural(columns.len(), "column"));
    let hint = "name the columns that are given: INSERT INTO t (a, b) …; the others hold their DEFAULT, else NULL";
    SessionError::Statement(vec![Diagnostic::new(Code::TypeMismatch, message, place).with_hint(hint)])
}

fn each(error: SessionError, change: impl Fn(&mut Diagnostic)) -> SessionError {
    match error {
        SessionError::Statement(mut mistakes) => {
            mistakes.iter_mut().for_each(change);
            SessionError::Statement(mistakes)
        }
        other => other,
    }
}

/// Without the places of a text that nobody wrote.
fn placeless(error: SessionError) -> SessionError {
    each(error, |mistake| mistake.span = None)
}

/// A row that cannot be evaluated as a mistake of the statement.
pub(super) fn told(error: SessionError) -> SessionError {
    match error {
        SessionError::Row(reason) => {
            let mut letters = reason.chars();
            let reason = letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect());
            SessionError::Statement(vec![Diagnostic::new(Code::TypeMismatch, reason, None)])
        }
        other => other,
    }
}

/// A mistake with its place in the statement; without one, at the name that its message quotes last, if the
/// statement has it, or at the name of the table.
pub(super) fn placed(error: SessionError, whole: &str, table: &Name, shift: usize) -> SessionError {
    let behind = Span { start: table.span.start, end: whole.len() };
    each(error, |mistake| {
        let quoted = || mistake.message.split('"').skip(1).step_by(2).last();
        let found = || LineIndex::new(whole).find_word(behind, quoted()?);
        let span = mistake.span.or_else(found).unwrap_or(table.span);
        mistake.span = Some(Span { start: span.start - shift, end: span.end - shift });
    })
}
