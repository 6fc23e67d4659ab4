//! Joins a stream to a table that changes while the stream goes on.
//!
//! Definition: a row of a block is joined with the table as it was when the block came, the changes of the
//! block's own tick included; a NULL key matches nothing (unless asked otherwise). Rows that went out are
//! not joined again when the table changes. `tests/lookup_join.rs` holds the operator to it.
//!
//! State: the table, its older versions as long as a block that is not final was joined with them, and
//! which version each of these blocks was joined with.
//! Reorg: the rows of a reverted block are joined with the version of that time, so the same rows go out
//! with the sign turned; a block that comes again is joined with the table of now.
//! Origin: every output delta is of the block of its input, so views over it stay linear.

mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_engine::error::StateError;
use highwater_engine::model::{Delta, Diffs, Origin, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TablesOperator};
use highwater_engine::rows::RowCodec;

use crate::broadcast_join::{JoinError, JoinKind, all_present, field, taken};
use crate::codec::mismatch;
use crate::rows::{Loaded, Saved};
use versions::VersionedTable;

/// What is joined, and how.
#[derive(Clone, Debug)]
pub struct LookupJoinSpec {
    /// Columns of the stream. Its rows go only with their block.
    pub input: SchemaRef,
    /// Key columns of the stream. None: every row of the table matches.
    pub input_keys: Vec<usize>,
    /// Columns of the table.
    pub table: SchemaRef,
    /// The matching columns of the table, of the same types.
    pub table_keys: Vec<usize>,
    /// What becomes of rows with and without a match.
    pub kind: JoinKind,
    /// Whether a NULL key matches a NULL key.
    pub null_equals_null: bool,
}

/// A join to a table that changes. Inputs: the stream, the table. Output: the stream's columns, then for
/// inner and left joins the table's.
pub struct LookupJoin {
    name: String,
    spec: LookupJoinSpec,
    keys: RowCodec,
    /// The columns of the table that are shown: all, or none for semi and anti joins.
    payload: RowCodec,
    output: SchemaRef,
    table: VersionedTable,
    /// The version that each block that is not final was joined with.
    open: BTreeMap<u64, u64>,
}

impl LookupJoin {
    /// A join with an empty table. `name` is that of its state, for messages.
    ///
    /// # Errors
    /// If columns are missing, or the keys of the sides have different types.
    pub fn new(name: &str, spec: LookupJoinSpec) -> Result<LookupJoin, JoinError> {
        let types = |side, schema: &SchemaRef, keys: &[usize]| -> Result<Vec<DataType>, JoinError> {
            keys.iter().map(|key| Ok(field(side, schema, *key)?.data_type().clone())).collect()
        };
        let left = types("input", &spec.input, &spec.input_keys)?;
        let right = types("table", &spec.table, &spec.table_keys)?;
        if left != right {
            return Err(JoinError::Keys { left, right });
        }
        let shown = if shows_table(spec.kind) { (0..spec.table.fields().len()).collect() } else { Vec::new() };
        Ok(LookupJoin {
            name: name.to_owned(),
            keys: RowCodec::new(&spec.input, &spec.input_keys)?,
            payload: RowCodec::new(&spec.table, &shown)?,
            output: output_schema(&spec),
            spec,
            table: VersionedTable::default(),
            open: BTreeMap::new(),
        })
    }

    /// Columns of the output.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// How rows of the stream and of the table reach it: equal keys meet.
    pub fn routes(&self) -> [Route; 2] {
        match self.spec.input_keys.is_empty() {
            true => [Route::First, Route::First],
            false => [Route::Key(self.spec.input_keys.clone()), Route::Key(self.spec.table_keys.clone())],
        }
    }

    fn change_table(&mut self, delta: &Delta, version: u64) {
        let keys = columns_of(delta, &self.spec.table_keys);
        let encoded = self.keys.encode(&keys, delta.len());
        let present = if self.spec.null_equals_null { None } else { all_present(&keys) };
        let shown: &[ArrayRef] = if shows_table(self.spec.kind) { delta.batch.columns() } else { &[] };
        let rows = self.payload.encode(shown, delta.len());
        for row in 0..delta.len() {
            if present.as_ref().is_none_or(|present| present.is_valid(row)) {
                let payload = rows.row(row).data().into();
                self.table.change(encoded.row(row).data(), payload, version, delta.diffs.at(row));
            }
        }
    }

