//! Building the dataflow of a job, without naming timely types.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arrow::record_batch::RecordBatch;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Capability, Concatenate, Probe};
use timely::dataflow::{Scope, Stream};
use timely::progress::operate::FrontierInterest;

use super::packet::{Packet, key_converter, partition};
use crate::Tick;
use crate::error::StateError;
use crate::model::{Delta, Progress};
use crate::operator::{BatchOperator, OneTable, Output, Route, Share, StateSize, TablesOperator, TickOperator};

type Deltas<'s> = Stream<'s, Tick, Vec<Delta>>;
type ProgressStream<'s> = Stream<'s, Tick, Vec<Progress>>;

/// A relation in the graph under construction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node(usize);

/// A stateful operator as the worker reaches it between ticks.
pub(super) type StateCell = Rc<RefCell<Box<dyn TablesOperator>>>;

/// The first operator of this worker that could not go on, and why.
pub(super) type FailureCell = Rc<RefCell<Option<(String, String)>>>;

/// What the outputs of this worker have received, by tick.
pub(super) type OutputBuffer = Rc<RefCell<BTreeMap<Tick, Vec<(usize, Delta)>>>>;

/// The dataflow of a job while it is built on one worker.
///
/// Every worker must build the same graph in the same order.
pub struct Graph<'s> {
    scope: Scope<'s, Tick>,
    share: Share,
    nodes: Vec<Deltas<'s>>,
    tables: usize,
    progress: ProgressStream<'s>,
    pub(super) states: Vec<(String, StateCell)>,
    outputs: OutputBuffer,
    failure: FailureCell,
    pub(super) limit: Option<StateLimit>,
    probe: Handle<Tick>,
}

/// How much memory the state of all operators on all workers may take.
#[derive(Clone, Debug)]
pub struct StateLimit {
    pub(super) bytes: usize,
    /// What all workers hold, as they last counted it.
    pub(super) held: Arc<AtomicUsize>,
}

impl StateLimit {
    /// A limit that the workers of one job share.
    pub fn new(bytes: usize) -> StateLimit {
        StateLimit { bytes, held: Arc::default() }
    }
}

