//! Which columns of which chain tables a job reads: the union over all views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::Schema;
use highwater_engine::source::TableSchema;

use super::ir::{Node, NodeKind, PlannedSource, PlannedTable};

/// A source as it was opened.
pub(super) struct OpenSource {
    pub(super) name: String,
    pub(super) tables: Vec<TableSchema>,
}

/// What is read of the sources, with scans renumbered to it.
pub(super) fn prune<'n>(sources: &[OpenSource], roots: impl Iterator<Item = &'n mut Node>) -> Vec<PlannedSource> {
    let mut roots: Vec<&mut Node> = roots.collect();
    let mut read: BTreeMap<(usize, usize), BTreeSet<usize>> = BTreeMap::new();
    for root in &roots {
        each_scan(root, &mut |source, table, columns| read.entry((source, table)).or_default().extend(columns));
    }
    let mut planned: Vec<PlannedSource> = Vec::new();
    let mut places = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        let mut tables: Vec<(usize, &BTreeSet<usize>)> =
            read.range((index, 0)..(index + 1, 0)).map(|((_, table), columns)| (*table, columns)).collect();
        if tables.is_empty() {
            continue;
        }
        tables.sort_by_key(|(table, _)| &source.tables[*table].name);
        for (place, (table, _)) in tables.iter().enumerate() {
            places.insert((index, *table), (planned.len(), place));
        }
        let tables = tables.into_iter().map(|(table, columns)| planned_table(&source.tables[table], columns)).collect();
        planned.push(PlannedSource { name: source.name.clone(), tables });
    }
    for root in &mut roots {
        renumber(root, &places, &planned);
    }
    planned
}

fn planned_table(table: &TableSchema, columns: &BTreeSet<usize>) -> PlannedTable {
    let columns: Vec<usize> = columns.iter().copied().collect();
    let fields: Vec<_> = columns.iter().map(|column| table.schema.field(*column).clone()).collect();
    PlannedTable { name: table.name.clone(), columns, schema: Arc::new(Schema::new(fields)) }
}

fn each_scan(node: &Node, found: &mut impl FnMut(usize, usize, &[usize])) {
    if let NodeKind::Scan { source, table, columns } = &node.kind {
        found(*source, *table, columns);
    }
    for input in node.inputs() {
        each_scan(input, found);
    }
}

fn renumber(node: &mut Node, places: &BTreeMap<(usize, usize), (usize, usize)>, planned: &[PlannedSource]) {
    if let NodeKind::Scan { source, table, columns } = &mut node.kind
        && let Some((new_source, new_table)) = places.get(&(*source, *table))
    {
        let kept = &planned[*new_source].tables[*new_table].columns;
        for column in columns {
            *column = kept.binary_search(column).expect("the union holds every column that is read");
        }
        (*source, *table) = (*new_source, *new_table);
    }
    for input in node.inputs_mut() {
        renumber(input, places, planned);
    }
}

impl Node {
    /// The nodes this one reads.
    pub fn inputs(&self) -> Vec<&Node> {
        match &self.kind {
            NodeKind::Scan { .. }
            | NodeKind::View { .. }
            | NodeKind::Errors { .. }
            | NodeKind::Values { .. }
            | NodeKind::Variable { .. }
            | NodeKind::Outer { .. }
            | NodeKind::LiveTable { .. } => Vec::new(),
            NodeKind::LookupJoin { input, table, .. } => vec![input, table],
            NodeKind::Join(join) => vec![&join.left, &join.right],
            NodeKind::AsofJoin(join) => vec![&join.left, &join.right],
            NodeKind::Multiset { left, right, .. } => vec![left, right],
            NodeKind::Over(over) => vec![&over.input],
            NodeKind::Session(session) => vec![&session.input],
            NodeKind::Recursion(recursion) => recursion.inputs.iter().collect(),
            NodeKind::Union { inputs } => inputs.iter().collect(),
            NodeKind::BlockRelation { inputs, .. } => inputs.iter().flatten().collect(),
            NodeKind::Filter { input, .. }
            | NodeKind::DecodeEvent { input, .. }
            | NodeKind::Expand { input, .. }
            | NodeKind::Final { input, .. }
            | NodeKind::Components { input, .. }
            | NodeKind::Project { input, .. }
            | NodeKind::Window { input, .. }
            | NodeKind::Aggregate { input, .. }
            | NodeKind::BlockAggregate { input, .. }
            | NodeKind::TopK { input, .. }
            | NodeKind::TemporalFilter { input, .. }
            | NodeKind::BroadcastJoin { input, .. }
            | NodeKind::Stories { input, .. }
            | NodeKind::Findings { input, .. }
            | NodeKind::Notifications { input, .. }
            | NodeKind::RateLimit { input, .. } => vec![input],
        }
    }

    pub(super) fn inputs_mut(&mut self) -> Vec<&mut Node> {
        match &mut self.kind {
            NodeKind::Scan { .. }
            | NodeKind::View { .. }
            | NodeKind::Errors { .. }
            | NodeKind::Values { .. }
            | NodeKind::Variable { .. }
            | NodeKind::Outer { .. }
            | NodeKind::LiveTable { .. } => Vec::new(),
            NodeKind::LookupJoin { input, table, .. } => vec![input, table],
            NodeKind::Join(join) => vec![&mut join.left, &mut join.right],
            NodeKind::AsofJoin(join) => vec![&mut join.left, &mut join.right],
            NodeKind::Multiset { left, right, .. } => vec![left, right],
            NodeKind::Over(over) => vec![&mut over.input],
            NodeKind::Session(session) => vec![&mut session.input],
            NodeKind::Recursion(recursion) => recursion.inputs.iter_mut().collect(),
            NodeKind::Union { inputs } => inputs.iter_mut().collect(),
            NodeKind::BlockRelation { inputs, .. } => inputs.iter_mut().flatten().collect(),
            NodeKind::Filter { input, .. }
            | NodeKind::DecodeEvent { input, .. }
            | NodeKind::Expand { input, .. }
            | NodeKind::Final { input, .. }
            | NodeKind::Components { input, .. }
            | NodeKind::Project { input, .. }
            | NodeKind::Window { input, .. }
            | NodeKind::Aggregate { input, .. }
            | NodeKind::BlockAggregate { input, .. }
            | NodeKind::TopK { input, .. }
            | NodeKind::TemporalFilter { input, .. }
            | NodeKind::BroadcastJoin { input, .. }
            | NodeKind::Stories { input, .. }
            | NodeKind::Findings { input, .. }
            | NodeKind::Notifications { input, .. }
            | NodeKind::RateLimit { input, .. } => vec![input],
        }
    }
}
