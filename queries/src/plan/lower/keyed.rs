//! Sessions and connected components.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use highwater_engine::model::wide::timestamp_type;

use super::super::facts::{ColumnFacts, Facts, Moment};
use super::super::ir::{Node, NodeKind};
use super::super::keyed::{Keyed, KeyedNode};
use super::super::relational::SessionNode;
use super::super::window::{WINDOW_END, WINDOW_START};
use super::aggregate::duration;
use super::scalar::{column_of, is_time, keep_columns, moved, project};
use super::{Lower, Lowered, Lowerer};
use crate::diagnostic::{Code, Diagnostic};

impl Lowerer<'_> {
    pub(super) fn keyed(&mut self, node: &KeyedNode) -> Lower<Lowered> {
        match node.function {
            Keyed::Session { gap_ms } => self.sessions(node, gap_ms),
            Keyed::Components { hub_limit } => self.components(node, hub_limit),
        }
    }

    fn sessions(&mut self, node: &KeyedNode, gap_ms: i64) -> Lower<Lowered> {
        let schema = node.input.schema();
        let mut input = self.lower(&node.input)?;
        let width = input.width();
        let mut columns = keep_columns(&input, 0..input.schema().fields().len());
        let mut places = Vec::with_capacity(node.exprs.len());
        for (index, expr) in node.exprs.iter().enumerate() {
            let plain = column_of(expr, schema).filter(|column| index > 0 || is_time(input.field(*column).data_type()));
            places.push(match plain {
                Some(column) => column,
                None => {
                    let expr = if index == 0 { moved(expr.clone(), 0, schema) } else { expr.clone() };
                    columns.push(self.computed(&expr, schema, &input.facts)?);
                    columns.len() - 1
                }
            });
        }
        let moment = super::super::facts::of_expr(&node.exprs[0], schema, &input.facts.columns).time;
        if columns.len() > input.schema().fields().len() {
            input = project(input, columns);
        }
        let (time, key) = (places[0], places[1..].to_vec());
        let names: Vec<&str> = key.iter().map(|column| input.field(*column).name().as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let final_offset_ms = moment.map(|moment| moment.offset_ms);
        let bound =
            final_offset_ms.map(|_| format!("sessions until they have paused for {} and are final", duration(gap_ms)));
        let bound = bound.or_else(|| input.facts.bound.clone());
        let id = self.id("session");
        self.keep(&id, "session", names, bound, "session")?;
        let mut fields: Vec<Field> = input.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        for name in [WINDOW_START, WINDOW_END] {
            fields.push(Field::new(name, timestamp_type(), false));
        }
        let inner = fields.len() - 2;
        let facts = session_facts(&input.facts, inner, moment.and_then(|moment| moment.after_pause(gap_ms)));
        let session = SessionNode { id, input: input.node, time, key, gap_ms, final_offset_ms, groups: None };
        let kind = NodeKind::Session(Box::new(session));
        let whole = Lowered { node: Node { kind, schema: Arc::new(Schema::new(fields)) }, facts };
        let kept = node.kept().into_iter().filter(|column| *column < width).chain([inner, inner + 1]);
        let kept = keep_columns(&whole, kept);
        Ok(project(whole, kept))
    }

    fn components(&mut self, node: &KeyedNode, hub_limit: Option<usize>) -> Lower<Lowered> {
        let schema = node.input.schema();
        let input = self.lower(&node.input)?;
        let exprs: Vec<_> = node.exprs.iter().collect();
        let (input, ends) = self.with_keys(input, &exprs, schema, "end")?;
        let ends = [ends[0], ends[1]];
        let [from, to] = ends.map(|end| input.field(end).clone());
        if from.data_type() != to.data_type() {
            let message = format!("the ends of an edge are {} and {}", from.data_type(), to.data_type());
            let mistake = Diagnostic::new(Code::TypeMismatch, message, self.place.find("connected_components"));
            return Err(mistake.with_hint("cast one of them: both must be of one type"));
        }
        let id = self.id("components");
        let bound = input.facts.bound.clone();
        self.keep(&id, "components", format!("{}, {}", from.name(), to.name()), bound, "connected_components")?;
        let fields = ["node", "component"].map(|name| from.clone().with_name(name).with_nullable(false));
        let finite = input.facts.columns.get(ends[0]).is_some_and(|facts| facts.finite);
        let column = ColumnFacts { finite, ..ColumnFacts::default() };
        let facts = Facts {
            columns: vec![column.clone(), column],
            bound: input.facts.bound.clone(),
            key: Some(vec![0]),
            ..Facts::default()
        };
        let kind = NodeKind::Components { id, input: Box::new(input.node), ends, hub_limit };
        Ok(Lowered { node: Node { kind, schema: Arc::new(Schema::new(fields.to_vec())) }, facts })
    }
}

/// A row of a session is final with the end of its window: a later row may still widen it.
fn session_facts(input: &Facts, width: usize, moment: Option<Moment>) -> Facts {
    let mut facts = Facts { linear: false, block_local: false, order: Vec::new(), ..input.clone() }.without_closing();
    facts.columns.resize(width, ColumnFacts::default());
    facts.columns.iter_mut().for_each(|column| column.block = false);
    facts.columns.push(ColumnFacts::default());
    facts.columns.push(ColumnFacts { time: moment, ..ColumnFacts::default() });
    facts
}
