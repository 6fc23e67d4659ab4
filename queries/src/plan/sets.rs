//! `EXCEPT ALL` and `INTERSECT ALL`: DataFusion reads them as joins, which count rows differently.
//!
//! As the SQL planner makes them they are semi and anti joins whose NULLs are equal, without DISTINCT on the left.
//! No other SQL gives such a join before subqueries are taken apart, so that is how they are known.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchemaRef, JoinType, NullEquality, Result};
use datafusion_expr::{Distinct, Expr, Extension, Join, LogicalPlan, UserDefinedLogicalNodeCore};
use highwater_operators::multiset::SetOperation;

/// A set operation that counts rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SetNode {
    pub(super) left: LogicalPlan,
    pub(super) right: LogicalPlan,
    pub(super) except: bool,
}

impl SetNode {
    pub(super) fn operation(&self) -> SetOperation {
        if self.except { SetOperation::ExceptAll } else { SetOperation::IntersectAll }
    }
}

impl PartialOrd for SetNode {
    /// Nodes have no order worth the name; DataFusion asks for one.
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for SetNode {
    fn name(&self) -> &str {
        "SetOperation"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.left.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetOperation: {:?}", self.operation())
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [left, right] = <[LogicalPlan; 2]>::try_from(inputs)
            .or_else(|_| datafusion_common::internal_err!("a set operation has two inputs"))?;
        Ok(SetNode { left, right, ..self.clone() })
    }
}

/// Puts set operations that count rows in the place of the joins that do not.
pub(super) fn counted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        match except(join) {
            Some(except) => {
                let (left, right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
                let node = Arc::new(SetNode { left, right, except });
                Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })))
            }
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(plan.data)
}

/// Whether a join stands for `EXCEPT ALL` (true) or `INTERSECT ALL` (false).
fn except(join: &Join) -> Option<bool> {
    let except = match join.join_type {
        JoinType::LeftAnti => true,
        JoinType::LeftSemi => false,
        _ => return None,
    };
    let counts = join.null_equality == NullEquality::NullEqualsNull
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)));
    counts.then_some(except)
}
