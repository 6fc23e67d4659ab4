//! Aggregate functions as the planner needs them: names, argument types, result fields. The engine's
//! own operators evaluate them, since accumulators that take rows back exactly are ours.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, Result, ScalarValue, not_impl_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use highwater_engine::model::wide::{WIDE_TYPE, wide_kind};
use highwater_operators::aggregate::{AggregateFunction, AggregateSpec};

use super::aggregate_list::{Constants, DEFINITIONS, Definition, SINGLE_VALUE};
use super::columns::is_text;
use super::function::{FunctionDoc, wide_field};
use crate::plan::type_name;

/// The aggregate functions SQL knows; only for planning.
pub(crate) fn all() -> Vec<Arc<AggregateUDF>> {
    DEFINITIONS.iter().map(Aggregate::udf).collect()
}

/// What a scalar subquery becomes: the value of its only row, an error row where it has several.
pub fn single_value() -> Arc<AggregateUDF> {
    Aggregate::udf(&SINGLE_VALUE)
}

/// `count`.
pub(crate) fn count() -> Arc<AggregateUDF> {
    Aggregate::udf(&DEFINITIONS[0])
}

/// What a function of a plan is, if it is one of ours.
pub(crate) fn definition(function: &AggregateUDF) -> Option<&'static Definition> {
    function.inner().downcast_ref::<Aggregate>().map(|aggregate| aggregate.definition)
}

pub(crate) fn docs() -> Vec<FunctionDoc> {
    let doc = |definition: &Definition| FunctionDoc {
        name: definition.name,
        aliases: definition.aliases.to_vec(),
        signature: definition.signature,
        doc: definition.doc,
        example: "",
        result: "",
    };
    DEFINITIONS.iter().map(doc).collect()
}

/// What a function takes.
enum Takes {
    Anything,
    Number,
    Integer,
    Text,
    Truth,
}

fn takes(function: AggregateFunction) -> Takes {
    use AggregateFunction as F;
    match function {
        F::BoolAnd | F::BoolOr => Takes::Truth,
        F::BitAnd | F::BitOr | F::BitXor => Takes::Integer,
        F::StringAgg => Takes::Text,
        F::Sum | F::Avg | F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp => Takes::Number,
        F::PercentileCont | F::ApproxQuantile | F::Histogram => Takes::Number,
        _ if function.is_of_pairs() => Takes::Number,
        _ => Takes::Anything,
    }
}

