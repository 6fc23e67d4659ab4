//! What a session defines: tables, views, functions, settings.

use datafusion_sql::sqlparser::ast::{ColumnOption, ColumnOptionDef};

use super::table::Table;
use super::write::{Given, told};
use super::{Answer, Session, SessionError, mistake, moved};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::{plan, sql_type};
use crate::sql::{
    Name, SessionStatement, Statement, TableStatement, function_name, functions_read, normal, parse_session,
    relations_read,
};

/// A definition as it was written.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) name: String,
    /// The statement without its semicolon.
    pub(super) text: String,
    /// What it reads.
    pub(super) reads: Vec<String>,
    /// Whether it is the table of a file that a statement names, and nobody wrote it.
    pub(super) implied: bool,
    /// Whether it is a view.
    pub(super) view: bool,
}

impl Session {
    /// The text of the definitions that are wanted, to put in front of a statement.
    pub(super) fn prefix(&self, wanted: &dyn Fn(&str) -> bool) -> String {
        let texts = self.definitions.iter().filter(|definition| wanted(&definition.name));
        texts.map(|definition| format!("{};\n", definition.text)).collect()
    }

    /// The names that a statement needs: what it reads, and what that reads.
    pub(super) fn needed(&self, reads: &[String]) -> Vec<String> {
        let mut needed: Vec<String> = Vec::new();
        let mut open: Vec<String> = reads.to_vec();
        while let Some(name) = open.pop() {
            let name = match self.definition(&name) {
                Some(definition) => definition,
                None => match name.strip_suffix("_errors").and_then(|view| self.definition(view)) {
                    Some(definition) => definition,
                    None => continue,
                },
            };
            if !needed.contains(&name.name) {
                needed.push(name.name.clone());
                open.extend(name.reads.iter().cloned());
            }
        }
        needed
    }

    fn definition(&self, name: &str) -> Option<&Definition> {
        self.definitions.iter().find(|definition| definition.name == name)
    }

    pub(super) fn define(&mut self, statement: Statement, whole: &str, shift: usize) -> Result<Answer, SessionError> {
        let (name, span, reads, replace) = match &statement {
            Statement::Table(table) => {
                if table.if_not_exists && self.definition(&table.name.text).is_some() {
                    return Ok(Answer::Done);
                }
                self.check_defaults(table, shift)?;
                if let Some(copied) = self.copied(table)? {
                    return Ok(copied);
                }
                let reads = table.values.iter().flat_map(|values| relations_read(values)).collect();
                (table.name.clone(), table.span, reads, false)
            }
            Statement::Function(function) => {
                let name = Name { text: function_name(&function.name.text), span: function.name.span };
                (name, function.span, functions_read(function.body.as_ref()), function.replace)
            }
            Statement::View(view) => (view.name.clone(), view.span, relations_read(&view.query), view.replace),
            Statement::Set(_) => return Ok(Answer::Done),
            Statement::Explain(explain) => return self.explain(&whole[explain.span.start..explain.span.end]),
            _ => {
                let message = "this statement belongs into a job";
                let mut refused = Diagnostic::new(Code::Unsupported, message, None);
                refused.hint = Some("run the job with `highwater run FILE`".to_owned());
                return Err(SessionError::Statement(vec![refused]));
            }
        };
        if self.definition(&name.text).is_some() && !replace {
            return Err(mistake(Code::DuplicateName, format!("\"{}\" exists already", name.text), &name));
        }
        let view = matches!(statement, Statement::View(_));
        let text = whole[span.start..span.end].to_owned();
        let definition = Definition { name: name.text.clone(), text, reads, implied: false, view };
        self.check(&definition, span.start - shift)?;
        if let Statement::Table(table) = &statement {
            self.add_table(table, &definition.text)?;
        }
        self.definitions.retain(|known| known.name != definition.name);
        self.definitions.push(definition);
        Ok(Answer::Done)
    }

    /// `CREATE TABLE … AS query`: a table of its own that holds what the query gives now. None if its columns cannot
    /// be declared: then its rows stay the constants they are, as in a job.
    fn copied(&mut self, table: &TableStatement) -> Result<Option<Answer>, SessionError> {
        let values = table.values.as_ref().filter(|_| table.watermark.is_none());
        let Some(query) = values.filter(|_| self.definition(&table.name.text).is_none()) else {
            return Ok(None);
        };
        let reads = relations_read(query);
        let given = Given::alone(query);
        self.adopt(reads);
        let columns = match table.columns.as_slice() {
            [] => {
                let (plan, view) = self.plan(&given.text, 0)?;
                let fields = plan.views[view].schema.fields().clone();
                fields.iter().map(|field| format!("{} {}", quoted(field.name()), sql_type(field))).collect()
            }
            columns => columns.iter().map(ToString::to_string).collect::<Vec<_>>(),
        };
        let columns: Vec<String> = columns.into_iter().chain(keys_of(table)).collect();
        let text = format!("CREATE TABLE {} ({})", quoted(&table.name.text), columns.join(", "));
        let Ok((_, statements)) = parse_session(&text) else { return Ok(None) };
        let Some(SessionStatement::Job(Statement::Table(declared))) = statements.into_iter().next() else {
            return Ok(None);
        };
        let name = table.name.text.clone();
        let definition = Definition { name: name.clone(), text, reads: Vec::new(), implied: false, view: false };
        if self.check(&definition, 0).is_err() || self.add_table(&declared, &definition.text).is_err() {
            return Ok(None);
        }
        self.definitions.push(definition);
        let inserted = self.insert(&table.name, &[], &given);
        if inserted.is_err() {
            self.definitions.pop();
            self.tables.remove(&name);
        }
        inserted.map(|_| Some(Answer::Done))
    }

