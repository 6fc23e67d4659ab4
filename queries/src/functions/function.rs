//! The shape of a SQL function of ours, and its adapter to DataFusion.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, Result, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use highwater_engine::model::wide::{INT256, UINT256, WIDE_TYPE, Wide, extension, wide_kind};

use crate::plan::type_name;

/// What the reference page says about one SQL function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionDoc {
    /// The name as written in SQL.
    pub name: &'static str,
    /// Other names of the same function.
    pub aliases: Vec<&'static str>,
    /// Name, parameters and result, such as `hex(bytes) -> VARCHAR`.
    pub signature: &'static str,
    /// What it does, and when it fails.
    pub doc: &'static str,
    /// An expression that can be evaluated as it stands; empty if there is none.
    pub example: &'static str,
    /// The example's value as text.
    pub result: &'static str,
}

/// One argument as known when a call is planned: its Arrow type, and which 256-bit integer it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument<'a> {
    pub(crate) data_type: &'a DataType,
    pub(crate) wide: Option<Wide>,
}

/// One evaluation over a batch.
pub(crate) struct Call<'a> {
    pub(crate) values: &'a [ColumnarValue],
    pub(crate) wides: &'a [Option<Wide>],
    /// Rows to produce: those of the batch, or 1 if every argument is a constant.
    pub(crate) rows: usize,
}

/// One SQL function: signature, documentation and evaluation.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) doc: FunctionText,
    /// Checks the argument types; gives those the evaluation wants.
    pub(crate) accepts: fn(&[DataType]) -> Option<Vec<DataType>>,
    /// The result type; `None` if the arguments do not fit after all.
    pub(crate) returns: fn(&[Argument<'_>]) -> Option<Output>,
    pub(crate) evaluate: fn(&Call<'_>) -> Result<ArrayRef>,
}

/// The words of a [`FunctionDoc`], as a constant.
#[derive(Debug)]
pub(crate) struct FunctionText {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) example: &'static str,
    pub(crate) result: &'static str,
}

/// A result type, with the extension that makes bytes a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Plain(DataType),
    Wide(Wide),
}

impl Output {
    /// The field of a result; always nullable, as NULL in gives NULL out.
    pub(crate) fn field(&self, name: &str) -> Field {
        match self {
            Output::Plain(data_type) => Field::new(name, data_type.clone(), true),
            Output::Wide(kind) => wide_field(name, *kind, true),
        }
    }
}

/// A column of a 256-bit integer.
pub(crate) fn wide_field(name: &str, kind: Wide, nullable: bool) -> Field {
    Field::new(name, WIDE_TYPE, nullable).with_metadata(extension(extension_name(kind)))
}

/// The Arrow extension name of a kind.
pub(crate) fn extension_name(kind: Wide) -> &'static str {
    match kind {
        Wide::Unsigned => UINT256,
        Wide::Signed => INT256,
    }
}

/// The SQL name of a kind.
pub(crate) fn sql_name(kind: Wide) -> &'static str {
    match kind {
        Wide::Unsigned => "UINT256",
        Wide::Signed => "INT256",
    }
}

impl Function {
    /// The function as users call it; the kinds of its arguments come from their fields.
    pub(crate) fn udf(&'static self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Udf::new(self, None)))
    }

    /// The function with the kinds of its arguments settled, so that evaluation does not depend on
    /// field metadata reaching it.
    pub(crate) fn bound(&'static self, wides: Vec<Option<Wide>>) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Udf::new(self, Some(wides))))
    }

    pub(crate) fn documentation(&self) -> FunctionDoc {
        FunctionDoc {
            name: self.doc.name,
            aliases: Vec::new(),
            signature: self.doc.signature,
            doc: self.doc.doc,
            example: self.doc.example,
            result: self.doc.result,
        }
    }
}

/// A [`Function`] as DataFusion sees it.
#[derive(Debug)]
pub(crate) struct Udf {
    pub(crate) function: &'static Function,
    wides: Option<Vec<Option<Wide>>>,
    signature: Signature,
}

impl Udf {
    fn new(function: &'static Function, wides: Option<Vec<Option<Wide>>>) -> Self {
        Udf { function, wides, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// Whether [`Function::bound`] made it.
    pub(crate) fn is_bound(&self) -> bool {
        self.wides.is_some()
    }

    fn wides(&self, fields: &[FieldRef]) -> Vec<Option<Wide>> {
        match &self.wides {
            Some(wides) => wides.clone(),
            None => fields.iter().map(|field| wide_kind(field)).collect(),
        }
    }

    fn misfit<T>(&self, types: &[DataType]) -> Result<T> {
        let types = types.iter().map(type_name).collect::<Vec<_>>().join(", ");
        plan_err!("{} does not take ({types}); it is {}", self.function.doc.name, self.function.doc.signature)
    }
}

impl PartialEq for Udf {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.function, other.function) && self.wides == other.wides
    }
}

impl Eq for Udf {}

impl Hash for Udf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.doc.name.hash(state);
        for wide in self.wides.iter().flatten() {
            wide.map(extension_name).hash(state);
        }
    }
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        self.function.doc.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.function.accepts)(types) {
            Some(types) => Ok(types),
            None => self.misfit(types),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(format!("{}: the result depends on fields, not types", self.name())))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let wides = self.wides(args.arg_fields);
        let arguments: Vec<Argument<'_>> = args
            .arg_fields
            .iter()
            .zip(&wides)
            .map(|(field, wide)| Argument { data_type: field.data_type(), wide: *wide })
            .collect();
        match (self.function.returns)(&arguments) {
            Some(output) => Ok(Arc::new(output.field(self.name()))),
            None => self.misfit(&args.arg_fields.iter().map(|field| field.data_type().clone()).collect::<Vec<_>>()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wides = self.wides(&args.arg_fields);
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let array = (self.function.evaluate)(&Call { values: &args.args, wides: &wides, rows })?;
        if constant {
            let value = datafusion_common::ScalarValue::try_from_array(&array, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(array))
    }
}
