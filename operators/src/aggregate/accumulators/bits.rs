//! `bit_and(x)`, `bit_or(x)` and `bit_xor(x)`: how often each bit is set.
//!
//! Integers are two's complement of 64 bits, or of 256 for `UINT256` and `INT256`.
//! State: a count a bit for each group; for `bit_xor` one bit, as taking away is adding again.

use std::sync::Arc;

use alloy_primitives::{I256, U256};
use arrow::array::{ArrayRef, AsArray as _, FixedSizeBinaryArray, Int64Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, UInt64Type};
use highwater_engine::model::wide::{
    Wide as WideKind, int256_from_bytes, int256_to_bytes, uint256_from_bytes, uint256_to_bytes, wide_kind,
};

use super::integer::as_i64;
use super::{Accumulator, Failures, Rows};
use crate::codec::{Decoder, Encode as _, Truncated};

/// Limbs of the widest integer.
const LIMBS: usize = 4;
const LIMB_BITS: usize = 64;

/// Which of the three functions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// `bit_and`
    And,
    /// `bit_or`
    Or,
    /// `bit_xor`
    Xor,
}

/// Counts set bits.
pub(super) struct Bits {
    rule: Rule,
    data_type: DataType,
    wide: Option<WideKind>,
    limbs: usize,
    /// Values of each group.
    counts: Vec<i64>,
    /// For each group one number a bit: how many values have it set; for `bit_xor` whether that is odd.
    set: Vec<i64>,
}

impl Bits {
    pub(super) fn new(field: &Field, rule: Rule) -> Bits {
        let wide = wide_kind(field);
        let limbs = if wide.is_some() { LIMBS } else { 1 };
        Bits { rule, data_type: field.data_type().clone(), wide, limbs, counts: Vec::new(), set: Vec::new() }
    }

    /// Numbers of a group.
    fn stride(&self) -> usize {
        match self.rule {
            Rule::Xor => self.limbs,
            _ => self.limbs * LIMB_BITS,
        }
    }

    fn of(&self, group: usize) -> &[i64] {
        let stride = self.stride();
        &self.set[group * stride..(group + 1) * stride]
    }

    fn add(&mut self, rows: &Rows<'_>, value: impl Fn(usize) -> [u64; LIMBS]) {
        let (rule, stride, limbs) = (self.rule, self.stride(), self.limbs);
        rows.each(|row, group, diff| {
            self.counts[group] += diff;
            let set = &mut self.set[group * stride..(group + 1) * stride];
            for (limb, word) in value(row).into_iter().take(limbs).enumerate() {
                if rule == Rule::Xor {
                    if diff % 2 != 0 {
                        set[limb] ^= word.cast_signed();
                    }
                    continue;
                }
                let mut left = word;
                while left != 0 {
                    let bit = usize::try_from(left.trailing_zeros()).expect("below 64");
                    set[limb * LIMB_BITS + bit] += diff;
                    left &= left - 1;
                }
            }
        });
    }

    fn result(&self, group: u32) -> Option<[u64; LIMBS]> {
        let group = group as usize;
        let count = self.counts[group];
        if count == 0 {
            return None;
        }
        let mut words = [0; LIMBS];
        for (place, set) in self.of(group).iter().enumerate() {
            match self.rule {
                Rule::Xor => words[place] = set.cast_unsigned(),
                Rule::And if *set == count => words[place / LIMB_BITS] |= 1 << (place % LIMB_BITS),
                Rule::Or if *set > 0 => words[place / LIMB_BITS] |= 1 << (place % LIMB_BITS),
                _ => {}
            }
        }
        Some(words)
    }
}

/// A word in the lowest limb.
fn low(word: u64) -> [u64; LIMBS] {
    [word, 0, 0, 0]
}

impl Accumulator for Bits {
    fn resize(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
        self.set.resize(slots * self.stride(), 0);
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let argument = rows.argument().clone();
        match self.wide {
            Some(WideKind::Unsigned) => {
                let values = argument.as_fixed_size_binary();
                self.add(rows, |row| uint256_from_bytes(values.value(row)).into_limbs());
            }
            Some(WideKind::Signed) => {
                let values = argument.as_fixed_size_binary();
                self.add(rows, |row| int256_from_bytes(values.value(row)).into_raw().into_limbs());
            }
            None if self.data_type == DataType::UInt64 => {
                let values = argument.as_primitive::<UInt64Type>().values();
                self.add(rows, |row| low(values[row]));
            }
            None => {
                let argument = as_i64(&argument);
                let values = argument.as_primitive::<Int64Type>().values();
                self.add(rows, |row| low(values[row].cast_unsigned()));
            }
        }
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        let results = groups.iter().map(|group| self.result(*group));
        let fixed = |bytes: Vec<Option<[u8; 32]>>| -> ArrayRef {
            let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes.into_iter(), 32);
            Arc::new(array.expect("every value has 32 bytes"))
        };
        match self.wide {
            Some(WideKind::Unsigned) => {
                fixed(results.map(|words| words.map(|words| uint256_to_bytes(U256::from_limbs(words)))).collect())
            }
            Some(WideKind::Signed) => {
                let bytes = |words| int256_to_bytes(I256::from_raw(U256::from_limbs(words)));
                fixed(results.map(|words| words.map(bytes)).collect())
            }
            None if self.data_type == DataType::UInt64 => {
                Arc::new(results.map(|words| words.map(|words| words[0])).collect::<UInt64Array>())
            }
            None => {
                let values = results.map(|words| words.map(|words| words[0].cast_signed())).collect::<Int64Array>();
                cast(&values, &self.data_type).expect("bits of integers of a type are one of it")
            }
        }
    }

    fn reset(&mut self, group: u32) {
        let (group, stride) = (group as usize, self.stride());
        self.counts[group] = 0;
        self.set[group * stride..(group + 1) * stride].fill(0);
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let set = self.of(*group as usize);
            let mut bytes = Vec::with_capacity(8 + set.len() * 8);
            bytes.put_i64(self.counts[*group as usize]);
            set.iter().for_each(|number| bytes.put_i64(*number));
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        let (group, stride) = (group as usize, self.stride());
        self.counts[group] = state.i64()?;
        self.set[group * stride..(group + 1) * stride].iter_mut().try_for_each(|number| {
            *number = state.i64()?;
            Ok(())
        })
    }

    fn bytes(&self) -> usize {
        (self.counts.capacity() + self.set.capacity()) * 8
    }
}
