//! A query tree over given tables as SQL, in two spellings: ours and the oracle's.
//!
//! The oracle has no table functions for time and no `now()` of blocks, and is wrong for INTERSECT ALL, EXCEPT ALL
//! and NOT IN with NULLs beside other conditions; these are spelled by what they mean. The rest is one text.

mod condition;
mod from;
mod over;
mod select;

pub(crate) use from::{sessions, shifted};

use crate::ast::{Aggregate, Body, Call, Pick, Query};

/// What a column holds, as far as the generator cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    /// A sum of integers: ours is a decimal, the oracle's an integer.
    Sum,
    /// A rank: unsigned at the oracle.
    Rank,
    Float,
    Decimal,
    Text,
    Bool,
    Time,
    Date,
    Wide,
    Hash,
    /// A value whose last digits depend on the order of evaluation: shown, and never looked at again.
    Approximate,
}

/// Whose SQL is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Ours,
    /// At a block time.
    Oracle {
        now_ms: i64,
    },
}

/// A column in scope.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// As it is written.
    pub(crate) sql: String,
    pub(crate) kind: Kind,
    /// Its name in the table that it comes from.
    pub(crate) base: String,
}

/// A table or view.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    /// As FROM has it.
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// Whether its rows have the time of a block that `now()` may be compared with.
    pub(crate) blocks: bool,
}

/// A query in our spelling.
#[derive(Clone, Debug)]
pub(crate) struct Spelled {
    pub(crate) views: Vec<String>,
    pub(crate) body: String,
}

/// The query over these tables; views are named `v0`, `v1`.
pub(crate) fn ours(query: &Query, tables: Vec<Relation>) -> Spelled {
    let mut speller = Speller::new(Dialect::Ours, tables);
    let mut views = Vec::new();
    for (index, view) in query.views.iter().enumerate() {
        let (text, columns) = speller.body(view);
        speller.relations.push(Relation { name: format!("v{index}"), columns, blocks: false });
        views.push(text);
    }
    Spelled { views, body: speller.body(&query.body).0 }
}

/// The query over these tables as the oracle reads it, at a block time.
pub(crate) fn oracle(query: &Query, tables: Vec<Relation>, now_ms: i64) -> String {
    let mut speller = Speller::new(Dialect::Oracle { now_ms }, tables);
    for view in &query.views {
        let (text, columns) = speller.body(view);
        speller.relations.push(Relation { name: format!("({text})"), columns, blocks: false });
    }
    speller.body(&query.body).0
}

pub(crate) struct Speller {
    pub(crate) dialect: Dialect,
    pub(crate) relations: Vec<Relation>,
    /// The number of the next alias.
    next: usize,
    /// And of the next column. The two spellings agree in it.
    names: usize,
}

/// A query's text and the columns that it has.
pub(crate) type Text = (String, Vec<Column>);

impl Speller {
    pub(crate) fn new(dialect: Dialect, relations: Vec<Relation>) -> Speller {
        Speller { dialect, relations, next: 0, names: 0 }
    }

    fn is_ours(&self) -> bool {
        self.dialect == Dialect::Ours
    }

    fn alias(&mut self) -> String {
        self.next += 1;
        format!("t{}", self.next)
    }

    fn relation(&self, pick: Pick) -> Relation {
        self.relations[usize::from(pick.0) % self.relations.len()].clone()
    }

    /// A query. Its columns have new names.
    pub(crate) fn body(&mut self, body: &Body) -> Text {
        match body {
            Body::Select(select) => self.select(select),
            Body::Set { operation, all, left, right } => self.set(*operation, *all, left, right),
            Body::Recursive(recursive) => self.recursive(recursive),
            Body::Components { table, from, to } => self.components(*table, *from, *to),
        }
    }

    /// A name that no other column has: DataFusion takes an alias for a column of an input of the same name.
    fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    /// A list of expressions with new names: the text and what is known of them outside.
    fn shown(&mut self, expressions: &[Column]) -> Text {
        let columns: Vec<Column> =
            expressions.iter().map(|column| Column { sql: self.name(), ..column.clone() }).collect();
        let list = expressions.iter().zip(&columns).map(|(column, name)| format!("{} AS {}", column.sql, name.sql));
        (list.collect::<Vec<_>>().join(", "), columns)
    }

    fn time(seconds: i64) -> String {
        // The histories begin at 22:13:20.
        let at = 13 * 60 + 20 + seconds;
        format!("TIMESTAMP '2023-11-14 22:{:02}:{:02}'", at / 60, at % 60)
    }

