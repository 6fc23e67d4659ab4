//! The same by hand on differential dataflow: labels of two 32-bit numbers, `iterate` over a join and a reduction.

use std::cell::Cell;
use std::rc::Rc;

use differential_dataflow::input::InputSession;
use differential_dataflow::operators::Iterate as _;
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

use super::{Edge, Q5Arguments, Sample, Steps, graph, tell, timed};

type Label = (u32, u32);

pub(super) fn measure(arguments: &Q5Arguments) -> anyhow::Result<()> {
    let (first, added) = graph(arguments);
    let narrow = |edges: &[Edge]| -> Result<Vec<Label>, std::num::TryFromIntError> {
        edges.iter().map(|(from, to)| Ok((u32::try_from(*from)?, u32::try_from(*to)?))).collect()
    };
    let (first, added) = (narrow(&first)?, narrow(&added)?);
    let (first, new, retracted) = timely::execute_directly(move |worker| {
        let mut loop_ = Loop::new(worker);
        let (first, _) = loop_.tick(worker, &first, 1);
        let (mut new, mut retracted) = (Steps::default(), Steps::default());
        added.iter().for_each(|edge| new.add(loop_.tick(worker, &[*edge], 1)));
        added.iter().for_each(|edge| retracted.add(loop_.tick(worker, &[*edge], -1)));
        (first, new, retracted)
    });
    tell("iterate", "random", first, &new, &retracted)
}

struct Loop {
    edges: InputSession<u64, Label, isize>,
    probe: ProbeHandle<u64>,
    changes: Rc<Cell<usize>>,
}

impl Loop {
    fn new(worker: &mut Worker) -> Loop {
        let mut edges = InputSession::new();
        let probe = ProbeHandle::new();
        let changes = Rc::new(Cell::new(0));
        let seen = changes.clone();
        worker.dataflow(|scope| {
            let edges = edges.to_collection(scope);
            let both = edges.clone().map(|(from, to)| (to, from)).concat(edges);
            let nodes = both.clone().map(|(node, _)| (node, node));
            let both = both.arrange_by_key();
            nodes
                .clone()
                .iterate(|scope, labels| {
                    let (both, nodes) = (both.enter(scope), nodes.enter(scope));
                    labels
                        .arrange_by_key()
                        .join_core(both, |_, label, node| Some((*node, *label)))
                        .concat(nodes)
                        .reduce(|_, labels, least| least.push((*labels[0].0, 1)))
                })
                .inspect(move |_| seen.set(seen.get() + 1))
                .probe_with(&probe);
        });
        Loop { edges, probe, changes }
    }

    /// Changes edges at one time and works until the answer is complete; how many labels have changed.
    fn tick(&mut self, worker: &mut Worker, edges: &[Label], diff: isize) -> (Sample, usize) {
        let before = self.changes.get();
        let (sample, ()) = timed(|| {
            edges.iter().for_each(|edge| self.edges.update(*edge, diff));
            let next = self.edges.time() + 1;
            self.edges.advance_to(next);
            self.edges.flush();
            while self.probe.less_than(self.edges.time()) {
                worker.step();
            }
        });
        (sample, self.changes.get() - before)
    }
}
