//! `CREATE ALERT`: findings from a view, the stories they make, and the relations that show them.
//!
//! An alert becomes three relations: `<alert>` (stories as they are), `<alert>_findings`, and `<alert>_changes`
//! (stories, and what happened to them: what sinks tell). `alert_groups` and `alerts` are those of all alerts
//! together. Options that are expressions are planned like columns of a query over the alert's view.

use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{Expr, Query, SetExpr, Statement as SqlStatement};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use highwater_engine::model::alert::{Severity, finding_schema, story_schema};
use highwater_engine::sink::Closing;
use highwater_operators::alert::changes_schema;
use highwater_operators::alert::signal::SignalColumns;

use super::alert_options::{lifecycle, texts};
use super::context::{BROKEN, Relation};
use super::facts::{ColumnFacts, Facts};
use super::ir::{Emit, Node, NodeKind, StateEntry};
use super::job::{Planned, Planner, unique_names};
use super::lower::{Lowered, duration};
use super::options::Taken;
use super::planned_alert::PlannedAlert;
use super::query::raw_plan;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};
use crate::sql::{AlertStatement, Name, SinkFrom};

/// A planned alert and where its views are.
pub(super) struct Alert {
    pub(super) planned: Arc<PlannedAlert>,
    /// The view of its changes.
    pub(super) changes: usize,
}

/// The options of an alert, in the order of the reference page.
const OPTIONS: [&str; 20] = [
    "key",
    "group_by",
    "dedup_key",
    "dedup_for",
    "severity",
    "score",
    "confidence",
    "healthy",
    "title",
    "body",
    "reason",
    "why",
    "cool_after",
    "resolve_after",
    "open_after",
    "close_after",
    "reopen_within",
    "flap_limit",
    "flap_window",
    "resolve",
];

/// The computed columns behind those of the view.
struct Computed {
    name: String,
    sql: String,
    span: Span,
}

