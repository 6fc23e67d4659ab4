//! `min_by(x, y)` and `max_by(x, y)` of numbers of up to 64 bits; of other types see [`super::collection`], with
//! which it shares the order: by y, of equal y the least x, NULL last.
//!
//! State: one entry for each distinct (group, y, x); in place while a group has one, as most have, a tree for groups
//! with several. A change takes time in the logarithm of these.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::extremes::Side;
use super::sortable::Sortable;
use super::{Accumulator, Failures, Rows};
use crate::codec::{Decoder, Encode as _, Truncated};

/// Bytes of an entry in a tree that is two thirds full.
const ENTRY_BYTES: usize = 48;

/// What a group may show, in the order in which it is looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Candidate {
    /// The y, all bits turned for `max_by`.
    order: u64,
    is_null: bool,
    /// The x, 0 for NULL.
    value: u64,
}

/// How many rows of a group there are of a candidate.
type Counted = (Candidate, i64);

/// What a group has.
#[derive(Clone, Copy, Default)]
struct Held {
    order: u64,
    value: u64,
    /// Not zero of one candidate.
    count: i32,
    is_null: bool,
    /// The group is among the trees.
    several: bool,
}

impl Held {
    /// One candidate, if so many rows can be held in place.
    fn one((candidate, count): Counted) -> Option<Held> {
        let Candidate { order, is_null, value } = candidate;
        i32::try_from(count).ok().map(|count| Held { order, value, count, is_null, several: false })
    }

    fn get(&self) -> Option<Counted> {
        let Held { order, value, count, is_null, .. } = *self;
        (count != 0).then_some((Candidate { order, is_null, value }, i64::from(count)))
    }
}

/// Keeps the candidates of each group.
pub(super) struct ExtremeBy {
    side: Side,
    shown: Sortable,
    order: Sortable,
    held: Vec<Held>,
    /// Of groups with several candidates, or too many rows of one to be held in place.
    trees: HashMap<u32, BTreeMap<Candidate, i64>, FixedState>,
    /// Entries of all trees.
    in_trees: usize,
}

impl ExtremeBy {
    /// `min_by` or `max_by` of these x and y; `None` if they are not both such numbers.
    pub(super) fn new(side: Side, arguments: &[&Field]) -> Option<ExtremeBy> {
        let [shown, order] = arguments else { return None };
        let (shown, order) = (Sortable::new(shown.data_type())?, Sortable::new(order.data_type())?);
        Some(ExtremeBy { side, shown, order, held: Vec::new(), trees: HashMap::default(), in_trees: 0 })
    }

    #[inline]
    fn add(&mut self, group: u32, candidate: Candidate, diff: i64) {
        let held = &mut self.held[group as usize];
        let count = match held.get() {
            None if !held.several => diff,
            Some((known, count)) if known == candidate => count + diff,
            Some(_) | None => return self.add_to_tree(group, candidate, diff),
        };
        match Held::one((candidate, count)) {
            Some(one) => *held = one,
            None => self.add_to_tree(group, candidate, diff),
        }
    }

    /// Turns what is held in place into a tree, if it is not one, and back when one is left.
    #[cold]
    fn add_to_tree(&mut self, group: u32, candidate: Candidate, diff: i64) {
        let held = &mut self.held[group as usize];
        let tree = self.trees.entry(group).or_default();
        self.in_trees -= tree.len();
        tree.extend(held.get());
        *tree.entry(candidate).or_default() += diff;
        if tree[&candidate] == 0 {
            tree.remove(&candidate);
        }
        self.in_trees += tree.len();
        let first = tree.first_key_value().map(|(candidate, count)| (*candidate, *count));
        let in_place = if tree.len() > 1 { None } else { first.map_or(Some(Held::default()), Held::one) };
        *held = in_place.unwrap_or(Held { several: true, ..Held::default() });
        if in_place.is_some() {
            self.in_trees -= tree.len();
            self.trees.remove(&group);
        }
    }

    /// The candidates of a group in order.
    fn candidates(&self, group: u32) -> impl Iterator<Item = Counted> {
        let held = &self.held[group as usize];
        let tree = held.several.then(|| &self.trees[&group]);
        held.get().into_iter().chain(tree.into_iter().flatten().map(|(candidate, count)| (*candidate, *count)))
    }

    #[inline]
    fn result(&self, group: u32) -> Option<u64> {
        let (candidate, _) = self.candidates(group).find(|(_, count)| *count > 0)?;
        (!candidate.is_null).then_some(candidate.value)
    }
}

