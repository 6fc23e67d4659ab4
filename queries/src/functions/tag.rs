//! Marks bytes as a 256-bit integer where DataFusion drops the mark, as in the result of a CASE.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use highwater_engine::model::wide::{WIDE_TYPE, Wide};

use super::function::{Call, Function, FunctionText, Output};

fn stored(types: &[DataType]) -> Option<Vec<DataType>> {
    matches!(types, [one] if one == &WIDE_TYPE || one.is_null()).then(|| vec![WIDE_TYPE])
}

fn same(call: &Call<'_>) -> Result<ArrayRef> {
    call.values[0].to_array(call.rows)
}

/// The mark of a kind; only the planner writes it.
pub(crate) fn tag_function(kind: Wide) -> &'static Function {
    match kind {
        Wide::Unsigned => &AS_UINT256,
        Wide::Signed => &AS_INT256,
    }
}

static AS_UINT256: Function = Function {
    doc: FunctionText {
        name: "stored_as_uint256",
        signature: "stored_as_uint256(bytes) -> UINT256",
        doc: "Says that stored bytes are an UINT256.",
        example: "",
        result: "",
    },
    accepts: stored,
    returns: |_| Some(Output::Wide(Wide::Unsigned)),
    evaluate: same,
};

static AS_INT256: Function = Function {
    doc: FunctionText {
        name: "stored_as_int256",
        signature: "stored_as_int256(bytes) -> INT256",
        doc: "Says that stored bytes are an INT256.",
        example: "",
        result: "",
    },
    accepts: stored,
    returns: |_| Some(Output::Wide(Wide::Signed)),
    evaluate: same,
};
