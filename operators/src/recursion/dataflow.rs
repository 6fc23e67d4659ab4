//! The private dataflow: a timely worker of one thread, and differential's operators in a loop.
//!
//! What does not depend on a binding stands outside of the loop and is brought in arranged, so that edges
//! are indexed once, whatever the number of rounds.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::input::InputSession;
use differential_dataflow::lattice::Lattice;
use differential_dataflow::logging::{
    BatchEvent, BatcherEvent, DifferentialEvent, DifferentialEventBuilder, DropEvent, MergeEvent,
};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::operators::iterate::VecVariable;
use differential_dataflow::trace::implementations::ValSpine;
use differential_dataflow::trace::wrappers::enter::TraceEnter;
use highwater_engine::clock::Stopwatch;
use timely::WorkerConfig;
use timely::communication::allocator::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::dataflow::{ProbeHandle, Scope};
use timely::order::Product;
use timely::progress::Timestamp;
use timely::worker::Worker;

use super::groups::{Groups, needed};
use super::layout::{KeyCut, Projection};
use super::operators::{self, Aside, Collected, Keyed, Rows};
use super::plan::{Kind, NodeId, Plan};
use super::row::{Columns, Row, null_row};
use super::spec::{RecursionError, RecursionSpec};

/// A tick, and in it a round.
pub(super) type Round = Product<u64, u64>;
type Entered<'s> = Arranged<'s, TraceEnter<TraceAgent<ValSpine<Row, Row, u64, i64>>, Round>>;

/// Net changes of one tick, in the order of the rows.
pub(super) struct Changes {
    pub(super) rows: Vec<(Row, i64)>,
    pub(super) errors: BTreeMap<Row, i64>,
    pub(super) failure: Option<String>,
}

/// A running dataflow.
pub(super) struct Session {
    inputs: Vec<InputSession<u64, Row, i64>>,
    worker: Worker,
    probe: ProbeHandle<u64>,
    result: Collected,
    aside: Aside,
    time: u64,
    bytes: Rc<Cell<i64>>,
}

impl Session {
    /// A dataflow that has seen nothing. The bodies were checked when the plan was made.
    pub(super) fn new(spec: &RecursionSpec, plan: &Plan) -> Result<Session, RecursionError> {
        let allocator = Allocator::Thread(Thread::default());
        // The time is for the log alone, which a worker has only with one.
        let mut worker = Worker::new(WorkerConfig::default(), allocator, Some(Stopwatch::start().started()));
        let bytes = count_bytes(&worker);
        let mut inputs: Vec<InputSession<u64, Row, i64>> = plan.fed().map(|_| InputSession::new()).collect();
        let (probe, result, aside) = (ProbeHandle::new(), Rc::default(), Aside::default());
        worker.dataflow::<u64, _, _>(|scope| {
            let mut outside = Outside {
                plan,
                aside: &aside,
                inputs: inputs.iter_mut().map(|input| input.to_collection(scope)).collect(),
                level: Level::default(),
            };
            render(scope, spec, &mut outside, &probe, &result)
        })?;
        Ok(Session { inputs, worker, probe, result, aside, time: 0, bytes })
    }

    /// Bytes held, approximately.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.bytes.get()).unwrap_or(0)
    }

    /// Adds to a relation at the coming tick.
    pub(super) fn feed(&mut self, input: usize, rows: impl IntoIterator<Item = (Row, i64)>) {
        rows.into_iter().for_each(|(row, diff)| self.inputs[input].update(row, diff));
    }

    /// Works the tick off and gives what it changed. Gives up, for a reason, once it holds more than `limit` bytes:
    /// a few rows may become any number of them within one tick.
    pub(super) fn tick(&mut self, limit: Option<usize>) -> Changes {
        self.time += 1;
        for input in &mut self.inputs {
            input.advance_to(self.time);
            input.flush();
        }
        while self.probe.less_than(&self.time) {
            self.worker.step();
            if let Some(limit) = limit
                && self.bytes() > limit
            {
                self.aside.fail(|| beyond(limit));
                break;
            }
        }
        let mut rows = self.result.take();
        consolidate(&mut rows);
        let mut errors = self.aside.errors.take();
        errors.retain(|_, diff| *diff != 0);
        Changes { rows, errors, failure: self.aside.failure.take() }
    }
}

/// Bytes of an update in an arrangement: its key, its value, where they start and end, its round and its difference;
/// less where updates share a key.
const UPDATE_BYTES: usize = 2 * size_of::<Row>() + 2 * size_of::<usize>() + size_of::<Round>() + size_of::<i64>();

