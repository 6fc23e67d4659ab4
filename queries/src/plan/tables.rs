//! Reference tables: their declared columns and their rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{
    CastKind, ColumnOption, Expr, Ident, Query, SelectItem, SetExpr, TableAlias, TableFactor,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::options::parse_duration;

use super::catalog::LoadRequest;
use super::context::Relation;
use super::ir::{PlannedOption, ReloadedTable};
use super::job::Planner;
use super::lower::Lowerer;
use super::options::take;
use super::query::{optimized, raw_plan};
use crate::diagnostic::{Code, Diagnostic};
use crate::sql::{Name, TableStatement, Watermark};

impl Planner<'_> {
    /// Reads a table and puts it in scope.
    pub(super) fn open_table(&mut self, table: &TableStatement) -> Result<(), Diagnostic> {
        let declared = self.declared(table)?;
        let mut reload = None;
        let rows = match &table.values {
            Some(values) => self.inline_rows(table, values, declared)?,
            None if table.options.is_empty() => {
                // Its rows come from the statements of a session.
                reload = Some(Duration::ZERO);
                RecordBatch::new_empty(declared.unwrap_or_else(|| Arc::new(Schema::empty())))
            }
            None => {
                let (mut request, at) = self.request(&table.name, &table.options, "connector")?;
                if request.connector.is_empty() {
                    return Err(without_connector(&request.options, table));
                }
                request.schema = declared.clone();
                reload = self.reload(&table.name, &mut request)?;
                let what = format!("table \"{}\"", table.name.text);
                let rows = self.catalog.load_table(&request);
                let rows = rows.map_err(|error| error.diagnostic(&what, table.name.span, at, &request.options))?;
                self.fits(table, rows, declared)?
            }
        };
        let schema = rows.schema();
        let relation = match reload {
            None => Relation::Reference(rows),
            Some(every) => {
                self.reloaded.push(ReloadedTable { name: table.name.text.clone(), rows, every });
                let index = self.reloaded.len() - 1;
                match &table.watermark {
                    None => Relation::Reloaded(index),
                    Some(watermark) => Relation::Watermarked(index, self.time_column(&schema, watermark)?),
                }
            }
        };
        self.context.add_relation(&table.name.text, relation, schema);
        Ok(())
    }

    /// The column of a watermark: a time of millisecond precision.
    fn time_column(&self, schema: &SchemaRef, watermark: &Watermark) -> Result<usize, Diagnostic> {
        let column = schema.index_of(&watermark.column.text).ok();
        let column = column.filter(|column| *schema.field(*column).data_type() == timestamp_type());
        column.ok_or_else(|| {
            let message = format!("\"{}\" is no TIMESTAMP column of the table", watermark.column.text);
            Diagnostic::new(Code::TypeMismatch, message, watermark.column.span)
        })
    }

    /// How often a table is read again, if it is.
    fn reload(&mut self, name: &Name, request: &mut LoadRequest) -> Result<Option<Duration>, Diagnostic> {
        let written = take(&mut request.options, "reload");
        let span = written.as_ref().map_or(name.span, |option| option.value_span);
        let given = self.catalog.overridden(&name.text, "reload").or(written.map(|option| option.value));
        let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
        parse_duration(&text).map(Some).ok_or_else(|| {
            let message = "option \"reload\" is not a duration such as INTERVAL '5 seconds'";
            Diagnostic::new(Code::BadOption, message, span)
        })
    }

    /// The columns written after the table's name, if any.
    pub(super) fn declared(&self, table: &TableStatement) -> Result<Option<SchemaRef>, Diagnostic> {
        if table.columns.is_empty() {
            return Ok(None);
        }
        let place = self.place(table.span);
        let options = ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false);
        let schema = SqlToRel::new_with_options(&self.context, options).build_schema(table.columns.clone());
        let schema = schema.map_err(|error| place.diagnose(&error))?;
        let fields = schema.fields().iter().zip(&table.columns).map(|(field, column)| {
            let not_null = column.options.iter().any(|option| matches!(option.option, ColumnOption::NotNull));
            let field = Field::clone(field).with_nullable(!not_null && !table.primary_key.contains(field.name()));
            // What a watermark compares has the precision of block times.
            match &table.watermark {
                Some(watermark) if watermark.column.text == *field.name() && is_timestamp(field.data_type()) => {
                    field.with_data_type(timestamp_type())
                }
                _ => field,
            }
        });
        Ok(Some(Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
    }

    fn inline_rows(
        &self,
        table: &TableStatement,
        values: &Query,
        declared: Option<SchemaRef>,
    ) -> Result<RecordBatch, Diagnostic> {
        let place = self.place(table.span);
        let query = if table.columns.is_empty() { values.clone() } else { self.cast_to_columns(table, values)? };
        let plan = optimized(raw_plan(&query, &self.context, &place)?, &place)?;
        let lowerer = Lowerer::new(&table.name.text, place, &[], true);
        let rows = lowerer.static_rows(&plan)?.ok_or_else(|| {
            Diagnostic::new(Code::Unsupported, "the rows of a table are constants", table.name.span)
                .with_hint("write AS VALUES (…), (…)")
        })?;
        self.fits(table, rows, declared)
    }

    /// `SELECT CAST(column1 AS type) AS name, … FROM (values)`
    fn cast_to_columns(&self, table: &TableStatement, values: &Query) -> Result<Query, Diagnostic> {
        let internal = || Diagnostic::new(Code::Internal, "the rows of the table cannot be read", table.name.span);
        if let SetExpr::Values(rows) = values.body.as_ref() {
            let wanted = table.columns.len();
            if let Some(row) = rows.rows.iter().find(|row| row.content.len() != wanted) {
                let message = format!("a row has {} values, the table has {wanted} columns", row.content.len());
                return Err(Diagnostic::new(Code::TypeMismatch, message, table.name.span));
            }
        }
        let mut parser =
            Parser::new(&GenericDialect {}).try_with_sql("SELECT 1 FROM (SELECT 1)").map_err(|_| internal())?;
        let mut query = *parser.parse_query().map_err(|_| internal())?;
        let SetExpr::Select(select) = query.body.as_mut() else { return Err(internal()) };
        let casts = table.columns.iter().enumerate().map(|(index, column)| SelectItem::ExprWithAlias {
            expr: Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Identifier(Ident::new(format!("column{}", index + 1)))),
                data_type: column.data_type.clone(),
                array: false,
                format: None,
            },
            alias: column.name.clone(),
        });
        select.projection = casts.collect();
        if let Some(from) = select.from.first_mut() {
            let alias: Option<TableAlias> = None;
            from.relation =
                TableFactor::Derived { lateral: false, subquery: Box::new(values.clone()), alias, sample: None };
        }
        Ok(query)
    }

    /// The rows with just the declared columns.
    fn fits(
        &self,
        table: &TableStatement,
        rows: RecordBatch,
        declared: Option<SchemaRef>,
    ) -> Result<RecordBatch, Diagnostic> {
        let Some(declared) = declared else { return Ok(rows) };
        RecordBatch::try_new(declared, rows.columns().to_vec()).map_err(|error| {
            Diagnostic::new(
                Code::TypeMismatch,
                format!("the rows of table \"{}\" do not fit its columns", table.name.text),
                table.name.span,
            )
            .with_note(error.to_string())
        })
    }
}

fn without_connector(options: &[PlannedOption], table: &TableStatement) -> Diagnostic {
    let Some(option) = options.first() else {
        let message = format!("table \"{}\" does not say where its rows come from", table.name.text);
        return Diagnostic::new(Code::UnknownConnector, message, table.name.span).with_hint("connector = 'csv', …");
    };
    let message = format!("a table without a connector has no option \"{}\"", option.name);
    let hint = match option.name.replace('_', "").as_str() {
        "appendonly" => "write APPEND ONLY after the columns",
        _ => "say where its rows come from: connector = 'csv', …; or leave WITH out and use INSERT",
    };
    Diagnostic::new(Code::BadOption, message, option.name_span).with_hint(hint)
}

fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, _))
}
