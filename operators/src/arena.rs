//! Bytes of rows by small ids, one after another in memory.

/// Below this many dead bytes an arena is not worth compacting.
const COMPACT_BYTES: usize = 1 << 16;
/// Of a row that is not there.
const NOWHERE: usize = usize::MAX;

/// Rows by id. Ids of removed rows are used again.
#[derive(Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    /// With one width for all rows the place follows from the id.
    width: Option<usize>,
    /// Otherwise: where each row starts, with its length before it.
    starts: Vec<usize>,
    rows: usize,
    free: Vec<u32>,
    dead_bytes: usize,
}

impl Arena {
    /// For rows of one width, or of any width.
    pub(crate) fn new(width: Option<usize>) -> Arena {
        Arena { width, ..Arena::default() }
    }

    /// The bytes of a row that is there.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> &[u8] {
        if let Some(width) = self.width {
            return &self.bytes[id as usize * width..(id as usize + 1) * width];
        }
        let bytes = &self.bytes[self.starts[id as usize]..];
        let (head, len) = match bytes[0] {
            short if short < 0x80 => (1, usize::from(short)),
            _ => long_length(bytes),
        };
        &bytes[head..head + len]
    }

    /// Puts a row in; its id.
    pub(crate) fn insert(&mut self, row: &[u8]) -> u32 {
        let free = self.free.pop();
        let id = free.unwrap_or_else(|| u32::try_from(self.rows).expect("fewer than 2^32 rows fit in memory"));
        self.rows += usize::from(free.is_none());
        match (self.width, free) {
            (Some(width), Some(_)) => self.bytes[id as usize * width..][..width].copy_from_slice(row),
            (Some(_), None) => self.bytes.extend_from_slice(row),
            (None, free) => {
                let start = self.bytes.len();
                self.push_length(row.len());
                self.bytes.extend_from_slice(row);
                match free {
                    Some(_) => self.starts[id as usize] = start,
                    None => self.starts.push(start),
                }
            }
        }
        id
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn push_length(&mut self, mut len: usize) {
        while len >= 0x80 {
            self.bytes.push(len.to_le_bytes()[0] | 0x80);
            len >>= 7;
        }
        self.bytes.push(len.to_le_bytes()[0]);
    }

    /// Takes a row out; its id may be given to another row.
    pub(crate) fn remove(&mut self, id: u32) {
        if self.width.is_none() {
            self.dead_bytes += self.get(id).len() + 1;
            self.starts[id as usize] = NOWHERE;
            if self.dead_bytes > COMPACT_BYTES && self.dead_bytes > self.bytes.len() / 2 {
                self.compact();
            }
        }
        self.free.push(id);
    }

    fn compact(&mut self) {
        let old = std::mem::take(self);
        self.bytes = Vec::with_capacity(old.bytes.len() - old.dead_bytes);
        self.starts = Vec::with_capacity(old.starts.len());
        for id in 0..u32::try_from(old.starts.len()).expect("ids are of 32 bits") {
            if old.starts[id as usize] == NOWHERE {
                self.starts.push(NOWHERE);
                continue;
            }
            let row = old.get(id);
            self.starts.push(self.bytes.len());
            self.push_length(row.len());
            self.bytes.extend_from_slice(row);
        }
        (self.rows, self.free) = (old.rows, old.free);
    }

    /// Takes all rows out, keeping memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
        self.free.clear();
        (self.rows, self.dead_bytes) = (0, 0);
    }

    /// Rows held.
    pub(crate) fn len(&self) -> usize {
        self.rows - self.free.len()
    }

    /// Ids ever given are below this.
    pub(crate) fn slots(&self) -> usize {
        self.rows
    }

    /// Bytes held, approximately.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<usize>() + self.free.capacity() * 4
    }
}

/// The bytes of a length, and the length.
#[cold]
fn long_length(bytes: &[u8]) -> (usize, usize) {
    let (mut len, mut head) = (0, 0);
    loop {
        let byte = bytes[head];
        len |= usize::from(byte & 0x7f) << (7 * head);
        head += 1;
        if byte < 0x80 {
            return (head, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is in an arena is what was put in and not taken out, through any number of compactions.
        #[test]
        fn rows_stay_what_they_are(
            steps in proptest::collection::vec((any::<bool>(), 0_usize..300, any::<u8>()), 1..200),
            fixed in any::<bool>(),
            scale in prop_oneof![Just(1_usize), Just(100)],
        ) {
            let mut arena = Arena::new(fixed.then_some(7));
            let mut known: Vec<(u32, Vec<u8>)> = Vec::new();
            for (put, len, byte) in steps {
                if put || known.is_empty() {
                    let row = vec![byte; if fixed { 7 } else { len * scale }];
                    let id = arena.insert(&row);
                    prop_assert!(known.iter().all(|(other, _)| *other != id));
                    known.push((id, row));
                } else {
                    let (id, _) = known.swap_remove(len % known.len());
                    arena.remove(id);
                }
                prop_assert_eq!(arena.len(), known.len());
            }
            for (id, row) in &known {
                prop_assert_eq!(arena.get(*id), row.as_slice());
            }
        }
    }
}
