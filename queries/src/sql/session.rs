//! What a session reads beside the statements of a job: queries, changes of tables, and what ends them.
//!
//! A session keeps the text of its definitions; a statement is read together with them, so that every place
//! is a place in one text.

use datafusion_sql::sqlparser::ast::{Query, Visit};
use datafusion_sql::sqlparser::tokenizer::Token;

use super::ast::{Job, Name, QUERY, SinkFrom, Statement, ViewStatement};
use super::parser::{Read, Reader, normal, pieces};
use super::tokens::word_of;
use crate::diagnostic::{Diagnostic, Span};

/// A statement of a session.
#[derive(Debug, Clone)]
pub enum SessionStatement {
    /// A statement of a job: it defines something, sets or explains.
    Job(Statement),
    /// A query on its own, and where it stands.
    Query(Box<Query>, Span),
    /// `INSERT INTO table [(columns)] query`
    Insert {
        /// The table.
        table: Name,
        /// The columns that are given; none for all.
        columns: Vec<Name>,
        /// The rows.
        rows: Box<Query>,
        /// Where the rows stand.
        span: Span,
    },
    /// `UPDATE table SET column = value, … [WHERE condition]`
    Update {
        /// The table.
        table: Name,
        /// The columns with their new values as SQL; none for `DEFAULT`.
        values: Vec<(Name, Option<String>)>,
        /// The condition as SQL.
        condition: Option<String>,
    },
    /// `DELETE FROM table [WHERE condition]`
    Delete {
        /// The table.
        table: Name,
        /// The condition as SQL.
        condition: Option<String>,
    },
    /// `DROP TABLE | VIEW | FUNCTION [IF EXISTS] name [CASCADE]`
    Drop {
        /// What is dropped.
        name: Name,
        /// Whether it is a view, if the statement says so.
        view: Option<bool>,
        /// Whether it may be absent.
        if_exists: bool,
        /// Whether what reads it goes too.
        cascade: bool,
    },
    /// `SUBSCRIBE [TO] view | (query) [WITH (SNAPSHOT, PROGRESS)] [UP TO tick]`
    Subscribe(SubscribeStatement),
    /// `FLUSH`, `BEGIN`, `COMMIT`, `ANALYZE` and `CREATE INDEX`: answered and without meaning here, because every
    /// statement is complete when it returns.
    Nothing,
}

/// `SUBSCRIBE`: the changes of a view as they are sealed.
#[derive(Debug, Clone)]
pub struct SubscribeStatement {
    /// What is followed.
    pub target: SinkFrom,
    /// Whether the rows that are there come first.
    pub snapshot: bool,
    /// Whether ticks without changes are told too.
    pub progress: bool,
    /// The tick before which it ends.
    pub up_to: Option<u64>,
}

/// Reads the definitions of a session and one more statement behind them.
///
/// # Errors
/// Every statement that cannot be read gives one diagnostic.
pub fn parse_session(text: &str) -> Result<(Job, Vec<SessionStatement>), Vec<Diagnostic>> {
    pieces(text, |reader| reader.session_statement())
        .map(|(statements, lines)| (Job { statements: Vec::new(), lines, in_session: true }, statements))
}

impl SessionStatement {
    /// The statement in a job: definitions as they are, a query as the view [`QUERY`].
    pub(crate) fn into_job(self) -> Option<Statement> {
        match self {
            SessionStatement::Job(statement) => Some(statement),
            SessionStatement::Query(mut query, span) => {
                crate::plan::unique_columns(&mut query.body);
                Some(Statement::View(ViewStatement {
                    name: Name { text: QUERY.to_owned(), span },
                    replace: true,
                    materialized: true,
                    columns: Vec::new(),
                    options: Vec::new(),
                    on_error_stop: false,
                    emit: None,
                    query,
                    query_span: span,
                    span,
                }))
            }
            _ => None,
        }
    }
}

/// The plain names that a query reads, in order, and the functions it calls.
pub(crate) fn relations_read(query: &Query) -> Vec<String> {
    crate::plan::relations(query).into_iter().chain(functions_read(query)).collect()
}

/// The functions that an expression or query calls, as a session names them.
pub(crate) fn functions_read<V: Visit>(tree: &V) -> Vec<String> {
    crate::plan::functions_called(tree).iter().map(|ident| function_name(&normal(ident))).collect()
}

/// The name of a function among the definitions of a session: functions have names of their own.
pub(crate) fn function_name(name: &str) -> String {
    format!("{name}()")
}

