//! Keys: hash tables of small ids over one arena of key bytes.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

/// Fixed, so that every run is the same; the output never depends on it.
const SEED: u64 = 0x6869_6768_7761_7465;
/// Below this many dead bytes an arena is not worth compacting.
const COMPACT_BYTES: usize = 1 << 16;

/// The hash of a key.
#[inline]
pub(crate) fn hash(key: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(SEED).build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// Maps keys to dense ids. Ids of removed keys are used again.
///
/// Keys come with the region they are in (see [`Regions`](highwater_engine::model::Regions)); one key is always in one region.
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
    free: Vec<u32>,
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
        KeyTable { arena: Arena { width, ..Arena::default() }, ..KeyTable::default() }
    }

    /// Ids ever given are below this.
    pub(crate) fn slots(&self) -> usize {
        self.hashes.len()
    }

    /// Keys held.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len() - self.free.len()
    }

    /// The key of an id.
    pub(crate) fn key(&self, id: u32) -> &[u8] {
        self.arena.get(id as usize)
    }

    /// The id of a key without a region, if it is there.
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        self.find_in(0, key)
    }

    /// The id of a key of a region, if it is there.
    pub(crate) fn find_in(&self, region: i64, key: &[u8]) -> Option<u32> {
        let table = &self.tables[*self.by_region.get(&region)? as usize];
        table.index.find(hash(key), |id| self.arena.get(*id as usize) == key).copied()
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
        let entry = index.entry(hash, |id| arena.get(*id as usize) == key, |id| hashes[*id as usize]);
        match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let id = match self.free.pop() {
                    Some(id) => {
                        self.hashes[id as usize] = hash;
                        self.table_of[id as usize] = self.current;
                        self.arena.replace(id as usize, key);
                        id
                    }
                    None => {
                        let id = u32::try_from(self.hashes.len()).expect("fewer than 2^32 groups fit in memory");
                        self.hashes.push(hash);
                        self.table_of.push(self.current);
                        self.arena.push(key);
                        id
                    }
                };
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
        self.arena.release(id as usize);
        self.free.push(id);
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
        self.free.clear();
        self.arena.bytes.clear();
        self.arena.places.clear();
        self.arena.dead_bytes = 0;
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
            + self.free.capacity() * 4
    }
}

/// Keys one after another.
#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
    /// With one width for all keys the place follows from the id.
    width: Option<usize>,
    places: Vec<(usize, usize)>,
    dead_bytes: usize,
}

impl Arena {
    #[inline]
    fn get(&self, id: usize) -> &[u8] {
        match self.width {
            Some(width) => &self.bytes[id * width..(id + 1) * width],
            None => {
                let (start, end) = self.places[id];
                &self.bytes[start..end]
            }
        }
    }

    fn push(&mut self, key: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        if self.width.is_none() {
            self.places.push((start, self.bytes.len()));
        }
    }

    fn replace(&mut self, id: usize, key: &[u8]) {
        if let Some(width) = self.width {
            self.bytes[id * width..(id + 1) * width].copy_from_slice(key);
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.places[id] = (start, self.bytes.len());
    }

    fn release(&mut self, id: usize) {
        if self.width.is_some() {
            return;
        }
        let (start, end) = self.places[id];
        self.dead_bytes += end - start;
        self.places[id] = (0, 0);
        if self.dead_bytes > COMPACT_BYTES && self.dead_bytes > self.bytes.len() / 2 {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.dead_bytes);
        for (start, end) in &mut self.places {
            let place = bytes.len();
            bytes.extend_from_slice(&self.bytes[*start..*end]);
            (*start, *end) = (place, bytes.len());
        }
        self.bytes = bytes;
        self.dead_bytes = 0;
    }

    fn bytes(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<(usize, usize)>()
    }
}
