//! From plan to dataflow: every node of a view becomes an operator, neighbouring stateless nodes one.
//!
//! Views are rendered once each, in the order of the plan, and shared by whoever reads them. A view
//! without a way to an output is left out. The errors of a view are the sum of the errors of its nodes.

mod alert;
mod changing;
mod join;
mod operators;
mod recursion;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use highwater_engine::operator::{BatchOperator, Route, TablesOperator, TickOperator};
use highwater_engine::runtime::{Build, Graph, Node as Handle, StateLimit};

use crate::plan::{Emit, JobPlan, Node, NodeKind, PlannedEvent, PlannedView, SinkInput};
use crate::room::with_room;
pub use operators::RenderError;
use stage::{Stage, Stages};

/// What leaves the dataflow, in the order of the job's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPlan {
    /// The relation.
    pub input: SinkInput,
    /// When its rows go out.
    pub emit: Emit,
}

/// A dataflow, ready to be built by workers.
pub struct Rendered {
    /// Builds it.
    pub build: Build,
    /// Rows that are there from the first tick; their table indices follow those of the source. After them
    /// come the reloaded tables of the plan.
    pub constants: Vec<RecordBatch>,
}

/// Renders a plan. Every operator is made once here, so that mistakes show before workers start.
///
/// # Errors
/// If an operator refuses what the planner gave it.
pub fn render(plan: Arc<JobPlan>, outputs: Vec<OutputPlan>) -> Result<Rendered, RenderError> {
    with_room(|| render_here(plan, outputs))
}

fn render_here(plan: Arc<JobPlan>, outputs: Vec<OutputPlan>) -> Result<Rendered, RenderError> {
    let source_tables = plan.sources.iter().map(|source| source.tables.len()).sum();
    let reachable = reachable_views(&plan, &outputs);
    let mut constants = Vec::new();
    for index in &reachable {
        check(&plan.views[*index].root, &mut constants)?;
    }
    for output in &outputs {
        gate(&plan, output, 0)?;
    }
    let shown = shown_columns(&plan, &reachable);
    let first_reloaded = source_tables + constants.len();
    let limit = plan.state_limit_bytes().map(StateLimit::new);
    let build = move |graph: &mut Graph<'_>| {
        if let Some(limit) = &limit {
            graph.limit_state(limit.clone());
        }
        let mut renderer = Renderer {
            plan: &plan,
            graph,
            next_constant: source_tables,
            first_reloaded,
            views: Vec::new(),
            block_relations: BTreeMap::new(),
            events: BTreeMap::new(),
            shown: shown.clone(),
            made: Vec::new(),
        };
        with_room(|| {
            for (index, view) in plan.views.iter().enumerate() {
                let rendered = reachable.contains(&index).then(|| renderer.view(view));
                renderer.views.push(rendered);
            }
            for (index, output) in outputs.iter().enumerate() {
                renderer.output(output, index);
            }
        });
    };
    Ok(Rendered { build: Arc::new(build), constants })
}

/// The views that outputs read, directly or through other views.
fn reachable_views(plan: &JobPlan, outputs: &[OutputPlan]) -> BTreeSet<usize> {
    let mut reachable = BTreeSet::new();
    let mut open: Vec<usize> = outputs
        .iter()
        .map(|output| match output.input {
            SinkInput::View(view) | SinkInput::Errors(view) => view,
        })
        .collect();
    while let Some(view) = open.pop() {
        if reachable.insert(view) {
            let mut visit = |node: &Node| {
                if let NodeKind::View { view, .. } | NodeKind::Errors { view, .. } = &node.kind {
                    open.push(*view);
                }
            };
            walk(&plan.views[view].root, &mut visit);
        }
    }
    reachable
}

/// The columns that anybody reads of each relation of a source.
fn shown_columns(plan: &JobPlan, reachable: &BTreeSet<usize>) -> BTreeMap<String, BTreeSet<usize>> {
    let mut shown: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for index in reachable {
        walk(&plan.views[*index].root, &mut |node| {
            if let NodeKind::BlockRelation { id, columns, .. } = &node.kind {
                shown.entry(id.clone()).or_default().extend(columns);
            }
        });
    }
    shown
}

