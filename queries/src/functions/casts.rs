//! `CAST` and `TRY_CAST` from and to 256-bit integers, addresses and hashes.

use arrow::datatypes::{DataType, Field};
use datafusion_common::{DFSchema, Result, plan_err};
use datafusion_expr::{Cast, Expr};
use highwater_engine::model::wide::{ADDRESS_TYPE, HASH_TYPE, Wide, wide_kind};

use super::address::ADDRESS;
use super::columns::{is_bytes, is_text};
use super::convert::{Operand, call};
use super::from_wide::{TO_BIGINT, TO_DECIMAL, TO_DECIMAL76, TO_DOUBLE, TO_TEXT};
use super::function::sql_name;
use super::hash::HASH;
use super::hex::HEX;
use super::to_wide::{TRY_INT256, TRY_UINT256};

/// The meaning of a cast, or `None` if DataFusion's own applies.
///
/// # Errors
/// If the two types have no common meaning.
pub(crate) fn plan_cast(expr: &Expr, target: &Field, lenient: bool, schema: &DFSchema) -> Result<Option<Expr>> {
    let Ok(source) = Operand::new(expr.clone(), schema) else { return Ok(None) };
    let planned = match (wide_kind(target), source.wide) {
        (Some(kind), _) => to_wide(source, kind, lenient)?,
        (None, Some(_)) if lenient => {
            return plan_err!("TRY_CAST from {} is not supported: use CAST", source.type_name());
        }
        (None, Some(kind)) => from_wide(source, kind, target.data_type())?,
        (None, None) => match bytes_cast(source, target.data_type(), lenient)? {
            Some(planned) => planned,
            None => return Ok(None),
        },
    };
    Ok(Some(planned))
}

fn to_wide(source: Operand, kind: Wide, lenient: bool) -> Result<Expr> {
    if !lenient || source.wide == Some(kind) {
        return source.into_wide(kind);
    }
    Ok(call(if kind == Wide::Unsigned { &TRY_UINT256 } else { &TRY_INT256 }, vec![source]))
}

fn from_wide(source: Operand, kind: Wide, target: &DataType) -> Result<Expr> {
    let then = |expr: Expr, given: DataType| {
        if &given == target { expr } else { Expr::Cast(Cast::new(Box::new(expr), target.clone())) }
    };
    Ok(match target {
        text if is_text(text) => then(call(&TO_TEXT, vec![source]), DataType::Utf8),
        DataType::Decimal256(..) => then(call(&TO_DECIMAL76, vec![source]), DataType::Decimal256(76, 0)),
        decimal if decimal.is_decimal() => then(call(&TO_DECIMAL, vec![source]), DataType::Decimal128(38, 0)),
        DataType::UInt64 => then(call(&TO_DECIMAL, vec![source]), DataType::Decimal128(38, 0)),
        integer if integer.is_integer() => then(call(&TO_BIGINT, vec![source]), DataType::Int64),
        float if float.is_floating() => then(call(&TO_DOUBLE, vec![source]), DataType::Float64),
        _ => return plan_err!("{} cannot be cast to {target}", sql_name(kind)),
    })
}

/// Text as an address or hash, and bytes as text: hex, where Arrow would take the letters as bytes.
fn bytes_cast(source: Operand, target: &DataType, lenient: bool) -> Result<Option<Expr>> {
    let function = match target {
        _ if source.is_text() && target == &ADDRESS_TYPE => &ADDRESS,
        _ if source.is_text() && target == &HASH_TYPE => &HASH,
        text if is_text(text) && is_bytes(&source.data_type) => &HEX,
        _ => return Ok(None),
    };
    if lenient && source.is_text() {
        return plan_err!("TRY_CAST to bytes is not supported: use CAST");
    }
    let planned = call(function, vec![source]);
    Ok(Some(match target {
        DataType::LargeUtf8 | DataType::Utf8View => Expr::Cast(Cast::new(Box::new(planned), target.clone())),
        _ => planned,
    }))
}
