//! A table that changes, as it was at every tick that is still asked for.

use highwater_engine::rows::KeyTable;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The version of what every version has.
const SETTLED: u64 = 0;

/// A row of the table, encoded.
pub(super) type Row = Arc<[u8]>;

/// Rows by key; of each row, how its multiplicity changed.
#[derive(Default)]
pub(super) struct VersionedTable {
    keys: KeyTable,
    /// By the id of the key: of each row its changes, oldest first.
    rows: Vec<BTreeMap<Row, Vec<(u64, i64)>>>,
    /// Versions that are told apart, with the key that changed.
    recent: BTreeSet<(u64, u32)>,
}

impl VersionedTable {
    pub(super) fn clear(&mut self) {
        *self = VersionedTable::default();
    }

    /// Notes a change; versions never go back.
    pub(super) fn change(&mut self, key: &[u8], row: Row, version: u64, diff: i64) {
        let id = self.keys.find_or_insert(key);
        let place = id as usize;
        if place == self.rows.len() {
            self.rows.push(BTreeMap::new());
        }
        let changes = self.rows[place].entry(row).or_default();
        match changes.last_mut() {
            Some((last, sum)) if *last == version => *sum += diff,
            _ => changes.push((version, diff)),
        }
        if version != SETTLED {
            self.recent.insert((version, id));
        }
    }

    /// The rows of a key at a version, in the order of their bytes, with how often each is there.
    pub(super) fn at<'t>(&'t self, key: &[u8], version: u64) -> impl Iterator<Item = (&'t Row, i64)> {
        let rows = self.keys.find(key).map(|id| &self.rows[id as usize]);
        rows.into_iter().flatten().filter_map(move |(row, changes)| {
            let seen = changes.iter().take_while(|(changed, _)| *changed <= version);
            let count: i64 = seen.map(|(_, diff)| diff).sum();
            (count != 0).then_some((row, count))
        })
    }

    /// No version before this one is asked for again.
    pub(super) fn settle(&mut self, version: u64) {
        while let Some((changed, id)) = self.recent.first().copied().filter(|(changed, _)| *changed <= version) {
            self.recent.remove(&(changed, id));
            let rows = &mut self.rows[id as usize];
            rows.retain(|_, changes| {
                let passed = changes.partition_point(|(changed, _)| *changed <= version);
                let count: i64 = changes.drain(..passed).map(|(_, diff)| diff).sum();
                if count != 0 {
                    changes.insert(0, (SETTLED, count));
                }
                !changes.is_empty()
            });
            if rows.is_empty() {
                self.keys.remove(id);
            }
        }
    }

    /// All changes as `(key, row, version, change)`, in the order of the bytes.
    pub(super) fn changes(&self) -> Vec<(&[u8], &Row, u64, i64)> {
        let mut all = Vec::new();
        for id in self.keys.ids() {
            let key = self.keys.key(id);
            for (row, changes) in &self.rows[id as usize] {
                all.extend(changes.iter().map(|(version, diff)| (key, row, *version, *diff)));
            }
        }
        all.sort_unstable();
        all
    }

    /// Changes that are told apart, of all rows.
    pub(super) fn len(&self) -> usize {
        self.rows.iter().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        let of_row = |(row, changes): (&Row, &Vec<(u64, i64)>)| row.len() + changes.len() * 16 + 48;
        let rows: usize = self.rows.iter().flatten().map(of_row).sum();
        self.keys.bytes() + rows + self.recent.len() * 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(table: &VersionedTable, version: u64) -> Vec<(u8, i64)> {
        table.at(b"k", version).map(|(row, count)| (row[0], count)).collect()
    }

    #[test]
    fn versions_are_told_apart_until_they_are_settled() {
        let mut table = VersionedTable::default();
        table.change(b"k", Arc::from([1]), 3, 2);
        table.change(b"k", Arc::from([1]), 5, -2);
        table.change(b"k", Arc::from([2]), 5, 1);
        assert_eq!([2, 3, 4, 5].map(|version| at(&table, version)), [vec![], vec![(1, 2)], vec![(1, 2)], vec![(2, 1)]]);
        table.settle(4);
        assert_eq!((at(&table, 4), at(&table, 5), table.len()), (vec![(1, 2)], vec![(2, 1)], 3));
        table.settle(5);
        assert_eq!((at(&table, 5), table.len()), (vec![(2, 1)], 1));
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing() {
        let mut table = VersionedTable::default();
        table.change(b"k", Arc::from([1]), 3, 1);
        table.change(b"k", Arc::from([1]), 3, -1);
        table.settle(3);
        table.change(b"other", Arc::from([1]), 4, 1);
        assert_eq!((at(&table, 9), table.len(), table.keys.len()), (vec![], 1, 1));
    }
}
