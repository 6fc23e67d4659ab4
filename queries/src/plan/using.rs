//! `JOIN … USING (c)` and `NATURAL JOIN` as joins with a condition.
//!
//! SQL gives such a join one column c: that of the left side, of a RIGHT JOIN that of the right, of a FULL JOIN
//! whichever is there; `SELECT *` shows it first and once. DataFusion takes the left one always, and in a chain of
//! joins does not know which. Here the condition is written out, and c becomes what it means. Joins whose sides cannot
//! be planned on their own are left to DataFusion.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Cte, Distinct, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value, Visit, VisitMut, Visitor,
    VisitorMut, WildcardAdditionalOptions, With,
};
use datafusion_sql::sqlparser::parser::Parser;

use super::context::Context;
use super::errors::Place;
use super::query::raw_plan;
use crate::functions::call;
use crate::sql::{DIALECT, normal};

/// Writes out such joins anywhere in a query.
pub(super) fn written_out(query: &mut Query, context: &Context, place: &Place<'_>) {
    if Visit::visit(query, &mut Search).is_break() {
        Rewriter { context, place }.query(query, &[]);
    }
}

/// Whether there is such a join.
struct Search;

impl Visitor for Search {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.from.iter().any(merges) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn merges(from: &TableWithJoins) -> bool {
    let mut constraints = from.joins.iter().filter_map(|join| constraint_of(&join.join_operator));
    constraints.any(|(_, constraint)| matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural))
}

/// Which side a merged column is of.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Either,
}

/// The constraint of a join that shows the columns of both sides.
fn constraint_of(operator: &JoinOperator) -> Option<(Side, &JoinConstraint)> {
    use JoinOperator as J;
    Some(match operator {
        J::Join(constraint) | J::Inner(constraint) | J::Left(constraint) | J::LeftOuter(constraint) => {
            (Side::Left, constraint)
        }
        J::Right(constraint) | J::RightOuter(constraint) => (Side::Right, constraint),
        J::FullOuter(constraint) => (Side::Either, constraint),
        J::CrossJoin(constraint @ JoinConstraint::None) => (Side::Left, constraint),
        _ => return None,
    })
}

fn set_condition(operator: &mut JoinOperator, condition: Expr) {
    use JoinOperator as J;
    match operator {
        J::Join(constraint)
        | J::Inner(constraint)
        | J::Left(constraint)
        | J::LeftOuter(constraint)
        | J::Right(constraint)
        | J::RightOuter(constraint)
        | J::FullOuter(constraint) => *constraint = JoinConstraint::On(condition),
        _ => {}
    }
}

/// A column that a FROM shows.
#[derive(Clone)]
struct Column {
    name: String,
    expr: Expr,
    merged: bool,
}

struct Rewriter<'r> {
    context: &'r Context,
    place: &'r Place<'r>,
}

