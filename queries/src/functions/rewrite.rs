//! The pass over a fresh plan that gives 256-bit integers their meaning wherever the planner could
//! not: casts, CASE, IN, BETWEEN, conditional functions, UNION. It also repairs field metadata that
//! DataFusion drops.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::{Between, BinaryExpr, Case, InList, ScalarFunction};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, ExprSchemable, Join, LogicalPlan, Operator, Projection, Union};
use highwater_engine::model::wide::{Wide, wide_kind};

use super::casts::plan_cast;
use super::conditional::{Conditional, null, plan_conditional, tagged};
use super::convert::{Operand, call, common_kind, into_bytes_like};
use super::function::{Udf, sql_name};
use super::literals::full_times;
use super::markers::Marker;
use super::operators::plan_binary;
use super::sign::INT256_NEG;
use super::tag::tag_function;
use super::time_format::plan_format;

/// Gives 256-bit integers, addresses and hashes their meaning in a plan as SQL planning leaves it.
/// Run it before DataFusion's analyzer.
///
/// # Errors
/// If an expression mixes types that have no common meaning.
pub fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(rewrite_node)?.data)
}

fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = match plan {
        LogicalPlan::Union(union) => LogicalPlan::Union(align_union(union)?),
        other => other,
    };
    if let LogicalPlan::Join(join) = &plan {
        check_join(join)?;
    }
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(rewrite_expr(expr, &schema)?.update_data(|expr| name.restore(expr)))
    })?;
    // Always anew: an input may have got back the metadata it had lost.
    let plan = match rewritten.data {
        extension @ LogicalPlan::Extension(_) => {
            let (exprs, inputs) = (extension.expressions(), extension.inputs().into_iter().cloned().collect());
            extension.with_new_exprs(exprs, inputs)?
        }
        other => other.recompute_schema()?,
    };
    Ok(Transformed::yes(plan))
}

/// Gives one expression its meaning over a schema.
pub(crate) fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| rewrite_one(expr, schema))
}

/// The same, but for what `is_done`: so a chain of operators is gone over once, not once for each of them.
pub(crate) fn rewrite_unless(expr: Expr, schema: &DFSchema, is_done: &impl Fn(&Expr) -> bool) -> Result<Expr> {
    if is_done(&expr) {
        return Ok(expr);
    }
    let expr = expr.map_children(|child| Ok(Transformed::yes(rewrite_unless(child, schema, is_done)?)))?.data;
    Ok(rewrite_one(expr, schema)?.data)
}

fn changed(planned: Option<Expr>, original: Expr) -> Transformed<Expr> {
    match planned {
        Some(planned) => Transformed::yes(planned),
        None => Transformed::no(original),
    }
}

fn rewrite_one(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Transformed { data: expr, transformed: read, .. } = full_times(expr, schema)?;
    let planned = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => plan_binary(left, *op, right, schema)?,
        Expr::Cast(cast) => plan_cast(&cast.expr, &cast.field, false, schema)?,
        Expr::TryCast(cast) => plan_cast(&cast.expr, &cast.field, true, schema)?,
        Expr::Between(between) => plan_between(between, schema)?,
        Expr::InList(list) => plan_in_list(list, schema)?,
        Expr::Case(case) => plan_case(case, schema)?,
        Expr::ScalarFunction(function) => plan_function(function, schema)?,
        Expr::InSubquery(test) => {
            let inner = wide_kind(test.subquery.subquery.schema().field(0));
            check_same(Operand::new((*test.expr).clone(), schema).ok().and_then(|operand| operand.wide), inner)?;
            None
        }
        _ => None,
    };
    let mut rewritten = changed(planned, expr);
    rewritten.transformed |= read;
    Ok(rewritten)
}

fn check_same(left: Option<Wide>, right: Option<Wide>) -> Result<()> {
    if left == right {
        return Ok(());
    }
    let name = |kind: Option<Wide>| kind.map_or("another type", sql_name);
    plan_err!("{} is compared with {}: convert one side, as with uint256(…)", name(left), name(right))
}

