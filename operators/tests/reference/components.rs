//! Connected components by their definition: from each node, everything that can be reached.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use highwater_operators::components::ComponentsSpec;

use crate::harness::{Relation, cells, relation};

pub(crate) fn components(spec: &ComponentsSpec, input: &RecordBatch) -> Relation {
    let input = input.project(&spec.ends).expect("the ends exist");
    let converter = RowConverter::new(vec![SortField::new(input.column(0).data_type().clone())]).expect("nodes encode");
    let encode = |end: usize| converter.convert_columns(&[input.column(end).clone()]).expect("nodes encode");
    let (from, to) = (encode(0), encode(1));
    let mut names: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut neighbours: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for row in (0..input.num_rows()).filter(|row| input.columns().iter().all(|column| column.is_valid(*row))) {
        let ends = [from.row(row).data().to_vec(), to.row(row).data().to_vec()];
        for ((end, other), name) in [(0, 1), (1, 0)].into_iter().zip(cells(&input, row)) {
            names.insert(ends[end].clone(), name);
            neighbours.entry(ends[end].clone()).or_default().insert(ends[other].clone());
        }
    }
    neighbours.iter_mut().for_each(|(node, others)| {
        others.remove(node);
    });
    let is_hub = |node: &Vec<u8>| spec.hub_limit.is_some_and(|limit| neighbours[node].len() > limit);
    let reach = |start: &Vec<u8>| {
        let (mut seen, mut open) = (BTreeSet::from([start.clone()]), vec![start.clone()]);
        while let Some(node) = open.pop().filter(|_| !is_hub(start)) {
            let next = neighbours[&node].iter().filter(|other| !is_hub(other));
            open.extend(next.filter(|other| seen.insert((*other).clone())).cloned().collect::<Vec<_>>());
        }
        seen
    };
    let row = |(node, name): (&Vec<u8>, &String)| {
        let component = reach(node).into_iter().next().expect("a node reaches itself");
        format!("{name}|{}", names[&component])
    };
    relation(names.iter().map(row))
}
