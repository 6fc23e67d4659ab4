//! `ewma(x, alpha) OVER (… ORDER BY …)`: only for planning, the engine's window operator evaluates it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};

use super::function::FunctionDoc;

/// The exponentially weighted moving average.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Ewma {
    signature: Signature,
}

/// The function.
pub(crate) fn udwf() -> Arc<WindowUDF> {
    let signature = Signature::exact(vec![DataType::Float64, DataType::Float64], Volatility::Immutable);
    Arc::new(WindowUDF::new_from_impl(Ewma { signature }))
}

pub(crate) fn doc() -> FunctionDoc {
    FunctionDoc {
        name: "ewma",
        aliases: Vec::new(),
        signature: "ewma(x, alpha) OVER ([PARTITION BY …] ORDER BY …) -> DOUBLE",
        doc: "The exponentially weighted moving average of all values up to the row: the first value, then \
              `alpha * x + (1 - alpha) * before`, with a constant alpha from 0 to 1. A NULL leaves it as it was.",
        example: "",
        result: "",
    }
}

impl WindowUDFImpl for Ewma {
    fn name(&self) -> &str {
        "ewma"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        not_impl_err!("ewma is evaluated by the engine's own operator")
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Float64, true)))
    }
}
