//! A whole job: everything is opened, every view planned, every sink checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder};
use highwater_engine::model::errors_schema;
use highwater_engine::sink::Closing;

use super::alerts::Alert;
use super::catalog::{Catalog, LoadRequest};
use super::context::{BROKEN, Context, Relation};
use super::dispatch::{OVERALL_LIMIT, Told};
use super::errors::Place;
use super::events;
use super::explain::{self, Names};
use super::ir::{
    Emit, JobPlan, PlannedOption, PlannedSetting, PlannedSink, PlannedView, ReloadedTable, Shown, StateEntry,
    ViewClosing,
};
use super::lower::{Lowered, Lowerer, ViewInfo, of_tables};
use super::mev_settings;
use super::names::{self, Defined};
use super::options::ViewOptions;
use super::prune::{OpenSource, prune};
use super::query::{optimized, raw_plan};
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};
use crate::room::with_room;
use crate::sql::{
    ExplainStatement, ExplainTarget, Job, Name, OptionStatement, OptionValue, QUERY, Statement, ViewStatement,
};

/// The setting of how many megabytes the state of all operators may take.
pub(super) const STATE_LIMIT: &str = "state.limit_mb";

/// Plans a job. Everything wrong with it is told at once, in the order of the text; a view that reads
/// a broken view is not blamed for it.
pub fn plan(job: &Job, catalog: &mut dyn Catalog) -> Result<JobPlan, Vec<Diagnostic>> {
    with_room(|| plan_here(job, catalog))
}

fn plan_here(job: &Job, catalog: &mut dyn Catalog) -> Result<JobPlan, Vec<Diagnostic>> {
    let mut planner = Planner {
        job,
        catalog,
        context: Context::new(),
        secrets: BTreeMap::new(),
        sources: Vec::new(),
        reloaded: Vec::new(),
        views: Vec::new(),
        infos: Vec::new(),
        sinks: Vec::new(),
        alerts: Vec::new(),
        told: BTreeMap::new(),
        alerts_told: false,
        state: Vec::new(),
        mistakes: names::duplicates(job),
    };
    let settings = planner.settings();
    planner.define_functions();
    planner.open();
    planner.offer_block_relations();
    planner.offer_events();
    planner.plan_views();
    planner.plan_sinks();
    let explains = planner.explains();
    planner.finish(settings, explains)
}

pub(super) struct Planner<'j> {
    pub(super) job: &'j Job,
    pub(super) catalog: &'j mut dyn Catalog,
    pub(super) context: Context,
    secrets: BTreeMap<String, String>,
    pub(super) sources: Vec<OpenSource>,
    pub(super) reloaded: Vec<ReloadedTable>,
    pub(super) views: Vec<PlannedView>,
    pub(super) infos: Vec<ViewInfo>,
    pub(super) sinks: Vec<PlannedSink>,
    pub(super) alerts: Vec<Alert>,
    /// What sinks tell of alerts, by the sink's name.
    pub(super) told: BTreeMap<String, Told>,
    /// Whether that was planned.
    pub(super) alerts_told: bool,
    pub(super) state: Vec<StateEntry>,
    pub(super) mistakes: Vec<Diagnostic>,
}

/// What a view's query became.
pub(super) struct Planned {
    pub(super) lowered: Lowered,
    pub(super) shown: Option<Shown>,
    pub(super) state: Vec<StateEntry>,
}

impl<'j> Planner<'j> {
    fn settings(&mut self) -> Vec<PlannedSetting> {
        let mut settings = Vec::new();
        for statement in &self.job.statements {
            let Statement::Set(set) = statement else { continue };
            let setting =
                PlannedSetting { name: set.name.text.clone(), value: set.value.clone(), span: set.value_span };
            if setting.name == STATE_LIMIT && setting.value.parse::<u64>().is_err() {
                let message = "state.limit_mb is a whole number of megabytes";
                self.mistakes.push(Diagnostic::new(Code::BadOption, message, setting.span));
            }
            if mev_settings::is_mev(&setting.name) || [OVERALL_LIMIT, STATE_LIMIT].contains(&setting.name.as_str()) {
                settings.push(setting);
                continue;
            }
            if let Err(error) = self.catalog.setting(&setting) {
                let option = PlannedOption {
                    name: setting.name.clone(),
                    value: setting.value.clone(),
                    name_span: set.name.span,
                    value_span: set.value_span,
                };
                self.mistakes.push(error.diagnostic("the setting", set.name.span, None, &[option]));
            }
            settings.push(setting);
        }
        settings
    }

