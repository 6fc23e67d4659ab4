//! Joins to a reference table beyond plain equal keys: further conditions, NULL that matches NULL, no
//! keys at all.
//!
//! The input gets a row number and, where the plain join does not do, one key column of encoded rows.
//! An inner join gives candidate pairs; the condition keeps some; the row numbers of the kept pairs
//! tell which input rows have a match. Linear in the input: the same rows with the sign turned give the
//! same pairs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion_physical_expr::PhysicalExpr;
use highwater_engine::error::BoxError;
use highwater_engine::model::{Delta, Diffs};
use highwater_engine::operator::{BatchOperator, Output};
use highwater_operators::broadcast_join::{BroadcastJoin, JoinColumn, JoinKind as PlainKind};

use super::stage::{Stage, without_failing_rows};
use crate::plan::{JoinKind, Node, NodeKind};

/// The operator of a join node.
pub(super) fn make(node: &Node) -> Result<Box<dyn BatchOperator>, BoxError> {
    let NodeKind::BroadcastJoin { input, table, join, input_keys, table_keys, null_equals_null, residual, .. } =
        &node.kind
    else {
        unreachable!("called for a join alone")
    };
    let width = input.schema.fields().len();
    if residual.is_none() && !null_equals_null && !input_keys.is_empty() {
        let kind = plain_kind(*join);
        let right = if matches!(join, JoinKind::Inner | JoinKind::Left) { table.num_columns() } else { 0 };
        let columns = (0..width).map(JoinColumn::Left).chain((0..right).map(JoinColumn::Right)).collect();
        let join =
            BroadcastJoin::new(input.schema.clone(), input_keys.clone(), table.clone(), table_keys, kind, columns)?;
        return Ok(Box::new(join));
    }
    let condition = residual.clone();
    let keys = KeyEncoder::new(&input.schema, input_keys, *null_equals_null)?;
    Ok(Box::new(ConditionalJoin::new(node, &input.schema, table, *join, keys, table_keys, condition)?))
}

/// The kind of join in the words of the operators.
pub(super) fn plain_kind(kind: JoinKind) -> PlainKind {
    match kind {
        JoinKind::Inner => PlainKind::Inner,
        JoinKind::Left => PlainKind::LeftOuter,
        JoinKind::Semi => PlainKind::Semi,
        JoinKind::Anti => PlainKind::Anti,
    }
}

/// Encodes key columns as one binary column.
struct KeyEncoder {
    columns: Vec<usize>,
    converter: RowConverter,
    null_equals_null: bool,
}

impl KeyEncoder {
    fn new(schema: &SchemaRef, columns: &[usize], null_equals_null: bool) -> Result<KeyEncoder, BoxError> {
        let fields = columns.iter().map(|column| SortField::new(schema.field(*column).data_type().clone()));
        Ok(KeyEncoder { columns: columns.to_vec(), converter: RowConverter::new(fields.collect())?, null_equals_null })
    }

    /// The keys of a batch; NULL where a key column is NULL and NULL matches nothing.
    fn encode(&self, batch: &RecordBatch, columns: &[usize]) -> Result<ArrayRef, BoxError> {
        if columns.is_empty() {
            // Everything matches everything.
            return Ok(Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n([], batch.num_rows()))));
        }
        let arrays: Vec<ArrayRef> = columns.iter().map(|column| batch.column(*column).clone()).collect();
        let rows = self.converter.convert_columns(&arrays)?;
        let is_null = |row: usize| !self.null_equals_null && arrays.iter().any(|array| array.is_null(row));
        let keys = rows.iter().enumerate().map(|(index, row)| (!is_null(index)).then(|| row.as_ref().to_vec()));
        Ok(Arc::new(BinaryArray::from_iter(keys)))
    }
}

struct ConditionalJoin {
    keys: KeyEncoder,
    /// Input columns, row number, key.
    extended: SchemaRef,
    /// Input columns, table columns, row number: of each candidate pair.
    pairs: BroadcastJoin,
    condition: Option<Stage>,
    kind: JoinKind,
    width: usize,
    table_schema: SchemaRef,
    output: SchemaRef,
}