fn binary(left: &Expr, operator: Operator, right: &Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), operator, Box::new(right.clone())))
}

fn plan_between(between: &Between, schema: &DFSchema) -> Result<Option<Expr>> {
    let low = plan_binary(&between.expr, Operator::GtEq, &between.low, schema)?;
    let high = plan_binary(&between.expr, Operator::LtEq, &between.high, schema)?;
    if low.is_none() && high.is_none() {
        return Ok(None);
    }
    let low = low.unwrap_or_else(|| binary(&between.expr, Operator::GtEq, &between.low));
    let high = high.unwrap_or_else(|| binary(&between.expr, Operator::LtEq, &between.high));
    let both = low.and(high);
    Ok(Some(if between.negated { Expr::Not(Box::new(both)) } else { both }))
}

fn plan_in_list(list: &InList, schema: &DFSchema) -> Result<Option<Expr>> {
    let Ok(operand) = Operand::new((*list.expr).clone(), schema) else { return Ok(None) };
    let items = list.list.iter().map(|item| Operand::new(item.clone(), schema)).collect::<Result<Vec<_>>>()?;
    let rebuilt = |items: Vec<Expr>| Some(Expr::InList(InList::new(list.expr.clone(), items, list.negated)));
    if operand.is_plain_bytes() {
        let items = items.into_iter().map(|item| into_bytes_like(item, &operand.data_type));
        return Ok(rebuilt(items.collect::<Result<_>>()?));
    }
    let Some(kind) = operand.wide else { return Ok(None) };
    let mut same_kind = true;
    for item in &items {
        same_kind &= !item.is_plain_bytes() && item.own_kind(kind)? == kind;
    }
    if same_kind {
        return Ok(rebuilt(items.into_iter().map(|item| item.into_wide(kind)).collect::<Result<_>>()?));
    }
    let mut any: Option<Expr> = None;
    for item in &list.list {
        let equal = plan_binary(&list.expr, Operator::Eq, item, schema)?;
        let equal = equal.unwrap_or_else(|| binary(&list.expr, Operator::Eq, item));
        any = Some(match any {
            Some(any) => any.or(equal),
            None => equal,
        });
    }
    Ok(any.map(|any| if list.negated { Expr::Not(Box::new(any)) } else { any }))
}

fn plan_case(case: &Case, schema: &DFSchema) -> Result<Option<Expr>> {
    let (case, tests_changed) = search_case(case, schema)?;
    let otherwise = case.else_expr.as_deref().cloned().unwrap_or_else(null);
    let mut branches = Vec::with_capacity(case.when_then_expr.len() + 1);
    for branch in case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain([&otherwise]) {
        let Ok(operand) = Operand::new(branch.clone(), schema) else { return Ok(None) };
        branches.push(operand);
    }
    let known: Vec<_> = branches.iter().map(Operand::known).collect();
    let Some(kind) = common_kind(&known)? else {
        return Ok(tests_changed.then_some(Expr::Case(case)));
    };
    let mut values =
        branches.into_iter().map(|operand| operand.into_wide(kind).map(Box::new)).collect::<Result<Vec<_>>>()?;
    let otherwise = values.pop();
    let tests = case.when_then_expr.into_iter().zip(values).map(|((test, _), value)| (test, value)).collect();
    Ok(Some(tagged(kind, Expr::Case(Case::new(case.expr, tests, otherwise)))))
}

/// `CASE x WHEN y` as `CASE WHEN x = y` where the comparison is ours.
fn search_case(case: &Case, schema: &DFSchema) -> Result<(Case, bool)> {
    let Some(operand) = &case.expr else { return Ok((case.clone(), false)) };
    let mut tests = Vec::with_capacity(case.when_then_expr.len());
    for (value, then) in &case.when_then_expr {
        match plan_binary(operand, Operator::Eq, value, schema)? {
            Some(test) => tests.push((Box::new(test), then.clone())),
            None => return Ok((case.clone(), false)),
        }
    }
    Ok((Case::new(None, tests, case.else_expr.clone()), true))
}