    /// Secrets, sources and tables.
    fn open(&mut self) {
        for statement in &self.job.statements {
            if let Statement::Secret(secret) = statement {
                let opened = self.request(&secret.name, &secret.options, "backend").and_then(|(request, at)| {
                    let value = self.catalog.secret(&request);
                    value.map_err(|error| error.diagnostic("the secret", secret.name.span, at, &request.options))
                });
                let value = opened.map_err(|mistake| self.mistakes.push(mistake)).unwrap_or_default();
                self.secrets.insert(secret.name.text.clone(), value);
            }
        }
        for statement in &self.job.statements {
            let (name, result) = match statement {
                Statement::Source(source) => (&source.name, self.open_source(&source.name, &source.options)),
                Statement::Table(table) => (&table.name, self.open_table(table)),
                _ => continue,
            };
            if let Err(mistake) = result {
                self.blame(mistake);
                self.context.add_broken(&name.text);
            }
        }
    }

    fn open_source(&mut self, name: &Name, options: &[OptionStatement]) -> Result<(), Diagnostic> {
        self.context.add_source(&name.text);
        let (request, at) = self.request(name, options, "connector")?;
        let what = format!("source \"{}\"", name.text);
        let tables = self
            .catalog
            .open_source(&request)
            .map_err(|error| error.diagnostic(&what, name.span, at, &request.options))?;
        let source = self.sources.len();
        for (table, opened) in tables.iter().enumerate() {
            let relation = Relation::Chain { source, table };
            self.context.add_chain_table(&name.text, &opened.name, relation, opened.schema.clone());
        }
        self.sources.push(OpenSource { name: name.text.clone(), tables });
        Ok(())
    }

    /// Options with secrets put in, and where the connector's name stands.
    pub(super) fn request(
        &self,
        name: &Name,
        options: &[OptionStatement],
        kind: &str,
    ) -> Result<(LoadRequest, Option<Span>), Diagnostic> {
        let mut resolved = Vec::with_capacity(options.len());
        for option in options {
            resolved.push(self.resolve(option)?);
        }
        let at = resolved.iter().position(|option| option.name == kind);
        let connector = at.map(|at| resolved.remove(at));
        let span = connector.as_ref().map(|option| option.value_span);
        let connector = connector.map(|option| option.value).unwrap_or_default();
        Ok((LoadRequest { name: name.text.clone(), connector, options: resolved, schema: None }, span))
    }

    fn resolve(&self, option: &OptionStatement) -> Result<PlannedOption, Diagnostic> {
        let value = match &option.value {
            OptionValue::Text(text) => text.clone(),
            OptionValue::Secret(name) => self.secrets.get(&name.text).cloned().ok_or_else(|| {
                let hint = did_you_mean(&name.text, self.secrets.keys().map(String::as_str));
                let add = format!("add CREATE SECRET {} WITH (backend = 'env', key = '…')", name.text);
                Diagnostic::new(Code::UnknownSecret, format!("secret \"{}\" does not exist", name.text), name.span)
                    .with_hint(hint.unwrap_or(add))
            })?,
        };
        Ok(PlannedOption {
            name: option.name.text.clone(),
            value,
            name_span: option.name.span,
            value_span: option.value_span,
        })
    }

    fn plan_views(&mut self) {
        let job = self.job;
        let views = names::views(job);
        let kept = names::maintained(job, &views);
        let (order, mistakes) = names::in_order(job);
        self.mistakes.extend(mistakes);
        let ordered: BTreeSet<&str> = order.iter().map(|defined| defined.name().text.as_str()).collect();
        for name in names::defined(job).keys().filter(|name| !ordered.contains(*name)) {
            self.context.add_broken(name);
        }
        for defined in order {
            self.offer_alert_relations(&defined.reads());
            let result = match defined {
                Defined::View(view) if kept.contains(&view.name.text) => self.maintain(view),
                Defined::View(view) => self.inline(view),
                Defined::Alert(alert) => self.alert(alert),
            };
            if let Err(mistake) = result {
                self.blame(mistake);
                self.context.add_broken(&defined.name().text);
            }
        }
        self.tell_alerts();
        self.offer_alert_relations(&names::read_at_the_end(job));
    }

    /// Notes a mistake, unless its cause was noted already.
    pub(super) fn blame(&mut self, mistake: Diagnostic) {
        if mistake.message != BROKEN {
            self.mistakes.push(mistake);
        }
    }

