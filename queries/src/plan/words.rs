//! Types and expressions in the words of the language.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_common::tree_node::{Transformed, TreeNode as _};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, Literal};
use highwater_engine::model::format::write_text;
use highwater_engine::model::wide::{Wide, wide_kind};

use super::lower::duration;
use super::window::interval_ms;

/// A type in the words of the language, as far as it can be told without its column.
pub(crate) fn type_name(data_type: &DataType) -> String {
    sql_type(&Field::new("value", data_type.clone(), true))
}

/// The type of a column in the words of the language.
pub fn sql_type(field: &Field) -> String {
    match wide_kind(field) {
        Some(Wide::Unsigned) => return "UINT256".to_owned(),
        Some(Wide::Signed) => return "INT256".to_owned(),
        None => {}
    }
    match field.data_type() {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES".to_owned(),
        DataType::FixedSizeBinary(20) => "ADDRESS".to_owned(),
        DataType::FixedSizeBinary(32) => "HASH".to_owned(),
        DataType::FixedSizeBinary(width) => format!("BYTES({width})"),
        DataType::Timestamp(TimeUnit::Millisecond, Some(_)) => "TIMESTAMP".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Interval(_) => "INTERVAL".to_owned(),
        DataType::List(item) => format!("{}[]", sql_type(item)),
        DataType::Null => "NULL".to_owned(),
        other => other.to_string(),
    }
}

/// An expression as SQL, without the positions of columns.
pub(super) struct Sql<'e>(pub(super) &'e Arc<dyn PhysicalExpr>, pub(super) &'e Schema);

/// The text of an expression over columns of a schema.
pub(super) fn sql_text(expression: &Arc<dyn PhysicalExpr>, schema: &Schema) -> String {
    Sql(expression, schema).to_string()
}

impl fmt::Display for Sql<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // DataFusion's texts of bytes and intervals are for debugging: a column of the right name
        // stands in for such a constant.
        let readable = self.0.clone().transform_up(|part| {
            let column = part.downcast_ref::<Column>().map(Column::index);
            let text = match column {
                Some(index) => self.1.fields().get(index).map(|field| field.name().clone()),
                None => part.downcast_ref::<Literal>().and_then(constant),
            };
            Ok(match text {
                Some(text) => Transformed::yes(Arc::new(Column::new(&text, 0)) as Arc<dyn PhysicalExpr>),
                None => Transformed::no(part),
            })
        });
        match readable {
            Ok(readable) => readable.data.fmt_sql(f),
            Err(_) => self.0.fmt_sql(f),
        }
    }
}

/// The text of a constant that DataFusion does not show for people.
fn constant(literal: &Literal) -> Option<String> {
    let value = literal.value();
    if let Some(Ok(ms)) = interval_ms(value) {
        return Some(format!("INTERVAL '{}'", duration(ms)));
    }
    match value {
        ScalarValue::Utf8(Some(text)) => return Some(format!("'{}'", text.replace('\'', "''"))),
        ScalarValue::FixedSizeBinary(_, Some(_)) | ScalarValue::Binary(Some(_)) => {}
        _ => return None,
    }
    let field = literal.return_field(&Schema::empty()).ok()?;
    let array = value.to_array().ok()?;
    let mut text = String::new();
    write_text(&mut text, &field, &array, 0);
    Some(text)
}
