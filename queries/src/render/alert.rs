//! From the nodes of an alert to its operators.

use highwater_engine::operator::{Route, TickOperator};
use highwater_operators::alert::finding::Findings;
use highwater_operators::alert::notification::Notifications;
use highwater_operators::alert::rate_limit::RateLimit;
use highwater_operators::alert::story::Stories;
use highwater_operators::alert::template::Templates;

use super::operators::{RenderError, Stateful};
use crate::plan::{Node, NodeKind, PlannedAlert};

/// Makes the operator of a node of an alert.
pub(super) fn make(node: &Node) -> Result<Stateful, RenderError> {
    let (id, (operator, route)) = match &node.kind {
        NodeKind::Stories { id, alert, .. } => (id, stories(id, alert)?),
        NodeKind::Findings { id, alert, .. } => (id, findings(id, alert)?),
        NodeKind::Notifications { id, sink, alert, dispatch, .. } => {
            let dispatch = dispatch.as_ref().clone();
            let made = Notifications::operator(id, sink, &alert.name, alert.clock(), dispatch);
            (id, boxed(made.map_err(|error| RenderError::of(id)(error.into()))?))
        }
        NodeKind::RateLimit { id, clock, limit, .. } => {
            let made = RateLimit::operator(id, *clock, *limit);
            (id, boxed(made.map_err(|error| RenderError::of(id)(error.into()))?))
        }
        _ => unreachable!("called for nodes of an alert alone"),
    };
    Ok(Stateful::new(id, route, operator))
}

type Made = (Box<dyn TickOperator>, Route);

fn boxed((operator, route): (impl TickOperator, Route)) -> Made {
    (Box::new(operator), route)
}

fn stories(id: &str, alert: &PlannedAlert) -> Result<Made, RenderError> {
    let made =
        Stories::operator(id, &alert.name, alert.columns.clone(), alert.lifecycle.clone(), templates(id, alert)?);
    Ok(boxed(made.map_err(|error| RenderError::of(id)(error.into()))?))
}

fn findings(id: &str, alert: &PlannedAlert) -> Result<Made, RenderError> {
    let same_for_ms = alert.lifecycle.same_for_ms;
    let made = Findings::operator(id, &alert.name, alert.columns.clone(), same_for_ms, templates(id, alert)?);
    Ok(boxed(made.map_err(|error| RenderError::of(id)(error.into()))?))
}

fn templates(id: &str, alert: &PlannedAlert) -> Result<Templates, RenderError> {
    let fields = alert.columns.input.fields().iter().take(alert.columns.view_columns);
    let columns: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
    Templates::new(alert.texts.clone(), &columns).map_err(|error| RenderError::of(id)(error.into()))
}
