//! Expressions of other types as 256-bit integers, and literals as bytes, at planning time.

use arrow::datatypes::{DataType, Field};
use datafusion_common::metadata::FieldMetadata;
use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{ColumnarValue, Expr, ExprSchemable};
use highwater_engine::model::wide::{Wide, extension, wide_kind};

use super::columns::{Numbers, is_bytes, is_exact, is_text};
use super::from_wide::TO_DOUBLE;
use super::function::{Function, extension_name, sql_name};
use super::number::{Number, parse_number};
use super::text_bytes::{decode_address, decode_hex};
use super::to_wide::{TO_INT256, TO_UINT256};

/// An operand with what is known of it.
pub(crate) struct Operand {
    pub(crate) expr: Expr,
    pub(crate) data_type: DataType,
    pub(crate) wide: Option<Wide>,
}

impl Operand {
    pub(crate) fn new(expr: Expr, schema: &DFSchema) -> Result<Self> {
        if matches!(expr, Expr::BinaryExpr(_)) {
            // Never wide; and its field would be named by all of the expression, at every level of it.
            return Ok(Operand { data_type: expr.get_type(schema)?, wide: None, expr });
        }
        let field = expr.to_field(schema)?.1;
        Ok(Operand { expr, data_type: field.data_type().clone(), wide: wide_kind(&field) })
    }

    /// Bytes that are no number: addresses, hashes, call data.
    pub(crate) fn is_plain_bytes(&self) -> bool {
        self.wide.is_none() && is_bytes(&self.data_type)
    }

    pub(crate) fn is_text(&self) -> bool {
        is_text(&self.data_type)
    }

    /// Numbers that a 256-bit integer cannot hold exactly.
    pub(crate) fn is_fractional(&self) -> bool {
        match self.data_type {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => scale > 0,
            _ => self.data_type.is_floating(),
        }
    }

    /// The whole number of a literal, exactly as written; `None` if it is no literal.
    ///
    /// # Errors
    /// If the literal is text or a number that is not whole.
    pub(crate) fn literal_number(&self) -> Result<Option<Number>> {
        match &self.expr {
            Expr::Literal(value, _) => scalar_number(value, self.wide),
            _ => Ok(None),
        }
    }

    /// The kind this operand would have by itself: negative literals, signed columns and decimals
    /// are INT256, so that a comparison never fails at run time.
    pub(crate) fn own_kind(&self, other: Wide) -> Result<Wide> {
        if let Some(kind) = self.wide {
            return Ok(kind);
        }
        if let Some(number) = self.literal_number()? {
            let fits = number.stored(other).is_ok();
            return Ok(match (fits, other) {
                (true, other) => other,
                (false, Wide::Unsigned) => Wide::Signed,
                (false, Wide::Signed) => Wide::Unsigned,
            });
        }
        let signed = self.data_type.is_signed_integer() || self.data_type.is_decimal();
        Ok(if signed { Wide::Signed } else { other })
    }

    /// The expression as a 256-bit integer.
    ///
    /// # Errors
    /// If it is a literal that does not fit, or a type without whole numbers.
    pub(crate) fn into_wide(self, kind: Wide) -> Result<Expr> {
        if self.wide == Some(kind) {
            return Ok(self.expr);
        }
        if matches!(&self.expr, Expr::Literal(value, _) if value.is_null()) || self.data_type.is_null() {
            return Ok(wide_literal(kind, None));
        }
        if let Some(number) = self.literal_number()? {
            return Ok(wide_literal(kind, Some(number.stored(kind)?)));
        }
        let known = self.wide.is_some() || is_text(&self.data_type) || is_exact(&self.data_type);
        if known || self.data_type.is_floating() || is_bytes(&self.data_type) {
            return Ok(call(to_wide_function(kind), vec![self]));
        }
        plan_err!("{} cannot become {}", self.data_type, sql_name(kind))
    }

    /// What [`common_kind`] wants to know.
    pub(crate) fn known(&self) -> (Field, Option<Number>) {
        let metadata = self.wide.map(|kind| extension(extension_name(kind))).unwrap_or_default();
        let field = Field::new("", self.data_type.clone(), true).with_metadata(metadata);
        (field, self.literal_number().ok().flatten())
    }

    /// The expression as a double.
    pub(crate) fn into_double(self) -> Expr {
        if self.data_type == DataType::Float64 {
            return self.expr;
        }
        call(&TO_DOUBLE, vec![self])
    }

