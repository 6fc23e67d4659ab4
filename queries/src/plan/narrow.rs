//! Joins give only what is read of them: a column that nobody reads is not worth keeping with every row.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::collect_columns;

use super::ir::{Node, NodeKind};
use super::lower::repointed;

/// Narrows the joins below projections. One that stands there several times, and is read differently, stays whole:
/// it is maintained once.
pub(super) fn narrow(root: &mut Node) {
    let mut found = Vec::new();
    find(root, &mut found);
    let is_shared = |(join, read): &(&Node, BTreeSet<usize>)| {
        found.iter().any(|(other, other_read)| other_read != read && other.same(join))
    };
    let mut narrowed = found.iter().map(|entry| !is_shared(entry)).collect::<Vec<bool>>().into_iter();
    change(root, &mut narrowed);
}

/// The joins below projections with the columns that are read of them, from the root on.
fn find<'n>(node: &'n Node, found: &mut Vec<(&'n Node, BTreeSet<usize>)>) {
    if let NodeKind::Project { input, expressions } = &node.kind
        && is_join(input)
    {
        found.push((input, columns(expressions)));
    }
    for input in node.inputs() {
        find(input, found);
    }
}

fn is_join(node: &Node) -> bool {
    matches!(node.kind, NodeKind::Join(_) | NodeKind::AsofJoin(_))
}

fn columns(expressions: &[Arc<dyn PhysicalExpr>]) -> BTreeSet<usize> {
    expressions.iter().flat_map(collect_columns).map(|column| column.index()).collect()
}

/// Goes the way of [`find`].
fn change(node: &mut Node, narrowed: &mut impl Iterator<Item = bool>) {
    if let NodeKind::Project { input, expressions } = &mut node.kind
        && is_join(input)
        && narrowed.next().expect("an answer for each join")
    {
        keep(input, expressions);
    }
    for input in node.inputs_mut() {
        change(input, narrowed);
    }
}

/// Reduces a join to the columns that the expressions read, and points them there.
fn keep(join: &mut Node, expressions: &mut [Arc<dyn PhysicalExpr>]) {
    let mut read: Vec<usize> = columns(expressions).into_iter().collect();
    if read.is_empty() {
        // Nothing is asked for but the number of rows: any column carries it.
        read.push(0);
    }
    let mut places = vec![0; join.schema.fields().len()];
    read.iter().enumerate().for_each(|(place, column)| places[*column] = place);
    let Ok(schema) = join.schema.project(&read) else { return };
    let moved = expressions.iter().map(|expression| repointed(expression, &places, &schema)).collect();
    let Some::<Vec<_>>(moved) = moved else { return };
    match &mut join.kind {
        NodeKind::Join(join) => join.output = read.iter().map(|column| join.output[*column]).collect(),
        NodeKind::AsofJoin(join) => join.output = read.iter().map(|column| join.output[*column]).collect(),
        _ => return,
    }
    join.schema = Arc::new(schema);
    expressions.iter_mut().zip(moved).for_each(|(expression, moved)| *expression = moved);
}
