//! Ordered multisets that can be asked for the value at a position, one for each group.
//!
//! Each is a treap (Seidel and Aragon, "Randomized Search Trees", Algorithmica 16, 1996) in one arena,
//! whose nodes know how many values are below them and how often the most frequent of these occurs:
//! adding, taking away and both questions take time in the logarithm of the different values. The
//! priorities are a fixed sequence, and nothing that comes out depends on them.

use std::cmp::Ordering;

/// No node.
const NONE: u32 = u32::MAX;
const FIRST_PRIORITY: u64 = 0x9e37_79b9_7f4a_7c15;

struct Node<V> {
    value: V,
    /// Below zero only within a tick: changes have no order. Such a value does not occur.
    count: i64,
    /// Values that occur in this subtree.
    total: i64,
    /// How often the most frequent value of this subtree occurs.
    most: i64,
    left: u32,
    right: u32,
    priority: u32,
}

/// The multisets of all groups.
pub(super) struct Forest<V> {
    nodes: Vec<Node<V>>,
    roots: Vec<u32>,
    free: Vec<u32>,
    random: u64,
}

impl<V: Ord + Clone> Forest<V> {
    pub(super) fn new() -> Forest<V> {
        Forest { nodes: Vec::new(), roots: Vec::new(), free: Vec::new(), random: FIRST_PRIORITY }
    }

    /// Makes room for groups `0..slots`; those beyond are forgotten.
    pub(super) fn resize(&mut self, slots: usize) {
        if slots == 0 {
            self.nodes.clear();
            self.free.clear();
        } else {
            (slots..self.roots.len()).for_each(|group| self.forget(group));
        }
        self.roots.resize(slots, NONE);
    }

