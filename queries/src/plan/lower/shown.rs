//! A query that is shown to people: its ORDER BY means something, though the relation itself has no order.

use datafusion_expr::expr::Sort as SortExpr;
use datafusion_expr::{FetchType, Limit, LogicalPlan, Projection, SkipType};

use super::super::ir::{Shown, SortKey};
use super::scalar::{Computed, column_of, keep_columns, project};
use super::{Lower, Lowered, Lowerer};

/// A relation and the order it is to be shown in. The keys may be columns behind those of the logical plan.
type InOrder = (Lowered, Vec<SortKey>);

impl Lowerer<'_> {
    /// The whole query with the columns of its order behind its own.
    pub(in super::super) fn root_shown(&mut self, plan: &LogicalPlan) -> Lower<(Lowered, Shown)> {
        let (lowered, sort) = self.shown(plan)?;
        let columns = plan.schema().fields().len();
        let lowered = self.checked_root(lowered)?;
        Ok((lowered, Shown { columns, sort }))
    }

    fn shown(&mut self, plan: &LogicalPlan) -> Lower<InOrder> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.shown(&alias.input),
            LogicalPlan::Projection(projection) => {
                let input = self.shown(&projection.input)?;
                self.projected_in_order(input, projection)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                let input = self.lower(&sort.input)?;
                self.in_order(input, &sort.expr, &sort.input)
            }
            LogicalPlan::Limit(limit) => match literal(self, limit)? {
                Some((rows, offset)) => self.shown_limited(&limit.input, rows, offset),
                None => Ok((self.lower(plan)?, Vec::new())),
            },
            _ => Ok((self.lower(plan)?, Vec::new())),
        }
    }

    fn shown_limited(&mut self, plan: &LogicalPlan, rows: usize, offset: usize) -> Lower<InOrder> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.shown_limited(&alias.input, rows, offset),
            LogicalPlan::Projection(projection) => {
                let input = self.shown_limited(&projection.input, rows, offset)?;
                self.projected_in_order(input, projection)
            }
            LogicalPlan::Sort(sort) => {
                let first = self.limited(plan, rows, offset)?;
                self.in_order(first, &sort.expr, &sort.input)
            }
            _ => Ok((self.limited(plan, rows, offset)?, Vec::new())),
        }
    }

    /// Puts the keys of an order behind the columns, where they are not columns already.
    fn in_order(&mut self, input: Lowered, keys: &[SortExpr], plan: &LogicalPlan) -> Lower<InOrder> {
        let schema = plan.schema();
        let width = input.width();
        let mut columns = keep_columns(&input, 0..width);
        let mut sort = Vec::with_capacity(keys.len());
        for key in keys {
            let column = match column_of(&key.expr, schema) {
                Some(column) => column,
                None => {
                    columns.push(self.computed(&key.expr, schema, &input.facts)?);
                    columns.len() - 1
                }
            };
            sort.push(SortKey { column, descending: !key.asc, nulls_first: key.nulls_first });
        }
        let lowered = if columns.len() > width { project(input, unique(columns, width)) } else { input };
        Ok((lowered, sort))
    }

    fn projected_in_order(&mut self, (input, sort): InOrder, projection: &Projection) -> Lower<InOrder> {
        if sort.is_empty() {
            let schema = projection.input.schema();
            return Ok((self.project_exprs(input, &projection.expr, schema, &projection.schema)?, sort));
        }
        let schema = projection.input.schema();
        let mut columns = Vec::with_capacity(projection.expr.len());
        for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
            let computed = self.computed(expr, schema, &input.facts)?;
            columns.push(Computed { field: field.as_ref().clone(), ..computed });
        }
        let width = columns.len();
        let mut moved = Vec::with_capacity(sort.len());
        for key in sort {
            let known = columns.iter().position(|column| column.from == Some(key.column));
            let column = known.unwrap_or_else(|| {
                columns.extend(keep_columns(&input, [key.column]));
                columns.len() - 1
            });
            moved.push(SortKey { column, ..key });
        }
        Ok((project(input, unique(columns, width)), moved))
    }
}

/// The columns of the order with names that no other column has.
fn unique(mut columns: Vec<Computed>, width: usize) -> Vec<Computed> {
    for (index, column) in columns.iter_mut().enumerate().skip(width) {
        column.field = column.field.clone().with_name(format!("order by {index}"));
    }
    columns
}

/// LIMIT and OFFSET, if both are numbers and there is a LIMIT.
fn literal(lowerer: &Lowerer<'_>, limit: &Limit) -> Lower<Option<(usize, usize)>> {
    let skip = limit.get_skip_type().map_err(|error| lowerer.place.diagnose(&error))?;
    let fetch = limit.get_fetch_type().map_err(|error| lowerer.place.diagnose(&error))?;
    Ok(match (skip, fetch) {
        (SkipType::Literal(offset), FetchType::Literal(Some(rows))) => Some((rows, offset)),
        (SkipType::Literal(offset), FetchType::Literal(None)) => Some((super::top_k::ALL_ROWS, offset)),
        _ => None,
    })
}