impl Rewriter<'_> {
    /// `scope`: what WITH has defined so far, outermost first.
    fn query(&self, query: &mut Query, scope: &[Cte]) {
        let mut scope = scope.to_vec();
        let mut with = query.with.take();
        for cte in with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.query(&mut cte.query, &scope);
            scope.push(cte.clone());
        }
        let _: ControlFlow<()> = query.visit(&mut Nested { rewriter: self, scope: &scope, depth: 0 });
        let order = match &mut query.order_by {
            Some(order) => match &mut order.kind {
                OrderByKind::Expressions(order) => order.iter_mut().map(|order| &mut order.expr).collect(),
                OrderByKind::All(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        self.body(&mut query.body, order, &scope);
        query.with = with;
    }

    fn body(&self, body: &mut SetExpr, order: Vec<&mut Expr>, scope: &[Cte]) {
        match body {
            SetExpr::Select(select) if select.from.iter().any(merges) => {
                // All or nothing: half of it would mean something else.
                let mut own = select.as_ref().clone();
                if let Some(shown) = self.select(&mut own, scope) {
                    **select = own;
                    let merged = merged(&shown);
                    order.into_iter().for_each(|expr| order_by(expr, &merged, &select.projection));
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, Vec::new(), scope);
                self.body(right, Vec::new(), scope);
            }
            _ => {}
        }
    }

    /// What the FROM shows, if it could be written out.
    fn select(&self, select: &mut Select, scope: &[Cte]) -> Option<Vec<Column>> {
        let mut shown: Vec<Column> = Vec::new();
        for from in &mut select.from {
            shown.extend(self.from(from, scope)?);
        }
        let merged = merged(&shown);
        let meant = |name: &String| shown.iter().filter(|column| column.name == *name).count() == 1;
        if !merged.keys().all(meant) {
            return None;
        }
        let mut projection = Vec::with_capacity(select.projection.len());
        for item in select.projection.drain(..) {
            match item {
                SelectItem::Wildcard(options) if is_plain(&options) => projection.extend(shown.iter().map(shown_as)),
                SelectItem::Wildcard(_) => return None,
                SelectItem::UnnamedExpr(Expr::Identifier(ident)) => match merged.get(&normal(&ident)) {
                    Some(Expr::CompoundIdentifier(parts)) => {
                        projection.push(SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts.clone())));
                    }
                    Some(expr) => projection.push(SelectItem::ExprWithAlias { expr: expr.clone(), alias: ident }),
                    None => projection.push(SelectItem::UnnamedExpr(Expr::Identifier(ident))),
                },
                mut other => {
                    replace(&mut other, &merged);
                    projection.push(other);
                }
            }
        }
        select.projection = projection;
        if let Some(Distinct::On(columns)) = &mut select.distinct {
            columns.iter_mut().for_each(|expr| replace(expr, &merged));
        }
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            keys.iter_mut().for_each(|expr| replace(expr, &merged));
        }
        for expr in [&mut select.selection, &mut select.having, &mut select.qualify].into_iter().flatten() {
            replace(expr, &merged);
        }
        select.named_window.iter_mut().for_each(|window| replace(window, &merged));
        Some(shown)
    }

    fn from(&self, from: &mut TableWithJoins, scope: &[Cte]) -> Option<Vec<Column>> {
        let mut shown = self.columns(&from.relation, scope)?;
        for Join { relation, join_operator, .. } in &mut from.joins {
            let mut right = self.columns(relation, scope)?;
            let (side, constraint) = constraint_of(join_operator)?;
            let common: Vec<String> = match constraint {
                JoinConstraint::Using(names) => names.iter().map(plain_name).collect::<Option<_>>()?,
                JoinConstraint::Natural => {
                    let common = shown.iter().filter(|column| right.iter().any(|other| other.name == column.name));
                    common.map(|column| column.name.clone()).collect()
                }
                JoinConstraint::On(condition) => {
                    let mut condition = condition.clone();
                    replace(&mut condition, &merged(&shown));
                    set_condition(join_operator, condition);
                    shown.append(&mut right);
                    continue;
                }
                JoinConstraint::None => {
                    shown.append(&mut right);
                    continue;
                }
            };
            let (mut columns, mut condition) = (Vec::with_capacity(common.len()), None);
            for name in common {
                let (left, right) = (take(&mut shown, &name)?, take(&mut right, &name)?);
                let equal = binary(left.expr.clone(), BinaryOperator::Eq, right.expr.clone());
                condition = Some(match condition {
                    None => equal,
                    Some(all) => binary(all, BinaryOperator::And, equal),
                });
                let expr = match side {
                    Side::Left => left.expr,
                    Side::Right => right.expr,
                    Side::Either => call("coalesce", vec![left.expr, right.expr]),
                };
                columns.push(Column { name, expr, merged: true });
            }
            set_condition(join_operator, condition.unwrap_or_else(|| Expr::Value(Value::Boolean(true).into())));
            columns.append(&mut shown);
            columns.append(&mut right);
            shown = columns;
        }
        Some(shown)
    }

    /// The columns of a relation as it is named in the query, if they can be told.
    fn columns(&self, relation: &TableFactor, scope: &[Cte]) -> Option<Vec<Column>> {
        let mut query = everything_of(relation.clone())?;
        if !scope.is_empty() {
            query.with = Some(With { with_token: AttachedToken::empty(), recursive: false, cte_tables: newest(scope) });
        }
        let plan = raw_plan(&query, self.context, self.place).ok()?;
        let columns = plan.schema().iter().map(|(relation, field)| {
            let parts = relation?.to_vec();
            let idents = parts.into_iter().chain([field.name().clone()]).map(|part| Ident::with_quote('"', part));
            let expr = Expr::CompoundIdentifier(idents.collect());
            Some(Column { name: field.name().clone(), expr, merged: false })
        });
        columns.collect()
    }
}

