//! `generate_series(first, last [, step])` in FROM: the numbers or times from `first` to `last`, both included.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Spanned as _};
use highwater_engine::model::wide::timestamp_type;

use super::context::{Relation, RelationSource};
use super::errors::PlanIssue;
use super::window::interval_ms;
use crate::diagnostic::Code;

/// How many rows a series may have: it is made whole when the query is planned.
const MOST: usize = 10_000_000;

/// The series as a table with one column of this name.
pub(super) fn plan(
    arguments: &[&SqlExpr],
    name: &str,
    usage: &str,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let nothing = DFSchema::empty();
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let expr = context.sql_to_expr((*argument).clone(), &nothing)?;
        let issue = || PlanIssue::new(Code::TypeMismatch, "a series is between constants", argument.span()).hint(usage);
        match ExprSimplifier::new(SimplifyContext::default()).simplify(expr)? {
            Expr::Literal(value, _) if !value.is_null() => values.push(value),
            _ => return Err(issue().into()),
        }
    }
    let place = arguments[0].span();
    let refused = |message: &str| PlanIssue::new(Code::TypeMismatch, message, place).hint(usage);
    let step = values.get(2);
    let (bounds, data_type) = match (&values[0], &values[1]) {
        (first, last) if first.data_type().is_integer() && last.data_type().is_integer() => {
            let step = step.map_or(Some(1), integer).map(Step::Number);
            (integer(first).zip(integer(last)).zip(step), DataType::Int64)
        }
        (first, last) => (time_ms(first).zip(time_ms(last)).zip(step.and_then(Step::of_times)), timestamp_type()),
    };
    let Some(((first, last), step)) = bounds else {
        return Err(refused(
            "a series is between integers, or between times with an interval of whole milliseconds as its step",
        )
        .into());
    };
    let Some(numbers) = numbers(first, last, step) else {
        return Err(refused(&format!("a series has at most {MOST} rows and a step that is not 0")).into());
    };
    let column: ArrayRef = match data_type {
        DataType::Int64 => Arc::new(Int64Array::from(numbers)),
        _ => Arc::new(TimestampMillisecondArray::from(numbers).with_timezone_opt(zone(&data_type))),
    };
    let schema = Arc::new(Schema::new(vec![Field::new(name, data_type, false)]));
    let rows = RecordBatch::try_new(schema.clone(), vec![column])?;
    let source = RelationSource::new(Relation::Reference(rows), schema);
    LogicalPlanBuilder::scan(name, Arc::new(source), None)?.build()
}

fn zone(data_type: &DataType) -> Option<Arc<str>> {
    match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) if value.data_type().is_integer() => number,
        _ => None,
    }
}

fn time_ms(value: &ScalarValue) -> Option<i64> {
    let temporal = matches!(value.data_type(), DataType::Timestamp(_, _) | DataType::Date32);
    match value.cast_to(&timestamp_type()) {
        Ok(ScalarValue::TimestampMillisecond(ms, _)) if temporal => ms,
        _ => None,
    }
}

/// From one value of a series to the next.
#[derive(Clone, Copy)]
enum Step {
    /// A number, or milliseconds.
    Number(i64),
    /// Months, whose length is that of the calendar, with days and nanoseconds.
    Calendar(IntervalMonthDayNano),
}

impl Step {
    fn of_times(step: &ScalarValue) -> Option<Step> {
        match step {
            ScalarValue::IntervalMonthDayNano(Some(step)) if step.months != 0 => Some(Step::Calendar(*step)),
            fixed => interval_ms(fixed)?.ok().map(Step::Number),
        }
    }

    /// Above, below or at 0, with months of 30 days as PostgreSQL compares intervals.
    fn sign(self) -> i128 {
        match self {
            Step::Number(step) => step.signum().into(),
            Step::Calendar(IntervalMonthDayNano { months, days, nanoseconds }) => {
                let days = i128::from(months) * 30 + i128::from(days);
                (days * 86_400_000_000_000 + i128::from(nanoseconds)).signum()
            }
        }
    }

    fn after(self, number: i64) -> Option<i64> {
        match self {
            Step::Number(step) => number.checked_add(step),
            Step::Calendar(step) => TimestampMillisecondType::add_month_day_nano(number, step, UTC.parse().ok()?),
        }
    }
}

const UTC: &str = "+00:00";

/// None if the step is 0 or there are too many.
fn numbers(first: i64, last: i64, step: Step) -> Option<Vec<i64>> {
    let sign = step.sign();
    if sign == 0 {
        return None;
    }
    let mut numbers = Vec::new();
    let mut next = Some(first);
    while let Some(number) = next.filter(|number| if sign > 0 { *number <= last } else { *number >= last }) {
        if numbers.len() == MOST {
            return None;
        }
        numbers.push(number);
        // A month less than its days may lead back.
        next = step.after(number).filter(|next| (next > &number) == (sign > 0) && *next != number);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::{Step, numbers};

    #[test]
    fn both_ends_are_in_it() {
        assert_eq!(numbers(1, 4, Step::Number(1)), Some(vec![1, 2, 3, 4]));
        assert_eq!(numbers(1, 4, Step::Number(2)), Some(vec![1, 3]));
        assert_eq!(numbers(4, 1, Step::Number(-3)), Some(vec![4, 1]));
        assert_eq!(numbers(1, 0, Step::Number(1)), Some(Vec::new()));
        assert_eq!(numbers(i64::MAX - 1, i64::MAX, Step::Number(1)), Some(vec![i64::MAX - 1, i64::MAX]));
        assert_eq!(numbers(1, 1, Step::Number(0)), None);
        assert_eq!(numbers(0, i64::MAX, Step::Number(1)), None);
    }
}
