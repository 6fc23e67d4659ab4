//! SELECT and set operations.

use super::over::total;
use super::{Column, Dialect, Kind, Speller, Text, list, of_kind, pickable, several, stamp};
use crate::ast::{Call, From, Pick, Scalar, Select, SetOperation, Shape};

impl Speller {
    pub(super) fn select(&mut self, select: &Select) -> Text {
        let (from, scope) = self.from(&select.from);
        let mut conditions = Vec::new();
        if let From::Table(table) = &select.from
            && self.relation(*table).blocks
            && let Some((seconds, newer)) = select.recent
            && let Some(time) = scope.iter().find(|column| column.base == "block_timestamp")
        {
            let now = match self.dialect {
                Dialect::Ours => "now()".to_owned(),
                Dialect::Oracle { now_ms } => stamp(&now_ms.to_string()),
            };
            let operator = if newer { ">" } else { "<=" };
            conditions.push(format!("{} {operator} {now} - INTERVAL '{seconds} seconds'", time.sql));
        }
        conditions.extend(select.filter.as_ref().map(|filter| self.condition(filter, &scope)));
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let from = format!("FROM {from}{filter}");
        self.shape(&select.shape, &from, &scope)
    }

    fn shape(&mut self, shape: &Shape, from: &str, scope: &[Column]) -> Text {
        match shape {
            Shape::Project { columns, distinct } => {
                let mut columns: Vec<Column> = columns.iter().map(|column| self.scalar(column, scope)).collect();
                looked_at(&mut columns, "7");
                let (list, columns) = self.shown(&columns);
                let distinct = if *distinct && !approximate(&columns) { "DISTINCT " } else { "" };
                (format!("SELECT {distinct}{list} {from}"), columns)
            }
            Shape::Group { keys, calls, having } => self.group(keys, calls, *having, from, scope),
            Shape::Over { kept, calls, qualify } => {
                let mut columns = several(scope, kept);
                columns.extend(calls.iter().map(|call| self.over_call(call, &calls[0], scope)));
                let (list, columns) = self.shown(&columns);
                let qualify = qualify.and_then(|(which, last)| {
                    let call = calls.first().filter(|_| scope.iter().any(|column| column.kind != Kind::Approximate))?;
                    Some(format!(" QUALIFY {} <= {last}", self.rank(which, call, scope)))
                });
                (format!("SELECT {list} {from}{}", qualify.unwrap_or_default()), columns)
            }
            Shape::Top { kept, order, limit, offset } => {
                let mut kept = several(scope, kept);
                looked_at(&mut kept, "7");
                let order = total(order, scope, &[], &kept).join(", ");
                let (list, columns) = self.shown(&kept);
                let offset = if *offset == 0 { String::new() } else { format!(" OFFSET {offset}") };
                (format!("SELECT {list} {from} ORDER BY {order} LIMIT {limit}{offset}"), columns)
            }
            Shape::DistinctOn { on, order, kept } => {
                let (on, kept) = (several(scope, on), several(scope, kept));
                let mut keys: Vec<String> = on.iter().map(|column| column.sql.clone()).collect();
                keys.extend(total(order, scope, &on, &kept));
                let (shown, columns) = self.shown(&kept);
                (format!("SELECT DISTINCT ON ({}) {shown} {from} ORDER BY {}", list(&on), keys.join(", ")), columns)
            }
        }
    }

    fn group(
        &mut self,
        keys: &[Scalar],
        calls: &[Call],
        having: Option<(u8, Pick, i8)>,
        from: &str,
        scope: &[Column],
    ) -> Text {
        let mut columns: Vec<Column> = Vec::new();
        for key in keys {
            let key = match key {
                Scalar::Subquery { inner, .. } | Scalar::Exists { inner, .. } | Scalar::In { inner, .. } => {
                    self.scalar(&Scalar::Column(inner.shown), scope)
                }
                key => self.scalar(key, scope),
            };
            let constant = key.sql.parse::<i64>().is_ok();
            if !constant && columns.iter().all(|known| known.sql != key.sql) {
                columns.push(key);
            }
        }
        let group = if columns.is_empty() { String::new() } else { format!(" GROUP BY {}", list(&columns)) };
        columns.extend(calls.iter().map(|call| self.aggregate(call, scope)));
        looked_at(&mut columns, "count(*)");
        let having = having.map(|(which, pick, value)| match (which, of_kind(scope, pick, &[Kind::Int])) {
            (1, Some(column)) => format!(" HAVING sum({}) > {value}", column.sql),
            (2, Some(column)) => format!(" HAVING max({}) IS NOT NULL", column.sql),
            _ => format!(" HAVING count(*) > {}", value.unsigned_abs() % 3),
        });
        let (list, columns) = self.shown(&columns);
        (format!("SELECT {list} {from}{group}{}", having.unwrap_or_default()), columns)
    }

