//! Values that may still be taken back: one small sorted list a group, lists used again.
//!
//! Groups are many and most hold one or two values, so what counts is that touching one costs no
//! allocation and no hashing.

use std::cmp::Ordering;

/// A value of one block and how many rows have it.
#[derive(Clone)]
pub(super) struct Entry<V> {
    pub(super) value: V,
    pub(super) block: u64,
    /// Below zero only within a tick, or where more was taken back than given.
    pub(super) count: i64,
}

impl<V: Ord> Entry<V> {
    fn order(&self, value: &V, block: u64) -> Ordering {
        self.value.cmp(value).then_with(|| self.block.cmp(&block))
    }
}

/// No list.
const NONE: u32 = u32::MAX;

/// The pending values of all groups.
pub(super) struct Pending<V> {
    /// The list of each group.
    places: Vec<u32>,
    /// By value, then block; none is empty unless it is free.
    lists: Vec<Vec<Entry<V>>>,
    free: Vec<u32>,
    entries: usize,
}

impl<V: Ord> Pending<V> {
    pub(super) fn new() -> Pending<V> {
        Pending { places: Vec::new(), lists: Vec::new(), free: Vec::new(), entries: 0 }
    }

    /// Makes room for groups `0..slots`; those beyond are forgotten.
    pub(super) fn resize(&mut self, slots: usize) {
        for group in slots..self.places.len() {
            self.forget(group);
        }
        self.places.resize(slots, NONE);
    }

    /// Entries of all groups.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The entries of a group, by value.
    pub(super) fn of(&self, group: usize) -> &[Entry<V>] {
        match self.places[group] {
            NONE => &[],
            place => &self.lists[place as usize],
        }
    }

    /// Adds to the number of rows of a group with this value and block.
    pub(super) fn add(&mut self, group: usize, value: V, block: u64, diff: i64) {
        let place = match self.places[group] {
            NONE => self.open(group),
            place => place,
        };
        let list = &mut self.lists[place as usize];
        match list.binary_search_by(|entry| entry.order(&value, block)) {
            Ok(at) => {
                list[at].count += diff;
                if list[at].count == 0 {
                    list.remove(at);
                    self.entries -= 1;
                }
            }
            Err(_) if diff == 0 => {}
            Err(at) => {
                list.insert(at, Entry { value, block, count: diff });
                self.entries += 1;
            }
        }
        self.close_if_empty(group);
    }

    /// Takes out the entry of a value and a block.
    pub(super) fn take(&mut self, group: usize, value: &V, block: u64) -> Option<Entry<V>> {
        let place = self.places[group];
        if place == NONE {
            return None;
        }
        let list = &mut self.lists[place as usize];
        let at = list.binary_search_by(|entry| entry.order(value, block)).ok()?;
        let entry = list.remove(at);
        self.entries -= 1;
        self.close_if_empty(group);
        Some(entry)
    }

    /// Forgets the entries of a group.
    pub(super) fn forget(&mut self, group: usize) {
        if self.places[group] != NONE {
            let list = &mut self.lists[self.places[group] as usize];
            self.entries -= list.len();
            list.clear();
            self.close_if_empty(group);
        }
    }

    fn open(&mut self, group: usize) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.lists.push(Vec::new());
            u32::try_from(self.lists.len() - 1).expect("groups are numbered with 32 bits")
        });
        self.places[group] = place;
        place
    }

    fn close_if_empty(&mut self, group: usize) {
        let place = self.places[group];
        if self.lists[place as usize].is_empty() {
            self.free.push(place);
            self.places[group] = NONE;
        }
    }

    /// Bytes held, approximately: lists are at most half empty.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * 4
            + self.lists.capacity() * size_of::<Vec<Entry<V>>>()
            + self.entries * 2 * size_of::<Entry<V>>()
    }
}