/// Visits a node after its inputs.
fn walk(node: &Node, visit: &mut impl FnMut(&Node)) {
    for input in node.inputs() {
        walk(input, visit);
    }
    visit(node);
}

/// Makes every operator of a view once, and collects its constants in the order of rendering.
fn check(root: &Node, constants: &mut Vec<RecordBatch>) -> Result<(), RenderError> {
    let mut result = Ok(());
    walk(root, &mut |node| {
        if let NodeKind::Values { batch } = &node.kind {
            constants.push(batch.clone());
        }
        if result.is_ok() {
            result = operators::make(node).map(|_| ());
        }
    });
    result
}

/// The operator in front of an output, for an emit policy that needs one.
fn gate(plan: &JobPlan, output: &OutputPlan, index: usize) -> Result<Option<operators::Stateful>, RenderError> {
    match output.input {
        SinkInput::View(view) => operators::gate(&plan.views[view], output.emit, index),
        // Errors are rows of no window: they always go out at once.
        SinkInput::Errors(_) => Ok(None),
    }
}

struct Renderer<'p, 'g, 's> {
    plan: &'p JobPlan,
    graph: &'g mut Graph<'s>,
    next_constant: usize,
    /// The table of the first reloaded one.
    first_reloaded: usize,
    /// Rows and errors of each view; none for views that are not rendered.
    views: Vec<Option<(Handle, Handle)>>,
    /// Rows of the relations of sources, by name.
    block_relations: BTreeMap<String, Handle>,
    /// Rows and errors of the events of sources, by name.
    events: BTreeMap<String, (Handle, Handle)>,
    /// The columns that anybody reads of each relation of a source.
    shown: BTreeMap<String, BTreeSet<usize>>,
    /// Steps with state of the view at hand: what it says twice is made once.
    made: Vec<(&'p Node, Handle)>,
}

impl<'p> Renderer<'p, '_, '_> {
    fn view(&mut self, view: &'p PlannedView) -> (Handle, Handle) {
        let mut errors = Vec::new();
        self.made.clear();
        let rows = self.node(&view.root, &mut errors);
        let errors = self.graph.union(&errors);
        (rows, errors)
    }

    fn node(&mut self, node: &'p Node, errors: &mut Vec<Handle>) -> Handle {
        let mut stages = Vec::new();
        let mut base = node;
        while let Some((stage, input)) = operators::stage(base) {
            stages.push(stage);
            base = input;
        }
        if stages.is_empty() {
            return self.base(node, errors);
        }
        stages.reverse();
        let input = self.base(base, errors);
        self.stages(input, stages, errors)
    }

    fn stages(&mut self, input: Handle, stages: Vec<Stage>, errors: &mut Vec<Handle>) -> Handle {
        self.batch(input, "stateless", Box::new(Stages::new(stages)), errors)
    }

    fn base(&mut self, node: &'p Node, errors: &mut Vec<Handle>) -> Handle {
        if !node.keeps_state() {
            return self.step(node, errors);
        }
        if let Some((_, made)) = self.made.iter().find(|(made, _)| made.same(node)) {
            // Its constants have tables of their own, which nobody reads.
            walk(node, &mut |node| self.next_constant += usize::from(matches!(node.kind, NodeKind::Values { .. })));
            return *made;
        }
        let made = self.step(node, errors);
        self.made.push((node, made));
        made
    }

