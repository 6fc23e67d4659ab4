//! Sinks: what they show, when their rows go out, whether they can.

use datafusion_sql::sqlparser::ast::Query;
use highwater_engine::sink::Closing;

use super::catalog::LoadRequest;
use super::context::BROKEN;
use super::ir::{Emit, PlannedSink, PlannedView, SinkInput};
use super::job::{Planner, unique_names};
use super::options::take_flag;
use super::query::raw_plan;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};
use crate::sql::{EmitClause, Name, SinkFrom, SinkStatement, Statement};

impl Planner<'_> {
    pub(super) fn plan_sinks(&mut self) {
        for statement in &self.job.statements {
            let Statement::Sink(sink) = statement else { continue };
            match self.sink(sink) {
                Ok(planned) => self.sinks.push(planned),
                Err(mistake) => self.blame(mistake),
            }
        }
    }

    fn sink(&mut self, sink: &SinkStatement) -> Result<PlannedSink, Diagnostic> {
        let (mut request, connector_at) = self.request(&sink.name, &sink.options, "connector")?;
        let told = self.told.remove(&sink.name.text);
        let of_alert = told.is_some();
        let input = match &sink.from {
            _ if told.is_some() || self.context.is_broken(&sink.name.text) => {
                let Some(told) = told else { return Err(Diagnostic::new(Code::UnknownTable, BROKEN, sink.name.span)) };
                request.options = told.options;
                SinkInput::View(told.view)
            }
            SinkFrom::View(name) => self.sink_view(name)?,
            SinkFrom::Query(query, span) => {
                let unbounded = take_flag(&mut request.options, "unbounded")?;
                self.sink_query(&sink.name, query, *span, unbounded)?
            }
        };
        let (SinkInput::View(index) | SinkInput::Errors(index)) = input;
        if let (Some(emit), SinkInput::View(index)) = (sink.emit.filter(|_| !of_alert), input) {
            possible(emit, &self.views[index])?;
        }
        let LoadRequest { connector, options, .. } = request;
        // What a sink tells of an alert waits for finality before it becomes a row.
        let emit = if of_alert { Emit::Changes } else { sink.emit.map(|clause| clause.emit).unwrap_or_default() };
        let planned =
            PlannedSink { name: sink.name.text.clone(), input, emit, connector, options, span: sink.name.span };
        if let Err(error) = self.catalog.check_sink(&planned, &self.views[index]) {
            let what = format!("sink \"{}\"", sink.name.text);
            return Err(error.diagnostic(&what, sink.name.span, connector_at, &planned.options));
        }
        Ok(planned)
    }

    pub(super) fn sink_view(&self, name: &Name) -> Result<SinkInput, Diagnostic> {
        if let Some(index) = self.view_index(&name.text) {
            return Ok(SinkInput::View(index));
        }
        let of_errors = name.text.strip_suffix("_errors").and_then(|view| self.view_index(view));
        if let Some(index) = of_errors {
            return Ok(SinkInput::Errors(index));
        }
        if self.context.is_broken(&name.text)
            || name.text.strip_suffix("_errors").is_some_and(|view| self.context.is_broken(view))
        {
            return Err(Diagnostic::new(Code::UnknownTable, BROKEN, name.span));
        }
        let mistake = Diagnostic::new(Code::UnknownTable, format!("view \"{}\" does not exist", name.text), name.span);
        if self.context.schema_of(&name.text).is_some() {
            return Err(mistake.with_hint(format!("a sink shows a view: FROM (SELECT * FROM {})", name.text)));
        }
        let views = self.views.iter().map(|view| view.name.as_str());
        Err(mistake.with_hint_opt(did_you_mean(&name.text, views)))
    }

    pub(super) fn view_index(&self, name: &str) -> Option<usize> {
        self.views.iter().position(|view| view.name == name)
    }

    fn sink_query(&mut self, name: &Name, query: &Query, span: Span, unbounded: bool) -> Result<SinkInput, Diagnostic> {
        let plan = raw_plan(query, &self.context, &self.place(span))?;
        let planned = self.lower(&name.text, plan, span, unbounded)?;
        unique_names(&planned.lowered.node.schema, &self.place(span))?;
        Ok(SinkInput::View(self.keep(name, planned, |_| {})))
    }
}

/// Whether the rows of a view tell when they may go out.
fn possible(clause: EmitClause, view: &PlannedView) -> Result<(), Diagnostic> {
    let closing = view.closing.map(|closing| closing.closing);
    let (fits, message, hint) = match clause.emit {
        Emit::Changes => return Ok(()),
        Emit::OnWindowClose => (
            !view.linear && matches!(closing, Some(Closing::Time(_))),
            format!("view \"{}\" has no window that closes", view.name),
            "select window_end, and group by the window of a TUMBLE or HOP",
        ),
        Emit::OnFinality => (
            view.linear || closing.is_some(),
            format!("rows of view \"{}\" do not tell when they are final", view.name),
            "select window_end, or for rows of single blocks block_number",
        ),
    };
    if fits {
        return Ok(());
    }
    Err(Diagnostic::new(Code::EmitImpossible, message, clause.span).with_hint(hint))
}
