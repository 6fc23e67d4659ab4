//! What a window function computes: order, calls, frames, and the types of the results.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use highwater_engine::error::{Class, Classified};
use highwater_engine::model::wide::wide_kind;
use highwater_engine::operator::Route;

use crate::aggregate::{AggregateError, AggregateFunction, AggregateSpec};

/// `SELECT *, calls OVER (PARTITION BY … ORDER BY …) FROM input`.
#[derive(Clone, Debug)]
pub struct OverSpec {
    /// Columns of the input; they come first in the output.
    pub input: SchemaRef,
    /// Columns of `PARTITION BY`; none: one order over everything.
    pub partition: Vec<usize>,
    /// Columns of `ORDER BY` with their direction and place of NULLs; rows equal in them are peers.
    pub sort: Vec<(usize, SortOptions)>,
    /// The calls, one output column each.
    pub calls: Vec<OverCall>,
    /// Position within `partition` of a `Timestamp(Millisecond)` column after which a partition cannot change.
    pub closing: Option<usize>,
}

/// One call, such as `sum(amount) FILTER (WHERE paid) OVER (… ROWS 3 PRECEDING)`.
#[derive(Clone, PartialEq, Debug)]
pub struct OverCall {
    /// The function.
    pub function: OverFunction,
    /// Its arguments, by index into the input.
    pub arguments: Vec<usize>,
    /// A Boolean column: only rows where it is true count. Aggregates only.
    pub filter: Option<usize>,
    /// The rows that the function sees; without meaning for ranks, `lag`, `lead` and `ewma`.
    pub frame: Frame,
    /// Whether `lag`, `lead`, `first_value`, `last_value` and `nth_value` pass over NULLs.
    pub ignore_nulls: bool,
    /// Name of the output column.
    pub name: String,
}

/// The window functions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum OverFunction {
    /// `row_number()`: `Int64`.
    RowNumber,
    /// `rank()`: `Int64`.
    Rank,
    /// `dense_rank()`: `Int64`.
    DenseRank,
    /// `percent_rank()`: `(rank - 1) / (rows - 1)`, 0 for a single row.
    PercentRank,
    /// `cume_dist()`: rows up to the last peer by all rows.
    CumeDist,
    /// `ntile(n)`: `Int64` from 1 to `n`, the larger parts first.
    Ntile(i64),
    /// `lag(x, offset [, default])`: the argument so many rows before; the default is a second argument column.
    Lag {
        /// Rows back; forward if negative.
        offset: i64,
    },
    /// `lead(x, offset [, default])`: the argument so many rows after.
    Lead {
        /// Rows forward; back if negative.
        offset: i64,
    },
    /// `first_value(x)` of the frame.
    FirstValue,
    /// `last_value(x)` of the frame.
    LastValue,
    /// `nth_value(x, n)` of the frame, from 1.
    NthValue(i64),
    /// `count(x)`: `Int64`.
    Count,
    /// `count(*)`: `Int64`.
    CountAll,
    /// `sum(x)`: as [`AggregateFunction::Sum`], exact.
    Sum,
    /// `avg(x)`: as [`AggregateFunction::Avg`].
    Avg,
    /// `min(x)`.
    Min,
    /// `max(x)`.
    Max,
    /// The exponentially weighted average of all rows up to this one: the first value, then
    /// `alpha * x + (1 - alpha) * before`. A NULL leaves it as it was; before the first value it is NULL.
    Ewma {
        /// Weight of the newest value, from 0 to 1.
        alpha: f64,
    },
}

/// Which rows around a row a function sees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Frame {
    /// What the distances of the bounds count.
    pub units: Units,
    /// The first row.
    pub start: Bound,
    /// The last row.
    pub end: Bound,
}

/// What distances count, and whether peers of the current row are in its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Units {
    /// Rows; the current row is itself.
    Rows,
    /// Values of the one sort column; the current row is all its peers.
    Range,
    /// Groups of peers; the current row is all its peers.
    Groups,
}

/// An end of a frame.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// The first row of the partition.
    UnboundedPreceding,
    /// So far before the current row.
    Preceding(Distance),
    /// The current row, or its peers.
    CurrentRow,
    /// So far after the current row.
    Following(Distance),
    /// The last row of the partition.
    UnboundedFollowing,
}