    /// Plans a definition together with what it reads.
    fn check(&self, definition: &Definition, offset: usize) -> Result<(), SessionError> {
        let needed = self.needed(&definition.reads);
        let before = self.prefix(&|name| name != definition.name && needed.iter().any(|needed| needed == name));
        let shift = before.len();
        let job = self.job(&(before + &definition.text)).map_err(|mistakes| moved(mistakes, shift))?;
        plan(&job, &mut self.catalog()).map(|_| ()).map_err(|mistakes| at(moved(mistakes, shift), offset))
    }

    fn explain(&self, text: &str) -> Result<Answer, SessionError> {
        let before = self.prefix(&|_| true);
        let shift = before.len();
        let job = self.job(&(before + text)).map_err(|mistakes| moved(mistakes, shift))?;
        let planned = plan(&job, &mut self.catalog()).map_err(|mistakes| moved(mistakes, shift))?;
        Ok(Answer::Text(planned.explains.concat()))
    }

    /// The statements of a text as a job.
    pub(super) fn job(&self, text: &str) -> Result<crate::sql::Job, Vec<Diagnostic>> {
        let (mut job, statements) = parse_session(text)?;
        job.statements = statements.into_iter().filter_map(crate::sql::SessionStatement::into_job).collect();
        job.note_bodies();
        Ok(job)
    }

    fn add_table(&mut self, table: &TableStatement, text: &str) -> Result<(), SessionError> {
        if table.options.is_empty() && table.values.is_none() {
            let schema = self.table_schema(text)?;
            self.tables.insert(table.name.text.clone(), Table::new(schema, table));
        }
        Ok(())
    }

    /// Each DEFAULT is a value that its column can hold.
    fn check_defaults(&self, table: &TableStatement, shift: usize) -> Result<(), SessionError> {
        for (name, value) in &table.defaults {
            let column = table.columns.iter().find(|column| normal(&column.name) == name.text);
            let Some(column) = column else { continue };
            let text = format!("SELECT CAST({value} AS {}) AS value", column.data_type);
            let Err(error) = self.at_once(&text).map_err(told) else { continue };
            let SessionError::Statement(mistakes) = error else { return Err(error) };
            let told = mistakes.into_iter().map(|mistake| match mistake.code {
                Code::NowMisuse => Diagnostic::new(Code::Unsupported, "now() in DEFAULT is not supported", name.span),
                _ => {
                    let mut mistake = mistake;
                    mistake.message = format!("the default of column \"{}\": {}", name.text, mistake.message);
                    mistake.span = Some(name.span);
                    mistake
                }
            });
            return Err(moved(told.collect(), shift));
        }
        Ok(())
    }

    /// `view`: whether the statement says that it is a view, if it says so.
    pub(super) fn drop(
        &mut self,
        name: &Name,
        view: Option<bool>,
        if_exists: bool,
        cascade: bool,
    ) -> Result<Answer, Vec<Diagnostic>> {
        if self.definition(&name.text).is_none() {
            if if_exists {
                return Ok(Answer::Done);
            }
            let message = format!("\"{}\" does not exist", name.text);
            return Err(vec![Diagnostic::new(Code::UnknownTable, message, name.span)]);
        }
        let is_view = self.definition(&name.text).is_some_and(|definition| definition.view);
        if view.is_some_and(|view| view != is_view) {
            let (is, was) = if is_view { ("view", "table") } else { ("table", "view") };
            let message = format!("\"{}\" is a {is}, not a {was}", name.text);
            let hint = format!("write DROP {}", is.to_uppercase());
            return Err(vec![Diagnostic::new(Code::UnknownTable, message, name.span).with_hint(hint)]);
        }
        let reader = self.definitions.iter().find(|definition| definition.reads.contains(&name.text));
        if let Some(reader) = reader {
            if !cascade {
                let message = format!("\"{}\" is read by \"{}\"", name.text, reader.name);
                let refused = Diagnostic::new(Code::Unsupported, message, name.span);
                return Err(vec![refused.with_hint("drop that first, or write CASCADE")]);
            }
            let reader = Name { text: reader.name.clone(), span: name.span };
            self.drop(&reader, None, true, true)?;
            return self.drop(name, view, if_exists, cascade);
        }
        self.definitions.retain(|definition| definition.name != name.text);
        self.tables.remove(&name.text);
        Ok(Answer::Done)
    }
}

/// Places moved to where the statement stands in its text.
pub(super) fn at(error: SessionError, offset: usize) -> SessionError {
    match error {
        SessionError::Statement(mut mistakes) => {
            for mistake in &mut mistakes {
                if let Some(span) = &mut mistake.span {
                    span.start += offset;
                    span.end += offset;
                }
            }
            SessionError::Statement(mistakes)
        }
        other => other,
    }
}

/// The keys of a table that do not stand behind their columns.
fn keys_of(table: &TableStatement) -> Vec<String> {
    let list = |columns: &[String]| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let is_key = |option: &ColumnOptionDef| matches!(option.option, ColumnOption::PrimaryKey(_));
    let inline = table.columns.iter().any(|column| column.options.iter().any(is_key));
    let primary = (!inline && !table.primary_key.is_empty()).then(|| list(&table.primary_key));
    let unique = table.unique.iter().filter(|unique| !unique.of_column);
    let unique = unique.map(|unique| format!("UNIQUE ({})", list(&unique.columns)));
    primary.map(|columns| format!("PRIMARY KEY ({columns})")).into_iter().chain(unique).collect()
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
