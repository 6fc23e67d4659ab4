//! Logs as rows of an event: what `CREATE EVENT` says.
//!
//! Definition: one row for each log that is the event's, in the order of the logs, with columns of the log and one
//! for each parameter. A log is the event's if it is of one of the wanted contracts (of any, if none are named), has
//! the event's topic as its first and exactly the event's number of topics, and if its topics and data are values of
//! the parameters' types (`layout`). A log that passes the first two tests and fails a later one is *foreign*: another
//! event with the same name and types, other parameters indexed (ERC-721's `Transfer` under ERC-20's), or bytes that
//! no encoder writes. Foreign logs are skipped and counted, and are rows of [`EventRows::Skipped`]. A log of the event
//! with a string that is not UTF-8 is a row that cannot be evaluated.
//!
//! Of an anonymous event any log with the right number of topics may be one, and only those are counted as foreign.
//!
//! State: none. Reorg: a linear function of the logs, so the reverted block's logs give the same rows.
//!
//! | type | column |
//! |---|---|
//! | `address` | `ADDRESS` |
//! | `bool` | `BOOLEAN` |
//! | `uint8` … `uint56`, `int8` … `int64` | `BIGINT` |
//! | `uint64` … `uint256` | `UINT256` |
//! | `int72` … `int256` | `INT256` |
//! | `bytes32` (and any indexed type that is not one word: its hash) | `HASH` |
//! | `bytes1` … `bytes31`, `function` | `BYTES(n)`; of 20 bytes `ADDRESS` |
//! | `bytes` | `BYTES` |
//! | `string` | `TEXT` |
//! | arrays and tuples | `TEXT`: JSON |
//!
//! The ABI: <https://docs.soliditylang.org/en/latest/abi-spec.html>.

mod kind;
mod layout;
mod signature;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, RecordBatchOptions, StringArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::metrics::Counter;
use highwater_engine::model::format::write_json_row;
use highwater_engine::model::wide::{ADDRESS_TYPE, HASH_TYPE};
use highwater_engine::model::{Delta, Diffs, error_delta};
use highwater_engine::operator::{BatchOperator, Output};

pub use kind::{AbiType, Component, Parameter, WORD};
pub use layout::Foreign;
use layout::{Checked, is_clean};
pub use signature::{EventSignature, SignatureError};

/// The columns of `logs` that are always read.
pub const READ_COLUMNS: [&str; 5] = ["topic0", "topic1", "topic2", "topic3", "data"];
/// The column of `logs` that is read too if contracts are named.
pub const ADDRESS_COLUMN: &str = "address";

/// Which logs become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventRows {
    /// Those of the event.
    Decoded,
    /// Those that look like it and are not.
    Skipped,
}

/// A column of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventColumn {
    /// The column of this index of the logs.
    Log(usize),
    /// The parameter of this index; of decoded rows alone.
    Parameter(usize),
    /// Why the log is foreign; of skipped rows alone.
    Reason,
}

/// What [`DecodeEvent`] does.
#[derive(Clone, Debug)]
pub struct DecodeEventSpec {
    /// The event.
    pub event: Arc<EventSignature>,
    /// The contracts whose logs count; none for all.
    pub addresses: Arc<BTreeSet<[u8; 20]>>,
    /// Which logs become rows.
    pub rows: EventRows,
    /// The columns of the logs, [`READ_COLUMNS`] and if needed [`ADDRESS_COLUMN`] among them.
    pub input: SchemaRef,
    /// The columns of the rows.
    pub columns: Vec<EventColumn>,
    /// The same with names and types.
    pub output: SchemaRef,
    /// Counts foreign logs that came; those that a reorg takes back stay counted.
    pub skipped: Counter,
}

