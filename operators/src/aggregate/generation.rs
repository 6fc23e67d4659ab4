//! The groups that close together: their keys, their states, and what they looked like before this tick.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, Int64Array, LargeBinaryBuilder, make_comparator};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{SortOptions, and, concat, filter};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{Diffs, RegionColumn};
use highwater_engine::rows::{KeyTable, PackedCodec, PackedRows};

use super::accumulators::{Accumulator, Failures, Rows, accumulator, selection};
use super::spec::{AggregateError, AggregateSpec};
use crate::codec::{Decoder, Truncated};
use crate::rows::Permanence;

/// Rows of one part for one generation.
pub(super) struct Slice<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) diffs: &'a Diffs,
    pub(super) permanence: &'a Permanence,
    pub(super) finalized_number: Option<u64>,
    /// The encoded keys of the whole part.
    pub(super) keys: &'a PackedRows,
    /// The regions they are in.
    pub(super) regions: &'a RegionColumn<'a>,
    /// Where in the part the slice starts.
    pub(super) offset: usize,
}

/// What a tick changed in a generation.
#[derive(Default)]
pub(super) struct Changes {
    /// Rows that go.
    pub(super) old: Columns,
    /// Rows that come.
    pub(super) new: Columns,
    /// Groups whose result failed: key bytes, why, and the change.
    pub(super) failures: Vec<(Vec<u8>, String, i64)>,
}

/// Rows of the output.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) rows: usize,
}

/// How many rows a group has, which exists while it has any, and whether the tick touches it.
///
/// Twice the number, and 1 if touched: groups are gone to at random, so what is read together lies together.
#[derive(Clone, Copy, Default)]
struct Presence(i64);

impl Presence {
    fn rows(self) -> i64 {
        self.0 >> 1
    }

    fn add(&mut self, rows: i64) {
        self.0 += rows << 1;
    }

    /// The tick touches it; whether for the first time.
    fn touch(&mut self) -> bool {
        let first = self.0 & 1 == 0;
        self.0 |= 1;
        first
    }

    /// The end of the tick.
    fn settle(&mut self) {
        self.0 &= !1;
    }
}

/// The states of a call.
enum Call {
    /// `count(*)` of all rows: how many the groups have.
    Rows,
    Of(Box<dyn Accumulator>),
}

/// Groups with their states.
///
/// Dropping a generation forgets its groups without retracting their rows: that is how closed windows
/// leave memory, and why the tables stay small enough for the cache.
pub(super) struct Generation {
    keys: KeyTable,
    /// By group.
    presence: Vec<Presence>,
    calls: Vec<Call>,
    /// The one group of an aggregate without keys: always there.
    global: bool,
    /// Whether the row of the global group has been emitted.
    published: bool,
    /// Groups touched in this tick that had a row before it.
    existing: Vec<u32>,
    /// Groups touched in this tick that had none.
    created: Vec<u32>,
    /// Results of `existing` before the tick, in pieces, for each call.
    before: Vec<Vec<ArrayRef>>,
    failed_before: Failures,
    /// Scratch: the group of each row.
    groups: Vec<u32>,
}

impl Generation {
    pub(super) fn new(spec: &AggregateSpec) -> Result<Generation, AggregateError> {
        let mut calls = Vec::with_capacity(spec.calls.len());
        for call in &spec.calls {
            calls.push(if call.is_of_all_rows() { Call::Rows } else { Call::Of(accumulator(spec, call)?) });
        }
        let mut generation = Generation {
            keys: KeyTable::default(),
            presence: Vec::new(),
            before: vec![Vec::new(); calls.len()],
            calls,
            global: spec.keys.is_empty(),
            published: false,
            existing: Vec::new(),
            created: Vec::new(),
            failed_before: Vec::new(),
            groups: Vec::new(),
        };
        if generation.global {
            generation.keys.find_or_insert(&[]);
            generation.grow();
        }
        Ok(generation)
    }

