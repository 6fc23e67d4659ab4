//! Which rows of an arena are there.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Occupancy;

use super::Arena;

/// Fixed, so that every run is the same; the output never depends on it.
const SEED: u64 = 0x6869_6768_7761_7465;

/// Half of the hash of a row: tells most other rows apart, and is all that an index needs to grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hash(u32);

impl Hash {
    /// Of a row.
    #[inline]
    pub fn of(row: &[u8]) -> Hash {
        let mut hasher = FixedState::with_seed(SEED).build_hasher();
        hasher.write(row);
        Hash((hasher.finish() >> 32) as u32)
    }

    /// For the table: its highest bits, which are compared first, depend on all of the half.
    #[inline]
    fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Whether two rows are equal. Most keys have 16 to 32 bytes, for which calling out costs more than looking.
#[inline]
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    if !(16..=32).contains(&one.len()) || one.len() != other.len() {
        return one == other;
    }
    // Two halves that may overlap.
    one.first_chunk::<16>() == other.first_chunk() && one.last_chunk::<16>() == other.last_chunk()
}

/// A hash table of rows by their bytes, which are in an arena. One arena may have several.
#[derive(Default)]
pub struct Index {
    table: HashTable<Entry>,
}

struct Entry {
    hash: Hash,
    id: u32,
}

impl Index {
    /// With room for so many rows.
    pub fn with_capacity(rows: usize) -> Index {
        Index { table: HashTable::with_capacity(rows) }
    }

    /// The id of a row, if it is there.
    #[inline]
    pub fn find(&self, arena: &Arena, hash: Hash, row: &[u8]) -> Option<u32> {
        let found = self.table.find(hash.spread(), |entry| entry.hash == hash && is_equal(arena.get(entry.id), row));
        found.map(|entry| entry.id)
    }

    /// The id of a row, which is put into the arena if it is not there, and whether it was not.
    #[inline]
    pub fn find_or_insert(&mut self, arena: &mut Arena, hash: Hash, row: &[u8]) -> (u32, bool) {
        let is_row = |entry: &Entry| entry.hash == hash && is_equal(arena.get(entry.id), row);
        match self.table.entry(hash.spread(), is_row, |entry| entry.hash.spread()) {
            Occupancy::Occupied(entry) => (entry.get().id, false),
            Occupancy::Vacant(entry) => {
                let id = arena.insert(row);
                entry.insert(Entry { hash, id });
                (id, true)
            }
        }
    }

    /// Takes out a row, if it is there, here and from the arena.
    pub fn remove(&mut self, arena: &mut Arena, hash: Hash, id: u32) {
        if let Ok(entry) = self.table.find_entry(hash.spread(), |entry| entry.id == id) {
            entry.remove();
            arena.remove(id);
        }
    }

    /// Takes out all rows, keeping memory; not from the arena.
    pub fn clear(&mut self) {
        self.table.clear();
    }

    /// Ids of the rows, in no order.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.table.iter().map(|entry| entry.id)
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.table.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_makes_rows_differ() {
        for len in 0..70 {
            let row: Vec<u8> = (0..len).collect();
            assert!(is_equal(&row, &row.clone()));
            assert!(!is_equal(&row, &[&row[..], &[0]].concat()));
            for place in 0..row.len() {
                let mut other = row.clone();
                other[place] ^= 1;
                assert!(!is_equal(&row, &other), "{len} bytes, {place}");
            }
        }
    }
}
