//! The names of a job: what is defined twice, which view reads which, and in what order to plan.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Query, TableFactor, Visit, Visitor, visit_expressions,
};

use crate::diagnostic::{Code, Diagnostic};
use crate::sql::{
    AlertStatement, ExplainStatement, ExplainTarget, Job, Name, SinkFrom, Statement, ViewStatement, normal,
};

/// The relations made of all alerts of a job: what their names stand for is known once all alerts are.
pub(super) const OF_ALL_ALERTS: [&str; 3] = ["alerts", "alert_groups", "deliveries"];

/// Something that other things read by its name.
#[derive(Clone, Copy)]
pub(super) enum Defined<'j> {
    /// A view.
    View(&'j ViewStatement),
    /// An alert.
    Alert(&'j AlertStatement),
}

impl<'j> Defined<'j> {
    pub(super) fn name(self) -> &'j Name {
        match self {
            Defined::View(view) => &view.name,
            Defined::Alert(alert) => &alert.name,
        }
    }

    /// The plain names it reads.
    pub(super) fn reads(self) -> BTreeSet<String> {
        match self {
            Defined::View(view) => relations(&view.query),
            Defined::Alert(alert) => from_reads(&alert.from),
        }
    }
}

/// The plain names that sinks and explanations read.
pub(super) fn read_at_the_end(job: &Job) -> BTreeSet<String> {
    let reads = job.statements.iter().map(|statement| match statement {
        Statement::Sink(sink) => from_reads(&sink.from),
        Statement::Explain(ExplainStatement { target: ExplainTarget::View(name), .. }) => {
            BTreeSet::from([name.text.clone()])
        }
        Statement::Explain(ExplainStatement { target: ExplainTarget::Query(query, _), .. }) => relations(query),
        _ => BTreeSet::new(),
    });
    reads.flatten().collect()
}

fn from_reads(from: &SinkFrom) -> BTreeSet<String> {
    match from {
        SinkFrom::View(name) => BTreeSet::from([name.text.clone()]),
        SinkFrom::Query(query, _) => relations(query),
    }
}

/// Two things of one name.
pub(super) fn duplicates(job: &Job) -> Vec<Diagnostic> {
    let mut known: BTreeMap<(&str, &str), &Name> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for statement in &job.statements {
        let (space, what, name) = match statement {
            Statement::Function(function) if function.replace => continue,
            Statement::Function(function) => ("function", "function", &function.name),
            Statement::Source(source) => ("relation", "source", &source.name),
            Statement::Table(table) => ("relation", "table", &table.name),
            Statement::View(view) if view.replace => continue,
            Statement::View(view) => ("relation", "view", &view.name),
            Statement::Alert(alert) => ("relation", "alert", &alert.name),
            Statement::Sink(sink) if makes_relation(job, &sink.from) => ("relation", "sink", &sink.name),
            Statement::Sink(sink) => ("sink", "sink", &sink.name),
            Statement::Secret(secret) => ("secret", "secret", &secret.name),
            Statement::UnitTest(test) => ("test", "unit test", &test.name),
            // Told where their source is known.
            Statement::Event(_) => continue,
            Statement::Set(_) | Statement::Explain(_) => continue,
        };
        if known.insert((space, &name.text), name).is_some() {
            let message = format!("{what} \"{}\" is defined twice", name.text);
            let hint = match what {
                "view" => "write CREATE OR REPLACE VIEW, or rename it",
                "function" => "write CREATE OR REPLACE FUNCTION, or rename it",
                _ => "rename one of them",
            };
            mistakes.push(Diagnostic::new(Code::DuplicateName, message, name.span).with_hint(hint));
        }
    }
    mistakes
}

/// Whether a sink has a relation of its own name: that of its query, or what it tells of an alert.
fn makes_relation(job: &Job, from: &SinkFrom) -> bool {
    let SinkFrom::View(read) = from else { return true };
    alerts(job).any(|alert| alert.name.text == read.text)
}

/// The alerts of a job.
pub(super) fn alerts(job: &Job) -> impl Iterator<Item = &AlertStatement> {
    job.statements.iter().filter_map(|statement| match statement {
        Statement::Alert(alert) => Some(alert),
        _ => None,
    })
}

