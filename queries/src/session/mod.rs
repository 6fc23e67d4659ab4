//! Statements one by one over tables that they change: what `highwater sql`, `slt` and `test` are made of.
//!
//! A session has no engine of its own. A query is planned as a maintained view over the session's tables, gets
//! their changes tick by tick as [`Feeding`] says, and what it holds after the last tick is the answer. So what
//! a session answers is what a running job would show.
//!
//! Read next: [`Session::execute`], `maintain` (one query), `table` (what tables hold).

mod answer;
mod changes;
mod define;
mod live;
mod maintain;
mod subscribe;
mod table;
mod world;
mod write;

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

pub use answer::{Answer, Rows};
pub use changes::Feeding;
use define::Definition;
pub use maintain::Maintained;
pub use subscribe::{Following, Subscription};
use table::Table;
use world::Outside;
pub use world::World;
use write::{Given, placed};

use crate::diagnostic::{Code, Diagnostic, Span};
use crate::sql::{Name, SessionStatement, parse_session};

/// A statement that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The statement is wrong. Places are bytes of the statement's own text.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Statement(Vec<Diagnostic>),
    /// Rows that cannot be evaluated.
    #[error("{0}")]
    Row(String),
    /// What is outside the session is out of reach.
    #[error("{0}")]
    World(#[source] highwater_engine::error::BoxError),
    /// The dataflow could not be made or did not go on.
    #[error("the query cannot be maintained")]
    Dataflow(#[source] highwater_engine::error::BoxError),
}

/// Tables, the definitions over them, and how queries get their rows.
#[derive(Debug, Default)]
pub struct Session {
    /// In the order in which they were made.
    definitions: Vec<Definition>,
    tables: BTreeMap<String, Table>,
    outside: Outside,
    /// How queries get the rows of the tables.
    pub feeding: Feeding,
    /// How many worker threads maintain a query; 0 means 1.
    pub workers: usize,
    /// `now()`, milliseconds since the epoch.
    pub now_ms: i64,
}

impl Session {
    /// A session with nothing in it.
    pub fn new() -> Session {
        Session::default()
    }

    /// Carries out the statements of a text, up to the first that fails.
    ///
    /// # Errors
    /// If a statement is wrong or its rows cannot be evaluated. What came before it stays done.
    pub fn execute(&mut self, text: &str) -> Result<Vec<Answer>, SessionError> {
        let before = self.prefix(&|_| true);
        let shift = before.len();
        let whole = before + text;
        let (_, statements) = parse_session(&whole).map_err(|mistakes| moved(mistakes, shift))?;
        let statements = statements.into_iter().skip(self.definitions.len());
        let mut answers = Vec::new();
        for statement in statements {
            self.adopt_files(&statement);
            let answer = self.statement(statement, &whole, shift);
            self.release_files();
            answers.push(answer?);
        }
        Ok(answers)
    }

    fn statement(&mut self, statement: SessionStatement, whole: &str, shift: usize) -> Result<Answer, SessionError> {
        match statement {
            SessionStatement::Job(statement) => self.define(statement, whole, shift),
            SessionStatement::Query(_, span) => self.query(&whole[span.start..span.end], span.start - shift),
            SessionStatement::Insert { table, columns, rows, span } => {
                let given = Given::standing(&rows, whole, span);
                self.insert(&table, &columns, &given).map_err(|error| placed(error, whole, &table, shift))
            }
            SessionStatement::Update { table, values, condition } => {
                self.update(&table, &values, condition).map_err(|error| placed(error, whole, &table, shift))
            }
            SessionStatement::Delete { table, condition } => {
                self.delete(&table, condition).map_err(|error| placed(error, whole, &table, shift))
            }
            SessionStatement::Drop { name, view, if_exists, cascade } => {
                self.drop(&name, view, if_exists, cascade).map_err(|mistakes| moved(mistakes, shift))
            }
            SessionStatement::Subscribe(subscribe) => {
                self.subscription(&subscribe, whole, shift).map(Answer::Subscription)
            }
            SessionStatement::Nothing => Ok(Answer::Done),
        }
    }

    /// The rows of a query, maintained as the session's feeding says.
    fn query(&self, text: &str, offset: usize) -> Result<Answer, SessionError> {
        self.maintain(text, offset).and_then(|maintained| maintained.rows()).map(Answer::Rows)
    }

    /// The columns of a table or view, as a query shows them.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn columns_of(&self, name: &str) -> Result<SchemaRef, SessionError> {
        if self.definitions.iter().all(|definition| definition.name != name) {
            let message = format!("\"{name}\" does not exist");
            return Err(SessionError::Statement(vec![Diagnostic::new(Code::UnknownTable, message, None)]));
        }
        let text = format!("SELECT * FROM \"{}\"", name.replace('"', "\"\""));
        let (plan, view) = self.plan(&text, 0)?;
        Ok(plan.views[view].schema.clone())
    }

    /// What was defined, in order: each name with what it is.
    pub fn relations(&self) -> Vec<(String, RelationKind)> {
        let written = self.definitions.iter().filter(|definition| !definition.implied);
        let kind = |definition: &Definition| match definition.view {
            true => RelationKind::View,
            false if self.tables.contains_key(&definition.name) => RelationKind::Table,
            false => RelationKind::Fixed,
        };
        written.map(|definition| (definition.name.clone(), kind(definition))).collect()
    }

    /// The names there are: tables and views.
    pub fn names(&self) -> Vec<String> {
        let written = self.definitions.iter().filter(|definition| !definition.implied);
        written.map(|definition| definition.name.clone()).collect()
    }
}

/// What a name of a session stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// A table that statements change.
    Table,
    /// A table that they do not: of a file, of constants, of a running job.
    Fixed,
    /// A view.
    View,
}

/// Places in the session's text as places in the statement's.
fn moved(mistakes: Vec<Diagnostic>, shift: usize) -> SessionError {
    let back = |span: Span| Span { start: span.start.saturating_sub(shift), end: span.end.saturating_sub(shift) };
    let moved = mistakes.into_iter().map(|mut mistake| {
        mistake.span = mistake.span.filter(|span| span.start >= shift).map(back);
        mistake
    });
    SessionError::Statement(moved.collect())
}

fn mistake(code: Code, message: impl Into<String>, name: &Name) -> SessionError {
    let mut mistake = Diagnostic::new(code, message, name.span);
    mistake.span = None;
    SessionError::Statement(vec![mistake])
}
