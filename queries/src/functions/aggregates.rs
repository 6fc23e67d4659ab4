//! Aggregate functions as the planner needs them: names, argument types, result fields. The engine's
//! own operators evaluate them, since accumulators that take rows back exactly are ours.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, Result, ScalarValue, not_impl_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use highwater_engine::model::wide::{WIDE_TYPE, wide_kind};

use super::function::{FunctionDoc, wide_field};

/// Which rule gives an aggregate's result field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Rule {
    Count,
    Sum,
    Same,
    Double,
    Truth,
}

/// One aggregate function: names, documentation, rule.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    aliases: &'static [&'static str],
    rule: Rule,
    signature: &'static str,
    doc: &'static str,
}

const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "count",
        aliases: &[],
        rule: Rule::Count,
        signature: "count(*) or count([DISTINCT] x) -> BIGINT",
        doc: "How many rows, or how many (distinct) values that are not NULL.",
    },
    Definition {
        name: "sum",
        aliases: &[],
        rule: Rule::Sum,
        signature: "sum([DISTINCT] x) -> DECIMAL(38, 0), DECIMAL(38, s), UINT256, INT256 or DOUBLE",
        doc: "The sum: exact and wide enough for integers, of the type itself for UINT256 and INT256 (beyond it is \
              an error row), DOUBLE for DOUBLE. NULL over no value.",
    },
    Definition {
        name: "min",
        aliases: &[],
        rule: Rule::Same,
        signature: "min(x) -> the type of x",
        doc: "The least value; bytes compare from the left. NULL over no value.",
    },
    Definition {
        name: "max",
        aliases: &[],
        rule: Rule::Same,
        signature: "max(x) -> the type of x",
        doc: "The greatest value; bytes compare from the left. NULL over no value.",
    },
    Definition {
        name: "avg",
        aliases: &["mean"],
        rule: Rule::Double,
        signature: "avg(x) -> DOUBLE",
        doc: "The mean, divided only at output, so that a reorg leaves no rounding behind. NULL over no value.",
    },
    Definition {
        name: "var_pop",
        aliases: &["var_population"],
        rule: Rule::Double,
        signature: "var_pop(x) -> DOUBLE",
        doc: "The variance of the values as the whole population.",
    },
    Definition {
        name: "var_samp",
        aliases: &["var", "var_sample"],
        rule: Rule::Double,
        signature: "var_samp(x) -> DOUBLE",
        doc: "The variance of the values as a sample; NULL over fewer than two.",
    },
    Definition {
        name: "stddev_pop",
        aliases: &[],
        rule: Rule::Double,
        signature: "stddev_pop(x) -> DOUBLE",
        doc: "The standard deviation of the values as the whole population.",
    },
    Definition {
        name: "stddev_samp",
        aliases: &["stddev"],
        rule: Rule::Double,
        signature: "stddev_samp(x) -> DOUBLE",
        doc: "The standard deviation of the values as a sample; NULL over fewer than two.",
    },
    Definition {
        name: "bool_and",
        aliases: &[],
        rule: Rule::Truth,
        signature: "bool_and(x) -> BOOLEAN",
        doc: "Whether every value that is not NULL is true.",
    },
    Definition {
        name: "bool_or",
        aliases: &[],
        rule: Rule::Truth,
        signature: "bool_or(x) -> BOOLEAN",
        doc: "Whether any value is true.",
    },
];

/// The aggregate functions SQL knows; only for planning.
pub(crate) fn all() -> Vec<Arc<AggregateUDF>> {
    DEFINITIONS.iter().map(|definition| Arc::new(AggregateUDF::new_from_impl(Aggregate::new(definition)))).collect()
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

#[derive(Debug, PartialEq, Eq, Hash)]
struct Aggregate {
    name: &'static str,
    usage: &'static str,
    rule: Rule,
    aliases: Vec<String>,
    signature: Signature,
}

impl Aggregate {
    fn new(definition: &Definition) -> Self {
        Aggregate {
            name: definition.name,
            usage: definition.signature,
            rule: definition.rule,
            aliases: definition.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn misfit<T>(&self, given: &str) -> Result<T> {
        plan_err!("{} does not take ({given}); it is {}", self.name, self.usage)
    }

    /// The type an argument is evaluated as: its own, unless only a cast makes it fit.
    fn argument(&self, given: &DataType) -> Result<DataType> {
        let number = given.is_numeric() || given == &WIDE_TYPE;
        match self.rule {
            Rule::Count | Rule::Same if !matches!(given, DataType::Dictionary(..)) => Ok(given.clone()),
            Rule::Sum | Rule::Double if number => Ok(given.clone()),
            Rule::Sum | Rule::Double if given.is_null() => Ok(DataType::Int64),
            Rule::Truth if given.is_null() || given == &DataType::Boolean => Ok(DataType::Boolean),
            _ => self.misfit(&given.to_string()),
        }
    }

    fn sum_field(&self, argument: &Field) -> Result<Field> {
        let data_type = match argument.data_type() {
            _ if wide_kind(argument).is_some() => WIDE_TYPE,
            integer if integer.is_integer() => DataType::Decimal128(38, 0),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
                DataType::Decimal128(38, *scale)
            }
            DataType::Decimal256(_, scale) => DataType::Decimal256(76, *scale),
            float if float.is_floating() => DataType::Float64,
            _ => return self.misfit("bytes"),
        };
        match wide_kind(argument) {
            Some(kind) => Ok(wide_field(self.name, kind, true)),
            None => Ok(Field::new(self.name, data_type, true)),
        }
    }

    fn result(&self, argument: &Field) -> Result<Field> {
        match self.rule {
            Rule::Count => Ok(Field::new(self.name, DataType::Int64, false)),
            Rule::Sum => self.sum_field(argument),
            Rule::Same => Ok(argument.clone().with_name(self.name).with_nullable(true)),
            Rule::Double if argument.data_type() == &WIDE_TYPE && wide_kind(argument).is_none() => self.misfit("bytes"),
            Rule::Double => Ok(Field::new(self.name, DataType::Float64, true)),
            Rule::Truth => Ok(Field::new(self.name, DataType::Boolean, true)),
        }
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [] if self.rule == Rule::Count => Ok(Vec::new()),
            [one] => Ok(vec![self.argument(one)?]),
            _ => self.misfit(&format!("{} arguments", types.len())),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let fields: Vec<FieldRef> =
            types.iter().map(|data_type| Arc::new(Field::new("x", data_type.clone(), true))).collect();
        Ok(self.return_field(&fields)?.data_type().clone())
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        match fields {
            [one] => Ok(Arc::new(self.result(one)?)),
            [] if self.rule == Rule::Count => Ok(Arc::new(Field::new(self.name, DataType::Int64, false))),
            _ => self.misfit(&format!("{} arguments", fields.len())),
        }
    }

    fn is_nullable(&self) -> bool {
        self.rule != Rule::Count
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match self.rule {
            Rule::Count => Ok(ScalarValue::Int64(Some(0))),
            _ => ScalarValue::try_from(data_type),
        }
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is evaluated by the engine's operators only", self.name)
    }

    fn state_fields(&self, _args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Err(DataFusionError::NotImplemented(format!("{} keeps its state in the engine's operators", self.name)))
    }
}