/// The views and alerts of a job, the last of each name.
pub(super) fn defined(job: &Job) -> BTreeMap<&str, Defined<'_>> {
    let defined = job.statements.iter().filter_map(|statement| match statement {
        Statement::View(view) => Some((view.name.text.as_str(), Defined::View(view))),
        Statement::Alert(alert) => Some((alert.name.text.as_str(), Defined::Alert(alert))),
        _ => None,
    });
    defined.collect()
}

/// The views of a job, the last of each name.
pub(super) fn views(job: &Job) -> BTreeMap<&str, &ViewStatement> {
    let views = job.statements.iter().filter_map(|statement| match statement {
        Statement::View(view) => Some((view.name.text.as_str(), view)),
        _ => None,
    });
    views.collect()
}

/// The plain names in FROM anywhere in a query, without its own WITH names.
pub(crate) fn relations(query: &Query) -> BTreeSet<String> {
    let mut reader = Relations::default();
    let _: ControlFlow<()> = query.visit(&mut reader);
    reader.found
}

/// The functions that an expression or query calls by a plain name, with sqlparser's places.
pub(crate) fn functions_called<V: Visit>(tree: &V) -> Vec<Ident> {
    let mut called = Vec::new();
    let _: ControlFlow<()> = visit_expressions(tree, |expr| {
        if let Expr::Function(function) = expr
            && let [part] = function.name.0.as_slice()
        {
            called.extend(part.as_ident().cloned());
        }
        ControlFlow::Continue(())
    });
    called
}

#[derive(Default)]
struct Relations {
    found: BTreeSet<String>,
    /// The queries around the place, outermost first.
    around: Vec<Scope>,
}

/// The names that the WITH of a query gives.
struct Scope {
    /// Each with the place of its query in memory, which tells it from other queries.
    names: Vec<(String, *const Query)>,
    recursive: bool,
    /// How many of them hold at the place: a query of WITH that is not recursive sees those before it.
    seen: usize,
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(scope) = self.around.last_mut() {
            let at = scope.names.iter().position(|(_, body)| std::ptr::eq(*body, query));
            scope.seen = at.filter(|_| !scope.recursive).unwrap_or(scope.names.len());
        }
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        let names: Vec<_> = ctes.map(|cte| (normal(&cte.alias.name), std::ptr::from_ref(cte.query.as_ref()))).collect();
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        self.around.push(Scope { seen: names.len(), names, recursive });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.around.pop();
        if let Some(scope) = self.around.last_mut() {
            scope.seen = scope.names.len();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args, .. } = factor else { return ControlFlow::Continue(()) };
        let ident = match args {
            None => match name.0.as_slice() {
                [part] => part.as_ident(),
                _ => None,
            },
            Some(args) => match args.args.first() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident)))) => Some(ident),
                _ => None,
            },
        };
        let name = ident.map(normal);
        let own = |name: &String| {
            self.around.iter().any(|scope| scope.names[..scope.seen].iter().any(|(known, _)| known == name))
        };
        self.found.extend(name.filter(|name| !own(name)));
        ControlFlow::Continue(())
    }
}

/// The view a name reads: itself, or the one whose errors it means.
pub(super) fn view_read<'n, T>(name: &'n str, views: &BTreeMap<&str, T>) -> Option<&'n str> {
    if views.contains_key(name) {
        return Some(name);
    }
    name.strip_suffix("_errors").filter(|view| views.contains_key(view))
}

/// The views that must be kept: MATERIALIZED, shown by a sink, read by an alert, or asked for their errors.
pub(super) fn maintained(job: &Job, views: &BTreeMap<&str, &ViewStatement>) -> BTreeSet<String> {
    let mut kept: BTreeSet<String> =
        views.values().filter(|view| view.materialized).map(|view| view.name.text.clone()).collect();
    let mut read = BTreeSet::new();
    for statement in &job.statements {
        match statement {
            Statement::View(view) => read.extend(relations(&view.query)),
            Statement::Sink(crate::sql::SinkStatement { from, .. }) | Statement::Alert(AlertStatement { from, .. }) => {
                match from {
                    SinkFrom::View(name) => kept.extend(view_read(&name.text, views).map(str::to_owned)),
                    SinkFrom::Query(query, _) => read.extend(relations(query)),
                }
            }
            _ => {}
        }
    }
    let errors = read.iter().filter(|name| !views.contains_key(name.as_str()));
    kept.extend(errors.filter_map(|name| view_read(name, views)).map(str::to_owned));
    kept
}