    /// A literal, if the kind has any.
    pub(crate) fn literal(&self, kind: Kind, value: i8) -> Option<String> {
        let positive = i64::from(value.unsigned_abs());
        Some(match kind {
            Kind::Int | Kind::Sum => value.to_string(),
            Kind::Rank => positive.to_string(),
            Kind::Float => format!("{:.1}", f64::from(value) * 0.5),
            Kind::Decimal => format!("CAST('{:.2}' AS DECIMAL(10, 2))", f64::from(value) * 0.25),
            Kind::Text => format!("'{}'", text(value)),
            Kind::Bool => if value % 2 == 0 { "TRUE" } else { "FALSE" }.to_owned(),
            Kind::Time => Speller::time(positive * 7),
            Kind::Date => format!("DATE '2024-01-{:02}'", 1 + positive % 9),
            Kind::Wide if self.is_ours() => format!("CAST({positive} AS UINT256)"),
            Kind::Wide => format!("CAST({positive} AS DECIMAL(38, 0))"),
            Kind::Hash | Kind::Approximate => return None,
        })
    }

    fn aggregate(&mut self, call: &Call, scope: &[Column]) -> Column {
        let numbers = [Kind::Int, Kind::Sum, Kind::Float, Kind::Decimal];
        let ordered =
            [Kind::Int, Kind::Sum, Kind::Float, Kind::Decimal, Kind::Text, Kind::Time, Kind::Date, Kind::Wide];
        let of = |kinds: &[Kind]| of_kind(scope, call.argument, kinds);
        let any = || pickable(scope, call.argument);
        let made = |name: &str, column: Option<&Column>, kind: &dyn Fn(Kind) -> Kind| {
            column.map(|column| (format!("{name}{})", column.sql), kind(column.kind)))
        };
        let found = match call.function {
            Aggregate::CountAll => None,
            Aggregate::Count => made("count(", any(), &|_| Kind::Int),
            Aggregate::CountDistinct => made("count(DISTINCT ", any(), &|_| Kind::Int),
            Aggregate::Sum => made("sum(", of(&numbers), &summed),
            Aggregate::Min => made("min(", of(&ordered), &|kind| kind),
            Aggregate::Max => made("max(", of(&ordered), &|kind| kind),
            Aggregate::Average => made("avg(", of(&[Kind::Int, Kind::Float]), &|_| Kind::Approximate),
            Aggregate::BoolAnd => made("bool_and(", of(&[Kind::Bool]), &|kind| kind),
            Aggregate::BoolOr => made("bool_or(", of(&[Kind::Bool]), &|kind| kind),
        };
        let (mut sql, kind) = found.unwrap_or_else(|| ("count(*)".to_owned(), Kind::Int));
        if let Some(filter) = &call.filter {
            sql = format!("{sql} FILTER (WHERE {})", self.simple(filter, scope));
        }
        Column { sql, kind, base: String::new() }
    }
}

/// The kind of a sum.
fn summed(kind: Kind) -> Kind {
    if kind == Kind::Int { Kind::Sum } else { kind }
}

/// Milliseconds as a timestamp of the oracle.
pub(crate) fn stamp(millis: &str) -> String {
    format!("arrow_cast({millis}, 'Timestamp(Millisecond, Some(\"UTC\"))')")
}

/// The texts there are.
pub(crate) fn text(value: i8) -> &'static str {
    ["a", "b", "c", "weth", ""][usize::from(value.unsigned_abs()) % 5]
}

/// A column of one of these kinds.
fn of_kind<'s>(scope: &'s [Column], pick: Pick, kinds: &[Kind]) -> Option<&'s Column> {
    let fitting: Vec<&Column> = scope.iter().filter(|column| kinds.contains(&column.kind)).collect();
    if fitting.is_empty() { None } else { Some(fitting[usize::from(pick.0) % fitting.len()]) }
}

/// Any column that may be looked at.
fn pickable(scope: &[Column], pick: Pick) -> Option<&Column> {
    let fitting: Vec<&Column> = scope.iter().filter(|column| column.kind != Kind::Approximate).collect();
    if fitting.is_empty() { None } else { Some(fitting[usize::from(pick.0) % fitting.len()]) }
}

/// Columns that may be looked at, each once.
fn several(scope: &[Column], picks: &[Pick]) -> Vec<Column> {
    let mut found: Vec<Column> = Vec::new();
    for pick in picks {
        if let Some(column) = pickable(scope, *pick)
            && found.iter().all(|known| known.sql != column.sql)
        {
            found.push(column.clone());
        }
    }
    found
}

/// The columns of a relation under its alias.
fn qualified(columns: &[Column], alias: &str) -> Vec<Column> {
    let named = |column: &Column| Column { sql: format!("{alias}.{}", column.sql), ..column.clone() };
    columns.iter().map(named).collect()
}

fn list(columns: &[Column]) -> String {
    columns.iter().map(|column| column.sql.as_str()).collect::<Vec<_>>().join(", ")
}
