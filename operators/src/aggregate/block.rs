//! An aggregate whose keys contain the block: a function of each delta alone.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::cmp::{gt, lt};
use arrow::datatypes::{Schema, SchemaRef};
use highwater_engine::model::{Delta, Diffs, RegionColumn};
use highwater_engine::operator::{BatchOperator, Output};
use highwater_engine::rows::PackedCodec;

use super::generation::{Generation, Slice};
use super::spec::{AggregateError, AggregateSpec};
use super::{batch_of, emit_failures, key_codec};
use crate::rows::Permanence;

/// `GROUP BY` with the block among the keys.
///
/// Definition: every delta holds its blocks whole, so its groups are complete: the groups of the delta's
/// rows, with the delta's sign and origin. State: none. Reorg: the same groups with the sign turned.
/// A delta with a change for each row is taken as its insertions and, apart, its retractions.
pub struct BlockAggregate {
    spec: AggregateSpec,
    output: SchemaRef,
    key_codec: PackedCodec,
    /// Empty between calls; kept for its memory.
    groups: Generation,
}

impl BlockAggregate {
    /// An aggregate with keys that contain the block, and no closing column.
    pub fn new(spec: AggregateSpec) -> Result<BlockAggregate, AggregateError> {
        spec.check()?;
        if spec.keys.is_empty() || spec.closing.is_some() {
            return Err(AggregateError::NotBlockLocal);
        }
        let output = spec.output_schema()?;
        let key_schema: SchemaRef = Arc::new(Schema::new(output.fields()[..spec.keys.len()].to_vec()));
        let key_codec = key_codec(&key_schema, true)?;
        let groups = Generation::new(&spec)?;
        Ok(BlockAggregate { spec, output, key_codec, groups })
    }

    /// Columns of the output: keys, then calls.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// The groups of rows that all have one sign; `diffs` are how often each row counts.
    fn group(&mut self, delta: &Delta, diffs: &Diffs, sign: i64, output: &mut Output) {
        let columns = self.spec.key_columns(&delta.batch);
        let keys = self.key_codec.encode(&columns, delta.len());
        let slice = Slice {
            batch: &delta.batch,
            diffs,
            permanence: &Permanence::Final,
            finalized_number: None,
            keys: &keys,
            // Everything is forgotten with the delta.
            regions: &RegionColumn::One,
            offset: 0,
        };
        self.groups.apply(&self.spec, &slice);
        let changes = self.groups.finish(&self.key_codec);
        self.groups.clear();
        let Some(changes) = changes else { return };
        emit_failures(&self.key_codec, &changes.failures, sign, delta.origin, output);
        // Nothing was there before.
        debug_assert_eq!(changes.old.rows, 0);
        if let Some(batch) = batch_of(vec![changes.new], &self.output) {
            output.deltas.push(Delta { batch, diffs: Diffs::Uniform(sign), origin: delta.origin });
        }
    }

    fn group_mixed(&mut self, delta: &Delta, output: &mut Output) {
        let diffs = delta.diffs.to_array(delta.len());
        let zero = Int64Array::new_scalar(0);
        for (sign, mask) in [(-1, lt(&diffs, &zero)), (1, gt(&diffs, &zero))] {
            let mask = mask.expect("two integer columns compare");
            let batch = filter_record_batch(&delta.batch, &mask).expect("the mask has one entry a row");
            if batch.num_rows() == 0 {
                continue;
            }
            let times: Vec<i64> =
                (0..mask.len()).filter(|row| mask.value(*row)).map(|row| diffs.value(row) * sign).collect();
            let part = Delta { batch, diffs: Diffs::Uniform(sign), origin: delta.origin };
            self.group(&part, &Diffs::Rows(times.into()), sign, output);
        }
    }
}

impl BatchOperator for BlockAggregate {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        if input.is_empty() {
            return;
        }
        match input.diffs {
            Diffs::Uniform(0) => {}
            Diffs::Uniform(diff) => self.group(&input, &Diffs::Uniform(diff.abs()), diff.signum(), output),
            Diffs::Rows(_) => self.group_mixed(&input, output),
        }
    }
}
