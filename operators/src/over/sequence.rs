//! The rows of one partition in order, in chunks.
//!
//! Each chunk may carry the state of running functions before its first row. A prefix of the chunks has right
//! states; a change ends that prefix at its chunk, and running on from there makes the rest right again.

use std::rc::Rc;

use super::accumulator::Accumulator;
use super::cell::Cell;

/// Most rows of a chunk.
const CHUNK_ROWS: usize = 64;
/// A chunk with fewer rows takes in the next one, if both together stay well below the most.
const SMALL_ROWS: usize = 16;
/// Most rows of two chunks that become one.
const MERGED_ROWS: usize = 48;

/// One copy of a row.
#[derive(Clone, Debug)]
pub(super) struct Element {
    /// A key of [`crate::ordering::RowOrder`].
    pub(super) key: Rc<[u8]>,
    /// Bytes of the key that are the sort columns.
    pub(super) sort_width: usize,
    /// What the calls read of it, slot by slot.
    pub(super) values: Box<[Cell]>,
    /// What was last answered, call by call; nothing until it was.
    pub(super) results: Box<[Cell]>,
}

impl Element {
    fn sorted(&self) -> &[u8] {
        &self.key[..self.sort_width]
    }

    /// Whether both are equal in the sort columns.
    pub(super) fn is_peer(&self, other: &Element) -> bool {
        self.sorted() == other.sorted()
    }
}

/// What running functions know of all rows before a row.
#[derive(Clone, Default, Debug)]
pub(super) struct State {
    /// How many there are.
    pub(super) before: usize,
    /// The rank of the last one.
    pub(super) rank: usize,
    /// The dense rank of the last one.
    pub(super) dense: usize,
    /// One for each running call.
    pub(super) accumulators: Vec<Accumulator>,
}

struct Chunk {
    /// Not empty.
    rows: Vec<Element>,
    /// Never read of the first chunk.
    state: State,
}

/// A place among the rows; the end is the first place of the chunk that is not there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Cursor {
    pub(super) chunk: usize,
    row: usize,
}

impl Cursor {
    pub(super) const START: Cursor = Cursor { chunk: 0, row: 0 };
}

/// The rows of a partition.
#[derive(Default)]
pub(super) struct Sequence {
    chunks: Vec<Chunk>,
    /// The states of so many chunks are right.
    valid: usize,
}

impl Sequence {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn end(&self) -> Cursor {
        Cursor { chunk: self.chunks.len(), row: 0 }
    }

