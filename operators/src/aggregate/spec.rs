//! What an aggregate computes: keys, calls, and the types of the result.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use highwater_engine::error::{Class, Classified};
use highwater_engine::model::wide::wide_kind;
use highwater_engine::operator::Route;

/// `SELECT keys, calls FROM input GROUP BY keys`.
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    /// Columns of the input.
    pub input: SchemaRef,
    /// Grouping columns, by index into the input; they come first in the output, in this order.
    pub keys: Vec<usize>,
    /// The aggregate calls, one output column each.
    pub calls: Vec<AggregateCall>,
    /// Position within `keys` of a `Timestamp(Millisecond)` column after which a group cannot change:
    /// its groups leave memory once the finalised block time has reached the value. Their rows stay published.
    pub closing: Option<usize>,
}

/// One aggregate call, such as `sum(gas) FILTER (WHERE success) AS gas`.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// The function.
    pub function: AggregateFunction,
    /// The argument, by index into the input; `None` only for [`AggregateFunction::CountAll`].
    pub argument: Option<usize>,
    /// A Boolean column: only rows where it is true count (NULL is false).
    pub filter: Option<usize>,
    /// Name of the output column.
    pub name: String,
}

/// The aggregate functions.
///
/// NULL arguments are ignored. Without a row that counts, counts are 0 and everything else is NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AggregateFunction {
    /// `count(*)`: `Int64`.
    CountAll,
    /// `count(x)`: `Int64`.
    Count,
    /// `count(DISTINCT x)`: `Int64`.
    CountDistinct,
    /// `sum(x)`, always exact: integers to `Decimal128(38, 0)`, `Decimal128(p, s)` to `Decimal128(38, s)`,
    /// 256-bit integers to themselves (an error row where the sum does not fit), floats to `Float64`
    /// (the exact sum, rounded once; independent of order).
    Sum,
    /// `min(x)` of any type that sorts.
    Min,
    /// `max(x)` of any type that sorts.
    Max,
    /// `avg(x)`: the exact sum divided by the count, `Float64`.
    Avg,
    /// Population variance, `Float64`; from exact integer moments for integers up to 64 bits.
    VarPop,
    /// Sample variance, `Float64`; NULL for fewer than two rows.
    VarSamp,
    /// Population standard deviation, `Float64`.
    StddevPop,
    /// Sample standard deviation, `Float64`; NULL for fewer than two rows.
    StddevSamp,
    /// `bool_and(x)`.
    BoolAnd,
    /// `bool_or(x)`.
    BoolOr,
}

impl fmt::Display for AggregateFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AggregateFunction::CountAll | AggregateFunction::Count => "count",
            AggregateFunction::CountDistinct => "count(DISTINCT)",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
            AggregateFunction::Avg => "avg",
            AggregateFunction::VarPop => "var_pop",
            AggregateFunction::VarSamp => "var_samp",
            AggregateFunction::StddevPop => "stddev_pop",
            AggregateFunction::StddevSamp => "stddev_samp",
            AggregateFunction::BoolAnd => "bool_and",
            AggregateFunction::BoolOr => "bool_or",
        })
    }
}

/// An aggregate that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// An index points past the input's columns.
    #[error("the input has no column {index} (it has {columns})")]
    MissingColumn {
        /// The index.
        index: usize,
        /// How many columns there are.
        columns: usize,
    },
    /// A function without its argument.
    #[error("{function} needs an argument")]
    MissingArgument {
        /// The function.
        function: AggregateFunction,
    },
    /// A function that is not defined for the type of its argument.
    #[error("{function} is not defined for {data_type}")]
    ArgumentType {
        /// The function.
        function: AggregateFunction,
        /// The type of the argument.
        data_type: DataType,
    },
    /// A filter that is not Boolean.
    #[error("the filter of \"{call}\" is {data_type}, not Boolean")]
    FilterType {
        /// Name of the call.
        call: String,
        /// Its type.
        data_type: DataType,
    },
    /// A closing column that is not a key of type timestamp in milliseconds.
    #[error("the closing position {position} is not a grouping column of type timestamp (ms)")]
    Closing {
        /// Position within the keys.
        position: usize,
    },
    /// A block-local aggregate without keys, or with a closing column.
    #[error("a block-local aggregate needs grouping columns and no closing column")]
    NotBlockLocal,
    /// The columns cannot be keys.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for AggregateError {
    fn class(&self) -> Class {
        match self {
            AggregateError::ArgumentType { .. } | AggregateError::FilterType { .. } => Class::USER,
            _ => Class::INTERNAL,
        }
    }
}

