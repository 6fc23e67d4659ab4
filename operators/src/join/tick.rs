//! One tick: what changed enters the state, meets the other side, and goes out.
//!
//! A row is told apart from what it was before the tick by its slot, so a pair goes out once with its net
//! change: `after(l) * after(r) - before(l) * before(r)`.

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array};
use arrow::datatypes::Int64Type;
use highwater_engine::model::{Delta, Origin};
use highwater_engine::operator::Output;
use highwater_engine::rows::PackedRows;

use super::changes::{Changes, refuse};
use super::emit::{Emission, Rows};
use super::spec::{JoinKind, LEFT, RIGHT, Retain, Solo};
use super::state::Side;
use super::{Join, NEVER};
use crate::broadcast_join::all_present;
use crate::rows::{as_i64, value};

/// Pairs or rows that go out as one batch.
const BATCH_ROWS: usize = 1 << 14;

/// Pairs of a row of the tick with a kept row.
#[derive(Default)]
struct Pairs {
    /// Ids of the rows, left and right.
    ids: [Vec<u32>; 2],
    /// The rows of the tick.
    rows: Vec<u32>,
    diffs: Vec<i64>,
}

/// Rows by themselves: where they are found, their change, and whether they have a match.
#[derive(Default)]
struct Solos {
    rows: Vec<u32>,
    diffs: Vec<i64>,
    marks: Vec<bool>,
}

impl Solos {
    fn add(&mut self, row: u32, diff: i64, matched: bool) {
        self.rows.push(row);
        self.diffs.push(diff);
        self.marks.push(matched);
    }

    /// Brings together what comes and goes at once.
    fn consolidate(&mut self, rows: &PackedRows) {
        if self.diffs.iter().all(|diff| diff.signum() == self.diffs[0].signum()) {
            return;
        }
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|at| rows.row(self.rows[*at] as usize));
        let all = std::mem::take(self);
        for same in
            order.chunk_by(|one, other| rows.row(all.rows[*one] as usize) == rows.row(all.rows[*other] as usize))
        {
            let diff = same.iter().map(|at| all.diffs[*at]).sum();
            if diff != 0 {
                self.add(all.rows[same[0]], diff, all.marks[same[0]]);
            }
        }
    }

    /// What a row shows now against what it showed before the tick: how often it is there, whether it matches.
    fn compare(&mut self, solo: Solo, row: u32, before: (i64, bool), after: (i64, bool)) {
        for mark in [false, true] {
            let shown = |(count, matched): (i64, bool)| if matched == mark { count } else { 0 };
            let diff = shown(after) - shown(before);
            if diff != 0 && solo.shows(mark) {
                self.add(row, diff, mark);
            }
        }
    }
}

impl Join {
    /// Takes changes of one tick, or of one block of it. `closes`: the block, if what is kept goes with it.
    pub(super) fn change(
        &mut self,
        deltas: &[Vec<Delta>; 2],
        closes: Option<i64>,
        origin: Origin,
        output: &mut Output,
    ) {
        let changes = [LEFT, RIGHT]
            .map(|side| Changes::gather(&deltas[side], &self.columns.keys[side], &self.columns.kept[side]));
        if changes.iter().all(Changes::is_empty) {
            return;
        }
        let solos = [LEFT, RIGHT].map(|side| self.enter(side, &deltas[side], &changes[side], closes, output));
        if self.spec.kind.shows_pairs() || self.condition.is_some() {
            self.meet(LEFT, &changes, origin, output);
            self.meet(RIGHT, &changes, origin, output);
        }
        for (side, solos) in solos.into_iter().enumerate() {
            if self.spec.kind.solo(side) != Solo::Never {
                self.stand_alone(side, solos, &changes[side].columns, origin, output);
            }
        }
        self.settle();
    }

    /// Puts the changes of a side into the state; the rows that cannot match anything.
    fn enter(
        &mut self,
        side: usize,
        deltas: &[Delta],
        changes: &Changes,
        closes: Option<i64>,
        output: &mut Output,
    ) -> Solos {
        let mut alone = Solos::default();
        if changes.is_empty() {
            return alone;
        }
        let keys = self.key_codec.encode(&changes.keys, changes.len());
        let rows = self.codecs[side].encode(&changes.columns, changes.len());
        let nulls_match = self.spec.null_equals_null || self.spec.kind == JoinKind::NullAwareAnti;
        let present = if nulls_match { None } else { all_present(&changes.keys) };
        let times: Option<ArrayRef> = match self.spec.retain {
            Retain::KeyTime(position) => Some(as_i64(&changes.keys[position])),
            Retain::Forever | Retain::Block => None,
        };
        let times: Option<&Int64Array> = times.as_ref().map(|times| times.as_primitive::<Int64Type>());
        let shows_unmatched = self.spec.kind.solo(side).shows(false);
        let regions = self.regions.of(&changes.keys);
        let mut late = Vec::new();
        let mut entering = Vec::with_capacity(changes.len());
        for row in 0..changes.len() {
            let (place, diff) = (u32::try_from(row).expect("a tick has fewer than 2^32 rows"), changes.diffs[row]);
            let closes = times.map_or(closes, |times| value(times, row));
            if times.is_some() && closes.is_some() && closes <= self.closed_ms {
                late.push(row);
            } else if present.as_ref().is_some_and(|present| present.is_null(row)) {
                if shows_unmatched && diff != 0 {
                    alone.add(place, diff, false);
                }
            } else if diff != 0 {
                entering.push((place, self.key(regions.at(row), keys.row(row), closes)));
            }
        }
        self.sides[side].make_room(self.keys.slots());
        for (place, key) in entering {
            let row = place as usize;
            self.sides[side].change(key, rows.row(row), place, changes.diffs[row]);
        }
        refuse(deltas, &late, output);
        alone.consolidate(&rows);
        alone
    }

