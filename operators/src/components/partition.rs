//! Which component each node is in, and the least node of each component.

use super::nodes::{NodeId, Nodes, at};

/// No node, no component.
const NONE: u32 = u32::MAX;

/// The place of a node.
#[derive(Clone, Copy)]
struct Member {
    component: u32,
    /// Index within the members of the component.
    place: u32,
    /// The least node of its component as last told; [`NONE`]: the node was not told of.
    told: NodeId,
}

struct Component {
    /// In no order.
    members: Vec<NodeId>,
    least: NodeId,
    /// The least node when the last tick ended; [`NONE`] for a new component.
    told: NodeId,
}

/// A node that is told of anew: what was said, what is said now.
pub(super) struct Retold {
    pub(super) node: NodeId,
    pub(super) before: Option<NodeId>,
    pub(super) after: Option<NodeId>,
}

/// Disjoint sets of nodes that join and fall apart.
#[derive(Default)]
pub(super) struct Partition {
    members: Vec<Member>,
    components: Vec<Component>,
    free: Vec<u32>,
    /// Nodes that went into another component in this tick.
    moved: Vec<NodeId>,
    /// Components that are new or whose least node changed in this tick.
    restated: Vec<u32>,
}

impl Partition {
    /// Makes a component of a node that has none. Ids are below `capacity`.
    pub(super) fn settle_in(&mut self, node: NodeId, capacity: usize) {
        self.members.resize(capacity.max(self.members.len()), Member { component: NONE, place: 0, told: NONE });
        if self.members[at(node)].component == NONE {
            self.found(vec![node], node);
        }
    }

    /// The component of a node.
    pub(super) fn component(&self, node: NodeId) -> u32 {
        self.members[at(node)].component
    }

    /// Joins the components of two nodes: the nodes of the smaller one move.
    pub(super) fn join(&mut self, one: NodeId, other: NodeId, nodes: &Nodes) {
        let (one, other) = (self.component(one), self.component(other));
        if one == other {
            return;
        }
        let is_larger = self.components[at(one)].members.len() >= self.components[at(other)].members.len();
        let (large, small) = if is_larger { (one, other) } else { (other, one) };
        let moving = std::mem::take(&mut self.components[at(small)].members);
        self.free.push(small);
        for node in &moving {
            self.enter(*node, large);
        }
        let least = self.components[at(small)].least;
        let component = &mut self.components[at(large)];
        if nodes.bytes(least) < nodes.bytes(component.least) {
            component.least = least;
            self.restated.push(large);
        }
        self.moved.extend(moving);
    }

    /// Makes components of parts of a component, not of all of it.
    pub(super) fn split(&mut self, component: u32, parts: Vec<Vec<NodeId>>, nodes: &Nodes) {
        for part in parts {
            part.iter().for_each(|node| self.leave(*node));
            self.moved.extend(&part);
            let least = least(&part, nodes);
            self.found(part, least);
        }
        let rest = &mut self.components[at(component)];
        if self.members[at(rest.least)].component != component {
            // Every row of the rest changes with its least node, so that looking at each costs no more.
            rest.least = least(&rest.members, nodes);
            self.restated.push(component);
        }
    }

    /// Forgets a node that is alone in its component.
    pub(super) fn remove(&mut self, node: NodeId) {
        let member = &mut self.members[at(node)];
        let component = std::mem::replace(&mut member.component, NONE);
        member.told = NONE;
        let alone = std::mem::take(&mut self.components[at(component)].members);
        debug_assert_eq!(alone, [node]);
        self.free.push(component);
    }

    /// Ends the tick: of the touched nodes and of those whose component is another, what changed.
    pub(super) fn retell(&mut self, touched: &[NodeId], is_shown: impl Fn(NodeId) -> bool) -> Vec<Retold> {
        let mut retold = Vec::new();
        let mut nodes = std::mem::take(&mut self.moved);
        nodes.extend(touched);
        for component in std::mem::take(&mut self.restated) {
            let component = &mut self.components[at(component)];
            // Its members have not moved, but what is said of them changed. Not so if the least is as it was.
            if component.told != component.least {
                component.told = component.least;
                nodes.extend(&component.members);
            }
        }
        for node in nodes {
            let member = &mut self.members[at(node)];
            let after = if is_shown(node) { self.components[at(member.component)].least } else { NONE };
            let before = std::mem::replace(&mut member.told, after);
            if before != after {
                let known = |least: NodeId| (least != NONE).then_some(least);
                retold.push(Retold { node, before: known(before), after: known(after) });
            }
        }
        retold
    }

    fn found(&mut self, members: Vec<NodeId>, least: NodeId) {
        let new = Component { members: Vec::with_capacity(members.len()), least, told: NONE };
        let component = match self.free.pop() {
            Some(component) => {
                self.components[at(component)] = new;
                component
            }
            None => {
                self.components.push(new);
                u32::try_from(self.components.len() - 1).expect("no more components than nodes")
            }
        };
        members.into_iter().for_each(|node| self.enter(node, component));
        self.restated.push(component);
    }

    fn enter(&mut self, node: NodeId, component: u32) {
        let members = &mut self.components[at(component)].members;
        let member = &mut self.members[at(node)];
        member.component = component;
        member.place = u32::try_from(members.len()).expect("no more members than nodes");
        members.push(node);
    }

    fn leave(&mut self, node: NodeId) {
        let Member { component, place, .. } = self.members[at(node)];
        let members = &mut self.components[at(component)].members;
        members.swap_remove(at(place));
        if let Some(last) = members.get(at(place)) {
            self.members[at(*last)].place = place;
        }
    }
}

/// The least node of some, by bytes.
fn least(members: &[NodeId], nodes: &Nodes) -> NodeId {
    *members.iter().min_by_key(|node| nodes.bytes(**node)).expect("a component has nodes")
}
