//! What is known of a relation beyond its columns: when rows are final, what bounds them, what names a row.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::TreeNode as _;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable as _, Operator};
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::sink::Closing;

use super::ir::ViewClosing;
use super::window::interval_ms;

/// When rows of a time are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Rows are final once every block before the value and this many milliseconds is.
    pub(super) offset_ms: i64,
    /// All values are multiples of this many milliseconds.
    pub(super) step_ms: i64,
}

impl Moment {
    /// The same for the value rounded down to multiples of `unit_ms` within a span of `size_ms`: the
    /// latest time that falls into the span is a step before its end.
    pub(super) fn rounded(self, unit_ms: i64, size_ms: i64) -> Option<Moment> {
        let aligned = unit_ms % self.step_ms == 0 && size_ms % self.step_ms == 0;
        let step = if aligned { self.step_ms } else { 1 };
        Some(Moment { offset_ms: self.offset_ms.checked_add(size_ms)?.checked_sub(step)?, step_ms: unit_ms })
    }

    /// The same for the end of a session: the value and a pause, before which the latest time of a session may lie.
    pub(super) fn after_pause(self, gap_ms: i64) -> Option<Moment> {
        let latest = (gap_ms - 1) / self.step_ms * self.step_ms;
        let end = self.shifted(gap_ms)?;
        Some(Moment { offset_ms: end.offset_ms.checked_add(latest)?, ..end })
    }

    /// The same for the value moved by `by_ms`.
    pub(super) fn shifted(self, by_ms: i64) -> Option<Moment> {
        let step_ms = if by_ms % self.step_ms == 0 { self.step_ms } else { 1 };
        Some(Moment { offset_ms: self.offset_ms.checked_sub(by_ms)?, step_ms })
    }
}

/// What is known of one column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ColumnFacts {
    /// A time that says when rows are final.
    pub(super) time: Option<Moment>,
    /// The block number of the source of this index: rows are final with that block.
    pub(super) number: Option<usize>,
    /// Names a block or a transaction: all rows of one value come from one block.
    pub(super) block: bool,
    /// Takes few values whatever comes (a Boolean, a constant, a column of a reference table).
    pub(super) finite: bool,
}

/// What is known of a relation.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// One entry a column.
    pub(super) columns: Vec<ColumnFacts>,
    /// Rows are an image of rows of single blocks: a row goes only with its block.
    pub(super) linear: bool,
    /// Besides, all rows of a block are in one batch.
    pub(super) block_local: bool,
    /// What keeps the number of rows from growing for ever.
    pub(super) bound: Option<String>,
    /// Columns that identify a row.
    pub(super) key: Option<Vec<usize>>,
    /// The order in which rows are best shown: column, descending.
    pub(super) order: Vec<(usize, bool)>,
}

impl Facts {
    /// The facts after taking columns: `columns[i]` is where output column `i` comes from, if it is one.
    pub(super) fn project(&self, columns: &[Option<usize>], facts: Vec<ColumnFacts>) -> Facts {
        let place = |column: &usize| columns.iter().position(|from| *from == Some(*column));
        let key = self.key.as_ref().and_then(|key| key.iter().map(place).collect());
        let order = self.order.iter().map_while(|(column, down)| Some((place(column)?, *down))).collect();
        Facts {
            columns: facts,
            linear: self.linear,
            block_local: self.block_local,
            bound: self.bound.clone(),
            key,
            order,
        }
    }

    /// Rows may change at any time: nothing says when they are final.
    pub(super) fn without_closing(mut self) -> Facts {
        for column in &mut self.columns {
            column.time = None;
            column.number = None;
        }
        self
    }

    /// When a row is final, if that can be read off it. A row of a block is final with the block;
    /// others with the time of the smallest offset. Only millisecond timestamps can be read.
    pub(super) fn closing(&self, types: &[DataType]) -> Option<ViewClosing> {
        let number = self.columns.iter().position(|column| column.number.is_some());
        let number = number.map(|column| ViewClosing { closing: Closing::Block(column), offset_ms: 0 });
        let times = self.columns.iter().zip(types).enumerate();
        let time = times
            .filter(|(_, (_, data_type))| **data_type == timestamp_type())
            .filter_map(|(index, (column, _))| Some((column.time?.offset_ms, index)))
            .min()
            .map(|(offset_ms, index)| ViewClosing { closing: Closing::Time(index), offset_ms });
        if self.linear { number.or(time) } else { time.or(number) }
    }
}