/// Counts the bytes that the arrangements of a worker hold, and what waits to be arranged, from what they say of
/// themselves: some events a batch and merge, none a row. Long rows are counted without their bytes on the heap, which
/// arrangements share.
fn count_bytes(worker: &Worker) -> Rc<Cell<i64>> {
    let bytes = Rc::new(Cell::new(0));
    let counted = bytes.clone();
    let of_updates = |updates: usize| i64::try_from(updates * UPDATE_BYTES).expect("as many bytes are in memory");
    let change = move |event| match event {
        DifferentialEvent::Batch(BatchEvent { length, .. }) => of_updates(length),
        DifferentialEvent::Merge(MergeEvent { length1, length2, complete: Some(merged), .. }) => {
            of_updates(merged) - of_updates(length1) - of_updates(length2)
        }
        DifferentialEvent::Drop(DropEvent { length, .. }) => -of_updates(length),
        DifferentialEvent::Batcher(BatcherEvent { size_diff, .. }) => {
            i64::try_from(size_diff).expect("as many bytes are in memory")
        }
        DifferentialEvent::Merge(_) | DifferentialEvent::MergeShortfall(_) | DifferentialEvent::TraceShare(_) => 0,
    };
    let mut log = worker.log_register().expect("a worker with a time has a log");
    log.insert::<DifferentialEventBuilder, _>("differential/arrange", move |_, events| {
        let changes = events.iter_mut().flat_map(|events| events.drain(..)).map(|(_, event)| change(event));
        counted.set(counted.get() + changes.sum::<i64>());
    });
    bytes
}

fn beyond(limit: usize) -> String {
    format!(
        "the rounds of a recursion take more than the {} MB that the job may take; bound what it starts from by a window or \
         a temporal filter, or how far it goes by a condition, or raise state.limit_mb",
        limit.div_ceil(1 << 20)
    )
}

/// A relation by a key, and with which rest of its rows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct KeyedBy {
    node: NodeId,
    key: Vec<usize>,
    value: Vec<usize>,
    drop_nulls: bool,
}

/// What has been built in one scope.
struct Level<'s, T: Timestamp + Lattice> {
    rows: BTreeMap<NodeId, Rows<'s, T>>,
    keyed: BTreeMap<KeyedBy, Keyed<'s, T>>,
}

impl<T: Timestamp + Lattice> Default for Level<'_, T> {
    fn default() -> Self {
        Level { rows: BTreeMap::new(), keyed: BTreeMap::new() }
    }
}

/// The scope around the loop.
struct Outside<'p, 's> {
    plan: &'p Plan,
    aside: &'p Aside,
    inputs: Vec<Rows<'s, u64>>,
    level: Level<'s, u64>,
}

impl<'s> Outside<'_, 's> {
    fn rows(&mut self, node: NodeId) -> Result<Rows<'s, u64>, RecursionError> {
        if let Some(rows) = self.level.rows.get(&node) {
            return Ok(rows.clone());
        }
        let rows = match &self.plan.nodes[node].kind {
            Kind::Input(index) => self.inputs[*index].clone(),
            Kind::Inner { .. } => {
                let sides = Sides::of(self.plan, node);
                let (left, right) = (self.keyed(&sides.left)?, self.keyed(&sides.right)?);
                operators::join(left, right, sides.output, false)
            }
            Kind::Aggregate { spec, .. } => {
                let keyed = self.keyed(&group_by(self.plan, node))?;
                operators::aggregate(keyed, Groups::new(spec)?, self.aside.clone())
            }
            kind => {
                let inputs = kind.inputs().into_iter().map(|input| self.rows(input)).collect::<Result<_, _>>()?;
                linear(self.plan, node, inputs, self.aside)?
            }
        };
        self.level.rows.insert(node, rows.clone());
        Ok(rows)
    }

    fn keyed(&mut self, by: &KeyedBy) -> Result<Keyed<'s, u64>, RecursionError> {
        if let Some(keyed) = self.level.keyed.get(by) {
            return Ok(keyed.clone());
        }
        let keyed = operators::keyed(self.rows(by.node)?, by.cut(self.plan));
        self.level.keyed.insert(by.clone(), keyed.clone());
        Ok(keyed)
    }
}

