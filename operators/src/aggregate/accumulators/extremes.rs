//! `min(x)` and `max(x)`.
//!
//! A row that cannot be taken back any more is folded into one value a group. Other rows wait in an
//! ordered multiset with the height of their block, and are folded when that block is final; rows of
//! stateful operators stay there as long as they exist.
//! State: one value a group, and one entry for each distinct (group, value, block) that is not final.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::extreme_kinds::{Encoded, Floats, Kind, Numbers, Words};
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
fn is_i64(data_type: &DataType) -> bool {
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

/// Values that may be taken back: how many rows of each block have each value.
type Pending<V> = BTreeMap<(V, u64), i64>;

/// Keeps the smallest or the largest value of each group.
struct Extreme<K: Kind> {
    kind: K,
    side: Side,
    /// Over rows that are final.
    best: Vec<Option<K::Value>>,
    /// Only for groups with rows that are not final. Looked up, never walked.
    pending: HashMap<u32, Pending<K::Value>, FixedState>,
    /// What to fold when a block becomes final.
    queue: BTreeMap<u64, Vec<(u32, K::Value)>>,
    pending_entries: usize,
}

impl<K: Kind> Extreme<K> {
    fn new(kind: K, side: Side) -> Extreme<K> {
        Extreme {
            kind,
            side,
            best: Vec::new(),
            pending: HashMap::with_hasher(FixedState::with_seed(0)),
            queue: BTreeMap::new(),
            pending_entries: 0,
        }
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

    fn add(&mut self, group: usize, value: K::Value, diff: i64, block: u64, is_final: bool) {
        if is_final && diff > 0 {
            self.offer(group, value);
            return;
        }
        let group = u32::try_from(group).expect("groups are numbered with 32 bits");
        if block != NEVER_FINAL && diff > 0 {
            self.queue.entry(block).or_default().push((group, value.clone()));
        }
        let pending = self.pending.entry(group).or_default();
        let before = pending.len();
        let entry = (value, block);
        let count = pending.entry(entry.clone()).or_default();
        *count += diff;
        if *count == 0 {
            pending.remove(&entry);
        }
        let after = pending.len();
        if after == 0 {
            self.pending.remove(&group);
        }
        self.pending_entries = self.pending_entries + after - before;
    }

    fn offer(&mut self, group: usize, value: K::Value) {
        let best = &mut self.best[group];
        *best = Some(match best.take() {
            Some(best) => better(self.side, best, value),
            None => value,
        });
    }

    fn result(&self, group: u32) -> Option<K::Value> {
        let best = self.best[group as usize].clone();
        // The map is empty while everything is final: no lookup then.
        let pending = if self.pending_entries == 0 { None } else { self.pending.get(&group) };
        let Some(pending) = pending else { return best };
        let mut present = pending.iter().filter(|(_, count)| **count > 0).map(|((value, _), _)| value);
        let candidate = match self.side {
            Side::Smallest => present.next(),
            Side::Largest => present.next_back(),
        };
        match (best, candidate) {
            (Some(best), Some(candidate)) => Some(better(self.side, best, candidate.clone())),
            (best, candidate) => best.or_else(|| candidate.cloned()),
        }
    }

    fn fold_entry(&mut self, group: u32, value: K::Value, block: u64) {
        let Some(pending) = self.pending.get_mut(&group) else { return };
        let entry = (value, block);
        let Some(count) = pending.remove(&entry) else { return };
        self.pending_entries -= 1;
        if pending.is_empty() {
            self.pending.remove(&group);
        }
        if count > 0 {
            self.offer(group as usize, entry.0);
        }
    }
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
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let column = self.kind.open(rows.argument());
        let is_final = |block: u64| rows.finalized_number.is_some_and(|finalized| block <= finalized);
        match rows.permanence {
            Permanence::Final => self.update_final(rows, &column),
            Permanence::Block(block) => {
                let is_final = is_final(*block);
                rows.each(|row, group, diff| self.add(group, K::value(&column, row), diff, *block, is_final));
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
        if let Some(pending) = self.pending.remove(&group) {
            self.pending_entries -= pending.len();
        }
    }

    fn fold(&mut self, finalized_number: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if *entry.key() > finalized_number {
                break;
            }
            let (block, rows) = entry.remove_entry();
            for (group, value) in rows {
                self.fold_entry(group, value, block);
            }
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
            for ((value, block), count) in self.pending.get(group).into_iter().flatten() {
                K::save(value, &mut bytes);
                bytes.put_u64(*block);
                bytes.put_i64(*count);
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
        let entry = size_of::<(K::Value, u64)>() + 8;
        self.best.capacity() * size_of::<Option<K::Value>>() + self.pending_entries * 2 * entry
    }
}
