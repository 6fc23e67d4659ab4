//! `percentile_cont`, `percentile_disc` and `mode`: ordered multisets that know positions.
//!
//! State: one entry for each distinct (group, value). A change and a result each take time in the
//! logarithm of the group's distinct values.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type};
use highwater_engine::model::wide::{Wide as WideKind, wide_kind};

use super::extreme_kinds::{Encoded, Floats, Kind, Numbers, Words};
use super::extremes::is_i64;
use super::float::{as_f64, canonical};
use super::forest::Forest;
use super::log_buckets::LogBuckets;
use super::occurrences::normalized;
use super::{Accumulator, Failures, Rows};
use crate::aggregate::{AggregateError, AggregateParameters};
use crate::codec::{Decoder, Encode as _, Truncated};

/// What is asked of the ordered values.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Statistic {
    /// `percentile_cont`: at this fraction, between two values in proportion.
    Continuous(f64),
    /// `percentile_disc`: the first value whose share of the values reaches this fraction.
    Discrete(f64),
    /// `mode`: the most frequent value, of several the first.
    Mode,
}

/// A statistic over an argument of this field.
pub(super) fn order_statistic(
    field: &Field,
    statistic: Statistic,
    descending: bool,
) -> Result<Box<dyn Accumulator>, AggregateError> {
    let data_type = field.data_type().clone();
    let wide = wide_kind(field);
    Ok(match &data_type {
        number if is_i64(number) => {
            let kind = Numbers::<Int64Type>::new(DataType::Int64, data_type);
            Box::new(OrderStatistic::new(kind, wide, statistic, descending))
        }
        DataType::Decimal128(_, _) => {
            let kind = Numbers::<Decimal128Type>::new(data_type.clone(), data_type);
            Box::new(OrderStatistic::new(kind, wide, statistic, descending))
        }
        DataType::Float32 | DataType::Float64 => {
            Box::new(OrderStatistic::new(Floats::new(data_type), wide, statistic, descending))
        }
        DataType::FixedSizeBinary(32) => Box::new(OrderStatistic::new(Words, wide, statistic, descending)),
        _ => Box::new(OrderStatistic::new(Encoded::new(data_type)?, wide, statistic, descending)),
    })
}

/// `approx_quantile` over numbers of this field.
pub(super) fn quantile(field: &Field, parameters: &AggregateParameters, descending: bool) -> Box<dyn Accumulator> {
    let buckets = LogBuckets::new(parameters.relative_error, wide_kind(field));
    Box::new(OrderStatistic::new(buckets, None, Statistic::Discrete(parameters.fraction), descending))
}

/// Keeps the values of each group in order.
struct OrderStatistic<K: Kind> {
    kind: K,
    wide: Option<WideKind>,
    statistic: Statistic,
    descending: bool,
    values: Forest<K::Value>,
    /// Bytes of values outside of the forest.
    heap_bytes: usize,
}

impl<K: Kind> OrderStatistic<K> {
    fn new(kind: K, wide: Option<WideKind>, statistic: Statistic, descending: bool) -> OrderStatistic<K> {
        OrderStatistic { kind, wide, statistic, descending, values: Forest::new(), heap_bytes: 0 }
    }

    fn add(&mut self, group: usize, value: K::Value, diff: i64) {
        let (before, bytes) = (self.values.len(), K::heap_bytes(&value));
        self.values.add(group, value, diff);
        match self.values.len() {
            more if more > before => self.heap_bytes += bytes,
            less if less < before => self.heap_bytes = self.heap_bytes.saturating_sub(bytes),
            _ => {}
        }
    }

    /// The value at a position of the order asked for.
    fn at(&self, group: usize, position: i64) -> Option<K::Value> {
        let last = self.values.total(group) - 1;
        self.values.at(group, if self.descending { last - position } else { position }).cloned()
    }