/// The loop.
struct Inside<'a, 'p, 'o, 's> {
    outside: &'a mut Outside<'p, 'o>,
    scope: Scope<'s, Round>,
    /// Bindings as they were in the round before.
    previous: BTreeMap<usize, Rows<'s, Round>>,
    level: Level<'s, Round>,
    entered: BTreeMap<KeyedBy, Entered<'s>>,
}

impl<'s> Inside<'_, '_, '_, 's> {
    fn rows(&mut self, node: NodeId) -> Result<Rows<'s, Round>, RecursionError> {
        if let Some(rows) = self.level.rows.get(&node) {
            return Ok(rows.clone());
        }
        let (plan, aside) = (self.outside.plan, self.outside.aside);
        let rows = match &plan.nodes[node].kind {
            _ if !plan.nodes[node].varies => self.outside.rows(node)?.enter(self.scope),
            Kind::Previous(index) => self.previous[index].clone(),
            Kind::Inner { .. } => self.join(Sides::of(plan, node))?,
            Kind::Aggregate { spec, .. } => {
                let keyed = self.keyed(&group_by(plan, node))?;
                operators::aggregate(keyed, Groups::new(spec)?, aside.clone())
            }
            kind => {
                let inputs = kind.inputs().into_iter().map(|input| self.rows(input)).collect::<Result<_, _>>()?;
                linear(plan, node, inputs, aside)?
            }
        };
        self.level.rows.insert(node, rows.clone());
        Ok(rows)
    }

    fn join(&mut self, sides: Sides) -> Result<Rows<'s, Round>, RecursionError> {
        let Sides { left, right, output } = sides;
        let varies = |by: &KeyedBy| self.outside.plan.nodes[by.node].varies;
        Ok(match (varies(&left), varies(&right)) {
            (true, true) => operators::join(self.keyed(&left)?, self.keyed(&right)?, output, false),
            (true, false) => operators::join(self.keyed(&left)?, self.entered(&right)?, output, false),
            (false, _) => operators::join(self.keyed(&right)?, self.entered(&left)?, output, true),
        })
    }

    fn keyed(&mut self, by: &KeyedBy) -> Result<Keyed<'s, Round>, RecursionError> {
        if let Some(keyed) = self.level.keyed.get(by) {
            return Ok(keyed.clone());
        }
        let keyed = operators::keyed(self.rows(by.node)?, by.cut(self.outside.plan));
        self.level.keyed.insert(by.clone(), keyed.clone());
        Ok(keyed)
    }

    fn entered(&mut self, by: &KeyedBy) -> Result<Entered<'s>, RecursionError> {
        if let Some(entered) = self.entered.get(by) {
            return Ok(entered.clone());
        }
        let entered = self.outside.keyed(by)?.enter(self.scope);
        self.entered.insert(by.clone(), entered.clone());
        Ok(entered)
    }
}

fn render<'o>(
    scope: Scope<'o, u64>,
    spec: &RecursionSpec,
    outside: &mut Outside<'_, 'o>,
    probe: &ProbeHandle<u64>,
    result: &Collected,
) -> Result<(), RecursionError> {
    scope.iterative::<u64, _, _>(|rounds| {
        let (plan, aside) = (outside.plan, outside.aside.clone());
        let (mut variables, mut previous) = (BTreeMap::new(), BTreeMap::new());
        for index in (0..spec.bindings.len()).filter(|index| plan.fed_back[*index]) {
            let (variable, rows) = VecVariable::new(rounds, Product::new(0, 1));
            variables.insert(index, variable);
            previous.insert(index, rows);
        }
        let (level, entered) = (Level::default(), BTreeMap::new());
        let mut inside = Inside { outside, scope: rounds, previous, level, entered };
        for (index, binding) in spec.bindings.iter().enumerate() {
            let node = plan.bindings[index];
            let mut rows = inside.rows(node)?;
            if let Some(variable) = variables.remove(&index) {
                if !is_consolidated(&plan.nodes[node].kind) {
                    rows = operators::consolidate(rows);
                    inside.level.rows.insert(node, rows.clone());
                }
                variable.set(operators::limit(rows.clone(), spec.limit, binding.name.clone(), aside.clone()));
            }
            let result = (index == spec.result).then(|| result.clone());
            operators::collect(rows, result).leave(scope).probe_with(probe);
        }
        Ok(())
    })
}

/// Whether changes of such a node cannot cancel each other.
fn is_consolidated(kind: &Kind) -> bool {
    matches!(kind, Kind::Distinct(_) | Kind::Aggregate { .. })
}

