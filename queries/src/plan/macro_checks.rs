//! What can be told of a function where it is defined, before anything calls it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion_common::DFSchema;
use datafusion_expr::ExprSchemable as _;
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{ColumnDef, DataType, Expr, Ident, Query, Visit as _, Visitor};

use super::context::Context;
use super::errors::Place;
use super::macros::plain_name;
use super::registry::registry;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};
use crate::functions;
use crate::sql::{FunctionStatement, normal};

/// Words that SQL reads itself where they stand in front of a parenthesis: a function of that name is never called.
const SYNTAX: [&str; 16] = [
    "cast",
    "try_cast",
    "safe_cast",
    "convert",
    "extract",
    "exists",
    "case",
    "interval",
    "tumble",
    "hop",
    "session",
    "grouping",
    "row",
    "any",
    "all",
    "not",
];

/// Refuses a name that is taken, and a body that reads or calls what is not there.
pub(super) fn check(
    statement: &FunctionStatement,
    functions: &BTreeMap<&str, &FunctionStatement>,
    context: &Context,
    place: &Place<'_>,
) -> Result<(), Diagnostic> {
    let name = statement.name.text.as_str();
    let known = registry();
    let built_in =
        known.scalar.contains_key(name) || known.aggregate.contains_key(name) || known.window.contains_key(name);
    if built_in || SYNTAX.contains(&name) {
        let message = format!("\"{name}\" is a function of SQL already");
        return Err(
            Diagnostic::new(Code::DuplicateName, message, statement.name.span).with_hint("give it another name")
        );
    }
    match statement.body.visit(&mut Body { statement, functions, context, place }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(mistake) => Err(*mistake),
    }
}

struct Body<'b> {
    statement: &'b FunctionStatement,
    functions: &'b BTreeMap<&'b str, &'b FunctionStatement>,
    context: &'b Context,
    place: &'b Place<'b>,
}

impl Visitor for Body<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Box<Diagnostic>> {
        let message = format!("the body of function \"{}\" contains a query", self.statement.name.text);
        let mistake = Diagnostic::new(Code::Unsupported, message, self.place.find("select"));
        ControlFlow::Break(Box::new(mistake.with_hint("give it the value as an argument, or write CREATE VIEW")))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Box<Diagnostic>> {
        let mistake = match expr {
            Expr::Identifier(ident) => self.unknown_parameter(&normal(ident), self.at(ident)),
            Expr::CompoundIdentifier(parts) => {
                let name = parts.iter().map(normal).collect::<Vec<_>>().join(".");
                let ends = parts.first().zip(parts.last());
                ends.and_then(|(first, last)| self.unknown_parameter(&name, self.at(first).to(self.at(last))))
            }
            Expr::Function(function) => plain_name(function).and_then(|ident| self.unknown_function(ident)),
            _ => None,
        };
        mistake.map_or(ControlFlow::Continue(()), |mistake| ControlFlow::Break(Box::new(mistake)))
    }
}

impl Body<'_> {
    fn at(&self, ident: &Ident) -> Span {
        self.place.lines.span(ident.span).unwrap_or_else(|| self.place.find(&ident.value))
    }

    fn unknown_parameter(&self, name: &str, at: Span) -> Option<Diagnostic> {
        let parameters = || self.statement.parameters.iter().map(|parameter| parameter.name.text.as_str());
        if parameters().any(|parameter| parameter == name) {
            return None;
        }
        let list = match parameters().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "it has no parameters".to_owned(),
            list => format!("its parameters are {list}"),
        };
        let message = format!("function \"{}\" has no parameter \"{name}\"", self.statement.name.text);
        let hint = did_you_mean(name, parameters()).unwrap_or(list);
        Some(Diagnostic::new(Code::UnknownColumn, message, at).with_hint(hint))
    }

    fn unknown_function(&self, ident: &Ident) -> Option<Diagnostic> {
        let name = normal(ident);
        let known = registry();
        // Names of SQL's own functions are compared without regard to case, also in quotes.
        let lower = name.to_lowercase();
        let of_sql = known.scalar.contains_key(&lower)
            || known.aggregate.contains_key(&lower)
            || known.window.contains_key(&lower)
            || SYNTAX.contains(&lower.as_str());
        if of_sql || self.functions.contains_key(name.as_str()) || self.context.is_broken(&name) {
            return None;
        }
        let names = known.names();
        let candidates = names.iter().copied().chain(self.functions.keys().copied());
        let message = format!("function \"{name}\" does not exist");
        let hint = did_you_mean(&name, candidates);
        Some(Diagnostic::new(Code::UnknownFunction, message, self.at(ident)).with_hint_opt(hint))
    }
}

/// Refuses types that do not exist; where every parameter has a type, also a body that does not fit them.
///
/// `body` is the body written out, `whole` the place of the statement and `place` that of its body.
pub(super) fn types(
    statement: &FunctionStatement,
    body: &Expr,
    context: &Context,
    whole: Place<'_>,
    place: &Place<'_>,
) -> Result<(), Diagnostic> {
    let options = ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false);
    let planner = SqlToRel::new_with_options(context, options);
    let column = |name: &str, data_type: &DataType| ColumnDef {
        name: Ident::new(name),
        data_type: data_type.clone(),
        options: Vec::new(),
    };
    let returned = statement.returns.iter().map(|data_type| column("", data_type)).collect();
    planner.build_schema(returned).map_err(|error| whole.diagnose(&error))?;
    let typed = statement
        .parameters
        .iter()
        .filter_map(|parameter| parameter.data_type.as_ref().map(|data_type| column(&parameter.name.text, data_type)));
    let schema = planner.build_schema(typed.collect()).map_err(|error| whole.diagnose(&error))?;
    if schema.fields().len() < statement.parameters.len() {
        return Ok(());
    }
    let schema = DFSchema::try_from(schema).map_err(|error| place.diagnose(&error))?;
    let mut body = body.clone();
    functions::prepare(&mut body);
    let planned = planner.sql_to_expr(body, &schema, &mut PlannerContext::new());
    let typed =
        planned.and_then(|body| functions::rewrite_expr(body, &schema)).and_then(|body| body.data.get_type(&schema));
    typed.map(|_| ()).map_err(|error| place.diagnose(&error))
}
