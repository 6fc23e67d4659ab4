//! Which rows of an arena are there.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Occupancy;

use super::Arena;

/// Fixed, so that every run is the same; the output never depends on it.
const SEED: u64 = 0x6869_6768_7761_7465;

/// The hash of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hash(u64);

impl Hash {
    /// Of a row.
    #[inline]
    pub fn of(row: &[u8]) -> Hash {
        let mut hasher = FixedState::with_seed(SEED).build_hasher();
        hasher.write(row);
        Hash(hasher.finish())
    }
}

/// Whether two rows are equal. Most have 16 to 64 bytes, for which calling out costs more than looking.
#[inline]
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        // Two ends that may overlap.
        16..=32 => have_same_ends::<16>(one, other),
        33..=64 => have_same_ends::<32>(one, other),
        _ => one == other,
    }
}

#[inline]
fn have_same_ends<const LEN: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<LEN>() == other.first_chunk() && one.last_chunk::<LEN>() == other.last_chunk()
}

/// A hash table of rows by their bytes, which are in an arena. One arena may have several.
///
/// It holds ids alone: to grow it hashes the rows anew, which costs less than the memory of their hashes does, above all
/// where tables of one size follow each other.
#[derive(Default)]
pub struct Index {
    table: HashTable<u32>,
}

impl Index {
    /// With room for so many rows.
    pub fn with_capacity(rows: usize) -> Index {
        Index { table: HashTable::with_capacity(rows) }
    }

    /// The id of a row, if it is there.
    #[inline]
    pub fn find(&self, arena: &Arena, hash: Hash, row: &[u8]) -> Option<u32> {
        self.table.find(hash.0, |id| is_equal(arena.get(*id), row)).copied()
    }

    /// The id of a row, which is put into the arena if it is not there, and whether it was not.
    #[inline]
    pub fn find_or_insert(&mut self, arena: &mut Arena, hash: Hash, row: &[u8]) -> (u32, bool) {
        let is_row = |id: &u32| is_equal(arena.get(*id), row);
        match self.table.entry(hash.0, is_row, |id| Hash::of(arena.get(*id)).0) {
            Occupancy::Occupied(entry) => (*entry.get(), false),
            Occupancy::Vacant(entry) => {
                let id = arena.insert(row);
                entry.insert(id);
                (id, true)
            }
        }
    }

    /// Takes out a row, if it is there, here and from the arena.
    pub fn remove(&mut self, arena: &mut Arena, hash: Hash, id: u32) {
        if let Ok(entry) = self.table.find_entry(hash.0, |other| *other == id) {
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
        self.table.iter().copied()
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