    /// Adds rows.
    pub(super) fn apply(&mut self, spec: &AggregateSpec, slice: &Slice<'_>) {
        let rows = slice.batch.num_rows();
        let old_existing = self.existing.len();
        self.map_groups(slice, rows);
        self.grow();
        self.remember(old_existing);
        self.count_rows(slice.diffs);
        for (call, states) in spec.calls.iter().zip(&mut self.calls) {
            let Call::Of(accumulator) = states else { continue };
            let column = |index: usize| slice.batch.column(index).clone();
            let arguments: Vec<ArrayRef> = call.arguments.iter().map(|index| column(*index)).collect();
            let order: Vec<ArrayRef> = call.order_by.iter().map(|(index, _)| column(*index)).collect();
            let filter = call.filter.map(|index| slice.batch.column(index).as_boolean());
            let takes_null = |position| call.function.takes_null(position, &call.parameters);
            let required = arguments.iter().enumerate().filter(|(position, _)| !takes_null(*position));
            let selected = selection(required.map(|(_, argument)| argument), filter);
            accumulator.update(&Rows {
                groups: &self.groups,
                diffs: slice.diffs,
                arguments: &arguments,
                order: &order,
                selected: selected.as_ref(),
                permanence: slice.permanence,
                finalized_number: slice.finalized_number,
            });
        }
    }

    /// Finds the group of each row, and which groups are touched for the first time in this tick.
    fn map_groups(&mut self, slice: &Slice<'_>, rows: usize) {
        self.groups.clear();
        self.groups.reserve(rows);
        for row in slice.offset..slice.offset + rows {
            let group = self.keys.find_or_insert_in(slice.regions.at(row), slice.keys.row(row));
            let index = group as usize;
            if index >= self.presence.len() {
                self.presence.push(Presence::default());
            }
            let presence = &mut self.presence[index];
            if presence.touch() {
                let exists = if self.global { self.published } else { presence.rows() > 0 };
                if exists { &mut self.existing } else { &mut self.created }.push(group);
            }
            self.groups.push(group);
        }
    }

    fn grow(&mut self) {
        let slots = self.keys.slots();
        self.presence.resize(slots, Presence::default());
        self.accumulators_mut().for_each(|accumulator| accumulator.resize(slots));
    }

    fn accumulators(&self) -> impl Iterator<Item = &dyn Accumulator> {
        self.calls.iter().filter_map(|call| match call {
            Call::Rows => None,
            Call::Of(accumulator) => Some(accumulator.as_ref()),
        })
    }

    fn accumulators_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn Accumulator>> {
        self.calls.iter_mut().filter_map(|call| match call {
            Call::Rows => None,
            Call::Of(accumulator) => Some(accumulator),
        })
    }

    /// What a call shows of these groups.
    fn evaluate(&self, call: &Call, groups: &[u32], failures: &mut Failures) -> ArrayRef {
        match call {
            Call::Rows => {
                let rows = groups.iter().map(|group| self.presence[*group as usize].rows());
                Arc::new(Int64Array::from_iter_values(rows))
            }
            Call::Of(accumulator) => accumulator.evaluate(groups, failures),
        }
    }

    /// Keeps the results of the newly touched groups as they were before the tick.
    fn remember(&mut self, from: usize) {
        if self.existing.len() == from {
            return;
        }
        for place in 0..self.calls.len() {
            let mut failures = Failures::new();
            let results = self.evaluate(&self.calls[place], &self.existing[from..], &mut failures);
            self.before[place].push(results);
            self.failed_before.extend(failures.into_iter().map(|(position, why)| (from + position, why)));
        }
    }

    fn count_rows(&mut self, diffs: &Diffs) {
        let presence = self.presence.as_mut_slice();
        match diffs {
            Diffs::Uniform(diff) => self.groups.iter().for_each(|group| presence[*group as usize].add(*diff)),
            Diffs::Rows(diffs) => {
                self.groups.iter().zip(diffs.iter()).for_each(|(group, diff)| presence[*group as usize].add(*diff));
            }
        }
    }

    /// What changed since the last call; groups without rows are forgotten.
    pub(super) fn finish(&mut self, codec: &PackedCodec) -> Option<Changes> {
        if self.global && !self.published && self.created.is_empty() {
            self.created.push(0);
        }
        if self.existing.is_empty() && self.created.is_empty() {
            return None;
        }
        let changes = self.changes(codec);
        self.forget();
        changes
    }