    /// Joins the rows of one sign with a version of the table.
    fn join(&self, input: &Delta, added: bool, version: u64) -> Option<Delta> {
        let keys = columns_of(input, &self.spec.input_keys);
        let encoded = self.keys.encode(&keys, input.len());
        let present = if self.spec.null_equals_null { None } else { all_present(&keys) };
        let mut pairs = Pairs::default();
        for row in 0..input.len() {
            let diff = input.diffs.at(row);
            if (diff > 0) != added {
                continue;
            }
            let known = present.as_ref().is_none_or(|present| present.is_valid(row));
            let key = encoded.row(row);
            let mut matches = known.then(|| self.table.at(key.data(), version)).into_iter().flatten().peekable();
            let row = u32::try_from(row).expect("a tick has fewer than 2^32 rows");
            match (self.spec.kind, matches.peek().is_some()) {
                (JoinKind::Inner | JoinKind::LeftOuter, true) => {
                    matches.for_each(|(found, count)| pairs.add(row, Some(found), diff * count));
                }
                (JoinKind::LeftOuter | JoinKind::Anti, false) | (JoinKind::Semi, true) => pairs.add(row, None, diff),
                (JoinKind::Inner | JoinKind::Semi, false) | (JoinKind::Anti, true) => {}
            }
        }
        (!pairs.rows.is_empty()).then(|| self.shown(input, pairs))
    }

    /// Pairs as rows of the output.
    fn shown(&self, input: &Delta, pairs: Pairs<'_>) -> Delta {
        let rows = pairs.rows.len();
        let unmoved = rows == input.len() && pairs.rows.iter().enumerate().all(|(place, row)| place == *row as usize);
        let places = UInt32Array::from(pairs.rows);
        let left = input.batch.columns().iter();
        let mut columns: Vec<ArrayRef> =
            left.map(|column| if unmoved { column.clone() } else { taken(column, &places) }).collect();
        if shows_table(self.spec.kind) {
            let each = pairs.found.len() == rows;
            let found = self.payload.decode(pairs.found);
            let matched = UInt32Array::from(pairs.matched);
            let right = found.columns().iter();
            columns.extend(right.map(|column| if each { column.clone() } else { taken(column, &matched) }));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)
            .expect("the columns are those of the output schema");
        let uniform = pairs.diffs.iter().all(|diff| *diff == pairs.diffs[0]);
        let diffs = if uniform { Diffs::Uniform(pairs.diffs[0]) } else { Diffs::Rows(pairs.diffs.into()) };
        Delta { batch, diffs, origin: input.origin }
    }

    fn retract(&mut self, stream: &[Delta], output: &mut Output) {
        let reverted = || stream.iter().filter(|delta| has_sign(delta, false));
        for delta in reverted() {
            let version = self.open.get(&block_of(delta)).copied();
            let version = version.expect("only blocks that came and are not final are taken back");
            output.deltas.extend(self.join(delta, false, version));
        }
        for delta in reverted() {
            self.open.remove(&block_of(delta));
        }
    }

    fn add(&mut self, stream: &[Delta], progress: &Progress, output: &mut Output) {
        for delta in stream.iter().filter(|delta| has_sign(delta, true)) {
            output.deltas.extend(self.join(delta, true, progress.tick));
            let block = block_of(delta);
            if !progress.is_final(block) {
                self.open.insert(block, progress.tick);
            }
        }
    }

    fn owns(&self, key: &[u8], share: Share) -> bool {
        // Without keys everything is at the first worker, wherever the empty key would go.
        if self.spec.input_keys.is_empty() { share.index == 0 } else { share.owns(key) }
    }

    fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        let (kinds, keys, rows) = (loaded.numbers("kind")?, loaded.bytes("key")?, loaded.bytes("row")?);
        let (versions, numbers) = (loaded.numbers("version")?, loaded.numbers("number")?);
        let unsigned = |number: i64| u64::try_from(number).map_err(|_| mismatch(&name, "a version is below 0"));
        for row in 0..batch.num_rows() {
            let (version, number) = (unsigned(versions.value(row))?, numbers.value(row));
            match kinds.value(row) {
                TABLE if self.owns(keys.value(row), share) => {
                    self.table.change(keys.value(row), rows.value(row).into(), version, number);
                }
                TABLE => {}
                BLOCK => {
                    let open = self.open.entry(unsigned(number)?).or_default();
                    *open = version.max(*open);
                }
                kind => return Err(mismatch(&name, format!("there is no kind {kind}"))),
            }
        }
        Ok(())
    }

    fn shape(&self) -> String {
        let types = |codec: &RowCodec| -> Vec<DataType> {
            codec.schema().fields().iter().map(|field| field.data_type().clone()).collect()
        };
        let (keys, payload) = (types(&self.keys), types(&self.payload));
        format!("{:?} lookup join by {keys:?} of {payload:?}", self.spec.kind)
    }
}

