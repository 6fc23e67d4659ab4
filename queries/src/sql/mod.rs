//! The text of a job as statements, each part with its place.
//!
//! The queries inside stay sqlparser's syntax trees: DataFusion reads them. What Highwater adds to
//! SQL (`CREATE SOURCE`, `CREATE SINK … EMIT …`, options with secrets) is read here.

mod ast;
mod location;
mod options;
mod parser;
mod pieces;
mod session;
mod tokens;

pub(crate) use ast::QUERY;
pub use ast::{
    AlertStatement, EmitClause, ExplainStatement, ExplainTarget, Job, Name, OptionStatement, OptionValue,
    SecretStatement, SetStatement, SinkFrom, SinkStatement, SourceStatement, Statement, TableStatement, ViewStatement,
    Watermark,
};
pub(crate) use location::LineIndex;
pub use parser::parse;
pub(crate) use parser::{RECURSION_LIMIT, normal};
pub use pieces::{is_complete, statement_spans};
pub(crate) use session::relations_read;
pub use session::{SessionStatement, SubscribeStatement, parse_session};
