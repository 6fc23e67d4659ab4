//! Conditions.

use super::{Column, Kind, Speller, of_kind, pickable, qualified};
use crate::ast::{Condition, Inner, Operand, Pick, Simple};

const OPERATORS: [&str; 8] = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"];

/// How two values of a kind are compared.
fn operator(kind: Kind, pick: Pick) -> &'static str {
    match kind {
        Kind::Bool | Kind::Hash => OPERATORS[[0, 1, 6, 7][usize::from(pick.0) % 4]],
        _ => OPERATORS[usize::from(pick.0) % OPERATORS.len()],
    }
}

/// A comparison in parentheses: the parser takes what stands behind `IS DISTINCT FROM x` for part of `x`.
fn compared(left: &str, operator: &str, right: &str) -> String {
    format!("({left} {operator} {right})")
}

/// A further condition over the columns in scope.
type More<'m> = &'m dyn Fn(&[Column]) -> String;

impl Speller {
    pub(crate) fn simple(&self, condition: &Simple, scope: &[Column]) -> String {
        match condition {
            Simple::And(one, other) => format!("({} AND {})", self.simple(one, scope), self.simple(other, scope)),
            Simple::Or(one, other) => format!("({} OR {})", self.simple(one, scope), self.simple(other, scope)),
            Simple::Not(inner) => format!("NOT ({})", self.simple(inner, scope)),
            Simple::Flag(column) => match of_kind(scope, *column, &[Kind::Bool]) {
                Some(column) => column.sql.clone(),
                None => self.null_test(scope, *column, true),
            },
            Simple::IsNull { column, negated } => self.null_test(scope, *column, *negated),
            Simple::Compare { left, operator, right } => self.compare(scope, *left, *operator, right),
            Simple::InList { column, values, negated } => {
                let Some(column) = pickable(scope, *column) else { return "1 = 1".to_owned() };
                let values = values.iter().filter_map(|value| self.literal(column.kind, *value));
                let values = values.collect::<Vec<_>>().join(", ");
                let not = if *negated { "NOT " } else { "" };
                match values.is_empty() {
                    true => format!("{} IS NOT NULL", column.sql),
                    false => format!("{} {not}IN ({values})", column.sql),
                }
            }
            Simple::Between { column, low, high } => {
                let kinds = [Kind::Int, Kind::Sum, Kind::Rank, Kind::Float, Kind::Decimal, Kind::Time, Kind::Date];
                let Some(column) = of_kind(scope, *column, &kinds) else {
                    return self.null_test(scope, *column, true);
                };
                let (low, high) = (low.min(high), low.max(high));
                let ends = self.literal(column.kind, *low).zip(self.literal(column.kind, *high));
                let (low, high) = ends.unwrap_or_default();
                format!("{} BETWEEN {low} AND {high}", column.sql)
            }
            Simple::Like(column) => match of_kind(scope, *column, &[Kind::Text]) {
                Some(column) => format!("{} LIKE '%e%'", column.sql),
                None => self.null_test(scope, *column, true),
            },
        }
    }

    fn null_test(&self, scope: &[Column], column: Pick, negated: bool) -> String {
        let not = if negated { "NOT " } else { "" };
        match pickable(scope, column) {
            Some(column) => format!("{} IS {not}NULL", column.sql),
            None => "1 = 1".to_owned(),
        }
    }

    fn compare(&self, scope: &[Column], left: Pick, pick: Pick, right: &Operand) -> String {
        let Some(left) = pickable(scope, left) else { return "1 = 1".to_owned() };
        let right = match right {
            Operand::Literal(value) => self.literal(left.kind, *value),
            Operand::Column(pick) => of_kind(scope, *pick, &[left.kind]).map(|column| column.sql.clone()),
        };
        match right {
            Some(right) => compared(&left.sql, operator(left.kind, pick), &right),
            None => format!("{} IS NOT NULL", left.sql),
        }
    }

    pub(super) fn condition(&mut self, condition: &Condition, scope: &[Column]) -> String {
        match condition {
            Condition::Simple(simple) => self.simple(simple, scope),
            Condition::And(one, other) => {
                format!("({} AND {})", self.condition(one, scope), self.condition(other, scope))
            }
            Condition::Or(one, other) => {
                format!("({} OR {})", self.condition(one, scope), self.condition(other, scope))
            }
            Condition::Exists { negated, inner } => {
                let not = if *negated { "NOT " } else { "" };
                format!("{not}EXISTS ({})", self.inner(inner, scope, &|_| "1".to_owned(), None))
            }
            Condition::In { negated, value, inner } => self.in_condition(*negated, *value, inner, scope),
            Condition::Value { left, operator: pick, inner, greatest } => {
                let kinds = [Kind::Int, Kind::Float, Kind::Decimal, Kind::Text, Kind::Time, Kind::Date];
                let table = self.relation(inner.table).columns;
                let Some(value) = of_kind(scope, *left, &kinds).cloned() else { return "1 = 1".to_owned() };
                if of_kind(&table, inner.shown, &[value.kind]).is_none() {
                    return format!("{} IS NOT NULL", value.sql);
                }
                let name = if *greatest { "max" } else { "min" };
                let (kind, pick) = (value.kind, operator(value.kind, *pick));
                let shown = |columns: &[Column]| {
                    let column = of_kind(columns, inner.shown, &[kind]).map(|column| column.sql.clone());
                    format!("{name}({})", column.unwrap_or_default())
                };
                compared(&value.sql, pick, &format!("({})", self.inner(inner, scope, &shown, None)))
            }
            Condition::Count { operator: pick, inner, than } => {
                let counted = self.inner(inner, scope, &|_| "count(*)".to_owned(), None);
                compared(&format!("({counted})"), operator(Kind::Int, *pick), &than.to_string())
            }
        }
    }

