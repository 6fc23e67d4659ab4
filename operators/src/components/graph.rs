//! The edges, how often each is there, and which of them connect.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::neighbours::Neighbours;
use super::nodes::{NodeId, at};

/// The two ends of an edge, the lesser id first: edges have no direction.
pub(super) type Edge = (NodeId, NodeId);

#[derive(Default)]
struct Vertex {
    /// Other nodes with an edge to this one.
    neighbours: Neighbours,
    has_loop: bool,
    /// Its edges do not connect.
    is_hub: bool,
    /// Edges that are counted, also below zero.
    uses: u32,
}

/// What a tick changed.
#[derive(Default)]
pub(super) struct GraphChanges {
    /// Edges that began to connect.
    pub(super) joined: Vec<Edge>,
    /// Ends of all edges that ceased to connect.
    pub(super) seeds: Vec<NodeId>,
    /// Ends of all edges that were counted anew, each once.
    pub(super) touched: Vec<NodeId>,
}

/// A graph without directions, with hubs that do not connect.
pub(super) struct Graph {
    hub_limit: Option<usize>,
    vertices: Vec<Vertex>,
    /// How often an edge is there beyond the once that [`Vertex`] tells; below zero for one that is owed.
    beyond: HashMap<Edge, i64, FixedState>,
    edge_count: usize,
}

impl Graph {
    pub(super) fn new(hub_limit: Option<usize>) -> Graph {
        Graph { hub_limit, vertices: Vec::new(), beyond: HashMap::with_hasher(FixedState::default()), edge_count: 0 }
    }

    /// Counts edges anew; `edges` holds each once. Ids are below `capacity`.
    pub(super) fn apply(&mut self, edges: &[(Edge, i64)], capacity: usize) -> GraphChanges {
        self.vertices.resize_with(capacity.max(self.vertices.len()), Vertex::default);
        let (mut appeared, mut changes) = (Vec::new(), GraphChanges::default());
        for (edge, diff) in edges {
            let was_there = self.has(*edge);
            let is_there = self.count(*edge, *diff);
            changes.touched.extend([edge.0, edge.1]);
            if was_there == is_there {
                continue;
            }
            self.link(*edge, is_there);
            if is_there {
                appeared.push(*edge);
            } else if self.connects(*edge) {
                changes.seeds.extend([edge.0, edge.1]);
            }
        }
        changes.touched.sort_unstable();
        changes.touched.dedup();
        self.turn_hubs(&mut changes);
        changes.joined.extend(appeared.into_iter().filter(|edge| self.connects(*edge)));
        changes
    }

    /// Nodes become hubs and cease to be.
    fn turn_hubs(&mut self, changes: &mut GraphChanges) {
        let Some(limit) = self.hub_limit else { return };
        let is_over = |vertex: &Vertex| vertex.neighbours.len() > limit;
        let turned = |node: &NodeId| is_over(&self.vertices[at(*node)]) != self.vertices[at(*node)].is_hub;
        let turned: Vec<NodeId> = changes.touched.iter().copied().filter(turned).collect();
        for node in &turned {
            // Hubs as they were: the links that this one had. None, if it was a hub itself.
            let before = changes.seeds.len();
            changes.seeds.extend(self.links(*node));
            if changes.seeds.len() > before {
                changes.seeds.push(*node);
            }
        }
        for node in &turned {
            let vertex = &mut self.vertices[at(*node)];
            vertex.is_hub = !vertex.is_hub;
        }
        for node in &turned {
            changes.joined.extend(self.links(*node).map(|other| (*node, other)));
        }
    }

    /// The nodes that a node is connected to directly.
    pub(super) fn links(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let vertex = &self.vertices[at(node)];
        let all = (!vertex.is_hub).then(|| vertex.neighbours.iter());
        all.into_iter().flatten().filter(|other| !self.vertices[at(*other)].is_hub)
    }

    /// Whether a node has an edge.
    pub(super) fn is_shown(&self, node: NodeId) -> bool {
        let vertex = &self.vertices[at(node)];
        vertex.has_loop || vertex.neighbours.len() > 0
    }

    /// Whether no edge of a node is counted.
    pub(super) fn is_unused(&self, node: NodeId) -> bool {
        self.vertices[at(node)].uses == 0
    }

    /// How many different edges there are.
    pub(super) fn edge_count(&self) -> usize {
        self.edge_count
    }

    /// Every counted edge of these nodes once, with its count; `nodes` in an order gives edges in that order.
    pub(super) fn edges(&self, nodes: &[NodeId]) -> Vec<(Edge, i64)> {
        let mut ranks = vec![0; self.vertices.len()];
        (0_usize..).zip(nodes).for_each(|(rank, node)| ranks[at(*node)] = rank);
        let mut edges: Vec<Edge> = Vec::with_capacity(self.edge_count);
        for node in nodes {
            let vertex = &self.vertices[at(*node)];
            edges.extend(vertex.has_loop.then_some((*node, *node)));
            edges.extend(vertex.neighbours.iter().filter(|other| node < other).map(|other| (*node, other)));
        }
        // What is owed has no neighbours to be found by.
        edges.extend(self.beyond.keys().filter(|edge| !self.has(**edge)));
        let mut edges: Vec<(Edge, i64)> = edges.into_iter().map(|edge| (edge, self.multiplicity(edge))).collect();
        let rank = |(a, b): Edge| (ranks[at(a)].min(ranks[at(b)]), ranks[at(a)].max(ranks[at(b)]));
        edges.sort_unstable_by_key(|(edge, _)| rank(*edge));
        edges.iter_mut().for_each(|((a, b), _)| {
            if ranks[at(*a)] > ranks[at(*b)] {
                std::mem::swap(a, b)
            }
        });
        edges
    }

    fn connects(&self, (a, b): Edge) -> bool {
        a != b && !self.vertices[at(a)].is_hub && !self.vertices[at(b)].is_hub
    }

    fn has(&self, (a, b): Edge) -> bool {
        let vertex = &self.vertices[at(a)];
        if a == b { vertex.has_loop } else { vertex.neighbours.contains(b) }
    }

    fn multiplicity(&self, edge: Edge) -> i64 {
        i64::from(self.has(edge)) + self.beyond.get(&edge).copied().unwrap_or(0)
    }

    /// Changes how often an edge is counted; tells whether it is there now.
    fn count(&mut self, edge: Edge, diff: i64) -> bool {
        let before = self.multiplicity(edge);
        let after = before + diff;
        let is_there = after > 0;
        match after - i64::from(is_there) {
            0 => self.beyond.remove(&edge),
            beyond => self.beyond.insert(edge, beyond),
        };
        for node in
            if edge.0 == edge.1 { [Some(edge.0), None] } else { [Some(edge.0), Some(edge.1)] }.into_iter().flatten()
        {
            let uses = &mut self.vertices[at(node)].uses;
            match (before == 0, after == 0) {
                (true, false) => *uses += 1,
                (false, true) => *uses -= 1,
                _ => {}
            }
        }
        is_there
    }

    fn link(&mut self, (a, b): Edge, is_there: bool) {
        self.edge_count = if is_there { self.edge_count + 1 } else { self.edge_count - 1 };
        if a == b {
            self.vertices[at(a)].has_loop = is_there;
            return;
        }
        for (node, other) in [(a, b), (b, a)] {
            let neighbours = &mut self.vertices[at(node)].neighbours;
            if is_there { neighbours.insert(other) } else { neighbours.remove(other) }
        }
    }
}