/// How far a bound is from the current row; not negative.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Distance {
    /// Rows or groups.
    Count(u64),
    /// In the unit of an integer, timestamp or decimal sort column (a decimal without its point).
    Integer(i128),
    /// In the unit of a float sort column.
    Float(f64),
}

impl Frame {
    /// What SQL takes if there is no frame: `RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW`.
    pub const DEFAULT: Frame = Frame { units: Units::Range, start: Bound::UnboundedPreceding, end: Bound::CurrentRow };
}

/// A window function that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverError {
    /// Nothing to compute.
    #[error("a window function needs at least one call")]
    NoCalls,
    /// A column index points past the input's columns.
    #[error("the input has no column {index}")]
    MissingColumn {
        /// The index.
        index: usize,
    },
    /// Arguments, a filter or a parameter that the function does not take.
    #[error("the call \"{call}\" cannot be computed: {reason}")]
    Call {
        /// Name of the call.
        call: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A frame that SQL does not allow, or that does not fit the sort column.
    #[error("the frame of \"{call}\" cannot be used: {reason}")]
    Frame {
        /// Name of the call.
        call: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A closing column that is not a partition column of type timestamp in milliseconds.
    #[error("the closing position {position} is not a partition column of type timestamp (ms)")]
    Closing {
        /// Position within the partition columns.
        position: usize,
    },
    /// A function that is not defined for the type of its argument.
    #[error("an argument does not fit its function")]
    Argument(#[from] AggregateError),
    /// The columns cannot be encoded.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for OverError {
    fn class(&self) -> Class {
        match self {
            OverError::Call { .. } | OverError::Frame { .. } => Class::USER,
            OverError::Argument(error) => error.class(),
            _ => Class::INTERNAL,
        }
    }
}

impl OverSpec {
    /// The columns of the input, then the calls.
    pub fn output_schema(&self) -> Result<SchemaRef, OverError> {
        let mut fields: Vec<Arc<Field>> = self.input.fields().to_vec();
        for call in &self.calls {
            fields.push(Arc::new(self.call_field(call)?));
        }
        Ok(Arc::new(Schema::new_with_metadata(fields, self.input.metadata().clone())))
    }

    /// How rows must reach the workers.
    pub fn route(&self) -> Route {
        if self.partition.is_empty() { Route::First } else { Route::Key(self.partition.clone()) }
    }

    /// The field of a call's first argument.
    pub(super) fn argument(&self, call: &OverCall) -> Result<&Field, OverError> {
        let index = call.arguments.first().ok_or_else(|| refused(call, "it needs an argument"))?;
        Ok(self.input.field(*index))
    }

    fn call_field(&self, call: &OverCall) -> Result<Field, OverError> {
        use OverFunction as F;
        let number = |data_type| Ok(Field::new(&call.name, data_type, false));
        let aggregate = |function| {
            let field = AggregateSpec::output_type(function, &[self.argument(call)?])?;
            Ok::<Field, OverError>(field.with_name(&call.name))
        };
        match call.function {
            F::RowNumber | F::Rank | F::DenseRank | F::Ntile(_) | F::CountAll => number(DataType::Int64),
            F::PercentRank | F::CumeDist => number(DataType::Float64),
            F::Lag { .. } | F::Lead { .. } | F::FirstValue | F::LastValue | F::NthValue(_) => {
                Ok(self.argument(call)?.clone().with_nullable(true).with_name(&call.name))
            }
            F::Count => aggregate(AggregateFunction::Count),
            F::Sum => aggregate(AggregateFunction::Sum),
            F::Avg | F::Ewma { .. } => aggregate(AggregateFunction::Avg),
            F::Min => aggregate(AggregateFunction::Min),
            F::Max => aggregate(AggregateFunction::Max),
        }
    }

    /// Refuses what the operator could not run.
    pub(super) fn check(&self) -> Result<(), OverError> {
        if self.calls.is_empty() {
            return Err(OverError::NoCalls);
        }
        let columns = self.input.fields().len();
        let sorted = self.sort.iter().map(|(index, _)| *index);
        let used = self.calls.iter().flat_map(|call| call.arguments.iter().copied().chain(call.filter));
        if let Some(index) = self.partition.iter().copied().chain(sorted).chain(used).find(|index| *index >= columns) {
            return Err(OverError::MissingColumn { index });
        }
        if let Some(position) = self.closing {
            let closes = |index: &usize| {
                matches!(self.input.field(*index).data_type(), DataType::Timestamp(TimeUnit::Millisecond, _))
            };
            if !self.partition.get(position).is_some_and(closes) {
                return Err(OverError::Closing { position });
            }
        }
        self.calls.iter().try_for_each(|call| self.check_call(call).and_then(|()| self.check_frame(call)))
    }

    fn check_call(&self, call: &OverCall) -> Result<(), OverError> {
        use OverFunction as F;
        let most = match call.function {
            F::RowNumber | F::Rank | F::DenseRank | F::PercentRank | F::CumeDist | F::Ntile(_) | F::CountAll => 0,
            F::Lag { .. } | F::Lead { .. } => 2,
            _ => 1,
        };
        if call.arguments.len() > most || (most > 0 && call.arguments.is_empty()) {
            return Err(refused(call, "it has a wrong number of arguments"));
        }
        let aggregates = matches!(call.function, F::Count | F::CountAll | F::Sum | F::Avg | F::Min | F::Max);
        if let Some(filter) = call.filter {
            if !aggregates {
                return Err(refused(call, "only aggregates take a FILTER"));
            }
            if self.input.field(filter).data_type() != &DataType::Boolean {
                return Err(refused(call, "its FILTER is not Boolean"));
            }
        }
        let shown = |index: usize| self.input.field(index).data_type();
        match call.function {
            F::Ntile(parts) if parts < 1 => Err(refused(call, "the number of parts must be at least 1")),
            F::NthValue(place) if place < 1 => Err(refused(call, "the place must be at least 1")),
            F::Ewma { alpha } if !(0.0..=1.0).contains(&alpha) => Err(refused(call, "alpha must be from 0 to 1")),
            F::Lag { .. } | F::Lead { .. } if call.arguments.iter().any(|a| shown(*a) != shown(call.arguments[0])) => {
                Err(refused(call, "the default has another type than the argument"))
            }
            _ => Ok(()),
        }
    }

    fn check_frame(&self, call: &OverCall) -> Result<(), OverError> {
        let Frame { units, start, end } = call.frame;
        let refuse = |reason| Err(OverError::Frame { call: call.name.clone(), reason });
        let place = |bound| match bound {
            Bound::UnboundedPreceding => 0,
            Bound::Preceding(_) => 1,
            Bound::CurrentRow => 2,
            Bound::Following(_) => 3,
            Bound::UnboundedFollowing => 4,
        };
        if start == Bound::UnboundedFollowing || end == Bound::UnboundedPreceding || place(start) > place(end) {
            return refuse("it ends before it starts");
        }
        for bound in [start, end] {
            let (Bound::Preceding(distance) | Bound::Following(distance)) = bound else { continue };
            let fits = match (units, distance) {
                (Units::Rows | Units::Groups, Distance::Count(_)) => true,
                (Units::Range, Distance::Integer(distance)) => distance >= 0 && self.range_kind() == Some(false),
                (Units::Range, Distance::Float(distance)) => distance >= 0.0 && self.range_kind() == Some(true),
                _ => false,
            };
            if !fits {
                return refuse("a distance is negative or not in the unit of the one sort column");
            }
        }
        Ok(())
    }

    /// Whether the one sort column that distances of RANGE are measured on is a float.
    fn range_kind(&self) -> Option<bool> {
        let [(index, _)] = self.sort.as_slice() else { return None };
        let field = self.input.field(*index);
        match field.data_type() {
            DataType::Float32 | DataType::Float64 => Some(true),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Decimal128(..) => Some(false),
            integer if integer.is_integer() && wide_kind(field).is_none() => Some(false),
            _ => None,
        }
    }
}

fn refused(call: &OverCall, reason: &'static str) -> OverError {
    OverError::Call { call: call.name.clone(), reason }
}