    /// `x IN (SELECT …)` as we are asked it; `theirs` spells it for the oracle from the value and the list's column.
    fn in_list(
        &mut self,
        negated: bool,
        value: Pick,
        inner: &Inner,
        scope: &[Column],
        theirs: impl Fn(&mut Self, &str, &dyn Fn(&[Column]) -> String) -> String,
    ) -> String {
        let table = self.relation(inner.table).columns;
        let Some(value) = pickable(scope, value).cloned() else { return "1 = 1".to_owned() };
        if of_kind(&table, inner.shown, &[value.kind]).is_none() {
            return format!("{} IS NOT NULL", value.sql);
        }
        let shown = |columns: &[Column]| {
            let column = of_kind(columns, inner.shown, &[value.kind]).map(|column| column.sql.clone());
            column.unwrap_or_default()
        };
        let not = if negated { "NOT " } else { "" };
        match self.is_ours() {
            true => format!("{} {not}IN ({})", value.sql, self.inner(inner, scope, &shown, None)),
            false => theirs(self, &value.sql, &shown),
        }
    }

    fn in_condition(&mut self, negated: bool, value: Pick, inner: &Inner, scope: &[Column]) -> String {
        self.in_list(negated, value, inner, scope, |speller, value, shown| {
            if !negated {
                return format!("{value} IN ({})", speller.inner(inner, scope, shown, None));
            }
            // True just where no row of the list may be equal.
            let may_equal = |columns: &[Column]| format!("({} = {value}) IS NOT FALSE", shown(columns));
            format!("NOT EXISTS ({})", speller.inner(inner, scope, &|_| "1".to_owned(), Some(&may_equal)))
        })
    }

    /// DataFusion knows it as a condition only.
    pub(super) fn exists_value(&mut self, negated: bool, inner: &Inner, scope: &[Column]) -> String {
        let not = if negated { "NOT " } else { "" };
        match self.is_ours() {
            true => format!("{not}EXISTS ({})", self.inner(inner, scope, &|_| "1".to_owned(), None)),
            false => format!("{not}({})", self.has_rows(inner, scope, None)),
        }
    }

    fn has_rows(&mut self, inner: &Inner, scope: &[Column], more: Option<More<'_>>) -> String {
        format!("({}) > 0", self.inner(inner, scope, &|_| "count(*)".to_owned(), more))
    }

    /// `IN` by the rules of NULL, one by one, for who knows it as a condition only.
    pub(super) fn in_value(&mut self, negated: bool, value: Pick, inner: &Inner, scope: &[Column]) -> String {
        self.in_list(negated, value, inner, scope, |speller, value, shown| {
            let not = if negated { "NOT " } else { "" };
            let equal = |columns: &[Column]| format!("{} = {value}", shown(columns));
            let null = |columns: &[Column]| format!("{} IS NULL", shown(columns));
            let found = speller.has_rows(inner, scope, Some(&equal));
            let any = speller.has_rows(inner, scope, None);
            let unknown = speller.has_rows(inner, scope, Some(&null));
            format!(
                "{not}(CASE WHEN {found} THEN true WHEN {value} IS NULL AND {any} THEN NULL WHEN {unknown} THEN NULL \
                 ELSE false END)"
            )
        })
    }

    /// `SELECT … FROM table WHERE …`, the outer row in scope.
    pub(super) fn inner(
        &mut self,
        inner: &Inner,
        scope: &[Column],
        show: &dyn Fn(&[Column]) -> String,
        more: Option<More<'_>>,
    ) -> String {
        let relation = self.relation(inner.table);
        let alias = self.alias();
        let columns = qualified(&relation.columns, &alias);
        let mut conditions = Vec::new();
        if let Some((outer, own)) = inner.on
            && let Some(outer) = pickable(scope, outer)
            && let Some(own) = of_kind(&columns, own, &[outer.kind])
        {
            conditions.push(format!("{} = {}", own.sql, outer.sql));
        }
        conditions.extend(inner.filter.iter().map(|filter| self.simple(filter, &columns)));
        conditions.extend(more.map(|more| more(&columns)));
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!("SELECT {} FROM {} AS {alias}{filter}", show(&columns), relation.name)
    }
}