    fn scalar(&mut self, scalar: &Scalar, scope: &[Column]) -> Column {
        let made = |sql: String, kind: Kind| Some(Column { sql, kind, base: String::new() });
        let int = |pick: Pick| of_kind(scope, pick, &[Kind::Int]);
        let text = |pick: Pick| of_kind(scope, pick, &[Kind::Text]);
        let (pick, found) = match scalar {
            Scalar::Column(pick) => (*pick, None),
            Scalar::Plus(pick, more) => (*pick, int(*pick).and_then(|x| made(format!("{} + {more}", x.sql), x.kind))),
            Scalar::Minus(one, other) => {
                let sides = int(*one).zip(int(*other));
                (*one, sides.and_then(|(one, other)| made(format!("{} - {}", one.sql, other.sql), one.kind)))
            }
            Scalar::Remainder(pick) => (*pick, int(*pick).and_then(|x| made(format!("{} % 7", x.sql), x.kind))),
            Scalar::Absolute(pick) => (*pick, int(*pick).and_then(|x| made(format!("abs({})", x.sql), x.kind))),
            Scalar::Coalesce(pick, value) => (*pick, self.with_literal(scope, *pick, *value, "coalesce")),
            Scalar::NullIf(pick, value) => (*pick, self.with_literal(scope, *pick, *value, "nullif")),
            Scalar::Upper(pick) => (*pick, text(*pick).and_then(|x| made(format!("upper({})", x.sql), x.kind))),
            Scalar::Concat(one, other) => {
                let sides = text(*one).zip(text(*other));
                (*one, sides.and_then(|(one, other)| made(format!("{} || {}", one.sql, other.sql), one.kind)))
            }
            Scalar::Length(pick) => (*pick, text(*pick).and_then(|x| made(format!("length({})", x.sql), Kind::Int))),
            Scalar::Case { when, then, otherwise } => {
                let case = pickable(scope, *then).and_then(|then| {
                    let otherwise = otherwise.and_then(|value| self.literal(then.kind, value));
                    let otherwise = otherwise.map_or_else(String::new, |value| format!(" ELSE {value}"));
                    let when = self.simple(when, scope);
                    made(format!("CASE WHEN {when} THEN {}{otherwise} END", then.sql), then.kind)
                });
                (*then, case)
            }
            Scalar::Truth(simple) => (Pick(0), made(format!("({})", self.simple(simple, scope)), Kind::Bool)),
            Scalar::Subquery { inner, sum } => {
                let table = self.relation(inner.table).columns;
                let summed = of_kind(&table, inner.shown, &[Kind::Int]).is_some() && *sum;
                let show = |columns: &[Column]| match of_kind(columns, inner.shown, &[Kind::Int]) {
                    Some(column) if summed => format!("sum({})", column.sql),
                    _ => "count(*)".to_owned(),
                };
                let kind = if summed { Kind::Sum } else { Kind::Int };
                (inner.shown, made(format!("({})", self.inner(inner, scope, &show, None)), kind))
            }
            Scalar::Exists { negated, inner } => {
                (inner.shown, made(format!("({})", self.exists_value(*negated, inner, scope)), Kind::Bool))
            }
            Scalar::In { negated, value, inner } => {
                (inner.shown, made(format!("({})", self.in_value(*negated, *value, inner, scope)), Kind::Bool))
            }
        };
        let column = || pickable(scope, pick).cloned();
        found.or_else(column).unwrap_or(Column { sql: "7".to_owned(), kind: Kind::Int, base: String::new() })
    }

    fn with_literal(&self, scope: &[Column], pick: Pick, value: i8, name: &str) -> Option<Column> {
        let column = pickable(scope, pick)?;
        let value = self.literal(column.kind, value)?;
        Some(Column { sql: format!("{name}({}, {value})", column.sql), kind: column.kind, base: String::new() })
    }

    pub(super) fn set(&mut self, operation: SetOperation, all: bool, left: &Select, right: &Select) -> Text {
        let (left, left_columns) = self.select(left);
        let (right, right_columns) = self.select(right);
        let aliases = [self.alias(), self.alias()];
        // Columns of the left side, each with one of its kind on the right.
        let mut pairs: Vec<(Column, Column)> = Vec::new();
        for (index, column) in (0_u8..).zip(&left_columns) {
            let other = of_kind(&right_columns, Pick(index), &[column.kind]);
            pairs.extend(
                other.filter(|_| column.kind != Kind::Approximate).map(|other| (column.clone(), other.clone())),
            );
        }
        if pairs.is_empty() {
            let one = Column { sql: "7".to_owned(), kind: Kind::Int, base: String::new() };
            pairs.push((one.clone(), one));
        }
        let (lefts, rights): (Vec<Column>, Vec<Column>) = pairs.into_iter().unzip();
        let (left_list, columns) = self.shown(&lefts);
        let rights = rights.iter().zip(&columns).map(|(column, name)| format!("{} AS {}", column.sql, name.sql));
        let right_list = rights.collect::<Vec<_>>().join(", ");
        let left = format!("SELECT {left_list} FROM ({left}) AS {}", aliases[0]);
        let right = format!("SELECT {right_list} FROM ({right}) AS {}", aliases[1]);
        let word = match operation {
            SetOperation::Union => "UNION",
            SetOperation::Intersect => "INTERSECT",
            SetOperation::Except => "EXCEPT",
        };
        if !all || self.is_ours() || operation == SetOperation::Union {
            let all = if all { " ALL" } else { "" };
            return (format!("{left} {word}{all} {right}"), columns);
        }
        // The n-th of the equal rows of one side against the n-th of the other.
        let names = list(&columns);
        let numbered = |side: &str, alias: String| {
            format!("SELECT {names}, row_number() OVER (PARTITION BY {names}) AS place FROM ({side}) AS {alias}")
        };
        let (left, right) = (numbered(&left, self.alias()), numbered(&right, self.alias()));
        let alias = self.alias();
        (format!("SELECT {names} FROM ({left} {word} {right}) AS {alias}"), columns)
    }
}

fn approximate(columns: &[Column]) -> bool {
    columns.iter().any(|column| column.kind == Kind::Approximate)
}

/// A column behind the others that may be looked at, if there is none.
fn looked_at(columns: &mut Vec<Column>, expression: &str) {
    if columns.iter().all(|column| column.kind == Kind::Approximate) {
        columns.push(Column { sql: expression.to_owned(), kind: Kind::Int, base: String::new() });
    }
}
