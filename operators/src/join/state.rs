//! Rows of one side by key, with their multiplicity.
//!
//! Most rows come once and stay, so a new row is put with its key and nothing else. The first retraction of a key
//! makes an index of the key's rows, which then tells equal rows in constant time. Each row enters the index at most
//! once, so the index costs no more than the rows did. Where a row must be there only once, or has no columns, the
//! index is kept from the start.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::records::{Group, Kept, Matches, Slot, TOUCHED, Touched, TouchedKey};
use highwater_engine::rows::Arena;

/// Fixed, so that every run is the same; the output never depends on it.
const SEED: u64 = 0x6a6f_696e_2d72_6f77;

fn hash(key: u32, row: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(SEED).build_hasher();
    hasher.write_u32(key);
    hasher.write(row);
    hasher.finish()
}

/// The rows of one side.
pub(super) struct Side {
    rows: Arena,
    /// Rows of the keys that are indexed, by key and row.
    index: HashTable<u32>,
    /// Whether all keys are.
    eager: bool,
    /// By row id.
    kept: Vec<Kept>,
    /// By row id; empty unless matches are counted.
    matches: Vec<Matches>,
    counts_matches: bool,
    /// By key id.
    groups: Vec<Group>,
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
    pub(super) fn new(all_equal: bool, counts_matches: bool) -> Side {
        Side {
            rows: Arena::default(),
            index: HashTable::new(),
            eager: counts_matches || all_equal,
            kept: Vec::new(),
            matches: Vec::new(),
            counts_matches,
            groups: Vec::new(),
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
        }
    }

    /// Changes how often a row of a key, for which room was made, is there; `row` is where the change stands in the
    /// tick. Gives the id of the row, of the last one if equal rows are held apart.
    pub(super) fn change(&mut self, key: u32, bytes: &[u8], row: u32, diff: i64) -> u32 {
        self.change += diff;
        let group = &mut self.groups[key as usize];
        if group.touched == 0 {
            self.touched_keys.push(TouchedKey { key, change: 0 });
            group.touched = u32::try_from(self.touched_keys.len()).expect("there are no more keys than ids");
        }
        self.touched_keys[group.touched as usize - 1].change += diff;
        if !group.indexed && (diff < 0 || self.eager) {
            self.index_key(key);
        }
        if self.groups[key as usize].indexed {
            self.change_indexed(key, bytes, row, diff)
        } else {
            self.append(key, bytes, row, diff)
        }
    }

    /// A new row beside what the key has.
    fn append(&mut self, key: u32, bytes: &[u8], row: u32, diff: i64) -> u32 {
        let id = self.rows.insert(bytes);
        let rows = &mut self.groups[key as usize].rows;
        let place = u32::try_from(rows.ids().len()).ok().filter(|place| place & TOUCHED == 0);
        let place = place.expect("fewer than 2^31 rows of a key fit in memory");
        rows.push(id);
        if id as usize == self.kept.len() {
            self.kept.push(Kept::default());
            if self.counts_matches {
                self.matches.push(Matches::default());
            }
        }
        self.kept[id as usize] = Kept { key, place, count: 0 };
        self.touch(id, row).change = diff;
        id
    }

    /// Notes that the tick touches a row.
    fn touch(&mut self, id: u32, row: u32) -> &mut Touched {
        let kept = &mut self.kept[id as usize];
        let place = match kept.touched() {
            Some(place) => place,
            None => {
                self.touched.push(Touched { id, row, before: kept.count, change: 0 });
                kept.place |= TOUCHED;
                let place = self.touched.len() - 1;
                kept.count = i64::try_from(place).expect("memory ends before 2^63 rows");
                place
            }
        };
        &mut self.touched[place]
    }

    /// Where equal rows are held apart, a change goes to what it cancels first.
    fn change_indexed(&mut self, key: u32, bytes: &[u8], row: u32, diff: i64) -> u32 {
        let hash = hash(key, bytes);
        let mut rest = diff;
        loop {
            let equal = self
                .index
                .iter_hash(hash)
                .copied()
                .filter(|id| self.kept[*id as usize].key == key && self.rows.get(*id) == bytes);
            let best = equal.max_by_key(|id| {
                let slot = self.slot(*id);
                let cancels = slot.change != 0 && (slot.change > 0) != (rest > 0);
                (rest < 0 && slot.after() > 0, cancels, std::cmp::Reverse(*id))
            });
            let Some(id) = best else {
                let id = self.append(key, bytes, row, rest);
                let (kept, rows) = (&self.kept, &self.rows);
                self.index.insert_unique(hash, id, |id| self::hash(kept[*id as usize].key, rows.get(*id)));
                return id;
            };
            let touched = self.touch(id, row);
            let after = touched.before + touched.change;
            let part = if rest < 0 && after > 0 { rest.max(-after) } else { rest };
            touched.change += part;
            rest -= part;
            if rest == 0 {
                return id;
            }
        }
    }

