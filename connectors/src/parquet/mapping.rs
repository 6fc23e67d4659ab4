//! From the columns of a file to the columns a table offers: names of cryo, types of ours.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use highwater_engine::model::evm;
use highwater_engine::model::wide::{EXTENSION_KEY, INT256_TWOS, WIDE_TYPE, int256_field, timestamp_type, wide_kind};

use super::options::Settings;

/// How the values of a column are brought to the type that is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Convert {
    /// They are not.
    Same,
    /// Any whole number to 63 bits.
    Int,
    /// Whole numbers to a decimal of 38 digits.
    Wei,
    /// A time of any unit to milliseconds.
    Time,
    /// Whole seconds to a time.
    Seconds,
    /// Bytes or hex text to this many bytes.
    Fixed(i32),
    /// Bytes, decimal text or numbers to a 256-bit integer.
    Wide,
    /// Two's complement, as files hold `INT256`, to the bytes it has in memory.
    Twos,
    /// Bytes or hex text to bytes.
    Bytes,
    /// Any text to text.
    Text,
}

impl Convert {
    /// Whether text does not stay text.
    pub(super) fn is_to_bytes(self) -> bool {
        matches!(self, Convert::Fixed(_) | Convert::Wide | Convert::Bytes)
    }
}

/// One offered column and where its values are.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    pub(super) field: Field,
    /// Index of the column in the file.
    pub(super) source: usize,
    pub(super) convert: Convert,
}

/// Names that cryo gives to columns of ours, by table; the table `""` is every table.
const CRYO_NAMES: &[(&str, &str, &str)] = &[
    ("", "timestamp", "block_timestamp"),
    ("blocks", "author", "miner"),
    ("blocks", "number", "block_number"),
    ("token_transfers", "erc20", "token_address"),
    ("token_transfers", "value", "amount"),
    ("traces", "action_from", "from_address"),
    ("traces", "action_to", "to_address"),
    ("traces", "action_value", "value"),
    ("traces", "action_gas", "gas"),
    ("traces", "action_input", "input"),
    ("traces", "action_call_type", "call_type"),
    ("traces", "action_type", "trace_type"),
    ("traces", "action_reward_type", "reward_type"),
    ("traces", "result_gas_used", "gas_used"),
    ("traces", "result_output", "output"),
];

/// The columns that a file with this schema offers. `evm_table` is the table of ours that it holds, if
/// any. Of the settings, `rename` maps names of the file to names wanted, and `types` gives types to these; the error
/// tells which of them cannot be had.
pub(super) fn map_columns(
    schema: &Schema,
    evm_table: Option<&str>,
    settings: &Settings,
) -> Result<Vec<Mapped>, String> {
    let ours = evm_table.and_then(evm::schema);
    let mut mapped: Vec<Mapped> = Vec::with_capacity(schema.fields().len());
    for (source, field) in schema.fields().iter().enumerate() {
        let name = match settings.rename.get(field.name()) {
            Some(name) => Some(name.clone()),
            None => offered_name(field.name(), schema, evm_table),
        };
        // The first of two columns of one name wins, as in `X_binary` beside a plain `X`.
        let Some(name) = name.filter(|name| mapped.iter().all(|other| other.field.name() != name)) else { continue };
        let wanted = settings.types.get(&name).map(|wanted| wanted.clone().with_name(&name));
        let target = wanted.as_ref().or_else(|| ours.as_ref()?.field_with_name(&name).ok());
        let (field, convert) = match target.and_then(|target| conversion(field, target).map(|how| (target, how))) {
            Some((target, convert)) => (target.clone().with_nullable(field.is_nullable()), convert),
            None if wanted.is_some() => {
                return Err(format!(
                    "column {name} cannot have the type that option types gives it: it is {}",
                    field.data_type()
                ));
            }
            None => widened(field, name),
        };
        mapped.push(Mapped { field, source, convert });
    }
    Ok(mapped)
}