/// Goes to the queries directly inside of one.
struct Nested<'n> {
    rewriter: &'n Rewriter<'n>,
    scope: &'n [Cte],
    depth: usize,
}

impl VisitorMut for Nested<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.depth == 1 {
            self.rewriter.query(query, self.scope);
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// `SELECT * FROM relation`
fn everything_of(relation: TableFactor) -> Option<Query> {
    let mut parser = Parser::new(&DIALECT).try_with_sql("SELECT * FROM relation").ok()?;
    let mut query = *parser.parse_query().ok()?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from.first_mut()?.relation = relation;
    }
    Some(query)
}

/// The definitions without those that a later one hides.
fn newest(scope: &[Cte]) -> Vec<Cte> {
    let name = |cte: &Cte| normal(&cte.alias.name);
    let hidden = |at: usize| scope[at + 1..].iter().any(|later| name(later) == name(&scope[at]));
    (0..scope.len()).filter(|at| !hidden(*at)).map(|at| scope[at].clone()).collect()
}

fn merged(shown: &[Column]) -> BTreeMap<String, Expr> {
    shown.iter().filter(|column| column.merged).map(|column| (column.name.clone(), column.expr.clone())).collect()
}

/// Takes out the one column of this name.
fn take(columns: &mut Vec<Column>, name: &str) -> Option<Column> {
    let mut places = (0..columns.len()).filter(|place| columns[*place].name == name);
    let (place, other) = (places.next()?, places.next());
    if other.is_some() {
        return None;
    }
    Some(columns.remove(place))
}

fn plain_name(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    part.as_ident().map(normal)
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// `*` without EXCLUDE and the like.
fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    let WildcardAdditionalOptions { opt_ilike, opt_exclude, opt_except, opt_replace, opt_rename, opt_alias, .. } =
        options;
    opt_ilike.is_none()
        && opt_exclude.is_none()
        && opt_except.is_none()
        && opt_replace.is_none()
        && opt_rename.is_none()
        && opt_alias.is_none()
}

fn shown_as(column: &Column) -> SelectItem {
    match &column.expr {
        plain @ Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(plain.clone()),
        expr => SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', &column.name) },
    }
}

/// Puts what merged columns mean in the place of their names; not in subqueries, which have columns of their own.
fn replace<T: VisitMut>(part: &mut T, merged: &BTreeMap<String, Expr>) {
    let _: ControlFlow<()> = part.visit(&mut Replacement { merged, depth: 0 });
}

struct Replacement<'m> {
    merged: &'m BTreeMap<String, Expr>,
    depth: usize,
}

impl VisitorMut for Replacement<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && self.depth == 0
            && let Some(meant) = self.merged.get(&normal(ident))
        {
            *expr = meant.clone();
        }
        ControlFlow::Continue(())
    }
}

/// A name alone is that of a column of the output, if there is one.
fn order_by(expr: &mut Expr, merged: &BTreeMap<String, Expr>, projection: &[SelectItem]) {
    let is_shown = |name: &str| {
        projection.iter().any(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => normal(alias) == name,
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                parts.last().map(normal).as_deref() == Some(name)
            }
            _ => false,
        })
    };
    match expr {
        Expr::Identifier(ident) if is_shown(&normal(ident)) => {}
        other => replace(other, merged),
    }
}
