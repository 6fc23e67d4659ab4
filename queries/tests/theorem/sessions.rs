//! Tables of every type that statements change, and queries over them as a session keeps them.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Decimal128Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use highwater::session::{Answer, Feeding, Session};
use highwater_engine::model::Delta;
use highwater_engine::model::wide::{Wide, wide_kind};
use proptest::prelude::*;
use proptest::sample::select;

use crate::Contents;
use crate::ast::{Pick, Query, Simple};
use crate::chain::add;
use crate::generate::simple;
use crate::oracle::{Oracle, known_refusal};
use crate::spell::{self, Column, Dialect, Kind, Relation, Spelled, Speller};

/// A table: its first column is an integer `k`, the others are of these kinds.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    kinds: Vec<Kind>,
}

/// A statement that changes a table.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert { table: Pick, rows: Vec<Vec<Option<i8>>> },
    Update { table: Pick, column: Pick, value: Option<i8>, condition: Option<Simple> },
    Delete { table: Pick, condition: Simple },
}

/// Tables and what happens to them.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    tables: Vec<Table>,
    changes: Vec<Change>,
}

const WIDEST: usize = 5;

pub(crate) fn script() -> impl Strategy<Value = Script> {
    let kinds =
        select(vec![Kind::Int, Kind::Text, Kind::Bool, Kind::Float, Kind::Decimal, Kind::Time, Kind::Date, Kind::Wide]);
    let table = prop::collection::vec(kinds, 1..WIDEST).prop_map(|kinds| Table { kinds });
    let value = || prop::option::weighted(0.85, -3_i8..6);
    let row = prop::collection::vec(value(), WIDEST);
    let insert = (any::<u8>(), prop::collection::vec(row, 1..5));
    let insert = insert.prop_map(|(table, rows)| Change::Insert { table: Pick(table), rows });
    let update = (any::<u8>(), any::<u8>(), value(), prop::option::weighted(0.8, simple()));
    let update = update.prop_map(|(table, column, value, condition)| Change::Update {
        table: Pick(table),
        column: Pick(column),
        value,
        condition,
    });
    let delete = (any::<u8>(), simple());
    let delete = delete.prop_map(|(table, condition)| Change::Delete { table: Pick(table), condition });
    let change = prop_oneof![4 => insert, 1 => update, 1 => delete];
    (prop::collection::vec(table, 1..4), prop::collection::vec(change, 1..9))
        .prop_map(|(tables, changes)| Script { tables, changes })
}

fn sql_type(kind: Kind, column: usize) -> &'static str {
    match kind {
        // Both widths.
        Kind::Int if column.is_multiple_of(2) => "INT",
        Kind::Text => "TEXT",
        Kind::Bool => "BOOLEAN",
        Kind::Float => "DOUBLE",
        Kind::Decimal => "DECIMAL(10, 2)",
        Kind::Time => "TIMESTAMP",
        Kind::Date => "DATE",
        Kind::Wide => "UINT256",
        _ => "BIGINT",
    }
}

fn relations(script: &Script) -> Vec<Relation> {
    let column = |(index, kind): (usize, &Kind)| {
        let name = if index == 0 { "k".to_owned() } else { format!("x{index}") };
        Column { base: if index == 0 { name.clone() } else { format!("{name}{kind:?}") }, sql: name, kind: *kind }
    };
    let relation = |(index, table): (usize, &Table)| {
        let kinds: Vec<Kind> = [Kind::Int].into_iter().chain(table.kinds.iter().copied()).collect();
        let columns = kinds.iter().enumerate().map(column).collect();
        Relation { name: format!("r{index}"), columns, blocks: false }
    };
    script.tables.iter().enumerate().map(relation).collect()
}

/// A session after its statements, and the oracle over tables of the same columns.
pub(crate) struct Opened {
    session: Session,
    relations: Vec<Relation>,
    oracle: Oracle,
    schemas: BTreeMap<String, SchemaRef>,
}

/// Carries out the statements of a script.
pub(crate) fn open(script: &Script) -> Opened {
    let mut session = Session::new();
    let relations = relations(script);
    for relation in &relations {
        let columns = relation.columns.iter().enumerate();
        let columns: Vec<String> =
            columns.map(|(index, column)| format!("{} {}", column.sql, sql_type(column.kind, index))).collect();
        done(&mut session, &format!("CREATE TABLE {} ({})", relation.name, columns.join(", ")));
    }
    let mut schemas = BTreeMap::new();
    for relation in &relations {
        let answer = session.execute(&format!("SELECT * FROM {}", relation.name)).unwrap();
        let [Answer::Rows(rows)] = answer.as_slice() else { panic!("a query answers rows") };
        schemas.insert(relation.name.clone(), rows.batch.schema());
    }
    let tables: Vec<(&str, SchemaRef)> =
        schemas.iter().map(|(name, schema)| (name.as_str(), readable(schema))).collect();
    let oracle = Oracle::over(&tables);
    let mut held: BTreeMap<String, RecordBatch> =
        tables.iter().map(|(name, schema)| ((*name).to_owned(), RecordBatch::new_empty(schema.clone()))).collect();
    for change in &script.changes {
        let (name, ours, theirs) = spelled(change, &relations);
        done(&mut session, &ours);
        let rows = concat_batches(&held[&name].schema(), &oracle.rows(&theirs));
        let rows = rows.unwrap_or_else(|error| panic!("{theirs}: {error}"));
        oracle.fill(&name, rows.clone());
        held.insert(name, rows);
    }
    for relation in &relations {
        let query = format!("SELECT * FROM {}", relation.name);
        let answer = session.execute(&query).unwrap();
        let [Answer::Rows(rows)] = answer.as_slice() else { panic!("a query answers rows") };
        let mut contents = Contents::new();
        add(&mut contents, &[Delta::derived(rows.batch.clone(), vec![1; rows.batch.num_rows()])]);
        let expected = oracle.judge(&query, &contents);
        assert_eq!(Some(contents), expected, "{} after {script:#?}", relation.name);
    }
    Opened { session, relations, oracle, schemas }
}

