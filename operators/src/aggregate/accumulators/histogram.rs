//! `histogram(x)`: how many values each bucket holds.
//!
//! State: a count for each bucket of a group that holds values; buckets are as wide as the relative
//! error says, so their number follows the range of the values and not their count.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, Int64Builder, ListArray, NullBufferBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use highwater_engine::model::wide::wide_kind;

use super::extreme_kinds::Kind as _;
use super::forest::Forest;
use super::log_buckets::LogBuckets;
use super::{Accumulator, Failures, Rows};
use crate::aggregate::spec::bucket_type;
use crate::codec::{Decoder, Encode as _, Truncated};

/// Counts values by bucket.
pub(super) struct Histogram {
    buckets: LogBuckets,
    values: Forest<i32>,
}

impl Histogram {
    pub(super) fn new(field: &Field, relative_error: f64) -> Histogram {
        Histogram { buckets: LogBuckets::new(relative_error, wide_kind(field)), values: Forest::new() }
    }
}

impl Accumulator for Histogram {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots);
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let column = self.buckets.open(rows.argument());
        rows.each(|row, group, diff| self.values.add(group, column[row], diff));
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        let (mut lows, mut highs, mut counts) = (Float64Builder::new(), Float64Builder::new(), Int64Builder::new());
        let (mut lengths, mut nulls) = (Vec::with_capacity(groups.len()), NullBufferBuilder::new(groups.len()));
        for group in groups {
            let before = counts.values_slice().len();
            for (bucket, count) in self.values.entries(*group as usize).into_iter().filter(|(_, count)| *count > 0) {
                let (low, high) = self.buckets.bounds(*bucket);
                lows.append_value(low);
                highs.append_value(high);
                counts.append_value(count);
            }
            let length = counts.values_slice().len() - before;
            lengths.push(length);
            nulls.append(length > 0);
        }
        let DataType::Struct(fields) = bucket_type() else { unreachable!("a bucket is a struct") };
        let columns: Vec<ArrayRef> = vec![Arc::new(lows.finish()), Arc::new(highs.finish()), Arc::new(counts.finish())];
        let buckets = StructArray::new(fields, columns, None);
        let item = Arc::new(Field::new_list_field(bucket_type(), true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), Arc::new(buckets), nulls.finish()))
    }

    fn reset(&mut self, group: u32) {
        self.values.forget(group as usize);
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let mut bytes = Vec::new();
            for (bucket, count) in self.values.entries(*group as usize) {
                LogBuckets::save(bucket, &mut bytes);
                bytes.put_i64(count);
            }
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        while !state.0.is_empty() {
            let bucket = LogBuckets::load(state)?;
            let count = state.i64()?;
            self.values.add(group as usize, bucket, count);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.values.bytes()
    }
}
