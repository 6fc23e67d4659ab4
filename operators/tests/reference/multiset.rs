//! The definition of `INTERSECT ALL` and `EXCEPT ALL`.

use std::collections::BTreeMap;

use highwater_operators::multiset::SetOperation;

/// How often each row is there, given how often it is in both inputs.
pub(crate) fn combined(
    operation: SetOperation,
    left: &BTreeMap<String, i64>,
    right: &BTreeMap<String, i64>,
) -> BTreeMap<String, i64> {
    let count = |(row, left): (&String, &i64)| {
        let right = right.get(row).copied().unwrap_or(0);
        let count = match operation {
            SetOperation::IntersectAll => (*left).min(right),
            SetOperation::ExceptAll => (left - right).max(0),
        };
        (row.clone(), count)
    };
    left.iter().map(count).filter(|(_, count)| *count > 0).collect()
}
