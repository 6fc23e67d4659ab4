//! The functions that a job defines: each call becomes the function's body before the query is planned.
//!
//! Bodies are written out first, so that what is put into a query calls no function of the job any more. The
//! places inside a body become that of the call: a place that reaches from one statement into another helps nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, Query,
    Select, SelectItem, VisitMut, VisitorMut,
};
use datafusion_sql::sqlparser::tokenizer::Span as TokenSpan;

use super::context::BROKEN;
use super::errors::Place;
use super::job::Planner;
use super::macro_checks::check;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};
use crate::sql::{FunctionStatement, Parameter, Statement, normal};

/// The functions of a job, ready to be put in the place of calls.
#[derive(Default)]
pub(super) struct Macros {
    functions: BTreeMap<String, Macro>,
    /// Functions with mistakes of their own: who calls them is not blamed.
    broken: BTreeSet<String>,
}

struct Macro {
    parameters: Vec<Parameter>,
    /// Calls no function of the job, and is cast to the type that the function returns.
    body: Expr,
}

impl Planner<'_> {
    /// Reads the functions of the job; mistakes are noted.
    pub(super) fn define_functions(&mut self) {
        let job = self.job;
        let statements = job.statements.iter().filter_map(|statement| match statement {
            Statement::Function(function) => Some((function.name.text.as_str(), function)),
            _ => None,
        });
        let statements: BTreeMap<&str, &FunctionStatement> = statements.collect();
        for name in statements.keys() {
            self.define(name, &statements, &mut Vec::new());
        }
    }

    /// Writes a function out, after those it calls.
    fn define<'f>(
        &mut self,
        name: &'f str,
        statements: &BTreeMap<&'f str, &'f FunctionStatement>,
        path: &mut Vec<&'f str>,
    ) {
        let known = &self.context.macros;
        let Some((name, statement)) = statements.get_key_value(name) else { return };
        if known.functions.contains_key(*name) || known.broken.contains(*name) {
            return;
        }
        if let Some(start) = path.iter().position(|on_path| on_path == name) {
            self.mistakes.push(circle(statement, &path[start..]));
            self.context.macros.broken.extend(path[start..].iter().map(|name| (*name).to_owned()));
            return;
        }
        path.push(name);
        for called in super::names::functions_called(statement.body.as_ref()) {
            if let Some((called, _)) = statements.get_key_value(normal(&called).as_str()) {
                self.define(called, statements, path);
            }
        }
        path.pop();
        if self.context.macros.broken.contains(*name) {
            return;
        }
        let place = self.place(statement.body_span);
        match check(statement, statements, &self.context, &place).and_then(|()| self.written_out(statement, &place)) {
            Ok(function) => {
                self.context.macros.functions.insert((*name).to_owned(), function);
            }
            Err(mistake) => {
                self.blame(mistake);
                self.context.macros.broken.insert((*name).to_owned());
            }
        }
    }

    fn written_out(&self, statement: &FunctionStatement, place: &Place<'_>) -> Result<Macro, Diagnostic> {
        let mut body = statement.body.as_ref().clone();
        self.context.macros.inline(&mut body, place)?;
        super::macro_checks::types(statement, &body, &self.context, self.place(statement.span), place)?;
        let body = match &statement.returns {
            Some(data_type) => cast(body, data_type),
            None => parenthesised(body),
        };
        Ok(Macro { parameters: statement.parameters.clone(), body })
    }
}

impl Macros {
    /// Puts bodies in the place of calls.
    ///
    /// # Errors
    /// If a call does not fit its function.
    pub(super) fn inline<V: VisitMut>(&self, tree: &mut V, place: &Place<'_>) -> Result<(), Diagnostic> {
        if self.functions.is_empty() && self.broken.is_empty() {
            return Ok(());
        }
        match tree.visit(&mut Inliner { macros: self, place }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(mistake) => Err(mistake),
        }
    }