#[derive(Debug)]
struct Aggregate {
    definition: &'static Definition,
    aliases: Vec<String>,
    signature: Signature,
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Aggregate) -> bool {
        std::ptr::eq(self.definition, other.definition)
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl Aggregate {
    fn udf(definition: &'static Definition) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::new_from_impl(Aggregate {
            definition,
            aliases: definition.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    }

    fn function(&self) -> AggregateFunction {
        self.definition.function
    }

    /// `count()` counts rows, and is the only one without an argument.
    fn counts_rows(&self, arguments: usize) -> bool {
        self.function() == AggregateFunction::Count && arguments == 0
    }

    /// Whether nothing is 0 and not NULL.
    fn counts(&self) -> bool {
        use AggregateFunction as F;
        matches!(self.function(), F::Count | F::RegrCount | F::ApproxDistinct)
    }

    fn misfit<T>(&self, given: &str) -> Result<T> {
        plan_err!("{} does not take ({given}); it is {}", self.definition.name, self.definition.signature)
    }

    /// Arguments that are values of rows; the constants follow.
    fn values<'a, T>(&self, arguments: &'a [T]) -> Result<(&'a [T], &'a [T])> {
        match arguments.split_at_checked(self.function().arity()) {
            Some((values, constants)) if self.definition.constants.allowed().contains(&constants.len()) => {
                Ok((values, constants))
            }
            _ if arguments.len() == 1 => self.misfit("one argument"),
            _ => self.misfit(&format!("{} arguments", arguments.len())),
        }
    }

    /// The type an argument is evaluated as: its own, unless only a cast makes it fit.
    fn argument(&self, given: &DataType) -> Result<DataType> {
        let number = given.is_numeric() || given == &WIDE_TYPE;
        let is_sum = self.function() == AggregateFunction::Sum;
        match takes(self.function()) {
            // What the operators do not know: the sum of all digits is wanted, of the rest a double.
            Takes::Number if !is_sum && matches!(given, DataType::Decimal256(..) | DataType::Float16) => {
                Ok(DataType::Float64)
            }
            Takes::Number => match given {
                DataType::Decimal32(_, scale) => Ok(DataType::Decimal128(9, *scale)),
                DataType::Decimal64(_, scale) => Ok(DataType::Decimal128(18, *scale)),
                _ if number => Ok(given.clone()),
                _ if given.is_null() => Ok(DataType::Int64),
                _ => self.misfit(&type_name(given)),
            },
            Takes::Anything if !matches!(given, DataType::Dictionary(..)) => Ok(given.clone()),
            Takes::Integer if given.is_null() => Ok(DataType::Int64),
            Takes::Integer if given.is_integer() || given == &WIDE_TYPE => Ok(given.clone()),
            Takes::Text if given.is_null() => Ok(DataType::Utf8),
            Takes::Text if is_text(given) => Ok(given.clone()),
            Takes::Truth if given.is_null() || given == &DataType::Boolean => Ok(DataType::Boolean),
            _ => self.misfit(&type_name(given)),
        }
    }

    /// The type a constant is evaluated as.
    fn constant(&self, given: &DataType) -> Result<DataType> {
        match self.definition.constants {
            Constants::Separator if given.is_null() || is_text(given) => Ok(DataType::Utf8),
            Constants::Position if given.is_integer() => Ok(DataType::Int64),
            Constants::Fraction | Constants::FractionAndError | Constants::Error if given.is_numeric() => {
                Ok(DataType::Float64)
            }
            _ => self.misfit(&format!("…, {}", type_name(given))),
        }
    }

    fn result(&self, values: &[FieldRef]) -> Result<Field> {
        let name = self.definition.name;
        let bytes = |field: &&FieldRef| field.data_type() == &WIDE_TYPE && wide_kind(field).is_none();
        if matches!(takes(self.function()), Takes::Number | Takes::Integer) && values.iter().any(|field| bytes(&field))
        {
            return self.misfit("bytes");
        }
        if self.function() == AggregateFunction::Sum {
            return self.sum_field(&values[0]);
        }
        let fields: Vec<&Field> = values.iter().map(AsRef::as_ref).collect();
        match AggregateSpec::output_type(self.function(), &fields) {
            Ok(field) => Ok(field.with_name(name)),
            Err(error) => plan_err!("{error}"),
        }
    }

    fn sum_field(&self, argument: &Field) -> Result<Field> {
        let name = self.definition.name;
        let data_type = match argument.data_type() {
            // As PostgreSQL has it: BIGINT is wide enough for these, DECIMAL for the others.
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int64,
            integer if integer.is_integer() => DataType::Decimal128(38, 0),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
                DataType::Decimal128(38, *scale)
            }
            DataType::Decimal256(_, scale) => DataType::Decimal256(76, *scale),
            float if float.is_floating() => DataType::Float64,
            _ => WIDE_TYPE,
        };
        match wide_kind(argument) {
            Some(kind) => Ok(wide_field(name, kind, true)),
            None => Ok(Field::new(name, data_type, true)),
        }
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if self.counts_rows(types.len()) {
            return Ok(Vec::new());
        }
        let (values, constants) = self.values(types)?;
        let values = values.iter().map(|given| self.argument(given));
        values.chain(constants.iter().map(|given| self.constant(given))).collect()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let fields: Vec<FieldRef> =
            types.iter().map(|data_type| Arc::new(Field::new("x", data_type.clone(), true))).collect();
        Ok(self.return_field(&fields)?.data_type().clone())
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        if self.counts_rows(fields.len()) {
            return Ok(Arc::new(Field::new(self.definition.name, DataType::Int64, false)));
        }
        let (values, _) = self.values(fields)?;
        Ok(Arc::new(self.result(values)?))
    }

    fn is_nullable(&self) -> bool {
        !self.counts()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        if self.counts() { Ok(ScalarValue::Int64(Some(0))) } else { ScalarValue::try_from(data_type) }
    }

    fn supports_within_group_clause(&self) -> bool {
        // median and approx_median have an order of their own and no fraction before it.
        let has_order = self.definition.constants != Constants::None || self.function() == AggregateFunction::Mode;
        self.function().is_within_group() && has_order
    }

    fn supports_null_handling_clause(&self) -> bool {
        use AggregateFunction as F;
        matches!(self.function(), F::ArrayAgg | F::FirstValue | F::LastValue | F::NthValue)
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is evaluated by the engine's operators only", self.definition.name)
    }

    fn state_fields(&self, _args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = self.definition.name;
        Err(DataFusionError::NotImplemented(format!("{name} keeps its state in the engine's operators")))
    }
}
