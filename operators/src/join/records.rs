//! What is known of a row and of a key beside their bytes.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// No row: what stands where a list of rows ends.
pub(super) const NONE: u32 = u32::MAX >> 1;
/// The bit of a mark beside 31 bits of a number.
const BIT: u32 = 1 << 31;

/// What is kept of a row beside its bytes. The rows of a key are a list in the order in which they came.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    /// The row before it, of the first row the last one; and whether the tick has touched it.
    previous: u32,
    /// The row after it, or [`NONE`].
    pub(super) next: u32,
    /// How often it is there, or [`MANY`]; of a row that the tick has touched, where it is among these.
    count: i32,
}

/// The count of a row that is there more often than 32 bits can say.
const MANY: i32 = i32::MIN;

impl Kept {
    /// A row that the tick has not touched, and that is not there.
    pub(super) fn new(previous: u32, next: u32) -> Kept {
        Kept { previous, next, count: 0 }
    }

    /// Of an id that no row has.
    pub(super) const FREE: Kept = Kept { previous: NONE, next: NONE, count: 0 };

    /// The row before it, of the first row the last one.
    pub(super) fn previous(&self) -> u32 {
        self.previous & !BIT
    }

    pub(super) fn set_previous(&mut self, id: u32) {
        self.previous = self.previous & BIT | id;
    }

    /// Where it is among the rows that the tick has touched, if it is one.
    #[inline]
    pub(super) fn touched(&self) -> Option<usize> {
        (self.previous & BIT != 0).then(|| usize::try_from(self.count).expect("a place among them"))
    }

    /// The tick touches it.
    pub(super) fn touch(&mut self, place: usize) {
        self.previous |= BIT;
        self.count = i32::try_from(place).expect("fewer than 2^31 rows fit in memory");
    }

    /// The end of the tick.
    pub(super) fn settle(&mut self) {
        self.previous &= !BIT;
    }
}

/// How often rows are there that the tick has not touched: beside the row, and the few large counts apart.
#[derive(Default)]
pub(super) struct Counts {
    many: HashMap<u32, i64, FixedState>,
}

impl Counts {
    #[inline]
    pub(super) fn get(&self, id: u32, kept: &Kept) -> i64 {
        if kept.count == MANY { self.many[&id] } else { i64::from(kept.count) }
    }

    #[inline]
    pub(super) fn set(&mut self, id: u32, kept: &mut Kept, count: i64) {
        if !self.many.is_empty() {
            self.many.remove(&id);
        }
        kept.count = i32::try_from(count).unwrap_or(MANY);
        if kept.count == MANY {
            self.many.insert(id, count);
        }
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.many.allocation_size()
    }
}

/// A row and how often it is there.
#[derive(Clone, Copy)]
pub(super) struct Slot {
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
    /// The id of the row's key.
    pub(super) key: u32,
    pub(super) before: i64,
    pub(super) change: i64,
    pub(super) listed: bool,
}

/// The rows of a key.
pub(super) struct Group {
    /// The first row, or [`NONE`].
    pub(super) first: u32,
    /// Where it is among the keys that the tick has touched, counted from 1, 0 if it is none; and whether its rows
    /// are in the index.
    marks: u32,
}

impl Default for Group {
    fn default() -> Group {
        Group { first: NONE, marks: 0 }
    }
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Whether its rows are in the index.
    pub(super) fn is_indexed(&self) -> bool {
        self.marks & BIT != 0
    }

    pub(super) fn set_indexed(&mut self, indexed: bool) {
        self.marks = self.marks & !BIT | if indexed { BIT } else { 0 };
    }

    /// Where it is among the keys that the tick has touched, if it is one.
    pub(super) fn touched(&self) -> Option<usize> {
        ((self.marks & !BIT) as usize).checked_sub(1)
    }

    /// The tick touches it, as the last of so many keys.
    pub(super) fn touch(&mut self, keys: usize) {
        let place = u32::try_from(keys).ok().filter(|place| place & BIT == 0);
        self.marks = self.marks & BIT | place.expect("fewer than 2^31 keys fit in memory");
    }

    /// The end of the tick.
    pub(super) fn settle(&mut self) {
        self.marks &= BIT;
    }
}

/// A row that the tick has touched.
#[derive(Clone, Copy)]
pub(super) struct Touched {
    /// Its id.
    pub(super) id: u32,
    /// The id of its key.
    pub(super) key: u32,
    /// A row of the tick's changes that is equal to it.
    pub(super) row: u32,
    /// How often it was there before the tick.
    pub(super) before: i64,
    /// How that changes in this tick.
    pub(super) change: i64,
}

/// A key that the tick has touched.
#[derive(Clone, Copy)]
pub(super) struct TouchedKey {
    /// Its id.
    pub(super) key: u32,
    /// How many more rows it has.
    pub(super) change: i64,
}