    /// What to call the type in an error.
    pub(crate) fn type_name(&self) -> String {
        match (self.wide, &self.data_type) {
            (Some(kind), _) => sql_name(kind).to_owned(),
            (None, DataType::FixedSizeBinary(20)) => "ADDRESS".to_owned(),
            (None, DataType::FixedSizeBinary(32)) => "HASH".to_owned(),
            (None, other) if is_text(other) => "text".to_owned(),
            (None, other) => other.to_string(),
        }
    }
}

/// The whole number of a constant, exactly as written; `None` for NULL and truth values.
///
/// # Errors
/// If it is text or a number that is not whole.
pub(crate) fn scalar_number(value: &ScalarValue, wide: Option<Wide>) -> Result<Option<Number>> {
    let data_type = value.data_type();
    let number = is_exact(&data_type) || is_text(&data_type) || is_bytes(&data_type) || data_type.is_floating();
    match value {
        _ if value.is_null() || !number => Ok(None),
        // Doubles print the shortest digits that identify them, which are those the user wrote.
        ScalarValue::Float64(Some(value)) => parse_number(&value.to_string()).map(Some),
        _ => Numbers::new(&ColumnarValue::Scalar(value.clone()), wide)?.get(0),
    }
}

/// The function that makes a 256-bit integer of anything whole.
pub(crate) fn to_wide_function(kind: Wide) -> &'static Function {
    match kind {
        Wide::Unsigned => &TO_UINT256,
        Wide::Signed => &TO_INT256,
    }
}

/// A call with the kinds of its operands settled.
pub(crate) fn call(function: &'static Function, operands: Vec<Operand>) -> Expr {
    let (wides, args) = operands.into_iter().map(|operand| (operand.wide, operand.expr)).unzip();
    Expr::ScalarFunction(ScalarFunction::new_udf(function.bound(wides), args))
}

/// A constant 256-bit integer.
pub(crate) fn wide_literal(kind: Wide, bytes: Option<[u8; 32]>) -> Expr {
    let value = ScalarValue::FixedSizeBinary(32, bytes.map(Vec::from));
    Expr::Literal(value, Some(FieldMetadata::from(extension(extension_name(kind)))))
}

/// A literal as the bytes it is compared with.
///
/// # Errors
/// If a literal does not have the other side's form, or text that is no literal meets bytes.
pub(crate) fn into_bytes_like(operand: Operand, like: &DataType) -> Result<Expr> {
    let Expr::Literal(value, _) = &operand.expr else {
        if operand.is_text() {
            return plan_err!(
                "text cannot be compared with bytes: write address(…), hash(…) or unhex(…) around the text"
            );
        }
        return Ok(operand.expr);
    };
    let bytes = match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            text_as_bytes(text, like)?
        }
        ScalarValue::Binary(Some(bytes)) | ScalarValue::FixedSizeBinary(_, Some(bytes)) => bytes.clone(),
        _ => return Ok(operand.expr),
    };
    let &DataType::FixedSizeBinary(width) = like else {
        return Ok(Expr::Literal(ScalarValue::Binary(Some(bytes)), None));
    };
    if usize::try_from(width) != Ok(bytes.len()) {
        return plan_err!("a literal of {} bytes is compared with a column of {width} bytes", bytes.len());
    }
    Ok(Expr::Literal(ScalarValue::FixedSizeBinary(width, Some(bytes)), None))
}

fn text_as_bytes(text: &str, like: &DataType) -> Result<Vec<u8>> {
    if like == &DataType::FixedSizeBinary(20) {
        return match decode_address(text) {
            Ok(address) => Ok(address.to_vec()),
            Err(error) => plan_err!("{}", error.message()),
        };
    }
    let mut bytes = Vec::new();
    match decode_hex(text.strip_prefix("\\x").unwrap_or(text), &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => plan_err!("{}", error.message()),
    }
}

/// The common kind of several values, `None` if none is a 256-bit integer.
///
/// # Errors
/// If one of them cannot become one.
pub(crate) fn common_kind(fields: &[(Field, Option<Number>)]) -> Result<Option<Wide>> {
    let kinds: Vec<Wide> = fields.iter().filter_map(|(field, _)| wide_kind(field)).collect();
    if kinds.is_empty() {
        return Ok(None);
    }
    let negative = fields.iter().any(|(_, number)| number.is_some_and(Number::is_negative));
    for (field, number) in fields {
        let data_type = field.data_type();
        let fits = wide_kind(field).is_some() || number.is_some() || data_type.is_null();
        if !fits && !is_exact(data_type) && !is_text(data_type) {
            return plan_err!(
                "{} and {data_type} have no common type: convert one of them, as with to_double(…) or uint256(…)",
                sql_name(kinds[0])
            );
        }
    }
    let signed = negative || kinds.contains(&Wide::Signed);
    Ok(Some(if signed { Wide::Signed } else { Wide::Unsigned }))
}