/// The name under which a column is offered; `None` for a copy of another column.
fn offered_name(name: &str, schema: &Schema, evm_table: Option<&str>) -> Option<String> {
    let Some(table) = evm_table else { return Some(name.to_owned()) };
    // cryo writes a 256-bit number three times; the bytes are exact.
    let base = match name.rsplit_once('_') {
        Some((base, "binary")) => base,
        Some((base, "string" | "f32" | "f64" | "d128" | "u32" | "u64")) if has(schema, &format!("{base}_binary")) => {
            return None;
        }
        Some((base, "string")) if !has(schema, base) => base,
        _ => name,
    };
    let ours =
        CRYO_NAMES.iter().find(|(in_table, theirs, _)| (in_table.is_empty() || *in_table == table) && *theirs == base);
    Some(ours.map_or(base, |(_, _, ours)| ours).to_owned())
}

fn has(schema: &Schema, name: &str) -> bool {
    schema.column_with_name(name).is_some()
}

/// Whether a column is text of any kind.
pub(super) fn is_text(from: &DataType) -> bool {
    match from {
        DataType::Dictionary(_, values) => values.is_string(),
        _ => from.is_string(),
    }
}

/// How a column of the file becomes the column `target` of ours, if it can.
fn conversion(from: &Field, target: &Field) -> Option<Convert> {
    let (from_type, to) = (from.data_type(), target.data_type());
    let is_text = is_text(from_type);
    let is_bytes = matches!(
        from_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
    );
    match to {
        _ if wide_kind(target).is_some() => {
            let known =
                is_text || is_bytes || from_type.is_integer() || matches!(from_type, DataType::Decimal128(_, 0));
            let same = from_type == to && (wide_kind(from) == wide_kind(target) || from.metadata().is_empty());
            known.then_some(if same { Convert::Same } else { Convert::Wide })
        }
        DataType::Utf8 => is_text.then_some(Convert::Text),
        _ if from_type == to => Some(Convert::Same),
        DataType::Int64 => from_type.is_integer().then_some(Convert::Int),
        DataType::Decimal128(38, 0) => from_type.is_integer().then_some(Convert::Wei),
        DataType::Timestamp(TimeUnit::Millisecond, _) if from_type.is_integer() => Some(Convert::Seconds),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            matches!(from_type, DataType::Timestamp(_, _)).then_some(Convert::Time)
        }
        DataType::FixedSizeBinary(width) => (is_text || is_bytes).then_some(Convert::Fixed(*width)),
        DataType::Binary => (is_text || is_bytes).then_some(Convert::Bytes),
        _ => None,
    }
}

/// A column that means nothing to us: as it is, except that types of one meaning become one.
fn widened(field: &Field, name: String) -> (Field, Convert) {
    let from = field.data_type();
    if from == &WIDE_TYPE && field.metadata().get(EXTENSION_KEY).is_some_and(|extension| extension == INT256_TWOS) {
        return (int256_field(&name, field.is_nullable()), Convert::Twos);
    }
    let (to, convert) = match from {
        DataType::Int64 => (DataType::Int64, Convert::Same),
        from if from.is_integer() => (DataType::Int64, Convert::Int),
        from if *from == timestamp_type() => (from.clone(), Convert::Same),
        DataType::Timestamp(_, _) => (timestamp_type(), Convert::Time),
        from if is_text(from) => (DataType::Utf8, Convert::Text),
        DataType::LargeBinary | DataType::BinaryView => (DataType::Binary, Convert::Bytes),
        other => (other.clone(), Convert::Same),
    };
    // Some writers keep block times as seconds.
    let (to, convert) = match (name.as_str(), convert) {
        ("block_timestamp", Convert::Int | Convert::Same) if from.is_integer() => (timestamp_type(), Convert::Seconds),
        _ => (to, convert),
    };
    (Field::new(name, to, field.is_nullable()).with_metadata(field.metadata().clone()), convert)
}
