//! `CREATE EVENT`: relations of a source that are logs, decoded.
//!
//! An event `eth.transfer` gives two relations: `eth.transfer`, one row a log of the event, and
//! `eth.transfer_skipped`, one row a log that looks like one and is not, with the reason. Their first columns are those
//! of `logs` that say where a log is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use highwater_engine::metrics::Counter;
use highwater_engine::model::wide::{ADDRESS_TYPE, HASH_TYPE};
use highwater_operators::decode_event::{
    ADDRESS_COLUMN, DecodeEvent, DecodeEventError, DecodeEventSpec, EventColumn, EventRows, EventSignature,
    READ_COLUMNS, SignatureError,
};

use super::context::{BROKEN, Relation};
use super::ir::{JobPlan, Node, NodeKind};
use super::job::Planner;
use super::mev_settings::{address, words};
use super::prune::OpenSource;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};
use crate::sql::{EventStatement, OptionStatement, OptionValue, Statement};

/// The table that events are decoded from.
const LOGS: &str = "logs";
/// The column of `logs` that only tells the length of another.
const DATA_LENGTH: &str = "n_data_bytes";
/// Behind the name of an event: its foreign logs.
const SKIPPED: &str = "_skipped";

/// A relation of decoded logs.
#[derive(Debug)]
pub struct PlannedEvent {
    /// Name of the relation: `eth/transfer`.
    pub id: String,
    /// The event.
    pub signature: Arc<EventSignature>,
    /// The contracts whose logs count; none for all.
    pub addresses: Arc<BTreeSet<[u8; 20]>>,
    /// Which logs are its rows.
    pub rows: EventRows,
    /// How many logs were skipped, over all workers.
    pub skipped: Counter,
    source: usize,
    table: usize,
    logs: SchemaRef,
    /// The columns of the logs in front of the row.
    place: Vec<usize>,
    /// All columns.
    schema: SchemaRef,
}

impl Planner<'_> {
    /// Puts the events of the job in scope; mistakes are noted.
    pub(super) fn offer_events(&mut self) {
        let job = self.job;
        for statement in &job.statements {
            let Statement::Event(event) = statement else { continue };
            if let Err(mistake) = self.offer_event(event) {
                self.blame(mistake);
                for name in [event.name.text.clone(), format!("{}{SKIPPED}", event.name.text)] {
                    if !self.context.has_chain_table(&event.source.text, &name) {
                        self.context.add_broken(&format!("{}.{name}", event.source.text));
                    }
                }
            }
        }
    }

    fn offer_event(&mut self, event: &EventStatement) -> Result<(), Diagnostic> {
        let (source, name) = (event.source.text.as_str(), event.name.text.as_str());
        if self.context.is_broken(source) {
            return Err(Diagnostic::new(Code::UnknownTable, BROKEN, event.source.span));
        }
        let index = self.sources.iter().position(|open| open.name == source);
        let index = index.ok_or_else(|| self.context.unknown_source(source).or_at(event.source.span))?;
        let signature = EventSignature::parse(&event.signature).map_err(|error| self.not_an_event(event, &error))?;
        let addresses = event_addresses(&event.options)?;
        for name in [name.to_owned(), format!("{name}{SKIPPED}")] {
            if self.context.has_chain_table(source, &name) {
                let message = format!("source \"{source}\" has a table \"{name}\" already");
                return Err(
                    Diagnostic::new(Code::DuplicateName, message, event.name.span).with_hint("rename the event")
                );
            }
        }
        let logs = Logs::of(&self.sources[index]).map_err(|reason| {
            let message = format!("the logs of source \"{source}\" cannot be decoded: {reason}");
            Diagnostic::new(Code::CannotOpen, message, event.source.span)
        })?;
        let (signature, addresses, skipped) = (Arc::new(signature), Arc::new(addresses), Counter::default());
        for rows in [EventRows::Decoded, EventRows::Skipped] {
            let suffix = if rows == EventRows::Skipped { SKIPPED } else { "" };
            let schema = logs.columns_of(&signature, rows);
            let planned = PlannedEvent {
                id: format!("{source}/{name}{suffix}"),
                signature: signature.clone(),
                addresses: addresses.clone(),
                rows,
                skipped: skipped.clone(),
                source: index,
                table: logs.table,
                logs: logs.schema.clone(),
                place: logs.place.clone(),
                schema: schema.clone(),
            };
            let node = Arc::new(planned).node((0..schema.fields().len()).collect());
            let meaning = Relation::Block { source: index, node: Arc::new(node) };
            self.context.add_chain_table(source, &format!("{name}{suffix}"), meaning, schema);
        }
        Ok(())
    }

    /// What is wrong with a signature, at its place in the job.
    fn not_an_event(&self, event: &EventStatement, error: &SignatureError) -> Diagnostic {
        let inside = Span { start: event.signature_span.start + 1, end: event.signature_span.end.saturating_sub(1) };
        // A quote inside is written twice: then places behind it are not known.
        let exact = inside.end - inside.start == event.signature.len();
        let span = match exact {
            true => Span { start: inside.start + error.start, end: inside.start + error.end.max(error.start) },
            false => event.signature_span,
        };
        Diagnostic::new(Code::Syntax, error.message.clone(), span).with_hint_opt(error.hint.clone())
    }
}

