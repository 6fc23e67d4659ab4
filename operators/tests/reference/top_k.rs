//! Top-k by its definition: sort each partition by keys and then by the whole row, cut out the rows.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::make_comparator;
use arrow::compute::SortOptions;
use arrow::record_batch::RecordBatch;
use highwater_operators::top_k::TopKSpec;

use crate::harness::{Relation, cells, relation, text};

pub(crate) fn top_k(spec: &TopKSpec, input: &RecordBatch) -> Relation {
    let keys = input.project(&spec.partition).expect("keys exist");
    let mut partitions: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for row in 0..input.num_rows() {
        partitions.entry(cells(&keys, row)).or_default().push(row);
    }
    let whole = (0..input.num_columns()).map(|index| (index, SortOptions::default()));
    let comparators: Vec<_> = spec
        .sort
        .iter()
        .copied()
        .chain(whole)
        .map(|(index, options)| make_comparator(input.column(index), input.column(index), options).expect("sorts"))
        .collect();
    let compare = |a: &usize, b: &usize| {
        comparators.iter().map(|compare| compare(*a, *b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let mut rows = Vec::new();
    for mut members in partitions.into_values() {
        members.sort_by(compare);
        rows.extend(members.into_iter().skip(spec.offset).take(spec.limit).map(|row| text(input, row)));
    }
    relation(rows)
}
