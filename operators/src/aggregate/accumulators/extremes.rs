//! `min(x)` and `max(x)`.
//!
//! A row that cannot be taken back any more is folded into one value a group. Other rows wait in an
//! ordered multiset with the height of their block, and are folded when that block is final; rows of
//! stateful operators stay there as long as they exist.
//! State: one value a group, and one entry for each distinct (group, value, block) that is not final.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type};

use super::extreme_kinds::{Encoded, Floats, Kind, Numbers, Words};
use super::pending::{Entry, Pending};
use super::{Accumulator, Failures, Rows};
use crate::aggregate::AggregateError;
use crate::codec::{Decoder, Encode as _, Truncated};
use crate::rows::{NEVER_FINAL, Permanence};

/// Smallest or largest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// `min`
    Smallest,
    /// `max`
    Largest,
}

/// `min` or `max` over an argument of this field.
pub(super) fn extreme(field: &Field, side: Side) -> Result<Box<dyn Accumulator>, AggregateError> {
    let data_type = field.data_type().clone();
    Ok(match &data_type {
        number if is_i64(number) => Box::new(Extreme::new(Numbers::<Int64Type>::new(DataType::Int64, data_type), side)),
        DataType::Decimal128(_, _) => {
            Box::new(Extreme::new(Numbers::<Decimal128Type>::new(data_type.clone(), data_type), side))
        }
        DataType::Float32 | DataType::Float64 => Box::new(Extreme::new(Floats::new(data_type), side)),
        DataType::FixedSizeBinary(32) => Box::new(Extreme::new(Words, side)),
        _ => Box::new(Extreme::new(Encoded::new(data_type)?, side)),
    })
}

/// Types whose order is that of 64-bit integers.
pub(super) fn is_i64(data_type: &DataType) -> bool {
    use DataType as D;
    matches!(
        data_type,
        D::Int8
            | D::Int16
            | D::Int32
            | D::Int64
            | D::UInt8
            | D::UInt16
            | D::UInt32
            | D::Date32
            | D::Date64
            | D::Timestamp(_, _)
    )
}

/// Keeps the smallest or the largest value of each group.
struct Extreme<K: Kind> {
    kind: K,
    side: Side,
    /// Over rows that are final.
    best: Vec<Option<K::Value>>,
    /// Over rows that are not.
    pending: Pending<K::Value>,
    /// What to fold when a block becomes final, by block.
    queue: BTreeMap<u64, Vec<(u32, K::Value)>>,
    /// Emptied lists of the queue.
    spare: Vec<Vec<(u32, K::Value)>>,
}

impl<K: Kind> Extreme<K> {
    fn new(kind: K, side: Side) -> Extreme<K> {
        let (queue, spare) = (BTreeMap::new(), Vec::new());
        Extreme { kind, side, best: Vec::new(), pending: Pending::new(), queue, spare }
    }

    fn update_final(&mut self, rows: &Rows<'_>, column: &K::Column) {
        let (side, best) = (self.side, self.best.as_mut_slice());
        rows.each(|row, group, _| {
            let best = &mut best[group];
            let better = match best {
                None => true,
                Some(best) => match side {
                    Side::Smallest => K::compare(column, row, best).is_lt(),
                    Side::Largest => K::compare(column, row, best).is_gt(),
                },
            };
            if better {
                *best = Some(K::value(column, row));
            }
        });
    }

    /// Rows that are all of one block which is not final: the usual case of a live chain.
    fn update_block(&mut self, rows: &Rows<'_>, column: &K::Column, block: u64) {
        if block == NEVER_FINAL {
            rows.each(|row, group, diff| self.pending.add(group, K::value(column, row), block, diff));
            return;
        }
        let mut queued = self.queue.remove(&block).unwrap_or_else(|| self.spare.pop().unwrap_or_default());
        rows.each(|row, group, diff| {
            let value = K::value(column, row);
            if diff > 0 {
                queued.push((number(group), value.clone()));
            }
            self.pending.add(group, value, block, diff);
        });
        self.queue.insert(block, queued);
    }

