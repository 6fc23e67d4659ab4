//! The rows of one partition in order, and which of them are shown.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Ranking;

/// A key of [`crate::ordering::RowOrder`].
pub(super) type Key = Rc<[u8]>;

/// Copies of a row.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) count: i64,
    /// Bytes of the key that are the sort columns.
    pub(super) sort_width: u32,
}

/// A row that is shown.
#[derive(Clone)]
pub(super) struct Shown {
    key: Key,
    /// Of the first copy shown: its number, or the rank of all copies.
    number: i64,
    count: i64,
}

/// Which rows are before those that cannot matter.
#[derive(Default)]
enum Reach {
    /// There are too few rows: all matter.
    #[default]
    All,
    /// Rows up to this one and its copies.
    Through(Key),
    /// Rows before this one.
    Before(Key),
}

/// Which numbers are shown: those above `after` up to `last`.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) ranking: Ranking,
    pub(super) after: i64,
    pub(super) last: i64,
}

/// One change of what is shown.
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) number: i64,
    pub(super) diff: i64,
}

/// The rows of a partition.
#[derive(Default)]
pub(super) struct Partition {
    rows: BTreeMap<Key, Entry>,
    /// As of the last [`Partition::refresh`], in order.
    shown: Vec<Shown>,
    reach: Reach,
    /// Whether a row that matters has changed since.
    pub(super) is_touched: bool,
}

impl Partition {
    /// Adds copies of a row (takes them away if negative), and says whether that can change what is shown.
    pub(super) fn add(&mut self, key: &[u8], sort_width: usize, diff: i64) -> bool {
        let matters = match &self.reach {
            Reach::All => true,
            Reach::Through(last) => key <= last.as_ref(),
            Reach::Before(end) => key < end.as_ref(),
        };
        if let Some(entry) = self.rows.get_mut(key) {
            entry.count += diff;
            if entry.count == 0 {
                self.rows.remove(key);
            }
        } else if diff != 0 {
            let sort_width = u32::try_from(sort_width).expect("a row is shorter than 4 GiB");
            self.rows.insert(key.into(), Entry { count: diff, sort_width });
        }
        matters || self.rows.is_empty()
    }

    /// Adds copies of a row where all that is asked for, once, are the first rows; says whether it is among them.
    pub(super) fn pass(&mut self, key: &[u8], sort_width: usize, diff: i64, numbers: Numbers) -> bool {
        let is_full = i64::try_from(self.rows.len()).is_ok_and(|rows| rows >= numbers.last);
        if is_full && self.rows.last_key_value().is_none_or(|(last, _)| last.as_ref() <= key) {
            return false;
        }
        let matters = self.add(key, sort_width, diff);
        if i64::try_from(self.rows.len()).is_ok_and(|rows| rows > numbers.last) {
            self.rows.pop_last();
        }
        matters
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.rows.iter()
    }

    /// Walks the first rows again and hands the difference to what was shown before to `visit`.
    ///
    /// `with_numbers`: a row whose number is another one has changed.
    pub(super) fn refresh(&mut self, numbers: Numbers, with_numbers: bool, visit: &mut impl FnMut(Change)) {
        let (shown, reach) = walk(&self.rows, numbers);
        compare(&self.shown, &shown, numbers.ranking, with_numbers, visit);
        self.shown = shown;
        self.reach = reach;
        self.is_touched = false;
    }
}

/// The rows shown. Visits those, those before them, and one more.
fn walk(rows: &BTreeMap<Key, Entry>, numbers: Numbers) -> (Vec<Shown>, Reach) {
    let Numbers { ranking, after, last } = numbers;
    let mut shown = Vec::new();
    let (mut before, mut rank, mut dense) = (0_i64, 0_i64, 0_i64);
    let mut peers: Option<&[u8]> = None;
    for (key, entry) in rows.iter().filter(|(_, entry)| entry.count > 0) {
        let sorted = key.get(..entry.sort_width as usize);
        if peers.is_none() || peers != sorted {
            (rank, dense, peers) = (before + 1, dense + 1, sorted);
        }
        let number = match ranking {
            Ranking::RowNumber => before + 1,
            Ranking::Rank => rank,
            Ranking::DenseRank => dense,
        };
        if number > last {
            return (shown, Reach::Before(key.clone()));
        }
        before += entry.count;
        if ranking != Ranking::RowNumber {
            if number > after {
                shown.push(Shown { key: key.clone(), number, count: entry.count });
            }
            continue;
        }
        let first = number.max(after + 1);
        let count = before.min(last) - first + 1;
        if count > 0 {
            shown.push(Shown { key: key.clone(), number: first, count });
        }
        if before >= last {
            return (shown, Reach::Through(key.clone()));
        }
    }
    (shown, Reach::All)
}

/// What is in one list and not in the other; both are in order.
fn compare(old: &[Shown], new: &[Shown], ranking: Ranking, with_numbers: bool, visit: &mut impl FnMut(Change)) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) if Rc::ptr_eq(&a.key, &b.key) => Ordering::Equal,
            (Some(a), Some(b)) => a.key.cmp(&b.key),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let Some(key) = after.or(before).map(|shown| &shown.key) else { return };
        let mut change = |number: i64, diff: i64| {
            if diff != 0 {
                visit(Change { key: key.clone(), number, diff });
            }
        };
        if with_numbers {
            renumber(before, after, ranking, &mut change);
        } else {
            let count = |shown: Option<&Shown>| shown.map_or(0, |shown| shown.count);
            change(0, count(after) - count(before));
        }
    }
}

/// The numbers that copies of one row have lost and won.
fn renumber(old: Option<&Shown>, new: Option<&Shown>, ranking: Ranking, change: &mut impl FnMut(i64, i64)) {
    if ranking != Ranking::RowNumber {
        match (old, new) {
            (Some(old), Some(new)) if old.number == new.number => change(new.number, new.count - old.count),
            _ => {
                old.into_iter().for_each(|old| change(old.number, -old.count));
                new.into_iter().for_each(|new| change(new.number, new.count));
            }
        }
        return;
    }
    let range = |shown: Option<&Shown>| shown.map_or(0..0, |shown| shown.number..shown.number + shown.count);
    let (old, new) = (range(old), range(new));
    old.clone().filter(|number| !new.contains(number)).for_each(|number| change(number, -1));
    new.filter(|number| !old.contains(number)).for_each(|number| change(number, 1));
}
