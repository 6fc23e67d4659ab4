//! The statements of a job.

use std::fmt;

use datafusion_sql::sqlparser::ast::{ColumnDef, DataType, Expr, Query};

use super::LineIndex;
use crate::diagnostic::Span;
use crate::plan::Emit;

/// A parsed job.
#[derive(Debug, Clone)]
pub struct Job {
    /// The statements in order.
    pub statements: Vec<Statement>,
    pub(crate) lines: LineIndex,
    /// Whether tables may change, and the view of the name [`QUERY`] is shown to people.
    pub(crate) in_session: bool,
}

impl Job {
    /// Tells the places of the job where the bodies of its functions stand.
    pub(crate) fn note_bodies(&mut self) {
        let bodies = self.statements.iter().filter_map(|statement| match statement {
            Statement::Function(function) => Some(function.body_span),
            _ => None,
        });
        self.lines.bodies = bodies.collect();
    }
}

/// The name of a session's query among its views.
pub(crate) const QUERY: &str = "query";

/// One statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `CREATE SOURCE`
    Source(SourceStatement),
    /// `CREATE TABLE`
    Table(TableStatement),
    /// `CREATE SECRET`
    Secret(SecretStatement),
    /// `CREATE FUNCTION`
    Function(FunctionStatement),
    /// `CREATE EVENT`
    Event(EventStatement),
    /// `CREATE [MATERIALIZED] VIEW`
    View(ViewStatement),
    /// `CREATE ALERT`
    Alert(AlertStatement),
    /// `CREATE SINK`
    Sink(SinkStatement),
    /// `SET`
    Set(SetStatement),
    /// `EXPLAIN`
    Explain(ExplainStatement),
    /// `EXECUTE UNIT TEST`
    UnitTest(UnitTestStatement),
}

/// A name with its place. Names without quotes are lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// One option of `WITH (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionStatement {
    /// The option, lower case.
    pub name: Name,
    /// What it is set to.
    pub value: OptionValue,
    /// Where the value stands.
    pub value_span: Span,
}

/// The value of an option.
#[derive(Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// Text, a number, a Boolean or the inside of an `INTERVAL`, as text.
    Text(String),
    /// `SECRET name`.
    Secret(Name),
}

impl fmt::Debug for OptionValue {
    /// Without the text: people put secrets where they should not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Text(_) => f.write_str("Text(…)"),
            OptionValue::Secret(name) => write!(f, "Secret({})", name.text),
        }
    }
}

/// `CREATE SOURCE name WITH (…)`
#[derive(Debug, Clone)]
pub struct SourceStatement {
    /// Its name: the schema of its tables.
    pub name: Name,
    /// Its options, `connector` among them.
    pub options: Vec<OptionStatement>,
    /// The whole statement.
    pub span: Span,
}

/// `CREATE TABLE name (columns) WITH (…)` or `… AS VALUES (…)`
#[derive(Debug, Clone)]
pub struct TableStatement {
    /// Its name.
    pub name: Name,
    /// Declared columns; none if they follow from the file or the values.
    pub columns: Vec<ColumnDef>,
    /// The columns of its `PRIMARY KEY`, if it has one.
    pub primary_key: Vec<String>,
    /// Columns that no two rows have alike.
    pub unique: Vec<Unique>,
    /// What a column holds that an INSERT leaves out, as SQL; the columns without one hold NULL.
    pub defaults: Vec<(Name, String)>,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// When its rows are final, if it says so.
    pub watermark: Option<Watermark>,
    /// Where the file is.
    pub options: Vec<OptionStatement>,
    /// The inline rows.
    pub values: Option<Box<Query>>,
    /// The whole statement.
    pub span: Span,
}

/// `UNIQUE` behind a column, or `UNIQUE (columns)` on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// The columns.
    pub columns: Vec<String>,
    /// Whether it stands behind its column.
    pub of_column: bool,
}

/// `WATERMARK FOR column AS column - INTERVAL '…'`: rows older than the newest by more than the interval are final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The time column.
    pub column: Name,
    /// How much older a row may be and still come, milliseconds.
    pub delay_ms: i64,
}

/// `CREATE SECRET name WITH (backend = …, key = …)`
#[derive(Debug, Clone)]
pub struct SecretStatement {
    /// Its name.
    pub name: Name,
    /// `backend` and `key`.
    pub options: Vec<OptionStatement>,
    /// The whole statement.
    pub span: Span,
}

/// `CREATE [OR REPLACE] FUNCTION name(parameter [type], …) [RETURNS type] AS expression`
#[derive(Debug, Clone)]
pub struct FunctionStatement {
    /// Its name.
    pub name: Name,
    /// Whether it takes the place of an earlier function of the name.
    pub replace: bool,
    /// What a call gives it, in order.
    pub parameters: Vec<Parameter>,
    /// The type that the value is cast to.
    pub returns: Option<DataType>,
    /// What stands in the place of a call.
    pub body: Box<Expr>,
    /// Where the body stands.
    pub body_span: Span,
    /// The whole statement.
    pub span: Span,
}

