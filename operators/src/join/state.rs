//! Rows of one side by key, each once with its multiplicity.

use crate::aggregate::KeyTable;

/// Bytes in front of a row that tell its key.
const KEY_ID_BYTES: usize = size_of::<u32>();

/// A row and how often it is there.
#[derive(Clone, Copy, Default)]
pub(super) struct Slot {
    /// The id of its key.
    pub(super) key: u32,
    /// Where it is among the rows of its key.
    place: u32,
    /// How often it was there before the tick.
    pub(super) before: i64,
    /// How that changes in this tick.
    pub(super) change: i64,
    /// Whether the tick has touched it.
    pub(super) touched: bool,
}

impl Slot {
    /// How often it is there after the tick.
    pub(super) fn after(&self) -> i64 {
        self.before + self.change
    }
}

/// How many rows of the other side a row matches; kept only where a condition makes that differ within a key.
#[derive(Clone, Copy, Default)]
pub(super) struct Matches {
    pub(super) before: i64,
    pub(super) change: i64,
    listed: bool,
}

/// The rows of a key.
#[derive(Default)]
pub(super) struct Group {
    rows: Bucket,
    /// Rows with their multiplicity before the tick.
    pub(super) before: i64,
    /// How that changes in this tick.
    pub(super) change: i64,
    listed: bool,
}

/// Ids of rows; few of them without an allocation.
enum Bucket {
    Few { len: u8, ids: [u32; 5] },
    Many(Vec<u32>),
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket::Few { len: 0, ids: [0; 5] }
    }
}

impl Bucket {
    fn ids(&self) -> &[u32] {
        match self {
            Bucket::Few { len, ids } => &ids[..usize::from(*len)],
            Bucket::Many(ids) => ids,
        }
    }

    fn push(&mut self, id: u32) {
        match self {
            Bucket::Many(ids) => ids.push(id),
            Bucket::Few { len, ids } if usize::from(*len) < ids.len() => {
                ids[usize::from(*len)] = id;
                *len += 1;
            }
            Bucket::Few { ids, .. } => {
                let mut many = Vec::with_capacity(4 * ids.len());
                many.extend_from_slice(ids);
                many.push(id);
                *self = Bucket::Many(many);
            }
        }
    }

    /// Takes the id at a place out; the id that takes its place, if one does.
    fn swap_remove(&mut self, place: usize) -> Option<u32> {
        match self {
            Bucket::Many(ids) => {
                ids.swap_remove(place);
                let moved = ids.get(place).copied();
                if ids.is_empty() {
                    *self = Bucket::default();
                }
                moved
            }
            Bucket::Few { len, ids } => {
                *len -= 1;
                ids[place] = ids[usize::from(*len)];
                (place < usize::from(*len)).then(|| ids[place])
            }
        }
    }
}

/// A row that the tick has touched.
#[derive(Clone, Copy)]
pub(super) struct Touched {
    /// Its id.
    pub(super) id: u32,
    /// A row of the tick's changes that is equal to it.
    pub(super) row: u32,
}

/// The rows of one side.
pub(super) struct Side {
    /// The id of the key, then the row.
    rows: KeyTable,
    slots: Vec<Slot>,
    /// By row id; empty unless matches are counted.
    matches: Vec<Matches>,
    counts_matches: bool,
    /// By key id.
    groups: Vec<Group>,
    scratch: Vec<u8>,
    /// Rows of the tick, in the order of its changes.
    pub(super) touched: Vec<Touched>,
    /// Keys of these rows.
    pub(super) touched_keys: Vec<u32>,
    /// Rows whose matches the tick has changed.
    pub(super) rematched: Vec<u32>,
    /// All rows with their multiplicity before the tick.
    pub(super) before: i64,
    /// How that changes in this tick.
    pub(super) change: i64,
}

impl Side {
    /// No rows. `width`: bytes of every row, if they are equally long.
    pub(super) fn new(width: Option<usize>, counts_matches: bool) -> Side {
        Side {
            rows: KeyTable::new(width.map(|width| width + KEY_ID_BYTES)),
            slots: Vec::new(),
            matches: Vec::new(),
            counts_matches,
            groups: Vec::new(),
            scratch: Vec::new(),
            touched: Vec::new(),
            touched_keys: Vec::new(),
            rematched: Vec::new(),
            before: 0,
            change: 0,
        }
    }

