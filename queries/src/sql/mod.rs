//! The text of a job as statements, each part with its place.
//!
//! The queries inside stay sqlparser's syntax trees: DataFusion reads them. What Highwater adds to
//! SQL (`CREATE SOURCE`, `CREATE SINK … EMIT …`, options with secrets) is read here.

mod ast;
mod change;
mod constraints;
mod depth;
mod documentation;
mod event;
mod function;
mod location;
mod options;
mod parser;
mod pieces;
mod session;
mod table;
mod tokens;
mod unit_test;

pub(crate) use ast::QUERY;
pub use ast::{
    AlertStatement, EmitClause, EventStatement, ExplainStatement, ExplainTarget, FunctionStatement, GivenRows, Job,
    Name, OptionStatement, OptionValue, Parameter, SecretStatement, SetStatement, SinkFrom, SinkStatement,
    SourceStatement, Statement, TableStatement, Unique, UnitTestStatement, UnitTestStep, ViewStatement, Watermark,
};
pub(crate) use change::is_default;
pub(crate) use constraints::has_query;
pub use documentation::{STATEMENTS, StatementDoc};
pub(crate) use location::LineIndex;
pub use parser::parse;
pub(crate) use parser::{DIALECT, RECURSION_LIMIT, normal};
pub use pieces::{is_complete, statement_spans};
pub use session::{SessionStatement, SubscribeStatement, parse_session};
pub(crate) use session::{function_name, functions_read, relations_read};
pub(crate) use tokens::lower_first;
