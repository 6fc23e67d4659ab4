//! The type names of chain data: `ADDRESS`, `HASH`, `BYTES32`, `UINT256`, `INT256`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::Result;
use datafusion_expr::planner::TypePlanner;
use datafusion_sql::sqlparser::ast::DataType as SqlType;
use highwater_engine::model::wide::{Wide, named_type};

use super::function::wide_field;

/// Maps type names to Arrow fields; unknown names are left to DataFusion.
#[derive(Debug)]
pub(crate) struct ChainTypes;

impl TypePlanner for ChainTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        // Only a plain name: a whole CREATE TABLE would render its types for nothing otherwise.
        let field = match sql_type {
            SqlType::UInt256 => wide_field("", Wide::Unsigned, true),
            SqlType::Int256 => wide_field("", Wide::Signed, true),
            // Standard SQL for VARCHAR, which has no longest length here either.
            SqlType::CharacterVarying(_) | SqlType::CharVarying(_) | SqlType::Character(_) => {
                Field::new("", DataType::Utf8, true)
            }
            // Arithmetic in 64 bits without a sign would wrap around.
            SqlType::BigIntUnsigned(_) => Field::new("", DataType::Decimal128(20, 0), true),
            SqlType::Custom(name, arguments) if arguments.is_empty() => {
                return Ok(named_type(&name.to_string()).map(Arc::new));
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(field)))
    }
}
