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
use crate::rows::{as_i64, turns, value};

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

impl Pairs {
    /// A row of the tick, of one side, with a kept row of the other.
    #[inline]
    fn add(&mut self, side: usize, id: u32, other: u32, row: u32, diff: i64) {
        self.ids[side].push(id);
        self.ids[1 - side].push(other);
        self.rows.push(row);
        self.diffs.push(diff);
    }
}

/// What comes to a side: places among its changes with the ids of their keys.
struct Enter {
    entering: Vec<(u32, u32)>,
    /// Rows that cannot match anything.
    alone: Solos,
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

    /// Whether there is what comes beside what goes.
    fn comes_and_goes(&self) -> bool {
        self.diffs.iter().any(|diff| diff.signum() != self.diffs[0].signum())
    }

    /// Brings together what comes and goes at once.
    fn consolidate(&mut self, rows: &PackedRows) {
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
        if let Some(side) = self.streamed(deltas) {
            let other = 1 - side;
            let changes = self.gather(other, &deltas[other]);
            let enter = self.find_keys(other, &deltas[other], &changes, closes, output);
            self.enter(other, &changes, &enter);
            self.meet(other, &changes, origin, output);
            for deltas in turns(&deltas[side]) {
                let changes = self.gather(side, deltas);
                let enter = self.find_keys(side, deltas, &changes, closes, output);
                self.stream(side, &changes, &enter, origin, output);
            }
            return self.settle();
        }
        let changes = [LEFT, RIGHT].map(|side| self.gather(side, &deltas[side]));
        let enters = [LEFT, RIGHT].map(|side| self.find_keys(side, &deltas[side], &changes[side], closes, output));
        for side in [LEFT, RIGHT] {
            self.enter(side, &changes[side], &enters[side]);
        }
        if self.spec.kind.shows_pairs() || self.condition.is_some() {
            self.meet(LEFT, &changes[LEFT], origin, output);
            self.meet(RIGHT, &changes[RIGHT], origin, output);
        }
        for (side, Enter { alone, .. }) in enters.into_iter().enumerate() {
            if self.spec.kind.solo(side) != Solo::Never {
                self.stand_alone(side, alone, &changes[side], origin, output);
            }
        }
        self.settle();
    }

    fn gather(&self, side: usize, deltas: &[Delta]) -> Changes {
        Changes::gather(deltas, &self.columns.keys[side], &self.columns.kept[side])
    }

    /// The side whose rows need not be told apart from those before: they all come, and matter only in pairs. Of two,
    /// the one with more rows.
    ///
    /// With changes dL and dR, the pairs change by L dR + dL (R + dR). So what comes to this side enters as if it
    /// had been there, once the changes of the other side have met what was there.
    fn streamed(&self, deltas: &[Vec<Delta>; 2]) -> Option<usize> {
        let in_pairs = [LEFT, RIGHT].iter().all(|side| self.spec.kind.solo(*side) == Solo::Never);
        let may = |side: &usize| in_pairs && deltas[*side].iter().all(Delta::is_insert_only);
        let rows = |side: &usize| deltas[*side].iter().map(Delta::len).sum::<usize>();
        [LEFT, RIGHT].into_iter().filter(may).max_by_key(rows)
    }

    /// Finds the keys of the changes of a side, and what cannot match anything.
    fn find_keys(
        &mut self,
        side: usize,
        deltas: &[Delta],
        changes: &Changes,
        closes: Option<i64>,
        output: &mut Output,
    ) -> Enter {
        let mut alone = Solos::default();
        let mut entering = Vec::with_capacity(changes.len());
        if changes.is_empty() {
            return Enter { alone, entering };
        }
        let keys = self.key_codec.encode_in(std::mem::take(&mut self.buffer), &changes.keys, changes.len());
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
        self.buffer = keys.into_buffer();
        refuse(deltas, &late, output);
        if alone.comes_and_goes() {
            alone.consolidate(&self.codecs[side].encode(&changes.columns, changes.len()));
        }
        Enter { alone, entering }
    }

    /// Puts the changes of a side into the state.
    fn enter(&mut self, side: usize, changes: &Changes, Enter { entering, .. }: &Enter) {
        self.sides[side].make_room(self.keys.slots());
        if entering.is_empty() {
            return;
        }
        let rows = self.codecs[side].encode_in(std::mem::take(&mut self.buffer), &changes.columns, changes.len());
        for (place, key) in entering {
            let row = *place as usize;
            self.sides[side].change(*key, rows.row(row), *place, changes.diffs[row]);
        }
        self.buffer = rows.into_buffer();
    }

