//! Bodies as a graph of few kinds of nodes, in which equal parts are one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::groups::needed;
use super::layout::Layout;
use super::spec::{BatchFactory, Body, RecursionError, RecursionSpec, RecursiveJoin};
use crate::aggregate::AggregateSpec;
use crate::broadcast_join::JoinKind;

/// Index of a node.
pub(super) type NodeId = usize;

/// What a node computes.
pub(super) enum Kind {
    /// A relation that is fed: those from outside, and after them [`Plan::constants`].
    Input(usize),
    /// A binding as it was in the round before.
    Previous(usize),
    Batch {
        input: NodeId,
        operator: BatchFactory,
    },
    Project {
        input: NodeId,
        columns: Vec<usize>,
    },
    /// The rows with columns of NULL after them.
    Pad {
        input: NodeId,
        nulls: SchemaRef,
    },
    Union(Vec<NodeId>),
    /// Rows of the first that are not in the second, which is a part of it.
    Subtract(NodeId, NodeId),
    Distinct(NodeId),
    Inner {
        left: NodeId,
        right: NodeId,
        keys: Vec<(usize, usize)>,
        null_equals_null: bool,
        output: Vec<usize>,
    },
    /// Without keys the input has one empty row more, so that there is always a group.
    Aggregate {
        input: NodeId,
        spec: AggregateSpec,
    },
}

impl Kind {
    pub(super) fn inputs(&self) -> Vec<NodeId> {
        match self {
            Kind::Input(_) | Kind::Previous(_) => Vec::new(),
            Kind::Batch { input, .. } | Kind::Project { input, .. } | Kind::Pad { input, .. } => vec![*input],
            Kind::Distinct(input) | Kind::Aggregate { input, .. } => vec![*input],
            Kind::Union(inputs) => inputs.clone(),
            Kind::Subtract(left, right) | Kind::Inner { left, right, .. } => vec![*left, *right],
        }
    }

    /// Equal for nodes that compute the same.
    fn identity(&self) -> String {
        match self {
            Kind::Input(index) => format!("input {index}"),
            Kind::Previous(index) => format!("previous {index}"),
            Kind::Batch { input, operator } => format!("batch {input} {:p}", Rc::as_ptr(operator).cast::<()>()),
            Kind::Project { input, columns } => format!("project {input} {columns:?}"),
            Kind::Pad { input, nulls } => format!("pad {input} {}", types(nulls)),
            Kind::Union(inputs) => format!("union {inputs:?}"),
            Kind::Subtract(left, right) => format!("subtract {left} {right}"),
            Kind::Distinct(input) => format!("distinct {input}"),
            Kind::Inner { left, right, keys, null_equals_null, output } => {
                format!("inner {left} {right} {keys:?} {null_equals_null} {output:?}")
            }
            Kind::Aggregate { input, spec } => format!("aggregate {input} {:?} {:?}", spec.keys, spec.calls),
        }
    }
}

/// A node.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) schema: SchemaRef,
    pub(super) layout: Layout,
    /// Whether it changes from round to round.
    pub(super) varies: bool,
}

/// A recursion as a graph.
pub(super) struct Plan {
    pub(super) nodes: Vec<Node>,
    /// The node of each binding.
    pub(super) bindings: Vec<NodeId>,
    /// The bindings that are read in the round after.
    pub(super) fed_back: Vec<bool>,
    /// Columns of the relations from outside.
    pub(super) inputs: Vec<SchemaRef>,
    /// Relations that are always there, fed like those from outside.
    pub(super) constants: Vec<RecordBatch>,
    known: BTreeMap<String, NodeId>,
    variables: Vec<SchemaRef>,
}

impl Plan {
    /// Refuses what the dataflow could not run.
    pub(super) fn new(spec: &RecursionSpec) -> Result<Plan, RecursionError> {
        present("binding", spec.result, spec.bindings.len())?;
        let mut plan = Plan {
            nodes: Vec::new(),
            bindings: Vec::new(),
            fed_back: vec![false; spec.bindings.len()],
            inputs: spec.inputs.clone(),
            constants: Vec::new(),
            known: BTreeMap::new(),
            variables: spec.bindings.iter().map(|binding| binding.schema.clone()).collect(),
        };
        for binding in &spec.bindings {
            let mut node = plan.lower(&binding.body)?;
            plan.same_types(format!("the definition of \"{}\"", binding.name), node, &binding.schema)?;
            if binding.distinct {
                node = plan.distinct(node)?;
            }
            plan.bindings.push(node);
        }
        Ok(plan)
    }

    pub(super) fn schema(&self, node: NodeId) -> &SchemaRef {
        &self.nodes[node].schema
    }

    /// Columns of everything that is fed.
    pub(super) fn fed(&self) -> impl Iterator<Item = SchemaRef> {
        self.inputs.iter().cloned().chain(self.constants.iter().map(RecordBatch::schema))
    }

