//! GROUPING SETS, ROLLUP and CUBE: each row once for each grouping, with NULL for the columns that it leaves out.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Aggregate, Expr, GroupingSet};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;

use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{Node, NodeKind};
use super::aggregate::Inputs;
use super::scalar::{Computed, column_at, keep_columns, project};
use super::{Lower, Lowered, Lowerer};

/// One grouping: which of the expressions it has, and its number.
struct Grouping {
    has: Vec<bool>,
    id: u64,
}

impl Lowerer<'_> {
    pub(super) fn grouping_sets(&mut self, aggregate: &Aggregate, set: &GroupingSet) -> Lower<Lowered> {
        let exprs: Vec<Expr> = set.distinct_expr().into_iter().cloned().collect();
        let groupings = groupings(set, &exprs);
        // The total of all rows is there also when there is none.
        let (totals, groupings): (Vec<Grouping>, Vec<Grouping>) =
            groupings.into_iter().partition(|grouping| !grouping.has.contains(&true));
        let mut parts = Vec::new();
        if !groupings.is_empty() {
            parts.push(self.by_groups(aggregate, &exprs, &groupings)?);
        }
        for total in &totals {
            parts.push(self.total(aggregate, &exprs, total)?);
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let schema = aggregate.schema.inner().clone();
        let facts = Facts {
            columns: vec![ColumnFacts::default(); schema.fields().len()],
            bound: parts
                .iter()
                .map(|part| part.facts.bound.clone())
                .collect::<Option<Vec<_>>>()
                .map(|all| all.join(", and ")),
            key: Some((0..=exprs.len()).collect()),
            ..Facts::default()
        };
        let inputs = parts.into_iter().map(|part| part.node).collect();
        Ok(Lowered { node: Node { kind: NodeKind::Union { inputs }, schema }, facts })
    }

    /// The groupings that have columns, in one aggregate whose key also holds the grouping's number.
    fn by_groups(&mut self, aggregate: &Aggregate, exprs: &[Expr], groupings: &[Grouping]) -> Lower<Lowered> {
        let input = self.lower(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let width = input.width();
        let output = aggregate.schema.fields();
        let mut fields: Vec<Field> = (0..width).map(|column| input.field(column).clone()).collect();
        let mut computed = Vec::with_capacity(exprs.len());
        for (index, expr) in exprs.iter().enumerate() {
            computed.push(self.computed(expr, schema, &input.facts)?);
            fields.push(output[index].as_ref().clone().with_name(format!("group {index}")).with_nullable(true));
        }
        let id_field = output[exprs.len()].as_ref().clone();
        fields.push(id_field.clone());
        let kept: Vec<Arc<dyn PhysicalExpr>> =
            keep_columns(&input, 0..width).into_iter().map(|column| column.expression).collect();
        let mut copies = Vec::with_capacity(groupings.len());
        for grouping in groupings {
            let mut copy = kept.clone();
            for (column, has) in computed.iter().zip(&grouping.has) {
                copy.push(if *has { column.expression.clone() } else { null(column, self)? });
            }
            copy.push(Arc::new(Literal::new(self.number(grouping.id, &id_field)?)));
            copies.push(copy);
        }
        let mut facts = input.facts.clone();
        facts.columns.truncate(width);
        facts.columns.extend(std::iter::repeat_n(ColumnFacts::default(), exprs.len()));
        facts.columns.push(ColumnFacts { finite: true, ..ColumnFacts::default() });
        (facts.block_local, facts.key) = (false, None);
        let expanded_schema = Arc::new(Schema::new(fields));
        let kind = NodeKind::Expand { input: Box::new(input.node), copies };
        let expanded = Lowered { node: Node { kind, schema: expanded_schema.clone() }, facts };
        // The columns of the input keep their names, the others have names of their own.
        let qualified = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
        let added = expanded_schema.fields().iter().skip(width).map(|field| (None, field.clone()));
        let bound = DFSchema::new_with_metadata(qualified.chain(added).collect(), Default::default());
        let bound = bound.map_err(|error| self.place.diagnose(&error))?;
        let mut inputs = Inputs::new(&bound);
        let mut keys = Vec::new();
        for column in width..=width + exprs.len() {
            keys.push(inputs.add(self, &column_at(&bound, column), &expanded.facts)?);
        }
        let mut calls = Vec::new();
        for (expr, field) in aggregate.aggr_expr.iter().zip(output.iter().skip(keys.len())) {
            calls.push(self.call(expr, field, &bound, &expanded.facts, &mut inputs)?);
        }
        let grouped = self.grouped(expanded, inputs, keys, calls, "group")?;
        Ok(self.named(grouped, aggregate))
    }

    /// The grouping without columns: one row, always.
    fn total(&mut self, aggregate: &Aggregate, exprs: &[Expr], total: &Grouping) -> Lower<Lowered> {
        let input = self.lower(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let output = aggregate.schema.fields();
        let mut keys = Vec::new();
        for expr in exprs {
            keys.push(self.computed(expr, schema, &input.facts)?);
        }
        let mut inputs = Inputs::new(schema);
        let mut calls = Vec::new();
        for (expr, field) in aggregate.aggr_expr.iter().zip(output.iter().skip(exprs.len() + 1)) {
            calls.push(self.call(expr, field, schema, &input.facts, &mut inputs)?);
        }
        let grouped = self.grouped(input, inputs, Vec::new(), calls, "group")?;
        let mut columns = Vec::new();
        for key in &keys {
            columns.push(Computed {
                expression: null(key, self)?,
                field: key.field.clone().with_nullable(true),
                facts: ColumnFacts { finite: true, ..ColumnFacts::default() },
                from: None,
            });
        }
        let id_field = output[exprs.len()].as_ref().clone();
        columns.push(Computed {
            expression: Arc::new(Literal::new(self.number(total.id, &id_field)?)),
            field: id_field,
            facts: ColumnFacts { finite: true, ..ColumnFacts::default() },
            from: None,
        });
        columns.extend(keep_columns(&grouped, 0..grouped.width()));
        let whole = project(grouped, columns);
        Ok(self.named(whole, aggregate))
    }

    /// The columns under the names of the plan.
    fn named(&self, grouped: Lowered, aggregate: &Aggregate) -> Lowered {
        let columns = keep_columns(&grouped, 0..grouped.width()).into_iter().zip(aggregate.schema.fields());
        let columns = columns.map(|(column, field)| {
            let name = field.name();
            Computed { field: column.field.clone().with_name(name), ..column }
        });
        let columns = columns.collect();
        project(grouped, columns)
    }

    fn number(&self, id: u64, field: &Field) -> Lower<ScalarValue> {
        ScalarValue::UInt64(Some(id)).cast_to(field.data_type()).map_err(|error| self.place.diagnose(&error))
    }
}

fn null(column: &Computed, lowerer: &Lowerer<'_>) -> Lower<Arc<dyn PhysicalExpr>> {
    let value = ScalarValue::try_from(column.field.data_type()).map_err(|error| lowerer.place.diagnose(&error))?;
    Ok(Arc::new(Literal::new(value)))
}

/// The groupings of a set, with the numbers that GROUPING() reads: a bit for each expression that is left out, the
/// first expression in the highest bit; a grouping that comes again counts on above these bits.
fn groupings(set: &GroupingSet, exprs: &[Expr]) -> Vec<Grouping> {
    let lists: Vec<Vec<&Expr>> = match set {
        GroupingSet::Rollup(columns) => (0..=columns.len()).rev().map(|len| columns[..len].iter().collect()).collect(),
        GroupingSet::Cube(columns) => (0..1_usize << columns.len())
            .rev()
            .map(|bits| {
                columns.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1).map(|(_, expr)| expr).collect()
            })
            .collect(),
        GroupingSet::GroupingSets(lists) => lists.iter().map(|list| list.iter().collect()).collect(),
    };
    let mut groupings: Vec<Grouping> = Vec::with_capacity(lists.len());
    for list in lists {
        let has: Vec<bool> = exprs.iter().map(|expr| list.contains(&expr)).collect();
        let bits = has.iter().fold(0_u64, |bits, has| bits << 1 | u64::from(!has));
        let before = groupings.iter().filter(|grouping| grouping.has == has).count() as u64;
        groupings.push(Grouping { has, id: before << exprs.len() | bits });
    }
    groupings
}
