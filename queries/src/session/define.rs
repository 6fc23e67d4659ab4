//! What a session defines: tables, views, functions, settings.

use super::table::Table;
use super::{Answer, Session, SessionError, mistake, moved};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::plan;
use crate::sql::{Name, Statement, TableStatement, function_name, functions_read, parse_session, relations_read};

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
        let types = table.columns.iter().map(|column| column.data_type.to_string()).collect();
        if table.options.is_empty() && table.values.is_none() {
            let schema = self.table_schema(text)?;
            let key = table.primary_key.iter().filter_map(|column| schema.index_of(column).ok()).collect();
            let watermark = table.watermark.as_ref();
            let watermark = watermark.and_then(|mark| Some((schema.index_of(&mark.column.text).ok()?, mark.delay_ms)));
            self.tables.insert(table.name.text.clone(), Table::new(schema, types, key, watermark));
        }
        Ok(())
    }

    pub(super) fn drop(&mut self, name: &Name, if_exists: bool, cascade: bool) -> Result<Answer, Vec<Diagnostic>> {
        if self.definition(&name.text).is_none() {
            if if_exists {
                return Ok(Answer::Done);
            }
            let message = format!("\"{}\" does not exist", name.text);
            return Err(vec![Diagnostic::new(Code::UnknownTable, message, name.span)]);
        }
        let reader = self.definitions.iter().find(|definition| definition.reads.contains(&name.text));
        if let Some(reader) = reader {
            if !cascade {
                let message = format!("\"{}\" is read by \"{}\"", name.text, reader.name);
                let refused = Diagnostic::new(Code::Unsupported, message, name.span);
                return Err(vec![refused.with_hint("drop that first, or write CASCADE")]);
            }
            let reader = Name { text: reader.name.clone(), span: name.span };
            self.drop(&reader, true, true)?;
            return self.drop(name, if_exists, cascade);
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