    fn lower(&mut self, body: &Body) -> Result<NodeId, RecursionError> {
        match body {
            Body::Input(index) => {
                present("relation", *index, self.inputs.len())?;
                self.add(Kind::Input(*index), self.inputs[*index].clone())
            }
            Body::Variable(index) => self.variable(*index),
            Body::Values(batch) => self.constant(batch.clone()),
            Body::Batch { input, operator, schema } => {
                let input = self.lower(input)?;
                self.add(Kind::Batch { input, operator: operator.clone() }, schema.clone())
            }
            Body::Project { input, columns } => {
                let input = self.lower(input)?;
                self.project(input, columns)
            }
            Body::Union(bodies) => self.union(bodies),
            Body::Distinct(input) => {
                let input = self.lower(input)?;
                self.distinct(input)
            }
            Body::Join(join) => self.join(join),
            Body::Aggregate { input, spec } => {
                let input = self.lower(input)?;
                self.aggregate(input, spec)
            }
        }
    }

    fn variable(&mut self, index: usize) -> Result<NodeId, RecursionError> {
        present("binding", index, self.variables.len())?;
        // A binding before this one has its rows of this round already.
        if let Some(node) = self.bindings.get(index) {
            return Ok(*node);
        }
        self.fed_back[index] = true;
        self.add(Kind::Previous(index), self.variables[index].clone())
    }

    fn constant(&mut self, batch: RecordBatch) -> Result<NodeId, RecursionError> {
        let (index, schema) = (self.inputs.len() + self.constants.len(), batch.schema());
        self.constants.push(batch);
        self.add(Kind::Input(index), schema)
    }

    fn union(&mut self, bodies: &[Body]) -> Result<NodeId, RecursionError> {
        let inputs: Vec<NodeId> = bodies.iter().map(|body| self.lower(body)).collect::<Result<_, _>>()?;
        let first = *inputs.first().ok_or(RecursionError::EmptyUnion)?;
        let schema = self.schema(first).clone();
        for input in &inputs {
            self.same_types("a relation of a union".to_owned(), *input, &schema)?;
        }
        if inputs.len() == 1 { Ok(first) } else { self.add(Kind::Union(inputs), schema) }
    }

    fn project(&mut self, input: NodeId, columns: &[usize]) -> Result<NodeId, RecursionError> {
        let schema = self.schema(input).clone();
        self.columns_present(input, columns)?;
        if columns.iter().copied().eq(0..schema.fields().len()) {
            return Ok(input);
        }
        self.add(Kind::Project { input, columns: columns.to_vec() }, Arc::new(schema.project(columns)?))
    }

    fn distinct(&mut self, input: NodeId) -> Result<NodeId, RecursionError> {
        if matches!(self.nodes[input].kind, Kind::Distinct(_)) {
            return Ok(input);
        }
        self.add(Kind::Distinct(input), self.schema(input).clone())
    }

