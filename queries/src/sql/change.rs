//! Reads the statements that change tables: `INSERT`, `UPDATE`, `DELETE`.

use datafusion_sql::sqlparser::ast::{
    AssignmentTarget, Delete, Expr, FromTable, Ident, Insert, ObjectName, Statement as Parsed, TableFactor,
    TableObject, TableWithJoins, Update,
};
use datafusion_sql::sqlparser::tokenizer::Token;

use super::ast::Name;
use super::parser::{Read, Reader, normal};
use super::session::SessionStatement;
use super::tokens::word_of;
use crate::diagnostic::{Code, Diagnostic, Span};

const HINT: &str = "INSERT INTO t [(columns)] query, UPDATE t SET c = value [WHERE …], DELETE FROM t [WHERE …]";

/// Whether an expression is the word `DEFAULT`, which the parser takes for the name of a column.
pub(crate) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(Ident { value, quote_style: None, .. }) if value.eq_ignore_ascii_case("default"))
}

impl Reader<'_> {
    pub(super) fn change(&mut self) -> Read<SessionStatement> {
        let rows = self.start_of_rows();
        let parsed = self.parser.parse_statement().map_err(|error| self.syntax(&error))?;
        self.end()?;
        match parsed {
            Parsed::Insert(insert) => self.insert(insert, Span { start: rows, end: self.span.end }),
            Parsed::Update(update) => self.update(update),
            Parsed::Delete(delete) => self.delete(delete),
            _ => Err(self.refused("this statement", "")),
        }
    }

    /// Where the query of an INSERT starts: the parser does not say.
    fn start_of_rows(&self) -> usize {
        let begins = |token: &Token| match token {
            Token::LParen => true,
            token => matches!(word_of(token).as_deref(), Some("select" | "with" | "values" | "value" | "table")),
        };
        let mut depth = 0;
        for n in 2.. {
            let token = self.parser.peek_nth_token(n);
            match &token.token {
                Token::EOF => break,
                Token::LParen if depth > 0 || !begins(&self.parser.peek_nth_token(n + 1).token) => depth += 1,
                Token::RParen => depth -= 1,
                // The word TABLE may stand before the table's name too.
                found if depth == 0 && n > 2 && begins(found) => return self.token_span(&token).start,
                _ => {}
            }
        }
        self.span.start
    }

    fn insert(&self, insert: Insert, span: Span) -> Read<SessionStatement> {
        let words = [
            (insert.returning.is_some(), "RETURNING"),
            (insert.on.is_some(), "ON"),
            (insert.or.is_some(), "OR"),
            (insert.ignore, "IGNORE"),
            (insert.overwrite, "OVERWRITE"),
            (insert.output.is_some(), "OUTPUT"),
            (!insert.assignments.is_empty(), "SET"),
            (insert.source.is_none() && insert.assignments.is_empty(), "DEFAULT"),
        ];
        self.without(&words, "INSERT")?;
        let other = || self.refused("this form of INSERT", "");
        let TableObject::TableName(table) = &insert.table else { return Err(other()) };
        let columns = insert.columns.iter().map(|column| self.name_of(column)).collect::<Option<Vec<_>>>();
        Ok(SessionStatement::Insert {
            table: self.name_of(table).ok_or_else(other)?,
            columns: columns.ok_or_else(other)?,
            rows: insert.source.ok_or_else(other)?,
            span,
        })
    }

    fn update(&self, update: Update) -> Read<SessionStatement> {
        let words = [
            (update.returning.is_some(), "RETURNING"),
            (update.from.is_some(), "FROM"),
            (update.or.is_some(), "OR"),
            (update.output.is_some(), "OUTPUT"),
            (!update.order_by.is_empty(), "ORDER BY"),
            (update.limit.is_some(), "LIMIT"),
        ];
        self.without(&words, "UPDATE")?;
        let mut values: Vec<(Name, Option<String>)> = Vec::new();
        for assignment in &update.assignments {
            let AssignmentTarget::ColumnName(column) = &assignment.target else {
                let refused = self.refused("SET of several columns at once", "set");
                return Err(refused.with_hint("write SET a = …, b = …: each value is computed from the old row"));
            };
            let Some(column) = self.name_of(column) else {
                return Err(self.refused("SET of a part of a column", "set").with_hint("write SET column = value"));
            };
            if values.iter().any(|(known, _)| known.text == column.text) {
                let message = format!("column \"{}\" is set twice", column.text);
                return Err(Diagnostic::new(Code::DuplicateName, message, column.span));
            }
            let value = Some(&assignment.value).filter(|value| !is_default(value));
            values.push((column, value.map(Expr::to_string)));
        }
        let condition = update.selection.as_ref().map(Expr::to_string);
        Ok(SessionStatement::Update { table: self.only_table(&[update.table], "UPDATE")?, values, condition })
    }

    fn delete(&self, delete: Delete) -> Read<SessionStatement> {
        let words = [
            (delete.returning.is_some(), "RETURNING"),
            (delete.using.is_some(), "USING"),
            (delete.output.is_some(), "OUTPUT"),
            (!delete.order_by.is_empty(), "ORDER BY"),
            (delete.limit.is_some(), "LIMIT"),
        ];
        self.without(&words, "DELETE")?;
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let condition = delete.selection.as_ref().map(Expr::to_string);
        if !delete.tables.is_empty() {
            return Err(self.refused("this form of DELETE", ""));
        }
        Ok(SessionStatement::Delete { table: self.only_table(from, "DELETE")?, condition })
    }

    /// Refuses the first of these words that the statement has.
    fn without(&self, words: &[(bool, &str)], statement: &str) -> Read<()> {
        let Some((_, word)) = words.iter().find(|(is_there, _)| *is_there) else { return Ok(()) };
        let what = match *word {
            "RETURNING" => "RETURNING".to_owned(),
            "ON" => "INSERT … ON CONFLICT".to_owned(),
            "DEFAULT" => "INSERT … DEFAULT VALUES".to_owned(),
            word => format!("{statement} … {word}"),
        };
        let first = word.split(' ').next().unwrap_or(word);
        Err(self.refused(&what, first))
    }

    fn refused(&self, what: &str, word: &str) -> Diagnostic {
        let span = self.last_word(word).unwrap_or_else(|| self.lines.word_at(self.span.start));
        Diagnostic::new(Code::Unsupported, format!("{what} is not supported yet"), span).with_hint(HINT)
    }

    /// Where a word stands last: what is refused by its word stands behind the rest.
    fn last_word(&self, word: &str) -> Option<Span> {
        let mut found = self.lines.find_word(self.span, word)?;
        while let Some(next) = self.lines.find_word(Span { start: found.end, end: self.span.end }, word) {
            found = next;
        }
        Some(found)
    }

    fn only_table(&self, tables: &[TableWithJoins], statement: &str) -> Read<Name> {
        let refused = |what: &str| self.refused(&format!("{statement} of {what}"), "");
        let [TableWithJoins { relation: TableFactor::Table { name, .. }, joins }] = tables else {
            return Err(refused("several tables"));
        };
        if !joins.is_empty() {
            return Err(refused("a join"));
        }
        self.name_of(name).ok_or_else(|| refused("a table in a schema"))
    }

    fn name_of(&self, name: &ObjectName) -> Option<Name> {
        let [part] = name.0.as_slice() else { return None };
        let ident = part.as_ident()?;
        Some(Name { text: normal(ident), span: self.lines.span(ident.span).unwrap_or(self.span) })
    }
}
