//! Keys: hash tables of small ids over one arena of key bytes.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Arena, Hash, Index};

/// The table of an id without a key.
const GONE: u32 = u32::MAX;

/// Maps keys to dense ids. Ids of removed keys are used again.
///
/// Keys come with the region they are in (see [`Regions`](crate::model::Regions)); one key is always in
/// one region.
#[derive(Default)]
pub struct KeyTable {
    tables: Vec<Table>,
    by_region: HashMap<i64, u32, FixedState>,
    free_tables: Vec<u32>,
    /// The table used last.
    current: u32,
    /// The table of each id; [`GONE`] if its key was removed.
    table_of: Vec<u32>,
    arena: Arena,
}

/// The keys of a region.
struct Table {
    region: i64,
    index: Index,
}

impl KeyTable {
    /// Ids ever given are below this.
    pub fn slots(&self) -> usize {
        self.arena.slots()
    }

    /// Keys held.
    pub fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of an id.
    pub fn key(&self, id: u32) -> &[u8] {
        self.arena.get(id)
    }

    /// The id of a key without a region, if it is there.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.find_in(0, key)
    }

    /// The id of a key of a region, if it is there.
    pub fn find_in(&self, region: i64, key: &[u8]) -> Option<u32> {
        let table = &self.tables[*self.by_region.get(&region)? as usize];
        table.index.find(&self.arena, Hash::of(key), key)
    }

    /// The id of a key without a region, which is added if it is new.
    #[inline]
    pub fn find_or_insert(&mut self, key: &[u8]) -> u32 {
        self.find_or_insert_in(0, key)
    }

    /// The id of a key of a region, which is added if it is new.
    #[inline]
    pub fn find_or_insert_in(&mut self, region: i64, key: &[u8]) -> u32 {
        if self.tables.get(self.current as usize).is_none_or(|table| table.region != region) {
            self.turn_to(region);
        }
        let index = &mut self.tables[self.current as usize].index;
        let (id, is_new) = index.find_or_insert(&mut self.arena, Hash::of(key), key);
        if is_new {
            match self.table_of.get_mut(id as usize) {
                Some(table) => *table = self.current,
                None => self.table_of.push(self.current),
            }
        }
        id
    }

    /// Makes the table of a region the current one.
    #[cold]
    fn turn_to(&mut self, region: i64) {
        if self.tables.get(self.current as usize).is_some_and(|table| table.index.is_empty()) {
            self.free_table(self.current);
        }
        // A stretch of time has about as many keys as the one before.
        let expected = self.tables.get(self.current as usize).map_or(0, |table| table.index.len());
        let (tables, free) = (&mut self.tables, &mut self.free_tables);
        self.current = *self.by_region.entry(region).or_insert_with(|| {
            let table = Table { region, index: Index::with_capacity(expected) };
            if let Some(place) = free.pop() {
                tables[place as usize] = table;
                return place;
            }
            tables.push(table);
            u32::try_from(tables.len() - 1).expect("there are no more regions than keys")
        });
    }

    /// Forgets a key, unless it is forgotten already; its id may be given to another key.
    pub fn remove(&mut self, id: u32) {
        let place = std::mem::replace(&mut self.table_of[id as usize], GONE);
        if place == GONE {
            return;
        }
        let table = &mut self.tables[place as usize];
        let hash = Hash::of(self.arena.get(id));
        table.index.remove(&mut self.arena, hash, id);
        if table.index.is_empty() && place != self.current {
            self.free_table(place);
        }
    }

    /// Gives up a table that is empty.
    fn free_table(&mut self, place: u32) {
        let table = &mut self.tables[place as usize];
        self.by_region.remove(&table.region);
        table.index = Index::default();
        self.free_tables.push(place);
    }

    /// Forgets all keys, keeping memory.
    pub fn clear(&mut self) {
        self.tables.truncate(1);
        self.by_region.clear();
        self.free_tables.clear();
        self.current = 0;
        if let Some(table) = self.tables.first_mut() {
            table.index.clear();
            self.by_region.insert(table.region, 0);
        }
        self.table_of.clear();
        self.arena.clear();
    }

    /// Ids in use, ascending.
    pub fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.tables.iter().flat_map(|table| table.index.ids()).collect();
        ids.sort_unstable();
        ids
    }

    /// Bytes held, approximately.
    pub fn bytes(&self) -> usize {
        let tables: usize = self.tables.iter().map(|table| table.index.bytes()).sum();
        tables
            + self.tables.capacity() * (size_of::<Table>() + 2 * size_of::<(i64, u32)>())
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
        ) {
            let mut table = KeyTable::default();
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
