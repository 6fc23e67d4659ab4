//! Which subqueries DataFusion takes apart, and rightly.
//!
//! It pulls the conditions on the outer row up to the join that the subquery becomes, with the inner columns that
//! they read. Above an aggregate or a DISTINCT these columns are grouping columns, which is the same only where a
//! condition says that such a column is equal to something of the outer row: of a function of it, or of a cast that
//! makes different values equal, there would be a group for each value of the column. Window functions and limits
//! would be over the rows of all outer rows, and an aggregate without GROUP BY has no row where no row is found.

use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_common::tree_node::TreeNode as _;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable as _, Filter, JoinType, LogicalPlan, Operator,
};

use super::reads;

/// What lies above a step of a subquery.
#[derive(Clone, Copy)]
pub(super) struct Above {
    /// Whether rows are put together by what they have in common.
    grouped: bool,
    /// Whether there may be an aggregate that has a row where no row is found.
    total: bool,
}

impl Above {
    /// For a subquery as a value or behind LATERAL.
    pub(super) const ROWS: Above = Above { grouped: false, total: true };
    /// For a subquery that is asked for rows: EXISTS and IN.
    pub(super) const ASKED: Above = Above { grouped: false, total: false };
}

/// Whether a subquery may be left to DataFusion.
pub(super) fn easy(plan: &LogicalPlan, above: Above) -> Result<bool> {
    if reads::of_plan(plan)?.is_empty() {
        return Ok(true);
    }
    match plan {
        LogicalPlan::Filter(filter) => easy_filter(filter, above),
        _ if !own_reads(plan)? => match plan {
            LogicalPlan::Projection(projection) => easy(&projection.input, above),
            // It loses the columns of conditions below an alias, and below two of these steps.
            LogicalPlan::Distinct(_) | LogicalPlan::Aggregate(_) if above.grouped => Ok(false),
            LogicalPlan::Distinct(Distinct::All(input)) => easy(input, Above { grouped: true, total: false }),
            LogicalPlan::Aggregate(aggregate) => {
                let allowed = !aggregate.group_expr.is_empty() || above.total;
                let below = Above { grouped: true, total: false };
                Ok(allowed && grouping_sets(aggregate).is_none() && easy(&aggregate.input, below)?)
            }
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner && reads::lateral(join).is_none() => {
                let below = Above { total: false, ..above };
                let (left, right) = (reads::of_plan(&join.left)?, reads::of_plan(&join.right)?);
                Ok((left.is_empty() || right.is_empty()) && easy(&join.left, below)? && easy(&join.right, below)?)
            }
            _ => Ok(false),
        },
        _ => Ok(false),
    }
}

/// Whether the step itself reads outer columns, or a subquery in its expressions does.
fn own_reads(plan: &LogicalPlan) -> Result<bool> {
    let scope: Vec<_> = plan.inputs().into_iter().map(|input| input.schema().as_ref()).collect();
    for expr in plan.expressions() {
        if !reads::of_expr(&expr, &scope)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn easy_filter(filter: &Filter, above: Above) -> Result<bool> {
    let schema = filter.input.schema();
    let mut reading = false;
    for part in split_conjunction(&filter.predicate) {
        let reads = !reads::of_expr(part, &[schema.as_ref()])?.is_empty();
        reading |= reads;
        // Subqueries inside that read this row's outer row are two levels below it.
        let nested =
            part.exists(|part| Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_))))?;
        if reads && (nested || above.grouped && !equality(part, filter)?) {
            return Ok(false);
        }
    }
    match reading {
        // Of two such filters it loses the columns of the lower one.
        true => Ok(reads::of_plan(&filter.input)?.is_empty()),
        false => easy(&filter.input, Above { total: false, ..above }),
    }
}

/// Whether a condition says that a column is equal to a value of the outer row.
fn equality(condition: &Expr, filter: &Filter) -> Result<bool> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return Ok(false) };
    let outer = |expr: &Expr| expr.contains_outer() && expr.column_refs().is_empty();
    let inner = |expr: &Expr| matches!(expr, Expr::Column(_));
    if !(outer(left) && inner(right) || outer(right) && inner(left)) {
        return Ok(false);
    }
    let schema = filter.input.schema().as_ref();
    let (left, right) = (left.get_type(schema)?, right.get_type(schema)?);
    Ok(left == right || kind(&left).is_some() && kind(&left) == kind(&right))
}

/// Types among which a cast to a common one keeps different values apart.
fn kind(data_type: &DataType) -> Option<u8> {
    match data_type {
        data_type if data_type.is_integer() || data_type.is_decimal() => Some(0),
        data_type if data_type.is_floating() => Some(1),
        DataType::Date32 | DataType::Timestamp(..) => Some(2),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(3),
        _ => None,
    }
}

/// The lists of grouping expressions, if there is more than the one.
pub(super) fn grouping_sets(aggregate: &Aggregate) -> Option<&Expr> {
    aggregate.group_expr.iter().find(|expr| matches!(expr, Expr::GroupingSet(_)))
}
