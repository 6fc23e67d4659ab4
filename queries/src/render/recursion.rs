//! From the bodies of a recursion to the steps of its loop.

use std::rc::Rc;

use datafusion_physical_expr::expressions::Column;
use highwater_engine::error::BoxError;
use highwater_engine::operator::BatchOperator;
use highwater_operators::broadcast_join::JoinKind;
use highwater_operators::recursion::{BatchFactory, Binding, Body, Recursion, RecursionSpec, RecursiveJoin};

use super::operators::{self, RenderError, aggregate_spec};
use super::stage::{Stage, Stages};
use crate::plan::{ChangingJoin, JoinColumn, JoinNode, Node, NodeKind, RecursionNode};

/// The operator of a recursion.
pub(super) fn make(node: &RecursionNode) -> Result<Recursion, RenderError> {
    let bindings = node.bindings.iter().map(|binding| {
        Ok(Binding {
            name: binding.name.clone(),
            schema: binding.schema.clone(),
            body: body(&binding.body, node)?,
            distinct: binding.distinct,
        })
    });
    let bindings = bindings.collect::<Result<_, BoxError>>().map_err(RenderError::of(&node.id))?;
    let spec = RecursionSpec {
        inputs: node.inputs.iter().map(|input| input.schema.clone()).collect(),
        bindings,
        result: node.result,
        limit: node.limit,
    };
    Recursion::new(&node.id, spec).map_err(|error| RenderError::of(&node.id)(error.into()))
}

fn body(node: &Node, recursion: &RecursionNode) -> Result<Body, BoxError> {
    let boxed = |node: &Node| body(node, recursion).map(Box::new);
    Ok(match &node.kind {
        NodeKind::Outer { input } => Body::Input(*input),
        NodeKind::Variable { binding, columns } => {
            let width = recursion.bindings[*binding].schema.fields().len();
            let variable = Body::Variable(*binding);
            match columns.iter().copied().eq(0..width) {
                true => variable,
                false => Body::Project { input: Box::new(variable), columns: columns.clone() },
            }
        }
        NodeKind::Values { batch } => Body::Values(batch.clone()),
        NodeKind::Union { inputs } => {
            let inputs = inputs.iter().map(|input| body(input, recursion)).collect::<Result<_, _>>()?;
            Body::Union(inputs)
        }
        NodeKind::Project { input, expressions } => {
            let picked: Option<Vec<usize>> =
                expressions.iter().map(|expression| expression.downcast_ref::<Column>().map(Column::index)).collect();
            match picked {
                Some(columns) => Body::Project { input: boxed(input)?, columns },
                None => stateless(node, boxed(input)?),
            }
        }
        NodeKind::Filter { input, .. } | NodeKind::Window { input, .. } | NodeKind::Expand { input, .. } => {
            stateless(node, boxed(input)?)
        }
        NodeKind::Aggregate { input, keys, calls, .. } => {
            Body::Aggregate { input: boxed(input)?, spec: aggregate_spec(input, keys, calls, None) }
        }
        NodeKind::Join(join) => joined(join, recursion)?,
        _ => return Err("the planner left a step in a recursion that no loop can have".into()),
    })
}

/// The step of a node that goes row by row.
fn stateless(node: &Node, input: Box<Body>) -> Body {
    let owned = node.clone();
    let operator: BatchFactory = Rc::new(move || {
        let stage = operators::stage(&owned).map(|(stage, _)| stage);
        Box::new(Stages::new(stage.into_iter().collect())) as Box<dyn BatchOperator>
    });
    Body::Batch { input, operator, schema: node.schema.clone() }
}

fn joined(join: &JoinNode, recursion: &RecursionNode) -> Result<Body, BoxError> {
    let kind = match join.kind {
        ChangingJoin::Inner => JoinKind::Inner,
        ChangingJoin::Left => JoinKind::LeftOuter,
        ChangingJoin::LeftSemi => JoinKind::Semi,
        ChangingJoin::LeftAnti => JoinKind::Anti,
        _ => return Err("the planner left a kind of join in a recursion that no loop can have".into()),
    };
    let condition = join.condition.clone().map(|condition| -> BatchFactory {
        Rc::new(move || Box::new(Stages::new(vec![Stage::Filter(condition.clone())])) as Box<dyn BatchOperator>)
    });
    let width = join.left.schema.fields().len();
    let output = join.output.iter().map(|column| match column {
        JoinColumn::Left(index) => *index,
        JoinColumn::Right(index) => width + index,
        JoinColumn::Mark => unreachable!("mark joins are refused inside a recursion"),
    });
    Ok(Body::Join(Box::new(RecursiveJoin {
        left: body(&join.left, recursion)?,
        right: body(&join.right, recursion)?,
        keys: join.keys.clone(),
        null_equals_null: join.null_equals_null,
        kind,
        condition,
        output: output.collect(),
    })))
}
