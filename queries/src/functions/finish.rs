//! Expressions whose values are looked at once more.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::Result;
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

use super::canonical::one_form;
use super::checked::within_precision;

/// What is done to the values that an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Finish {
    /// Decimals with more digits than their type says are errors.
    WithinPrecision,
    /// Floats have one NaN and one zero.
    OneForm,
}

impl Finish {
    /// The expression, and this done to its values.
    pub(super) fn of(self, expr: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        Arc::new(Finished { expr, finish: self })
    }

    /// The expression to whose values this is done, if it is one.
    pub(super) fn taken_off(self, expr: &Arc<dyn PhysicalExpr>) -> Option<&Arc<dyn PhysicalExpr>> {
        expr.downcast_ref::<Finished>().filter(|finished| finished.finish == self).map(|finished| &finished.expr)
    }
}

#[derive(Debug, Eq)]
struct Finished {
    expr: Arc<dyn PhysicalExpr>,
    finish: Finish,
}

// Derived, it would move the value out of the other's pointer.
impl PartialEq for Finished {
    fn eq(&self, other: &Finished) -> bool {
        *self.expr == *other.expr && self.finish == other.finish
    }
}

impl Hash for Finished {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expr.hash(state);
        self.finish.hash(state);
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl PhysicalExpr for Finished {
    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.expr.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let value = self.expr.evaluate(batch)?;
        match self.finish {
            Finish::WithinPrecision => within_precision(value),
            Finish::OneForm => Ok(one_form(value)),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.expr]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(child) => Ok(self.finish.of(child)),
            None => datafusion_common::internal_err!("what finishes values has one input"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt_sql(f)
    }
}
