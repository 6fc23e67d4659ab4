//! GROUP BY the key and the window of a session: sessions and what is computed of them in one step.
//!
//! As two steps a row at the end of a session gives all its rows another window, so that each row costs as much as its
//! session is long.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion_physical_expr::utils::collect_columns;
use highwater_operators::session_window::SessionAggregateSpec;

use super::super::ir::{AggregateCall, Node, NodeKind};
use super::super::relational::{SessionGroups, SessionKey, SessionNode};
use super::aggregate::Inputs;
use super::scalar::{merged, picked_column};

/// The sessions and their groups, if every key is one of the sessions or a bound of the window, each of them once, and what is computed of
/// the rows says nothing of the window. `columns` are those that keys and calls count, over `input`.
pub(super) fn session_groups(
    input: &Node,
    columns: &Inputs<'_>,
    keys: &[usize],
    calls: &[AggregateCall],
) -> Option<(SessionNode, SessionGroups)> {
    let (session, through) = over_session(input)?;
    let SessionNode { input: rows, key, .. } = session;
    let width = rows.schema.fields().len();
    let over_session = |column: usize| replaced(columns.expression(column), &through).filter(never_fails);
    let session_key = |column: usize| {
        let place = picked_column(&over_session(column)?)?;
        match place.checked_sub(width) {
            Some(0) => Some(SessionKey::WindowStart),
            Some(_) => Some(SessionKey::WindowEnd),
            None => key.iter().position(|key| *key == place).map(SessionKey::Key),
        }
    };
    let keys: Vec<SessionKey> = keys.iter().map(|column| session_key(*column)).collect::<Option<_>>()?;
    let allowed = key.iter().all(|key| SessionAggregateSpec::allows(rows.schema.field(*key).data_type()));
    if !allowed || !SessionKey::are_whole(&keys, key.len()) {
        return None;
    }
    // The rows as the step reads them: their time, their key, what the calls read.
    let mut read = Read { rows, columns: Vec::new() };
    let time = read.column(session.time);
    let key = key.iter().map(|key| read.column(*key)).collect();
    let mut places = vec![0; columns.len()];
    for column in calls.iter().flat_map(columns_of) {
        let expression = over_session(column)?;
        if collect_columns(&expression).iter().any(|read| read.index() >= width) {
            return None;
        }
        places[column] = read.place(expression, || columns.field(column).clone());
    }
    let calls = calls.iter().map(|call| call.clone().placed(&places)).collect();
    let SessionNode { gap_ms, final_offset_ms, .. } = *session;
    let id = session.id.clone();
    let rows = SessionNode { id, input: read.node(), time, key, gap_ms, final_offset_ms, groups: None };
    Some((rows, SessionGroups { keys, calls }))
}

/// The session window that a node shows, and how each of the node's columns is computed from the window's.
fn over_session(node: &Node) -> Option<(&SessionNode, Vec<Arc<dyn PhysicalExpr>>)> {
    match &node.kind {
        NodeKind::Session(session) if session.groups.is_none() => {
            let column = |(index, field): (usize, &Arc<Field>)| {
                Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>
            };
            Some((session, node.schema.fields().iter().enumerate().map(column).collect()))
        }
        NodeKind::Project { input, expressions } => {
            let (session, through) = over_session(input)?;
            // A row whose columns cannot be computed is none, but it was one of its session.
            let expressions = expressions.iter().map(|expression| replaced(expression, &through));
            let expressions: Vec<_> = expressions.collect::<Option<_>>()?;
            expressions.iter().all(never_fails).then_some((session, expressions))
        }
        _ => None,
    }
}

/// An expression with others in the place of its columns.
fn replaced(expression: &Arc<dyn PhysicalExpr>, columns: &[Arc<dyn PhysicalExpr>]) -> Option<Arc<dyn PhysicalExpr>> {
    let moved = expression.clone().transform_down(|part| {
        Ok(match picked_column(&part) {
            // What takes its place is over other columns.
            Some(column) => Transformed::new(columns[column].clone(), true, TreeNodeRecursion::Jump),
            None => Transformed::no(part),
        })
    });
    moved.ok().map(|moved| moved.data)
}

/// Whether an expression has a value for every row.
fn never_fails(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let known = match expression.downcast_ref::<BinaryExpr>() {
        Some(binary) => {
            use Operator as O;
            matches!(
                binary.op(),
                O::Eq
                    | O::NotEq
                    | O::Lt
                    | O::LtEq
                    | O::Gt
                    | O::GtEq
                    | O::IsDistinctFrom
                    | O::IsNotDistinctFrom
                    | O::And
                    | O::Or
            )
        }
        None => {
            expression.downcast_ref::<Column>().is_some()
                || expression.downcast_ref::<Literal>().is_some()
                || expression.downcast_ref::<NotExpr>().is_some()
                || expression.downcast_ref::<IsNullExpr>().is_some()
                || expression.downcast_ref::<IsNotNullExpr>().is_some()
                || expression.downcast_ref::<CaseExpr>().is_some()
        }
    };
    known && expression.children().into_iter().all(never_fails)
}

fn columns_of(call: &AggregateCall) -> impl Iterator<Item = usize> + '_ {
    let ordered = call.order_by.iter().map(|key| key.column);
    call.arguments.iter().copied().chain(ordered).chain(call.filter)
}

/// A projection that is being put together, each expression once.
struct Read<'n> {
    rows: &'n Node,
    columns: Vec<(Arc<dyn PhysicalExpr>, Field)>,
}

impl Read<'_> {
    fn column(&mut self, column: usize) -> usize {
        let field = self.rows.schema.field(column).clone();
        self.place(Arc::new(Column::new(field.name(), column)), || field)
    }

    fn place(&mut self, expression: Arc<dyn PhysicalExpr>, field: impl FnOnce() -> Field) -> usize {
        if let Some(place) = self.columns.iter().position(|(known, _)| known == &expression) {
            return place;
        }
        self.columns.push((expression, field()));
        self.columns.len() - 1
    }

    fn node(self) -> Node {
        let (expressions, fields): (Vec<_>, Vec<_>) = self.columns.into_iter().unzip();
        let (below, expressions) = merged(self.rows.clone(), expressions);
        let kind = NodeKind::Project { input: Box::new(below), expressions };
        Node { kind, schema: Arc::new(Schema::new(fields)) }
    }
}