    /// Changes how often a row of a key is there; `row` is where the change stands in the tick.
    /// Gives the id of the row.
    pub(super) fn change(&mut self, key: u32, bytes: &[u8], row: u32, diff: i64) -> u32 {
        self.scratch.clear();
        self.scratch.extend_from_slice(&key.to_le_bytes());
        self.scratch.extend_from_slice(bytes);
        let id = self.rows.find_or_insert(&self.scratch);
        if key as usize >= self.groups.len() {
            self.groups.resize_with(key as usize + 1, Group::default);
        }
        let group = &mut self.groups[key as usize];
        if id as usize >= self.slots.len() {
            self.slots.resize(id as usize + 1, Slot::default());
            if self.counts_matches {
                self.matches.resize(id as usize + 1, Matches::default());
            }
        }
        let slot = &mut self.slots[id as usize];
        if !slot.touched {
            if slot.before == 0 {
                let place = u32::try_from(group.rows.ids().len()).expect("fewer than 2^32 rows fit in memory");
                *slot = Slot { key, place, ..Slot::default() };
                group.rows.push(id);
            }
            slot.touched = true;
            self.touched.push(Touched { id, row });
        }
        if !group.listed {
            group.listed = true;
            self.touched_keys.push(key);
        }
        slot.change += diff;
        group.change += diff;
        self.change += diff;
        id
    }

    pub(super) fn slot(&self, id: u32) -> &Slot {
        &self.slots[id as usize]
    }

    /// The matches of a row. Only where they are counted.
    pub(super) fn matches(&self, id: u32) -> Matches {
        self.matches[id as usize]
    }

    /// Whether matches are counted row by row.
    pub(super) fn counts_matches(&self) -> bool {
        self.counts_matches
    }

    /// Changes how many rows a row matches.
    pub(super) fn rematch(&mut self, id: u32, change: i64) {
        if change == 0 {
            return;
        }
        let matches = &mut self.matches[id as usize];
        matches.change += change;
        if !matches.listed {
            matches.listed = true;
            self.rematched.push(id);
        }
    }

    /// Ids of the rows of a key, those of the tick included.
    pub(super) fn rows_of(&self, key: u32) -> &[u32] {
        self.groups.get(key as usize).map_or(&[], |group| group.rows.ids())
    }

    /// How many rows a key had before the tick and how that changes.
    pub(super) fn total(&self, key: u32) -> (i64, i64) {
        self.groups.get(key as usize).map_or((0, 0), |group| (group.before, group.change))
    }

    /// The bytes of a row.
    pub(super) fn bytes_of(&self, id: u32) -> &[u8] {
        &self.rows.key(id)[KEY_ID_BYTES..]
    }

    /// The end of a tick: what changed becomes what is.
    pub(super) fn settle(&mut self) {
        for id in std::mem::take(&mut self.rematched) {
            let matches = &mut self.matches[id as usize];
            *matches = Matches { before: matches.before + matches.change, ..Matches::default() };
        }
        let mut touched = std::mem::take(&mut self.touched);
        for Touched { id, .. } in touched.drain(..) {
            let slot = &mut self.slots[id as usize];
            *slot = Slot { before: slot.after(), change: 0, touched: false, ..*slot };
            if slot.before == 0 {
                self.forget(id);
            }
        }
        self.touched = touched;
        for key in &self.touched_keys {
            let group = &mut self.groups[*key as usize];
            group.before += group.change;
            (group.change, group.listed) = (0, false);
        }
        self.before += self.change;
        self.change = 0;
    }

    /// Takes a row out of its group.
    fn forget(&mut self, id: u32) {
        let slot = std::mem::take(&mut self.slots[id as usize]);
        if let Some(moved) = self.groups[slot.key as usize].rows.swap_remove(slot.place as usize) {
            self.slots[moved as usize].place = slot.place;
        }
        if self.counts_matches {
            self.matches[id as usize] = Matches::default();
        }
        self.rows.remove(id);
    }

    /// Drops a key with its rows. Between ticks.
    pub(super) fn drop_key(&mut self, key: u32) {
        let Some(group) = self.groups.get_mut(key as usize) else { return };
        let group = std::mem::take(group);
        self.before -= group.before;
        for id in group.rows.ids() {
            self.slots[*id as usize] = Slot::default();
            if self.counts_matches {
                self.matches[*id as usize] = Matches::default();
            }
            self.rows.remove(*id);
        }
    }

    /// Ids of all rows, ascending.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.rows.ids()
    }

    /// Rows ever held are below this.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Sets how many rows a row matches: from saved state.
    pub(super) fn restore_matches(&mut self, id: u32, matches: i64) {
        if self.counts_matches {
            self.matches[id as usize].before = matches;
        }
    }

    /// Rows held.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        let many: usize = self
            .groups
            .iter()
            .map(|group| match &group.rows {
                Bucket::Many(ids) => ids.capacity() * size_of::<u32>(),
                Bucket::Few { .. } => 0,
            })
            .sum();
        self.rows.bytes()
            + self.slots.capacity() * size_of::<Slot>()
            + self.matches.capacity() * size_of::<Matches>()
            + self.groups.capacity() * size_of::<Group>()
            + many
    }
}
