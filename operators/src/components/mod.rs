//! Connected components of a changing graph: wallets that pay each other, tokens that trade.
//!
//! Definition: out(t) = for each node of the edges accumulated up to t, the least node (by row bytes) that can be
//! reached from it, as in `tests/reference/components.rs`. Edges have no direction and count once however often they
//! are there; one with a NULL end is none; an edge from a node to itself makes a node. A node with more neighbours
//! than the hub limit, itself not counted, connects nothing: an exchange's wallet would make all its customers one
//! owner. It is a component of its own, until enough of its edges are taken back.
//!
//! Cost: a new edge between two components moves the nodes of the smaller one; inside a component it is a look-up. An
//! edge that goes is a search from both its ends until they meet or the smaller part is known (the module `search`),
//! which is long only where the graph is: around a ring of n nodes, n steps. Beyond that, one row for each node whose
//! component has another least node.
//! State: all edges; nothing leaves it but by retraction. Everything is on the first worker.
//! Reorg: a retracted edge splits what it held together. A tick's changes are netted first.

mod graph;
mod neighbours;
mod nodes;
mod partition;
mod search;

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::{Class, Classified, StateError};
use highwater_engine::model::{Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};
use highwater_engine::rows::RowCodec;

use crate::float_keys::one_zero;
use crate::rows::{Loaded, Saved};
use graph::{Edge, Graph};
use nodes::{NodeId, Nodes};
use partition::{Partition, Retold};
use search::Search;

/// What the edges are.
#[derive(Clone, Debug)]
pub struct ComponentsSpec {
    /// Columns of the input.
    pub input: SchemaRef,
    /// The two columns of one type that hold the ends of an edge.
    pub ends: [usize; 2],
    /// A node with more different neighbours than this connects nothing. `None`: every node connects.
    pub hub_limit: Option<usize>,
}

/// Components that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentsError {
    /// A column index points past the input's columns.
    #[error("the input has no column {index}")]
    MissingColumn {
        /// The index.
        index: usize,
    },
    /// The ends of an edge are not of one type.
    #[error("the ends of an edge are of the types {from} and {to}, they must be of one")]
    Types {
        /// Type of the first end.
        from: DataType,
        /// Type of the second end.
        to: DataType,
    },
    /// The columns cannot be encoded.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for ComponentsError {
    fn class(&self) -> Class {
        Class::INTERNAL
    }
}

/// Nodes with their components.
pub struct Components {
    name: String,
    spec: ComponentsSpec,
    codec: RowCodec,
    output: SchemaRef,
    nodes: Nodes,
    graph: Graph,
    partition: Partition,
    search: Search,
}

impl Components {
    /// Components of no edges. `name` is the view's, for messages.
    pub fn new(name: &str, spec: ComponentsSpec) -> Result<Components, ComponentsError> {
        let fields = spec.input.fields();
        if let Some(index) = spec.ends.into_iter().find(|index| *index >= fields.len()) {
            return Err(ComponentsError::MissingColumn { index });
        }
        let [from, to] = spec.ends.map(|index| &fields[index]);
        if from.data_type() != to.data_type() {
            let (from, to) = (from.data_type().clone(), to.data_type().clone());
            return Err(ComponentsError::Types { from, to });
        }
        let column = |name: &str| from.as_ref().clone().with_name(name).with_nullable(false);
        let output = Arc::new(Schema::new(vec![column("node"), column("component")]));
        Ok(Components {
            name: name.to_owned(),
            codec: RowCodec::new(&spec.input, &spec.ends[..1])?,
            output,
            nodes: Nodes::default(),
            graph: Graph::new(spec.hub_limit),
            partition: Partition::default(),
            search: Search::default(),
            spec,
        })
    }

    /// Columns of the output: `node` and `component`, which is the least node of it.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// How rows must reach the workers.
    pub fn route(&self) -> Route {
        Route::First
    }

    /// The edges of a delta with their changes.
    fn read(&mut self, delta: &Delta, edges: &mut Vec<(Edge, i64)>) {
        let ends = self.spec.ends.map(|index| one_zero(delta.batch.column(index)));
        let [from, to] = ends.each_ref().map(|column| self.codec.encode(std::slice::from_ref(column), delta.len()));
        for row in (0..delta.len()).filter(|row| ends.iter().all(|column| column.is_valid(*row))) {
            let (from, to) = (self.nodes.intern(from.row(row).data()), self.nodes.intern(to.row(row).data()));
            edges.push(((from.min(to), from.max(to)), delta.diffs.at(row)));
        }
    }

    /// Changes the graph; tells of each node whose row is another.
    fn apply(&mut self, mut edges: Vec<(Edge, i64)>) -> Vec<Retold> {
        net(&mut edges);
        let capacity = self.nodes.capacity();
        let changes = self.graph.apply(&edges, capacity);
        for node in &changes.touched {
            self.partition.settle_in(*node, capacity);
        }
        // First what joins: an edge that replaces another keeps its component whole.
        for (one, other) in &changes.joined {
            self.partition.join(*one, *other, &self.nodes);
        }
        self.divide(&changes.seeds);
        let graph = &self.graph;
        self.partition.retell(&changes.touched, |node| graph.is_shown(node))
    }

