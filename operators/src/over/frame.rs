//! Which of some neighbouring rows are in the frame of one of them.

use super::reach::compare;
use super::sequence::Element;
use super::spec::{Bound, Distance, Frame, Units};

/// Rows next to each other, with what frames are measured by.
pub(super) struct Neighbours<'a> {
    pub(super) rows: Vec<&'a Element>,
    /// Counts the groups of peers, from 0.
    pub(super) groups: Vec<usize>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(rows: Vec<&'a Element>) -> Neighbours<'a> {
        let mut groups = Vec::with_capacity(rows.len());
        let mut group = 0;
        for index in 0..rows.len() {
            group += usize::from(index > 0 && !rows[index].is_peer(rows[index - 1]));
            groups.push(group);
        }
        Neighbours { rows, groups }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether a row lies before the frame of `current`. Once it does not, none after it does.
    pub(super) fn is_before(&self, frame: &Frame, axis: usize, row: usize, current: usize) -> bool {
        let (direction, distance) = match frame.start {
            Bound::UnboundedPreceding => return false,
            Bound::UnboundedFollowing => return true,
            Bound::CurrentRow => return self.place(frame.units, row) < self.place(frame.units, current),
            Bound::Preceding(distance) => (-1, distance),
            Bound::Following(distance) => (1, distance),
        };
        if let Distance::Count(count) = distance {
            return self.counted(frame.units, row, current, direction, count).is_lt();
        }
        match compare(self.rows[row], self.rows[current], axis, direction, distance) {
            Some(order) => order.is_lt(),
            None => row < current && self.groups[row] != self.groups[current],
        }
    }

    /// Whether a row is in the frame of `current` or before it. Once it is not, none after it is.
    pub(super) fn is_reached(&self, frame: &Frame, axis: usize, row: usize, current: usize) -> bool {
        let (direction, distance) = match frame.end {
            Bound::UnboundedPreceding => return false,
            Bound::UnboundedFollowing => return true,
            Bound::CurrentRow => return self.place(frame.units, row) <= self.place(frame.units, current),
            Bound::Preceding(distance) => (-1, distance),
            Bound::Following(distance) => (1, distance),
        };
        if let Distance::Count(count) = distance {
            return self.counted(frame.units, row, current, direction, count).is_le();
        }
        match compare(self.rows[row], self.rows[current], axis, direction, distance) {
            Some(order) => order.is_le(),
            None => row < current || self.groups[row] == self.groups[current],
        }
    }

    fn place(&self, units: Units, row: usize) -> usize {
        if units == Units::Rows { row } else { self.groups[row] }
    }

    /// Compares a row with the place so many rows or groups from `current`.
    fn counted(&self, units: Units, row: usize, current: usize, direction: i8, count: u64) -> std::cmp::Ordering {
        let (row, current) = (self.place(units, row), self.place(units, current));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if direction < 0 { row.saturating_add(count).cmp(&current) } else { row.cmp(&current.saturating_add(count)) }
    }
}
