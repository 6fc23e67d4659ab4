//! One query: from sqlparser's tree to DataFusion's optimized logical plan.

use std::sync::{Arc, LazyLock};

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion_optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
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
use datafusion_optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion_optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{Analyzer, AnalyzerRule as _, Optimizer, OptimizerContext, OptimizerRule as _};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{Query, Statement};

use super::asof;
use super::context::Context;
use super::dependent;
use super::distinct_on::first_of_each;
use super::errors::Place;
use super::null_joins::NullJoins;
use super::recursion;
use super::refused;
use super::sets::counted;
use super::standard;
use super::subqueries;
use super::temporal;
use super::unique;
use super::using;
use crate::diagnostic::Diagnostic;
use crate::functions;

/// The plan as the SQL planner gives it: what is put in the place of an inlined view.
pub(super) fn raw_plan(query: &Query, context: &Context, place: &Place<'_>) -> Result<LogicalPlan, Diagnostic> {
    let mut query = query.clone();
    context.macros.inline(&mut query, place)?;
    refused::check(&query, place)?;
    standard::written(&mut query, place)?;
    using::written_out(&mut query, context, place);
    unique::inside(&mut query);
    asof::mark(&mut query).map_err(|error| place.diagnose(&error))?;
    functions::prepare(&mut query);
    if recursion::bindings(&query).is_some() {
        return recursion::plan(&query, context, place);
    }
    let limit = recursion::limit_of(&query);
    query.settings = None;
    let options = ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false);
    SqlToRel::new_with_options(context, options)
        .sql_statement_to_plan(Statement::Query(Box::new(query)))
        .and_then(|plan| recursion::own(asof::own(plan)?, limit))
        .map_err(|error| place.diagnose(&error))
}

/// The plan to lower: functions rewritten, types coerced, `now()` taken out, filters and projections
/// pushed to where rows are fewest.
pub(super) fn optimized(plan: LogicalPlan, place: &Place<'_>) -> Result<LogicalPlan, Diagnostic> {
    static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| Arc::new(options()));
    static OPTIMIZER: LazyLock<Optimizer> = LazyLock::new(optimizer);
    static KEYS: LazyLock<Optimizer> = LazyLock::new(keys);
    let analyze = |plan| -> datafusion_common::Result<LogicalPlan> {
        let context = OptimizerContext::new();
        let plan = RewriteSetComparison::new().rewrite(first_of_each(counted(plan)?)?, &context)?.data;
        let plan = subqueries::exact(dependent::marked(plan)?)?;
        let plan = functions::rewrite(group_frames(dependent::checked(dependent::unnested(plan)?)?)?)?;
        Analyzer::with_rules(vec![Arc::new(ResolveGroupingFunction::new()), Arc::new(TypeCoercion::new())])
            .execute_and_check(plan, &OPTIONS, |_, _| {})
            .and_then(functions::constant_floats)
    };
    let plan = analyze(plan).map_err(|error| place.diagnose(&error))?;
    let plan = temporal::extract(plan, place)?;
    let context = OptimizerContext::new_with_config_options(OPTIONS.clone()).without_query_execution_start_time();
    let correlated = has_outer_references(&plan);
    let plan = OPTIMIZER.optimize(plan, &context, |_, _| {}).map_err(|error| place.diagnose(&error))?;
    let plan = KEYS.optimize(plan, &context, |_, _| {}).map_err(|error| place.diagnose(&error))?;
    // A subquery knows the columns around it in the types that they had before a UNION below made its sides alike.
    match correlated {
        true => TypeCoercion::new().analyze(plan, &OPTIONS).map_err(|error| place.diagnose(&error)),
        false => Ok(plan),
    }
}

fn has_outer_references(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|part| Ok(matches!(part, Expr::OuterReferenceColumn(..))))?;
            Ok(TreeNodeRecursion::Continue)
        })
    });
    found && walked.is_ok()
}

/// A subquery as a value is a join like any other: what it gives may change.
fn options() -> ConfigOptions {
    let mut options = ConfigOptions::default();
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    options
}

/// The rules that keep a plan's meaning under change. Left out: what folds to one answer (limits,
/// statistics) and what rewrites aggregates.
fn optimizer() -> Optimizer {
    Optimizer::with_rules(vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(NullJoins::Guarded),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(NullJoins::AsConditions),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(OptimizeProjections::new()),
    ])
}

/// Keys of joins whose NULLs are equal, which must not be put in another order any more.
fn keys() -> Optimizer {
    Optimizer::with_rules(vec![
        Arc::new(NullJoins::AsKeys),
        Arc::new(NullJoins::Guarded),
        Arc::new(ExtractEquijoinPredicate::new()),
    ])
}

/// Frames of ranges without distances become frames of groups, which mean the same: DataFusion refuses ranges over
/// columns without arithmetic (addresses, hashes, text).
fn group_frames(plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Window(_) => {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|part| {
                    let Expr::WindowFunction(mut call) = part else { return Ok(Transformed::no(part)) };
                    let frame = &call.params.window_frame;
                    let far = |bound: &WindowFrameBound| match bound {
                        WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value) => !value.is_null(),
                        WindowFrameBound::CurrentRow => false,
                    };
                    if frame.units == WindowFrameUnits::Range && !far(&frame.start_bound) && !far(&frame.end_bound) {
                        let (start, end) = (frame.start_bound.clone(), frame.end_bound.clone());
                        call.params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Groups, start, end);
                    }
                    Ok(Transformed::yes(Expr::WindowFunction(call)))
                })?;
                Ok(Transformed::yes(name.restore(expr.data)))
            })
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}
