//! Names for columns that have none of their own.
//!
//! SQL lets a SELECT name two columns alike as long as nobody asks for one of them by that name; DataFusion does
//! not. The later one gets another name. In what a view shows two columns of one name stay a mistake.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, Ident, OrderBy, OrderByKind, Query, SelectItem, SetExpr, UnaryOperator, VisitMut as _, VisitorMut,
    visit_expressions,
};

use crate::sql::normal;

/// Tells apart the columns of all queries inside a query, and in all of it casts from what it is ordered by.
pub(super) fn inside(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Inner { depth: 0 });
}

struct Inner {
    depth: usize,
}

impl VisitorMut for Inner {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        casts(query);
        if self.depth > 0 {
            columns(&mut query.body);
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Names casts of columns by which their query is ordered: `n::TEXT … ORDER BY n` means the text, as in PostgreSQL; an
/// expression over n means the column of the table, beside which the cast needs another name.
fn casts(query: &mut Query) {
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &query.order_by else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for (index, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr @ Expr::Cast { .. }) = &*item else { continue };
        let column = match bare(expr) {
            Expr::Identifier(ident) => ident,
            Expr::CompoundIdentifier(idents) => idents.last().expect("it has parts"),
            _ => continue,
        };
        let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(ident) if normal(ident) == normal(column));
        let alias = if order.iter().any(|order| is_column(&order.expr)) {
            column.clone()
        } else if order.iter().any(|order| mentions(&order.expr, column)) {
            Ident::with_quote('"', format!("{}:{}", normal(column), index + 1))
        } else {
            continue;
        };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

/// Whether a column of this name is in an expression, whatever table it is said to be of.
fn mentions(expr: &Expr, column: &Ident) -> bool {
    let found = visit_expressions(expr, |part: &Expr| {
        let ident = match part {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(idents) => idents.last(),
            _ => None,
        };
        let is_it = ident.is_some_and(|ident| normal(ident) == normal(column));
        if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

/// Tells apart the columns of a query, where nobody reads them by name.
pub(crate) fn columns(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let mut known = BTreeSet::new();
            // A column of a table beside a name of its own is as good as two of that name.
            let (mut of_tables, mut of_its_own) = (BTreeSet::new(), BTreeSet::new());
            for (index, item) in select.projection.iter_mut().enumerate() {
                let (expr, name, plain) = match &*item {
                    SelectItem::UnnamedExpr(expr) => {
                        let plain = match bare(expr) {
                            Expr::CompoundIdentifier(idents) => idents.last().map(normal),
                            _ => None,
                        };
                        (expr.clone(), name(bare(expr)), plain)
                    }
                    SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), normal(alias), None),
                    _ => continue,
                };
                let meets = match &plain {
                    Some(plain) => of_its_own.contains(plain),
                    None => of_tables.contains(&name),
                };
                if !known.insert(name.to_lowercase()) || meets {
                    let alias = Ident::with_quote('"', format!("{name}:{}", index + 1));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                    continue;
                }
                match plain {
                    Some(plain) => of_tables.insert(plain),
                    None => of_its_own.insert(name),
                };
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            columns(left);
            columns(right);
        }
        _ => {}
    }
}

/// An expression without what does not change what it is named.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } | Expr::Nested(expr) | Expr::Cast { expr, .. } => bare(expr),
        other => other,
    }
}

/// What a column is called. Subqueries are called what they call their own column, so that two of them may be alike
/// that are not written alike.
fn name(expr: &Expr) -> String {
    let mut expr = expr.clone();
    let _: ControlFlow<()> = expr.visit(&mut Subqueries);
    expr.to_string()
}

/// Puts names in the place of subqueries.
struct Subqueries;

impl VisitorMut for Subqueries {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let named = match &*expr {
            Expr::Subquery(query) => of_subquery(query),
            Expr::Exists { .. } => Some("exists".to_owned()),
            Expr::InSubquery { expr, .. } => Some(format!("{} in", name(expr))),
            _ => None,
        };
        if let Some(named) = named {
            *expr = Expr::Identifier(Ident::new(named));
        }
        ControlFlow::Continue(())
    }
}

fn of_subquery(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(inner)] => Some(name(bare(inner))),
        [SelectItem::ExprWithAlias { alias, .. }] => Some(normal(alias)),
        _ => None,
    }
}