    fn add(&mut self, group: usize, value: K::Value, diff: i64, block: u64, is_final: bool) {
        if is_final && diff > 0 {
            self.offer(group, value);
            return;
        }
        if block != NEVER_FINAL && diff > 0 {
            self.queue.entry(block).or_default().push((number(group), value.clone()));
        }
        self.pending.add(group, value, block, diff);
    }

    fn offer(&mut self, group: usize, value: K::Value) {
        let best = &mut self.best[group];
        *best = Some(match best.take() {
            Some(best) => better(self.side, best, value),
            None => value,
        });
    }

    fn result(&self, group: u32) -> Option<K::Value> {
        let group = group as usize;
        let best = self.best[group].clone();
        // Nothing is pending while everything is final: no lookup then.
        if self.pending.entries() == 0 {
            return best;
        }
        let pending = self.pending.of(group);
        let present = |entry: &&Entry<K::Value>| entry.count > 0;
        let candidate = match self.side {
            Side::Smallest => pending.iter().find(present),
            Side::Largest => pending.iter().rev().find(present),
        };
        match (best, candidate.map(|entry| entry.value.clone())) {
            (Some(best), Some(candidate)) => Some(better(self.side, best, candidate)),
            (best, candidate) => best.or(candidate),
        }
    }
}

fn number(group: usize) -> u32 {
    u32::try_from(group).expect("groups are numbered with 32 bits")
}

fn better<V: Ord>(side: Side, left: V, right: V) -> V {
    match side {
        Side::Smallest => left.min(right),
        Side::Largest => left.max(right),
    }
}

impl<K: Kind> Accumulator for Extreme<K> {
    fn resize(&mut self, slots: usize) {
        self.best.resize(slots, None);
        self.pending.resize(slots);
        if slots == 0 {
            while let Some((_, mut queued)) = self.queue.pop_first() {
                queued.clear();
                self.spare.push(queued);
            }
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let column = self.kind.open(rows.argument());
        let is_final = |block: u64| rows.finalized_number.is_some_and(|finalized| block <= finalized);
        match rows.permanence {
            Permanence::Final => self.update_final(rows, &column),
            Permanence::Block(block) if !is_final(*block) => self.update_block(rows, &column, *block),
            Permanence::Block(block) => {
                rows.each(|row, group, diff| self.add(group, K::value(&column, row), diff, *block, true));
            }
            Permanence::Rows(blocks) => rows.each(|row, group, diff| {
                self.add(group, K::value(&column, row), diff, blocks[row], is_final(blocks[row]));
            }),
        }
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        self.kind.array(groups.iter().map(|group| self.result(*group)))
    }

    fn reset(&mut self, group: u32) {
        self.best[group as usize] = None;
        self.pending.forget(group as usize);
    }

    fn fold(&mut self, finalized_number: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if *entry.key() > finalized_number {
                break;
            }
            let (block, mut rows) = entry.remove_entry();
            for (group, value) in rows.drain(..) {
                let group = group as usize;
                if let Some(entry) = self.pending.take(group, &value, block)
                    && entry.count > 0
                {
                    self.offer(group, entry.value);
                }
            }
            self.spare.push(rows);
        }
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let mut bytes = Vec::new();
            match &self.best[*group as usize] {
                None => bytes.push(0),
                Some(value) => {
                    bytes.push(1);
                    K::save(value, &mut bytes);
                }
            }
            for entry in self.pending.of(*group as usize) {
                K::save(&entry.value, &mut bytes);
                bytes.put_u64(entry.block);
                bytes.put_i64(entry.count);
            }
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        let [has_best] = state.take()?;
        if has_best == 1 {
            self.best[group as usize] = Some(K::load(state)?);
        }
        while !state.0.is_empty() {
            let value = K::load(state)?;
            let (block, count) = (state.u64()?, state.i64()?);
            self.add(group as usize, value, count, block, false);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let queued = self.pending.entries() * size_of::<(u32, K::Value)>();
        self.best.capacity() * size_of::<Option<K::Value>>() + self.pending.bytes() + queued
    }
}
