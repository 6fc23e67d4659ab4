//! Components by the least label as `WITH RECURSIVE` says them.

use std::sync::Arc;

use anyhow::ensure;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::Delta;
use highwater_engine::operator::{Output, TablesOperator as _};
use highwater_operators::aggregate::{AggregateCall, AggregateFunction, AggregateSpec};
use highwater_operators::broadcast_join::JoinKind;
use highwater_operators::recursion::{Binding, Body, Recursion, RecursionSpec, RecursiveJoin};

use super::{Edge, Q5Arguments, Sample, Steps, graph, operator, progress, tell, timed};

/// What the ends of edges are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// 64-bit numbers.
    Numbers,
    /// Twenty bytes.
    Addresses,
}

impl Ends {
    fn schema(self) -> SchemaRef {
        let number = |name| Field::new(name, DataType::Int64, false);
        match self {
            Ends::Numbers => Arc::new(Schema::new(vec![number("payer"), number("payee")])),
            Ends::Addresses => operator::addresses(),
        }
    }

    fn batch(self, edges: &[Edge]) -> anyhow::Result<RecordBatch> {
        if self == Ends::Addresses {
            return operator::batch(edges);
        }
        let numbers = |ends: Vec<u64>| -> anyhow::Result<ArrayRef> {
            let numbers: Result<Vec<i64>, _> = ends.into_iter().map(i64::try_from).collect();
            Ok(Arc::new(Int64Array::from(numbers?)))
        };
        let (from, to) = edges.iter().copied().unzip();
        Ok(RecordBatch::try_new(self.schema(), vec![numbers(from)?, numbers(to)?])?)
    }
}

pub(super) fn measure(arguments: &Q5Arguments, ends: Ends) -> anyhow::Result<()> {
    let (first, added) = graph(arguments);
    let mut recursion = Recursion::new("q5", spec(ends))?;
    let (first, _) = tick(&mut recursion, ends, &first, 1)?;
    let (mut new, mut retracted) = (Steps::default(), Steps::default());
    for edge in &added {
        new.add(tick(&mut recursion, ends, &[*edge], 1)?);
    }
    for edge in &added {
        retracted.add(tick(&mut recursion, ends, &[*edge], -1)?);
    }
    let side = if ends == Ends::Numbers { "recursive" } else { "recursive over addresses" };
    tell(side, "random", first, &new, &retracted)
}

fn tick(recursion: &mut Recursion, ends: Ends, edges: &[Edge], diff: i64) -> anyhow::Result<(Sample, usize)> {
    let delta = Delta::of_block(ends.batch(edges)?, diff, 1);
    let mut output = Output::default();
    let (sample, ()) = timed(|| recursion.on_tick(vec![vec![delta]], &progress(), &mut output));
    ensure!(output.failure.is_none(), "the recursion failed: {:?}", output.failure);
    Ok((sample, output.deltas.iter().map(Delta::len).sum()))
}

/// `label(node, least) AS (SELECT node, min(label) FROM (nodes UNION ALL labels of neighbours) GROUP BY node)`.
fn spec(ends: Ends) -> RecursionSpec {
    let both =
        Body::Union(vec![Body::Input(0), Body::Project { input: Box::new(Body::Input(0)), columns: vec![1, 0] }]);
    let nodes = Body::Project { input: Box::new(both.clone()), columns: vec![0, 0] };
    let step = Body::Join(Box::new(RecursiveJoin {
        left: Body::Variable(0),
        right: both,
        keys: vec![(0, 0)],
        null_equals_null: false,
        kind: JoinKind::Inner,
        condition: None,
        output: vec![3, 1],
    }));
    let least = AggregateCall::new(AggregateFunction::Min, [1], "least");
    let input = ends.schema();
    let data_type = input.field(0).data_type().clone();
    let fields = vec![Field::new("node", data_type.clone(), false), Field::new("least", data_type, true)];
    let spec = AggregateSpec { input: input.clone(), keys: vec![0], calls: vec![least], closing: None };
    let body = Body::Aggregate { input: Box::new(Body::Union(vec![nodes, step])), spec };
    let label = Binding { name: "label".to_owned(), schema: Arc::new(Schema::new(fields)), body, distinct: false };
    RecursionSpec { inputs: vec![input], bindings: vec![label], result: 0, limit: 1000 }
}
