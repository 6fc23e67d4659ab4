//! What the parser reads and DataFusion would take for something else.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, LimitClause, Query, Visit, Visitor,
};

use super::errors::Place;
use super::names::relations;
use crate::diagnostic::{Code, Diagnostic};
use crate::sql::normal;

/// Refuses it.
pub(super) fn check(query: &Query, place: &Place<'_>) -> Result<(), Diagnostic> {
    let ControlFlow::Break(Found { word, what, hint }) = Visit::visit(query, &mut Search) else { return Ok(()) };
    Err(Diagnostic::new(Code::Unsupported, format!("{what} is not supported"), place.find(word)).with_hint(hint))
}

struct Found {
    /// Where it stands.
    word: &'static str,
    what: String,
    hint: String,
}

struct Search;

impl Visitor for Search {
    type Break = Found;

    /// ORDER BY, LIMIT and the like of a recursion, which are of no round: they would be left out.
    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Found> {
        let recursive = query.with.as_ref().filter(|with| with.recursive);
        for cte in recursive.iter().flat_map(|with| &with.cte_tables) {
            let (name, body) = (normal(&cte.alias.name), cte.query.as_ref());
            let word = match body {
                Query { limit_clause: Some(LimitClause::LimitOffset { limit: None, .. }), .. } => "offset",
                Query { limit_clause: Some(_), .. } => "limit",
                Query { fetch: Some(_), .. } => "fetch",
                Query { order_by: Some(_), .. } => "order",
                _ => continue,
            };
            if relations(body).contains(&name) {
                let what = format!("{} in a recursive query", word.to_uppercase());
                let hint = format!("write it behind the query that reads \"{name}\"");
                return ControlFlow::Break(Found { word, what, hint });
            }
        }
        ControlFlow::Continue(())
    }

    /// `count(DISTINCT *)` would count one constant.
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Found> {
        if let Expr::Function(function) = expr
            && let FunctionArguments::List(list) = &function.args
            && list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
            && list.args.iter().any(|argument| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard)))
        {
            let what = format!("{}(DISTINCT *)", function.name);
            let hint = "write SELECT count(*) FROM (SELECT DISTINCT … FROM …)".to_owned();
            return ControlFlow::Break(Found { word: "distinct", what, hint });
        }
        ControlFlow::Continue(())
    }
}
