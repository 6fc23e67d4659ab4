//! Expressions over the columns of a node.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{BinaryExpr, Cast, Expr, ExprSchemable as _, Operator};
use datafusion_physical_expr::expressions::{Column as PhysicalColumn, cast};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use highwater_engine::model::wide::timestamp_type;

use super::super::facts::{self, ColumnFacts, Facts};
use super::super::ir::{Node, NodeKind};
use super::{Lower, Lowered, Lowerer};
use crate::diagnostic::{Code, Diagnostic};
use crate::functions;

/// One output column: how it is computed, what it is called, what is known of it.
pub(super) struct Computed {
    pub(super) expression: Arc<dyn PhysicalExpr>,
    pub(super) field: Field,
    pub(super) facts: ColumnFacts,
    /// The input column it is, if it is one unchanged.
    pub(super) from: Option<usize>,
}

impl Lowerer<'_> {
    /// Binds an expression to the columns of `schema`.
    pub(super) fn physical(&self, expr: &Expr, schema: &DFSchema) -> Lower<Arc<dyn PhysicalExpr>> {
        if let Some(name) = subquery(expr) {
            return Err(self
                .unsupported(name, "select")
                .with_hint("make it a column of a subquery in FROM: (SELECT …, (SELECT …) AS x FROM …)"));
        }
        let context = PhysicalPlanningContext::default();
        let expression = create_physical_expr(expr, schema, &ExecutionProps::new(), &context)
            .map_err(|error| self.place.diagnose(&error))?;
        functions::checked(expression, schema.as_arrow()).map_err(|error| self.place.diagnose(&error))
    }

    /// Computes a column from those of `input`.
    pub(super) fn computed(&self, expr: &Expr, schema: &DFSchema, input: &Facts) -> Lower<Computed> {
        let from = column_of(expr, schema);
        let facts = facts::of_expr(expr, schema, &input.columns);
        let (_, field) = expr.to_field(schema).map_err(|error| self.place.diagnose(&error))?;
        if let DataType::Dictionary(..) | DataType::RunEndEncoded(..) = field.data_type() {
            // Rows are compared value by value, and such a column does not hold its values.
            let message = format!("a view has no columns of type {}", field.data_type());
            let hint = "cast it to the type of its values";
            return Err(Diagnostic::new(Code::UnknownType, message, self.place.find("arrow_cast")).with_hint(hint));
        }
        let expression = self.physical(expr, schema)?;
        Ok(Computed { expression, field: field.as_ref().clone(), facts, from })
    }
}

/// A projection of `input` to these columns.
pub(super) fn project(input: Lowered, columns: Vec<Computed>) -> Lowered {
    let from: Vec<Option<usize>> = columns.iter().map(|column| column.from).collect();
    let mut fields = Vec::with_capacity(columns.len());
    let mut expressions = Vec::with_capacity(columns.len());
    let mut known = Vec::with_capacity(columns.len());
    for column in columns {
        fields.push(column.field);
        expressions.push(column.expression);
        known.push(column.facts);
    }
    let facts = input.facts.project(&from, known);
    let unchanged = from.iter().enumerate().all(|(index, from)| *from == Some(index))
        && input.schema().fields().iter().map(AsRef::as_ref).eq(fields.iter());
    if unchanged {
        return Lowered { node: input.node, facts };
    }
    let schema = Arc::new(Schema::new(fields));
    let (node, expressions) = merged(input.node, expressions);
    Lowered { node: Node { kind: NodeKind::Project { input: Box::new(node), expressions }, schema }, facts }
}

/// Two projections as one, where one of them only picks columns.
pub(super) fn merged(input: Node, outer: Vec<Arc<dyn PhysicalExpr>>) -> (Node, Vec<Arc<dyn PhysicalExpr>>) {
    let NodeKind::Project { input: below, expressions: inner } = &input.kind else { return (input, outer) };
    let picked: Option<Vec<usize>> = outer.iter().map(picked_column).collect();
    if let Some(picked) = picked {
        let expressions = picked.into_iter().map(|column| inner[column].clone()).collect();
        return (below.as_ref().clone(), expressions);
    }
    let picked: Option<Vec<usize>> = inner.iter().map(picked_column).collect();
    let moved = picked.and_then(|picked| {
        let moved = outer.iter().map(|expression| repointed(expression, &picked, &below.schema));
        moved.collect::<Option<Vec<_>>>()
    });
    match moved {
        Some(expressions) => (below.as_ref().clone(), expressions),
        None => (input, outer),
    }
}

