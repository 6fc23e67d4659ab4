//! Which parts of a component are no longer connected to the rest of it.
//!
//! A component falls apart only at edges that ceased to connect, so each of its parts holds an end of one. From all
//! these ends at once the search goes on breadth first, always where the fewest edges were looked at so far. Searches
//! that meet become one; one that finds nothing new is a part. The last one left need not end: it is the rest. So the
//! work is that of the smaller parts, or, if all stays connected, of the way until the searches meet.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::graph::Graph;
use super::nodes::{NodeId, at};

const UNSEEN: u32 = u32::MAX;

/// The nodes found from some ends.
struct Front {
    /// The search it became part of; its own index if it is one.
    joined: u32,
    found: Vec<NodeId>,
    /// Found, but not looked at.
    open: VecDeque<NodeId>,
    /// Nodes and edges looked at.
    effort: usize,
}

/// Reused between searches.
#[derive(Default)]
pub(super) struct Search {
    /// By node: the search that found it.
    finders: Vec<u32>,
    fronts: Vec<Front>,
    /// Searches by effort; entries may be out of date.
    queue: BinaryHeap<Reverse<(usize, u32)>>,
    /// Searches that may find more.
    open_count: usize,
}

impl Search {
    /// The parts of one component that are not connected to the rest; `seeds` are different nodes of it.
    pub(super) fn parts(&mut self, graph: &Graph, seeds: &[NodeId], capacity: usize) -> Vec<Vec<NodeId>> {
        self.start(seeds, capacity);
        let mut parts = Vec::new();
        while self.open_count > 1 {
            let Reverse((effort, front)) = self.queue.pop().expect("each open search is queued");
            let is_current = self.fronts[at(front)].joined == front && self.fronts[at(front)].effort == effort;
            if !is_current {
                continue;
            }
            match self.fronts[at(front)].open.pop_front() {
                Some(node) => self.look(graph, node, front),
                None => {
                    parts.push(front);
                    self.open_count -= 1;
                }
            }
        }
        self.finish(&parts)
    }

    fn start(&mut self, seeds: &[NodeId], capacity: usize) {
        self.finders.resize(capacity.max(self.finders.len()), UNSEEN);
        for (front, seed) in (0..).zip(seeds) {
            self.finders[at(*seed)] = front;
            self.fronts.push(Front { joined: front, found: vec![*seed], open: VecDeque::from([*seed]), effort: 0 });
            self.queue.push(Reverse((0, front)));
        }
        self.open_count = seeds.len();
    }

    /// Looks at the links of a node.
    fn look(&mut self, graph: &Graph, node: NodeId, front: u32) {
        let mut front = front;
        self.fronts[at(front)].effort += 1;
        for other in graph.links(node) {
            let search = &mut self.fronts[at(front)];
            search.effort += 1;
            let finder = self.finders[at(other)];
            if finder == UNSEEN {
                self.finders[at(other)] = front;
                search.found.push(other);
                search.open.push_back(other);
                continue;
            }
            let finder = self.root(finder);
            if finder != front {
                front = self.join(front, finder);
                if self.open_count == 1 {
                    return;
                }
            }
        }
        self.queue.push(Reverse((self.fronts[at(front)].effort, front)));
    }

    /// The search that a search became part of.
    fn root(&mut self, front: u32) -> u32 {
        let mut front = front;
        while self.fronts[at(front)].joined != front {
            let above = self.fronts[at(front)].joined;
            // Halves the way for the next time.
            self.fronts[at(front)].joined = self.fronts[at(above)].joined;
            front = self.fronts[at(front)].joined;
        }
        front
    }

    fn join(&mut self, one: u32, other: u32) -> u32 {
        let is_larger = self.fronts[at(one)].found.len() >= self.fronts[at(other)].found.len();
        let (large, small) = if is_larger { (one, other) } else { (other, one) };
        let joined = &mut self.fronts[at(small)];
        joined.joined = large;
        let (found, open, effort) =
            (std::mem::take(&mut joined.found), std::mem::take(&mut joined.open), joined.effort);
        let front = &mut self.fronts[at(large)];
        front.found.extend(found);
        front.open.extend(open);
        front.effort += effort;
        self.open_count -= 1;
        large
    }

    /// Takes the parts out and forgets what was found.
    fn finish(&mut self, parts: &[u32]) -> Vec<Vec<NodeId>> {
        for front in &self.fronts {
            front.found.iter().for_each(|node| self.finders[at(*node)] = UNSEEN);
        }
        let parts = parts.iter().map(|front| std::mem::take(&mut self.fronts[at(*front)].found)).collect();
        self.fronts.clear();
        self.queue.clear();
        parts
    }
}
