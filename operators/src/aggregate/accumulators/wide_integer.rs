//! `sum(x)` and `avg(x)` of 256-bit integers, decimals and unsigned 64-bit integers: an exact wide sum.
//!
//! A sum that does not fit its type makes an error row instead of a result, until it fits again.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Decimal128Array, FixedSizeBinaryArray, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, UInt64Type};
use highwater_engine::model::wide::{
    Wide as WideKind, int256_from_bytes, int256_to_bytes, uint256_from_bytes, uint256_to_bytes, wide_kind,
};

use super::integer::nulls;
use super::wide::Wide;
use super::{Accumulator, Failures, Rows};
use crate::codec::{Decoder, Encode as _, Truncated};

#[derive(Clone, Copy)]
enum Kind {
    Unsigned256,
    Signed256,
    Decimal(i8),
    Unsigned64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    sum: Wide,
    count: i64,
}

/// Adds wide integers.
pub(super) struct WideSum {
    kind: Kind,
    average: bool,
    /// Name of the argument, for messages.
    argument: String,
    sums: Vec<Sum>,
}

impl WideSum {
    pub(super) fn new(field: &Field, average: bool) -> WideSum {
        let kind = match (wide_kind(field), field.data_type()) {
            (Some(WideKind::Unsigned), _) => Kind::Unsigned256,
            (Some(WideKind::Signed), _) => Kind::Signed256,
            (None, DataType::Decimal128(_, scale)) => Kind::Decimal(*scale),
            (None, _) => Kind::Unsigned64,
        };
        WideSum { kind, average, argument: field.name().clone(), sums: Vec::new() }
    }

    fn add(&mut self, rows: &Rows<'_>, value: impl Fn(usize) -> Wide) {
        let sums = self.sums.as_mut_slice();
        rows.each(|row, group, diff| {
            let sum = &mut sums[group];
            sum.sum.add(value(row), diff);
            sum.count += diff;
        });
    }

    fn averages(&self, groups: &[u32]) -> ArrayRef {
        let scale = match self.kind {
            Kind::Decimal(scale) => 10_f64.powi(i32::from(scale)),
            _ => 1.0,
        };
        let sums = groups.iter().map(|group| &self.sums[*group as usize]);
        let averages: Vec<f64> = sums.clone().map(|sum| sum.sum.to_f64() / (sum.count as f64 * scale)).collect();
        Arc::new(Float64Array::new(averages.into(), nulls(sums.map(|sum| sum.count))))
    }

    /// The sums that fit, and a failure for each that does not.
    fn fitting<T>(&self, groups: &[u32], failures: &mut Failures, fit: impl Fn(Wide) -> Option<T>) -> Vec<Option<T>> {
        let limit = match self.kind {
            Kind::Unsigned256 => "UINT256",
            Kind::Signed256 => "INT256",
            Kind::Decimal(_) | Kind::Unsigned64 => "38 digits",
        };
        let result = |(position, group): (usize, &u32)| {
            let sum = &self.sums[*group as usize];
            if sum.count == 0 {
                return None;
            }
            let value = fit(sum.sum);
            if value.is_none() {
                failures.push((position, format!("the sum of \"{}\" does not fit {limit}", self.argument)));
            }
            value
        };
        groups.iter().enumerate().map(result).collect()
    }
}

fn bytes_array(values: Vec<Option<[u8; 32]>>) -> ArrayRef {
    let array =
        FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 32).expect("every value has 32 bytes");
    Arc::new(array)
}

impl Accumulator for WideSum {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, Sum::default());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let argument = rows.argument().clone();
        match self.kind {
            Kind::Unsigned256 => {
                let values = argument.as_fixed_size_binary();
                self.add(rows, |row| Wide::from_u256(uint256_from_bytes(values.value(row))));
            }
            Kind::Signed256 => {
                let values = argument.as_fixed_size_binary();
                self.add(rows, |row| Wide::from_i256(int256_from_bytes(values.value(row))));
            }
            Kind::Decimal(_) => {
                let values = argument.as_primitive::<Decimal128Type>().values();
                self.add(rows, |row| Wide::from_i128(values[row]));
            }
            Kind::Unsigned64 => {
                let values = argument.as_primitive::<UInt64Type>().values();
                self.add(rows, |row| Wide::from_i128(i128::from(values[row])));
            }
        }
    }

    fn evaluate(&self, groups: &[u32], failures: &mut Failures) -> ArrayRef {
        if self.average {
            return self.averages(groups);
        }
        match self.kind {
            Kind::Unsigned256 => bytes_array(self.fitting(groups, failures, |sum| sum.to_u256().map(uint256_to_bytes))),
            Kind::Signed256 => bytes_array(self.fitting(groups, failures, |sum| sum.to_i256().map(int256_to_bytes))),
            Kind::Decimal(_) | Kind::Unsigned64 => {
                let scale = if let Kind::Decimal(scale) = self.kind { scale } else { 0 };
                let values = self.fitting(groups, failures, Wide::to_decimal);
                let array = values.into_iter().collect::<Decimal128Array>();
                Arc::new(array.with_precision_and_scale(38, scale).expect("the scale is that of the argument"))
            }
        }
    }

    fn reset(&mut self, group: u32) {
        self.sums[group as usize] = Sum::default();
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let sum = &self.sums[*group as usize];
            let mut bytes = Vec::with_capacity(48);
            sum.sum.save(&mut bytes);
            bytes.put_i64(sum.count);
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        self.sums[group as usize] = Sum { sum: Wide::load(state)?, count: state.i64()? };
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<Sum>()
    }
}