    fn continuous(&self, groups: &[u32], fraction: f64) -> ArrayRef {
        let mut shares = Vec::with_capacity(groups.len());
        let (mut lower, mut upper) = (Vec::with_capacity(groups.len()), Vec::with_capacity(groups.len()));
        for group in groups {
            let last = self.values.total(*group as usize) - 1;
            let (position, share) = split(fraction, last.max(0));
            shares.push(share);
            lower.push(self.at(*group as usize, position));
            upper.push(self.at(*group as usize, last.min(position + 1)));
        }
        let doubles = |values: Vec<Option<K::Value>>| as_f64(&self.kind.array(values.into_iter()), self.wide);
        let (lower, upper) = (doubles(lower), doubles(upper));
        let (lower, upper) = (lower.as_primitive::<Float64Type>(), upper.as_primitive::<Float64Type>());
        let result = |(row, share): (usize, f64)| {
            let (low, high) = (lower.value(row), upper.value(row));
            // Between equal infinities there is no distance to take a share of.
            let value = if share == 0.0 || low == high { low } else { low + (high - low) * share };
            lower.is_valid(row).then(|| canonical(value))
        };
        Arc::new(shares.into_iter().enumerate().map(result).collect::<Float64Array>())
    }
}

/// `fraction * last` as the position before it and how far beyond it lies.
fn split(fraction: f64, last: i64) -> (i64, f64) {
    let place = fraction * last as f64;
    let whole = place.floor();
    (position(whole).min(last), place - whole)
}

/// The first position of `count` values at which at least this share of them has been passed.
fn first_reaching(fraction: f64, count: i64) -> i64 {
    position((fraction * count as f64).ceil() - 1.0).min(count - 1)
}

/// A whole number from 0 to the number of rows.
fn position(whole: f64) -> i64 {
    if whole <= 0.0 {
        return 0;
    }
    // Exact: a double that is a whole number below 2^63 is its mantissa, shifted.
    let bits = whole.to_bits();
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    let exponent = bits >> 52;
    let shifted = if exponent >= 1075 {
        mantissa.checked_shl(low_bits(exponent - 1075))
    } else {
        mantissa.checked_shr(low_bits(1075 - exponent))
    };
    shifted.and_then(|number| i64::try_from(number).ok()).unwrap_or(0)
}

fn low_bits(shift: u64) -> u32 {
    u32::try_from(shift).unwrap_or(u32::MAX)
}

impl<K: Kind> Accumulator for OrderStatistic<K> {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots);
        if slots == 0 {
            self.heap_bytes = 0;
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let column = self.kind.open(&normalized(rows.argument()));
        rows.each(|row, group, diff| self.add(group, K::value(&column, row), diff));
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        match self.statistic {
            Statistic::Continuous(fraction) => self.continuous(groups, fraction),
            Statistic::Discrete(fraction) => self.kind.array(groups.iter().map(|group| {
                let group = *group as usize;
                self.at(group, first_reaching(fraction, self.values.total(group)))
            })),
            Statistic::Mode => {
                self.kind.array(groups.iter().map(|group| self.values.mode(*group as usize, self.descending).cloned()))
            }
        }
    }

    fn reset(&mut self, group: u32) {
        self.values.forget(group as usize);
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let mut bytes = Vec::new();
            for (value, count) in self.values.entries(*group as usize) {
                K::save(value, &mut bytes);
                bytes.put_i64(count);
            }
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        while !state.0.is_empty() {
            let value = K::load(state)?;
            let count = state.i64()?;
            self.add(group as usize, value, count);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.values.bytes() + self.heap_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_exact() {
        for whole in [0_i64, 1, 2, 3, 7, 1000, (1 << 52) - 1, 1 << 52, (1 << 53) - 1, 1 << 53, 1 << 62] {
            assert_eq!(position(whole as f64), whole);
        }
        assert_eq!(split(0.5, 3), (1, 0.5));
        assert_eq!(split(1.0, 3), (3, 0.0));
        assert_eq!((first_reaching(0.0, 4), first_reaching(0.5, 4), first_reaching(0.51, 4)), (0, 1, 2));
        assert_eq!((first_reaching(1.0, 4), first_reaching(0.5, 0)), (3, -1));
    }
}