/// The contracts of `WITH (address = …)`.
fn event_addresses(options: &[OptionStatement]) -> Result<BTreeSet<[u8; 20]>, Diagnostic> {
    let mut addresses = BTreeSet::new();
    for option in options {
        if option.name.text != ADDRESS_COLUMN {
            let message = format!("an event has no option \"{}\"", option.name.text);
            let hint = did_you_mean(&option.name.text, [ADDRESS_COLUMN]);
            let hint = hint.unwrap_or_else(|| "the only one is address".to_owned());
            return Err(Diagnostic::new(Code::BadOption, message, option.name.span).with_hint(hint));
        }
        let listed = match &option.value {
            OptionValue::Text(text) => words(text).map(address).collect::<Option<Vec<_>>>(),
            OptionValue::Secret(_) => None,
        };
        let listed = listed.filter(|listed| !listed.is_empty()).ok_or_else(|| {
            let message = "option \"address\" is not a list of addresses";
            Diagnostic::new(Code::BadOption, message, option.value_span)
                .with_hint("write address = '0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48, 0xdac1…'")
        })?;
        addresses.extend(listed);
    }
    Ok(addresses)
}

/// The logs of a source.
struct Logs {
    table: usize,
    schema: SchemaRef,
    place: Vec<usize>,
}

impl Logs {
    fn of(source: &OpenSource) -> Result<Logs, String> {
        let table = source.tables.iter().position(|table| table.name == LOGS);
        let table = table.ok_or_else(|| format!("it has no table {LOGS}"))?;
        let schema = source.tables[table].schema.clone();
        let wanted = READ_COLUMNS.map(|name| (name, if name == "data" { DataType::Binary } else { HASH_TYPE }));
        for (name, data_type) in wanted.into_iter().chain([(ADDRESS_COLUMN, ADDRESS_TYPE)]) {
            let fits = schema.field_with_name(name).is_ok_and(|field| *field.data_type() == data_type);
            if !fits {
                return Err(format!("they have no column {name} of the right type"));
            }
        }
        let of_place = |name: &str| name != DATA_LENGTH && !READ_COLUMNS.contains(&name);
        let names = schema.fields().iter().enumerate();
        let place = names.filter(|(_, field)| of_place(field.name())).map(|(column, _)| column).collect();
        Ok(Logs { table, schema, place })
    }

    /// The columns of an event's relation: those that say where the log is, then one a parameter, or the reason.
    fn columns_of(&self, signature: &EventSignature, rows: EventRows) -> SchemaRef {
        let mut fields: Vec<Field> = self.place.iter().map(|column| self.schema.field(*column).clone()).collect();
        match rows {
            EventRows::Decoded => {
                for (index, parameter) in signature.parameters.iter().enumerate() {
                    // Names without quotes are lower case in SQL: a column `amount0In` could not be written so.
                    let mut name = match parameter.name.as_str() {
                        "" => format!("arg{index}"),
                        name => name.to_lowercase(),
                    };
                    while fields.iter().any(|field| *field.name() == name) {
                        name.push('_');
                    }
                    fields.push(parameter.field(&name));
                }
            }
            EventRows::Skipped => fields.push(Field::new("reason", DataType::Utf8, false)),
        }
        Arc::new(Schema::new(fields))
    }
}

impl PlannedEvent {
    /// Some columns of the relation.
    pub(super) fn node(self: &Arc<PlannedEvent>, columns: Vec<usize>) -> Node {
        let schema = Arc::new(self.schema.project(&columns).expect("the columns are those of the relation"));
        let input = Box::new(self.scan(&columns));
        Node { kind: NodeKind::DecodeEvent { event: self.clone(), input, made: columns.clone(), columns }, schema }
    }