fn done(session: &mut Session, statement: &str) {
    session.execute(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// A statement, and what the table holds after it as a query of the oracle.
fn spelled(change: &Change, relations: &[Relation]) -> (String, String, String) {
    let dialects = [Dialect::Ours, Dialect::Oracle { now_ms: 0 }];
    let [ours, theirs] = dialects.map(|dialect| Speller::new(dialect, relations.to_vec()));
    let table = |pick: &Pick| &relations[usize::from(pick.0) % relations.len()];
    let value = |speller: &Speller, kind, value: &Option<i8>| {
        // Not as a typed literal: rows of a VALUES list must agree about more than its type.
        let kind = if kind == Kind::Wide { Kind::Rank } else { kind };
        value.and_then(|value| speller.literal(kind, value)).unwrap_or_else(|| "NULL".to_owned())
    };
    let cast = |speller: &Speller, index: usize, column: &Column, text: String| {
        let name = match (speller.dialect, column.kind) {
            (Dialect::Oracle { .. }, Kind::Wide) => "DECIMAL(38, 0)",
            (_, kind) => sql_type(kind, index),
        };
        format!("CAST({text} AS {name}) AS {}", column.sql)
    };
    match change {
        Change::Insert { table: pick, rows } => {
            let table = table(pick);
            let values = |speller: &Speller| {
                let row = |row: &Vec<Option<i8>>| {
                    let values = table.columns.iter().zip(row);
                    let values: Vec<String> = values.map(|(column, cell)| value(speller, column.kind, cell)).collect();
                    format!("({})", values.join(", "))
                };
                rows.iter().map(row).collect::<Vec<_>>().join(", ")
            };
            let typed = table.columns.iter().enumerate();
            let typed: Vec<String> =
                typed.map(|(index, column)| cast(&theirs, index, column, format!("column{}", index + 1))).collect();
            (
                table.name.clone(),
                format!("INSERT INTO {} VALUES {}", table.name, values(&ours)),
                format!(
                    "SELECT * FROM {} UNION ALL SELECT {} FROM (VALUES {}) AS given",
                    table.name,
                    typed.join(", "),
                    values(&theirs)
                ),
            )
        }
        Change::Update { table: pick, column, value: new, condition } => {
            let table = table(pick);
            let column = usize::from(column.0) % table.columns.len();
            let changed = &table.columns[column];
            let condition = |speller: &Speller| condition.as_ref().map(|simple| speller.simple(simple, &table.columns));
            let filter = condition(&ours).map_or_else(String::new, |condition| format!(" WHERE {condition}"));
            let new_value = |speller: &Speller| value(speller, changed.kind, new);
            let now = table.columns.iter().enumerate().map(|(index, shown)| {
                let text = match (index == column, condition(&theirs)) {
                    (true, Some(condition)) => {
                        format!("CASE WHEN {condition} THEN {} ELSE {} END", new_value(&theirs), shown.sql)
                    }
                    (true, None) => new_value(&theirs),
                    (false, _) => return shown.sql.clone(),
                };
                cast(&theirs, index, shown, text)
            });
            (
                table.name.clone(),
                format!("UPDATE {} SET {} = {}{filter}", table.name, changed.sql, new_value(&ours)),
                format!("SELECT {} FROM {}", now.collect::<Vec<_>>().join(", "), table.name),
            )
        }
        Change::Delete { table: pick, condition } => {
            let table = table(pick);
            let condition = |speller: &Speller| speller.simple(condition, &table.columns);
            (
                table.name.clone(),
                format!("DELETE FROM {} WHERE {}", table.name, condition(&ours)),
                format!("SELECT * FROM {} WHERE ({}) IS NOT TRUE", table.name, condition(&theirs)),
            )
        }
    }
}

/// The columns of a table as the oracle knows them: it has no 256-bit integers.
fn readable(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &Arc<Field>| match wide_kind(field) {
        Some(Wide::Unsigned) => Field::new(field.name(), DataType::Decimal128(38, 0), true),
        _ => field.as_ref().clone().with_nullable(true),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn readable_rows(batch: &RecordBatch) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| -> ArrayRef {
        if wide_kind(field) != Some(Wide::Unsigned) {
            return column.clone();
        }
        let bytes = column.as_fixed_size_binary();
        let low = |bytes: &[u8]| i128::from_be_bytes(bytes[16..].try_into().unwrap());
        let numbers = Decimal128Array::from_iter(bytes.iter().map(|bytes| bytes.map(low)));
        Arc::new(numbers.with_precision_and_scale(38, 0).unwrap())
    });
    RecordBatch::try_new(readable(&schema), columns.collect()).unwrap()
}

/// What tables hold while their changes come.
struct Fed<'o> {
    opened: &'o Opened,
    rows: BTreeMap<String, (RowConverter, BTreeMap<OwnedRow, i64>)>,
}

impl<'o> Fed<'o> {
    fn new(opened: &'o Opened) -> Fed<'o> {
        let nothing = |(name, schema): (&String, &SchemaRef)| {
            let schema = readable(schema);
            let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
            (name.clone(), (RowConverter::new(fields.collect()).unwrap(), BTreeMap::new()))
        };
        Fed { opened, rows: opened.schemas.iter().map(nothing).collect() }
    }

    fn take(&mut self, table: &str, delta: &Delta) {
        let (converter, held) = self.rows.get_mut(table).unwrap();
        let converted = converter.convert_columns(readable_rows(&delta.batch).columns()).unwrap();
        for (index, row) in converted.iter().enumerate() {
            *held.entry(row.owned()).or_default() += delta.diffs.at(index);
        }
        held.retain(|_, count| *count != 0);
    }

    fn batch(&self, table: &str) -> RecordBatch {
        let (converter, held) = &self.rows[table];
        let repeated =
            held.iter().flat_map(|(row, count)| std::iter::repeat_n(row.row(), usize::try_from(*count).unwrap()));
        let columns = converter.convert_rows(repeated.collect::<Vec<_>>()).unwrap();
        RecordBatch::try_new(readable(&self.opened.schemas[table]), columns).unwrap()
    }
}

/// Maintains a query over the tables and compares it with the oracle after every tick.
pub(crate) fn holds(opened: &mut Opened, query: &Query, feeding: Feeding, workers: usize) {
    (opened.session.feeding, opened.session.workers) = (feeding, workers);
    let ours = spell::ours(query, opened.relations.clone());
    let theirs = spell::oracle(query, opened.relations.clone(), 0);
    for (index, view) in ours.views.iter().enumerate() {
        let statement = format!("CREATE MATERIALIZED VIEW v{index} AS {view}");
        match opened.session.execute(&statement) {
            Err(error) if known_refusal(&error.to_string()) => return clear(&mut opened.session, &ours),
            made => made.map(|_| ()).unwrap_or_else(|error| panic!("{statement}: {error}")),
        }
    }
    let maintained = opened.session.maintain(&ours.body, 0);
    let maintained = match maintained {
        Ok(maintained) => maintained,
        Err(error) if known_refusal(&error.to_string()) => return clear(&mut opened.session, &ours),
        Err(error) => panic!("{ours:#?}: {error} {:?}", error.source()),
    };
    let last = maintained.rows().unwrap_or_else(|error| panic!("{ours:#?}: {error}"));
    // What orders the rows stands behind the columns.
    let shown: Vec<usize> = (0..last.batch.num_columns()).collect();
    let mut fed = Fed::new(opened);
    let mut contents = Contents::new();
    for (tick, (changes, deltas)) in maintained.inputs.iter().zip(&maintained.ticks).enumerate() {
        changes.iter().for_each(|(table, delta)| fed.take(table, delta));
        for relation in &opened.relations {
            opened.oracle.fill(&relation.name, fed.batch(&relation.name));
        }
        for delta in deltas {
            let batch = delta.batch.project(&shown).unwrap();
            add(&mut contents, &[Delta { batch, ..delta.clone() }]);
        }
        let Some(expected) = opened.oracle.judge(&theirs, &contents) else { break };
        assert_eq!(contents, expected, "tick {tick} {feeding:?} of {ours:#?}\noracle: {theirs}\n{}", fed.shown());
    }
    clear(&mut opened.session, &ours);
}

/// Drops the views of a query, as far as there are any.
fn clear(session: &mut Session, query: &Spelled) {
    for index in (0..query.views.len()).rev() {
        done(session, &format!("DROP MATERIALIZED VIEW IF EXISTS v{index} CASCADE"));
    }
}

impl Fed<'_> {
    /// The tables, for the one who looks into a failure.
    fn shown(&self) -> String {
        let mut text = String::new();
        for relation in &self.opened.relations {
            let batch = self.batch(&relation.name);
            text.push_str(&format!("{}:\n", relation.name));
            for row in 0..batch.num_rows() {
                highwater_engine::model::format::write_json_row(&mut text, &batch, row);
                text.push('\n');
            }
        }
        text
    }
}
