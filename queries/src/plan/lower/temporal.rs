//! Temporal filters: the bounds become two columns in front of the operator, and are dropped after it.

use datafusion_common::DFSchema;
use datafusion_expr::{Expr, Operator, and, binary_expr, when};

use super::super::ir::{Node, NodeKind};
use super::super::temporal::{Bound, TemporalNode};
use super::scalar::{Computed, keep_columns, moved, project};
use super::{Lower, Lowered, Lowerer};

impl Lowerer<'_> {
    pub(super) fn temporal(&mut self, temporal: &TemporalNode) -> Lower<Lowered> {
        let schema = temporal.input.schema().clone();
        let mut input = self.lower(&temporal.input)?;
        let times: Vec<&Expr> = temporal.from.iter().chain(&temporal.until).map(|bound| &bound.time).collect();
        if let Some(known) =
            times.iter().filter(|time| nullable(time, &schema)).map(|time| (*time).clone().is_not_null()).reduce(and)
        {
            // A row without a time fulfils no comparison.
            input = self.filtered(input, &known, &schema)?;
        }
        let width = input.width();
        let mut columns = keep_columns(&input, 0..width);
        let mut add = |bounds: &[Bound], op: Operator, name: &str| -> Lower<Option<usize>> {
            let Some(bound) = combined(bounds, op, &schema) else { return Ok(None) };
            let computed = self.computed(&bound, &schema, &input.facts)?;
            let field = computed.field.clone().with_name(name).with_nullable(false);
            columns.push(Computed { field, from: None, ..computed });
            Ok(Some(columns.len() - 1))
        };
        let valid_from = add(&temporal.from, Operator::GtEq, "valid_from")?;
        let valid_until = add(&temporal.until, Operator::LtEq, "valid_until")?;
        let prepared = project(input, columns);
        let id = self.id("temporal-filter");
        let bound = valid_until.map(|_| "rows whose time has not run out".to_owned());
        let kept = bound.clone().or_else(|| Some("rows whose time has not come".to_owned()));
        self.keep(&id, "temporal-filter", "the row".to_owned(), kept, "now")?;
        let node_schema = prepared.schema().clone();
        let mut facts = prepared.facts.without_closing();
        (facts.linear, facts.block_local) = (false, false);
        facts.bound = bound.or(facts.bound);
        let input = Box::new(prepared.node);
        let node = Node { kind: NodeKind::TemporalFilter { id, input, valid_from, valid_until }, schema: node_schema };
        let filtered = Lowered { node, facts };
        let columns = keep_columns(&filtered, 0..width);
        Ok(project(filtered, columns))
    }
}

fn nullable(time: &Expr, schema: &DFSchema) -> bool {
    use datafusion_expr::ExprSchemable as _;
    time.nullable(schema).unwrap_or(true)
}

/// The latest start or the earliest end: of two instants the one that is `op` the other.
fn combined(bounds: &[Bound], op: Operator, schema: &DFSchema) -> Option<Expr> {
    bounds.iter().map(|bound| moved(bound.time.clone(), bound.offset_ms, schema)).reduce(|one, other| {
        let first = binary_expr(one.clone(), op, other.clone());
        // Building a CASE fails only for branches of different types, and both are timestamps.
        when(first, one.clone()).otherwise(other).unwrap_or(one)
    })
}
