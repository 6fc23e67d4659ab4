//! Rows of one side by key, with their multiplicity.
//!
//! Most rows come once and stay, so a new row is put with its key and nothing else. The first retraction of a key
//! makes an index of the key's rows, which then tells equal rows in constant time. Each row enters the index at most
//! once, so the index costs no more than the rows did. Where a row must be there only once, or has no columns, the
//! index is kept from the start.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::records::{Counts, Group, Kept, Matches, NONE, Slot, Touched, TouchedKey};
use highwater_engine::rows::Arena;

/// Fixed, so that every run is the same; the output never depends on it.
const SEED: u64 = 0x6a6f_696e_2d72_6f77;

fn hash(key: u32, row: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(SEED).build_hasher();
    hasher.write_u32(key);
    hasher.write(row);
    hasher.finish()
}

/// A row in the index.
struct Entry {
    key: u32,
    id: u32,
}

/// What is counted of the rows of a side.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    /// For each row how many rows of the other side it matches.
    pub(super) matches: bool,
    /// For each key how many rows it has.
    pub(super) totals: bool,
}

/// The rows of one side.
pub(super) struct Side {
    rows: Arena,
    /// Rows of the keys that are indexed.
    index: HashTable<Entry>,
    /// Whether all keys are.
    eager: bool,
    /// By row id.
    kept: Vec<Kept>,
    counts: Counts,
    /// By row id; empty unless matches are counted.
    matches: Vec<Matches>,
    counted: Counted,
    /// By key id.
    groups: Vec<Group>,
    /// By key id, rows with their multiplicity before the tick; empty unless they are counted.
    totals: Vec<i64>,
    /// Rows of the tick, in the order of its changes.
    pub(super) touched: Vec<Touched>,
    /// Keys of these rows.
    pub(super) touched_keys: Vec<TouchedKey>,
    /// Rows whose matches the tick has changed.
    pub(super) rematched: Vec<u32>,
    /// All rows with their multiplicity before the tick.
    pub(super) before: i64,
    /// How that changes in this tick.
    pub(super) change: i64,
}

impl Side {
    /// No rows. `all_equal`: rows have no columns.
    pub(super) fn new(all_equal: bool, counted: Counted) -> Side {
        Side {
            rows: Arena::default(),
            index: HashTable::new(),
            eager: counted.matches || all_equal,
            kept: Vec::new(),
            counts: Counts::default(),
            matches: Vec::new(),
            counted,
            groups: Vec::new(),
            totals: Vec::new(),
            touched: Vec::new(),
            touched_keys: Vec::new(),
            rematched: Vec::new(),
            before: 0,
            change: 0,
        }
    }

    /// Makes room for keys with ids below this.
    pub(super) fn make_room(&mut self, keys: usize) {
        if keys > self.groups.len() {
            self.groups.resize_with(keys, Group::default);
            if self.counted.totals {
                self.totals.resize(keys, 0);
            }
        }
    }

    /// Changes how often a row of a key, for which room was made, is there; `row` is where the change stands in the
    /// tick. Gives the id of the row, of the last one if equal rows are held apart.
    pub(super) fn change(&mut self, key: u32, bytes: &[u8], row: u32, diff: i64) -> u32 {
        self.change += diff;
        let group = &mut self.groups[key as usize];
        let place = group.touched().unwrap_or_else(|| {
            self.touched_keys.push(TouchedKey { key, change: 0 });
            group.touch(self.touched_keys.len());
            self.touched_keys.len() - 1
        });
        self.touched_keys[place].change += diff;
        if !group.is_indexed() && (diff < 0 || self.eager) {
            self.index_key(key);
        }
        if self.groups[key as usize].is_indexed() {
            return self.change_indexed(key, bytes, row, diff);
        }
        let id = self.append(key, bytes);
        self.touch(key, id, row).change = diff;
        id
    }

    /// Adds a row of a key, for which room was made, as one that was there before the tick; its id. Only where the
    /// tick changes no row of this side otherwise.
    #[inline]
    pub(super) fn add(&mut self, key: u32, bytes: &[u8], count: i64) -> u32 {
        if self.counted.totals {
            self.totals[key as usize] += count;
        }
        self.before += count;
        if self.eager && !self.groups[key as usize].is_indexed() {
            self.index_key(key);
        }
        let id = if self.groups[key as usize].is_indexed() {
            self.find_or_append(key, bytes)
        } else {
            self.append(key, bytes)
        };
        let kept = &mut self.kept[id as usize];
        debug_assert!(kept.touched().is_none(), "the tick changes no row of this side otherwise");
        let before = self.counts.get(id, kept);
        self.counts.set(id, kept, before + count);
        id
    }