/// Kinds of saved rows: a change of the table, and the version of a block.
const TABLE: i64 = 0;
const BLOCK: i64 = 1;

impl TablesOperator for LookupJoin {
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, progress: &Progress, output: &mut Output) {
        let [stream, table] = <[Vec<Delta>; 2]>::try_from(inputs).expect("the stream and the table");
        for delta in &table {
            self.change_table(delta, progress.tick);
        }
        self.retract(&stream, output);
        self.add(&stream, progress, output);
        // Whoever has no rows of a block does not see that it goes; the head tells.
        self.open.retain(|block, _| !progress.is_final(*block) && *block <= progress.head_number);
        self.table.settle(self.open.values().copied().min().unwrap_or(progress.tick));
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let number = |number: u64| i64::try_from(number).expect("ticks and heights are below 2^63");
        let (table, open) = (self.table.changes(), &self.open);
        let none: &[u8] = &[];
        let numbers = |of_table: &dyn Fn(u64, i64) -> i64, of_block: &dyn Fn(u64, u64) -> i64| -> Vec<i64> {
            let table = table.iter().map(|(_, _, version, diff)| of_table(*version, *diff));
            table.chain(open.iter().map(|(block, version)| of_block(*block, *version))).collect()
        };
        let saved = Saved::new(&self.name, &self.shape())
            .numbers("kind", numbers(&|_, _| TABLE, &|_, _| BLOCK))
            .bytes("key", table.iter().map(|(key, ..)| *key).chain(open.iter().map(|_| none)))
            .bytes("row", table.iter().map(|(_, row, ..)| row.as_ref()).chain(open.iter().map(|_| none)))
            .numbers("version", numbers(&|version, _| number(version), &|_, version| number(version)))
            .numbers("number", numbers(&|_, diff| diff, &|block, _| number(block)));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.table.clear();
        self.open.clear();
        state.iter().try_for_each(|batch| self.load_batch(batch, share))
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.table.len() + self.open.len(), bytes: self.table.bytes() + self.open.len() * 16 }
    }
}

/// Rows of the stream with what they met.
#[derive(Default)]
struct Pairs<'t> {
    /// Rows of the stream.
    rows: Vec<u32>,
    /// For each, which of `found`.
    matched: Vec<Option<u32>>,
    found: Vec<&'t [u8]>,
    diffs: Vec<i64>,
}

impl<'t> Pairs<'t> {
    fn add(&mut self, row: u32, found: Option<&'t versions::Row>, diff: i64) {
        self.rows.push(row);
        self.matched.push(found.map(|found| {
            self.found.push(found);
            u32::try_from(self.found.len() - 1).expect("a tick has fewer than 2^32 rows")
        }));
        self.diffs.push(diff);
    }
}

fn shows_table(kind: JoinKind) -> bool {
    matches!(kind, JoinKind::Inner | JoinKind::LeftOuter)
}

fn output_schema(spec: &LookupJoinSpec) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = spec.input.fields().iter().cloned().collect();
    if shows_table(spec.kind) {
        let optional = spec.kind == JoinKind::LeftOuter;
        let nullable = |field: &Arc<Field>| {
            let nullable = field.is_nullable() || optional;
            Arc::new(field.as_ref().clone().with_nullable(nullable))
        };
        fields.extend(spec.table.fields().iter().map(nullable));
    }
    Arc::new(Schema::new(fields))
}

fn columns_of(delta: &Delta, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|column| delta.batch.column(*column).clone()).collect()
}

fn has_sign(delta: &Delta, added: bool) -> bool {
    match &delta.diffs {
        Diffs::Uniform(diff) => !delta.is_empty() && (*diff > 0) == added,
        Diffs::Rows(diffs) => diffs.iter().any(|diff| (*diff > 0) == added),
    }
}

fn block_of(delta: &Delta) -> u64 {
    match delta.origin {
        Origin::Block(number) => number,
        Origin::Derived => unreachable!("rows of the stream go only with their block: the planner has seen to it"),
    }
}
