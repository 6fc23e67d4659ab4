//! Whether two steps give the same relation: what a query says twice is maintained once.
//!
//! A WITH that is read twice stands in the plan twice, because the plan is a tree. The renderer makes one operator
//! of equal steps of a view; names of state are not compared, everything that decides rows is.

use super::node::{Node, NodeKind};
use super::relational::{JoinNode, OverNode, SessionNode};

impl Node {
    /// Whether the node gives the same rows as another, whatever their state is called. False where that is not
    /// known.
    pub(crate) fn same(&self, other: &Node) -> bool {
        if self.schema != other.schema {
            return false;
        }
        let (ours, theirs) = (self.inputs(), other.inputs());
        ours.len() == theirs.len()
            && self.same_step(other)
            && ours.iter().zip(theirs).all(|(ours, theirs)| ours.same(theirs))
    }

    /// Whether the step itself is the same; the inputs are compared apart.
    fn same_step(&self, other: &Node) -> bool {
        use NodeKind as K;
        match (&self.kind, &other.kind) {
            (K::Scan { source, table, columns }, K::Scan { source: s, table: t, columns: c }) => {
                (source, table, columns) == (s, t, c)
            }
            (K::View { view, columns }, K::View { view: v, columns: c })
            | (K::Errors { view, columns }, K::Errors { view: v, columns: c }) => (view, columns) == (v, c),
            (K::BlockRelation { id, columns, .. }, K::BlockRelation { id: i, columns: c, .. }) => {
                (id, columns) == (i, c)
            }
            (K::Values { batch }, K::Values { batch: b }) => batch == b,
            (K::LiveTable { table, columns, .. }, K::LiveTable { table: t, columns: c, .. }) => {
                (table, columns) == (t, c)
            }
            (K::Filter { predicate, .. }, K::Filter { predicate: p, .. }) => predicate == p,
            (K::Project { expressions, .. }, K::Project { expressions: e, .. }) => expressions == e,
            (K::Expand { copies, .. }, K::Expand { copies: c, .. }) => copies == c,
            (K::Window { time, window, .. }, K::Window { time: t, window: w, .. }) => (time, window) == (t, w),
            (K::Union { .. }, K::Union { .. }) => true,
            (K::Aggregate { keys, calls, closing, .. }, K::Aggregate { keys: k, calls: c, closing: l, .. }) => {
                (keys, calls, closing) == (k, c, l)
            }
            (K::BlockAggregate { keys, calls, .. }, K::BlockAggregate { keys: k, calls: c, .. }) => {
                (keys, calls) == (k, c)
            }
            (K::Session(ours), K::Session(theirs)) => same_session(ours, theirs),
            (K::TopK { .. }, K::TopK { .. }) => same_top_k(&self.kind, &other.kind),
            (K::Multiset { operation, .. }, K::Multiset { operation: o, .. }) => operation == o,
            (K::Join(ours), K::Join(theirs)) => same_join(ours, theirs),
            (K::Over(ours), K::Over(theirs)) => same_over(ours, theirs),
            (
                K::TemporalFilter { valid_from, valid_until, .. },
                K::TemporalFilter { valid_from: f, valid_until: u, .. },
            ) => (valid_from, valid_until) == (f, u),
            _ => false,
        }
    }

    /// Whether it keeps state, so that having it twice would cost twice.
    pub(crate) fn keeps_state(&self) -> bool {
        matches!(
            self.kind,
            NodeKind::Aggregate { .. }
                | NodeKind::Session(_)
                | NodeKind::TopK { .. }
                | NodeKind::Multiset { .. }
                | NodeKind::Join(_)
                | NodeKind::Over(_)
                | NodeKind::TemporalFilter { .. }
        )
    }

    /// The names of the state of the steps, each as often as its step stands there.
    pub(super) fn state_id(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Aggregate { id, .. }
            | NodeKind::TopK { id, .. }
            | NodeKind::Multiset { id, .. }
            | NodeKind::TemporalFilter { id, .. } => Some(id),
            NodeKind::Join(join) => Some(&join.id),
            NodeKind::Over(over) => Some(&over.id),
            NodeKind::Session(session) => Some(&session.id),
            _ => None,
        }
    }
}

fn same_session(ours: &SessionNode, theirs: &SessionNode) -> bool {
    (ours.time, &ours.key, ours.gap_ms, ours.final_offset_ms)
        == (theirs.time, &theirs.key, theirs.gap_ms, theirs.final_offset_ms)
        && ours.groups == theirs.groups
}

fn same_top_k(ours: &NodeKind, theirs: &NodeKind) -> bool {
    let NodeKind::TopK { partition, sort, limit, offset, closing, ranking, show_rank, .. } = ours else { return false };
    let NodeKind::TopK { partition: p, sort: s, limit: l, offset: o, closing: c, ranking: r, show_rank: n, .. } =
        theirs
    else {
        return false;
    };
    (partition, sort, limit, offset, closing) == (p, s, l, o, c) && ranking == r && show_rank == n
}

fn same_join(ours: &JoinNode, theirs: &JoinNode) -> bool {
    (ours.kind, &ours.keys, ours.null_equals_null, ours.retain)
        == (theirs.kind, &theirs.keys, theirs.null_equals_null, theirs.retain)
        && ours.condition == theirs.condition
        && ours.output == theirs.output
}

fn same_over(ours: &OverNode, theirs: &OverNode) -> bool {
    (&ours.partition, &ours.sort, ours.closing) == (&theirs.partition, &theirs.sort, theirs.closing)
        && ours.calls == theirs.calls
}

/// The names of state that stands for a step which stands elsewhere too: that one keeps it.
pub(super) fn repeated(root: &Node) -> Vec<String> {
    let mut known: Vec<&Node> = Vec::new();
    let mut repeated = Vec::new();
    walk(root, &mut known, &mut repeated);
    repeated
}

fn walk<'n>(node: &'n Node, known: &mut Vec<&'n Node>, repeated: &mut Vec<String>) {
    if node.keeps_state() {
        if known.iter().any(|before| before.same(node)) {
            names(node, repeated);
            return;
        }
        known.push(node);
    }
    for input in node.inputs() {
        walk(input, known, repeated);
    }
}

fn names(node: &Node, repeated: &mut Vec<String>) {
    repeated.extend(node.state_id().map(str::to_owned));
    for input in node.inputs() {
        names(input, repeated);
    }
}