    #[cold]
    fn find_or_append(&mut self, key: u32, bytes: &[u8]) -> u32 {
        let hash = hash(key, bytes);
        let rows = &self.rows;
        if let Some(Entry { id, .. }) = self.index.find(hash, |e| e.key == key && rows.get(e.id) == bytes) {
            return *id;
        }
        let id = self.append(key, bytes);
        self.index_row(hash, key, id);
        id
    }

    /// A new row, not there yet, after those that the key has.
    #[inline]
    fn append(&mut self, key: u32, bytes: &[u8]) -> u32 {
        let id = self.rows.insert(bytes);
        if id as usize == self.kept.len() {
            assert!(id < NONE, "fewer than 2^31 rows fit in memory");
            self.kept.push(Kept::FREE);
            if self.counted.matches {
                self.matches.push(Matches::default());
            }
        }
        let group = &mut self.groups[key as usize];
        let last = if group.is_empty() {
            group.first = id;
            id
        } else {
            let first = &mut self.kept[group.first as usize];
            let last = first.previous();
            first.set_previous(id);
            self.kept[last as usize].next = id;
            last
        };
        self.kept[id as usize] = Kept::new(last, NONE);
        if self.counted.matches {
            self.matches[id as usize] = Matches { key, ..Matches::default() };
        }
        id
    }

    /// Notes that the tick touches a row.
    fn touch(&mut self, key: u32, id: u32, row: u32) -> &mut Touched {
        let kept = &mut self.kept[id as usize];
        let place = kept.touched().unwrap_or_else(|| {
            let place = self.touched.len();
            self.touched.push(Touched { id, key, row, before: self.counts.get(id, kept), change: 0 });
            kept.touch(place);
            place
        });
        &mut self.touched[place]
    }

    /// Where equal rows are held apart, a change goes to what it cancels first.
    fn change_indexed(&mut self, key: u32, bytes: &[u8], row: u32, diff: i64) -> u32 {
        let hash = hash(key, bytes);
        let mut rest = diff;
        loop {
            let found = self.index.iter_hash(hash);
            let equal = found.filter(|entry| entry.key == key && self.rows.get(entry.id) == bytes);
            let best = equal.map(|entry| entry.id).max_by_key(|id| {
                let slot = self.slot(*id);
                let cancels = slot.change != 0 && (slot.change > 0) != (rest > 0);
                (rest < 0 && slot.after() > 0, cancels, std::cmp::Reverse(*id))
            });
            let Some(id) = best else {
                let id = self.append(key, bytes);
                self.touch(key, id, row).change = rest;
                self.index_row(hash, key, id);
                return id;
            };
            let touched = self.touch(key, id, row);
            let after = touched.before + touched.change;
            let part = if rest < 0 && after > 0 { rest.max(-after) } else { rest };
            touched.change += part;
            rest -= part;
            if rest == 0 {
                return id;
            }
        }
    }

    fn index_row(&mut self, hash: u64, key: u32, id: u32) {
        let rows = &self.rows;
        self.index.insert_unique(hash, Entry { key, id }, |entry| self::hash(entry.key, rows.get(entry.id)));
    }

    fn index_key(&mut self, key: u32) {
        let group = &mut self.groups[key as usize];
        group.set_indexed(true);
        let mut next = group.first;
        while next != NONE {
            self.index_row(hash(key, self.rows.get(next)), key, next);
            next = self.kept[next as usize].next;
        }
    }

    fn unindex(&mut self, key: u32, id: u32) {
        let hash = hash(key, self.rows.get(id));
        if let Ok(entry) = self.index.find_entry(hash, |entry| entry.id == id) {
            entry.remove();
        }
    }

    /// A row with what the tick makes of it.
    #[inline]
    pub(super) fn slot(&self, id: u32) -> Slot {
        let kept = &self.kept[id as usize];
        match kept.touched().map(|place| &self.touched[place]) {
            Some(Touched { before, change, .. }) => Slot { before: *before, change: *change, touched: true },
            None => Slot { before: self.counts.get(id, kept), change: 0, touched: false },
        }
    }

    /// The matches of a row. Only where they are counted.
    pub(super) fn matches(&self, id: u32) -> Matches {
        self.matches[id as usize]
    }

    /// Whether matches are counted row by row.
    pub(super) fn counts_matches(&self) -> bool {
        self.counted.matches
    }

    /// Changes how many rows a row matches.
    pub(super) fn rematch(&mut self, id: u32, change: i64) {
        if change == 0 {
            return;
        }
        let matches = &mut self.matches[id as usize];
        matches.change += change;
        if !matches.listed {
            matches.listed = true;
            self.rematched.push(id);
        }
    }

