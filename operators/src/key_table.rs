//! Keys: hash tables of small ids over one arena of key bytes.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::hash_table::Entry;

use crate::arena::Arena;
use hashbrown::{HashMap, HashTable};

/// Fixed, so that every run is the same; the output never depends on it.
const SEED: u64 = 0x6869_6768_7761_7465;

/// The hash of a key.
#[inline]
pub(crate) fn hash(key: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(SEED).build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// Maps keys to dense ids. Ids of removed keys are used again.
///
/// Keys come with the region they are in (see [`Regions`](highwater_engine::model::Regions)); one key is always in
/// one region.
#[derive(Default)]
pub(crate) struct KeyTable {
    tables: Vec<Table>,
    by_region: HashMap<i64, u32, FixedState>,
    free_tables: Vec<u32>,
    /// The table used last.
    current: u32,
    /// The table of each id.
    table_of: Vec<u32>,
    hashes: Vec<u64>,
    arena: Arena,
}

/// The keys of a region.
#[derive(Default)]
struct Table {
    region: i64,
    index: HashTable<u32>,
}

impl KeyTable {
    /// A table for keys of one width, or of any width.
    pub(crate) fn new(width: Option<usize>) -> KeyTable {
        KeyTable { arena: Arena::new(width), ..KeyTable::default() }
    }

    /// Ids ever given are below this.
    pub(crate) fn slots(&self) -> usize {
        self.arena.slots()
    }

    /// Keys held.
    pub(crate) fn len(&self) -> usize {
        self.arena.len()
    }

    /// The key of an id.
    pub(crate) fn key(&self, id: u32) -> &[u8] {
        self.arena.get(id)
    }

    /// The id of a key without a region, if it is there.
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        self.find_in(0, key)
    }

    /// The id of a key of a region, if it is there.
    pub(crate) fn find_in(&self, region: i64, key: &[u8]) -> Option<u32> {
        let table = &self.tables[*self.by_region.get(&region)? as usize];
        table.index.find(hash(key), |id| self.arena.get(*id) == key).copied()
    }

    /// The id of a key without a region, which is added if it is new.
    #[inline]
    pub(crate) fn find_or_insert(&mut self, key: &[u8]) -> u32 {
        self.find_or_insert_in(0, key)
    }

    /// The id of a key of a region, which is added if it is new.
    #[inline]
    pub(crate) fn find_or_insert_in(&mut self, region: i64, key: &[u8]) -> u32 {
        if self.tables.get(self.current as usize).is_none_or(|table| table.region != region) {
            self.turn_to(region);
        }
        let hash = hash(key);
        let (arena, hashes) = (&self.arena, &self.hashes);
        let index = &mut self.tables[self.current as usize].index;
        let entry = index.entry(hash, |id| arena.get(*id) == key, |id| hashes[*id as usize]);
        match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let id = self.arena.insert(key);
                if id as usize == self.hashes.len() {
                    self.hashes.push(hash);
                    self.table_of.push(self.current);
                } else {
                    self.hashes[id as usize] = hash;
                    self.table_of[id as usize] = self.current;
                }
                entry.insert(id);
                id
            }
        }
    }

    /// Makes the table of a region the current one.
    #[cold]
    fn turn_to(&mut self, region: i64) {
        if self.tables.get(self.current as usize).is_some_and(|table| table.index.is_empty()) {
            self.free_table(self.current);
        }
        let (tables, free) = (&mut self.tables, &mut self.free_tables);
        self.current = *self.by_region.entry(region).or_insert_with(|| {
            if let Some(table) = free.pop() {
                tables[table as usize].region = region;
                return table;
            }
            tables.push(Table { region, index: HashTable::new() });
            u32::try_from(tables.len() - 1).expect("there are no more regions than keys")
        });
    }

    /// Forgets a key; its id may be given to another key.
    pub(crate) fn remove(&mut self, id: u32) {
        let place = self.table_of[id as usize];
        let table = &mut self.tables[place as usize];
        let Ok(entry) = table.index.find_entry(self.hashes[id as usize], |other| *other == id) else { return };
        entry.remove();
        self.arena.remove(id);
        if table.index.is_empty() && place != self.current {
            self.free_table(place);
        }
    }

    /// Gives up a table that is empty.
    fn free_table(&mut self, place: u32) {
        let table = &mut self.tables[place as usize];
        self.by_region.remove(&table.region);
        table.index = HashTable::new();
        self.free_tables.push(place);
    }

    /// Forgets all keys, keeping memory.
    pub(crate) fn clear(&mut self) {
        self.tables.truncate(1);
        self.by_region.clear();
        self.free_tables.clear();
        self.current = 0;
        if let Some(table) = self.tables.first_mut() {
            table.index.clear();
            self.by_region.insert(table.region, 0);
        }
        self.table_of.clear();
        self.hashes.clear();
        self.arena.clear();
    }

    /// Ids in use, ascending.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.tables.iter().flat_map(|table| table.index.iter()).copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Bytes held, approximately.
    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self.tables.iter().map(|table| table.index.allocation_size()).sum();
        tables
            + self.tables.capacity() * (size_of::<Table>() + 2 * size_of::<(i64, u32)>())
            + self.hashes.capacity() * 8
            + self.table_of.capacity() * 4
            + self.arena.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Keys keep their ids until they are removed, whatever the order of regions, also where one empties.
        #[test]
        fn ids_are_those_of_a_map(
            steps in proptest::collection::vec((0_u8..12, 0_i64..4, 0_u8..6), 1..200),
            fixed in any::<bool>(),
        ) {
            let mut table = KeyTable::new(fixed.then_some(2));
            let mut known: BTreeMap<(i64, Vec<u8>), u32> = BTreeMap::new();
            for (step, region, byte) in steps {
                // One key is in one region only.
                let key = vec![u8::try_from(region).expect("small"), byte];
                let place = (region, key.clone());
                match step {
                    0 => {
                        table.clear();
                        known.clear();
                    }
                    1..=5 => {
                        if let Some(id) = known.remove(&place) {
                            table.remove(id);
                        }
                    }
                    _ => {
                        let id = table.find_or_insert_in(region, &key);
                        prop_assert_eq!(*known.entry(place).or_insert(id), id);
                    }
                }
                let mut ids: Vec<u32> = known.values().copied().collect();
                ids.sort_unstable();
                prop_assert_eq!(table.ids(), ids);
                prop_assert_eq!(table.len(), known.len());
                for region in 0..4 {
                    for byte in 0..6 {
                        let key = vec![u8::try_from(region).expect("small"), byte];
                        let id = known.get(&(region, key.clone())).copied();
                        prop_assert_eq!(table.find_in(region, &key), id);
                        prop_assert!(id.is_none_or(|id| table.key(id) == key));
                    }
                }
                let with_keys = known.keys().map(|(region, _)| region).collect::<std::collections::BTreeSet<_>>().len();
                prop_assert!(table.by_region.len() <= with_keys + 1, "a region without keys is given up");
            }
        }
    }
}