pub(super) fn picked_column(expression: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expression.downcast_ref::<PhysicalColumn>().map(PhysicalColumn::index)
}

/// An expression over the columns below a projection that only picks some.
pub(in super::super) fn repointed(
    expression: &Arc<dyn PhysicalExpr>,
    picked: &[usize],
    below: &Schema,
) -> Option<Arc<dyn PhysicalExpr>> {
    let moved = expression.clone().transform_up(|part| {
        let Some(column) = picked_column(&part) else { return Ok(Transformed::no(part)) };
        let column = picked[column];
        let moved: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(below.field(column).name(), column));
        Ok(Transformed::yes(moved))
    });
    moved.ok().map(|moved| moved.data)
}

/// Columns of `input` as they are.
pub(super) fn keep_columns(input: &Lowered, columns: impl IntoIterator<Item = usize>) -> Vec<Computed> {
    columns
        .into_iter()
        .map(|column| {
            let field = input.field(column).clone();
            let expression = Arc::new(PhysicalColumn::new(field.name(), column));
            let facts = input.facts.columns.get(column).cloned().unwrap_or_default();
            Computed { expression, field, facts, from: Some(column) }
        })
        .collect()
}

impl Lowerer<'_> {
    /// Columns of `input` as these fields: under their names, cast where the types differ.
    pub(super) fn as_fields<'f>(
        &self,
        input: &Lowered,
        columns: impl IntoIterator<Item = usize>,
        fields: impl IntoIterator<Item = &'f FieldRef>,
    ) -> Lower<Vec<Computed>> {
        let mut shown = Vec::new();
        for (column, field) in keep_columns(input, columns).into_iter().zip(fields) {
            let same = column.field.data_type() == field.data_type();
            let expression = match same {
                true => column.expression,
                false => cast(column.expression, input.schema(), field.data_type().clone())
                    .map_err(|error| self.place.diagnose(&error))?,
            };
            let from = column.from.filter(|_| same);
            shown.push(Computed { expression, field: field.as_ref().clone(), from, facts: column.facts });
        }
        Ok(shown)
    }
}

/// The column an expression is, if it is one.
pub(super) fn column_of(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of_column(column).ok(),
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        _ => None,
    }
}

/// A time moved by milliseconds, as `Timestamp(ms, UTC)`.
pub(super) fn moved(time: Expr, offset_ms: i64, schema: &DFSchema) -> Expr {
    let wanted = timestamp_type();
    let time = match time.get_type(schema) {
        Ok(data_type) if data_type == wanted => time,
        _ => Expr::Cast(Cast::new(Box::new(time), wanted)),
    };
    if offset_ms == 0 {
        return time;
    }
    // Whole days apart from the rest, because the rest is counted in nanoseconds of 64 bits.
    const DAY_MS: i64 = 86_400_000;
    let days = i32::try_from(offset_ms / DAY_MS).unwrap_or(if offset_ms < 0 { i32::MIN } else { i32::MAX });
    let rest = offset_ms % DAY_MS * 1_000_000;
    let interval = ScalarValue::new_interval_mdn(0, days, rest);
    let sum = BinaryExpr::new(Box::new(time), Operator::Plus, Box::new(Expr::Literal(interval, None)));
    Expr::BinaryExpr(sum)
}

/// The column at a position, for expressions bound to `schema`.
pub(super) fn column_at(schema: &DFSchema, index: usize) -> Expr {
    Expr::Column(Column::from(schema.qualified_field(index)))
}

/// What kind of subquery the expression holds.
fn subquery(expr: &Expr) -> Option<&'static str> {
    let mut found = None;
    let walked = expr.apply(|part| {
        found = match part {
            Expr::ScalarSubquery(_) => Some("a subquery as a value"),
            Expr::Exists(_) => Some("EXISTS here"),
            Expr::InSubquery(_) => Some("IN (SELECT …) here"),
            _ => None,
        };
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.ok().and(found)
}

/// Whether a type is the time of windows and closings.
pub(super) fn is_time(data_type: &DataType) -> bool {
    *data_type == timestamp_type()
}
