//! Nodes as small numbers: row bytes to ids and back.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// A node. Ids of nodes that are gone are used again; their order means nothing.
pub(super) type NodeId = u32;

/// The place of a node in vectors by node.
pub(super) fn at(node: NodeId) -> usize {
    node as usize
}

/// The bytes of nodes and their ids.
#[derive(Default)]
pub(super) struct Nodes {
    ids: HashTable<NodeId>,
    /// By id; empty where the id is free.
    bytes: Vec<Box<[u8]>>,
    free: Vec<NodeId>,
    hasher: FixedState,
    byte_count: usize,
}

impl Nodes {
    /// The node of these bytes, made if it is new.
    pub(super) fn intern(&mut self, bytes: &[u8]) -> NodeId {
        let hash = self.hasher.hash_one(bytes);
        if let Some(node) = self.ids.find(hash, |node| *self.bytes[at(*node)] == *bytes) {
            return *node;
        }
        let node = self.free.pop().unwrap_or_else(|| {
            self.bytes.push(Box::default());
            NodeId::try_from(self.bytes.len() - 1).expect("four billion nodes do not fit into memory")
        });
        self.bytes[at(node)] = bytes.into();
        self.byte_count += bytes.len();
        let (all, hasher) = (&self.bytes, &self.hasher);
        self.ids.insert_unique(hash, node, |node| hasher.hash_one(&*all[at(*node)]));
        node
    }

    /// The bytes of a node, which order nodes.
    pub(super) fn bytes(&self, node: NodeId) -> &[u8] {
        &self.bytes[at(node)]
    }

    /// Forgets a node.
    pub(super) fn remove(&mut self, node: NodeId) {
        let hash = self.hasher.hash_one(self.bytes(node));
        let entry = self.ids.find_entry(hash, |other| *other == node);
        entry.expect("a node is known until it is removed").remove();
        self.byte_count -= self.bytes[at(node)].len();
        self.bytes[at(node)] = Box::default();
        self.free.push(node);
    }

    /// How many ids there are, free ones included.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// All nodes, in the order of their bytes.
    pub(super) fn sorted(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.ids.iter().copied().collect();
        nodes.sort_unstable_by(|a, b| self.bytes(*a).cmp(self.bytes(*b)));
        nodes
    }

    /// Nodes, and bytes of all of them.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.ids.len(), self.byte_count)
    }
}