fn plan_function(function: &ScalarFunction, schema: &DFSchema) -> Result<Option<Expr>> {
    let implementation = function.func.inner();
    if let Some(conditional) = implementation.downcast_ref::<Conditional>() {
        return plan_conditional(conditional, function.args.clone(), schema).map(Some);
    }
    match implementation.downcast_ref::<Marker>() {
        Some(Marker::Case(_)) => return Ok(function.args.first().cloned()),
        // Taken out with its join.
        Some(Marker::Asof(..)) => return Ok(None),
        Some(Marker::Negate(_)) => {
            return plan_negative(Operand::new(function.args[0].clone(), schema)?).map(Some);
        }
        None => {}
    }
    let Some(own) = implementation.downcast_ref::<Udf>() else { return Ok(plan_format(function)) };
    if let [Expr::ScalarFunction(inner)] = function.args.as_slice()
        && is_tag(own)
        && inner.func == function.func
    {
        return Ok(function.args.first().cloned());
    }
    if own.is_bound() {
        return Ok(None);
    }
    let operands = function.args.iter().map(|arg| Operand::new(arg.clone(), schema)).collect::<Result<Vec<_>>>()?;
    Ok(Some(call(own.function, operands)))
}

/// Unary minus; of integers a subtraction, which can be made to fail on overflow.
fn plan_negative(operand: Operand) -> Result<Expr> {
    if operand.wide.is_some() {
        return Ok(call(&INT256_NEG, vec![operand]));
    }
    if operand.data_type.is_signed_integer() {
        let zero = Expr::Literal(ScalarValue::new_zero(&operand.data_type)?, None);
        return Ok(binary(&zero, Operator::Minus, &operand.expr));
    }
    Ok(Expr::Negative(Box::new(operand.expr)))
}

fn is_tag(udf: &Udf) -> bool {
    [Wide::Unsigned, Wide::Signed].into_iter().any(|kind| std::ptr::eq(udf.function, tag_function(kind)))
}

fn check_join(join: &Join) -> Result<()> {
    for (left, right) in &join.on {
        let kind = |expr: &Expr, side: &LogicalPlan| -> Result<Option<Wide>> {
            Ok(wide_kind(&expr.to_field(side.schema().as_ref())?.1))
        };
        check_same(kind(left, &join.left)?, kind(right, &join.right)?)?;
    }
    Ok(())
}

/// Makes the inputs of a UNION agree on 256-bit columns.
fn align_union(union: Union) -> Result<Union> {
    let columns = union.inputs.iter().map(|input| input.schema().fields().len()).min().unwrap_or(0);
    let mut kinds = Vec::with_capacity(columns);
    for column in 0..columns {
        let fields: Vec<_> =
            union.inputs.iter().map(|input| (input.schema().field(column).as_ref().clone(), None)).collect();
        kinds.push(common_kind(&fields)?);
    }
    let inputs = union.inputs.iter().map(|input| align_input(input, &kinds)).collect::<Result<Vec<_>>>()?;
    Ok(Union { inputs, schema: union.schema })
}

fn align_input(input: &Arc<LogicalPlan>, kinds: &[Option<Wide>]) -> Result<Arc<LogicalPlan>> {
    let schema = input.schema();
    let fits = schema.fields().iter().zip(kinds).all(|(field, kind)| kind.is_none() || wide_kind(field) == *kind);
    if fits {
        return Ok(Arc::clone(input));
    }
    let mut exprs = Vec::with_capacity(kinds.len());
    for (index, (qualifier, field)) in schema.iter().enumerate() {
        let column = Expr::from((qualifier, field));
        let kind = kinds.get(index).copied().flatten();
        exprs.push(match kind {
            Some(kind) if wide_kind(field) != Some(kind) => {
                let wide = Operand::new(column, schema)?.into_wide(kind)?;
                wide.alias_qualified(qualifier.cloned(), field.name())
            }
            _ => column,
        });
    }
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(input))?)))
}
