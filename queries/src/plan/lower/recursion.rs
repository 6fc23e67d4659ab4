//! Recursive queries: a body becomes steps of a loop, and what does not depend on the loop comes from outside.

use arrow::datatypes::{Schema, SchemaRef};
use std::sync::Arc;

use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{Node, NodeKind};
use super::super::recursion::MutualNode;
use super::super::relational::{ChangingJoin, RecursionNode, RecursiveBinding};
use super::scalar::project;
use super::{Lower, Lowered, Lowerer};

/// The relations being defined, with their columns.
pub(super) type Scope = Vec<(String, SchemaRef)>;

impl Lowerer<'_> {
    pub(super) fn mutual(&mut self, node: &MutualNode) -> Lower<Lowered> {
        if !self.recursive.is_empty() {
            return Err(self.nested());
        }
        let scope = node.names.iter().zip(&node.bodies);
        let scope: Scope = scope.map(|(name, body)| (name.clone(), nullable(body.schema().inner()))).collect();
        self.recursive = scope.clone();
        let mut bindings = Vec::with_capacity(scope.len());
        for ((name, schema), body) in scope.into_iter().zip(&node.bodies) {
            let body = self.lower(body).and_then(|body| self.as_columns(body, &schema));
            match body {
                Ok(body) => bindings.push(RecursiveBinding { name, schema, body: body.node, distinct: node.distinct }),
                Err(mistake) => {
                    self.recursive.clear();
                    return Err(mistake);
                }
            }
        }
        self.recursive.clear();
        self.looped(bindings, node.result, node.limit)
    }

    /// The relation being defined, as it was in the round before.
    pub(super) fn variable(&self, name: &str, columns: &[usize], schema: SchemaRef) -> Lower<Lowered> {
        let Some(binding) = self.recursive.iter().position(|(known, _)| known == name) else {
            return Err(self.unsupported("this use of a recursive relation", name));
        };
        let facts = Facts {
            columns: vec![ColumnFacts::default(); columns.len()],
            bound: Some(format!("the rows of {name}")),
            ..Facts::default()
        };
        let kind = NodeKind::Variable { binding, columns: columns.to_vec() };
        Ok(Lowered { node: Node { kind, schema }, facts })
    }

    /// Just the columns of a binding, in its types.
    fn as_columns(&self, lowered: Lowered, schema: &SchemaRef) -> Lower<Lowered> {
        let shown = self.as_fields(&lowered, 0..schema.fields().len(), schema.fields())?;
        Ok(project(lowered, shown))
    }

    fn looped(&mut self, bindings: Vec<RecursiveBinding>, result: usize, limit: u64) -> Lower<Lowered> {
        let mut inputs = Vec::new();
        let mut inside = Vec::new();
        let mut split = Vec::with_capacity(bindings.len());
        for binding in bindings {
            let body = outside(binding.body, &mut inputs);
            self.steps(&body, &mut inside)?;
            split.push(RecursiveBinding { body, ..binding });
        }
        // The loop keeps the state of its steps; whether it is bounded depends on what comes in.
        self.state.retain(|entry| !inside.contains(&entry.id));
        let bounded = inputs.iter().all(|input| self.is_bounded(input));
        let names: Vec<&str> = split.iter().map(|binding| binding.name.as_str()).collect();
        let bound = bounded.then(|| format!("what follows from its inputs, within {limit} rounds"));
        let id = self.id("recursion");
        self.keep(&id, "recursion", names.join(", "), bound, "recursive")?;
        let schema = split[result].schema.clone();
        let facts = Facts {
            columns: vec![ColumnFacts::default(); schema.fields().len()],
            bound: bounded.then(|| format!("the rows of {}", names.join(", "))),
            ..Facts::default()
        };
        let node = RecursionNode { id, inputs, bindings: split, result, limit };
        Ok(Lowered { node: Node { kind: NodeKind::Recursion(Box::new(node)), schema }, facts })
    }

    /// Refuses steps that a loop cannot have; notes the state that the loop keeps for its steps.
    fn steps(&self, node: &Node, inside: &mut Vec<String>) -> Lower<()> {
        let refused = |what: &str, word: &str| {
            let hint = "compute it in a view over the recursive one";
            Err(self.unsupported(&format!("{what} inside a recursion"), word).with_hint(hint))
        };
        match &node.kind {
            NodeKind::Outer { .. } | NodeKind::Variable { .. } | NodeKind::Values { .. } => {}
            NodeKind::Filter { .. } | NodeKind::Project { .. } | NodeKind::Union { .. } | NodeKind::Expand { .. } => {}
            NodeKind::Window { .. } => {}
            NodeKind::Aggregate { id, .. } => inside.push(id.clone()),
            NodeKind::Join(join) => match join.kind {
                ChangingJoin::Inner | ChangingJoin::Left | ChangingJoin::LeftSemi | ChangingJoin::LeftAnti => {
                    inside.push(join.id.clone());
                }
                _ => return refused("this kind of join", "join"),
            },
            NodeKind::TopK { .. } => return refused("LIMIT or a rank", "limit"),
            NodeKind::Over(_) => return refused("OVER", "over"),
            _ => return refused("this construct", "recursive"),
        }
        node.inputs().into_iter().try_for_each(|input| self.steps(input, inside))
    }

    /// Whether something bounds the rows of a relation from outside the loop.
    fn is_bounded(&self, node: &Node) -> bool {
        match &node.kind {
            NodeKind::Scan { .. } | NodeKind::BlockRelation { .. } => false,
            NodeKind::View { view, .. } => self.views[*view].facts.bound.is_some(),
            NodeKind::TemporalFilter { .. } => true,
            _ => node.inputs().into_iter().all(|input| self.is_bounded(input)),
        }
    }

    fn nested(&self) -> crate::diagnostic::Diagnostic {
        self.unsupported("a recursion inside a recursion", "recursive")
            .with_hint("make the inner one a view of its own, or define both in one WITH MUTUALLY RECURSIVE")
    }
}

fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Takes the largest parts that do not depend on the loop out of a body.
fn outside(mut node: Node, inputs: &mut Vec<Node>) -> Node {
    if matches!(node.kind, NodeKind::Values { .. }) {
        return node;
    }
    if !depends(&node) {
        let schema = node.schema.clone();
        inputs.push(node);
        return Node { kind: NodeKind::Outer { input: inputs.len() - 1 }, schema };
    }
    for input in node.inputs_mut() {
        let taken = std::mem::replace(input, Node::nothing());
        *input = outside(taken, inputs);
    }
    node
}

fn depends(node: &Node) -> bool {
    matches!(node.kind, NodeKind::Variable { .. }) || node.inputs().into_iter().any(depends)
}