impl Reader<'_> {
    fn session_statement(&mut self) -> Read<SessionStatement> {
        self.in_session = true;
        let first = self.peek();
        let word = word_of(&first.token).unwrap_or_default();
        match word.as_str() {
            "insert" | "update" | "delete" => self.change(),
            "drop" => {
                self.parser.advance_token();
                self.drop()
            }
            "subscribe" => self.subscribe(),
            "flush" | "begin" | "start" | "commit" | "rollback" | "analyze" | "vacuum" => Ok(SessionStatement::Nothing),
            "create" if self.is_index() => Ok(SessionStatement::Nothing),
            "select" | "with" | "values" | "(" => self.session_query(),
            "" if first.token.to_string() == "(" => self.session_query(),
            _ => self.statement().map(SessionStatement::Job),
        }
    }

    fn is_index(&self) -> bool {
        let word = |n: usize| word_of(&self.parser.peek_nth_token(n).token).unwrap_or_default();
        word(1) == "index" || (word(1) == "unique" && word(2) == "index")
    }

    fn session_query(&mut self) -> Read<SessionStatement> {
        let (query, span) = self.query()?;
        self.end()?;
        Ok(SessionStatement::Query(query, span))
    }

    fn subscribe(&mut self) -> Read<SessionStatement> {
        self.parser.advance_token();
        self.word("to");
        let target = if self.parser.consume_token(&Token::LParen) {
            let (query, span) = self.query()?;
            self.expect_token(&Token::RParen)?;
            SinkFrom::Query(query, span)
        } else {
            SinkFrom::View(self.name()?)
        };
        let (mut snapshot, mut progress) = (true, false);
        if self.word("with") {
            self.expect_token(&Token::LParen)?;
            loop {
                let token = self.peek();
                let option = match self.name()?.text.as_str() {
                    "snapshot" => &mut snapshot,
                    "progress" => &mut progress,
                    _ => return Err(self.mistake("expected SNAPSHOT or PROGRESS", &token)),
                };
                *option = !self.parser.consume_token(&Token::Eq) || self.truth()?;
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.expect_token(&Token::RParen)?;
        }
        let up_to = self.up_to()?;
        self.end()?;
        Ok(SessionStatement::Subscribe(SubscribeStatement { target, snapshot, progress, up_to }))
    }

    fn truth(&mut self) -> Read<bool> {
        let token = self.peek();
        if self.word("true") {
            return Ok(true);
        }
        if self.word("false") { Ok(false) } else { Err(self.mistake("expected true or false", &token)) }
    }

    /// `UP TO tick`
    fn up_to(&mut self) -> Read<Option<u64>> {
        if !self.word("up") {
            return Ok(None);
        }
        self.expect_word("to")?;
        let token = self.peek();
        match self.parser.parse_literal_uint() {
            Ok(tick) => Ok(Some(tick)),
            Err(_) => Err(self.mistake("expected the number of a tick", &token)),
        }
    }

    fn drop(&mut self) -> Read<SessionStatement> {
        self.word("materialized");
        let token = self.peek();
        let known = ["table", "view", "function", "index", "source", "sink"];
        let Some(kind) = known.iter().find(|kind| self.word(kind)) else {
            return Err(self.mistake("expected TABLE, VIEW or FUNCTION", &token));
        };
        let if_exists = self.word("if");
        if if_exists {
            self.expect_word("exists")?;
        }
        let mut name = self.name()?;
        if *kind == "function" {
            self.skip_parameters()?;
            name.text = function_name(&name.text);
        }
        let cascade = self.word("cascade");
        if !cascade {
            self.word("restrict");
        }
        self.end()?;
        match *kind {
            "index" => Ok(SessionStatement::Nothing),
            kind => {
                let view = match kind {
                    "table" => Some(false),
                    "view" => Some(true),
                    _ => None,
                };
                Ok(SessionStatement::Drop { name, view, if_exists, cascade })
            }
        }
    }

    /// The list of types that other engines need to tell functions of one name apart.
    fn skip_parameters(&mut self) -> Read<()> {
        if self.parser.consume_token(&Token::LParen) {
            while !self.parser.consume_token(&Token::RParen) {
                let token = self.parser.next_token();
                if token.token == Token::EOF {
                    return Err(self.mistake("expected ), found the end of the statement", &token));
                }
            }
        }
        Ok(())
    }
}