    fn changes(&mut self, codec: &PackedCodec) -> Option<Changes> {
        let existing = self.existing.len();
        let touched: Vec<u32> = self.existing.iter().chain(&self.created).copied().collect();
        let mut failed = Failures::new();
        let after: Vec<ArrayRef> = self.calls.iter().map(|call| self.evaluate(call, &touched, &mut failed)).collect();
        let before: Vec<ArrayRef> =
            self.before.iter_mut().zip(&after).map(|(pieces, after)| join(std::mem::take(pieces), after)).collect();

        let mut keep_before = vec![true; existing];
        let mut keep_after: Vec<bool> =
            touched.iter().map(|group| self.global || self.presence[*group as usize].rows() > 0).collect();
        let failures = self.failures(&touched, failed, &mut keep_before, &mut keep_after);
        drop_unchanged(&before, &after, &mut keep_before, &mut keep_after);

        let keys = self.key_columns(&touched, codec);
        let old_rows = Side::new(keep_before);
        let new_rows = Side::new(keep_after);
        if old_rows.kept + new_rows.kept == 0 && failures.is_empty() {
            return None;
        }
        let old_keys = keys.iter().map(|column| column.slice(0, existing));
        let old = old_keys.chain(before).map(|column| old_rows.of(&column)).collect();
        let old = Columns { columns: old, rows: old_rows.kept };
        let new = keys.iter().chain(&after).map(|column| new_rows.of(column)).collect();
        let new = Columns { columns: new, rows: new_rows.kept };
        Some(Changes { old, new, failures })
    }

    /// Rows that failed before or fail now have an error instead of a row.
    fn failures(
        &mut self,
        touched: &[u32],
        failed: Failures,
        keep_before: &mut [bool],
        keep_after: &mut [bool],
    ) -> Vec<(Vec<u8>, String, i64)> {
        let failed_before = std::mem::take(&mut self.failed_before);
        let mut changes: BTreeMap<(usize, String), i64> = BTreeMap::new();
        for (position, why) in failed_before {
            keep_before[position] = false;
            *changes.entry((position, why)).or_default() -= 1;
        }
        let alive = keep_after.to_vec();
        for (position, why) in failed.into_iter().filter(|(position, _)| alive[*position]) {
            keep_after[position] = false;
            *changes.entry((position, why)).or_default() += 1;
        }
        let named = |((position, why), diff)| (self.keys.key(touched[position]).to_vec(), why, diff);
        changes.into_iter().filter(|(_, diff)| *diff != 0).map(named).collect()
    }

    fn key_columns(&self, groups: &[u32], codec: &PackedCodec) -> Vec<ArrayRef> {
        if self.global {
            return Vec::new();
        }
        codec.decode(groups.iter().map(|group| self.keys.key(*group))).columns().to_vec()
    }

    /// Ends the tick: groups without rows go, and nothing is touched any more.
    fn forget(&mut self) {
        for group in self.existing.drain(..).chain(self.created.drain(..)) {
            let presence = &mut self.presence[group as usize];
            presence.settle();
            if presence.rows() == 0 && !self.global {
                for call in &mut self.calls {
                    if let Call::Of(accumulator) = call {
                        accumulator.reset(group);
                    }
                }
                self.keys.remove(group);
            }
        }
        self.published = true;
    }

    /// Rows of blocks up to this height are not taken back any more.
    pub(super) fn fold(&mut self, finalized_number: u64) {
        self.accumulators_mut().for_each(|accumulator| accumulator.fold(finalized_number));
    }