    /// Different values of all groups.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Bytes held, without what values have on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node<V>>() + (self.roots.capacity() + self.free.capacity()) * 4
    }

    /// How many values of a group occur.
    pub(super) fn total(&self, group: usize) -> i64 {
        self.total_of(self.roots[group])
    }

    /// Adds a value `diff` times (takes it away if negative).
    pub(super) fn add(&mut self, group: usize, value: V, diff: i64) {
        if diff != 0 {
            self.roots[group] = self.add_below(self.roots[group], value, diff);
        }
    }

    /// The value at a position, counted from 0 over all that occur.
    pub(super) fn at(&self, group: usize, position: i64) -> Option<&V> {
        let (mut at, mut position) = (self.roots[group], position);
        while at != NONE {
            let node = self.node(at);
            let before = self.total_of(node.left);
            if position < before {
                at = node.left;
            } else if position < before + node.count.max(0) {
                return Some(&node.value);
            } else {
                position -= before + node.count.max(0);
                at = node.right;
            }
        }
        None
    }

    /// The value that occurs most often: of several the least, or the greatest.
    pub(super) fn mode(&self, group: usize, greatest: bool) -> Option<&V> {
        let mut at = self.roots[group];
        let most = self.most_of(at);
        if most == 0 {
            return None;
        }
        loop {
            let node = self.node(at);
            let (first, last) = if greatest { (node.right, node.left) } else { (node.left, node.right) };
            at = if self.most_of(first) == most {
                first
            } else if node.count == most {
                return Some(&node.value);
            } else {
                last
            };
        }
    }

    /// The values of a group with their counts, in order.
    pub(super) fn entries(&self, group: usize) -> Vec<(&V, i64)> {
        let (mut entries, mut path, mut at) = (Vec::new(), Vec::new(), self.roots[group]);
        loop {
            while at != NONE {
                path.push(at);
                at = self.node(at).left;
            }
            let Some(next) = path.pop() else { return entries };
            let node = self.node(next);
            entries.push((&node.value, node.count));
            at = node.right;
        }
    }

    /// Forgets the values of a group.
    pub(super) fn forget(&mut self, group: usize) {
        let mut left = vec![std::mem::replace(&mut self.roots[group], NONE)];
        while let Some(at) = left.pop() {
            if at != NONE {
                left.extend([self.node(at).left, self.node(at).right]);
                self.free.push(at);
            }
        }
    }

    fn node(&self, at: u32) -> &Node<V> {
        &self.nodes[at as usize]
    }

    fn total_of(&self, at: u32) -> i64 {
        if at == NONE { 0 } else { self.node(at).total }
    }

    fn most_of(&self, at: u32) -> i64 {
        if at == NONE { 0 } else { self.node(at).most }
    }

    /// A node of its own.
    fn plant(&mut self, value: V, count: i64) -> u32 {
        // Xorshift: any sequence without a pattern keeps the trees flat.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let priority = u32::try_from(self.random >> 32).expect("the high half");
        let shown = count.max(0);
        let node = Node { value, count, total: shown, most: shown, left: NONE, right: NONE, priority };
        match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                let at = u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 values fit in memory");
                assert_ne!(at, NONE, "fewer than 2^32 values fit in memory");
                at
            }
        }
    }

    /// Adds to the subtree; gives its new root.
    fn add_below(&mut self, at: u32, value: V, diff: i64) -> u32 {
        if at == NONE {
            return self.plant(value, diff);
        }
        let node = &mut self.nodes[at as usize];
        match value.cmp(&node.value) {
            Ordering::Equal => {
                node.count += diff;
                if node.count == 0 {
                    let (left, right) = (node.left, node.right);
                    self.free.push(at);
                    return self.merge(left, right);
                }
            }
            Ordering::Less => {
                let left = node.left;
                let left = self.add_below(left, value, diff);
                self.nodes[at as usize].left = left;
                if left != NONE && self.node(left).priority > self.node(at).priority {
                    return self.turn_right(at, left);
                }
            }
            Ordering::Greater => {
                let right = node.right;
                let right = self.add_below(right, value, diff);
                self.nodes[at as usize].right = right;
                if right != NONE && self.node(right).priority > self.node(at).priority {
                    return self.turn_left(at, right);
                }
            }
        }
        self.count_again(at);
        at
    }

    fn turn_right(&mut self, at: u32, left: u32) -> u32 {
        self.nodes[at as usize].left = self.node(left).right;
        self.nodes[left as usize].right = at;
        self.count_again(at);
        self.count_again(left);
        left
    }

    fn turn_left(&mut self, at: u32, right: u32) -> u32 {
        self.nodes[at as usize].right = self.node(right).left;
        self.nodes[right as usize].left = at;
        self.count_again(at);
        self.count_again(right);
        right
    }

    /// One tree of two, where all of the first comes before all of the second.
    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NONE {
            return right;
        }
        if right == NONE {
            return left;
        }
        if self.node(left).priority > self.node(right).priority {
            let merged = self.merge(self.node(left).right, right);
            self.nodes[left as usize].right = merged;
            self.count_again(left);
            left
        } else {
            let merged = self.merge(left, self.node(right).left);
            self.nodes[right as usize].left = merged;
            self.count_again(right);
            right
        }
    }

    fn count_again(&mut self, at: u32) {
        let node = self.node(at);
        let (left, right, own) = (node.left, node.right, node.count.max(0));
        let total = self.total_of(left) + self.total_of(right) + own;
        let most = own.max(self.most_of(left)).max(self.most_of(right));
        let node = &mut self.nodes[at as usize];
        (node.total, node.most) = (total, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_stay_flat_and_empty_out() {
        let mut forest: Forest<u32> = Forest::new();
        forest.resize(2);
        (0..10_000).for_each(|value| forest.add(1, value, i64::from(value % 3) + 1));
        assert_eq!((forest.len(), forest.total(1), forest.total(0)), (10_000, 19_999, 0));
        let depth = depth(&forest, forest.roots[1]);
        assert!(depth < 60, "{depth}");
        assert_eq!(forest.at(1, 0), Some(&0));
        assert_eq!(forest.at(1, 1), Some(&1));
        assert_eq!(forest.at(1, 19_998), Some(&9_999));
        assert_eq!(forest.at(1, 19_999), None);
        assert_eq!((forest.mode(1, false), forest.mode(1, true)), (Some(&2), Some(&9_998)));
        (0..10_000).rev().for_each(|value| forest.add(1, value, -1 - i64::from(value % 3)));
        assert_eq!((forest.len(), forest.total(1), forest.mode(1, false)), (0, 0, None));
        forest.add(0, 5, -1);
        assert_eq!((forest.total(0), forest.at(0, 0), forest.mode(0, false)), (0, None, None));
        forest.add(0, 5, 2);
        assert_eq!(forest.at(0, 0), Some(&5));
    }

    fn depth(forest: &Forest<u32>, at: u32) -> usize {
        if at == NONE {
            return 0;
        }
        1 + depth(forest, forest.node(at).left).max(depth(forest, forest.node(at).right))
    }
}