/// The nodes that need no arrangement, and [`Kind::Distinct`].
fn linear<'s, T: Timestamp + Lattice>(
    plan: &Plan,
    node: NodeId,
    mut inputs: Vec<Rows<'s, T>>,
    aside: &Aside,
) -> Result<Rows<'s, T>, RecursionError> {
    let last = inputs.pop().expect("a node that is not a relation has an input");
    Ok(match &plan.nodes[node].kind {
        Kind::Batch { input, operator } => {
            let columns = (Columns::new(plan.schema(*input))?, Columns::new(plan.schema(node))?);
            operators::batch(last, operator(), columns, aside.clone())
        }
        Kind::Project { input, columns } => {
            let mut projection = Projection::columns(&plan.nodes[*input].layout, columns);
            last.map(move |row| projection.apply([row.as_bytes()]))
        }
        Kind::Pad { nulls, .. } => {
            let (nulls, mut padded) = (null_row(nulls)?, Vec::new());
            last.map(move |row| {
                padded.clear();
                padded.extend_from_slice(row.as_bytes());
                padded.extend_from_slice(nulls.as_bytes());
                Row::from(padded.as_slice())
            })
        }
        Kind::Union(_) => last.concatenate(inputs),
        Kind::Subtract(..) => inputs.remove(0).concat(last.negate()),
        Kind::Distinct(_) => operators::distinct(last),
        Kind::Input(_) | Kind::Previous(_) | Kind::Inner { .. } | Kind::Aggregate { .. } => {
            unreachable!("built by the scope that it stands in")
        }
    })
}

impl KeyedBy {
    /// Looks through projections, so that more is shared.
    fn new(plan: &Plan, mut node: NodeId, mut key: Vec<usize>, mut value: Vec<usize>, drop_nulls: bool) -> KeyedBy {
        while let Kind::Project { input, columns } = &plan.nodes[node].kind {
            node = *input;
            key.iter_mut().chain(&mut value).for_each(|column| *column = columns[*column]);
        }
        KeyedBy { node, key, value, drop_nulls }
    }

    fn cut(&self, plan: &Plan) -> KeyCut {
        KeyCut::new(&plan.nodes[self.node].layout, &self.key, &self.value, self.drop_nulls)
    }
}

fn group_by(plan: &Plan, node: NodeId) -> KeyedBy {
    let Kind::Aggregate { input, spec } = &plan.nodes[node].kind else { unreachable!("asked of aggregates") };
    KeyedBy::new(plan, *input, spec.keys.clone(), needed(spec), false)
}

/// The two sides of an inner join and how a row of it is put together.
struct Sides {
    left: KeyedBy,
    right: KeyedBy,
    output: Projection<3>,
}

impl Sides {
    fn of(plan: &Plan, node: NodeId) -> Sides {
        let Kind::Inner { left, right, keys, null_equals_null, output } = &plan.nodes[node].kind else {
            unreachable!("asked of joins")
        };
        let (left_keys, right_keys): (Vec<usize>, Vec<usize>) = keys.iter().copied().unzip();
        let width = plan.schema(*left).fields().len();
        let needed = |keys: &[usize], columns: &mut dyn Iterator<Item = usize>| {
            let mut needed: Vec<usize> = columns.filter(|column| !keys.contains(column)).collect();
            needed.sort_unstable();
            needed.dedup();
            needed
        };
        let left_rest = needed(&left_keys, &mut output.iter().copied().filter(|column| *column < width));
        let right_rest =
            needed(&right_keys, &mut output.iter().filter(|column| **column >= width).map(|column| column - width));
        let place = |column: &usize| {
            let (side, keys, rest, column) = match column.checked_sub(width) {
                None => (1, &left_keys, &left_rest, *column),
                Some(column) => (2, &right_keys, &right_rest, column),
            };
            match keys.iter().position(|key| *key == column) {
                Some(at) => (0, at),
                None => (side, rest.iter().position(|rest| *rest == column).expect("it is needed")),
            }
        };
        let pieces: Vec<(usize, usize)> = output.iter().map(place).collect();
        let layout = |node: NodeId, columns: &[usize]| plan.nodes[node].layout.of(columns);
        let layouts = [layout(*left, &left_keys), layout(*left, &left_rest), layout(*right, &right_rest)];
        Sides {
            output: Projection::new(layouts, &pieces),
            left: KeyedBy::new(plan, *left, left_keys, left_rest, !null_equals_null),
            right: KeyedBy::new(plan, *right, right_keys, right_rest, !null_equals_null),
        }
    }
}
