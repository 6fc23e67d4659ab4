//! How far a row sees, and so which rows a change can matter to.

use std::cmp::Ordering;

use super::cell::Cell;
use super::sequence::{Cursor, Element, Sequence};
use super::spec::Distance;

/// How far a call sees from a row, to one side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach {
    Nothing,
    Rows(usize),
    Peers,
    /// Its peers and so many groups of peers beyond.
    Groups(usize),
    /// Rows this near on the axis, or its peers if it has no place there.
    Range {
        axis: usize,
        distance: Distance,
    },
    /// Up to the row that completes so many values that are not NULL.
    Present {
        slot: usize,
        values: usize,
    },
    Everything,
}

impl Reach {
    /// The first row before `from` that is in reach of `origin`, or `from`.
    pub(super) fn back<'a>(self, rows: &'a Sequence, from: Cursor, origin: &'a Element) -> Cursor {
        match self {
            Reach::Nothing => from,
            Reach::Rows(count) => rows.back(from, count),
            Reach::Everything => Cursor::START,
            _ => {
                let mut walk = Walk::new(self, origin, -1);
                let mut at = from;
                while let Some((before, element)) = rows.previous(at).and_then(|at| Some((at, rows.get(at)?))) {
                    if !walk.reaches(element) {
                        break;
                    }
                    at = before;
                }
                at
            }
        }
    }

    /// The place after the last row from `from` on that is in reach of `origin`, or `from`.
    pub(super) fn forward<'a>(self, rows: &'a Sequence, from: Cursor, origin: &'a Element) -> Cursor {
        match self {
            Reach::Nothing => from,
            Reach::Rows(count) => rows.forward(from, count),
            Reach::Everything => rows.end(),
            _ => {
                let mut walk = Walk::new(self, origin, 1);
                let mut at = from;
                while rows.get(at).is_some_and(|element| walk.reaches(element)) {
                    at = rows.next(at);
                }
                at
            }
        }
    }
}

/// A walk from row to row.
struct Walk<'a> {
    reach: Reach,
    origin: &'a Element,
    direction: i8,
    /// Groups or values seen.
    seen: usize,
    last: &'a Element,
}

impl<'a> Walk<'a> {
    fn new(reach: Reach, origin: &'a Element, direction: i8) -> Walk<'a> {
        Walk { reach, origin, direction, seen: 0, last: origin }
    }

    fn reaches(&mut self, element: &'a Element) -> bool {
        match self.reach {
            Reach::Peers => element.is_peer(self.origin),
            Reach::Groups(groups) => {
                if !element.is_peer(self.last) {
                    self.seen += 1;
                    self.last = element;
                }
                self.seen <= groups
            }
            Reach::Range { axis, distance } => match compare(element, self.origin, axis, self.direction, distance) {
                Some(order) if self.direction < 0 => order.is_ge(),
                Some(order) => order.is_le(),
                None => element.is_peer(self.origin),
            },
            Reach::Present { slot, values } => {
                let is_within = self.seen < values;
                self.seen += usize::from(!element.values[slot].is_null());
                is_within
            }
            Reach::Nothing | Reach::Rows(_) | Reach::Everything => false,
        }
    }
}

/// Compares a row on the axis with the place so far from another row, in the direction of a sign.
///
/// `None` if one of them is NULL or NaN, which have no distance to anything.
pub(super) fn compare(
    row: &Element,
    origin: &Element,
    axis: usize,
    direction: i8,
    distance: Distance,
) -> Option<Ordering> {
    match (&row.values[axis], &origin.values[axis], distance) {
        (Cell::Integer(value), Cell::Integer(origin), Distance::Integer(distance)) => {
            Some(value.cmp(&origin.saturating_add(i128::from(direction).saturating_mul(distance))))
        }
        (Cell::Float(value), Cell::Float(origin), Distance::Float(distance)) => {
            value.partial_cmp(&(origin + f64::from(direction) * distance))
        }
        _ => None,
    }
}
