//! `CONNECTED_COMPONENTS`.

use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, FixedSizeBinaryBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::Delta;
use highwater_engine::operator::{Output, TickOperator as _};
use highwater_operators::components::{Components, ComponentsSpec};

use super::{Edge, Q5Arguments, Sample, Steps, graph, progress, tell, timed};
use crate::random::Random;

/// A ring loses thousands of edges' worth of time to each retraction that searches half of it.
const RING_EDGES: usize = 20;

pub(super) fn measure(arguments: &Q5Arguments) -> anyhow::Result<()> {
    let mut random = Random(7);
    let nodes = arguments.nodes;
    one("random", graph(arguments).0, arguments.edges, nodes, &mut random)?;
    let tree = (1..nodes).map(|node| (node, random.below(node))).collect();
    one("tree", tree, arguments.edges, nodes, &mut random)?;
    let ring = (0..nodes).map(|node| (node, (node + 1) % nodes)).collect();
    one("ring", ring, RING_EDGES, nodes, &mut random)
}

/// New edges and retracted ones in turn.
fn one(name: &str, mut edges: Vec<Edge>, steps: usize, nodes: u64, random: &mut Random) -> anyhow::Result<()> {
    let spec = ComponentsSpec { input: addresses(), ends: [0, 1], hub_limit: Some(1000) };
    let mut components = Components::new("q5", spec)?;
    let (first, _) = tick(&mut components, &edges, 1)?;
    let (mut new, mut retracted) = (Steps::default(), Steps::default());
    for _ in 0..steps {
        let edge = (random.below(nodes), random.below(nodes));
        new.add(tick(&mut components, &[edge], 1)?);
        edges.push(edge);
        let place = usize::try_from(random.below(edges.len() as u64))?;
        let gone = edges.swap_remove(place);
        retracted.add(tick(&mut components, &[gone], -1)?);
    }
    tell("operator", name, first, &new, &retracted)
}

/// One tick with these edges, and the rows given.
fn tick(components: &mut Components, edges: &[Edge], diff: i64) -> anyhow::Result<(Sample, usize)> {
    let delta = Delta::of_block(batch(edges)?, diff, 1);
    let mut output = Output::default();
    let (sample, ()) = timed(|| components.on_tick(vec![delta], &progress(), &mut output));
    Ok((sample, output.deltas.iter().map(Delta::len).sum()))
}

/// Columns of edges between addresses.
pub(super) fn addresses() -> SchemaRef {
    let address = || DataType::FixedSizeBinary(20);
    Arc::new(Schema::new(vec![Field::new("payer", address(), false), Field::new("payee", address(), false)]))
}

/// Edges between addresses.
pub(super) fn batch(edges: &[Edge]) -> anyhow::Result<RecordBatch> {
    let column = |ends: Vec<u64>| -> anyhow::Result<ArrayRef> {
        let mut addresses = FixedSizeBinaryBuilder::with_capacity(ends.len(), 20);
        for end in ends {
            let mut address = [0; 20];
            // Addresses are as good as random.
            address[..8].copy_from_slice(&Random(end).next().to_be_bytes());
            addresses.append_value(address).context("an address is twenty bytes")?;
        }
        Ok(Arc::new(addresses.finish()))
    };
    let (from, to) = edges.iter().copied().unzip();
    Ok(RecordBatch::try_new(addresses(), vec![column(from)?, column(to)?])?)
}
