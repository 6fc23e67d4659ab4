//! Stand-ins that [`super::prepare()`] puts around `CASE` and unary minus, because DataFusion decides
//! their types before a planner of ours is asked. [`super::rewrite()`] removes every one of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Result, internal_err, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use highwater_engine::model::wide::{WIDE_TYPE, Wide, wide_kind};

use super::convert::{common_kind, scalar_number};
use super::function::wide_field;

/// Name of the stand-in for `CASE`: the expression, then its branches for their types.
pub(crate) const CASE: &str = "case";
/// Name of the stand-in for unary minus.
pub(crate) const NEGATE: &str = "negate";

/// Name of the stand-in for the match of an ASOF join.
pub(crate) const ASOF: &str = "asof";
/// Name of the stand-in for the match of a LEFT ASOF join.
pub(crate) const ASOF_LEFT: &str = "asof_left";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Marker {
    Case(Signature),
    Negate(Signature),
    Asof(&'static str, Signature),
}

/// All stand-ins.
pub(crate) fn all() -> [Arc<ScalarUDF>; 4] {
    let signature = || Signature::user_defined(Volatility::Immutable);
    let asof = |name| Marker::Asof(name, signature());
    [Marker::Case(signature()), Marker::Negate(signature()), asof(ASOF), asof(ASOF_LEFT)]
        .map(|marker| Arc::new(ScalarUDF::new_from_impl(marker)))
}

/// The common kind of the arguments from `first` on.
pub(crate) fn kind_of_arguments(args: &ReturnFieldArgs<'_>, first: usize) -> Result<Option<Wide>> {
    let known = args.arg_fields.iter().zip(args.scalar_arguments).skip(first).map(|(field, scalar)| {
        let number = scalar.and_then(|scalar| scalar_number(scalar, wide_kind(field)).ok().flatten());
        (field.as_ref().clone(), number)
    });
    common_kind(&known.collect::<Vec<_>>())
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        match self {
            Marker::Case(_) => CASE,
            Marker::Negate(_) => NEGATE,
            Marker::Asof(name, _) => name,
        }
    }

    fn signature(&self) -> &Signature {
        match self {
            Marker::Case(signature) | Marker::Negate(signature) | Marker::Asof(_, signature) => signature,
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match self {
            Marker::Case(_) => args[0].schema_name().to_string(),
            Marker::Negate(_) => format!("(- {})", args[0].schema_name()),
            Marker::Asof(name, _) => format!("{name}({})", args[0].schema_name()),
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self, types) {
            (Marker::Case(_), [_, ..]) => Ok(types.to_vec()),
            (Marker::Asof(..), [DataType::Boolean]) => Ok(types.to_vec()),
            (Marker::Negate(_), [one]) => {
                let signed = one.is_signed_integer() || one.is_floating() || one.is_decimal();
                if signed || one.is_null() || one == &WIDE_TYPE || matches!(one, DataType::Interval(_)) {
                    return Ok(types.to_vec());
                }
                plan_err!("- cannot be used with {one}: it takes signed numbers and intervals")
            }
            _ => plan_err!("{} is not a function to call", self.name()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        internal_err!("{} has its type from fields", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = &args.arg_fields[0];
        match self {
            Marker::Case(_) => match kind_of_arguments(&args, 1)? {
                Some(kind) => Ok(Arc::new(wide_field(field.name(), kind, true))),
                None => Ok(Arc::clone(field)),
            },
            Marker::Asof(..) => Ok(Arc::clone(field)),
            Marker::Negate(_) => match (wide_kind(field), field.data_type()) {
                (Some(_), _) => Ok(Arc::new(wide_field(field.name(), Wide::Signed, true))),
                (None, &WIDE_TYPE) => plan_err!("- cannot be used with bytes: write uint256(…) around them"),
                (None, _) => Ok(Arc::clone(field)),
            },
        }
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} is a stand-in: the plan was not rewritten", self.name())
    }
}
