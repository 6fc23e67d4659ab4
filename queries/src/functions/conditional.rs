//! `coalesce`, `nullif`, `nvl`, `nvl2`, `greatest`, `least` and `abs` for 256-bit integers beside
//! DataFusion's own, which take over for every other type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion_expr::expr::{Case, ScalarFunction};
use datafusion_expr::type_coercion::functions::fields_with_udf;
use datafusion_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use highwater_engine::model::wide::{WIDE_TYPE, Wide};

use super::columns::is_bytes;
use super::convert::{Operand, call, common_kind, wide_literal};
use super::function::wide_field;
use super::markers::kind_of_arguments;
use super::operators::plan_binary;
use super::sign::INT256_ABS;
use super::tag::tag_function;

/// A DataFusion function that takes 256-bit integers too.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Conditional {
    pub(crate) inner: Arc<ScalarUDF>,
    signature: Signature,
}

/// The names this file covers.
pub(crate) const NAMES: &[&str] = &["abs", "coalesce", "greatest", "least", "nullif", "nvl", "nvl2"];

impl Conditional {
    /// Wraps one of [`NAMES`].
    pub(crate) fn wrap(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Conditional { inner, signature }))
    }

    /// The first argument that has a say in the result type.
    fn first_value(&self) -> usize {
        usize::from(self.inner.name() == "nvl2")
    }
}

impl ScalarUDFImpl for Conditional {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let other_bytes = types.iter().any(|data_type| is_bytes(data_type) && data_type != &WIDE_TYPE);
        if types.contains(&WIDE_TYPE) && !other_bytes {
            return Ok(types.to_vec());
        }
        let fields: Vec<FieldRef> =
            types.iter().map(|data_type| Arc::new(Field::new("x", data_type.clone(), true))).collect();
        let fields = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match kind_of_arguments(&args, self.first_value())? {
            Some(kind) => Ok(Arc::new(wide_field(self.name(), kind, true))),
            None => self.inner.return_field_from_args(args),
        }
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} is a stand-in: the plan was not rewritten", self.name())
    }
}

/// The meaning of a call: DataFusion's function, or expressions over 256-bit integers.
pub(crate) fn plan_conditional(function: &Conditional, args: Vec<Expr>, schema: &DFSchema) -> Result<Expr> {
    let operands = args.iter().map(|arg| Operand::new(arg.clone(), schema)).collect::<Result<Vec<_>>>()?;
    let known: Vec<_> = operands.iter().skip(function.first_value()).map(Operand::known).collect();
    let Some(kind) = common_kind(&known)? else {
        return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&function.inner), args)));
    };
    let mut operands = operands;
    match function.inner.name() {
        "abs" => Ok(call(&INT256_ABS, operands)),
        "coalesce" | "nvl" => first_value(operands, kind),
        "nullif" => null_if(&args, operands.swap_remove(0), kind, schema),
        "nvl2" => {
            let mut values = operands.split_off(1).into_iter().map(|operand| operand.into_wide(kind));
            let (Some(then), Some(otherwise)) = (values.next(), values.next()) else {
                return internal_err!("nvl2 takes three arguments");
            };
            let test = Expr::IsNotNull(Box::new(args[0].clone()));
            Ok(tagged(kind, choose(vec![(test, then?)], otherwise?)))
        }
        _ => {
            let args = operands.into_iter().map(|operand| operand.into_wide(kind)).collect::<Result<Vec<_>>>()?;
            Ok(tagged(kind, Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&function.inner), args))))
        }
    }
}

fn first_value(mut operands: Vec<Operand>, kind: Wide) -> Result<Expr> {
    let Some(last) = operands.pop() else { return internal_err!("coalesce takes arguments") };
    let tests = operands.into_iter().map(|operand| {
        let test = Expr::IsNotNull(Box::new(operand.expr.clone()));
        Ok((test, operand.into_wide(kind)?))
    });
    let tests = tests.collect::<Result<Vec<_>>>()?;
    let otherwise = last.into_wide(kind)?;
    Ok(if tests.is_empty() { otherwise } else { tagged(kind, choose(tests, otherwise)) })
}

fn null_if(args: &[Expr], value: Operand, kind: Wide, schema: &DFSchema) -> Result<Expr> {
    let Some(test) = plan_binary(&args[0], Operator::Eq, &args[1], schema)? else {
        return internal_err!("nullif of a 256-bit integer has a comparison");
    };
    Ok(tagged(kind, choose(vec![(test, wide_literal(kind, None))], value.into_wide(kind)?)))
}

fn choose(tests: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let tests = tests.into_iter().map(|(test, value)| (Box::new(test), Box::new(value))).collect();
    Expr::Case(Case::new(None, tests, Some(Box::new(otherwise))))
}

/// An expression whose bytes are a 256-bit integer, said so.
pub(crate) fn tagged(kind: Wide, expr: Expr) -> Expr {
    let bound = tag_function(kind).bound(vec![Some(kind)]);
    Expr::ScalarFunction(ScalarFunction::new_udf(bound, vec![expr]))
}

/// A NULL of no type, for the branch that a CASE leaves out.
pub(crate) fn null() -> Expr {
    Expr::Literal(ScalarValue::Null, None)
}