impl ConditionalJoin {
    fn new(
        node: &Node,
        input: &SchemaRef,
        table: &RecordBatch,
        kind: JoinKind,
        keys: KeyEncoder,
        table_keys: &[usize],
        condition: Option<Arc<dyn PhysicalExpr>>,
    ) -> Result<ConditionalJoin, BoxError> {
        let width = input.fields().len();
        let mut fields: Vec<_> = input.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("row", DataType::Int64, false)));
        fields.push(Arc::new(Field::new("key", DataType::Binary, true)));
        let extended = Arc::new(Schema::new(fields));

        let table_schema = table.schema();
        let key = keys.encode(table, table_keys)?;
        let mut fields: Vec<_> = table_schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("key", DataType::Binary, true)));
        let mut columns = table.columns().to_vec();
        columns.push(key);
        let keyed = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;

        let left = (0..width).map(JoinColumn::Left);
        let right = (0..table.num_columns()).map(JoinColumn::Right);
        let columns = left.chain(right).chain([JoinColumn::Left(width)]).collect();
        let key_column = table.num_columns();
        let pairs =
            BroadcastJoin::new(extended.clone(), vec![width + 1], keyed, &[key_column], PlainKind::Inner, columns)?;
        Ok(ConditionalJoin {
            keys,
            extended,
            pairs,
            condition: condition.map(Stage::Filter),
            kind,
            width,
            table_schema,
            output: node.schema.clone(),
        })
    }

    /// The pairs that meet the condition; a pair whose condition fails becomes an error row.
    fn matches(&mut self, input: &Delta, output: &mut Output) -> Vec<Delta> {
        let rows = i64::try_from(input.len()).expect("a batch has fewer than 2^63 rows");
        let mut columns = input.batch.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_iter_values(0..rows)));
        let key = self.keys.encode(&input.batch, &self.keys.columns);
        columns.push(key.expect("the converter was made for these columns"));
        let batch = RecordBatch::try_new(self.extended.clone(), columns).expect("columns of the extended schema");
        let mut candidates = Output::default();
        self.pairs.on_delta(input.with_batch(batch), &mut candidates);
        output.errors.append(&mut candidates.errors);
        let Some(condition) = &self.condition else { return candidates.deltas };
        let keep = |pairs: Delta| match condition.apply(&pairs) {
            Ok(kept) => Some(kept),
            Err(error) => without_failing_rows(condition, &pairs, &error, output),
        };
        candidates.deltas.into_iter().filter_map(keep).filter(|pairs| !pairs.is_empty()).collect()
    }

    /// Whether each input row has a match.
    fn matched(&self, matches: &[Delta], rows: usize) -> Vec<bool> {
        let mut matched = vec![false; rows];
        let numbers = self.width + self.table_schema.fields().len();
        for pairs in matches {
            for row in pairs.batch.column(numbers).as_primitive::<Int64Type>().values() {
                matched[usize::try_from(*row).expect("row numbers count up from 0")] = true;
            }
        }
        matched
    }

    fn shown(&self, pairs: &Delta) -> Delta {
        let columns = pairs.batch.columns()[..self.output.fields().len()].to_vec();
        pairs.with_batch(RecordBatch::try_new(self.output.clone(), columns).expect("columns of the output"))
    }

    /// Input rows with NULL for the table's columns.
    fn unmatched(&self, rows: &Delta) -> Delta {
        let mut columns = rows.batch.columns().to_vec();
        let nulls = self.table_schema.fields().iter().map(|field| new_null_array(field.data_type(), rows.len()));
        columns.extend(nulls);
        rows.with_batch(RecordBatch::try_new(self.output.clone(), columns).expect("columns of the output"))
    }
}

/// The rows of a delta for which `keep` is true.
fn select(delta: &Delta, keep: &[bool]) -> Delta {
    let batch = filter_record_batch(&delta.batch, &BooleanArray::from(keep.to_vec())).expect("one flag a row");
    let diffs = match &delta.diffs {
        Diffs::Uniform(diff) => Diffs::Uniform(*diff),
        Diffs::Rows(diffs) => {
            let kept = diffs.iter().zip(keep).filter(|(_, keep)| **keep).map(|(diff, _)| *diff);
            Diffs::Rows(kept.collect::<Vec<_>>().into())
        }
    };
    Delta { batch, diffs, origin: delta.origin }
}

impl BatchOperator for ConditionalJoin {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        let matches = self.matches(&input, output);
        if matches!(self.kind, JoinKind::Inner | JoinKind::Left) {
            output.deltas.extend(matches.iter().map(|pairs| self.shown(pairs)));
        }
        let mut matched = self.matched(&matches, input.len());
        match self.kind {
            JoinKind::Inner => {}
            JoinKind::Semi => output.deltas.push(select(&input, &matched)),
            JoinKind::Left | JoinKind::Anti => {
                matched.iter_mut().for_each(|matched| *matched = !*matched);
                let rows = select(&input, &matched);
                output.deltas.push(if self.kind == JoinKind::Left { self.unmatched(&rows) } else { rows });
            }
        }
    }
}
