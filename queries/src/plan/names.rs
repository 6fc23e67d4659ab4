//! The names of a job: what is defined twice, which view reads which, and in what order to plan.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Query, TableFactor, Visit as _, Visitor,
};

use crate::diagnostic::{Code, Diagnostic};
use crate::sql::{Job, Name, SinkFrom, Statement, ViewStatement};

/// Two things of one name.
pub(super) fn duplicates(job: &Job) -> Vec<Diagnostic> {
    let mut known: BTreeMap<(&str, &str), &Name> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for statement in &job.statements {
        let (space, what, name) = match statement {
            Statement::Source(source) => ("relation", "source", &source.name),
            Statement::Table(table) => ("relation", "table", &table.name),
            Statement::View(view) if view.replace => continue,
            Statement::View(view) => ("relation", "view", &view.name),
            Statement::Sink(sink) if matches!(sink.from, SinkFrom::Query(..)) => ("relation", "sink", &sink.name),
            Statement::Sink(sink) => ("sink", "sink", &sink.name),
            Statement::Secret(secret) => ("secret", "secret", &secret.name),
            Statement::Set(_) | Statement::Explain(_) => continue,
        };
        if known.insert((space, &name.text), name).is_some() {
            let message = format!("{what} \"{}\" is defined twice", name.text);
            let hint = if what == "view" { "write CREATE OR REPLACE VIEW, or rename it" } else { "rename one of them" };
            mistakes.push(Diagnostic::new(Code::DuplicateName, message, name.span).with_hint(hint));
        }
    }
    mistakes
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
pub(super) fn relations(query: &Query) -> BTreeSet<String> {
    let mut reader = Relations::default();
    let _: ControlFlow<()> = query.visit(&mut reader);
    &reader.found - &reader.own
}

#[derive(Default)]
struct Relations {
    found: BTreeSet<String>,
    own: BTreeSet<String>,
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let own = query.with.iter().flat_map(|with| &with.cte_tables);
        self.own.extend(own.map(|table| normal(&table.alias.name)));
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
        self.found.extend(ident.map(normal));
        ControlFlow::Continue(())
    }
}

fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The view a name reads: itself, or the one whose errors it means.
pub(super) fn view_read<'n>(name: &'n str, views: &BTreeMap<&str, &ViewStatement>) -> Option<&'n str> {
    if views.contains_key(name) {
        return Some(name);
    }
    name.strip_suffix("_errors").filter(|view| views.contains_key(view))
}

/// The views that must be kept: MATERIALIZED, shown by a sink, or asked for their errors.
pub(super) fn maintained(job: &Job, views: &BTreeMap<&str, &ViewStatement>) -> BTreeSet<String> {
    let mut kept: BTreeSet<String> =
        views.values().filter(|view| view.materialized).map(|view| view.name.text.clone()).collect();
    let mut read = BTreeSet::new();
    for statement in &job.statements {
        match statement {
            Statement::View(view) => read.extend(relations(&view.query)),
            Statement::Sink(sink) => match &sink.from {
                SinkFrom::View(name) => kept.extend(view_read(&name.text, views).map(str::to_owned)),
                SinkFrom::Query(query, _) => read.extend(relations(query)),
            },
            _ => {}
        }
    }
    let errors = read.iter().filter(|name| !views.contains_key(name.as_str()));
    kept.extend(errors.filter_map(|name| view_read(name, views)).map(str::to_owned));
    kept
}

/// The views, each after all it reads; views in a circle are left out and named in a diagnostic.
pub(super) fn in_order<'v>(
    job: &'v Job,
    views: &BTreeMap<&'v str, &'v ViewStatement>,
) -> (Vec<&'v ViewStatement>, Vec<Diagnostic>) {
    let mut walk = Walk { views, done: BTreeMap::new(), order: Vec::new(), mistakes: Vec::new() };
    for statement in &job.statements {
        if let Statement::View(view) = statement {
            walk.visit(&view.name.text, &mut Vec::new());
        }
    }
    (walk.order, walk.mistakes)
}

struct Walk<'w, 'v> {
    views: &'w BTreeMap<&'v str, &'v ViewStatement>,
    /// Whether a visited view is free of circles.
    done: BTreeMap<String, bool>,
    order: Vec<&'v ViewStatement>,
    mistakes: Vec<Diagnostic>,
}

impl Walk<'_, '_> {
    fn visit(&mut self, name: &str, path: &mut Vec<String>) -> bool {
        if let Some(sound) = self.done.get(name) {
            return *sound;
        }
        let Some(view) = self.views.get(name).copied() else { return true };
        if let Some(start) = path.iter().position(|on_path| on_path == name) {
            let circle = path[start..].iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" and ");
            let message = match path.len() - start {
                1 => format!("view {circle} reads itself"),
                _ => format!("views {circle} read each other"),
            };
            self.mistakes.push(
                Diagnostic::new(Code::CyclicViews, message, view.name.span)
                    .with_hint("a view can read only views that do not depend on it"),
            );
            return false;
        }
        path.push(name.to_owned());
        let mut sound = true;
        for relation in relations(&view.query) {
            if let Some(read) = view_read(&relation, self.views) {
                sound &= self.visit(read, path);
            }
        }
        path.pop();
        self.done.insert(name.to_owned(), sound);
        if sound {
            self.order.push(view);
        }
        sound
    }
}