impl AggregateSpec {
    /// Keys first, then calls.
    pub fn output_schema(&self) -> Result<SchemaRef, AggregateError> {
        let mut fields: Vec<Field> = Vec::with_capacity(self.keys.len() + self.calls.len());
        for key in &self.keys {
            fields.push(self.field(*key)?.clone());
        }
        for call in &self.calls {
            fields.push(self.call_field(call)?);
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The type of `function` over an argument of this field: name, type, nullability, metadata.
    pub fn output_type(function: AggregateFunction, argument: &Field) -> Result<Field, AggregateError> {
        use AggregateFunction as F;
        let data_type = argument.data_type();
        let refused = || AggregateError::ArgumentType { function, data_type: data_type.clone() };
        let name = argument.name();
        match function {
            F::CountAll | F::Count => Ok(Field::new(name, DataType::Int64, false)),
            F::CountDistinct if sorts(data_type) => Ok(Field::new(name, DataType::Int64, false)),
            F::Min | F::Max if sorts(data_type) => Ok(argument.clone().with_nullable(true)),
            F::BoolAnd | F::BoolOr if data_type == &DataType::Boolean => Ok(argument.clone().with_nullable(true)),
            F::Sum => match data_type {
                integer if integer.is_integer() => Ok(Field::new(name, DataType::Decimal128(38, 0), true)),
                DataType::Decimal128(_, scale) => Ok(Field::new(name, DataType::Decimal128(38, *scale), true)),
                DataType::Float32 | DataType::Float64 => Ok(Field::new(name, DataType::Float64, true)),
                _ if wide_kind(argument).is_some() => Ok(argument.clone().with_nullable(true)),
                _ => Err(refused()),
            },
            F::Avg | F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp if is_number(argument) => {
                Ok(Field::new(name, DataType::Float64, true))
            }
            _ => Err(refused()),
        }
    }

    /// How rows must reach the workers: by key, or all to the first worker where there are no keys.
    pub fn route(&self) -> Route {
        if self.keys.is_empty() { Route::First } else { Route::Key(self.keys.clone()) }
    }

    /// Refuses what the operators could not run.
    pub(super) fn check(&self) -> Result<(), AggregateError> {
        for call in &self.calls {
            let Some(filter) = call.filter else { continue };
            let data_type = self.field(filter)?.data_type();
            if data_type != &DataType::Boolean {
                return Err(AggregateError::FilterType { call: call.name.clone(), data_type: data_type.clone() });
            }
        }
        if let Some(position) = self.closing {
            let key = self.keys.get(position).ok_or(AggregateError::Closing { position })?;
            if !matches!(self.field(*key)?.data_type(), DataType::Timestamp(TimeUnit::Millisecond, _)) {
                return Err(AggregateError::Closing { position });
            }
        }
        Ok(())
    }

    /// The field of an input column.
    pub(super) fn field(&self, index: usize) -> Result<&Field, AggregateError> {
        let columns = self.input.fields().len();
        self.input.fields().get(index).map(Arc::as_ref).ok_or(AggregateError::MissingColumn { index, columns })
    }

    /// Converter of the key columns: the encoding the router and saved states use.
    pub(super) fn key_converter(&self) -> Result<RowConverter, AggregateError> {
        let mut fields = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            fields.push(SortField::new(self.field(*key)?.data_type().clone()));
        }
        Ok(RowConverter::new(fields)?)
    }

    /// The key columns of a batch.
    pub(super) fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().map(|key| batch.column(*key).clone()).collect()
    }

    fn call_field(&self, call: &AggregateCall) -> Result<Field, AggregateError> {
        let field = match call.argument {
            Some(index) => Self::output_type(call.function, self.field(index)?)?,
            None if call.function == AggregateFunction::CountAll => Field::new("", DataType::Int64, false),
            None => return Err(AggregateError::MissingArgument { function: call.function }),
        };
        Ok(field.with_name(&call.name))
    }
}

fn sorts(data_type: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

fn is_number(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Decimal128(_, _) | DataType::Float32 | DataType::Float64)
        || field.data_type().is_integer()
        || wide_kind(field).is_some()
}