/// The views and alerts, each after all it reads; those in a circle are left out and named in a diagnostic.
pub(super) fn in_order(job: &Job) -> (Vec<Defined<'_>>, Vec<Diagnostic>) {
    let defined = defined(job);
    let mut walk = Walk { defined: &defined, done: BTreeMap::new(), order: Vec::new(), mistakes: Vec::new() };
    for statement in &job.statements {
        match statement {
            Statement::View(view) => walk.visit(&view.name.text, &mut Vec::new()),
            Statement::Alert(alert) => walk.visit(&alert.name.text, &mut Vec::new()),
            _ => continue,
        };
    }
    (walk.order, walk.mistakes)
}

struct Walk<'w, 'j> {
    defined: &'w BTreeMap<&'j str, Defined<'j>>,
    /// Whether what was visited is free of circles.
    done: BTreeMap<String, bool>,
    order: Vec<Defined<'j>>,
    mistakes: Vec<Diagnostic>,
}

impl Walk<'_, '_> {
    fn visit(&mut self, name: &str, path: &mut Vec<String>) -> bool {
        if let Some(sound) = self.done.get(name) {
            return *sound;
        }
        let Some(defined) = self.defined.get(name).copied() else { return true };
        if let Some(start) = path.iter().position(|on_path| on_path == name) {
            self.mistakes.push(circle(defined, &path[start..]));
            return false;
        }
        path.push(name.to_owned());
        let mut sound = true;
        for relation in defined.reads() {
            for read in self.read_by(&relation) {
                sound &= self.visit(&read, path);
            }
        }
        path.pop();
        self.done.insert(name.to_owned(), sound);
        if sound {
            self.order.push(defined);
        }
        sound
    }

    /// What a name in FROM needs planned before.
    fn read_by(&self, relation: &str) -> Vec<String> {
        if let Some(read) = view_read(relation, self.defined) {
            return vec![read.to_owned()];
        }
        if !OF_ALL_ALERTS.contains(&relation) {
            return Vec::new();
        }
        let alerts = self.defined.values().filter(|defined| matches!(defined, Defined::Alert(_)));
        alerts.map(|alert| alert.name().text.clone()).collect()
    }
}

fn circle(defined: Defined<'_>, path: &[String]) -> Diagnostic {
    let names = path.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" and ");
    let message = match path.len() {
        1 => format!("view {names} reads itself"),
        _ => format!("views {names} read each other"),
    };
    Diagnostic::new(Code::CyclicViews, message, defined.name().span)
        .with_hint("a view can read only views that do not depend on it")
}

#[cfg(test)]
mod tests {
    use datafusion_sql::sqlparser::dialect::GenericDialect;
    use datafusion_sql::sqlparser::parser::Parser;

    fn read(sql: &str) -> Vec<String> {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap();
        super::relations(&parser.parse_query().unwrap()).into_iter().collect()
    }

    #[test]
    fn names_of_with_hold_where_they_are_seen() {
        assert_eq!(read("WITH t AS (SELECT * FROM t) SELECT * FROM t"), ["t"]);
        assert_eq!(read("WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b"), ["b"]);
        assert_eq!(read("WITH RECURSIVE a AS (SELECT * FROM c UNION SELECT * FROM a) SELECT * FROM a"), ["c"]);
        assert_eq!(
            read("WITH a AS (SELECT 1) SELECT * FROM (SELECT * FROM a) JOIN d ON x IN (SELECT y FROM a)"),
            ["d"]
        );
        assert_eq!(read("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) AS s, a"), ["a"]);
    }
}
