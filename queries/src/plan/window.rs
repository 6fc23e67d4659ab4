//! `TUMBLE(relation, time, size)` and `HOP(relation, time, slide, size)` in FROM.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, Result, ScalarValue, TableReference};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, ExprSchemable as _, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion_sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Spanned as _, TableFactor,
    TableFunctionArgs,
};
use highwater_engine::model::wide::timestamp_type;

use super::errors::PlanIssue;
use super::ir::Window;
use crate::diagnostic::Code;

/// The window a row belongs to starts here, inclusive.
pub(super) const WINDOW_START: &str = "window_start";
/// And ends here, exclusive.
pub(super) const WINDOW_END: &str = "window_end";

/// Assigns rows to windows: adds `window_start` and `window_end` to the columns of its input. Where
/// the input has columns of these names (windows over windows), the new ones take their place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WindowNode {
    pub(super) input: LogicalPlan,
    pub(super) time: Expr,
    pub(super) window: Window,
    schema: DFSchemaRef,
}

impl WindowNode {
    /// The columns of the input that stay, in order.
    pub(super) fn kept(&self) -> Vec<usize> {
        kept(self.input.schema())
    }

    fn try_new(input: LogicalPlan, time: Expr, window: Window) -> Result<WindowNode> {
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> = Vec::new();
        for column in kept(input.schema()) {
            let (qualifier, field) = input.schema().qualified_field(column);
            fields.push((qualifier.cloned(), field.clone()));
        }
        for name in [WINDOW_START, WINDOW_END] {
            fields.push((None, Arc::new(Field::new(name, timestamp_type(), false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(WindowNode { input, time, window, schema })
    }
}

fn kept(schema: &DFSchema) -> Vec<usize> {
    let names = schema.fields().iter().map(|field| field.name().as_str()).enumerate();
    names.filter(|(_, name)| ![WINDOW_START, WINDOW_END].contains(name)).map(|(column, _)| column).collect()
}

impl PartialOrd for WindowNode {
    /// Nodes have no order worth the name; DataFusion asks for one.
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone()]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([WINDOW_START.to_owned(), WINDOW_END.to_owned()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window: {:?} of {}", self.window, self.time)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.pop(), inputs.pop()) {
            (Some(time), Some(input)) => WindowNode::try_new(input, time, self.window),
            _ => datafusion_common::internal_err!("a window has one input and one time"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // The columns of `expressions()` are added by the optimizer.
        let kept = self.kept();
        Some(vec![output_columns.iter().filter_map(|column| kept.get(*column).copied()).collect()])
    }
}

/// Reads the two table functions.
#[derive(Debug)]
pub(super) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table { name, alias, args: Some(args), .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let function = name.to_string().to_lowercase();
        let plan = match function.as_str() {
            "tumble" | "hop" => plan_window(&function, name, args, context)?,
            "session" => {
                let issue = PlanIssue::new(Code::Unsupported, "SESSION windows are not supported yet", name.span());
                return Err(issue.hint("use TUMBLE or HOP").into());
            }
            _ => {
                let message = format!("table function \"{function}\" does not exist");
                let issue = PlanIssue::new(Code::UnknownFunction, message, name.span());
                return Err(issue.hint("the table functions are TUMBLE and HOP").into());
            }
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

fn plan_window(
    function: &str,
    name: &ObjectName,
    args: &TableFunctionArgs,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let usage = if function == "tumble" {
        "write TUMBLE(table, time_column, INTERVAL '5 minutes')"
    } else {
        "write HOP(table, time_column, INTERVAL '1 minute', INTERVAL '5 minutes')"
    };
    let wanted = if function == "tumble" { 3 } else { 4 };
    let arguments: Vec<&SqlExpr> = args.args.iter().filter_map(argument).collect();
    if arguments.len() != wanted || args.args.len() != wanted {
        let message = format!("{} takes {wanted} arguments, not {}", function.to_uppercase(), args.args.len());
        return Err(PlanIssue::new(Code::Syntax, message, name.span()).hint(usage).into());
    }
    let input = context.plan(relation_of(arguments[0], usage)?)?;
    let time = context.sql_to_expr(arguments[1].clone(), input.schema())?;
    let time_type = time.get_type(input.schema())?;
    if !matches!(time_type, DataType::Timestamp(_, _)) {
        let message = format!("the time of a window is a timestamp, not {time_type}");
        return Err(PlanIssue::new(Code::TypeMismatch, message, arguments[1].span()).hint(usage).into());
    }
    let mut lengths = Vec::new();
    for argument in &arguments[2..] {
        let length = context.sql_to_expr((*argument).clone(), input.schema())?;
        lengths.push(positive_ms(&length, argument, usage)?);
    }
    let window = match lengths.as_slice() {
        [size_ms] => Window::Tumble { size_ms: *size_ms },
        [slide_ms, size_ms] if slide_ms <= size_ms => Window::Hop { slide_ms: *slide_ms, size_ms: *size_ms },
        _ => {
            let message = "the slide of HOP is longer than its size: rows between windows would be lost";
            let issue = PlanIssue::new(Code::BadOption, message, arguments[2].span());
            return Err(issue.hint("HOP takes the slide first, then the size").into());
        }
    };
    let node = WindowNode::try_new(input, time, window)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

fn argument(argument: &FunctionArg) -> Option<&SqlExpr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// The first argument is a relation, but is read as an expression.
fn relation_of(expr: &SqlExpr, usage: &str) -> Result<TableFactor> {
    let idents: Vec<Ident> = match expr {
        SqlExpr::Identifier(ident) => vec![ident.clone()],
        SqlExpr::CompoundIdentifier(idents) => idents.clone(),
        SqlExpr::Subquery(query) => {
            return Ok(TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None });
        }
        other => {
            let issue = PlanIssue::new(Code::Syntax, "the first argument of a window is a table or view", other.span());
            return Err(issue.hint(usage).into());
        }
    };
    Ok(TableFactor::Table {
        name: ObjectName(idents.into_iter().map(ObjectNamePart::Identifier).collect()),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    })
}

fn positive_ms(length: &Expr, at: &SqlExpr, usage: &str) -> Result<i64, DataFusionError> {
    let issue = |message: &str| PlanIssue::new(Code::TypeMismatch, message, at.span());
    let Expr::Literal(value, _) = length else {
        return Err(issue("the length of a window is a constant interval").hint(usage).into());
    };
    match interval_ms(value) {
        Some(Ok(ms)) if ms > 0 => Ok(ms),
        Some(Ok(_)) => Err(issue("the length of a window is at least one millisecond").hint(usage).into()),
        Some(Err(message)) => Err(issue(message).hint("count in days: INTERVAL '30 days'").into()),
        None => Err(issue("the length of a window is an interval").hint(usage).into()),
    }
}

/// The length of an interval in milliseconds; none if it is no interval, an error if it has no fixed
/// length or is not a whole number of milliseconds.
pub(super) fn interval_ms(value: &ScalarValue) -> Option<Result<i64, &'static str>> {
    const DAY_MS: i64 = 86_400_000;
    const MONTHS: &str = "months and years have no fixed length";
    const FRACTION: &str = "intervals are whole milliseconds";
    let whole = |days: i64, ms: i64| days.checked_mul(DAY_MS).and_then(|days| days.checked_add(ms)).ok_or(FRACTION);
    Some(match value {
        ScalarValue::IntervalYearMonth(Some(_)) => Err(MONTHS),
        ScalarValue::IntervalDayTime(Some(value)) => whole(value.days.into(), value.milliseconds.into()),
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.months != 0 => Err(MONTHS),
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.nanoseconds % 1_000_000 != 0 => Err(FRACTION),
        ScalarValue::IntervalMonthDayNano(Some(value)) => whole(value.days.into(), value.nanoseconds / 1_000_000),
        ScalarValue::DurationSecond(Some(value)) => value.checked_mul(1_000).ok_or(FRACTION),
        ScalarValue::DurationMillisecond(Some(value)) => Ok(*value),
        ScalarValue::DurationMicrosecond(Some(value)) if value % 1_000 == 0 => Ok(value / 1_000),
        ScalarValue::DurationNanosecond(Some(value)) if value % 1_000_000 == 0 => Ok(value / 1_000_000),
        ScalarValue::DurationMicrosecond(Some(_)) | ScalarValue::DurationNanosecond(Some(_)) => Err(FRACTION),
        _ => return None,
    })
}