    /// Puts rows that come into the state, each with its pairs: what [`Join::enter`] and [`Join::meet`] do, at once.
    fn stream(
        &mut self,
        side: usize,
        changes: &Changes,
        Enter { entering, .. }: &Enter,
        origin: Origin,
        output: &mut Output,
    ) {
        self.sides[side].make_room(self.keys.slots());
        if entering.is_empty() {
            return;
        }
        let rows = self.codecs[side].encode_in(std::mem::take(&mut self.buffer), &changes.columns, changes.len());
        let mut pairs = Pairs::default();
        for (place, key) in entering {
            let diff = changes.diffs[*place as usize];
            let id = self.sides[side].add(*key, rows.row(*place as usize), diff);
            let mut next = self.sides[1 - side].first(*key);
            while let Some(other) = next {
                next = self.sides[1 - side].next(other);
                let count = self.sides[1 - side].slot(other).after();
                if count != 0 {
                    pairs.add(side, id, other, *place, diff * count);
                }
                if pairs.diffs.len() == BATCH_ROWS {
                    self.show_pairs(side, std::mem::take(&mut pairs), changes, origin, output);
                }
            }
        }
        self.buffer = rows.into_buffer();
        self.show_pairs(side, pairs, changes, origin, output);
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
    fn meet(&mut self, side: usize, changes: &Changes, origin: Origin, output: &mut Output) {
        let counts = self.sides.iter().any(Side::counts_matches);
        let mut pairs = Pairs::default();
        // By place, because pairs change what is known of the rows.
        for index in 0..self.sides[side].touched.len() {
            let touched = self.sides[side].touched[index];
            let one = self.sides[side].slot(touched.id);
            if one.change == 0 {
                continue;
            }
            let mut next = self.sides[1 - side].first(touched.key);
            while let Some(id) = next {
                next = self.sides[1 - side].next(id);
                let other = self.sides[1 - side].slot(id);
                if side == RIGHT && other.change != 0 {
                    continue;
                }
                let diff = one.after() * other.after() - one.before * other.before;
                if diff == 0 && !counts {
                    continue;
                }
                pairs.add(side, touched.id, id, touched.row, diff);
                if pairs.diffs.len() == BATCH_ROWS {
                    self.show_pairs(side, std::mem::take(&mut pairs), changes, origin, output);
                }
            }
        }
        self.show_pairs(side, pairs, changes, origin, output);
    }

    fn show_pairs(&mut self, side: usize, mut pairs: Pairs, changes: &Changes, origin: Origin, output: &mut Output) {
        if pairs.diffs.is_empty() {
            return;
        }
        let mut emission = Emission { columns: &self.columns, origin, output };
        let other = 1 - side;
        let met = Rows::stored(&self.sides[other], &self.codecs[other], &pairs.ids[other], &mut self.places);
        let changed = Rows::Changed(changes, std::mem::take(&mut pairs.rows));
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
    fn stand_alone(&mut self, side: usize, mut changed: Solos, changes: &Changes, origin: Origin, output: &mut Output) {
        let solo = self.spec.kind.solo(side);
        for touched in &self.sides[side].touched {
            let slot = self.sides[side].slot(touched.id);
            let (before, after) = self.matched(side, touched.key, touched.id);
            changed.compare(solo, touched.row, (slot.before, before), (slot.after(), after));
        }
        let mut kept = Solos::default();
        for (key, id) in self.rematched(side) {
            let slot = self.sides[side].slot(id);
            if !slot.touched {
                let (before, after) = self.matched(side, key, id);
                kept.compare(solo, id, (slot.before, before), (slot.before, after));
            }
        }
        let mut emission = Emission { columns: &self.columns, origin, output };
        let with_other = |rows| if side == LEFT { [rows, Rows::Missing] } else { [Rows::Missing, rows] };
        emission.rows(&with_other(Rows::Changed(changes, changed.rows)), Some(changed.marks), changed.diffs);
        for start in (0..kept.rows.len()).step_by(BATCH_ROWS) {
            let range = start..kept.rows.len().min(start + BATCH_ROWS);
            let ids = &kept.rows[range.clone()];
            let rows = Rows::stored(&self.sides[side], &self.codecs[side], ids, &mut self.places);
            emission.rows(&with_other(rows), Some(kept.marks[range.clone()].to_vec()), kept.diffs[range].to_vec());
        }
    }

    /// Whether a row had a match before the tick, and whether it has one after.
    fn matched(&self, side: usize, key: u32, id: u32) -> (bool, bool) {
        if self.sides[side].counts_matches() {
            let matches = self.sides[side].matches(id);
            return (matches.before > 0, matches.before + matches.change > 0);
        }
        let other = &self.sides[1 - side];
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

    /// Key and id of the rows of a side that may have got their first match or lost their last.
    fn rematched(&self, side: usize) -> Vec<(u32, u32)> {
        let (one, other) = (&self.sides[side], &self.sides[1 - side]);
        if one.counts_matches() {
            return one.rematched.iter().map(|id| (one.matches(*id).key, *id)).collect();
        }
        let turned = |(before, change): (i64, i64)| (before > 0) != (before + change > 0);
        if self.spec.kind == JoinKind::NullAwareAnti {
            let null = self.null_key();
            if turned(null.map_or((0, 0), |null| other.total(null))) {
                return one.all().collect();
            }
            if turned((other.before, other.change)) {
                let rows = null.into_iter().flat_map(|null| one.rows_of(null).map(move |id| (null, id)));
                return rows.chain(self.turned_keys(side)).collect();
            }
        }
        self.turned_keys(side).collect()
    }

    /// Rows of the keys whose first row came or whose last row went on the other side.
    fn turned_keys(&self, side: usize) -> impl Iterator<Item = (u32, u32)> {
        let (one, other) = (&self.sides[side], &self.sides[1 - side]);
        let turned = move |key: &u32| {
            let (before, change) = other.total(*key);
            (before > 0) != (before + change > 0)
        };
        let keys = other.touched_keys.iter().map(|touched| touched.key);
        keys.filter(turned).flat_map(|key| one.rows_of(key).map(move |id| (key, id)))
    }

    pub(super) fn settle(&mut self) {
        self.sides.iter_mut().for_each(Side::settle);
        let touched = self.sides.each_mut().map(|side| std::mem::take(&mut side.touched_keys));
        for key in touched.into_iter().flatten().map(|touched| touched.key) {
            let stays = self.closes.get(key as usize).is_some_and(|closes| *closes != NEVER);
            if !stays && self.sides.iter().all(|side| side.first(key).is_none()) {
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
