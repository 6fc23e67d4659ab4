//! Bytes of rows by small ids, one after another in memory.

/// Below this many dead bytes an arena is not worth compacting.
const COMPACT_BYTES: usize = 1 << 16;
/// Of a row that is not there.
const NOWHERE: usize = usize::MAX;

/// Rows by id. Ids of removed rows are used again.
///
/// While all rows are equally long, where a row is follows from its id and nothing is kept beside the bytes: so are
/// most keys, whose text is addresses. The first row of another length costs one pass over all of them.
#[derive(Default)]
pub struct Arena {
    bytes: Vec<u8>,
    /// Bytes of every row, unless they vary.
    width: usize,
    varies: bool,
    /// If they vary: where each row starts, with its length before it.
    starts: Vec<usize>,
    rows: usize,
    free: Vec<u32>,
    dead_bytes: usize,
}

impl Arena {
    /// The bytes of a row that is there.
    #[inline]
    pub fn get(&self, id: u32) -> &[u8] {
        if !self.varies {
            return &self.bytes[id as usize * self.width..][..self.width];
        }
        let bytes = &self.bytes[self.starts[id as usize]..];
        let (head, len) = match bytes[0] {
            short if short < 0x80 => (1, usize::from(short)),
            _ => long_length(bytes),
        };
        &bytes[head..head + len]
    }

    /// Puts a row in; its id.
    #[inline]
    pub fn insert(&mut self, row: &[u8]) -> u32 {
        if row.len() != self.width && !self.varies {
            self.change_width(row.len());
        }
        let free = self.free.pop();
        let id = free.unwrap_or_else(|| u32::try_from(self.rows).expect("fewer than 2^32 rows fit in memory"));
        self.rows += usize::from(free.is_none());
        match (self.varies, free) {
            (false, Some(_)) => self.bytes[id as usize * self.width..][..self.width].copy_from_slice(row),
            (false, None) => self.bytes.extend_from_slice(row),
            (true, free) => {
                let start = self.push(row);
                match free {
                    Some(_) => self.starts[id as usize] = start,
                    None => self.starts.push(start),
                }
            }
        }
        id
    }

    /// A row of another length comes: the first one, or one that is not like those before.
    #[cold]
    fn change_width(&mut self, width: usize) {
        if self.rows == 0 {
            self.width = width;
        } else {
            self.rewrite();
        }
    }

    /// A row behind its length; where it starts. Seven bits of the length a byte, the lowest first; the highest bit
    /// says that more follow.
    fn push(&mut self, row: &[u8]) -> usize {
        let start = self.bytes.len();
        let mut len = row.len();
        while len >= 0x80 {
            self.bytes.push(len.to_le_bytes()[0] | 0x80);
            len >>= 7;
        }
        self.bytes.push(len.to_le_bytes()[0]);
        self.bytes.extend_from_slice(row);
        start
    }

    /// Takes a row out; its id may be given to another row.
    pub fn remove(&mut self, id: u32) {
        if self.varies {
            self.dead_bytes += self.get(id).len() + 1;
        }
        self.free.push(id);
        if self.dead_bytes > COMPACT_BYTES && self.dead_bytes > self.bytes.len() / 2 {
            self.rewrite();
        }
    }

    /// Rows of any length, without those that are gone.
    fn rewrite(&mut self) {
        let old = std::mem::take(self);
        let mut is_free = vec![false; old.rows];
        old.free.iter().for_each(|id| is_free[*id as usize] = true);
        self.varies = true;
        self.bytes = Vec::with_capacity(old.bytes.len() - old.dead_bytes);
        self.starts = Vec::with_capacity(old.rows);
        for (id, is_free) in (0..).zip(is_free) {
            let start = if is_free { NOWHERE } else { self.push(old.get(id)) };
            self.starts.push(start);
        }
        (self.rows, self.free) = (old.rows, old.free);
    }

    /// Takes all rows out, keeping memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
        self.free.clear();
        (self.rows, self.dead_bytes, self.varies) = (0, 0, false);
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.rows - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids ever given are below this.
    pub fn slots(&self) -> usize {
        self.rows
    }

    /// Bytes held, approximately.
    pub fn bytes(&self) -> usize {
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
        /// What is in an arena is what was put in and not taken out, also where rows of one length turn into rows of
        /// any, through any number of compactions.
        #[test]
        fn rows_stay_what_they_are(
            steps in proptest::collection::vec((any::<bool>(), 0_usize..300, any::<u8>()), 1..200),
            fixed in prop_oneof![Just(0_usize), 0_usize..200, Just(200)],
            scale in prop_oneof![Just(1_usize), Just(100)],
        ) {
            let mut arena = Arena::default();
            let mut known: Vec<(u32, Vec<u8>)> = Vec::new();
            for (step, (put, len, byte)) in steps.into_iter().enumerate() {
                if put || known.is_empty() {
                    let row = vec![byte; if step < fixed { 7 } else { len * scale }];
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
            arena.clear();
            let id = arena.insert(b"four");
            prop_assert_eq!((id, arena.get(id)), (0, b"four".as_slice()));
        }
    }
}
