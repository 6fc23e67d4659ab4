//! Top-k by its definition: sort each partition by keys and then by the whole row, number the rows, cut out.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::make_comparator;
use arrow::compute::SortOptions;
use arrow::record_batch::RecordBatch;
use highwater_operators::top_k::{Ranking, TopKSpec};

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
    let is_peer = |a: usize, b: usize| comparators[..spec.sort.len()].iter().all(|compare| compare(a, b).is_eq());
    let mut rows = Vec::new();
    for mut members in partitions.into_values() {
        members.sort_by(compare);
        for (place, row) in members.iter().enumerate() {
            let before = |other: &&usize| !is_peer(**other, *row);
            let ahead = &members[..place];
            let number = match spec.ranking {
                Ranking::RowNumber => place + 1,
                Ranking::Rank => ahead.iter().filter(before).count() + 1,
                Ranking::DenseRank => {
                    1 + (1..=place).filter(|place| !is_peer(members[*place], members[*place - 1])).count()
                }
            };
            if number > spec.offset && number <= spec.offset + spec.limit {
                let shown = text(input, *row);
                rows.push(if spec.show_rank.is_some() { format!("{shown}|{number}") } else { shown });
            }
        }
    }
    relation(rows)
}
