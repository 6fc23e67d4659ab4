//! `TUMBLE(relation, time, size)`, `HOP(relation, time, slide, size)` and `CUMULATE(relation, time, step, size)` in
//! FROM, and the reading of all table functions.

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
use super::keyed::{Keyed, KeyedNode};
use super::series;
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

/// Reads the table functions.
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
        let Some(call) = Call::of(&function, name, args)? else {
            let message = format!("table function \"{function}\" does not exist");
            let issue = PlanIssue::new(Code::UnknownFunction, message, name.span());
            return Err(issue
                .hint(
                    "the table functions are TUMBLE, HOP, CUMULATE, SESSION, CONNECTED_COMPONENTS and GENERATE_SERIES",
                )
                .into());
        };
        let plan = match call.function {
            "generate_series" => {
                // As in PostgreSQL, a name for the table alone is one for its column too.
                let given = alias.as_ref().filter(|alias| alias.columns.is_empty());
                let column = given.map_or(call.function, |alias| alias.name.value.as_str());
                series::plan(&call.arguments, column, call.usage, context)?
            }
            _ => call.plan(context)?,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

/// A table function.
pub(super) struct TableFunction {
    name: &'static str,
    /// The fewest and the most arguments.
    arguments: (usize, usize),
    /// How to write it.
    pub(super) usage: &'static str,
    /// What it does.
    pub(super) doc: &'static str,
}

/// The table functions.
pub(super) const FUNCTIONS: &[TableFunction] = &[
    TableFunction {
        name: "tumble",
        arguments: (3, 3),
        usage: "write TUMBLE(table, time_column, INTERVAL '5 minutes')",
        doc: "Windows side by side from the Unix epoch on; adds `window_start` and `window_end`.",
    },
    TableFunction {
        name: "hop",
        arguments: (4, 4),
        usage: "write HOP(table, time_column, INTERVAL '1 minute', INTERVAL '5 minutes')",
        doc: "Windows of the size every slide: a row once for each window it is in. A slide longer than the size leaves gaps.",
    },
    TableFunction {
        name: "cumulate",
        arguments: (4, 4),
        usage: "write CUMULATE(table, time_column, INTERVAL '1 hour', INTERVAL '1 day')",
        doc: "Windows of the size, each also cut short after every step: totals since midnight, hour by hour.",
    },
    TableFunction {
        name: "session",
        arguments: (3, usize::MAX),
        usage: "write SESSION(table, time_column, INTERVAL '30 minutes', key_column, …)",
        doc: "Rows of a key less than the gap apart are one window, which ends a gap after the last. Windows merge when a \
              row comes between and split when one is taken back. Where the window's end moves, every row of it is given \
              again; GROUP BY the keys, window_start and window_end is kept in time proportional to the change.",
    },
    TableFunction {
        name: "connected_components",
        arguments: (3, 4),
        usage: "write CONNECTED_COMPONENTS(table, from_column, to_column [, hub_limit])",
        doc: "`node, component` of the graph of these edges: each node with the least node that it is connected with. A \
              node with more neighbours than the limit connects nothing.",
    },
    TableFunction {
        name: "generate_series",
        arguments: (2, 3),
        usage: "write GENERATE_SERIES(first, last [, step])",
        doc: "The integers, or the times with an interval as step, from the first constant to the last, both included.",
    },
];

/// A call of a table function.
struct Call<'a> {
    function: &'static str,
    usage: &'static str,
    arguments: Vec<&'a SqlExpr>,
}

impl<'a> Call<'a> {
    fn of(function: &str, name: &ObjectName, args: &'a TableFunctionArgs) -> Result<Option<Call<'a>>> {
        let Some(known) = FUNCTIONS.iter().find(|known| known.name == function) else {
            return Ok(None);
        };
        let TableFunction { name: function, arguments: (fewest, most), usage, .. } = known;
        let arguments: Vec<&SqlExpr> = args.args.iter().filter_map(argument).collect();
        if !(*fewest..=*most).contains(&arguments.len()) || args.args.len() != arguments.len() {
            let wanted = if fewest == most { fewest.to_string() } else { format!("{fewest} or more") };
            let message = format!("{} takes {wanted} arguments, not {}", function.to_uppercase(), args.args.len());
            return Err(PlanIssue::new(Code::Syntax, message, name.span()).hint(usage).into());
        }
        Ok(Some(Call { function, usage, arguments }))
    }

    fn plan(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let input = context.plan(relation_of(self.arguments[0], self.usage)?)?;
        if self.function == "connected_components" {
            return self.components(context, input);
        }
        let time = context.sql_to_expr(self.arguments[1].clone(), input.schema())?;
        let time_type = time.get_type(input.schema())?;
        if !matches!(time_type, DataType::Timestamp(_, _)) {
            let message = format!("the time of a window is a timestamp, not {time_type}");
            let issue = PlanIssue::new(Code::TypeMismatch, message, self.arguments[1].span());
            return Err(issue.hint(self.usage).into());
        }
        if self.function == "session" {
            let gap_ms = self.length(context, &input, 2)?;
            let mut exprs = vec![time];
            for key in &self.arguments[3..] {
                exprs.push(context.sql_to_expr((*key).clone(), input.schema())?);
            }
            return extension(KeyedNode::try_new(input, Keyed::Session { gap_ms }, exprs)?);
        }
        let first = self.length(context, &input, 2)?;
        let window = match self.function {
            "tumble" => Window::Tumble { size_ms: first },
            "hop" => Window::Hop { slide_ms: first, size_ms: self.length(context, &input, 3)? },
            _ => {
                let size_ms = self.length(context, &input, 3)?;
                if size_ms % first != 0 {
                    let message = "the size of CUMULATE is not a multiple of its step";
                    let issue = PlanIssue::new(Code::BadOption, message, self.arguments[2].span());
                    return Err(issue.hint("CUMULATE takes the step first, then the size").into());
                }
                Window::Cumulate { step_ms: first, size_ms }
            }
        };
        extension(WindowNode::try_new(input, time, window)?)
    }

    fn length(&self, context: &mut dyn RelationPlannerContext, input: &LogicalPlan, at: usize) -> Result<i64> {
        let argument = self.arguments[at];
        let length = context.sql_to_expr(argument.clone(), input.schema())?;
        positive_ms(&length, argument, self.usage)
    }

    fn components(&self, context: &mut dyn RelationPlannerContext, input: LogicalPlan) -> Result<LogicalPlan> {
        let mut ends = Vec::new();
        for end in &self.arguments[1..3] {
            ends.push(context.sql_to_expr((*end).clone(), input.schema())?);
        }
        let hub_limit = match self.arguments.get(3) {
            None => None,
            Some(limit) => {
                let expr = context.sql_to_expr((*limit).clone(), input.schema())?;
                let number = match &expr {
                    Expr::Literal(value, _) => value.cast_to(&DataType::UInt64).ok(),
                    _ => None,
                };
                match number {
                    Some(ScalarValue::UInt64(Some(number))) => usize::try_from(number).ok(),
                    _ => {
                        let message = "the hub limit is a number of neighbours";
                        let issue = PlanIssue::new(Code::TypeMismatch, message, limit.span());
                        return Err(issue.hint(self.usage).into());
                    }
                }
            }
        };
        extension(KeyedNode::try_new(input, Keyed::Components { hub_limit }, ends)?)
    }
}

fn extension(node: impl UserDefinedLogicalNodeCore) -> Result<LogicalPlan> {
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