impl Planner<'_> {
    pub(super) fn alert(&mut self, alert: &AlertStatement) -> Result<(), Diagnostic> {
        let (request, _) = self.request(&alert.name, &alert.options, "")?;
        let mut options = Taken::of("alert", &alert.name, request.options, &OPTIONS)?;
        let (from, from_span) = self.alert_input(alert)?;
        let view_columns: Vec<String> = self.columns_of(&from, from_span)?;
        let mut computed = Vec::new();
        let key = key_columns(&mut options, "key", &view_columns, &mut computed)?.ok_or_else(|| {
            Diagnostic::new(
                Code::MissingOption,
                format!("alert \"{}\" needs the option \"key\"", alert.name.text),
                alert.name.span,
            )
            .with_hint("add key = 'column' to WITH (…): what a finding is about")
        })?;
        let group = key_columns(&mut options, "group_by", &view_columns, &mut computed)?.unwrap_or_else(|| key.clone());
        let identity = key_columns(&mut options, "dedup_key", &view_columns, &mut computed)?;
        let severity = severity_sql(&mut options);
        let mut place = |sql: Option<(String, Span)>, name: &str, cast: &str| {
            let (sql, span) = sql?;
            computed.push(Computed { name: format!("__{name}"), sql: format!("CAST(({sql}) AS {cast})"), span });
            Some(view_columns.len() + computed.len() - 1)
        };
        let severity = place(severity, "severity", "VARCHAR");
        let score = place(options.text("score"), "score", "DOUBLE");
        let confidence = place(options.text("confidence"), "confidence", "DOUBLE");
        let healthy = place(options.text("healthy"), "healthy", "BOOLEAN");
        let planned = self.plan_findings(alert, &from, from_span, &computed)?;
        let finding = identity.unwrap_or_else(|| finding_key(&planned, view_columns.len()));
        let columns = SignalColumns {
            input: planned.lowered.node.schema.clone(),
            view_columns: view_columns.len(),
            entity: key,
            group,
            finding,
            time: window_end(alert, &planned)?,
            severity,
            score,
            confidence,
            healthy,
        };
        let lifecycle = lifecycle(&mut options, &columns)?;
        let texts = texts(&mut options, &view_columns)?;
        options.finish()?;
        let planned_alert = Arc::new(PlannedAlert { name: alert.name.text.clone(), columns, lifecycle, texts });
        self.alert_relations(alert, planned, planned_alert)
    }

    /// The relation an alert reads: a view's name, or that of its query put in scope.
    fn alert_input(&mut self, alert: &AlertStatement) -> Result<(String, Span), Diagnostic> {
        match &alert.from {
            SinkFrom::View(name) => {
                if self.context.is_broken(&name.text) {
                    return Err(Diagnostic::new(Code::UnknownTable, BROKEN, name.span));
                }
                if self.context.schema_of(&name.text).is_none() {
                    let message = format!("view \"{}\" does not exist", name.text);
                    let views = self.views.iter().map(|view| view.name.as_str());
                    return Err(Diagnostic::new(Code::UnknownTable, message, name.span)
                        .with_hint_opt(did_you_mean(&name.text, views)));
                }
                Ok((name.text.clone(), name.span))
            }
            SinkFrom::Query(query, span) => {
                let plan = raw_plan(query, &self.context, &self.place(*span))?;
                let schema = plan.schema().inner().clone();
                let name = format!("{} input", alert.name.text);
                self.context.add_relation(&name, Relation::Inlined(Arc::new(plan)), schema);
                Ok((name, *span))
            }
        }
    }

    fn columns_of(&self, relation: &str, span: Span) -> Result<Vec<String>, Diagnostic> {
        let query = parse_query(&format!("SELECT * FROM {}", quoted(relation)), span)?;
        let plan = raw_plan(&query, &self.context, &self.made_place(span))?;
        Ok(plan.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    /// The view with the computed columns behind it.
    fn plan_findings(
        &self,
        alert: &AlertStatement,
        from: &str,
        from_span: Span,
        computed: &[Computed],
    ) -> Result<Planned, Diagnostic> {
        let from = quoted(from);
        let mut columns = String::new();
        for column in computed {
            // Alone first, so that a mistake in it is shown at its place.
            let query = parse_query(&format!("SELECT {} FROM {from}", column.sql), column.span)?;
            let plan = raw_plan(&query, &self.context, &self.made_place(column.span))?;
            self.lower_at(&alert.name.text, plan, self.made_place(column.span), true)?;
            columns.push_str(&format!(", {} AS {}", column.sql, quoted(&column.name)));
        }
        let query = parse_query(&format!("SELECT *{columns} FROM {from}"), from_span)?;
        let plan = raw_plan(&query, &self.context, &self.made_place(from_span))?;
        let planned = self.lower_at(&alert.name.text, plan, self.made_place(from_span), false)?;
        unique_names(&planned.lowered.node.schema, &self.made_place(from_span))?;
        Ok(planned)
    }

    /// Keeps the relations of an alert and puts them in scope.
    fn alert_relations(
        &mut self,
        alert: &AlertStatement,
        input: Planned,
        planned: Arc<PlannedAlert>,
    ) -> Result<(), Diagnostic> {
        let name = &alert.name.text;
        let Planned { lowered: Lowered { node, .. }, state, .. } = input;
        let after = |ms: i64| duration(ms);
        let stories = StateEntry {
            id: format!("{name}/stories"),
            operator: "stories",
            key: names_of(&node, &planned.columns.group),
            bound: format!("silence of {} and finality", after(planned.lifecycle.resolve_after_ms)),
            unbounded: false,
        };
        let findings = StateEntry {
            id: format!("{name}/findings"),
            operator: "findings",
            key: names_of(&node, &planned.columns.finding),
            bound: format!("{} and finality", after(planned.lifecycle.same_for_ms)),
            unbounded: false,
        };
        let schema = changes_schema();
        let kind = NodeKind::Stories { id: stories.id.clone(), input: Box::new(node.clone()), alert: planned.clone() };
        let changes = self.keep_made(alert, "_changes", Node { kind, schema }, vec![stories], state.clone());
        let kind = NodeKind::Findings { id: findings.id.clone(), input: Box::new(node), alert: planned.clone() };
        self.keep_made(alert, "_findings", Node { kind, schema: finding_schema() }, vec![findings], state);
        let shown: Vec<String> = story_schema().fields().iter().map(|field| quoted(field.name())).collect();
        let query =
            format!("SELECT {} FROM {} WHERE \"change\" IS NULL", shown.join(", "), quoted(&format!("{name}_changes")));
        self.keep_query(&alert.name, &query)?;
        self.alerts.push(Alert { planned, changes });
        Ok(())
    }

    /// Keeps a relation whose node was made by hand.
    fn keep_made(
        &mut self,
        alert: &AlertStatement,
        suffix: &str,
        node: Node,
        own: Vec<StateEntry>,
        mut state: Vec<StateEntry>,
    ) -> usize {
        state.extend(own);
        let name = Name { text: format!("{}{suffix}", alert.name.text), span: alert.name.span };
        self.keep_node(&name, node, state)
    }

    /// Keeps a node as the view of a name and puts it in scope.
    pub(super) fn keep_node(&mut self, name: &Name, node: Node, state: Vec<StateEntry>) -> usize {
        let facts = Facts { columns: vec![ColumnFacts::default(); node.schema.fields().len()], ..Facts::default() };
        let schema = node.schema.clone();
        let index = self.keep(name, Planned { lowered: Lowered { node, facts }, shown: None, state }, |_| {});
        self.context.add_relation(&name.text, Relation::View(index), schema);
        index
    }

    /// Keeps a query of our own as the view of a name and puts it in scope.
    pub(super) fn keep_query(&mut self, name: &Name, query: &str) -> Result<usize, Diagnostic> {
        let query = parse_query(query, name.span)?;
        let plan = raw_plan(&query, &self.context, &self.made_place(name.span))?;
        let planned = self.lower_at(&name.text, plan, self.made_place(name.span), true)?;
        let index = self.keep(name, planned, |_| {});
        let schema = self.views[index].schema.clone();
        self.context.add_relation(&name.text, Relation::View(index), schema);
        Ok(index)
    }

    /// Puts `alerts`, `alert_groups` and `deliveries` in scope if one of them is read; all alerts are planned then.
    pub(super) fn offer_alert_relations(&mut self, reads: &std::collections::BTreeSet<String>) {
        let wanted = |name: &str| reads.contains(name);
        if self.alerts.is_empty() {
            return;
        }
        for (name, suffix) in [("alerts", "_findings"), ("alert_groups", "")] {
            if !wanted(name) || self.context.schema_of(name).is_some() {
                continue;
            }
            let each = self
                .alerts
                .iter()
                .map(|alert| format!("SELECT * FROM {}", quoted(&format!("{}{suffix}", alert.planned.name))));
            let query = each.collect::<Vec<_>>().join(" UNION ALL ");
            self.keep_of_all(name, &query);
        }
        if wanted("deliveries") {
            self.tell_alerts();
            self.offer_deliveries();
        }
    }

    /// Keeps a relation of all alerts.
    pub(super) fn keep_of_all(&mut self, name: &str, query: &str) {
        let span = self.views[self.alerts[0].changes].span;
        if let Err(mistake) = self.keep_query(&Name { text: name.to_owned(), span }, query) {
            self.blame(mistake);
        }
    }
}

fn names_of(node: &Node, columns: &[usize]) -> String {
    columns.iter().map(|column| node.schema.field(*column).name().as_str()).collect::<Vec<_>>().join(", ")
}

/// A name in double quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A query made of an option's text: what is wrong with it is wrong at the option.
pub(super) fn parse_query(text: &str, span: Span) -> Result<Query, Diagnostic> {
    let parsed = Parser::parse_sql(&GenericDialect {}, text);
    match parsed.as_deref() {
        Ok([SqlStatement::Query(query)]) => Ok(query.as_ref().clone()),
        _ => Err(Diagnostic::new(Code::Syntax, "this is not an expression", span)),
    }
}

/// The columns an option names; expressions become computed columns.
fn key_columns(
    options: &mut Taken,
    name: &str,
    view_columns: &[String],
    computed: &mut Vec<Computed>,
) -> Result<Option<Vec<usize>>, Diagnostic> {
    let Some((text, span)) = options.text(name) else { return Ok(None) };
    let query = parse_query(&format!("SELECT {text}"), span)?;
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(Diagnostic::new(Code::Syntax, "this is not a list of columns", span));
    };
    let mut columns = Vec::new();
    for item in &select.projection {
        use datafusion_sql::sqlparser::ast::SelectItem;
        let SelectItem::UnnamedExpr(expr) = item else {
            return Err(Diagnostic::new(Code::Syntax, "this is not a list of columns", span));
        };
        let column = match expr {
            Expr::Identifier(ident) => {
                let wanted = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
                let found = view_columns.iter().position(|column| *column == wanted);
                Some(found.ok_or_else(|| {
                    Diagnostic::new(
                        Code::UnknownColumn,
                        format!("column \"{wanted}\" does not exist in the alert's view"),
                        span,
                    )
                    .with_hint_opt(did_you_mean(&wanted, view_columns.iter().map(String::as_str)))
                })?)
            }
            _ => None,
        };
        columns.push(column.unwrap_or_else(|| {
            computed.push(Computed { name: format!("__{name}_{}", computed.len()), sql: expr.to_string(), span });
            view_columns.len() + computed.len() - 1
        }));
    }
    Ok(Some(columns))
}

