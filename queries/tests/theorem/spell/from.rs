//! What a query is over.

use super::{Column, Dialect, Kind, Speller, Text, list, of_kind, pickable, qualified, stamp};
use crate::ast::{Call, From, Inner, JoinKind, On, Pick, Recursive, Simple, TimeWindow};

impl Speller {
    /// The text behind FROM and the columns in scope.
    pub(super) fn from(&mut self, from: &From) -> Text {
        match from {
            From::Table(table) => {
                let (relation, alias) = (self.relation(*table), self.alias());
                (format!("{} AS {alias}", relation.name), qualified(&relation.columns, &alias))
            }
            From::Windowed { table, time, window } => self.windowed(*table, *time, window),
            From::Derived(body) => {
                let (text, columns) = self.body(body);
                let alias = self.alias();
                (format!("({text}) AS {alias}"), qualified(&columns, &alias))
            }
            From::Join { kind, left, right, on, residual } => self.join(*kind, [left, right], on, residual.as_ref()),
            From::Lateral { left, inner, call } => self.lateral(left, inner, call.as_ref()),
        }
    }

    fn join(&mut self, kind: JoinKind, sides: [&From; 2], on: &[On], residual: Option<&Simple>) -> Text {
        let (left, left_columns) = self.from(sides[0]);
        let (right, right_columns) = self.from(sides[1]);
        let right = match sides[1] {
            From::Join { .. } | From::Lateral { .. } => format!("({right})"),
            _ => right,
        };
        let mut conditions: Vec<String> = Vec::new();
        for on in on {
            conditions.extend(equality(on, &left_columns, &right_columns));
        }
        let scope = [left_columns, right_columns].concat();
        conditions.extend(residual.map(|residual| self.simple(residual, &scope)));
        let word = match kind {
            JoinKind::Inner if conditions.is_empty() => return (format!("{left} CROSS JOIN {right}"), scope),
            JoinKind::Inner => "JOIN",
            JoinKind::Left => "LEFT JOIN",
            JoinKind::Right => "RIGHT JOIN",
            JoinKind::Full => "FULL JOIN",
        };
        let condition = if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") };
        (format!("{left} {word} {right} ON {condition}"), scope)
    }

    fn lateral(&mut self, left: &From, inner: &Inner, call: Option<&Call>) -> Text {
        let (left, mut scope) = self.from(left);
        let columns = self.relation(inner.table).columns;
        let shown = pickable(&columns, inner.shown).cloned();
        let name = self.name();
        let (text, kind) = match call {
            // The alias of the table is the next one.
            Some(call) => {
                let alias = format!("t{}", self.next + 1);
                let made = self.aggregate(call, &qualified(&columns, &alias));
                (self.inner(inner, &scope, &|_| format!("{} AS {name}", made.sql), None), made.kind)
            }
            None => {
                let kind = shown.as_ref().map_or(Kind::Int, |column| column.kind);
                let show = |columns: &[Column]| {
                    let column = pickable(columns, inner.shown).map_or("1", |column| column.sql.as_str());
                    format!("{column} AS {name}")
                };
                (self.inner(inner, &scope, &show, None), kind)
            }
        };
        let alias = self.alias();
        scope.push(Column { sql: format!("{alias}.{name}"), kind, base: String::new() });
        (format!("{left} CROSS JOIN LATERAL ({text}) AS {alias}"), scope)
    }