    /// A view that is put in the place of its name; checked here, so that its mistakes have its place.
    fn inline(&mut self, view: &ViewStatement) -> Result<(), Diagnostic> {
        let options = ViewOptions::read(view, self)?;
        let plan = self.view_plan(view)?;
        let planned = self.lower(&view.name.text, plan.clone(), view.query_span, true)?;
        let schema = planned.lowered.node.schema.clone();
        unique_names(&schema, &self.place(view.query_span))?;
        if let Some(option) = options.rest.first() {
            return Err(Diagnostic::new(
                Code::BadOption,
                format!("option \"{}\" needs a view that is kept", option.name),
                option.name_span,
            )
            .with_hint("write CREATE MATERIALIZED VIEW"));
        }
        let schema = plan.schema().inner().clone();
        self.context.add_relation(&view.name.text, Relation::Inlined(Arc::new(plan)), schema);
        Ok(())
    }

    fn maintain(&mut self, view: &ViewStatement) -> Result<(), Diagnostic> {
        let options = ViewOptions::read(view, self)?;
        let plan = self.view_plan(view)?;
        let mut planned = self.lower(&view.name.text, plan, view.query_span, options.unbounded)?;
        if view.emit.is_some_and(|emit| emit != Emit::Changes) {
            planned.lowered = self.when_final(&view.name, planned.lowered)?;
        }
        if planned.shown.is_none() {
            unique_names(&planned.lowered.node.schema, &self.place(view.query_span))?;
        }
        let index = self.keep(&view.name, planned, |kept| {
            kept.on_error_stop = options.on_error_stop;
            kept.materialized = view.materialized;
            kept.options = options.rest;
        });
        let schema = self.views[index].schema.clone();
        self.context.add_relation(&view.name.text, Relation::View(index), schema);
        let errors = format!("{}_errors", view.name.text);
        if self.context.schema_of(&errors).is_none() {
            self.context.add_relation(&errors, Relation::Errors(index), errors_schema());
        }
        Ok(())
    }

    /// Only the rows that are final: what `EMIT ON WINDOW CLOSE` means in a session, where watermarks say it.
    fn when_final(&self, name: &Name, lowered: Lowered) -> Result<Lowered, Diagnostic> {
        let types: Vec<DataType> = lowered.node.schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let closing = lowered.facts.closing(&types);
        let Some(ViewClosing { closing: Closing::Time(column), offset_ms }) = closing else {
            let message = "the rows of this view do not say when they are final";
            let hint = "group by the window of a TUMBLE over a table with WATERMARK FOR, and show the window";
            return Err(Diagnostic::new(Code::EmitImpossible, message, name.span).with_hint(hint));
        };
        Ok(super::lower::only_final(&name.text, lowered, column, offset_ms))
    }

