//! Comparisons of a row's time with `now()` become bounds of the row's life.
//!
//! `ts > now() - INTERVAL '5 minutes'` is true while `now < ts + 5 minutes`, so the row is there
//! until that instant, exclusive. `now()` is a whole number of milliseconds, so `now <= t` is `now < t + 1 ms`, and
//! finer times are rounded to the side that changes nothing.
//! This is done before the optimizer runs: its filter push-down would otherwise move such a
//! predicate below an aggregate, where it means the same rows but a heap of all inputs.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion_common::{DFSchemaRef, DataFusionError, Result, ScalarValue};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable as _, Extension, Filter, LogicalPlan, Operator,
    UserDefinedLogicalNodeCore,
};

use highwater_engine::model::wide::timestamp_type;

use super::errors::Place;
use super::now::{has_now, is_now};
use super::window::interval_ms;
use crate::diagnostic::{Code, Diagnostic};

/// An instant of a row: a timestamp of the row and milliseconds to add.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bound {
    pub(super) time: Expr,
    pub(super) offset_ms: i64,
}

/// Rows that are there while `now` is at or after all `from` and before all `until`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TemporalNode {
    pub(super) input: LogicalPlan,
    pub(super) from: Vec<Bound>,
    pub(super) until: Vec<Bound>,
}

impl PartialOrd for TemporalNode {
    /// Nodes have no order worth the name; DataFusion asks for one.
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for TemporalNode {
    fn name(&self) -> &str {
        "TemporalFilter"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.from.iter().chain(&self.until).map(|bound| bound.time.clone()).collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TemporalFilter: from {:?} until {:?}", self.from, self.until)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else {
            return datafusion_common::internal_err!("a temporal filter has an input");
        };
        let mut exprs = exprs.into_iter();
        let mut renew = |bounds: &[Bound]| -> Vec<Bound> {
            bounds.iter().zip(&mut exprs).map(|(bound, time)| Bound { time, offset_ms: bound.offset_ms }).collect()
        };
        let from = renew(&self.from);
        let until = renew(&self.until);
        Ok(TemporalNode { input, from, until })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

const HINT: &str = "write WHERE block_timestamp > now() - INTERVAL '5 minutes'";

/// Takes `now()` out of all filters; anywhere else it is a mistake.
pub(super) fn extract(plan: LogicalPlan, place: &Place<'_>) -> Result<LogicalPlan, Diagnostic> {
    let plan = plan
        .transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Filter(filter) if has_now(&filter.predicate) => split(filter, place)
                .map(Transformed::yes)
                .map_err(|mistake| DataFusionError::External(Box::new(mistake))),
            other => Ok(Transformed::no(other)),
        })
        .map_err(|error| place.diagnose(&error))?
        .data;
    let mut misused = false;
    plan.apply_with_subqueries(|node| {
        misused |= node.expressions().iter().any(has_now);
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|error| place.diagnose(&error))?;
    if misused {
        return Err(misuse("now() can only be compared with a time in WHERE", place));
    }
    Ok(plan)
}

fn misuse(message: &str, place: &Place<'_>) -> Diagnostic {
    let span =
        place.lines.find_word(place.within, "now").or_else(|| place.lines.find_word(place.within, "current_timestamp"));
    Diagnostic::new(Code::NowMisuse, message, span).or_at(place.start()).with_hint(HINT)
}

/// A filter as plain filter below and temporal filter above.
fn split(filter: Filter, place: &Place<'_>) -> Result<LogicalPlan, Diagnostic> {
    let mut plain = Vec::new();
    let (mut from, mut until) = (Vec::new(), Vec::new());
    let input = Arc::unwrap_or_clone(filter.input);
    for predicate in split_conjunction_owned(filter.predicate) {
        if !has_now(&predicate) {
            plain.push(predicate);
            continue;
        }
        for (left, op, right) in comparisons(predicate, place)? {
            match bound(left, op, right, &input, place)? {
                Life::From(bound) => from.push(bound),
                Life::Until(bound) => until.push(bound),
            }
        }
    }
    let input = match conjunction(plain) {
        Some(predicate) => LogicalPlan::Filter(Filter::new(predicate, Arc::new(input))),
        None => input,
    };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(TemporalNode { input, from, until }) }))
}

