//! Relations that a source has because of the tables it has: trades with values, sandwiches, arbitrages.
//!
//! What they are and what they read stands in [`RELATIONS`]; here they are given names in the job and a
//! node each. A relation is offered if every table that it must read is there with the right types.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use highwater_engine::model::evm;
use highwater_operators::block_fold::PLACE_COLUMNS;
use highwater_operators::mev::{BlockRelation, InputTable, MevSettings, RELATIONS};

use super::context::Relation;
use super::ir::{JobPlan, Node, NodeKind};
use super::job::Planner;
use super::prune::OpenSource;

impl Planner<'_> {
    /// Puts the relations of every source in scope.
    pub(super) fn offer_block_relations(&mut self) {
        let wishes = self.mev_wishes();
        for (index, source) in self.sources.iter().enumerate() {
            let settings = Arc::new(wishes.settings(self.catalog.chain_id(&source.name)));
            let traces = wishes.traces;
            let mut offered: BTreeMap<&str, Node> = BTreeMap::new();
            for relation in RELATIONS {
                if source.tables.iter().any(|table| table.name == relation.name) {
                    continue;
                }
                let offer = Offer { index, source, traces, offered: &offered };
                let Some(inputs) = offer.inputs(relation) else { continue };
                let schema = (relation.schema)();
                let kind = NodeKind::BlockRelation {
                    id: format!("{}/{}", source.name, relation.name),
                    relation,
                    settings: settings.clone(),
                    inputs,
                    columns: (0..schema.fields().len()).collect(),
                };
                let node = Node { kind, schema: schema.clone() };
                let meaning = Relation::Block { source: index, node: Arc::new(node.clone()) };
                self.context.add_chain_table(&source.name, relation.name, meaning, schema);
                offered.insert(relation.name, node);
            }
        }
    }
}

/// What the inputs of a relation can be.
struct Offer<'o> {
    index: usize,
    source: &'o OpenSource,
    /// Whether the job wants traces read: they are often missing, and dear.
    traces: bool,
    /// The relations before.
    offered: &'o BTreeMap<&'o str, Node>,
}

impl Offer<'_> {
    /// A node for each input, none for optional ones that are not there. None at all if one is missing.
    fn inputs(&self, relation: &BlockRelation) -> Option<Vec<Option<Node>>> {
        let inputs = relation.inputs.iter().map(|input| {
            // Also what is not there needs columns: those of no rows.
            input_schema(input)?;
            match self.input(input) {
                Some(node) => Some(Some(node)),
                None if input.optional => Some(None),
                None => None,
            }
        });
        inputs.collect()
    }

    fn input(&self, input: &InputTable) -> Option<Node> {
        if input.name == "traces" && !self.traces {
            return None;
        }
        if let Some(node) = self.offered.get(input.name) {
            let columns = places(&node.schema, input)?;
            return Some(node.picked(&columns));
        }
        let table = self.source.tables.iter().position(|table| table.name == input.name)?;
        let schema = &self.source.tables[table].schema;
        let columns = places(schema, input)?;
        let wanted = input_schema(input)?;
        let fits =
            |(place, column): (&usize, usize)| schema.field(*place).data_type() == wanted.field(column).data_type();
        if !columns.iter().zip(0..).all(fits) {
            return None;
        }
        let schema = Arc::new(schema.project(&columns).ok()?);
        Some(Node { kind: NodeKind::Scan { source: self.index, table, columns }, schema })
    }
}

/// Where the columns of an input are: those that say which block, then those asked for.
fn places(schema: &Schema, input: &InputTable) -> Option<Vec<usize>> {
    PLACE_COLUMNS.iter().chain(input.columns).map(|name| schema.index_of(name).ok()).collect()
}

/// The columns of an input as the relation expects them.
pub(crate) fn input_schema(input: &InputTable) -> Option<SchemaRef> {
    let relation = RELATIONS.iter().find(|relation| relation.name == input.name);
    let schema = relation.map(|relation| (relation.schema)()).or_else(|| evm::schema(input.name))?;
    let columns = places(&schema, input)?;
    schema.project(&columns).ok().map(Arc::new)
}

impl JobPlan {
    /// What the rules of every relation that a view reads know beyond the chain; once for each reading.
    pub fn mev_settings(&self) -> Vec<&MevSettings> {
        let mut found = Vec::new();
        let mut open: Vec<&Node> = self.views.iter().map(|view| &view.root).collect();
        while let Some(node) = open.pop() {
            if let NodeKind::BlockRelation { settings, .. } = &node.kind {
                found.push(settings.as_ref());
            }
            open.extend(node.inputs());
        }
        found
    }
}

impl Node {
    /// Some columns of a relation of a source.
    pub(super) fn picked(&self, columns: &[usize]) -> Node {
        if let NodeKind::DecodeEvent { event, columns: shown, .. } = &self.kind {
            return event.node(columns.iter().map(|column| shown[*column]).collect());
        }
        let schema = Arc::new(self.schema.project(columns).expect("the columns are those of this node"));
        let mut kind = self.kind.clone();
        if let NodeKind::BlockRelation { columns: shown, .. } = &mut kind {
            *shown = columns.iter().map(|column| shown[*column]).collect();
        }
        Node { kind, schema }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inputs_of_every_relation_are_known() {
        for (index, relation) in RELATIONS.iter().enumerate() {
            assert!(evm::schema(relation.name).is_none(), "{} is a table already", relation.name);
            let schema = (relation.schema)();
            assert!(schema.fields().iter().take(5).map(|field| field.name().as_str()).eq([
                "chain",
                "chain_id",
                "block_number",
                "block_hash",
                "block_timestamp"
            ]));
            for input in relation.inputs {
                assert!(input_schema(input).is_some(), "{} reads unknown columns of {}", relation.name, input.name);
                let later = RELATIONS[index..].iter().any(|later| later.name == input.name);
                assert!(!later, "{} reads {}, which comes later", relation.name, input.name);
            }
        }
    }
}
