//! The rows of one key in the order of time, and who meets whom.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use super::spec::AsofCondition;

/// A row, encoded.
pub(super) type Row = Arc<[u8]>;
/// Rows by time, then by their bytes, with their multiplicity.
type Ordered = BTreeMap<(i64, Row), i64>;

/// Where a range of rows begins or ends.
type Edge = Bound<(i64, Row)>;

/// A left row as it was before the tick: how often it was there, and what it met.
pub(super) type Before = (i64, Option<Row>);

/// The rows of one key.
#[derive(Default)]
pub(super) struct Timeline {
    left: Ordered,
    right: Ordered,
}

/// From the first row of a time on.
fn from(time: i64) -> Edge {
    Bound::Included((time, Row::default()))
}

/// Up to the last row of a time.
fn through(time: i64) -> Edge {
    time.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded((next, Row::default())))
}

/// From the first row after a time on; `None`: there is no later time.
fn after(time: i64) -> Option<Edge> {
    time.checked_add(1).map(from)
}

/// Up to the last row before a time.
fn before(time: i64) -> Edge {
    Bound::Excluded((time, Row::default()))
}

impl Timeline {
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.right.is_empty()
    }

    /// The right row that a left row of this time meets: the nearest, of those of one time the greatest.
    pub(super) fn met(&self, condition: AsofCondition, time: i64) -> Option<&Row> {
        let last = |end| self.right.range((Bound::Unbounded, end)).next_back().map(|((_, row), _)| row);
        let first = |start| self.right.range((start, Bound::Unbounded)).next().map(|((time, _), _)| *time);
        match condition {
            AsofCondition::AtOrBefore => last(through(time)),
            AsofCondition::Before => last(before(time)),
            AsofCondition::AtOrAfter => last(through(first(from(time))?)),
            AsofCondition::After => last(through(first(after(time)?)?)),
        }
    }

    /// Times of left rows that meet this right row while it is there: from the first bound to the second.
    fn reach(&self, condition: AsofCondition, right: &(i64, Row)) -> Option<(Edge, Edge)> {
        let next = self.right.range((Bound::Excluded(right), Bound::Unbounded)).next().map(|((time, _), _)| *time);
        if next == Some(right.0) {
            return None;
        }
        let previous = || self.right.range((Bound::Unbounded, before(right.0))).next_back().map(|((time, _), _)| *time);
        Some(match condition {
            AsofCondition::AtOrBefore => (from(right.0), next.map_or(Bound::Unbounded, before)),
            AsofCondition::Before => (after(right.0)?, next.map_or(Bound::Unbounded, through)),
            AsofCondition::AtOrAfter => {
                let start = previous().map_or(Bound::Unbounded, |time| after(time).expect("a later time is there"));
                (start, through(right.0))
            }
            AsofCondition::After => (previous().map_or(Bound::Unbounded, from), before(right.0)),
        })
    }

    /// Changes how often a right row is there; tells of the left rows that meet another row for that.
    pub(super) fn change_right(
        &mut self,
        condition: AsofCondition,
        right: (i64, Row),
        diff: i64,
        mut touch: impl FnMut(&(i64, Row), Before),
    ) {
        let (count, reach) = (self.right.get(&right).copied().unwrap_or(0), self.reach(condition, &right));
        // Whether it is there is what matters, not how often.
        if let Some(range) = reach.filter(|_| (count > 0) != (count + diff > 0)) {
            for (left, count) in self.left.range(range) {
                touch(left, (*count, self.met(condition, left.0).cloned()));
            }
        }
        add(&mut self.right, right, diff);
    }

    /// Changes how often a left row is there, after the right rows of the tick; tells how often it was.
    pub(super) fn change_left(&mut self, left: (i64, Row), diff: i64) -> i64 {
        let count = self.left.get(&left).copied().unwrap_or(0);
        add(&mut self.left, left, diff);
        count
    }

    /// Puts a saved row in.
    pub(super) fn restore(&mut self, is_right: bool, row: (i64, Row), count: i64) {
        add(if is_right { &mut self.right } else { &mut self.left }, row, count);
    }

    /// How often a left row is there.
    pub(super) fn count(&self, left: &(i64, Row)) -> i64 {
        self.left.get(left).copied().unwrap_or(0)
    }

    /// Forgets what is final, given that nothing before this time changes any more, and what no row can meet.
    pub(super) fn close(&mut self, condition: AsofCondition, horizon: i64) {
        let open = self.right.split_off(&(horizon, Row::default()));
        let last = std::mem::replace(&mut self.right, open).pop_last();
        match condition {
            AsofCondition::AtOrBefore | AsofCondition::Before => {
                self.left = self.left.split_off(&(horizon, Row::default()));
                self.right.extend(last);
            }
            // What waits for a right row keeps waiting until one before the horizon is found.
            AsofCondition::AtOrAfter | AsofCondition::After => {
                let Some(((last, _), _)) = last else { return };
                let waits = match condition {
                    AsofCondition::AtOrAfter => last + 1,
                    _ => last,
                };
                self.left = self.left.split_off(&(waits, Row::default()));
            }
        }
    }

    /// The rows of both sides: whether of the right, time, row, multiplicity.
    pub(super) fn rows(&self) -> impl Iterator<Item = (bool, i64, &Row, i64)> {
        let left = self.left.iter().map(|((time, row), count)| (false, *time, row, *count));
        left.chain(self.right.iter().map(|((time, row), count)| (true, *time, row, *count)))
    }
}

fn add(rows: &mut Ordered, row: (i64, Row), diff: i64) {
    match rows.entry(row) {
        Entry::Vacant(entry) => {
            entry.insert(diff);
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += diff;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