impl Accumulator for ExtremeBy {
    fn resize(&mut self, slots: usize) {
        if slots < self.held.len() {
            self.trees.retain(|group, _| (*group as usize) < slots);
            self.in_trees = self.trees.values().map(BTreeMap::len).sum();
        }
        self.held.resize(slots, Held::default());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let [shown, order] = rows.arguments else { unreachable!("the function was built with two arguments") };
        let (shown, order) = (self.shown.open(shown), self.order.open(order));
        let turn = if self.side == Side::Largest { u64::MAX } else { 0 };
        rows.each(|row, group, diff| {
            let is_null = shown.is_null(row);
            let value = if is_null { 0 } else { shown.value(row) };
            let group = u32::try_from(group).expect("groups are numbered with 32 bits");
            self.add(group, Candidate { order: order.value(row) ^ turn, is_null, value }, diff);
        });
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        self.shown.array(groups.iter().map(|group| self.result(*group)))
    }

    fn reset(&mut self, group: u32) {
        if std::mem::take(&mut self.held[group as usize]).several {
            self.in_trees -= self.trees.remove(&group).map_or(0, |tree| tree.len());
        }
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        let save = |group: &u32| {
            let mut bytes = Vec::new();
            for (candidate, count) in self.candidates(*group) {
                bytes.put_u64(candidate.order);
                bytes.push(u8::from(candidate.is_null));
                bytes.put_u64(candidate.value);
                bytes.put_i64(count);
            }
            bytes
        };
        groups.iter().map(save).collect()
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        while !state.0.is_empty() {
            let order = state.u64()?;
            let [is_null] = state.take()?;
            let candidate = Candidate { order, is_null: is_null != 0, value: state.u64()? };
            self.add(group, candidate, state.i64()?);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.held.capacity() * size_of::<Held>()
            + self.trees.capacity() * size_of::<(u32, BTreeMap<Candidate, i64>)>()
            + self.in_trees * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use proptest::prelude::*;

    use super::*;

    const GROUPS: u32 = 3;

    fn empty() -> ExtremeBy {
        let field = Field::new("number", DataType::Int64, true);
        let mut by = ExtremeBy::new(Side::Smallest, &[&field, &field]).expect("numbers");
        by.resize(GROUPS as usize);
        by
    }

    fn candidate() -> impl Strategy<Value = Candidate> {
        let value = proptest::option::of(0_u64..2);
        (0_u64..2, value).prop_map(|(order, value)| Candidate {
            order,
            is_null: value.is_none(),
            value: value.unwrap_or(0),
        })
    }

    /// Some more than can be held in place.
    fn diff() -> impl Strategy<Value = i64> {
        prop_oneof![4 => -2_i64..=2, 1 => prop::sample::select(vec![1 << 31, -(1 << 31), i64::from(i32::MAX)])]
    }

    proptest! {
        /// A group has what was added to it, however it is held, and shows the first that is there.
        #[test]
        fn candidates_are_those_of_a_map(
            changes in prop::collection::vec((0..GROUPS, candidate(), diff(), 0_u8..12), 0..60),
        ) {
            let (mut by, mut known) = (empty(), vec![BTreeMap::new(); GROUPS as usize]);
            for (group, candidate, diff, step) in changes {
                let of_group = &mut known[group as usize];
                match step {
                    0 => {
                        by.reset(group);
                        of_group.clear();
                    }
                    1 => {
                        let saved = by.save(&[0, 1, 2]);
                        by = empty();
                        for (group, state) in (0..).zip(&saved) {
                            by.load(group, &mut Decoder(state)).expect("it was saved");
                        }
                    }
                    _ => {
                        by.add(group, candidate, diff);
                        *of_group.entry(candidate).or_insert(0) += diff;
                        of_group.retain(|_, count| *count != 0);
                    }
                }
                for (group, known) in (0..).zip(&known) {
                    let expected: Vec<Counted> = known.iter().map(|(candidate, count)| (*candidate, *count)).collect();
                    prop_assert_eq!(by.candidates(group).collect::<Vec<_>>(), expected.clone());
                    let first = expected.iter().find(|(_, count)| *count > 0).map(|(candidate, _)| candidate);
                    let shown = first.and_then(|candidate| (!candidate.is_null).then_some(candidate.value));
                    prop_assert_eq!(by.result(group), shown);
                }
                let in_trees: usize = by.trees.values().map(BTreeMap::len).sum();
                prop_assert_eq!(by.in_trees, in_trees);
                let needed = |tree: &BTreeMap<Candidate, i64>| tree.len() > 1 || tree.values().all(|count| i32::try_from(*count).is_err());
                prop_assert!(by.trees.values().all(needed));
            }
            by.resize(0);
            prop_assert_eq!((by.in_trees, by.trees.len()), (0, 0));
        }
    }
}
