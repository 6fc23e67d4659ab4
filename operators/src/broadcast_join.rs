//! Joins a stream to a reference table that every worker holds in memory.
//!
//! Definition: each input row with each table row of equal keys, as SQL's join; a NULL key matches
//! nothing. Output rows keep the sign and the origin of their input row, so a reorg is the same rows with
//! the sign turned. State: the table; nothing else.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::row::Rows as EncodedRows;
use highwater_engine::error::{Class, Classified};
use highwater_engine::model::{Delta, Diffs};
use highwater_engine::operator::{BatchOperator, Output};
use highwater_engine::rows::{KeyTable, RowCodec};

/// What becomes of input rows with and without a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinKind {
    /// One row for each match.
    Inner,
    /// One row for each match; without a match one row with NULL for the table's columns.
    LeftOuter,
    /// The input row, once, if it has a match.
    Semi,
    /// The input row if it has no match.
    Anti,
}

/// A column of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinColumn {
    /// Of the input.
    Left(usize),
    /// Of the table; not for semi and anti joins.
    Right(usize),
}

/// A join that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A column index points past the columns.
    #[error("the {side} of the join has no column {index}")]
    MissingColumn {
        /// `input` or `table`.
        side: &'static str,
        /// The index.
        index: usize,
    },
    /// The keys of the two sides do not pair up.
    #[error("the join has keys {left:?} and {right:?}, which differ")]
    Keys {
        /// Types of the input's keys.
        left: Vec<DataType>,
        /// Types of the table's keys.
        right: Vec<DataType>,
    },
    /// A semi or anti join shows no columns of the table.
    #[error("a semi or anti join has no columns of the table")]
    TableColumn,
    /// The table is too large to broadcast.
    #[error("the table has more than 2^32 rows")]
    TableSize,
    /// The keys cannot be encoded.
    #[error("encoding the keys as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for JoinError {
    fn class(&self) -> Class {
        match self {
            JoinError::TableSize => Class::USER,
            _ => Class::INTERNAL,
        }
    }
}

/// A join to a table in memory.
pub struct BroadcastJoin {
    probe_keys: Vec<usize>,
    kind: JoinKind,
    columns: Vec<JoinColumn>,
    output: SchemaRef,
    codec: RowCodec,
    table: RecordBatch,
    keys: KeyTable,
    /// Table rows of each key.
    matches: Vec<Vec<u32>>,
}

impl BroadcastJoin {
    /// Indexes the table by its keys. Keys must have the same types on both sides.
    pub fn new(
        input: SchemaRef,
        probe_keys: Vec<usize>,
        table: RecordBatch,
        table_keys: &[usize],
        kind: JoinKind,
        columns: Vec<JoinColumn>,
    ) -> Result<BroadcastJoin, JoinError> {
        let types = |side, schema: &SchemaRef, keys: &[usize]| -> Result<Vec<DataType>, JoinError> {
            keys.iter().map(|key| Ok(field(side, schema, *key)?.data_type().clone())).collect()
        };
        let (left, right) = (types("input", &input, &probe_keys)?, types("table", table.schema_ref(), table_keys)?);
        if left != right {
            return Err(JoinError::Keys { left, right });
        }
        let output = output_schema(&input, table.schema_ref(), kind, &columns)?;
        let codec = RowCodec::new(&input, &probe_keys)?;
        let mut join = BroadcastJoin {
            probe_keys,
            kind,
            columns,
            output,
            codec,
            table,
            keys: KeyTable::default(),
            matches: Vec::new(),
        };
        join.index(table_keys)?;
        Ok(join)
    }