    /// Splits the components that are no longer connected; `seeds` are the ends of all edges that are gone.
    fn divide(&mut self, seeds: &[NodeId]) {
        let mut seeds: Vec<(u32, NodeId)> = seeds.iter().map(|node| (self.partition.component(*node), *node)).collect();
        seeds.sort_unstable();
        seeds.dedup();
        for seeds in seeds.chunk_by(|(one, _), (other, _)| one == other) {
            let (component, ends) = (seeds[0].0, seeds.iter().map(|(_, node)| *node).collect::<Vec<_>>());
            let parts = self.search.parts(&self.graph, &ends, self.nodes.capacity());
            self.partition.split(component, parts, &self.nodes);
        }
    }

    /// Forgets nodes without an edge, after their last row was taken back.
    fn forget(&mut self, touched: impl Iterator<Item = NodeId>) {
        let mut unused: Vec<NodeId> = touched.filter(|node| self.graph.is_unused(*node)).collect();
        unused.sort_unstable();
        unused.dedup();
        for node in unused {
            self.partition.remove(node);
            self.nodes.remove(node);
        }
    }

    fn tick(&mut self, edges: Vec<(Edge, i64)>) -> Option<Delta> {
        if edges.is_empty() {
            return None;
        }
        let touched: Vec<Edge> = edges.iter().map(|(edge, _)| *edge).collect();
        let retold = self.apply(edges);
        let delta = self.delta(retold);
        self.forget(touched.into_iter().flat_map(|(from, to)| [from, to]));
        delta
    }

    /// The old and the new row of each node, in the order of nodes.
    fn delta(&self, mut retold: Vec<Retold>) -> Option<Delta> {
        if retold.is_empty() {
            return None;
        }
        retold.sort_unstable_by(|a, b| self.nodes.bytes(a.node).cmp(self.nodes.bytes(b.node)));
        let rows = retold.iter().flat_map(|Retold { node, before, after }| {
            let old = before.map(|least| (*node, least, -1));
            old.into_iter().chain(after.map(|least| (*node, least, 1)))
        });
        let rows: Vec<(NodeId, NodeId, i64)> = rows.collect();
        let column = |nodes: Vec<NodeId>| -> ArrayRef {
            self.codec.decode(nodes.iter().map(|node| self.nodes.bytes(*node))).column(0).clone()
        };
        let nodes = column(rows.iter().map(|(node, ..)| *node).collect());
        let least = column(rows.iter().map(|(_, least, _)| *least).collect());
        let batch = RecordBatch::try_new(self.output.clone(), vec![nodes, least]).expect("nodes are not NULL");
        Some(Delta::derived(batch, rows.iter().map(|(.., diff)| *diff).collect()))
    }

    fn shape(&self) -> String {
        let node = self.output.field(0).data_type();
        format!("components of {node:?}, hubs above {:?}", self.spec.hub_limit)
    }

    fn clear(&mut self) {
        self.nodes = Nodes::default();
        self.graph = Graph::new(self.spec.hub_limit);
        self.partition = Partition::default();
        self.search = Search::default();
    }
}

impl TickOperator for Components {
    fn on_tick(&mut self, input: Vec<Delta>, _progress: &Progress, output: &mut Output) {
        let mut edges = Vec::new();
        for delta in &input {
            self.read(delta, &mut edges);
        }
        output.deltas.extend(self.tick(edges));
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        let edges = self.graph.edges(&self.nodes.sorted());
        let saved = Saved::new(&self.name, &self.shape())
            .bytes("from", edges.iter().map(|((from, _), _)| self.nodes.bytes(*from)))
            .bytes("to", edges.iter().map(|((_, to), _)| self.nodes.bytes(*to)))
            .numbers("count", edges.iter().map(|(_, count)| *count));
        Ok(vec![saved.finish()?])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        self.clear();
        let (name, shape) = (self.name.clone(), self.shape());
        let mut edges: Vec<(Edge, i64)> = Vec::new();
        for batch in state {
            let loaded = Loaded::open(&name, &shape, batch)?;
            let (from, to, counts) = (loaded.bytes("from")?, loaded.bytes("to")?, loaded.numbers("count")?);
            for row in (0..batch.num_rows()).filter(|_| share.index == 0) {
                let (from, to) = (self.nodes.intern(from.value(row)), self.nodes.intern(to.value(row)));
                edges.push(((from.min(to), from.max(to)), counts.value(row)));
            }
        }
        // What it tells was told before the state was saved.
        self.apply(edges);
        Ok(())
    }

    fn size(&self) -> StateSize {
        let (nodes, bytes) = self.nodes.size();
        let edges = self.graph.edge_count();
        StateSize { entries: edges, bytes: bytes + nodes * NODE_BYTES + edges * 2 * size_of::<NodeId>() }
    }
}

/// What a node takes beside its own bytes: vertex, member and place in a component, slot of the table, search mark.
const NODE_BYTES: usize = 128;

/// Brings the changes of an edge together, in the order of ids.
fn net(edges: &mut Vec<(Edge, i64)>) {
    edges.sort_unstable_by_key(|(edge, _)| *edge);
    edges.dedup_by(|(edge, diff), (kept, total)| {
        let is_same = edge == kept;
        if is_same {
            *total += *diff;
        }
        is_same
    });
}