    /// The logs with just the columns that are needed to make these.
    fn scan(&self, columns: &[usize]) -> Node {
        let mut read: BTreeSet<usize> = columns.iter().filter_map(|column| self.place.get(*column)).copied().collect();
        let looked_at = READ_COLUMNS.iter().chain((!self.addresses.is_empty()).then_some(&ADDRESS_COLUMN));
        read.extend(looked_at.filter_map(|name| self.logs.index_of(name).ok()));
        let columns: Vec<usize> = read.into_iter().collect();
        let schema = Arc::new(self.logs.project(&columns).expect("the columns are those of the logs"));
        Node { kind: NodeKind::Scan { source: self.source, table: self.table, columns }, schema }
    }

    /// The operator that makes the columns `made` from logs with the columns of `input`.
    pub(crate) fn operator(&self, input: &SchemaRef, made: &[usize]) -> Result<DecodeEvent, DecodeEventError> {
        let columns = made.iter().map(|column| match self.place.get(*column) {
            Some(log) => {
                let name = self.logs.field(*log).name();
                input.index_of(name).map(EventColumn::Log).map_err(|_| DecodeEventError::Output(*column))
            }
            None if self.rows == EventRows::Skipped => Ok(EventColumn::Reason),
            None => Ok(EventColumn::Parameter(column - self.place.len())),
        });
        DecodeEvent::new(DecodeEventSpec {
            event: self.signature.clone(),
            addresses: self.addresses.clone(),
            rows: self.rows,
            input: input.clone(),
            columns: columns.collect::<Result<_, _>>()?,
            output: Arc::new(self.schema.project(made).map_err(|_| DecodeEventError::Output(0))?),
            skipped: self.skipped.clone(),
        })
    }

    /// What it is, in one line.
    pub(super) fn described(&self) -> String {
        let mut text = format!("{} {}(", self.id.replace('/', "."), self.signature.name);
        for (index, parameter) in self.signature.parameters.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let indexed = if parameter.indexed { " indexed" } else { "" };
            let _ = write!(text, "{comma}{}{indexed}", parameter.kind);
        }
        text.push_str(if self.signature.anonymous { ") anonymous" } else { ")" });
        match self.addresses.len() {
            0 => {}
            1..=2 => {
                let listed = self.addresses.iter().map(alloy_primitives::hex::encode_prefixed);
                let _ = write!(text, " of {}", listed.collect::<Vec<_>>().join(", "));
            }
            count => {
                // The hash tells lists apart: state of another list is not this job's.
                let all: Vec<u8> = self.addresses.iter().flatten().copied().collect();
                let hash = alloy_primitives::keccak256(&all);
                let short = alloy_primitives::hex::encode(&hash[..4]);
                let _ = write!(text, " of {count} contracts #{short}");
            }
        }
        text
    }
}

/// Makes every event once, with all columns that anybody reads.
pub(super) fn share<'n>(roots: impl Iterator<Item = &'n mut Node>) {
    let mut roots: Vec<&mut Node> = roots.collect();
    let mut made: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for root in &roots {
        each(root, &mut |event, columns| made.entry(event.id.clone()).or_default().extend(columns));
    }
    for root in &mut roots {
        widen(root, &made);
    }
}

fn each<'n>(node: &'n Node, found: &mut impl FnMut(&'n Arc<PlannedEvent>, &[usize])) {
    if let NodeKind::DecodeEvent { event, columns, .. } = &node.kind {
        found(event, columns);
    }
    for input in node.inputs() {
        each(input, found);
    }
}

fn widen(node: &mut Node, all: &BTreeMap<String, BTreeSet<usize>>) {
    if let NodeKind::DecodeEvent { event, input, made, .. } = &mut node.kind {
        *made = all.get(&event.id).into_iter().flatten().copied().collect();
        **input = event.scan(made);
    }
    for input in node.inputs_mut() {
        widen(input, all);
    }
}

impl JobPlan {
    /// How many logs each event skipped so far, by the name of the event: `eth.transfer`.
    pub fn skipped_logs(&self) -> BTreeMap<String, Counter> {
        let mut skipped = BTreeMap::new();
        for view in &self.views {
            each(&view.root, &mut |event, _| {
                if event.rows == EventRows::Decoded {
                    skipped.insert(event.id.replace('/', "."), event.skipped.clone());
                }
            });
        }
        skipped
    }
}
