//! Bytes of rows by small ids, one after another in memory.

/// Below this many dead bytes an arena is not worth compacting.
const COMPACT_BYTES: usize = 1 << 16;

/// Rows by id. Ids of removed rows are used again.
#[derive(Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    /// With one width for all rows the place follows from the id.
    width: Option<usize>,
    places: Vec<(usize, usize)>,
    rows: usize,
    free: Vec<u32>,
    dead_bytes: usize,
}

impl Arena {
    /// For rows of one width, or of any width.
    pub(super) fn new(width: Option<usize>) -> Arena {
        Arena { width, ..Arena::default() }
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let (start, end) = match self.width {
            Some(width) => (id as usize * width, (id as usize + 1) * width),
            None => self.places[id as usize],
        };
        &self.bytes[start..end]
    }

    /// Puts a row in; its id.
    pub(super) fn insert(&mut self, row: &[u8]) -> u32 {
        let free = self.free.pop();
        let id = free.unwrap_or_else(|| u32::try_from(self.rows).expect("fewer than 2^32 rows fit in memory"));
        if let (Some(width), Some(_)) = (self.width, free) {
            self.bytes[id as usize * width..][..width].copy_from_slice(row);
            return id;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(row);
        match (self.width, free) {
            (None, Some(_)) => self.places[id as usize] = (start, self.bytes.len()),
            (None, None) => self.places.push((start, self.bytes.len())),
            (Some(_), _) => {}
        }
        self.rows += usize::from(free.is_none());
        id
    }

    /// Takes a row out; its id may be given to another row.
    pub(super) fn remove(&mut self, id: u32) {
        self.free.push(id);
        if self.width.is_none() {
            let (start, end) = std::mem::take(&mut self.places[id as usize]);
            self.dead_bytes += end - start;
            if self.dead_bytes > COMPACT_BYTES && self.dead_bytes > self.bytes.len() / 2 {
                self.compact();
            }
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

    /// Rows held.
    pub(super) fn len(&self) -> usize {
        self.rows - self.free.len()
    }

    /// Ids ever given are below this.
    pub(super) fn slots(&self) -> usize {
        self.rows
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<(usize, usize)>() + self.free.capacity() * 4
    }
}
