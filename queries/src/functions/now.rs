//! `now()`: the block time of the tick being processed.

use datafusion_common::{DataFusionError, Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use arrow::datatypes::DataType;
use highwater_engine::model::wide::timestamp_type;

use super::function::FunctionDoc;

/// The function `now`. The planner turns it into a temporal filter or refuses it: it has no value
/// of its own, as nothing inside the dataflow reads a clock.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Now {
    signature: Signature,
    aliases: Vec<String>,
}

impl Now {
    pub(crate) fn new() -> Self {
        Now { signature: Signature::nullary(Volatility::Volatile), aliases: vec!["current_timestamp".to_owned()] }
    }

    pub(crate) fn documentation() -> FunctionDoc {
        FunctionDoc {
            name: "now",
            aliases: vec!["current_timestamp"],
            signature: "now() -> TIMESTAMP",
            doc: "The block time of the tick being processed, never the wall clock. It can stand in a filter on a \
                  time column, such as WHERE block_timestamp > now() - INTERVAL '1 hour'.",
            example: "",
            result: "",
        }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if types.is_empty() { Ok(timestamp_type()) } else { plan_err!("now() takes no arguments") }
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Execution("now() can stand only in a filter on a time column".to_owned()))
    }
}