    /// The plan of a view's query with the view's own column names.
    fn view_plan(&self, view: &ViewStatement) -> Result<LogicalPlan, Diagnostic> {
        let place = self.place(view.query_span);
        let plan = raw_plan(&view.query, &self.context, &place)?;
        if view.columns.is_empty() {
            return Ok(plan);
        }
        let width = plan.schema().fields().len();
        if view.columns.len() != width {
            let message =
                format!("view \"{}\" names {} columns, its query has {width}", view.name.text, view.columns.len());
            return Err(Diagnostic::new(Code::Syntax, message, view.name.span));
        }
        let renamed = (0..width).map(|index| {
            let column = datafusion_common::Column::from(plan.schema().qualified_field(index));
            datafusion_expr::Expr::Column(column).alias(view.columns[index].text.clone())
        });
        let renamed: Vec<_> = renamed.collect();
        LogicalPlanBuilder::from(plan)
            .project(renamed)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| place.diagnose(&error))
    }

    pub(super) fn lower(
        &self,
        name: &str,
        plan: LogicalPlan,
        span: Span,
        unbounded: bool,
    ) -> Result<Planned, Diagnostic> {
        self.lower_at(name, plan, self.place(span), unbounded)
    }

    pub(super) fn lower_at(
        &self,
        name: &str,
        plan: LogicalPlan,
        place: Place<'_>,
        unbounded: bool,
    ) -> Result<Planned, Diagnostic> {
        let plan = optimized(plan, &place)?;
        let mut lowerer = Lowerer::new(name, place, &self.infos, unbounded || self.job.in_session);
        if self.job.in_session && name == QUERY {
            lowerer.any_rows = true;
            let (lowered, shown) = lowerer.root_shown(&plan)?;
            return Ok(Planned { lowered, shown: Some(shown), state: lowerer.state });
        }
        let lowered = lowerer.root(&plan)?;
        Ok(Planned { lowered, shown: None, state: lowerer.state })
    }

    pub(super) fn place(&self, within: Span) -> Place<'j> {
        Place { lines: &self.job.lines, within, made: false }
    }

    /// The place of a query that was made of what stands there.
    pub(super) fn made_place(&self, within: Span) -> Place<'j> {
        Place { made: true, ..self.place(within) }
    }

    /// Adds a maintained view; gives its index.
    pub(super) fn keep(&mut self, name: &Name, planned: Planned, amend: impl FnOnce(&mut PlannedView)) -> usize {
        let Planned { lowered: Lowered { mut node, facts }, shown, mut state } = planned;
        super::narrow::narrow(&mut node);
        let repeated = super::same::repeated(&node);
        state.retain(|entry| !repeated.contains(&entry.id));
        let schema = node.schema.clone();
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let mut view = PlannedView {
            name: name.text.clone(),
            schema: schema.clone(),
            key: facts.key.clone(),
            closing: facts.closing(&types),
            linear: facts.linear,
            order: facts.order.clone(),
            shown,
            on_error_stop: false,
            materialized: false,
            of_sink: false,
            options: Vec::new(),
            span: name.span,
            root: node,
        };
        amend(&mut view);
        let of_tables = of_tables(&view.root, &self.infos);
        self.views.push(view);
        self.infos.push(ViewInfo { facts, of_tables });
        for entry in state {
            // Relations of a source are shared: whoever reads them notes their state.
            if self.state.iter().all(|known| known.id != entry.id) {
                self.state.push(entry);
            }
        }
        self.views.len() - 1
    }

    fn explains(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        for statement in &self.job.statements {
            let Statement::Explain(wanted) = statement else { continue };
            match self.explain(wanted) {
                Ok(text) => texts.push(text),
                Err(mistake) => self.blame(mistake),
            }
        }
        texts
    }

    fn explain(&self, wanted: &ExplainStatement) -> Result<String, Diagnostic> {
        let names = Names::of_open(&self.sources, &self.views);
        let (plan, name, span) = match &wanted.target {
            ExplainTarget::Query(query, span) => {
                (raw_plan(query, &self.context, &self.place(*span))?, "query".to_owned(), *span)
            }
            ExplainTarget::View(name) => {
                if let Some(index) = self.view_index(&name.text) {
                    let view = &self.views[index];
                    return Ok(if wanted.state {
                        explain::state_of(view, &self.state)
                    } else {
                        explain::view(view, &names)
                    });
                }
                let statement = names::views(self.job).get(name.text.as_str()).copied();
                let Some(view) = statement else {
                    return Err(self
                        .sink_view(name)
                        .err()
                        .unwrap_or_else(|| Diagnostic::new(Code::UnknownTable, BROKEN, name.span)));
                };
                (self.view_plan(view)?, name.text.clone(), view.query_span)
            }
        };
        let planned = self.lower(&name, plan, span, true)?;
        Ok(if wanted.state {
            explain::state_table(&planned.state)
        } else {
            explain::tree(&planned.lowered.node, &names)
        })
    }

    fn finish(mut self, settings: Vec<PlannedSetting>, explains: Vec<String>) -> Result<JobPlan, Vec<Diagnostic>> {
        if !self.mistakes.is_empty() {
            self.mistakes.sort_by_key(|mistake| mistake.span);
            return Err(self.mistakes);
        }
        events::share(self.views.iter_mut().map(|view| &mut view.root));
        let sources = prune(&self.sources, self.views.iter_mut().map(|view| &mut view.root));
        let Planner { reloaded, views, sinks, state, .. } = self;
        Ok(JobPlan { sources, reloaded, views, sinks, settings, state, explains })
    }
}

pub(super) fn unique_names(schema: &SchemaRef, place: &Place<'_>) -> Result<(), Diagnostic> {
    let mut known = BTreeSet::new();
    for field in schema.fields() {
        if !known.insert(field.name()) {
            let message = format!("two columns are named \"{}\"", field.name());
            let mistake = Diagnostic::new(Code::DuplicateName, message, place.find(field.name()));
            return Err(mistake.with_hint("rename one of them with AS"));
        }
    }
    Ok(())
}

impl JobPlan {
    /// How many bytes the state of all operators may take (`SET state.limit_mb`), if that is limited.
    pub fn state_limit_bytes(&self) -> Option<usize> {
        let setting = self.settings.iter().rev().find(|setting| setting.name == STATE_LIMIT)?;
        let megabytes: usize = setting.value.parse().ok()?;
        megabytes.checked_mul(1 << 20)
    }
}