    /// The id of the key that is NULL, if it is there.
    fn null_key(&self) -> Option<u32> {
        self.keys.find_in(self.regions.of_null(), &self.null_key)
    }

    /// The id of a key, and a note of when it is dropped.
    pub(super) fn key(&mut self, region: i64, bytes: &[u8], closes: Option<i64>) -> u32 {
        let key = self.keys.find_or_insert_in(region, bytes);
        let Some(closes) = closes else { return key };
        if key as usize >= self.closes.len() {
            self.closes.resize(key as usize + 1, NEVER);
        }
        let noted = &mut self.closes[key as usize];
        if *noted == NEVER {
            *noted = closes;
            self.closing.entry(closes).or_default().push(key);
        }
        key
    }

    /// The pairs of the rows of one side that changed; those of two changed rows are met from the left.
    fn meet(&mut self, side: usize, changes: &[Changes; 2], origin: Origin, output: &mut Output) {
        let counts = self.sides.iter().any(Side::counts_matches);
        let mut pairs = Pairs::default();
        // By place, because pairs change what is known of the rows.
        for index in 0..self.sides[side].touched.len() {
            let touched = self.sides[side].touched[index];
            let one = self.sides[side].slot(touched.id);
            if one.change == 0 {
                continue;
            }
            for place in 0..self.sides[1 - side].rows_of(one.key).len() {
                let id = self.sides[1 - side].rows_of(one.key)[place];
                let other = self.sides[1 - side].slot(id);
                if side == RIGHT && other.change != 0 {
                    continue;
                }
                let diff = one.after() * other.after() - one.before * other.before;
                if diff == 0 && !counts {
                    continue;
                }
                pairs.ids[side].push(touched.id);
                pairs.ids[1 - side].push(id);
                pairs.rows.push(touched.row);
                pairs.diffs.push(diff);
                if pairs.diffs.len() == BATCH_ROWS {
                    self.show_pairs(side, std::mem::take(&mut pairs), changes, origin, output);
                }
            }
        }
        self.show_pairs(side, pairs, changes, origin, output);
    }

    fn show_pairs(
        &mut self,
        side: usize,
        mut pairs: Pairs,
        changes: &[Changes; 2],
        origin: Origin,
        output: &mut Output,
    ) {
        if pairs.diffs.is_empty() {
            return;
        }
        let mut emission = Emission { columns: &self.columns, origin, output };
        let other = 1 - side;
        let met = Rows::stored(&self.sides[other], &self.codecs[other], &pairs.ids[other], &mut self.places);
        let changed = Rows::Changed(&changes[side].columns, std::mem::take(&mut pairs.rows));
        let mut rows = if side == LEFT { [changed, met] } else { [met, changed] };
        if let Some(condition) = &mut self.condition {
            let batch = emission.pairs(&rows, pairs.diffs.len());
            let (flags, errors) = condition.evaluate(&batch);
            let mut keep: Vec<bool> = (0..flags.len()).map(|row| flags.is_valid(row) && flags.value(row)).collect();
            errors.iter().for_each(|(row, _)| keep[*row] = false);
            emission.errors(&batch, errors, &pairs.diffs);
            count_matches(&mut self.sides, &pairs.ids, &keep);
            if !self.spec.kind.shows_pairs() {
                return;
            }
            keep.iter_mut().zip(&pairs.diffs).for_each(|(keep, diff)| *keep &= *diff != 0);
            if keep.contains(&false) {
                rows.iter_mut().for_each(|rows| rows.retain(&keep));
                let mut flags = keep.iter();
                pairs.diffs.retain(|_| *flags.next().expect("a flag for each pair"));
            }
        }
        emission.rows(&rows, None, pairs.diffs);
    }

