//! Group keys: a hash table of small ids over one arena of key bytes.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

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
#[derive(Default)]
pub(crate) struct KeyTable {
    index: HashTable<u32>,
    hashes: Vec<u64>,
    arena: Arena,
    free: Vec<u32>,
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

    /// The id of a key, if it is there.
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        self.index.find(hash(key), |id| self.arena.get(*id as usize) == key).copied()
    }

    /// The id of a key, which is added if it is new.
    #[inline]
    pub(crate) fn find_or_insert(&mut self, key: &[u8]) -> u32 {
        let hash = hash(key);
        let (arena, hashes) = (&self.arena, &self.hashes);
        let entry = self.index.entry(hash, |id| arena.get(*id as usize) == key, |id| hashes[*id as usize]);
        match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let id = match self.free.pop() {
                    Some(id) => {
                        self.hashes[id as usize] = hash;
                        self.arena.replace(id as usize, key);
                        id
                    }
                    None => {
                        let id = u32::try_from(self.hashes.len()).expect("fewer than 2^32 groups fit in memory");
                        self.hashes.push(hash);
                        self.arena.push(key);
                        id
                    }
                };
                entry.insert(id);
                id
            }
        }
    }

    /// Forgets a key; its id may be given to another key.
    pub(crate) fn remove(&mut self, id: u32) {
        if let Ok(entry) = self.index.find_entry(self.hashes[id as usize], |other| *other == id) {
            entry.remove();
            self.arena.release(id as usize);
            self.free.push(id);
        }
    }

    /// Forgets all keys, keeping memory.
    pub(crate) fn clear(&mut self) {
        self.index.clear();
        self.hashes.clear();
        self.free.clear();
        self.arena.bytes.clear();
        self.arena.places.clear();
        self.arena.dead_bytes = 0;
    }

    /// Ids in use, ascending.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.index.iter().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Bytes held, approximately.
    pub(crate) fn bytes(&self) -> usize {
        self.index.allocation_size() + self.hashes.capacity() * 8 + self.arena.bytes() + self.free.capacity() * 4
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