/// What is known of the value of an expression.
pub(super) fn of_expr(expr: &Expr, schema: &DFSchema, columns: &[ColumnFacts]) -> ColumnFacts {
    match expr {
        Expr::Column(column) => {
            schema.index_of_column(column).ok().and_then(|index| columns.get(index)).cloned().unwrap_or_default()
        }
        Expr::Alias(alias) => of_expr(&alias.expr, schema, columns),
        Expr::Literal(_, _) => ColumnFacts { finite: true, ..ColumnFacts::default() },
        _ => ColumnFacts {
            time: truncated(expr, schema, columns).or_else(|| shifted(expr, schema, columns)),
            finite: is_finite(expr, schema, columns),
            ..ColumnFacts::default()
        },
    }
}

/// A time rounded down by a function.
fn truncated(expr: &Expr, schema: &DFSchema, columns: &[ColumnFacts]) -> Option<Moment> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let ((unit, size), time) = match (call.name(), call.args.as_slice()) {
        ("date_trunc", [unit, time]) => (unit_ms(unit)?, time),
        ("date_bin", [Expr::Literal(step, _), time]) => {
            let step = interval_ms(step)?.ok()?;
            ((step, step), time)
        }
        _ => return None,
    };
    moment(time, schema, columns)?.rounded(unit, size)
}

/// What a time says, also in a finer unit.
fn moment(expr: &Expr, schema: &DFSchema, columns: &[ColumnFacts]) -> Option<Moment> {
    match expr {
        Expr::Cast(cast) => {
            let finer = matches!(cast.field.data_type(), DataType::Timestamp(unit, _) if *unit != TimeUnit::Second);
            moment(&cast.expr, schema, columns).filter(|_| finer)
        }
        _ => of_expr(expr, schema, columns).time,
    }
}

/// A time moved by a constant interval.
fn shifted(expr: &Expr, schema: &DFSchema, columns: &[ColumnFacts]) -> Option<Moment> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (time, step, sign) = match (op, left.as_ref(), right.as_ref()) {
        (Operator::Plus, time, Expr::Literal(step, _)) => (time, step, 1),
        (Operator::Plus, Expr::Literal(step, _), time) => (time, step, 1),
        (Operator::Minus, time, Expr::Literal(step, _)) => (time, step, -1),
        _ => return None,
    };
    let step = interval_ms(step)?.ok()?.checked_mul(sign)?;
    moment(time, schema, columns)?.shifted(step)
}

/// What the results of `date_trunc` are multiples of, and the longest a unit can be.
fn unit_ms(unit: &Expr) -> Option<(i64, i64)> {
    const DAY: i64 = 86_400_000;
    let Expr::Literal(ScalarValue::Utf8(Some(unit)) | ScalarValue::Utf8View(Some(unit)), _) = unit else { return None };
    Some(match unit.to_ascii_lowercase().as_str() {
        "millisecond" => (1, 1),
        "second" => (1_000, 1_000),
        "minute" => (60_000, 60_000),
        "hour" => (3_600_000, 3_600_000),
        "day" => (DAY, DAY),
        "week" => (DAY, 7 * DAY),
        "month" => (DAY, 31 * DAY),
        "quarter" => (DAY, 92 * DAY),
        "year" => (DAY, 366 * DAY),
        _ => return None,
    })
}

fn is_finite(expr: &Expr, schema: &DFSchema, columns: &[ColumnFacts]) -> bool {
    if expr.get_type(schema).is_ok_and(|data_type| data_type == DataType::Boolean) {
        return true;
    }
    let unknown = expr.exists(|part| match part {
        Expr::Column(_) => Ok(!of_expr(part, schema, columns).finite),
        _ => Ok(false),
    });
    matches!(unknown, Ok(false)) && !expr.is_volatile()
}