/// The severity as an expression; one of the four words stands for itself.
fn severity_sql(options: &mut Taken) -> Option<(String, Span)> {
    let (text, span) = options.text("severity")?;
    let word = Severity::parse(&text).map(|severity| format!("'{severity}'"));
    Some((word.unwrap_or(text), span))
}

/// What makes two rows the same finding: the key of the view, else all its columns.
fn finding_key(planned: &Planned, view_columns: usize) -> Vec<usize> {
    let key = planned
        .lowered
        .facts
        .key
        .clone()
        .filter(|key| !key.is_empty() && key.iter().all(|column| *column < view_columns));
    key.unwrap_or_else(|| (0..view_columns).collect())
}

/// The time at which a row counts, for an alert at window close.
fn window_end(alert: &AlertStatement, planned: &Planned) -> Result<Option<usize>, Diagnostic> {
    let Some(clause) = alert.emit else { return Ok(None) };
    match clause.emit {
        Emit::Changes => Ok(None),
        Emit::OnFinality => Err(Diagnostic::new(Code::EmitImpossible, "an alert has no EMIT ON FINALITY", clause.span)
            .with_hint("EMIT ON FINALITY belongs to the sink: stories are known before they are final")),
        Emit::OnWindowClose => {
            let schema = &planned.lowered.node.schema;
            let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
            match planned.lowered.facts.closing(&types) {
                Some(closing) if closing.offset_ms == 0 && !planned.lowered.facts.linear => match closing.closing {
                    Closing::Time(column) => Ok(Some(column)),
                    Closing::Block(_) => Err(no_window(clause.span)),
                },
                _ => Err(no_window(clause.span)),
            }
        }
    }
}

fn no_window(span: Span) -> Diagnostic {
    Diagnostic::new(Code::EmitImpossible, "the alert's view has no window that closes", span)
        .with_hint("select window_end, and group by the window of a TUMBLE or HOP")
}
