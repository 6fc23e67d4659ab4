//! The rows of a unit test, as blocks and as tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, FixedSizeBinaryArray, Int64Array, StringArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMillisecondType};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::ScalarValue;
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};

use crate::diagnostic::{Code, Diagnostic};
use crate::plan::{JobPlan, sql_type};
use crate::session::{Answer, Session, SessionError};
use crate::sql::{GivenRows, UnitTestStatement};

/// What a block time is, if the test does not say: so many milliseconds a block since the epoch.
const BLOCK_MS: i64 = 12_000;

/// The rows of a test as they are written.
pub(super) struct Given {
    steps: Vec<BTreeMap<String, Rows>>,
}

/// Given rows and where they stand.
#[derive(Clone)]
pub(super) struct Rows {
    columns: Vec<String>,
    /// `SELECT … FROM (query) AS given (columns)` without its columns.
    from: String,
}

impl Rows {
    pub(super) fn new(given: &GivenRows) -> Rows {
        let columns: Vec<String> = given.columns.iter().map(|column| column.text.clone()).collect();
        let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        Rows { columns, from: format!("FROM ({}) AS given ({})", given.query, names.join(", ")) }
    }

    /// Just these columns, in their types; what is not given is NULL.
    pub(super) fn typed(&self, schema: &Schema) -> Result<RecordBatch, SessionError> {
        let shown = schema.fields().iter().map(|field| match self.columns.contains(field.name()) {
            true => format!("CAST({0} AS {1}) AS {0}", quoted(field.name()), cast_type(field)),
            false => format!("NULL AS {}", quoted(field.name())),
        });
        let shown: Vec<String> = shown.collect();
        let rows = evaluated(&format!("SELECT {} {}", shown.join(", "), self.from))?;
        let columns = rows.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| SessionError::Row(error.to_string()))?;
        let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns, &options)
            .map_err(|error| SessionError::Row(error.to_string()))
    }

    /// As the rows of a reference table.
    pub(super) fn of_table(&self, declared: Option<&SchemaRef>) -> Result<RecordBatch, SessionError> {
        match declared {
            Some(schema) => {
                let rows = self.typed(schema)?;
                RecordBatch::try_new(schema.clone(), rows.columns().to_vec())
                    .map_err(|error| SessionError::Row(error.to_string()))
            }
            None => evaluated(&format!("SELECT * {}", self.from)),
        }
    }

    /// A query that gives these columns as the rows of a table are written: `column1`, `column2`, …
    pub(super) fn of_columns(&self, columns: &[String]) -> String {
        let shown = columns.iter().enumerate().map(|(index, column)| {
            let value = if self.columns.contains(column) { quoted(column) } else { "NULL".to_owned() };
            format!("{value} AS column{}", index + 1)
        });
        format!("SELECT {} {}", shown.collect::<Vec<_>>().join(", "), self.from)
    }

    /// A query that gives these columns in their types.
    pub(super) fn query(&self, schema: &Schema) -> String {
        let shown = schema.fields().iter().map(|field| match self.columns.contains(field.name()) {
            true => format!("CAST({0} AS {1}) AS {0}", quoted(field.name()), cast_type(field)),
            false => format!("CAST(NULL AS {1}) AS {0}", quoted(field.name()), cast_type(field)),
        });
        format!("SELECT {} {}", shown.collect::<Vec<_>>().join(", "), self.from)
    }
}

