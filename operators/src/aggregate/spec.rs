//! What an aggregate computes: keys, calls, and the types of the result.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use highwater_engine::error::{Class, Classified};
use highwater_engine::model::wide::wide_kind;
use highwater_engine::operator::Route;

use super::function::{AggregateFunction, AggregateParameters};

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
    /// The arguments, by index into the input: [`AggregateFunction::arity`] of them.
    pub arguments: Vec<usize>,
    /// Each value counts once, however often it occurs.
    pub distinct: bool,
    /// The order of the values, where the function has one: columns of the input. For a function of
    /// [`AggregateFunction::is_within_group`] at most the argument itself.
    pub order_by: Vec<(usize, SortOptions)>,
    /// The constants.
    pub parameters: AggregateParameters,
    /// A Boolean column: only rows where it is true count (NULL is false).
    pub filter: Option<usize>,
    /// Name of the output column.
    pub name: String,
}

impl AggregateCall {
    /// Whether it counts the rows of a group, all of them.
    pub(super) fn is_of_all_rows(&self) -> bool {
        self.function == AggregateFunction::CountAll && self.filter.is_none()
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
    /// A function with too few or too many arguments.
    #[error("{function} needs {arguments} argument(s)", arguments = function.arity())]
    Arguments {
        /// The function.
        function: AggregateFunction,
    },
    /// A constant outside of what the function knows.
    #[error("{function}: {what}")]
    Parameter {
        /// The function.
        function: AggregateFunction,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An order that the function cannot follow.
    #[error("{function} cannot follow this ORDER BY")]
    Order {
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

impl AggregateCall {
    /// A plain call: every row, repetitions too, no order, the usual constants.
    pub fn new(function: AggregateFunction, arguments: impl Into<Vec<usize>>, name: impl Into<String>) -> Self {
        AggregateCall {
            function,
            arguments: arguments.into(),
            distinct: false,
            order_by: Vec::new(),
            parameters: AggregateParameters::default(),
            filter: None,
            name: name.into(),
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

    /// The result of `function` over arguments of these fields: name (of the first), type, nullability,
    /// metadata.
    pub fn output_type(function: AggregateFunction, arguments: &[&Field]) -> Result<Field, AggregateError> {
        use AggregateFunction as F;
        if arguments.len() != function.arity() {
            return Err(AggregateError::Arguments { function });
        }
        let Some(first) = arguments.first() else { return Ok(Field::new("", DataType::Int64, false)) };
        let refused = |field: &Field| AggregateError::ArgumentType { function, data_type: field.data_type().clone() };
        if let Some(unfit) = arguments.iter().find(|field| !fits(function, field)) {
            return Err(refused(unfit));
        }
        let plain = |data_type, nullable| Ok(Field::new(first.name(), data_type, nullable));
        match function {
            F::CountAll | F::Count | F::ApproxDistinct | F::RegrCount => plain(DataType::Int64, false),
            F::Sum => match first.data_type() {
                integer if integer.is_integer() => plain(DataType::Decimal128(38, 0), true),
                DataType::Decimal128(_, scale) => plain(DataType::Decimal128(38, *scale), true),
                DataType::Float32 | DataType::Float64 => plain(DataType::Float64, true),
                _ => Ok((*first).clone().with_nullable(true)),
            },
            F::StringAgg => plain(DataType::Utf8, true),
            F::ArrayAgg => plain(DataType::List(Arc::new(list_item(first))), true),
            F::Histogram => plain(DataType::List(Arc::new(Field::new_list_field(bucket_type(), true))), true),
            F::Min
            | F::Max
            | F::BoolAnd
            | F::BoolOr
            | F::BitAnd
            | F::BitOr
            | F::BitXor
            | F::PercentileDisc
            | F::Mode
            | F::FirstValue
            | F::LastValue
            | F::NthValue
            | F::MinBy
            | F::MaxBy
            | F::SingleValue => Ok((*first).clone().with_nullable(true)),
            _ => plain(DataType::Float64, true),
        }
    }

    /// How rows must reach the workers: by key, or all to the first worker where there are no keys.
    pub fn route(&self) -> Route {
        if self.keys.is_empty() { Route::First } else { Route::Key(self.keys.clone()) }
    }

    /// Refuses what the operators could not run.
    pub(super) fn check(&self) -> Result<(), AggregateError> {
        self.calls.iter().try_for_each(|call| self.check_call(call))?;
        if let Some(position) = self.closing {
            let key = self.keys.get(position).ok_or(AggregateError::Closing { position })?;
            if !matches!(self.field(*key)?.data_type(), DataType::Timestamp(TimeUnit::Millisecond, _)) {
                return Err(AggregateError::Closing { position });
            }
        }
        Ok(())
    }

    fn check_call(&self, call: &AggregateCall) -> Result<(), AggregateError> {
        let function = call.function;
        if let Some(filter) = call.filter {
            let data_type = self.field(filter)?.data_type();
            if data_type != &DataType::Boolean {
                return Err(AggregateError::FilterType { call: call.name.clone(), data_type: data_type.clone() });
            }
        }
        let follows = match call.order_by.as_slice() {
            [] => true,
            [(column, _)] if function.is_within_group() => call.arguments == [*column],
            order => {
                // A value that counts once has one place: the order cannot be that of something else.
                let placed = |(column, _): &(usize, SortOptions)| call.arguments.contains(column);
                function.takes_order() && (!call.distinct || order.iter().all(placed))
            }
        };
        if !follows {
            return Err(AggregateError::Order { function });
        }
        for (column, _) in &call.order_by {
            let data_type = self.field(*column)?.data_type();
            if !sorts(data_type) {
                return Err(AggregateError::ArgumentType { function, data_type: data_type.clone() });
            }
        }
        let wrong = |what| Err(AggregateError::Parameter { function, what });
        if !(0.0..=1.0).contains(&call.parameters.fraction) {
            return wrong("the fraction must be from 0 to 1");
        }
        if !AggregateParameters::ERRORS.contains(&call.parameters.relative_error) {
            return wrong("the relative error must be from 0.00001 to 0.5");
        }
        if function == AggregateFunction::NthValue && call.parameters.position == 0 {
            return wrong("positions start at 1");
        }
        Ok(())
    }

    /// What the saved state of a call depends on.
    pub(crate) fn call_shape(&self, call: &AggregateCall) -> String {
        let data_type = |index: &usize| self.input.field(*index).data_type().to_string();
        let arguments: Vec<String> = call.arguments.iter().map(data_type).collect();
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let order = |(index, options): &(usize, SortOptions)| {
            let direction = if options.descending { "DESC" } else { "ASC" };
            let nulls = if options.nulls_first { "FIRST" } else { "LAST" };
            format!(" {} {direction} NULLS {nulls}", data_type(index))
        };
        let order: Vec<String> = call.order_by.iter().map(order).collect();
        let sketch = if call.function.is_sketch() {
            format!(" within {}", call.parameters.relative_error)
        } else {
            String::new()
        };
        format!("{}({distinct}{}{}){sketch}", call.function, arguments.join(", "), order.join(","))
    }

    /// The fields of a call's arguments.
    pub(super) fn arguments(&self, call: &AggregateCall) -> Result<Vec<&Field>, AggregateError> {
        call.arguments.iter().map(|index| self.field(*index)).collect()
    }

    /// The field of an input column.
    pub(super) fn field(&self, index: usize) -> Result<&Field, AggregateError> {
        let columns = self.input.fields().len();
        self.input.fields().get(index).map(Arc::as_ref).ok_or(AggregateError::MissingColumn { index, columns })
    }

    /// The key columns of a batch.
    pub(super) fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().map(|key| batch.column(*key).clone()).collect()
    }

    fn call_field(&self, call: &AggregateCall) -> Result<Field, AggregateError> {
        Ok(Self::output_type(call.function, &self.arguments(call)?)?.with_name(&call.name))
    }
}

/// Whether a function is defined for an argument of this type.
fn fits(function: AggregateFunction, field: &Field) -> bool {
    use AggregateFunction as F;
    let data_type = field.data_type();
    match function {
        F::CountAll | F::Count => true,
        F::BoolAnd | F::BoolOr => data_type == &DataType::Boolean,
        F::BitAnd | F::BitOr | F::BitXor => data_type.is_integer() || wide_kind(field).is_some(),
        F::StringAgg => matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        F::Sum
        | F::Avg
        | F::VarPop
        | F::VarSamp
        | F::StddevPop
        | F::StddevSamp
        | F::PercentileCont
        | F::ApproxQuantile
        | F::Histogram => is_number(field),
        _ if function.is_of_pairs() => is_number(field),
        _ => sorts(data_type),
    }
}

/// The element of a list of such values.
pub(super) fn list_item(value: &Field) -> Field {
    let item = Field::new_list_field(value.data_type().clone(), true);
    item.with_metadata(value.metadata().clone())
}

/// One bucket of a histogram.
pub(super) fn bucket_type() -> DataType {
    let fields = [("low", DataType::Float64), ("high", DataType::Float64), ("count", DataType::Int64)];
    DataType::Struct(fields.into_iter().map(|(name, data_type)| Field::new(name, data_type, false)).collect())
}

fn sorts(data_type: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

fn is_number(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Decimal128(_, _) | DataType::Float32 | DataType::Float64)
        || field.data_type().is_integer()
        || wide_kind(field).is_some()
}
