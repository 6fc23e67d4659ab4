//! Set operations that count rows.

use std::sync::Arc;

use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{Node, NodeKind};
use super::super::sets::SetNode;
use super::scalar::project;
use super::{Lower, Lowered, Lowerer};

impl Lowerer<'_> {
    pub(super) fn sets(&mut self, sets: &SetNode) -> Lower<Lowered> {
        let left = self.lower(&sets.left)?;
        let right = self.lower(&sets.right)?;
        let width = left.width();
        let (left, right) = (self.typed(left, &sets.left)?, self.typed(right, &sets.left)?);
        let bound = left.facts.bound.clone().zip(right.facts.bound.clone());
        let bound = bound.map(|(left, right)| format!("{left}, and {right}"));
        let id = self.id("set");
        let word = if sets.except { "except" } else { "intersect" };
        self.keep(&id, "set operation", "the whole row".to_owned(), bound, word)?;
        let columns = left.facts.columns.iter().zip(&right.facts.columns);
        let columns = columns.map(|(left, right)| ColumnFacts {
            finite: left.finite || (right.finite && !sets.except),
            ..ColumnFacts::default()
        });
        let facts =
            Facts { columns: columns.take(width).collect(), bound: left.facts.bound.clone(), ..Facts::default() };
        let schema = left.schema().clone();
        let (left, right) = (Box::new(left.node), Box::new(right.node));
        let kind = NodeKind::Multiset { id, left, right, operation: sets.operation() };
        Ok(Lowered { node: Node { kind, schema }, facts })
    }

    /// A side with just the columns of the plan, in the types of the left side.
    fn typed(&self, side: Lowered, wanted: &datafusion_expr::LogicalPlan) -> Lower<Lowered> {
        let fields = wanted.schema().fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
        let fields: Vec<_> = fields.collect();
        let shown = self.as_fields(&side, 0..side.width(), &fields)?;
        Ok(project(side, shown))
    }
}