fn evaluated(text: &str) -> Result<RecordBatch, SessionError> {
    match Session::new().execute(text)?.pop() {
        Some(Answer::Rows(rows)) => Ok(rows.batch),
        _ => Err(SessionError::Row("the rows of a test are a query".to_owned())),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A type as CAST takes it.
fn cast_type(field: &Field) -> String {
    match sql_type(field).as_str() {
        "BYTES" => "BYTEA".to_owned(),
        other => other.to_owned(),
    }
}

impl Given {
    pub(super) fn new(test: &UnitTestStatement) -> Given {
        let steps = test.steps.iter().map(|step| {
            let mocks = step.mocks.iter().map(|(name, rows)| (name.text.clone(), Rows::new(rows)));
            mocks.collect()
        });
        Given { steps: steps.collect() }
    }

    /// The relations that are given in any step.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.steps.iter().flat_map(BTreeMap::keys)
    }

    /// The rows that a relation has from the start.
    pub(super) fn first(&self, name: &str) -> Option<&Rows> {
        self.steps.first().and_then(|step| step.get(name))
    }

    pub(super) fn step(&self, index: usize) -> &BTreeMap<String, Rows> {
        &self.steps[index]
    }
}

/// A tick of a test: what the chain is, and what changed of which table of a source.
pub(super) type Tick = (Progress, Vec<(usize, Delta)>);

/// The blocks of a test so far.
pub(super) struct Chain {
    /// By the name of the table: where it is among the tables of the plan, and its columns.
    tables: BTreeMap<String, (usize, SchemaRef)>,
    at_time_ms: Option<i64>,
    /// The canonical blocks: number and rows by table.
    blocks: Vec<(u64, Vec<(usize, RecordBatch)>)>,
    tick: u64,
    branch: u8,
}

impl Chain {
    pub(super) fn new(plan: &JobPlan, test: &UnitTestStatement) -> Result<Chain, Vec<Diagnostic>> {
        let tables = plan.sources.iter().flat_map(|source| {
            source.tables.iter().map(move |table| (format!("{}.{}", source.name, table.name), table.schema.clone()))
        });
        let tables = tables.enumerate().map(|(index, (name, schema))| (name, (index, schema))).collect();
        let at_time_ms = match &test.at_time {
            None => None,
            Some(text) => Some(time_ms(text).ok_or_else(|| {
                let message = format!("{text:?} is no time");
                let mistake = Diagnostic::new(Code::TypeMismatch, message, test.span);
                vec![mistake.with_hint("write AT TIME '2024-01-31 12:00:00'")]
            })?),
        };
        Ok(Chain { tables, at_time_ms, blocks: Vec::new(), tick: 0, branch: 0 })
    }

    /// The ticks of a step.
    pub(super) fn step(
        &mut self,
        reorg: u64,
        given: &BTreeMap<String, Rows>,
        test: &UnitTestStatement,
    ) -> Result<Vec<Tick>, Vec<Diagnostic>> {
        self.branch += 1;
        let wrong = |error: SessionError| match error {
            SessionError::Statement(mistakes) => mistakes
                .into_iter()
                .map(|mut mistake| {
                    mistake.span = Some(test.name.span);
                    mistake
                })
                .collect(),
            other => vec![Diagnostic::new(Code::TypeMismatch, other.to_string(), test.name.span)],
        };
        let mut rows: BTreeMap<u64, Vec<(usize, RecordBatch)>> = BTreeMap::new();
        let mut times: BTreeMap<u64, i64> = BTreeMap::new();
        for (name, given) in given {
            let Some((table, schema)) = self.tables.get(name).cloned() else { continue };
            let (numbers, batch) = self.filled(given, &schema, &mut times).map_err(wrong)?;
            let known: BTreeSet<i64> = numbers.values().iter().copied().collect();
            for number in known {
                let mask: BooleanArray = numbers.iter().map(|of| Some(of == Some(number))).collect();
                let part = filter_record_batch(&batch, &mask);
                let part = part.map_err(|error| wrong(SessionError::Row(error.to_string())))?;
                rows.entry(number.unsigned_abs()).or_default().push((table, part));
            }
        }
        let mut reverted = Vec::new();
        for _ in 0..reorg {
            let Some((number, tables)) = self.blocks.pop() else { break };
            reverted.extend(tables.into_iter().map(|(table, batch)| (table, Delta::of_block(batch, -1, number))));
        }
        let mut ticks = Vec::new();
        for (number, tables) in rows {
            let mut deltas = std::mem::take(&mut reverted);
            deltas.extend(tables.iter().map(|(table, batch)| (*table, Delta::of_block(batch.clone(), 1, number))));
            let time = times.get(&number).copied();
            ticks.push((self.progress(number, time), deltas));
            self.blocks.push((number, tables));
        }
        if ticks.is_empty() {
            let head = self.blocks.last().map_or(0, |(number, _)| *number);
            ticks.push((self.progress(head, None), reverted));
        }
        Ok(ticks)
    }

    fn progress(&mut self, number: u64, time_ms: Option<i64>) -> Progress {
        self.tick += 1;
        let usual = i64::try_from(number).unwrap_or_default().saturating_mul(BLOCK_MS);
        let timestamp_ms = self.at_time_ms.or(time_ms).unwrap_or(usual);
        let hash = hash(self.branch, number);
        Progress::at(self.tick, &BlockRef { number, hash, parent: BlockHash::default(), timestamp_ms })
    }

    /// The rows of a table of a source with the columns of their blocks, and the number of each row's block.
    fn filled(
        &self,
        given: &Rows,
        schema: &SchemaRef,
        times: &mut BTreeMap<u64, i64>,
    ) -> Result<(Int64Array, RecordBatch), SessionError> {
        let wrong = |error: arrow::error::ArrowError| SessionError::Row(error.to_string());
        let place =
            [Field::new("block_number", DataType::Int64, true), Field::new("block_timestamp", timestamp_type(), true)];
        let places = given.typed(&Schema::new(place.to_vec()))?;
        let numbers = places.column(0).as_primitive::<Int64Type>();
        let numbers: Int64Array = numbers.iter().map(|number| Some(number.unwrap_or(1).max(0))).collect();
        let stamps = places.column(1).as_primitive::<TimestampMillisecondType>();
        for (number, stamp) in numbers.values().iter().zip(stamps.iter()) {
            times.entry(number.unsigned_abs()).or_insert(stamp.unwrap_or(number.saturating_mul(BLOCK_MS)));
        }
        let rows = given.typed(schema)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns());
        for (field, column) in schema.fields().iter().zip(rows.columns()) {
            let made: Option<ArrayRef> = match field.name().as_str() {
                "block_number" => Some(Arc::new(numbers.clone())),
                "block_timestamp" => {
                    let stamps = numbers.values().iter().map(|number| times[&number.unsigned_abs()]);
                    let stamps = arrow::array::TimestampMillisecondArray::from_iter_values(stamps);
                    Some(Arc::new(stamps.with_timezone("UTC")))
                }
                "block_hash" if column.null_count() == column.len() => {
                    let hashes = numbers.values().iter().map(|number| hash(self.branch, number.unsigned_abs()).0);
                    let hashes = FixedSizeBinaryArray::try_from_iter(hashes.chain([[0; 32]])).map_err(wrong)?;
                    Some(Arc::new(hashes.slice(0, numbers.len())))
                }
                _ => None,
            };
            let column = match made {
                Some(made) => cast(&made, field.data_type()).map_err(wrong)?,
                None if !field.is_nullable() && column.null_count() > 0 => without_nulls(column, field)?,
                None => column.clone(),
            };
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(wrong)?;
        Ok((numbers, batch))
    }
}

/// Zero, false or empty where a column that is never NULL is not given.
fn without_nulls(column: &ArrayRef, field: &Field) -> Result<ArrayRef, SessionError> {
    let wrong = |error: datafusion_common::DataFusionError| SessionError::Row(error.to_string());
    let zero = match field.data_type() {
        DataType::FixedSizeBinary(width) => {
            let len = usize::try_from(*width).unwrap_or_default();
            ScalarValue::FixedSizeBinary(*width, Some(vec![0; len]))
        }
        other => ScalarValue::new_default(other).map_err(wrong)?,
    };
    let zeros = zero.to_array_of_size(column.len()).map_err(wrong)?;
    let given = arrow::compute::is_not_null(column).map_err(|error| SessionError::Row(error.to_string()))?;
    arrow::compute::kernels::zip::zip(&given, column, &zeros).map_err(|error| SessionError::Row(error.to_string()))
}

fn hash(branch: u8, number: u64) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[0] = branch;
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    BlockHash(bytes)
}

fn time_ms(text: &str) -> Option<i64> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let time = cast(&text, &timestamp_type()).ok()?;
    let time = time.as_primitive::<TimestampMillisecondType>();
    time.is_valid(0).then(|| time.value(0))
}