/// The predicate as comparisons that all must hold.
fn comparisons(predicate: Expr, place: &Place<'_>) -> Result<Vec<(Expr, Operator, Expr)>, Diagnostic> {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq) =>
        {
            Ok(vec![(*left, op, *right)])
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            Ok(vec![((*expr).clone(), Operator::GtEq, *low), (*expr, Operator::LtEq, *high)])
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
            Err(misuse("now() cannot stand inside OR", place).with_hint("use two queries and UNION ALL"))
        }
        _ => Err(misuse("now() can only be compared with <, <=, > or >=", place)),
    }
}

enum Life {
    From(Bound),
    Until(Bound),
}

/// `left op right` solved for `now()`.
fn bound(left: Expr, op: Operator, right: Expr, input: &LogicalPlan, place: &Place<'_>) -> Result<Life, Diagnostic> {
    let mut sum = Sum::default();
    sum.add(left, 1, place)?;
    sum.add(right, -1, place)?;
    let overflow = || misuse("the interval is too long", place);
    let (Some((time, sign)), true) = (sum.times.pop(), sum.times.is_empty()) else {
        return Err(misuse("now() is compared with exactly one time of the row", place));
    };
    if sum.now != -sign {
        return Err(misuse("now() and the time of the row are on different sides of a comparison", place));
    }
    let time_type = time.get_type(input.schema()).map_err(|error| place.diagnose(&error))?;
    let DataType::Timestamp(unit, _) = time_type else {
        return Err(misuse(&format!("now() is compared with a timestamp, not {time_type}"), place));
    };
    // sign * (time + offset - now) op 0
    let offset_ms = sum.offset_ms.checked_mul(sign).ok_or_else(overflow)?;
    let op = if sign < 0 { op.swap().unwrap_or(op) } else { op };
    let after = offset_ms.checked_add(1).ok_or_else(overflow)?;
    // `now()` is a whole number of milliseconds.
    let whole = |up: bool| whole_ms(time.clone(), unit, up);
    Ok(match op {
        Operator::Gt => Life::Until(Bound { time: whole(true), offset_ms }),
        Operator::GtEq => Life::Until(Bound { time: whole(false), offset_ms: after }),
        Operator::Lt => Life::From(Bound { time: whole(false), offset_ms: after }),
        _ => Life::From(Bound { time: whole(true), offset_ms }),
    })
}

/// A time in milliseconds, rounded down or up. A part of a millisecond before 1970 is cut off.
fn whole_ms(time: Expr, unit: TimeUnit, up: bool) -> Expr {
    let less_than_one_ms = match unit {
        TimeUnit::Second | TimeUnit::Millisecond => return time,
        TimeUnit::Microsecond => 999_000,
        TimeUnit::Nanosecond => 999_999,
    };
    let rest = ScalarValue::new_interval_mdn(0, 0, less_than_one_ms);
    let time = if up { time + Expr::Literal(rest, None) } else { time };
    Expr::Cast(Cast::new(Box::new(time), timestamp_type()))
}

/// A sum of times of the row, `now()` and constant intervals.
#[derive(Default)]
struct Sum {
    now: i64,
    times: Vec<(Expr, i64)>,
    offset_ms: i64,
}

impl Sum {
    fn add(&mut self, expr: Expr, sign: i64, place: &Place<'_>) -> Result<(), Diagnostic> {
        if is_now(&expr) {
            self.now += sign;
            return Ok(());
        }
        match expr {
            Expr::Literal(value, metadata) => match interval_ms(&value) {
                Some(Ok(ms)) => {
                    let sum = ms.checked_mul(sign).and_then(|ms| self.offset_ms.checked_add(ms));
                    self.offset_ms = sum.ok_or_else(|| misuse("the interval is too long", place))?;
                }
                Some(Err(message)) => return Err(misuse(message, place).with_hint("count in days: INTERVAL '30 days'")),
                None => self.times.push((Expr::Literal(value, metadata), sign)),
            },
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
                self.add(*left, sign, place)?;
                self.add(*right, sign, place)?;
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
                self.add(*left, sign, place)?;
                self.add(*right, -sign, place)?;
            }
            Expr::Alias(alias) => self.add(*alias.expr, sign, place)?,
            Expr::Cast(Cast { expr, .. }) if has_now(&expr) => self.add(*expr, sign, place)?,
            other if has_now(&other) => {
                return Err(misuse("now() may only be added to or subtracted from intervals", place));
            }
            other => self.times.push((other, sign)),
        }
        Ok(())
    }
}
