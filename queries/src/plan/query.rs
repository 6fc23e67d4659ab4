//! One query: from sqlparser's tree to DataFusion's optimized logical plan.

use std::sync::{Arc, LazyLock};

use datafusion_common::ScalarValue;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion_optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion_optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion_optimizer::eliminate_filter::EliminateFilter;
use datafusion_optimizer::eliminate_group_by_constant::EliminateGroupByConstant;
use datafusion_optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::optimize_unions::OptimizeUnions;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{Query, Statement};

use super::context::Context;
use super::errors::Place;
use super::temporal;
use crate::diagnostic::{Code, Diagnostic};
use crate::functions;

/// The plan as the SQL planner gives it: what is put in the place of an inlined view.
pub(super) fn raw_plan(query: &Query, context: &Context, place: &Place<'_>) -> Result<LogicalPlan, Diagnostic> {
    if query.with.as_ref().is_some_and(|with| with.recursive) {
        return Err(Diagnostic::new(
            Code::Unsupported,
            "recursive queries are not supported yet",
            place.find("recursive"),
        )
        .with_hint("remove RECURSIVE, or compute the closure outside"));
    }
    let mut query = query.clone();
    functions::prepare(&mut query);
    let options = ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false);
    SqlToRel::new_with_options(context, options)
        .sql_statement_to_plan(Statement::Query(Box::new(query)))
        .map_err(|error| place.diagnose(&error))
}

/// The plan to lower: functions rewritten, types coerced, `now()` taken out, filters and projections
/// pushed to where rows are fewest.
pub(super) fn optimized(plan: LogicalPlan, place: &Place<'_>) -> Result<LogicalPlan, Diagnostic> {
    static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| Arc::new(ConfigOptions::default()));
    static OPTIMIZER: LazyLock<Optimizer> = LazyLock::new(optimizer);
    let analyze = |plan| -> datafusion_common::Result<LogicalPlan> {
        let plan = functions::rewrite(rows_frames(plan)?)?;
        Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]).execute_and_check(plan, &OPTIONS, |_, _| {})
    };
    let plan = analyze(plan).map_err(|error| place.diagnose(&error))?;
    let plan = temporal::extract(plan, place)?;
    let context = OptimizerContext::new_with_config_options(OPTIONS.clone()).without_query_execution_start_time();
    OPTIMIZER.optimize(plan, &context, |_, _| {}).map_err(|error| place.diagnose(&error))
}

/// The rules that keep a plan's meaning under change. Left out: what folds to one answer (limits,
/// statistics), what rewrites aggregates, and what turns scalar subqueries into joins of streams.
fn optimizer() -> Optimizer {
    Optimizer::with_rules(vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(OptimizeProjections::new()),
    ])
}

/// Gives window functions a frame of rows: the default frame of ranges is refused for columns without
/// arithmetic (addresses, hashes), and `row_number()`, the one that is supported, has no use for it.
fn rows_frames(plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Window(_) => {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let Expr::WindowFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
                let unbounded = WindowFrameBound::Preceding(ScalarValue::Null);
                call.params.window_frame =
                    WindowFrame::new_bounds(WindowFrameUnits::Rows, unbounded, WindowFrameBound::CurrentRow);
                Ok(Transformed::yes(name.restore(Expr::WindowFunction(call))))
            })
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}
