//! What a row of an alert's view says.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::alert::Severity;
use highwater_engine::model::format;
use highwater_engine::rows::RowCodec;
use serde::{Deserialize, Serialize};

use super::Real;
use super::timeline::ReadSignal;
use crate::rows::{as_i64, is_i64, value};

/// Where the parts of a signal are in the input: the view's columns come first, what was computed for the alert after them.
#[derive(Clone, Debug)]
pub struct SignalColumns {
    /// The input.
    pub input: SchemaRef,
    /// How many columns the view has.
    pub view_columns: usize,
    /// What the finding is about.
    pub entity: Vec<usize>,
    /// What findings are gathered by.
    pub group: Vec<usize>,
    /// What makes two rows the same finding.
    pub finding: Vec<usize>,
    /// `Timestamp(ms)`: when it counts, for alerts at window close.
    pub time: Option<usize>,
    /// Text: a word of [`Severity`]. None: [`Severity::default`].
    pub severity: Option<usize>,
    /// `Float64`, 0 to 5. None: [`Severity::score`].
    pub score: Option<usize>,
    /// `Float64`, 0 to 1.
    pub confidence: Option<usize>,
    /// Boolean: the row says that all is well.
    pub healthy: Option<usize>,
}

/// A row of the view, read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Signal {
    /// What findings are gathered by, as text.
    pub group: String,
    /// What it is about, as text.
    pub entity: String,
    /// A hash of what makes it the same finding.
    pub finding: u64,
    /// How much it matters: a position in [`Severity::ALL`].
    pub severity: u8,
    /// 0 to 5.
    pub score: Real,
    /// 0 to 1.
    pub confidence: Option<Real>,
    /// Whether all is well.
    pub healthy: bool,
    /// The view's columns as a JSON object.
    pub fields: String,
}

impl Signal {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        Severity::ALL[usize::from(self.severity)]
    }
}

/// What keys the timelines of a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyedBy {
    /// The group.
    Group,
    /// The finding.
    Finding,
}

/// Reads signals.
pub struct SignalReader {
    columns: SignalColumns,
    group: RowCodec,
    finding: RowCodec,
    keyed_by: KeyedBy,
}

impl SignalReader {
    /// A reader of such batches.
    ///
    /// # Errors
    /// If a key column has a type without an order in bytes, or a computed column not the type it must have.
    pub fn new(columns: SignalColumns, keyed_by: KeyedBy) -> Result<SignalReader, ArrowError> {
        let group = RowCodec::new(&columns.input, &columns.group)?;
        let finding = RowCodec::new(&columns.input, &columns.finding)?;
        let reader = SignalReader { columns, group, finding, keyed_by };
        reader.check()?;
        Ok(reader)
    }

    fn check(&self) -> Result<(), ArrowError> {
        let SignalColumns { input, time, severity, score, confidence, healthy, .. } = &self.columns;
        let has = |column: &Option<usize>, fits: &dyn Fn(&DataType) -> bool| {
            column.is_none_or(|column| fits(input.field(column).data_type()))
        };
        let number = |kind: &DataType| *kind == DataType::Float64;
        let fits = has(time, &is_i64)
            && has(severity, &|kind| *kind == DataType::Utf8)
            && has(score, &number)
            && has(confidence, &number)
            && has(healthy, &|kind| *kind == DataType::Boolean);
        if fits { Ok(()) } else { Err(ArrowError::SchemaError(format!("an alert cannot read {input:?}"))) }
    }

    /// The columns that key the timelines: rows of one key must meet at one worker.
    pub fn key(&self) -> &[usize] {
        match self.keyed_by {
            KeyedBy::Group => &self.columns.group,
            KeyedBy::Finding => &self.columns.finding,
        }
    }