    fn step(&mut self, node: &'p Node, errors: &mut Vec<Handle>) -> Handle {
        match &node.kind {
            NodeKind::Scan { source, table, columns } => {
                let before: usize = self.plan.sources[..*source].iter().map(|source| source.tables.len()).sum();
                let input = self.graph.table(before + table);
                let width = self.plan.sources[*source].tables[*table].columns.len();
                self.columns(input, columns, width, errors)
            }
            NodeKind::View { view, columns } => {
                let (rows, _) = self.views[*view].expect("a view reads only views before it, and these are rendered");
                self.columns(rows, columns, self.plan.views[*view].schema.fields().len(), errors)
            }
            NodeKind::Errors { view, columns } => {
                let (_, rows) = self.views[*view].expect("a view reads only views before it, and these are rendered");
                self.columns(rows, columns, 2, errors)
            }
            NodeKind::BlockRelation { .. } => self.block_relation(node, errors),
            NodeKind::DecodeEvent { event, input, made, columns } => {
                let (rows, failed) = match self.events.get(&event.id) {
                    Some(rendered) => *rendered,
                    None => self.event(node, event, input),
                };
                // Whoever reads the event is told of its logs that cannot be evaluated, once.
                if !errors.contains(&failed) {
                    errors.push(failed);
                }
                let place = |column: &usize| made.iter().take_while(|made| *made < column).count();
                let columns = columns.iter().map(place).collect::<Vec<_>>();
                self.columns(rows, &columns, made.len(), errors)
            }
            NodeKind::Values { .. } => {
                self.next_constant += 1;
                self.graph.table(self.next_constant - 1)
            }
            NodeKind::LiveTable { table, columns, .. } => {
                let input = self.graph.table(self.first_reloaded + table);
                let width = self.plan.reloaded[*table].rows.num_columns();
                self.columns(input, columns, width, errors)
            }
            NodeKind::LookupJoin { .. } => self.lookup_join(node, errors),
            NodeKind::Join(join) => {
                let operator = changing::join(join).expect("every operator was made once before");
                let [left, right] = operator.routes();
                let inputs = [(self.node(&join.left, errors), left), (self.node(&join.right, errors), right)];
                self.several_inputs(&inputs, &join.id, Box::new(operator), errors)
            }
            NodeKind::AsofJoin(join) => {
                let operator = changing::asof(join).expect("every operator was made once before");
                let [left, right] = operator.routes();
                let inputs = [(self.node(&join.left, errors), left), (self.node(&join.right, errors), right)];
                self.several_inputs(&inputs, &join.id, Box::new(operator), errors)
            }
            NodeKind::Recursion(recursion) => {
                let operator = recursion::make(recursion).expect("every operator was made once before");
                let operator = operator.with_state_limit(self.plan.state_limit_bytes());
                let inputs = recursion.inputs.iter().zip(operator.routes());
                let inputs: Vec<_> = inputs.map(|(input, route)| (self.node(input, errors), route)).collect();
                self.several_inputs(&inputs, &recursion.id, Box::new(operator), errors)
            }
            NodeKind::Multiset { id, left, right, .. } => {
                let operator = changing::multiset(node).expect("every operator was made once before");
                let [left_route, right_route] = operator.routes();
                let inputs = [(self.node(left, errors), left_route), (self.node(right, errors), right_route)];
                self.several_inputs(&inputs, id, Box::new(operator), errors)
            }
            NodeKind::Union { inputs } => {
                let inputs: Vec<_> = inputs.iter().map(|input| self.node(input, errors)).collect();
                self.graph.union(&inputs)
            }
            NodeKind::Filter { .. } | NodeKind::Project { .. } | NodeKind::Window { .. } | NodeKind::Expand { .. } => {
                unreachable!("stateless nodes are collected into stages")
            }
            _ => self.operator(node, errors),
        }
    }

    /// A relation of a source, made at its first reader.
    fn block_relation(&mut self, node: &'p Node, errors: &mut Vec<Handle>) -> Handle {
        let NodeKind::BlockRelation { id, columns, .. } = &node.kind else {
            unreachable!("called for a relation of a source alone")
        };
        let rows = match self.block_relations.get(id) {
            Some(rows) => *rows,
            None => {
                let shown = self.shown[id].iter().copied().collect();
                let (fold, inputs) = operators::block_fold(node, shown).expect("a block relation has an operator");
                let route = fold.route();
                let inputs: Vec<_> =
                    inputs.into_iter().map(|input| (self.node(input, errors), route.clone())).collect();
                let (rows, failed) = self.graph.tables(&inputs, id, Box::new(fold));
                errors.push(failed);
                self.block_relations.insert(id.clone(), rows);
                rows
            }
        };
        let shown = &self.shown[id];
        let place = |column: &usize| shown.range(..column).count();
        let (columns, width) = (columns.iter().map(place).collect::<Vec<_>>(), shown.len());
        self.columns(rows, &columns, width, errors)
    }