/// Why a specification makes no operator.
#[derive(Debug, thiserror::Error)]
pub enum DecodeEventError {
    /// The logs have no such column of the right type.
    #[error("logs have no column {0} of the right type")]
    Input(&'static str),
    /// The columns are not those of the output.
    #[error("column {0} of the rows does not fit")]
    Output(usize),
}

/// Decodes the logs of one event.
pub struct DecodeEvent {
    spec: DecodeEventSpec,
    topic0: Option<[u8; 32]>,
    topics: usize,
    /// Where the topics are in the logs.
    topic_columns: [usize; 4],
    data_column: usize,
    address_column: Option<usize>,
    /// The bytes of the data that hold values or offsets in turn.
    head_size: usize,
    /// For each parameter the topic, or the place in the data.
    sites: Vec<Place>,
    /// Whether a parameter is or contains a string outside topics.
    has_text: bool,
}

#[derive(Clone, Copy)]
enum Place {
    Topic(usize),
    Data(usize),
}

/// What the logs of a batch are.
#[derive(Default)]
struct Sorted {
    decoded: Vec<u32>,
    foreign: Vec<(u32, Foreign)>,
    not_text: Vec<u32>,
}

/// The columns of a batch that are looked at.
struct Logs<'b> {
    topics: [&'b FixedSizeBinaryArray; 4],
    data: &'b BinaryArray,
    addresses: Option<&'b FixedSizeBinaryArray>,
}

impl DecodeEvent {
    /// The operator.
    ///
    /// # Errors
    /// If columns are missing or do not fit.
    pub fn new(spec: DecodeEventSpec) -> Result<DecodeEvent, DecodeEventError> {
        let find = |name: &'static str, data_type: DataType| {
            let column = spec.input.index_of(name).ok();
            let column = column.filter(|column| *spec.input.field(*column).data_type() == data_type);
            column.ok_or(DecodeEventError::Input(name))
        };
        let mut topic_columns = [0; 4];
        for (column, name) in topic_columns.iter_mut().zip(READ_COLUMNS) {
            *column = find(name, HASH_TYPE)?;
        }
        let data_column = find(READ_COLUMNS[4], DataType::Binary)?;
        let address_column = if spec.addresses.is_empty() { None } else { Some(find(ADDRESS_COLUMN, ADDRESS_TYPE)?) };
        for (index, column) in spec.columns.iter().enumerate() {
            let field = match column {
                EventColumn::Log(column) => spec.input.fields().get(*column).map(|field| field.data_type().clone()),
                EventColumn::Parameter(parameter) if spec.rows == EventRows::Decoded => {
                    spec.event.parameters.get(*parameter).map(|parameter| parameter.field("").data_type().clone())
                }
                EventColumn::Reason if spec.rows == EventRows::Skipped => Some(DataType::Utf8),
                _ => None,
            };
            let wanted = spec.output.fields().get(index).map(|field| field.data_type().clone());
            if field.is_none() || field != wanted {
                return Err(DecodeEventError::Output(index));
            }
        }
        let (sites, head_size) = sites(&spec.event);
        let parameters = &spec.event.parameters;
        let has_text = parameters.iter().any(|parameter| !parameter.indexed && has_text(&parameter.kind));
        let (topic0, topics) = (spec.event.topic0(), spec.event.topics());
        Ok(DecodeEvent { topic0, topics, topic_columns, data_column, address_column, head_size, sites, has_text, spec })
    }