    /// Columns of the output, in the order asked for.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    fn index(&mut self, table_keys: &[usize]) -> Result<(), JoinError> {
        let rows = u32::try_from(self.table.num_rows()).map_err(|_| JoinError::TableSize)?;
        let columns: Vec<ArrayRef> = table_keys.iter().map(|key| self.table.column(*key).clone()).collect();
        let encoded = self.codec.encode(&columns, self.table.num_rows());
        let present = all_present(&columns);
        for row in 0..rows {
            if present.as_ref().is_some_and(|present| present.is_null(row as usize)) {
                continue;
            }
            let id = self.keys.find_or_insert(encoded.row(row as usize).data()) as usize;
            if id == self.matches.len() {
                self.matches.push(Vec::new());
            }
            self.matches[id].push(row);
        }
        Ok(())
    }

    /// Pairs of input row and table row (`None`: no match, shown with NULLs).
    fn pairs(&self, encoded: &EncodedRows, present: Option<&NullBuffer>, rows: usize) -> (Vec<u32>, Vec<Option<u32>>) {
        let (mut left, mut right) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for row in 0..rows {
            let matches: &[u32] = if present.is_some_and(|present| present.is_null(row)) {
                &[]
            } else {
                let id = self.keys.find(encoded.row(row).data());
                id.map_or(&[], |id| &self.matches[id as usize])
            };
            let left_row = u32::try_from(row).expect("a tick has fewer than 2^32 rows");
            match (self.kind, matches.is_empty()) {
                (JoinKind::Inner | JoinKind::LeftOuter, false) => {
                    left.extend(matches.iter().map(|_| left_row));
                    right.extend(matches.iter().map(|right_row| Some(*right_row)));
                }
                (JoinKind::LeftOuter | JoinKind::Anti, true) | (JoinKind::Semi, false) => {
                    left.push(left_row);
                    right.push(None);
                }
                (JoinKind::Inner | JoinKind::Semi, true) | (JoinKind::Anti, false) => {}
            }
        }
        (left, right)
    }
}

impl BatchOperator for BroadcastJoin {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        let columns: Vec<ArrayRef> = self.probe_keys.iter().map(|key| input.batch.column(*key).clone()).collect();
        let encoded = self.codec.encode(&columns, input.len());
        let (left, right) = self.pairs(&encoded, all_present(&columns).as_ref(), input.len());
        if left.is_empty() {
            return;
        }
        let diffs = match &input.diffs {
            Diffs::Uniform(diff) => Diffs::Uniform(*diff),
            Diffs::Rows(diffs) => Diffs::Rows(left.iter().map(|row| diffs[*row as usize]).collect()),
        };
        let rows = left.len();
        let unmoved = rows == input.len() && left.iter().enumerate().all(|(place, row)| place == *row as usize);
        let (left, right) = (UInt32Array::from(left), UInt32Array::from(right));
        let column = |column: &JoinColumn| match column {
            JoinColumn::Left(index) if unmoved => input.batch.column(*index).clone(),
            JoinColumn::Left(index) => taken(input.batch.column(*index), &left),
            JoinColumn::Right(index) => taken(self.table.column(*index), &right),
        };
        let arrays = self.columns.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.output.clone(), arrays, &options)
            .expect("the columns are those of the output schema");
        output.deltas.push(Delta { batch, diffs, origin: input.origin });
    }
}

pub(crate) fn taken(column: &ArrayRef, rows: &UInt32Array) -> ArrayRef {
    take(column, rows, None).expect("the rows are rows of the column")
}

/// Rows in which no key is NULL; `None`: all.
pub(crate) fn all_present(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |present, column| NullBuffer::union(present.as_ref(), column.logical_nulls().as_ref()))
}

pub(crate) fn field<'a>(side: &'static str, schema: &'a SchemaRef, index: usize) -> Result<&'a Arc<Field>, JoinError> {
    schema.fields().get(index).ok_or(JoinError::MissingColumn { side, index })
}

fn output_schema(
    input: &SchemaRef,
    table: &SchemaRef,
    kind: JoinKind,
    columns: &[JoinColumn],
) -> Result<SchemaRef, JoinError> {
    let mut fields: Vec<Field> = Vec::with_capacity(columns.len());
    for column in columns {
        match (column, kind) {
            (JoinColumn::Left(index), _) => fields.push(field("input", input, *index)?.as_ref().clone()),
            (JoinColumn::Right(_), JoinKind::Semi | JoinKind::Anti) => return Err(JoinError::TableColumn),
            (JoinColumn::Right(index), _) => {
                let field = field("table", table, *index)?.as_ref().clone();
                let nullable = field.is_nullable() || kind == JoinKind::LeftOuter;
                fields.push(field.with_nullable(nullable));
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}
