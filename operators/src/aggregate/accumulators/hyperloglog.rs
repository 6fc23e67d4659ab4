//! `approx_distinct(x)`: HyperLogLog whose registers can be taken back.
//!
//! Flajolet, Fusy, Gandouet and Meunier ("HyperLogLog: the analysis of a near-optimal cardinality
//! estimation algorithm", 2007) keep the greatest rank a register has seen. Here every rank keeps how
//! many rows have it, so that taking rows away brings the greatest back to what it was. The estimate is
//! the improved one of Ertl ("New cardinality estimation algorithms for HyperLogLog sketches", 2017),
//! which needs no correction for small or large counts; its standard error is 1.04 / sqrt(4096) = 1.6 %.
//!
//! State: a count for each (register, rank) of a group that occurs: with `n` different values about
//! `min(n, 4096 * log2(n / 4096))`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::Field;
use arrow::row::{RowConverter, SortField};

use super::occurrences::normalized;
use super::{Accumulator, Failures, Rows};
use crate::aggregate::AggregateError;
use crate::codec::{Decoder, Encode as _, Truncated};

const REGISTER_BITS: u32 = 12;
const REGISTERS: u32 = 1 << REGISTER_BITS;
/// Bits of the hash beside the register: ranks go from 1 to one more.
const RANK_BITS: u32 = u64::BITS - REGISTER_BITS;
const RANKS: usize = 54;
const RANK_SHIFT: u32 = 8;

/// One group.
#[derive(Clone)]
struct Sketch {
    /// Rows by register and rank (the low eight bits).
    counts: BTreeMap<u32, i64>,
    /// How many registers have this greatest rank; 0 is that of registers without rows.
    greatest: [u16; RANKS],
}

impl Default for Sketch {
    fn default() -> Sketch {
        let mut greatest = [0; RANKS];
        greatest[0] = u16::try_from(REGISTERS).expect("4,096");
        Sketch { counts: BTreeMap::new(), greatest }
    }
}

impl Sketch {
    fn add(&mut self, place: u32, diff: i64) {
        let register = place >> RANK_SHIFT;
        let before = self.rank_of(register);
        let count = self.counts.entry(place).or_default();
        *count += diff;
        if *count == 0 {
            self.counts.remove(&place);
        }
        let after = self.rank_of(register);
        if before != after {
            self.greatest[before] -= 1;
            self.greatest[after] += 1;
        }
    }

    /// The greatest rank that occurs in a register.
    fn rank_of(&self, register: u32) -> usize {
        let ranks = register << RANK_SHIFT..(register + 1) << RANK_SHIFT;
        let greatest = self.counts.range(ranks).rev().find(|(_, count)| **count > 0);
        // The low bits of a place are a rank, at most 53.
        greatest.map_or(0, |(place, _)| (place & ((1 << RANK_SHIFT) - 1)) as usize)
    }

    fn estimate(&self) -> i64 {
        let registers = f64::from(REGISTERS);
        let share = |rank: usize| f64::from(self.greatest[rank]) / registers;
        let mut z = registers * tau(1.0 - share(RANKS - 1));
        for rank in (1..RANKS - 1).rev() {
            z = 0.5 * (z + f64::from(self.greatest[rank]));
        }
        z += registers * sigma(share(0));
        rounded(registers * registers / (2.0 * std::f64::consts::LN_2 * z))
    }
}

/// Ertl's sum for registers that have seen nothing.
fn sigma(share: f64) -> f64 {
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (share, 1.0, share);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl's sum for registers that are full.
fn tau(share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (share, 1.0, 1.0 - share);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// The nearest whole number of an estimate.
fn rounded(estimate: f64) -> i64 {
    // Below 2^52 adding and taking away 2^52 rounds, and leaves the number in the low bits.
    const TWO_52: f64 = 4_503_599_627_370_496.0;
    let bits = (estimate.min(TWO_52 - 1.0) + TWO_52).to_bits();
    i64::try_from(bits & ((1 << 52) - 1)).expect("52 bits")
}

/// The register and the rank of a value. The hash is FNV-1a with the last step of MurmurHash3: fixed
/// for ever, because saved counts are taken back with it.
fn place_of(value: &[u8]) -> u32 {
    let mut hash = value
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    let register = u32::try_from(hash >> RANK_BITS).expect("twelve bits");
    let rank = (hash << REGISTER_BITS).leading_zeros().min(RANK_BITS) + 1;
    (register << RANK_SHIFT) | rank
}

/// Estimates how many different values there are.
pub(super) struct HyperLogLog {
    converter: RowConverter,
    sketches: Vec<Sketch>,
}

impl HyperLogLog {
    pub(super) fn new(field: &Field) -> Result<HyperLogLog, AggregateError> {
        let converter = RowConverter::new(vec![SortField::new(field.data_type().clone())])?;
        Ok(HyperLogLog { converter, sketches: Vec::new() })
    }
}

impl Accumulator for HyperLogLog {
    fn resize(&mut self, slots: usize) {
        self.sketches.resize_with(slots, Sketch::default);
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let encoded = self
            .converter
            .convert_columns(&[normalized(rows.argument())])
            .expect("the argument has the type the converter was made for");
        rows.each(|row, group, diff| self.sketches[group].add(place_of(encoded.row(row).data()), diff));
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| self.sketches[*group as usize].estimate())))
    }

    fn reset(&mut self, group: u32) {
        self.sketches[group as usize] = Sketch::default();
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let mut bytes = Vec::new();
            for (place, count) in &self.sketches[*group as usize].counts {
                bytes.extend_from_slice(&place.to_le_bytes());
                bytes.put_i64(*count);
            }
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        while !state.0.is_empty() {
            let place = state.take().map(u32::from_le_bytes)?;
            let count = state.i64()?;
            let rank = (place & ((1 << RANK_SHIFT) - 1)) as usize;
            if place >> RANK_SHIFT >= REGISTERS || rank == 0 || rank >= RANKS {
                return Err(Truncated);
            }
            self.sketches[group as usize].add(place, count);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let entries: usize = self.sketches.iter().map(|sketch| sketch.counts.len()).sum();
        self.sketches.capacity() * size_of::<Sketch>() + entries * 2 * size_of::<(u32, i64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_near_and_come_back() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.estimate(), 0);
        let mut count = 0_u64;
        for wanted in [1_u64, 2, 10, 100, 1_000, 10_000, 100_000] {
            (count..wanted).for_each(|value| sketch.add(place_of(&value.to_be_bytes()), 1));
            count = wanted;
            let off = (sketch.estimate() as f64 / wanted as f64 - 1.0).abs();
            assert!(off < 0.05, "{wanted}: {}", sketch.estimate());
        }
        (100..count).for_each(|value| sketch.add(place_of(&value.to_be_bytes()), -1));
        assert!((97..=103).contains(&sketch.estimate()), "{}", sketch.estimate());
        (0..100_u64).for_each(|value| sketch.add(place_of(&value.to_be_bytes()), -1));
        assert!(sketch.counts.is_empty());
        assert_eq!((sketch.estimate(), sketch.greatest[0]), (0, 4096));
    }
}