    /// The first row of a key, those of the tick included.
    #[inline]
    pub(super) fn first(&self, key: u32) -> Option<u32> {
        self.groups.get(key as usize).map(|group| group.first).filter(|id| *id != NONE)
    }

    /// The row of the same key after a row.
    #[inline]
    pub(super) fn next(&self, id: u32) -> Option<u32> {
        Some(self.kept[id as usize].next).filter(|id| *id != NONE)
    }

    /// Ids of the rows of a key, those of the tick included.
    pub(super) fn rows_of(&self, key: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(self.first(key), |id| self.next(*id))
    }

    /// How many rows a key had before the tick and how that changes. Only where they are counted.
    pub(super) fn total(&self, key: u32) -> (i64, i64) {
        debug_assert!(self.counted.totals, "rows of this side are not counted by key");
        let Some(group) = self.groups.get(key as usize) else { return (0, 0) };
        (self.totals[key as usize], group.touched().map_or(0, |place| self.touched_keys[place].change))
    }

    /// The bytes of a row.
    pub(super) fn bytes_of(&self, id: u32) -> &[u8] {
        self.rows.get(id)
    }

    /// The end of a tick: what changed becomes what is.
    pub(super) fn settle(&mut self) {
        for id in std::mem::take(&mut self.rematched) {
            let matches = &mut self.matches[id as usize];
            *matches = Matches { key: matches.key, before: matches.before + matches.change, ..Matches::default() };
        }
        let mut touched = std::mem::take(&mut self.touched);
        for Touched { id, key, before, change, .. } in touched.drain(..) {
            let count = before + change;
            let kept = &mut self.kept[id as usize];
            kept.settle();
            self.counts.set(id, kept, count);
            if count == 0 {
                self.forget(key, id);
            }
        }
        self.touched = touched;
        for TouchedKey { key, change } in &self.touched_keys {
            self.groups[*key as usize].settle();
            if self.counted.totals {
                self.totals[*key as usize] += change;
            }
        }
        self.before += self.change;
        self.change = 0;
    }

    /// Takes a row out of the list of its key.
    fn forget(&mut self, key: u32, id: u32) {
        if self.groups[key as usize].is_indexed() {
            self.unindex(key, id);
        }
        let kept = std::mem::replace(&mut self.kept[id as usize], Kept::FREE);
        let group = &mut self.groups[key as usize];
        if group.first == id {
            group.first = kept.next;
        } else {
            self.kept[kept.previous() as usize].next = kept.next;
        }
        // After the last row comes the first one, which knows the last.
        let after = if kept.next == NONE { group.first } else { kept.next };
        if after == NONE {
            group.set_indexed(false);
        } else {
            self.kept[after as usize].set_previous(kept.previous());
        }
        self.free(id);
    }

    fn free(&mut self, id: u32) {
        self.kept[id as usize] = Kept::FREE;
        if self.counted.matches {
            self.matches[id as usize] = Matches::default();
        }
        self.rows.remove(id);
    }

    /// Drops a key with its rows. Between ticks.
    pub(super) fn drop_key(&mut self, key: u32) {
        let Some(group) = self.groups.get_mut(key as usize) else { return };
        let group = std::mem::take(group);
        if self.counted.totals {
            self.totals[key as usize] = 0;
        }
        let mut next = group.first;
        while next != NONE {
            let id = next;
            let kept = &mut self.kept[id as usize];
            next = kept.next;
            self.before -= self.counts.get(id, kept);
            self.counts.set(id, kept, 0);
            if group.is_indexed() {
                self.unindex(key, id);
            }
            self.free(id);
        }
    }

    /// Key and id of all rows that were there before the tick.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, u32)> {
        let rows = (0..).zip(&self.groups).flat_map(|(key, _)| self.rows_of(key).map(move |id| (key, id)));
        rows.filter(|(_, id)| self.slot(*id).before != 0)
    }

    /// Rows ever held are below this.
    pub(super) fn slots(&self) -> usize {
        self.rows.slots()
    }

    /// Sets how many rows a row matches: from saved state.
    pub(super) fn restore_matches(&mut self, id: u32, matches: i64) {
        if self.counted.matches {
            self.matches[id as usize].before = matches;
        }
    }

    /// Rows held.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes()
            + self.index.allocation_size()
            + self.kept.capacity() * size_of::<Kept>()
            + self.matches.capacity() * size_of::<Matches>()
            + self.counts.bytes()
            + self.groups.capacity() * size_of::<Group>()
            + self.totals.capacity() * size_of::<i64>()
    }
}