    fn logs<'b>(&self, batch: &'b RecordBatch) -> Logs<'b> {
        Logs {
            topics: self.topic_columns.map(|column| batch.column(column).as_fixed_size_binary()),
            data: batch.column(self.data_column).as_binary::<i32>(),
            addresses: self.address_column.map(|column| batch.column(column).as_fixed_size_binary()),
        }
    }

    fn sort(&self, logs: &Logs<'_>, count: usize) -> Sorted {
        let mut sorted = Sorted::default();
        for (row, number) in (0..count).zip(0_u32..) {
            if !self.is_candidate(logs, row) {
                continue;
            }
            let mut checked = Checked::new(logs.data.value(row));
            match self.check(logs, row, &mut checked) {
                Ok(()) if self.has_text && !checked.is_text => sorted.not_text.push(number),
                Ok(()) => sorted.decoded.push(number),
                Err(foreign) => sorted.foreign.push((number, foreign)),
            }
        }
        sorted
    }

    /// Whether a log says that it is of the event; of an anonymous one, whether it may be.
    fn is_candidate(&self, logs: &Logs<'_>, row: usize) -> bool {
        let announced = match &self.topic0 {
            Some(topic0) => logs.topics[0].is_valid(row) && logs.topics[0].value(row) == topic0,
            None => self.has_topics(logs, row),
        };
        announced && logs.addresses.is_none_or(|addresses| self.spec.addresses.contains(addresses.value(row)))
    }

    fn has_topics(&self, logs: &Logs<'_>, row: usize) -> bool {
        logs.topics.iter().zip(0..).all(|(topic, index)| topic.is_valid(row) == (index < self.topics))
    }

    fn check(&self, logs: &Logs<'_>, row: usize, checked: &mut Checked<'_>) -> Result<(), Foreign> {
        if !self.has_topics(logs, row) {
            return Err(Foreign::Topics);
        }
        for (parameter, site) in self.spec.event.parameters.iter().zip(&self.sites) {
            if let Place::Topic(topic) = site
                && parameter.kind.is_word()
            {
                let word = logs.topics[*topic].value(row).first_chunk().expect("a topic has 32 bytes");
                if !is_clean(&parameter.kind, word) {
                    return Err(Foreign::Value);
                }
            }
        }
        checked.parameters(&self.spec.event.parameters, self.head_size)
    }

    fn column(&self, batch: &RecordBatch, logs: &Logs<'_>, rows: &UInt32Array, column: EventColumn) -> ArrayRef {
        let parameter = match column {
            EventColumn::Log(column) => {
                return take(batch.column(column), rows, None).expect("the rows are rows of the batch");
            }
            EventColumn::Parameter(parameter) => parameter,
            EventColumn::Reason => unreachable!("decoded rows have no reason"),
        };
        let kind = &self.spec.event.parameters[parameter].kind;
        let rows = rows.values().iter().map(|row| *row as usize);
        match self.sites[parameter] {
            Place::Topic(topic) => {
                let sites = rows.map(|row| (logs.topics[topic].value(row), 0));
                if kind.is_word() { values::column(kind, sites) } else { values::hashes(sites) }
            }
            Place::Data(at) => values::column(kind, rows.map(|row| (logs.data.value(row), at))),
        }
    }

    fn send(&self, input: &Delta, rows: &UInt32Array, columns: Vec<ArrayRef>, output: &mut Output) {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options)
            .expect("the columns were compared with the output");
        output.deltas.push(Delta { batch, diffs: diffs_of(input, rows), origin: input.origin });
    }

    fn send_decoded(&self, input: &Delta, logs: &Logs<'_>, decoded: Vec<u32>, output: &mut Output) {
        if decoded.is_empty() {
            return;
        }
        let rows = UInt32Array::from(decoded);
        let columns = self.spec.columns.iter().map(|column| self.column(&input.batch, logs, &rows, *column));
        self.send(input, &rows, columns.collect(), output);
    }

    fn send_skipped(&self, input: &Delta, foreign: &[(u32, Foreign)], output: &mut Output) {
        if foreign.is_empty() {
            return;
        }
        let rows: UInt32Array = foreign.iter().map(|(row, _)| *row).collect();
        let columns = self.spec.columns.iter().map(|column| match column {
            EventColumn::Log(column) => {
                take(input.batch.column(*column), &rows, None).expect("the rows are rows of the batch")
            }
            _ => Arc::new(StringArray::from_iter_values(foreign.iter().map(|(_, reason)| reason.to_string()))),
        });
        self.send(input, &rows, columns.collect(), output);
    }

    fn send_errors(&self, input: &Delta, not_text: &[u32], output: &mut Output) {
        if not_text.is_empty() {
            return;
        }
        let reason = format!("a string of the event {} is not UTF-8", self.spec.event.name);
        let errors: Vec<(String, String)> = not_text
            .iter()
            .map(|row| {
                let mut json = String::new();
                write_json_row(&mut json, &input.batch, *row as usize);
                (reason.clone(), json)
            })
            .collect();
        let diffs = not_text.iter().map(|row| input.diffs.at(*row as usize)).collect();
        output.errors.push(error_delta(&errors, diffs, input.origin));
    }

    fn count(&self, input: &Delta, foreign: &[(u32, Foreign)]) {
        let came = foreign.iter().map(|(row, _)| u64::try_from(input.diffs.at(*row as usize)).unwrap_or_default());
        self.spec.skipped.add(came.sum());
    }
}

impl BatchOperator for DecodeEvent {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        let logs = self.logs(&input.batch);
        let Sorted { decoded, foreign, not_text } = self.sort(&logs, input.len());
        match self.spec.rows {
            EventRows::Decoded => {
                self.count(&input, &foreign);
                self.send_errors(&input, &not_text, output);
                self.send_decoded(&input, &logs, decoded, output);
            }
            EventRows::Skipped => self.send_skipped(&input, &foreign, output),
        }
    }
}

/// Where each parameter stands, and the size of what stands in turn in the data.
fn sites(event: &EventSignature) -> (Vec<Place>, usize) {
    let mut topic = usize::from(!event.anonymous);
    let mut at = 0;
    let sites = event.parameters.iter().map(|parameter| {
        if parameter.indexed {
            topic += 1;
            Place::Topic(topic - 1)
        } else {
            at += parameter.kind.head_size();
            Place::Data(at - parameter.kind.head_size())
        }
    });
    (sites.collect(), at)
}

fn has_text(kind: &AbiType) -> bool {
    match kind {
        AbiType::Text => true,
        AbiType::Array(element) | AbiType::FixedArray(element, _) => has_text(element),
        AbiType::Tuple(components) => components.iter().any(|component| has_text(&component.kind)),
        _ => false,
    }
}

fn diffs_of(input: &Delta, rows: &UInt32Array) -> Diffs {
    match &input.diffs {
        Diffs::Uniform(diff) => Diffs::Uniform(*diff),
        Diffs::Rows(diffs) => Diffs::Rows(rows.values().iter().map(|row| diffs[*row as usize]).collect()),
    }
}
