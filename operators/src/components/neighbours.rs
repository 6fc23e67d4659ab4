//! The neighbours of one node: a sorted vector while they are few, as almost always, else a tree.

use std::collections::{BTreeSet, btree_set};
use std::slice;

use super::nodes::NodeId;

/// Above this many a change no longer moves the others.
const FEW: usize = 128;

/// A set of nodes.
pub(super) enum Neighbours {
    /// In order of ids.
    Few(Vec<NodeId>),
    /// Too many to move.
    Many(BTreeSet<NodeId>),
}

impl Default for Neighbours {
    fn default() -> Neighbours {
        Neighbours::Few(Vec::new())
    }
}

impl Neighbours {
    pub(super) fn len(&self) -> usize {
        match self {
            Neighbours::Few(nodes) => nodes.len(),
            Neighbours::Many(nodes) => nodes.len(),
        }
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        match self {
            Neighbours::Few(nodes) => nodes.binary_search(&node).is_ok(),
            Neighbours::Many(nodes) => nodes.contains(&node),
        }
    }

    /// Adds a node that is not there.
    pub(super) fn insert(&mut self, node: NodeId) {
        match self {
            Neighbours::Few(nodes) if nodes.len() < FEW => {
                let place = nodes.partition_point(|other| *other < node);
                nodes.insert(place, node);
            }
            Neighbours::Few(nodes) => {
                let more = nodes.drain(..).chain([node]).collect();
                *self = Neighbours::Many(more);
            }
            Neighbours::Many(nodes) => {
                nodes.insert(node);
            }
        }
    }

    /// Takes a node out that is there.
    pub(super) fn remove(&mut self, node: NodeId) {
        match self {
            Neighbours::Few(nodes) => {
                let place = nodes.partition_point(|other| *other < node);
                nodes.remove(place);
            }
            Neighbours::Many(nodes) => {
                nodes.remove(&node);
                // Half, so that a node at the limit does not change its form with every edge.
                if nodes.len() <= FEW / 2 {
                    *self = Neighbours::Few(nodes.iter().copied().collect());
                }
            }
        }
    }

    pub(super) fn iter(&self) -> NeighboursIter<'_> {
        match self {
            Neighbours::Few(nodes) => NeighboursIter::Few(nodes.iter()),
            Neighbours::Many(nodes) => NeighboursIter::Many(nodes.iter()),
        }
    }
}

/// Neighbours in order of ids.
pub(super) enum NeighboursIter<'a> {
    Few(slice::Iter<'a, NodeId>),
    Many(btree_set::Iter<'a, NodeId>),
}

impl Iterator for NeighboursIter<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        match self {
            NeighboursIter::Few(nodes) => nodes.next().copied(),
            NeighboursIter::Many(nodes) => nodes.next().copied(),
        }
    }
}