    /// Reads all rows of a batch.
    pub fn read(&self, batch: &RecordBatch) -> Vec<ReadSignal<Signal>> {
        let pick = |columns: &[usize]| -> Vec<ArrayRef> {
            columns.iter().map(|column| batch.column(*column).clone()).collect()
        };
        let groups = self.group.encode(&pick(&self.columns.group), batch.num_rows());
        let findings = self.finding.encode(&pick(&self.columns.finding), batch.num_rows());
        let times = self.columns.time.map(|time| as_i64(batch.column(time)));
        (0..batch.num_rows())
            .map(|row| {
                let finding = findings.row(row).data();
                let key: Arc<[u8]> = match self.keyed_by {
                    KeyedBy::Group => groups.row(row).data().into(),
                    KeyedBy::Finding => finding.into(),
                };
                let time = match &times {
                    None => 0,
                    Some(times) => value(times.as_primitive(), row).ok_or("its time is NULL")?,
                };
                Ok((key, time, self.signal(batch, row, fnv(finding))?))
            })
            .collect()
    }

    fn signal(&self, batch: &RecordBatch, row: usize, finding: u64) -> Result<Signal, String> {
        let columns = &self.columns;
        let severity = match columns.severity {
            None => Severity::default(),
            Some(column) => read_severity(batch.column(column), row)?,
        };
        let score = match columns.score.map(|column| number(batch.column(column), row, "score")) {
            None => severity.score(),
            Some(score) => score?.ok_or("its score is NULL")?.clamp(0.0, 5.0),
        };
        let confidence = match columns.confidence {
            None => None,
            Some(column) => number(batch.column(column), row, "confidence")?.map(|number| number.clamp(0.0, 1.0)),
        };
        let healthy = columns.healthy.map(|column| batch.column(column).as_boolean());
        let mut fields = String::with_capacity(64 * columns.view_columns);
        write_fields(&mut fields, batch, row, columns.view_columns);
        Ok(Signal {
            group: text(batch, &columns.group, row),
            entity: text(batch, &columns.entity, row),
            finding,
            severity: Severity::ALL.iter().zip(0_u8..).find(|(known, _)| **known == severity).map_or(0, |(_, at)| at),
            score: Real::new(score),
            confidence: confidence.map(Real::new),
            healthy: healthy.is_some_and(|healthy| healthy.is_valid(row) && healthy.value(row)),
            fields,
        })
    }
}

fn read_severity(column: &ArrayRef, row: usize) -> Result<Severity, String> {
    if column.is_null(row) {
        return Err("its severity is NULL; give CASE an ELSE".to_owned());
    }
    let word = column.as_string::<i32>().value(row);
    Severity::parse(word).ok_or_else(|| format!("its severity {word:?} is not low, medium, high or critical"))
}

fn number(column: &ArrayRef, row: usize, what: &str) -> Result<Option<f64>, String> {
    let numbers = column.as_primitive::<Float64Type>();
    if numbers.is_null(row) {
        return Ok(None);
    }
    match numbers.value(row) {
        number if number.is_finite() => Ok(Some(number)),
        number => Err(format!("its {what} is {number}")),
    }
}

/// Columns as text for people, with commas between.
fn text(batch: &RecordBatch, columns: &[usize], row: usize) -> String {
    let mut text = String::new();
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        let array = batch.column(*column);
        if array.is_null(row) {
            text.push_str("NULL");
        } else {
            format::write_text(&mut text, batch.schema_ref().field(*column), array.as_ref(), row);
        }
    }
    text
}

fn write_fields(out: &mut String, batch: &RecordBatch, row: usize, columns: usize) {
    out.push('{');
    for (index, field) in batch.schema_ref().fields().iter().take(columns).enumerate() {
        if index > 0 {
            out.push(',');
        }
        format::json_string(out, field.name());
        out.push(':');
        format::write_json(out, field, batch.column(index).as_ref(), row);
    }
    out.push('}');
}

/// FNV-1a: fixed for ever, because checkpoints and ids hold it.
pub(super) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
