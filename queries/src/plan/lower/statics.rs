//! Relations without streams, evaluated when the job is planned: reference tables, filtered and projected.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::record_batch::RecordBatchOptions;
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, LogicalPlan, Projection, TableScan};

use super::super::context::{Relation, RelationSource};
use super::{Lower, Lowerer, arrow_schema};

impl Lowerer<'_> {
    /// The whole relation of a plan without streams, if it is one.
    pub(in super::super) fn static_rows(&self, plan: &LogicalPlan) -> Lower<Option<RecordBatch>> {
        match plan {
            LogicalPlan::TableScan(scan) => self.static_scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.static_rows(&alias.input),
            LogicalPlan::Values(values) => Ok(Some(self.constant_rows(values)?)),
            LogicalPlan::Projection(projection) => {
                let Some(batch) = self.static_rows(&projection.input)? else { return Ok(None) };
                self.static_projection(&batch, projection).map(Some)
            }
            LogicalPlan::Filter(filter) => {
                let Some(batch) = self.static_rows(&filter.input)? else { return Ok(None) };
                self.static_filter(&batch, &filter.predicate, filter.input.schema()).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn static_scan(&self, scan: &TableScan) -> Lower<Option<RecordBatch>> {
        let Some(RelationSource { relation: Relation::Reference(batch), .. }) = scan.source.downcast_ref() else {
            return Ok(None);
        };
        let mut batch = batch.clone();
        if let Some(columns) = &scan.projection {
            batch = batch.project(columns).map_err(|error| self.internal(&error.into()))?;
        }
        for filter in &scan.filters {
            batch = self.static_filter(&batch, filter, &scan.projected_schema)?;
        }
        Ok(Some(batch))
    }

    fn static_projection(&self, batch: &RecordBatch, projection: &Projection) -> Lower<RecordBatch> {
        let mut columns = Vec::with_capacity(projection.expr.len());
        for expr in &projection.expr {
            columns.push(self.static_column(batch, expr, projection.input.schema())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = arrow_schema(&LogicalPlan::Projection(projection.clone()));
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| self.internal(&error.into()))
    }

    fn static_filter(&self, batch: &RecordBatch, predicate: &Expr, schema: &DFSchema) -> Lower<RecordBatch> {
        let mask = self.static_column(batch, predicate, schema)?;
        let Some(mask) = mask.as_any().downcast_ref::<BooleanArray>() else {
            return Err(self.unsupported("a condition that is not Boolean", "where"));
        };
        arrow::compute::filter_record_batch(batch, mask).map_err(|error| self.internal(&error.into()))
    }

    /// A column computed from constant rows.
    pub(super) fn static_column(&self, batch: &RecordBatch, expr: &Expr, schema: &DFSchema) -> Lower<ArrayRef> {
        self.physical(expr, schema)?
            .evaluate(batch)
            .and_then(|value| value.into_array(batch.num_rows()))
            .map_err(|error| self.place.diagnose(&error))
    }
}
