//! Forms of SQL that DataFusion does not plan, as those that it does: `FETCH FIRST`, `GROUP BY ()`, and HAVING without
//! an aggregate.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, LimitClause, Query, Select, SetExpr, Value, VisitMut as _, VisitorMut,
};
use datafusion_sql::sqlparser::parser::Parser;

use super::errors::Place;
use crate::diagnostic::{Code, Diagnostic};
use crate::sql::DIALECT;

/// Writes a query and those inside it in the forms that are planned.
pub(super) fn written(query: &mut Query, place: &Place<'_>) -> Result<(), Diagnostic> {
    match query.visit(&mut Standard { place }) {
        ControlFlow::Break(refused) => Err(refused),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Standard<'p> {
    place: &'p Place<'p>,
}

impl VisitorMut for Standard<'_> {
    type Break = Diagnostic;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Diagnostic> {
        let refused = self.fetch(query).or_else(|| self.select(query.body.as_mut()));
        refused.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

impl Standard<'_> {
    /// `FETCH FIRST n ROWS ONLY` is LIMIT n.
    fn fetch(&self, query: &mut Query) -> Option<Diagnostic> {
        let fetch = query.fetch.take()?;
        if fetch.with_ties {
            let hint = "compute rank() OVER (ORDER BY …) in a subquery, and keep the rows whose rank is at most n";
            return Some(self.refused("FETCH FIRST … WITH TIES", "fetch", hint));
        }
        if fetch.percent {
            return Some(self.refused("FETCH FIRST … PERCENT", "fetch", "write a number of rows"));
        }
        let rows = fetch.quantity.unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false)));
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
            Some(_) => return Some(self.refused("FETCH FIRST beside LIMIT", "fetch", "write one of them")),
            none => *none = Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() }),
        }
        None
    }

    fn select(&self, body: &mut SetExpr) -> Option<Diagnostic> {
        match body {
            SetExpr::Select(select) if select.top.is_some() => {
                Some(self.refused("TOP", "top", "write LIMIT at the end of the query"))
            }
            SetExpr::Select(select) => {
                all_rows(&mut select.group_by);
                one_group(select);
                None
            }
            SetExpr::SetOperation { left, right, .. } => self.select(left).or_else(|| self.select(right)),
            _ => None,
        }
    }

    fn refused(&self, what: &str, word: &str, hint: &str) -> Diagnostic {
        let place = self.place.find(word);
        Diagnostic::new(Code::Unsupported, format!("{what} is not supported yet"), place).with_hint(hint)
    }
}

/// `()` groups by nothing: alone it makes one group of all rows, beside other keys it adds none.
fn all_rows(group_by: &mut GroupByExpr) {
    let GroupByExpr::Expressions(keys, _) = group_by else { return };
    let written = keys.len();
    keys.retain(|key| !matches!(key, Expr::Tuple(of) if of.is_empty()));
    if keys.is_empty() && written > 0 {
        keys.push(Expr::GroupingSets(vec![Vec::new()]));
    }
}

/// HAVING without GROUP BY is about all rows as one group; DataFusion sees that only where an aggregate stands.
fn one_group(select: &mut Select) {
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let Some(having) = select.having.take_if(|_| ungrouped) else { return };
    let always = Parser::new(&DIALECT).try_with_sql("count(*) >= 0").and_then(|mut parser| parser.parse_expr());
    select.having = Some(match always {
        Ok(always) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(having))),
            op: BinaryOperator::And,
            right: Box::new(always),
        },
        Err(_) => having,
    });
}
