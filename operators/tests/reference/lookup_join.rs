//! The definition of the lookup join: every block has the rows that it gave when it came.

use std::collections::BTreeMap;

use highwater_operators::broadcast_join::JoinKind;

/// A row of either side: a key, which may be NULL, and a text.
pub(crate) type Row = (Option<i64>, String);

/// The rows of one block joined with the table as it is now.
pub(crate) fn joined(kind: JoinKind, null_equals_null: bool, block: &[Row], table: &[Row]) -> Vec<String> {
    let shown = |key: &Option<i64>| key.map_or("~".to_owned(), |key| key.to_string());
    let mut rows = Vec::new();
    for (key, text) in block {
        let meets = |other: &Option<i64>| key == other && (null_equals_null || key.is_some());
        let matches: Vec<&Row> = table.iter().filter(|(other, _)| meets(other)).collect();
        let alone = format!("{}|{text}", shown(key));
        match kind {
            JoinKind::Inner | JoinKind::LeftOuter => {
                rows.extend(matches.iter().map(|(other, label)| format!("{alone}|{}|{label}", shown(other))));
                if kind == JoinKind::LeftOuter && matches.is_empty() {
                    rows.push(format!("{alone}|~|~"));
                }
            }
            JoinKind::Semi => rows.extend((!matches.is_empty()).then_some(alone)),
            JoinKind::Anti => rows.extend(matches.is_empty().then_some(alone)),
        }
    }
    rows
}

/// The rows of the canonical blocks, each as it was when the block came.
#[derive(Default)]
pub(crate) struct Definition {
    blocks: BTreeMap<u64, Vec<String>>,
}

impl Definition {
    pub(crate) fn revert(&mut self, number: u64) {
        self.blocks.remove(&number);
    }

    pub(crate) fn apply(&mut self, number: u64, rows: Vec<String>) {
        self.blocks.insert(number, rows);
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &String> {
        self.blocks.values().flatten()
    }
}