    /// An event, made at its first reader: rows and errors.
    fn event(&mut self, node: &Node, event: &PlannedEvent, input: &'p Node) -> (Handle, Handle) {
        let input = self.node(input, &mut Vec::new());
        let operators::Made::Stateless(name, operator) = operators::make(node).expect("made once before") else {
            unreachable!("events are decoded without state")
        };
        let rendered = self.graph.batch(input, name, operator);
        self.events.insert(event.id.clone(), rendered);
        rendered
    }

    fn lookup_join(&mut self, node: &'p Node, errors: &mut Vec<Handle>) -> Handle {
        let NodeKind::LookupJoin { id, input, table, .. } = &node.kind else {
            unreachable!("called for a lookup join alone")
        };
        let join = operators::lookup_join(node).expect("every operator was made once before");
        let [stream_route, table_route] = join.routes();
        let inputs = [(self.node(input, errors), stream_route), (self.node(table, errors), table_route)];
        self.several_inputs(&inputs, id, Box::new(join), errors)
    }

    fn several_inputs(
        &mut self,
        inputs: &[(Handle, Route)],
        id: &str,
        operator: Box<dyn TablesOperator>,
        errors: &mut Vec<Handle>,
    ) -> Handle {
        let (rows, failed) = self.graph.tables(inputs, id, operator);
        errors.push(failed);
        rows
    }

    fn operator(&mut self, node: &'p Node, errors: &mut Vec<Handle>) -> Handle {
        let input = self.node(node.inputs()[0], errors);
        match operators::make(node).expect("every operator was made once before") {
            operators::Made::None => input,
            operators::Made::Stateless(name, operator) => self.batch(input, name, operator, errors),
            operators::Made::Stateful(stateful) => {
                self.tick(input, &stateful.route, &stateful.id, stateful.operator, errors)
            }
        }
    }

    /// Some columns of a relation of `width` columns.
    fn columns(&mut self, input: Handle, columns: &[usize], width: usize, errors: &mut Vec<Handle>) -> Handle {
        if columns.iter().copied().eq(0..width) {
            return input;
        }
        self.stages(input, vec![Stage::Columns(columns.to_vec())], errors)
    }

    fn output(&mut self, output: &OutputPlan, index: usize) {
        let (rows, errors) = match output.input {
            SinkInput::View(view) | SinkInput::Errors(view) => {
                self.views[view].expect("views that outputs read are rendered")
            }
        };
        let mut input = match output.input {
            SinkInput::View(_) => rows,
            SinkInput::Errors(_) => errors,
        };
        if let Some(gate) = gate(self.plan, output, index).expect("every gate was made once before") {
            let mut errors = Vec::new();
            if let Some(stage) = gate.before {
                input = self.stages(input, vec![stage], &mut errors);
            }
            input = self.tick(input, &gate.route, &gate.id, gate.operator, &mut errors);
            if let Some(stage) = gate.after {
                input = self.stages(input, vec![stage], &mut errors);
            }
        }
        self.graph.output(input, index);
    }

    fn batch(
        &mut self,
        input: Handle,
        name: &str,
        operator: Box<dyn BatchOperator>,
        errors: &mut Vec<Handle>,
    ) -> Handle {
        let (rows, failed) = self.graph.batch(input, name, operator);
        errors.push(failed);
        rows
    }

    fn tick(
        &mut self,
        input: Handle,
        route: &Route,
        id: &str,
        operator: Box<dyn TickOperator>,
        errors: &mut Vec<Handle>,
    ) -> Handle {
        let (rows, failed) = self.graph.tick(input, route, id, operator);
        errors.push(failed);
        rows
    }
}