    fn windowed(&mut self, table: Pick, time: Pick, window: &TimeWindow) -> Text {
        let relation = self.relation(table);
        let alias = self.alias();
        let Some(time) = of_kind(&relation.columns, time, &[Kind::Time]).map(|column| column.sql.clone()) else {
            return (format!("{} AS {alias}", relation.name), qualified(&relation.columns, &alias));
        };
        let key = match window {
            TimeWindow::Session { key: Some(key), .. } => pickable(&relation.columns, *key),
            _ => None,
        };
        let key = key.map(|column| column.sql.clone());
        let name = &relation.name;
        let text = match (self.dialect, window) {
            (Dialect::Ours, TimeWindow::Tumble { size }) => {
                format!("TUMBLE({name}, {time}, INTERVAL '{size} seconds')")
            }
            (Dialect::Ours, TimeWindow::Hop { slide, size }) => {
                format!("HOP({name}, {time}, INTERVAL '{slide} seconds', INTERVAL '{size} seconds')")
            }
            (Dialect::Ours, TimeWindow::Cumulate { step, steps }) => {
                let size = step * steps;
                format!("CUMULATE({name}, {time}, INTERVAL '{step} seconds', INTERVAL '{size} seconds')")
            }
            (Dialect::Ours, TimeWindow::Session { gap, .. }) => {
                let key = key.map_or_else(String::new, |key| format!(", {key}"));
                format!("SESSION({name}, {time}, INTERVAL '{gap} seconds'{key})")
            }
            (_, TimeWindow::Tumble { size }) => shifted(name, &time, *size, *size, None),
            (_, TimeWindow::Hop { slide, size }) => shifted(name, &time, *slide, *size, None),
            (_, TimeWindow::Cumulate { step, steps }) => shifted(name, &time, *step, step * steps, Some(*steps)),
            (_, TimeWindow::Session { gap, .. }) => {
                sessions(name, &list(&relation.columns), &time, *gap, &key.unwrap_or_else(|| "1".to_owned()))
            }
        };
        let mut columns = relation.columns;
        for name in ["window_start", "window_end"] {
            columns.push(Column { sql: name.to_owned(), kind: Kind::Time, base: name.to_owned() });
        }
        (format!("{text} AS {alias}"), qualified(&columns, &alias))
    }

    pub(super) fn recursive(&mut self, recursive: &Recursive) -> Text {
        let (relation, name) = (self.relation(recursive.table), self.alias());
        let ends = (of_kind(&relation.columns, recursive.from, &[Kind::Int])).zip(of_kind(
            &relation.columns,
            recursive.to,
            &[Kind::Int],
        ));
        let (first, second) = (self.alias(), self.alias());
        let columns = self.integers(3);
        let (from, to) = ends.map_or(("1", "2"), |(from, to)| (from.sql.as_str(), to.sql.as_str()));
        let end = |alias: &str, column: &str| match column.parse::<i64>() {
            Ok(_) => format!("CAST({column} AS BIGINT)"),
            // Never without NULLs: DataFusion wants the terms to agree about them.
            Err(_) => format!("nullif(CAST({alias}.{column} AS BIGINT) % 5, 9)"),
        };
        let filter = recursive.filter.as_ref();
        let filter = filter.map(|filter| self.simple(filter, &qualified(&relation.columns, &first)));
        let filter = filter.map_or_else(String::new, |filter| format!(" WHERE {filter}"));
        let (union, depth, deeper, stop) = match recursive.steps {
            None => ("UNION", "0", format!("{name}.d"), String::new()),
            Some(steps) => ("UNION ALL", "0", format!("{name}.d + 1"), format!(" WHERE {name}.d < {steps}")),
        };
        let text = format!(
            "WITH RECURSIVE {name} (x, y, d) AS (SELECT {} AS x, {} AS y, CAST({depth} AS BIGINT) AS d FROM {} AS {first}{filter} \
             {union} SELECT {name}.x AS x, {} AS y, {deeper} AS d FROM {name} JOIN {} AS {second} ON {name}.y = {}{stop}) \
             SELECT x AS {}, y AS {}, d AS {} FROM {name}",
            end(&first, from),
            end(&first, to),
            relation.name,
            end(&second, to),
            relation.name,
            end(&second, from),
            columns[0].sql,
            columns[1].sql,
            columns[2].sql,
        );
        (text, columns)
    }