    fn aggregate(&mut self, input: NodeId, spec: &AggregateSpec) -> Result<NodeId, RecursionError> {
        self.same_types("the input of an aggregate".to_owned(), input, &spec.input)?;
        let schema = spec.output_schema()?;
        let mut spec = AggregateSpec { closing: None, ..spec.clone() };
        if !spec.keys.is_empty() {
            return self.add(Kind::Aggregate { input, spec }, schema);
        }
        let columns = needed(&spec);
        let input = self.project(input, &columns)?;
        spec.input = self.schema(input).clone();
        for column in spec.calls.iter_mut().flat_map(|call| {
            let sorted = call.order_by.iter_mut().map(|(column, _)| column);
            call.arguments.iter_mut().chain(sorted).chain(&mut call.filter)
        }) {
            *column = columns.iter().position(|needed| needed == column).expect("it is needed");
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let unit = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let unit = self.constant(unit)?;
        let input = self.add(Kind::Union(vec![input, unit]), spec.input.clone())?;
        self.add(Kind::Aggregate { input, spec }, schema)
    }

    /// Every join is made of inner joins: a row that finds one is a row that meets the distinct rows that
    /// are found, a row that finds none is any other.
    fn join(&mut self, join: &RecursiveJoin) -> Result<NodeId, RecursionError> {
        let (left, right) = (self.lower(&join.left)?, self.lower(&join.right)?);
        self.check_keys(left, right, &join.keys)?;
        let (left_width, right_width) = (self.width(left), self.width(right));
        let all: Vec<usize> = (0..left_width + right_width).collect();
        if join.kind == JoinKind::Inner {
            let Some(condition) = &join.condition else {
                return self.inner(left, right, &join.keys, join.null_equals_null, &join.output);
            };
            let pairs = self.inner(left, right, &join.keys, join.null_equals_null, &all)?;
            let pairs = self.filter(pairs, condition)?;
            return self.project(pairs, &join.output);
        }
        let own: Vec<usize> = (0..left_width).collect();
        let (pairs, semi) = if let Some(condition) = &join.condition {
            let pairs = self.inner(left, right, &join.keys, join.null_equals_null, &all)?;
            let pairs = self.filter(pairs, condition)?;
            let met = self.project(pairs, &own)?;
            let met = self.distinct(met)?;
            let same: Vec<(usize, usize)> = own.iter().map(|column| (*column, *column)).collect();
            (pairs, self.inner(left, met, &same, true, &own)?)
        } else {
            let right_keys: Vec<usize> = join.keys.iter().map(|(_, right)| *right).collect();
            let met = self.project(right, &right_keys)?;
            let met = self.distinct(met)?;
            let keys: Vec<(usize, usize)> = join.keys.iter().enumerate().map(|(at, (left, _))| (*left, at)).collect();
            let semi = self.inner(left, met, &keys, join.null_equals_null, &own)?;
            (self.inner(left, right, &join.keys, join.null_equals_null, &all)?, semi)
        };
        if join.kind == JoinKind::Semi {
            return self.project(semi, &join.output);
        }
        let anti = self.add(Kind::Subtract(left, semi), self.schema(left).clone())?;
        if join.kind == JoinKind::Anti {
            return self.project(anti, &join.output);
        }
        let nulls = nullable(self.schema(right));
        let schema = beside(self.schema(left), &nulls);
        let alone = self.add(Kind::Pad { input: anti, nulls }, schema.clone())?;
        let either = self.add(Kind::Union(vec![alone, pairs]), schema)?;
        self.project(either, &join.output)
    }

    fn filter(&mut self, input: NodeId, condition: &BatchFactory) -> Result<NodeId, RecursionError> {
        self.add(Kind::Batch { input, operator: condition.clone() }, self.schema(input).clone())
    }

    fn inner(
        &mut self,
        left: NodeId,
        right: NodeId,
        keys: &[(usize, usize)],
        null_equals_null: bool,
        output: &[usize],
    ) -> Result<NodeId, RecursionError> {
        let both = beside(self.schema(left), self.schema(right));
        let count = both.fields().len();
        output.iter().try_for_each(|index| present("column", *index, count))?;
        let kind = Kind::Inner { left, right, keys: keys.to_vec(), null_equals_null, output: output.to_vec() };
        self.add(kind, Arc::new(both.project(output)?))
    }

    fn check_keys(&self, left: NodeId, right: NodeId, keys: &[(usize, usize)]) -> Result<(), RecursionError> {
        for (one, other) in keys {
            self.columns_present(left, &[*one])?;
            self.columns_present(right, &[*other])?;
            let data_type = |node: NodeId, column: usize| self.schema(node).field(column).data_type().clone();
            let (found, wanted) = (data_type(right, *other), data_type(left, *one));
            if found != wanted {
                let what = "the right side of a join key".to_owned();
                return Err(RecursionError::Types { what, found: found.to_string(), wanted: wanted.to_string() });
            }
        }
        Ok(())
    }

    fn columns_present(&self, node: NodeId, columns: &[usize]) -> Result<(), RecursionError> {
        columns.iter().try_for_each(|index| present("column", *index, self.width(node)))
    }

    fn same_types(&self, what: String, node: NodeId, wanted: &SchemaRef) -> Result<(), RecursionError> {
        let (found, wanted) = (types(self.schema(node)), types(wanted));
        if found == wanted { Ok(()) } else { Err(RecursionError::Types { what, found, wanted }) }
    }

    fn width(&self, node: NodeId) -> usize {
        self.schema(node).fields().len()
    }

    fn add(&mut self, kind: Kind, schema: SchemaRef) -> Result<NodeId, RecursionError> {
        let identity = kind.identity();
        if let Some(node) = self.known.get(&identity) {
            return Ok(*node);
        }
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let layout = Layout::new(&schema, &all).map_err(|data_type| RecursionError::ColumnType { data_type })?;
        let varies = matches!(kind, Kind::Previous(_)) || kind.inputs().iter().any(|input| self.nodes[*input].varies);
        self.nodes.push(Node { kind, schema, layout, varies });
        self.known.insert(identity, self.nodes.len() - 1);
        Ok(self.nodes.len() - 1)
    }
}

fn present(what: &'static str, index: usize, count: usize) -> Result<(), RecursionError> {
    if index < count { Ok(()) } else { Err(RecursionError::Missing { what, index, count }) }
}

/// The types of the columns, as text.
pub(super) fn types(schema: &SchemaRef) -> String {
    let mut text = String::new();
    for field in schema.fields() {
        let data_type: &DataType = field.data_type();
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{data_type}").expect("text takes everything");
    }
    text
}

fn beside(left: &SchemaRef, right: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>()))
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    Arc::new(Schema::new(schema.fields().iter().map(nullable).collect::<Vec<_>>()))
}