    fn call(&self, function: &Function, place: &Place<'_>) -> Result<Option<Expr>, Diagnostic> {
        let Some(ident) = plain_name(function) else { return Ok(None) };
        let name = normal(ident);
        let own = if place.made { None } else { place.lines.span(ident.span) };
        let at = own.unwrap_or_else(|| place.find(&ident.value));
        if self.broken.contains(&name) {
            return Err(Diagnostic::new(Code::UnknownFunction, BROKEN, at));
        }
        let Some(definition) = self.functions.get(&name) else { return Ok(None) };
        let call = Call { name: &name, parameters: &definition.parameters, at, place };
        let arguments = call.arguments(function)?;
        let mut body = definition.body.clone();
        let mut substitution = Substitution { arguments, at: ident.span };
        let _: ControlFlow<()> = VisitMut::visit(&mut body, &mut substitution);
        Ok(Some(body))
    }
}

struct Inliner<'m> {
    macros: &'m Macros,
    place: &'m Place<'m>,
}

impl VisitorMut for Inliner<'_> {
    type Break = Diagnostic;

    /// A column that is a call keeps the call as its name.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Diagnostic> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Function(function)) = item
                && plain_name(function).is_some_and(|name| self.macros.functions.contains_key(&normal(name)))
            {
                let alias = Ident::with_quote('"', function.to_string());
                *item = SelectItem::ExprWithAlias { expr: Expr::Function(function.clone()), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Diagnostic> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        match self.macros.call(function, self.place) {
            Ok(Some(body)) => *expr = body,
            Ok(None) => {}
            Err(mistake) => return ControlFlow::Break(mistake),
        }
        ControlFlow::Continue(())
    }
}

/// The name of a function that is called by a plain name.
pub(super) fn plain_name(function: &Function) -> Option<&Ident> {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident),
        _ => None,
    }
}

/// A call of a function of the job.
struct Call<'c> {
    name: &'c str,
    parameters: &'c [Parameter],
    at: Span,
    place: &'c Place<'c>,
}