    /// Rows of a side that show by themselves: those that changed, and those whose matches did.
    fn stand_alone(
        &mut self,
        side: usize,
        mut changed: Solos,
        columns: &[ArrayRef],
        origin: Origin,
        output: &mut Output,
    ) {
        let solo = self.spec.kind.solo(side);
        for touched in &self.sides[side].touched {
            let slot = self.sides[side].slot(touched.id);
            let (before, after) = self.matched(side, touched.id);
            changed.compare(solo, touched.row, (slot.before, before), (slot.after(), after));
        }
        let mut kept = Solos::default();
        for id in self.rematched(side) {
            let slot = self.sides[side].slot(id);
            if !slot.touched {
                let (before, after) = self.matched(side, id);
                kept.compare(solo, id, (slot.before, before), (slot.before, after));
            }
        }
        let mut emission = Emission { columns: &self.columns, origin, output };
        let with_other = |rows| if side == LEFT { [rows, Rows::Missing] } else { [Rows::Missing, rows] };
        emission.rows(&with_other(Rows::Changed(columns, changed.rows)), Some(changed.marks), changed.diffs);
        for start in (0..kept.rows.len()).step_by(BATCH_ROWS) {
            let range = start..kept.rows.len().min(start + BATCH_ROWS);
            let ids = &kept.rows[range.clone()];
            let rows = Rows::stored(&self.sides[side], &self.codecs[side], ids, &mut self.places);
            emission.rows(&with_other(rows), Some(kept.marks[range.clone()].to_vec()), kept.diffs[range].to_vec());
        }
    }

    /// Whether a row had a match before the tick, and whether it has one after.
    fn matched(&self, side: usize, id: u32) -> (bool, bool) {
        if self.sides[side].counts_matches() {
            let matches = self.sides[side].matches(id);
            return (matches.before > 0, matches.before + matches.change > 0);
        }
        let (key, other) = (self.sides[side].slot(id).key, &self.sides[1 - side]);
        let both = |(before, change): (i64, i64)| (before > 0, before + change > 0);
        if self.spec.kind != JoinKind::NullAwareAnti {
            return both(other.total(key));
        }
        // NULL is equal to nothing known: it may match any row, and a NULL among the others may match it.
        let null = self.null_key();
        if null == Some(key) {
            return both((other.before, other.change));
        }
        let (nulls, equal) = (both(null.map_or((0, 0), |null| other.total(null))), both(other.total(key)));
        (nulls.0 || equal.0, nulls.1 || equal.1)
    }

    /// Rows of a side that may have got their first match or lost their last.
    fn rematched(&self, side: usize) -> Vec<u32> {
        let (one, other) = (&self.sides[side], &self.sides[1 - side]);
        if one.counts_matches() {
            return one.rematched.clone();
        }
        let turned = |(before, change): (i64, i64)| (before > 0) != (before + change > 0);
        if self.spec.kind == JoinKind::NullAwareAnti {
            let nulls = self.null_key().map_or((0, 0), |null| other.total(null));
            if turned(nulls) {
                return one.ids();
            }
            if turned((other.before, other.change)) {
                let null = self.null_key().map_or(&[][..], |null| one.rows_of(null));
                return null.iter().copied().chain(self.turned_keys(side)).collect();
            }
        }
        self.turned_keys(side).collect()
    }

    /// Rows of the keys whose first row came or whose last row went on the other side.
    fn turned_keys(&self, side: usize) -> impl Iterator<Item = u32> {
        let (one, other) = (&self.sides[side], &self.sides[1 - side]);
        let turned = move |key: &u32| {
            let (before, change) = other.total(*key);
            (before > 0) != (before + change > 0)
        };
        let keys = other.touched_keys.iter().map(|touched| touched.key);
        keys.filter(turned).flat_map(|key| one.rows_of(key)).copied()
    }

    pub(super) fn settle(&mut self) {
        self.sides.iter_mut().for_each(Side::settle);
        let touched = self.sides.each_mut().map(|side| std::mem::take(&mut side.touched_keys));
        for key in touched.into_iter().flatten().map(|touched| touched.key) {
            let stays = self.closes.get(key as usize).is_some_and(|closes| *closes != NEVER);
            if !stays && self.sides.iter().all(|side| side.rows_of(key).is_empty()) {
                self.keys.remove(key);
            }
        }
    }
}

/// Pairs that match, counted on both sides. A new row counts all rows that it meets, an older one only what changed.
fn count_matches(sides: &mut [Side; 2], ids: &[Vec<u32>; 2], keep: &[bool]) {
    for (place, _) in keep.iter().enumerate().filter(|(_, keep)| **keep) {
        let slots = [LEFT, RIGHT].map(|side| sides[side].slot(ids[side][place]));
        for side in [LEFT, RIGHT].into_iter().filter(|side| sides[*side].counts_matches()).collect::<Vec<_>>() {
            let other = &slots[1 - side];
            let change = if slots[side].before == 0 { other.after() } else { other.change };
            sides[side].rematch(ids[side][place], change);
        }
    }
}