    fn index_key(&mut self, key: u32) {
        let group = &mut self.groups[key as usize];
        group.indexed = true;
        let (kept, rows) = (&self.kept, &self.rows);
        for id in group.rows.ids() {
            let hash_of = |id: &u32| hash(kept[*id as usize].key, rows.get(*id));
            self.index.insert_unique(hash_of(id), *id, hash_of);
        }
    }

    fn unindex(&mut self, id: u32) {
        let hash = hash(self.kept[id as usize].key, self.rows.get(id));
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
    }

    /// A row with what the tick makes of it.
    #[inline]
    pub(super) fn slot(&self, id: u32) -> Slot {
        let kept = &self.kept[id as usize];
        match kept.touched().map(|place| &self.touched[place]) {
            Some(Touched { before, change, .. }) => {
                Slot { key: kept.key, before: *before, change: *change, touched: true }
            }
            None => Slot { key: kept.key, before: kept.count, change: 0, touched: false },
        }
    }

    /// The matches of a row. Only where they are counted.
    pub(super) fn matches(&self, id: u32) -> Matches {
        self.matches[id as usize]
    }

    /// Whether matches are counted row by row.
    pub(super) fn counts_matches(&self) -> bool {
        self.counts_matches
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

    /// Ids of the rows of a key, those of the tick included.
    pub(super) fn rows_of(&self, key: u32) -> &[u32] {
        self.groups.get(key as usize).map_or(&[], |group| group.rows.ids())
    }

    /// How many rows a key had before the tick and how that changes.
    pub(super) fn total(&self, key: u32) -> (i64, i64) {
        let Some(group) = self.groups.get(key as usize) else { return (0, 0) };
        let touched = (group.touched as usize).checked_sub(1).map(|place| &self.touched_keys[place]);
        (group.before, touched.map_or(0, |touched| touched.change))
    }

    /// The bytes of a row.
    pub(super) fn bytes_of(&self, id: u32) -> &[u8] {
        self.rows.get(id)
    }

    /// The end of a tick: what changed becomes what is.
    pub(super) fn settle(&mut self) {
        for id in std::mem::take(&mut self.rematched) {
            let matches = &mut self.matches[id as usize];
            *matches = Matches { before: matches.before + matches.change, ..Matches::default() };
        }
        let mut touched = std::mem::take(&mut self.touched);
        for Touched { id, before, change, .. } in touched.drain(..) {
            let kept = &mut self.kept[id as usize];
            kept.place &= !TOUCHED;
            kept.count = before + change;
            if kept.count == 0 {
                self.forget(id);
            }
        }
        self.touched = touched;
        for TouchedKey { key, change } in &self.touched_keys {
            let group = &mut self.groups[*key as usize];
            group.before += change;
            group.touched = 0;
        }
        self.before += self.change;
        self.change = 0;
    }

    /// Takes a row out of its group.
    fn forget(&mut self, id: u32) {
        if self.groups[self.kept[id as usize].key as usize].indexed {
            self.unindex(id);
        }
        let kept = std::mem::take(&mut self.kept[id as usize]);
        let group = &mut self.groups[kept.key as usize];
        if let Some(moved) = group.rows.swap_remove(kept.place as usize) {
            let moved = &mut self.kept[moved as usize];
            moved.place = (moved.place & TOUCHED) | kept.place;
        }
        group.indexed &= !group.rows.ids().is_empty();
        if self.counts_matches {
            self.matches[id as usize] = Matches::default();
        }
        self.rows.remove(id);
    }

    /// Drops a key with its rows. Between ticks.
    pub(super) fn drop_key(&mut self, key: u32) {
        let Some(group) = self.groups.get_mut(key as usize) else { return };
        let group = std::mem::take(group);
        self.before -= group.before;
        for id in group.rows.ids() {
            if group.indexed {
                self.unindex(*id);
            }
            self.kept[*id as usize] = Kept::default();
            if self.counts_matches {
                self.matches[*id as usize] = Matches::default();
            }
            self.rows.remove(*id);
        }
    }

    /// Ids of all rows that were there before the tick, ascending.
    pub(super) fn ids(&self) -> Vec<u32> {
        let ids = 0..u32::try_from(self.kept.len()).expect("ids are of 32 bits");
        ids.filter(|id| self.slot(*id).before != 0).collect()
    }

    /// Rows ever held are below this.
    pub(super) fn slots(&self) -> usize {
        self.rows.slots()
    }

    /// Sets how many rows a row matches: from saved state.
    pub(super) fn restore_matches(&mut self, id: u32, matches: i64) {
        if self.counts_matches {
            self.matches[id as usize].before = matches;
        }
    }

    /// Rows held.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        let many: usize = self.groups.iter().map(|group| group.rows.bytes()).sum();
        self.rows.bytes()
            + self.index.allocation_size()
            + self.kept.capacity() * size_of::<Kept>()
            + self.matches.capacity() * size_of::<Matches>()
            + self.groups.capacity() * size_of::<Group>()
            + many
    }
}