    pub(super) fn components(&mut self, table: Pick, from: Pick, to: Pick) -> Text {
        let (relation, name) = (self.relation(table), self.alias());
        let ends = (of_kind(&relation.columns, from, &[Kind::Int])).zip(of_kind(&relation.columns, to, &[Kind::Int]));
        let (from, to) = ends.map_or(("1", "2"), |(from, to)| (from.sql.as_str(), to.sql.as_str()));
        let columns = self.integers(2);
        let shown = [&columns[0].sql, &columns[1].sql];
        let end = |column: &str| format!("nullif(CAST({column} AS BIGINT) % 9, 9)");
        let (from, to) = (end(from), end(to));
        if self.is_ours() {
            let call = format!("CONNECTED_COMPONENTS({}, {from}, {to})", relation.name);
            return (format!("SELECT node AS {}, component AS {} FROM {call} AS {name}", shown[0], shown[1]), columns);
        }
        let edges = format!(
            "SELECT {from} AS a, {to} AS b FROM {0} AS e UNION ALL SELECT {to}, {from} FROM {0} AS e",
            relation.name
        );
        let text = format!(
            "WITH RECURSIVE {name} (x, y) AS (SELECT a, b FROM ({edges}) AS e1 WHERE a IS NOT NULL AND b IS NOT NULL \
             UNION SELECT {name}.x, e2.b FROM {name} JOIN ({edges}) AS e2 ON {name}.y = e2.a WHERE e2.b IS NOT NULL) \
             SELECT x AS {}, min(y) AS {} FROM {name} GROUP BY x",
            shown[0], shown[1]
        );
        (text, columns)
    }

    fn integers(&mut self, count: usize) -> Vec<Column> {
        (0..count).map(|_| Column { sql: self.name(), kind: Kind::Int, base: String::new() }).collect()
    }
}

fn equality(on: &On, left: &[Column], right: &[Column]) -> Option<String> {
    let (one, other) = match on {
        On::Kind(one, other) => {
            let one = pickable(left, *one)?;
            (one, of_kind(right, *other, &[one.kind])?)
        }
        On::Same(pick) => {
            let same =
                |one: &Column, other: &Column| !one.base.is_empty() && one.base == other.base && one.kind == other.kind;
            let mut pairs = Vec::new();
            for one in left {
                pairs.extend(right.iter().filter(|other| same(one, other)).map(|other| (one, other)));
            }
            let count = pairs.len();
            pairs.into_iter().nth(usize::from(pick.0) % count.max(1))?
        }
    };
    Some(format!("{} = {}", one.sql, other.sql))
}

/// Windows of a slide as the sum of the shifted ones. A window that grows step by step to a size instead has its
/// start where the size says.
pub(crate) fn shifted(name: &str, time: &str, slide: i64, size: i64, growing: Option<i64>) -> String {
    let (slide_ms, size_ms) = (slide * 1000, size * 1000);
    let millis = format!("arrow_cast({}, 'Int64')", stamp(time));
    let part = |index: i64| {
        let (start, end, condition) = match growing {
            None => {
                let start = format!("({millis} - {millis} % {slide_ms} - {})", index * slide_ms);
                let end = format!("({start} + {size_ms})");
                (start.clone(), end, format!("{start} > {millis} - {size_ms}"))
            }
            Some(_) => {
                let start = format!("({millis} - {millis} % {size_ms})");
                let end = format!("({start} + {})", (index + 1) * slide_ms);
                (start, end.clone(), format!("{end} > {millis}"))
            }
        };
        let (start, end) = (stamp(&start), stamp(&end));
        format!("SELECT *, {start} AS window_start, {end} AS window_end FROM {name} AS e WHERE {condition}")
    };
    let parts = growing.unwrap_or((size_ms + slide_ms - 1) / slide_ms);
    format!("({})", (0..parts).map(part).collect::<Vec<_>>().join(" UNION ALL "))
}

/// Sessions as gaps and islands.
pub(crate) fn sessions(name: &str, columns: &str, time: &str, gap: i64, key: &str) -> String {
    let gap_ms = gap * 1000;
    let millis = format!("arrow_cast({}, 'Int64')", stamp(time));
    let before = format!("lag({millis}) OVER (PARTITION BY {key} ORDER BY {time})");
    let marked = format!(
        "SELECT *, CASE WHEN {before} IS NULL OR {millis} - {before} >= {gap_ms} THEN 1 ELSE 0 END AS begins \
         FROM {name} AS e WHERE {time} IS NOT NULL"
    );
    let numbered =
        format!("SELECT *, sum(begins) OVER (PARTITION BY {key} ORDER BY {time}) AS island FROM ({marked}) AS m");
    let (start, end) = (
        stamp(&format!("min({millis}) OVER (PARTITION BY {key}, island)")),
        stamp(&format!("max({millis}) OVER (PARTITION BY {key}, island) + {gap_ms}")),
    );
    format!("(SELECT {columns}, {start} AS window_start, {end} AS window_end FROM ({numbered}) AS n)")
}
