//! From the columns of a view to columns that every Parquet reader reads exactly.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{EXTENSION_KEY, INT256_TWOS, Wide, wide_kind};

use super::wide_columns::{as_decimal, as_double, as_text, twos_complement};

/// Which columns a 256-bit column becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uint256 {
    binary: bool,
    d128: bool,
    f64: bool,
    string: bool,
}

impl Default for Uint256 {
    fn default() -> Uint256 {
        Uint256 { binary: true, d128: true, f64: false, string: false }
    }
}

impl Uint256 {
    /// Reads `binary,d128,string`.
    pub(super) fn read(text: &str) -> Option<Uint256> {
        let mut chosen = Uint256 { binary: false, d128: false, f64: false, string: false };
        for word in text.split(',') {
            match word.trim().to_ascii_lowercase().as_str() {
                "binary" => chosen.binary = true,
                "d128" => chosen.d128 = true,
                "f64" => chosen.f64 = true,
                "string" => chosen.string = true,
                _ => return None,
            }
        }
        Some(chosen)
    }
}

/// How bytes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binary {
    Bytes,
    Hex,
}

/// How one column of a file is made.
#[derive(Clone, Debug)]
enum Step {
    Keep,
    Cast(DataType),
    Twos,
    Decimal(Wide),
    Double,
    Text,
}

/// The columns of a file and how each is made of the columns of the view.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    schema: SchemaRef,
    steps: Vec<(usize, Step)>,
    /// Columns whose statistics would mislead.
    no_statistics: Vec<String>,
}

impl Mapping {
    /// The mapping for a view, or why its columns cannot be written.
    pub(super) fn new(view: &SchemaRef, uint256: Uint256, binary: Binary) -> Result<Mapping, String> {
        let mut fields: Vec<Field> = Vec::new();
        let mut steps = Vec::new();
        let mut no_statistics = Vec::new();
        for (index, field) in view.fields().iter().enumerate() {
            let columns = match wide_kind(field) {
                Some(kind) => wide_columns(field, kind, uint256),
                None => vec![plain_column(field, binary)?],
            };
            for (field, step) in columns {
                if matches!(step, Step::Twos) {
                    no_statistics.push(field.name().clone());
                }
                if fields.iter().any(|known| known.name() == field.name()) {
                    return Err(format!("the file would have two columns \"{}\"; rename one", field.name()));
                }
                fields.push(field);
                steps.push((index, step));
            }
        }
        Ok(Mapping { schema: Arc::new(Schema::new(fields)), steps, no_statistics })
    }

    /// The columns of a file.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Columns to be written without statistics.
    pub(super) fn no_statistics(&self) -> &[String] {
        &self.no_statistics
    }

    /// Columns of amounts and ratios, whose values hardly ever come twice.
    pub(super) fn amounts(&self) -> impl Iterator<Item = &str> {
        self.of_type(|kind| matches!(kind, DataType::Decimal128(_, _) | DataType::Float64))
    }

    /// Columns of counts and heights.
    pub(super) fn integers(&self) -> impl Iterator<Item = &str> {
        self.of_type(|kind| matches!(kind, DataType::Int32 | DataType::Int64))
    }

    fn of_type(&self, wanted: fn(&DataType) -> bool) -> impl Iterator<Item = &str> {
        let fields = self.schema.fields().iter().filter(move |field| wanted(field.data_type()));
        fields.map(|field| field.name().as_str())
    }

    /// The rows in the form of the file.
    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = self
            .steps
            .iter()
            .map(|(index, step)| {
                let column = batch.column(*index);
                make(batch.schema_ref().field(*index), column, step)
            })
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

fn make(field: &Field, column: &ArrayRef, step: &Step) -> Result<ArrayRef, ArrowError> {
    match step {
        Step::Keep => Ok(column.clone()),
        Step::Cast(target) => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(column, target, &options).map_err(|error| {
                ArrowError::CastError(format!(
                    "column \"{}\": {error}; cast it to UINT256 or DOUBLE in the view",
                    field.name()
                ))
            })
        }
        Step::Twos => twos_complement(column),
        Step::Decimal(kind) => as_decimal(column, *kind),
        Step::Double => Ok(as_double(field, column)),
        Step::Text => Ok(as_text(field, column)),
    }
}

fn wide_columns(field: &Field, kind: Wide, chosen: Uint256) -> Vec<(Field, Step)> {
    let name = field.name();
    let mut columns = Vec::new();
    if chosen.binary {
        let column = match kind {
            Wide::Unsigned => (field.clone(), Step::Keep),
            Wide::Signed => {
                let mut metadata = field.metadata().clone();
                metadata.insert(EXTENSION_KEY.to_owned(), INT256_TWOS.to_owned());
                (field.clone().with_metadata(metadata), Step::Twos)
            }
        };
        columns.push(column);
    }
    if chosen.d128 {
        columns.push((Field::new(format!("{name}_d128"), DataType::Decimal128(38, 0), true), Step::Decimal(kind)));
    }
    if chosen.f64 {
        columns.push((Field::new(format!("{name}_f64"), DataType::Float64, field.is_nullable()), Step::Double));
    }
    if chosen.string {
        columns.push((Field::new(format!("{name}_string"), DataType::Utf8, field.is_nullable()), Step::Text));
    }
    columns
}

fn plain_column(field: &Field, binary: Binary) -> Result<(Field, Step), String> {
    let target = match field.data_type() {
        DataType::FixedSizeBinary(_) | DataType::Binary | DataType::LargeBinary | DataType::BinaryView
            if binary == Binary::Hex =>
        {
            return Ok((field.clone().with_data_type(DataType::Utf8), Step::Text));
        }
        DataType::Decimal256(_, scale) => DataType::Decimal128(38, *scale),
        // Parquet knows milliseconds and finer.
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Dictionary(_, values) => (**values).clone(),
        DataType::Interval(_)
        | DataType::Duration(_)
        | DataType::Null
        | DataType::Union(_, _)
        | DataType::Map(_, _) => {
            return Err(format!(
                "Parquet readers do not agree on the type {} of column \"{}\"; cast it in the view",
                field.data_type(),
                field.name()
            ));
        }
        _ => return Ok((field.clone(), Step::Keep)),
    };
    // Field::with_data_type keeps name, nullability and metadata.
    Ok((field.clone().with_data_type(target.clone()), Step::Cast(target)))
}