impl Call<'_> {
    /// What stands for each parameter.
    fn arguments(&self, function: &Function) -> Result<BTreeMap<String, Expr>, Diagnostic> {
        let given = self.given(function)?;
        let mut arguments: BTreeMap<String, Expr> = BTreeMap::new();
        for (position, argument) in given.iter().enumerate() {
            let (parameter, value) = self.argument(position, given.len(), argument)?;
            let value = match &parameter.data_type {
                Some(data_type) => cast(value, data_type),
                None => parenthesised(value),
            };
            if arguments.insert(parameter.name.text.clone(), value).is_some() {
                return Err(self.wrong(format!("parameter \"{}\" is given twice", parameter.name.text)));
            }
        }
        if arguments.len() < self.parameters.len() {
            return Err(self.wrong_count(given.len()));
        }
        Ok(arguments)
    }

    fn given<'f>(&self, function: &'f Function) -> Result<&'f [FunctionArg], Diagnostic> {
        let extra = match function {
            Function { over: Some(_), .. } => Some("OVER"),
            Function { filter: Some(_), .. } => Some("FILTER"),
            Function { null_treatment: Some(_), .. } => Some("IGNORE NULLS"),
            Function { within_group, .. } if !within_group.is_empty() => Some("WITHIN GROUP"),
            Function { args: FunctionArguments::List(list), .. } if list.duplicate_treatment.is_some() => {
                Some("DISTINCT")
            }
            Function { args: FunctionArguments::List(list), .. } if !list.clauses.is_empty() => Some("ORDER BY"),
            _ => None,
        };
        if let Some(word) = extra {
            let message = format!("\"{}\" is a function of this job and takes no {word}", self.name);
            let hint = format!("write {word} at the call inside CREATE FUNCTION");
            return Err(Diagnostic::new(Code::AggregateMisuse, message, self.at).with_hint(hint));
        }
        match &function.args {
            FunctionArguments::List(list) => Ok(&list.args),
            FunctionArguments::None => Ok(&[]),
            FunctionArguments::Subquery(_) => Err(self
                .wrong(format!("an argument of \"{}\" is a query without parentheses", self.name))
                .with_hint("put the query into parentheses of its own")),
        }
    }

    fn argument(&self, position: usize, count: usize, given: &FunctionArg) -> Result<(&Parameter, Expr), Diagnostic> {
        let (parameter, value) = match given {
            FunctionArg::Unnamed(value) => (self.parameters.get(position), value),
            FunctionArg::Named { name, arg, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                (Some(self.named(name)?), arg)
            }
            FunctionArg::ExprNamed { .. } => {
                return Err(self.wrong(format!("an argument of \"{}\" has no plain name", self.name)));
            }
        };
        let parameter = parameter.ok_or_else(|| self.wrong_count(count))?;
        match value {
            FunctionArgExpr::Expr(value) => Ok((parameter, value.clone())),
            _ => Err(self
                .wrong(format!("* is no argument of \"{}\"", self.name))
                .with_hint("it stands for its body, which needs a value for each parameter")),
        }
    }

    fn named(&self, name: &Ident) -> Result<&Parameter, Diagnostic> {
        let wanted = normal(name);
        self.parameters.iter().find(|parameter| parameter.name.text == wanted).ok_or_else(|| {
            let own = if self.place.made { None } else { self.place.lines.span(name.span) };
            let message = format!("function \"{}\" has no parameter \"{wanted}\"", self.name);
            let near = did_you_mean(&wanted, self.parameters.iter().map(|parameter| parameter.name.text.as_str()));
            let hint = near.unwrap_or_else(|| self.signature());
            Diagnostic::new(Code::TypeMismatch, message, own.unwrap_or(self.at)).with_hint(hint)
        })
    }

    fn wrong_count(&self, given: usize) -> Diagnostic {
        let count = |count: usize| match count {
            1 => "1 argument".to_owned(),
            count => format!("{count} arguments"),
        };
        let are = if given == 1 { "is" } else { "are" };
        let message = format!("function \"{}\" takes {}, {given} {are} given", self.name, count(self.parameters.len()));
        self.wrong(message).with_hint(self.signature())
    }

    fn signature(&self) -> String {
        let parameters = self.parameters.iter().map(|parameter| match &parameter.data_type {
            Some(data_type) => format!("{} {data_type}", parameter.name.text),
            None => parameter.name.text.clone(),
        });
        format!("it is {}({})", self.name, parameters.collect::<Vec<_>>().join(", "))
    }

    fn wrong(&self, message: String) -> Diagnostic {
        Diagnostic::new(Code::TypeMismatch, message, self.at)
    }
}

/// Arguments in the place of parameters, everything else at the place of the call.
struct Substitution {
    arguments: BTreeMap<String, Expr>,
    at: TokenSpan,
}

impl VisitorMut for Substitution {
    type Break = ();

    // After the parts of an expression: what stands for a parameter is not looked at again.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => {
                if let Some(argument) = self.arguments.get(&normal(ident)) {
                    *expr = argument.clone();
                }
            }
            Expr::Value(value) => value.span = self.at,
            Expr::Function(function) => {
                for part in &mut function.name.0 {
                    if let ObjectNamePart::Identifier(ident) = part {
                        ident.span = self.at;
                    }
                }
            }
            Expr::Case { case_token, end_token, .. } => {
                case_token.0.span = self.at;
                end_token.0.span = self.at;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    // A body has no query; an argument may, and is left alone.
    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn cast(expr: Expr, data_type: &DataType) -> Expr {
    let (kind, expr) = (CastKind::Cast, Box::new(expr));
    Expr::Cast { kind, expr, data_type: data_type.clone(), array: false, format: None }
}

/// An expression that stays one whatever it is put into, also as text.
fn parenthesised(expr: Expr) -> Expr {
    match expr {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::Function(_)
        | Expr::Cast { .. }
        | Expr::Nested(_) => expr,
        other => Expr::Nested(Box::new(other)),
    }
}

fn circle(statement: &FunctionStatement, path: &[&str]) -> Diagnostic {
    let names = path.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" and ");
    let message = match path.len() {
        1 => format!("function {names} calls itself"),
        _ => format!("functions {names} call each other"),
    };
    Diagnostic::new(Code::CyclicViews, message, statement.name.span)
        .with_hint("a function stands for its body, so it can call only functions that do not depend on it")
}