impl std::fmt::Debug for Graph<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("share", &self.share).field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl<'s> Graph<'s> {
    pub(super) fn new(
        scope: Scope<'s, Tick>,
        share: Share,
        tables: Vec<Deltas<'s>>,
        progress: ProgressStream<'s>,
        outputs: OutputBuffer,
        failure: FailureCell,
        probe: Handle<Tick>,
    ) -> Graph<'s> {
        let progress = progress.probe_with(&probe);
        let (tables, nodes) = (tables.len(), tables);
        Graph { scope, share, tables, nodes, progress, states: Vec::new(), outputs, failure, limit: None, probe }
    }

    /// Ends the job when the state of its operators takes more memory, with the name of the largest.
    pub fn limit_state(&mut self, limit: StateLimit) {
        self.limit = Some(limit);
    }

    /// The changes of source table `index`.
    ///
    /// # Panics
    /// If the runtime was not set up with so many tables.
    pub fn table(&self, index: usize) -> Node {
        assert!(index < self.tables, "the runtime has {} tables, table {index} was asked for", self.tables);
        Node(index)
    }

    /// Applies a stateless operator; gives its relation and its errors.
    pub fn batch(&mut self, input: Node, name: &str, mut operator: Box<dyn BatchOperator>) -> (Node, Node) {
        let mut builder = OperatorBuilder::new(name.to_owned(), self.scope);
        let mut input = builder.new_input(self.stream(input), Pipeline);
        let (mut rows, rows_stream) = builder.new_output::<Vec<Delta>>();
        let (mut errors, errors_stream) = builder.new_output::<Vec<Delta>>();
        builder.set_notify_for(0, FrontierInterest::Never);
        builder.build(move |_| {
            move |_| {
                let (mut rows, mut errors) = (rows.activate(), errors.activate());
                input.for_each(|capability, deltas| {
                    let mut output = Output::default();
                    for delta in deltas.drain(..).filter(|delta| !delta.is_empty()) {
                        operator.on_delta(delta, &mut output);
                    }
                    give(&mut output.deltas, |deltas| rows.give(&capability, deltas));
                    give(&mut output.errors, |deltas| errors.give(&capability, deltas));
                });
            }
        });
        (self.add(rows_stream), self.add(errors_stream))
    }

    /// Applies a stateful operator; gives its relation and its errors.
    ///
    /// `id` names the state in checkpoints: stable as long as the operator means the same.
    pub fn tick(&mut self, input: Node, route: &Route, id: &str, operator: Box<dyn TickOperator>) -> (Node, Node) {
        self.tables(&[(input, route.clone())], id, Box::new(OneTable(operator)))
    }

    /// Applies a stateful operator over several relations; gives its relation and its errors.
    ///
    /// `id` names the state in checkpoints: stable as long as the operator means the same. If everything
    /// is routed to the first worker, the operator lives there alone.
    pub fn tables(&mut self, inputs: &[(Node, Route)], id: &str, operator: Box<dyn TablesOperator>) -> (Node, Node) {
        let first_only = inputs.iter().all(|(_, route)| *route == Route::First);
        let idle = first_only && self.share.index > 0;
        let operator = if idle { Box::new(Idle) } else { operator };
        let cell: StateCell = Rc::new(RefCell::new(operator));
        self.states.push((id.to_owned(), cell.clone()));
        if self.share.peers == 1 || inputs.iter().all(|(_, route)| *route == Route::Local) {
            let streams = inputs.iter().map(|(input, _)| self.stream(*input)).collect();
            return self.run_ticks(streams, || Pipeline, id, cell);
        }
        let packets = inputs.iter().map(|(input, route)| self.route(self.stream(*input), route.clone())).collect();
        self.run_ticks(packets, || Exchange::new(|packet: &Packet| packet.target), id, cell)
    }

    /// The sum of several relations.
    pub fn union(&mut self, inputs: &[Node]) -> Node {
        let streams: Vec<_> = inputs.iter().map(|input| self.stream(*input)).collect();
        let stream = self.scope.concatenate(streams);
        self.add(stream)
    }

    /// Sends a relation to output `index`.
    pub fn output(&mut self, input: Node, index: usize) {
        let mut builder = OperatorBuilder::new("output".to_owned(), self.scope);
        let mut input = builder.new_input(self.stream(input), Pipeline);
        let (_, done) = builder.new_output::<Vec<Delta>>();
        builder.set_notify_for(0, FrontierInterest::Never);
        let buffer = self.outputs.clone();
        builder.build(move |_| {
            move |_| {
                input.for_each(|capability, deltas| {
                    let mut buffer = buffer.borrow_mut();
                    let collected = buffer.entry(*capability.time()).or_default();
                    collected.extend(deltas.drain(..).filter(|delta| !delta.is_empty()).map(|delta| (index, delta)));
                });
            }
        });
        done.probe_with(&self.probe);
    }

    /// Splits deltas by owner of their key, for an exchange.
    fn route(&mut self, stream: Deltas<'s>, route: Route) -> Stream<'s, Tick, Vec<Packet>> {
        let Share { index, peers } = self.share;
        let mut builder = OperatorBuilder::new("route".to_owned(), self.scope);
        let mut input = builder.new_input(stream, Pipeline);
        let (mut output, packets) = builder.new_output::<Vec<Packet>>();
        builder.set_notify_for(0, FrontierInterest::Never);
        builder.build(move |_| {
            let mut converter = None;
            move |_| {
                let mut output = output.activate();
                input.for_each(|capability, deltas| {
                    let mut packets = Vec::new();
                    for delta in deltas.drain(..).filter(|delta| !delta.is_empty()) {
                        let columns = match &route {
                            Route::Key(columns) => columns,
                            Route::First | Route::Local => {
                                let target = if route == Route::First { 0 } else { index as u64 };
                                packets.push(Packet { target, delta });
                                continue;
                            }
                        };
                        let converter = converter.get_or_insert_with(|| key_converter(&delta, columns));
                        let parts = partition(&delta, columns, converter, peers);
                        packets.extend(parts.into_iter().map(|(peer, delta)| Packet { target: peer as u64, delta }));
                    }
                    give(&mut packets, |packets| output.give(&capability, packets));
                });
            }
        });
        packets
    }

    /// Runs a stateful operator tick by tick: a tick is complete when the frontiers of the rows and of
    /// the progress records have passed it.
    fn run_ticks<D, P>(
        &mut self,
        streams: Vec<Stream<'s, Tick, Vec<D>>>,
        pact: impl Fn() -> P,
        id: &str,
        cell: StateCell,
    ) -> (Node, Node)
    where
        D: Into<Delta> + Clone + 'static,
        P: ParallelizationContract<Tick, Vec<D>>,
    {
        let mut builder = OperatorBuilder::new(id.to_owned(), self.scope);
        let mut inputs: Vec<_> = streams.into_iter().map(|stream| builder.new_input(stream, pact())).collect();
        let mut progress_input = builder.new_input(self.progress.clone(), Pipeline);
        let (mut rows, rows_stream) = builder.new_output::<Vec<Delta>>();
        let (mut errors, errors_stream) = builder.new_output::<Vec<Delta>>();
        let (failure, name) = (self.failure.clone(), id.to_owned());
        builder.build(move |_| {
            let mut waiting: BTreeMap<Tick, Vec<Vec<Delta>>> = BTreeMap::new();
            let mut ticks: BTreeMap<Tick, (Progress, [Capability<Tick>; 2])> = BTreeMap::new();
            let tables = inputs.len();
            move |frontiers| {
                for (table, input) in inputs.iter_mut().enumerate() {
                    input.for_each(|capability, items| {
                        let deltas = items.drain(..).map(Into::into).filter(|delta: &Delta| !delta.is_empty());
                        let waiting = waiting.entry(*capability.time()).or_insert_with(|| vec![Vec::new(); tables]);
                        waiting[table].extend(deltas);
                    });
                }
                progress_input.for_each(|capability, records| {
                    for record in records.drain(..) {
                        let capabilities = [capability.retain(0), capability.retain(1)];
                        ticks.insert(*capability.time(), (record, capabilities));
                    }
                });
                let (mut rows, mut errors) = (rows.activate(), errors.activate());
                while let Some(entry) = ticks.first_entry() {
                    let tick = *entry.key();
                    if frontiers.iter().any(|frontier| frontier.less_equal(&tick)) {
                        break;
                    }
                    let (progress, [rows_capability, errors_capability]) = entry.remove();
                    let deltas = waiting.remove(&tick).unwrap_or_else(|| vec![Vec::new(); tables]);
                    let mut output = Output::default();
                    cell.borrow_mut().on_tick(deltas, &progress, &mut output);
                    if let Some(reason) = output.failure.take() {
                        failure.borrow_mut().get_or_insert_with(|| (name.clone(), reason));
                    }
                    give(&mut output.deltas, |deltas| rows.give(&rows_capability, deltas));
                    give(&mut output.errors, |deltas| errors.give(&errors_capability, deltas));
                }
            }
        });
        (self.add(rows_stream), self.add(errors_stream))
    }

    fn stream(&self, node: Node) -> Deltas<'s> {
        self.nodes[node.0].clone()
    }

    fn add(&mut self, stream: Deltas<'s>) -> Node {
        self.nodes.push(stream);
        Node(self.nodes.len() - 1)
    }
}

/// Stands on the workers that have no share in an operator which lives on the first one, because an
/// aggregate without keys has a row even where it has no input.
struct Idle;

impl TablesOperator for Idle {
    fn on_tick(&mut self, inputs: Vec<Vec<Delta>>, _: &Progress, _: &mut Output) {
        debug_assert!(inputs.iter().all(Vec::is_empty), "everything is routed to the first worker");
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        Ok(Vec::new())
    }

    fn load(&mut self, _: &[RecordBatch], _: Share) -> Result<(), StateError> {
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize::default()
    }
}

/// Sends items unless there are none.
fn give<D>(items: &mut Vec<D>, send: impl FnOnce(&mut Vec<D>)) {
    if !items.is_empty() {
        send(items);
    }
}