    /// All rows in order.
    pub(super) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.chunks.iter().flat_map(|chunk| &chunk.rows)
    }

    pub(super) fn get(&self, at: Cursor) -> Option<&Element> {
        self.chunks.get(at.chunk).and_then(|chunk| chunk.rows.get(at.row))
    }

    pub(super) fn get_mut(&mut self, at: Cursor) -> Option<&mut Element> {
        self.chunks.get_mut(at.chunk).and_then(|chunk| chunk.rows.get_mut(at.row))
    }

    /// The first row that is not before this key.
    pub(super) fn lower(&self, key: &[u8]) -> Cursor {
        self.first(|element| element.key.as_ref() < key)
    }

    /// The first row after this key.
    pub(super) fn upper(&self, key: &[u8]) -> Cursor {
        self.first(|element| element.key.as_ref() <= key)
    }

    fn first(&self, is_before: impl Fn(&Element) -> bool) -> Cursor {
        let chunk = self.chunks.partition_point(|chunk| chunk.rows.last().is_some_and(&is_before));
        let row = self.chunks.get(chunk).map_or(0, |chunk| chunk.rows.partition_point(&is_before));
        Cursor { chunk, row }
    }

    /// The place after this one, which is not the end.
    pub(super) fn next(&self, at: Cursor) -> Cursor {
        if at.row + 1 < self.chunks[at.chunk].rows.len() {
            Cursor { row: at.row + 1, ..at }
        } else {
            Cursor { chunk: at.chunk + 1, row: 0 }
        }
    }

    /// The place before this one, unless it is the start.
    pub(super) fn previous(&self, at: Cursor) -> Option<Cursor> {
        match (at.row.checked_sub(1), at.chunk.checked_sub(1)) {
            (Some(row), _) => Some(Cursor { row, ..at }),
            (None, Some(chunk)) => Some(Cursor { chunk, row: self.chunks[chunk].rows.len() - 1 }),
            (None, None) => None,
        }
    }

    /// So many rows back, at most to the start. Visits chunks, not rows.
    pub(super) fn back(&self, mut at: Cursor, mut rows: usize) -> Cursor {
        while rows > at.row {
            let Some(chunk) = at.chunk.checked_sub(1) else { return Cursor::START };
            rows -= at.row;
            at = Cursor { chunk, row: self.chunks[chunk].rows.len() };
        }
        Cursor { row: at.row - rows, ..at }
    }

    /// So many rows forward, at most to the end. Visits chunks, not rows.
    pub(super) fn forward(&self, mut at: Cursor, mut rows: usize) -> Cursor {
        while let Some(chunk) = self.chunks.get(at.chunk) {
            let left = chunk.rows.len() - at.row;
            if rows < left {
                return Cursor { row: at.row + rows, ..at };
            }
            rows -= left;
            at = Cursor { chunk: at.chunk + 1, row: 0 };
        }
        self.end()
    }

    /// Adds a row after its copies.
    pub(super) fn insert(&mut self, element: Element) {
        let mut at = self.upper(&element.key);
        if let (0, Some(chunk)) = (at.row, at.chunk.checked_sub(1)) {
            at = Cursor { chunk, row: self.chunks[chunk].rows.len() };
        }
        let is_last = at.chunk + 1 == self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(at.chunk) else {
            self.chunks.push(Chunk { rows: vec![element], state: State::default() });
            self.valid = 1;
            return;
        };
        self.valid = self.valid.min(at.chunk + 1);
        if chunk.rows.len() < CHUNK_ROWS {
            chunk.rows.insert(at.row, element);
            return;
        }
        // Rows that come in order fill chunks; others split them.
        let rows = if is_last && at.row == CHUNK_ROWS {
            vec![element]
        } else {
            chunk.rows.insert(at.row, element);
            chunk.rows.split_off(CHUNK_ROWS / 2)
        };
        self.chunks.insert(at.chunk + 1, Chunk { rows, state: State::default() });
    }

    /// Takes out the last copy of a row, if there is one.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Element> {
        let at = self.previous(self.upper(key))?;
        if self.get(at)?.key.as_ref() != key {
            return None;
        }
        let chunk = &mut self.chunks[at.chunk];
        let element = chunk.rows.remove(at.row);
        self.valid = self.valid.min(at.chunk + 1);
        let left = chunk.rows.len();
        let next = self.chunks.get(at.chunk + 1).map_or(MERGED_ROWS, |next| next.rows.len());
        if left < SMALL_ROWS && left + next <= MERGED_ROWS && at.chunk + 1 < self.chunks.len() {
            let next = self.chunks.remove(at.chunk + 1);
            self.chunks[at.chunk].rows.extend(next.rows);
        } else if left == 0 {
            // What is known of the rows before it is known of the rows before the next one.
            let empty = self.chunks.remove(at.chunk);
            if let Some(next) = self.chunks.get_mut(at.chunk) {
                next.state = empty.state;
            }
            self.valid = self.valid.min(self.chunks.len());
        }
        Some(element)
    }

    /// The first place of the last chunk with a right state at or before this place.
    pub(super) fn start_of_running(&self, at: Cursor) -> Cursor {
        Cursor { chunk: at.chunk.min(self.valid.saturating_sub(1)), row: 0 }
    }

    /// What is known of the rows before a chunk with a right state; `None` for the first.
    pub(super) fn state(&self, chunk: usize) -> Option<&State> {
        debug_assert!(chunk < self.valid, "the state was asked for before it was made");
        if chunk == 0 { None } else { Some(&self.chunks[chunk].state) }
    }

    /// States of the chunks after this one, to the last.
    pub(super) fn set_states(&mut self, first: usize, states: Vec<State>) {
        for (chunk, state) in self.chunks[first + 1..].iter_mut().zip(states) {
            chunk.state = state;
        }
        self.valid = self.chunks.len();
    }

    /// The rows between two places, and at which of them chunks begin (but for the first).
    pub(super) fn slice(&self, from: Cursor, to: Cursor) -> (Vec<&Element>, Vec<usize>) {
        let (mut rows, mut starts) = (Vec::new(), Vec::new());
        for index in from.chunk..=to.chunk.min(self.chunks.len().saturating_sub(1)) {
            let all = &self.chunks[index].rows;
            let first = if index == from.chunk { from.row } else { 0 };
            let last = if index == to.chunk { to.row } else { all.len() };
            if index > from.chunk {
                starts.push(rows.len());
            }
            rows.extend(&all[first.min(last)..last]);
        }
        (rows, starts)
    }
}