/// A parameter of a function.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: Name,
    /// The type that the argument is cast to.
    pub data_type: Option<DataType>,
}

/// `CREATE EVENT source.name AS 'signature' [WITH (address = …)]`
#[derive(Debug, Clone)]
pub struct EventStatement {
    /// The source whose logs are decoded.
    pub source: Name,
    /// The name of its table in the source.
    pub name: Name,
    /// The event as Solidity writes it.
    pub signature: String,
    /// Where the signature stands, quotes included.
    pub signature_span: Span,
    /// Its options.
    pub options: Vec<OptionStatement>,
    /// The whole statement.
    pub span: Span,
}

/// `CREATE [OR REPLACE] [MATERIALIZED] VIEW name [WITH (…)] AS query`
#[derive(Debug, Clone)]
pub struct ViewStatement {
    /// Its name.
    pub name: Name,
    /// Whether it takes the place of an earlier view of the name.
    pub replace: bool,
    /// Whether the view is kept.
    pub materialized: bool,
    /// New names for the columns; none to keep the query's.
    pub columns: Vec<Name>,
    /// Its options.
    pub options: Vec<OptionStatement>,
    /// `ON ERROR STOP`
    pub on_error_stop: bool,
    /// When its rows are there; in sessions only.
    pub emit: Option<Emit>,
    /// What it shows.
    pub query: Box<Query>,
    /// Where the query stands.
    pub query_span: Span,
    /// The whole statement.
    pub span: Span,
}

/// `CREATE ALERT name FROM view | (query) WITH (…) [EMIT CHANGES | EMIT ON WINDOW CLOSE]`
#[derive(Debug, Clone)]
pub struct AlertStatement {
    /// Its name.
    pub name: Name,
    /// Whose rows are findings.
    pub from: SinkFrom,
    /// Its options, `key` among them.
    pub options: Vec<OptionStatement>,
    /// When a row counts.
    pub emit: Option<EmitClause>,
    /// The whole statement.
    pub span: Span,
}

/// `CREATE SINK name FROM view | (query) [WITH (…)] [EMIT …]`
#[derive(Debug, Clone)]
pub struct SinkStatement {
    /// Its name.
    pub name: Name,
    /// What it shows.
    pub from: SinkFrom,
    /// Its options, `connector` among them.
    pub options: Vec<OptionStatement>,
    /// When rows go out.
    pub emit: Option<EmitClause>,
    /// The whole statement.
    pub span: Span,
}

/// What a sink shows, or an alert reads.
#[derive(Debug, Clone)]
pub enum SinkFrom {
    /// A view, an alert, or `<view>_errors`.
    View(Name),
    /// A query of its own, and where it stands.
    Query(Box<Query>, Span),
}

/// `EMIT …` with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmitClause {
    /// When rows go out.
    pub emit: Emit,
    /// Where the clause stands.
    pub span: Span,
}

/// `SET name = value`
#[derive(Debug, Clone)]
pub struct SetStatement {
    /// The setting, lower case.
    pub name: Name,
    /// The value as text.
    pub value: String,
    /// Where the value stands.
    pub value_span: Span,
}

/// `EXPLAIN [STATE] view | query`
#[derive(Debug, Clone)]
pub struct ExplainStatement {
    /// Whether the state is asked for, not the steps.
    pub state: bool,
    /// Of what.
    pub target: ExplainTarget,
    /// The whole statement.
    pub span: Span,
}

/// What is explained.
#[derive(Debug, Clone)]
pub enum ExplainTarget {
    /// A view.
    View(Name),
    /// A query, and where it stands.
    Query(Box<Query>, Span),
}

/// `EXECUTE UNIT TEST name FOR view [AT TIME 'time'] MOCK … EXPECTED … [REORG n MOCK … EXPECTED …]`
#[derive(Debug, Clone)]
pub struct UnitTestStatement {
    /// Its name.
    pub name: Name,
    /// The view that is tested.
    pub view: Name,
    /// What `now()` is, as text.
    pub at_time: Option<String>,
    /// What comes, and what the view must hold then.
    pub steps: Vec<UnitTestStep>,
    /// The whole statement.
    pub span: Span,
}

/// A step of a unit test.
#[derive(Debug, Clone)]
pub struct UnitTestStep {
    /// How many blocks are taken back first.
    pub reorg: u64,
    /// Rows of relations, by dotted name.
    pub mocks: Vec<(Name, GivenRows)>,
    /// What the view holds after the step; none to look only later.
    pub expected: Option<GivenRows>,
}

/// `(columns) AS (query)`
#[derive(Debug, Clone)]
pub struct GivenRows {
    /// The columns that are given.
    pub columns: Vec<Name>,
    /// The rows.
    pub query: Box<Query>,
    /// Where they stand.
    pub span: Span,
}
