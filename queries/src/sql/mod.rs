//! The text of a job as statements, each part with its place.
//!
//! The queries inside stay sqlparser's syntax trees: DataFusion reads them. What Highwater adds to
//! SQL (`CREATE SOURCE`, `CREATE SINK … EMIT …`, options with secrets) is read here.

mod ast;
mod location;
mod options;
mod parser;
mod session;
mod tokens;
mod unit_test;

pub(crate) use ast::QUERY;
pub use ast::{
    AlertStatement, EmitClause, ExplainStatement, ExplainTarget, GivenRows, Job, Name, OptionStatement, OptionValue,
    SecretStatement, SetStatement, SinkFrom, SinkStatement, SourceStatement, Statement, TableStatement,
    UnitTestStatement, UnitTestStep, ViewStatement, Watermark,
};
pub(crate) use location::LineIndex;
pub use parser::parse;
pub(crate) use parser::{RECURSION_LIMIT, normal};
pub(crate) use session::relations_read;
pub use session::{SessionStatement, parse_session};