    /// Forgets everything, keeping memory.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.presence.clear();
        self.accumulators_mut().for_each(|accumulator| accumulator.resize(0));
    }

    /// Groups held.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes()
            + self.presence.capacity() * size_of::<Presence>()
            + self.accumulators().map(Accumulator::bytes).sum::<usize>()
    }

    /// Appends the groups, in key order: key, row count, and a state for each call.
    pub(super) fn save(&self, codec: &PackedCodec, saved: &mut SavedGroups) {
        let groups = self.keys.ids();
        let packed: Vec<&[u8]> = groups.iter().map(|group| self.keys.key(*group)).collect();
        let keys = codec.portable(&packed);
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_unstable_by(|a, b| keys.row(*a).cmp(&keys.row(*b)));
        order.iter().for_each(|place| saved.keys.append_value(keys.row(*place)));
        let groups: Vec<u32> = order.iter().map(|place| groups[*place]).collect();
        let rows = groups.iter().map(|group| self.presence[*group as usize].rows());
        for (call, states) in self.calls.iter().zip(&mut saved.states) {
            match call {
                Call::Rows => states.extend(rows.clone().map(|rows| rows.to_le_bytes().to_vec())),
                Call::Of(accumulator) => states.extend(accumulator.save(&groups)),
            }
        }
        saved.counts.extend(rows);
    }

    /// Puts back a saved group; its row has been published.
    pub(super) fn load(
        &mut self,
        region: i64,
        key: &[u8],
        count: i64,
        states: &mut [Decoder<'_>],
    ) -> Result<(), Truncated> {
        let group = self.keys.find_or_insert_in(region, key);
        self.grow();
        self.published = true;
        self.presence[group as usize].add(count);
        for (call, state) in self.calls.iter_mut().zip(states) {
            match call {
                Call::Rows => drop(state.i64()?),
                Call::Of(accumulator) => accumulator.load(group, state)?,
            }
        }
        Ok(())
    }
}

/// Groups as they are saved.
pub(super) struct SavedGroups {
    pub(super) keys: LargeBinaryBuilder,
    pub(super) counts: Vec<i64>,
    /// One column a call.
    pub(super) states: Vec<Vec<Vec<u8>>>,
}

/// One array of several pieces of the type of `like`.
fn join(mut pieces: Vec<ArrayRef>, like: &ArrayRef) -> ArrayRef {
    pieces.retain(|piece| !piece.is_empty());
    match pieces.len() {
        0 => like.slice(0, 0),
        1 => pieces.remove(0),
        _ => {
            let references: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            concat(&references).expect("the pieces are columns of one type")
        }
    }
}

/// A row that is the same before and after is not a change.
fn drop_unchanged(before: &[ArrayRef], after: &[ArrayRef], keep_before: &mut [bool], keep_after: &mut [bool]) {
    let existing = keep_before.len();
    if existing == 0 {
        return;
    }
    let mut same: Option<BooleanArray> = None;
    for (before, after) in before.iter().zip(after) {
        let equal = same_values(before, &after.slice(0, existing));
        let all = match same {
            Some(same) => and(&same, &equal).expect("both have one entry a group"),
            None => equal,
        };
        if !all.has_true() {
            return;
        }
        same = Some(all);
    }
    for index in 0..existing {
        let equal = same.as_ref().is_none_or(|same| same.value(index));
        if equal && keep_before[index] && keep_after[index] {
            keep_before[index] = false;
            keep_after[index] = false;
        }
    }
}

/// Which results are the same in both.
fn same_values(left: &ArrayRef, right: &ArrayRef) -> BooleanArray {
    const ONE_TYPE: &str = "both are results of one function";
    if !left.data_type().is_nested() {
        return not_distinct(left, right).expect(ONE_TYPE);
    }
    let compare = make_comparator(left, right, SortOptions::default()).expect(ONE_TYPE);
    (0..left.len()).map(|row| Some(compare(row, row).is_eq())).collect()
}

/// Which rows of one side of the change are shown.
struct Side {
    kept: usize,
    mask: Option<BooleanArray>,
}

impl Side {
    fn new(keep: Vec<bool>) -> Side {
        let kept = keep.iter().filter(|keep| **keep).count();
        let mask = (kept < keep.len()).then(|| BooleanArray::from(keep));
        Side { kept, mask }
    }

    fn of(&self, column: &ArrayRef) -> ArrayRef {
        match &self.mask {
            None => column.clone(),
            Some(mask) => filter(column, mask).expect("the mask has one entry a row"),
        }
    }
}
