//! Scans, projections, filters, unions, windows, constants: everything without state.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::{EmptyRelation, Expr, Filter, Projection, TableScan, Union, Values};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;
use highwater_engine::model::errors_schema;
use highwater_engine::model::wide::{HASH_TYPE, timestamp_type};

use super::super::context::{Relation, RelationSource};
use super::super::facts::{ColumnFacts, Facts, Moment};
use super::super::ir::{Node, NodeKind, StateEntry, Window};
use super::super::window::WindowNode;
use super::scalar::{Computed, column_of, is_time, keep_columns, moved, project};
use super::{Lower, Lowered, Lowerer, filter_node};
use crate::diagnostic::{Code, Diagnostic};

impl Lowerer<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Lower<Lowered> {
        let Some(source) = scan.source.downcast_ref::<RelationSource>() else {
            return Err(self.unsupported("this relation", scan.table_name.table()));
        };
        let width = scan.source.schema().fields().len();
        let wanted: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..width).collect());
        // A batch needs a column to carry its number of rows.
        let all = scan.source.schema();
        let cheap = all.fields().iter().position(|field| *field.data_type() == DataType::Int64).unwrap_or(0);
        let columns = if wanted.is_empty() { vec![cheap] } else { wanted.clone() };
        let schema = pick(&all, &columns);
        let (kind, facts) = match &source.relation {
            Relation::Chain { source, table } => {
                let facts = chain_facts(*source, &all);
                (NodeKind::Scan { source: *source, table: *table, columns: columns.clone() }, facts)
            }
            Relation::Block { source, node } => {
                self.keep_block_relations(node);
                (node.picked(&columns).kind, chain_facts(*source, &all))
            }
            Relation::View(view) => {
                let facts = Facts { linear: false, block_local: false, ..self.views[*view].facts.clone() };
                (NodeKind::View { view: *view, columns: columns.clone() }, facts)
            }
            Relation::Errors(view) => {
                let facts = Facts { columns: vec![ColumnFacts::default(); 2], ..Facts::default() };
                (NodeKind::Errors { view: *view, columns: columns.clone() }, facts)
            }
            Relation::Reference(batch) => {
                let batch = batch.project(&columns).map_err(|error| self.internal(&error.into()))?;
                (NodeKind::Values { batch }, table_facts(width, scan.table_name.table()))
            }
            Relation::Reloaded(table) => {
                let name = scan.table_name.table().to_owned();
                let facts = table_facts(width, &name);
                (NodeKind::LiveTable { table: *table, name, columns: columns.clone() }, facts)
            }
            Relation::Watermarked(table, time) => {
                let name = scan.table_name.table().to_owned();
                let mut facts = Facts { bound: None, ..table_facts(width, &name) };
                for column in &mut facts.columns {
                    column.finite = false;
                }
                // Rows of time t cannot come any more once the watermark has passed it.
                facts.columns[*time].time = Some(Moment { offset_ms: 1, step_ms: 1 });
                (NodeKind::LiveTable { table: *table, name, columns: columns.clone() }, facts)
            }
            Relation::Work(name) => {
                let mut variable = self.variable(name, &columns, schema)?;
                variable.facts.columns.truncate(wanted.len());
                return Ok(variable);
            }
            Relation::Inlined(_) => return Err(self.unsupported("this view", scan.table_name.table())),
        };
        let schema =
            if matches!(source.relation, Relation::Errors(_)) { pick(&errors_schema(), &columns) } else { schema };
        let known = wanted.iter().map(|column| facts.columns[*column].clone()).collect();
        let from: Vec<Option<usize>> = wanted.iter().copied().map(Some).collect();
        let lowered = Lowered { node: Node { kind, schema }, facts: facts.project(&from, known) };
        self.scan_filters(scan, lowered)
    }

    /// Notes the state of a relation of a source, and of what it reads.
    fn keep_block_relations(&mut self, node: &Node) {
        if let NodeKind::BlockRelation { id, relation, .. } = &node.kind
            && let Some((key, bound)) = relation.state
        {
            self.state.push(StateEntry {
                id: id.clone(),
                operator: "block relation",
                key: key.to_owned(),
                bound: bound.to_owned(),
                unbounded: false,
            });
        }
        for input in node.inputs() {
            self.keep_block_relations(input);
        }
    }

    /// Filters that the optimizer left in the scan.
    fn scan_filters(&self, scan: &TableScan, mut lowered: Lowered) -> Lower<Lowered> {
        for filter in &scan.filters {
            let predicate = self.physical(filter, &scan.projected_schema)?;
            lowered.node = filter_node(lowered.node, predicate);
        }
        Ok(lowered)
    }

    pub(super) fn projection(&mut self, projection: &Projection) -> Lower<Lowered> {
        let input = self.lower(&projection.input)?;
        self.project_exprs(input, &projection.expr, projection.input.schema(), &projection.schema)
    }

    /// Projects to expressions, with names and types of the logical output.
    pub(super) fn project_exprs(
        &self,
        input: Lowered,
        exprs: &[Expr],
        schema: &DFSchema,
        output: &DFSchema,
    ) -> Lower<Lowered> {
        let mut columns = Vec::with_capacity(exprs.len());
        for (expr, field) in exprs.iter().zip(output.fields()) {
            let computed = self.computed(expr, schema, &input.facts)?;
            columns.push(Computed { field: field.as_ref().clone(), ..computed });
        }
        if columns.is_empty() {
            // Nothing is asked for but the number of rows: any column carries it.
            let facts = Facts { columns: Vec::new(), ..input.facts.project(&[], Vec::new()) };
            return Ok(Lowered { node: input.node, facts });
        }
        Ok(project(input, columns))
    }

    pub(super) fn filter(&mut self, filter: &Filter) -> Lower<Lowered> {
        if let Some(top_k) = self.ranked(filter)? {
            return Ok(top_k);
        }
        let input = self.lower(&filter.input)?;
        self.filtered(input, &filter.predicate, filter.input.schema())
    }

    pub(super) fn filtered(&self, input: Lowered, predicate: &Expr, schema: &DFSchema) -> Lower<Lowered> {
        let predicate = self.physical(predicate, schema)?;
        Ok(Lowered { node: filter_node(input.node, predicate), facts: input.facts })
    }

    pub(super) fn union(&mut self, union: &Union) -> Lower<Lowered> {
        let schema = union.schema.inner().clone();
        // Of rows whose number alone counts, each input keeps a column of its own.
        let counted = schema.fields().is_empty();
        let marker = Arc::new(Field::new("row", DataType::Boolean, false));
        let mut inputs = Vec::with_capacity(union.inputs.len());
        let mut facts: Option<Facts> = None;
        for input in &union.inputs {
            let lowered = self.lower(input)?;
            facts = Some(match facts {
                None => Facts { block_local: false, key: None, order: Vec::new(), ..lowered.facts.clone() },
                Some(before) => merge(before, &lowered.facts),
            });
            inputs.push(if counted { marked(lowered.node, &marker) } else { lowered.node });
        }
        let facts = facts.unwrap_or_default();
        let schema = if counted { Arc::new(Schema::new(vec![marker])) } else { schema };
        Ok(Lowered { node: Node { kind: NodeKind::Union { inputs }, schema }, facts })
    }

    pub(super) fn window(&mut self, node: &WindowNode) -> Lower<Lowered> {
        let schema = node.input.schema();
        let mut input = self.lower(&node.input)?;
        let width = input.width();
        if width == 0 {
            // The time is read at least, so there is a column.
            return Err(self.unsupported("a window without columns", "tumble"));
        }
        let plain = column_of(&node.time, schema).filter(|column| is_time(input.field(*column).data_type()));
        let time = match plain {
            Some(column) => column,
            None => {
                let time = self.computed(&moved(node.time.clone(), 0, schema), schema, &input.facts)?;
                let mut columns = keep_columns(&input, 0..width);
                columns.push(time);
                input = project(input, columns);
                width
            }
        };
        let windowed = windowed(input, time, node.window);
        let added = windowed.width() - 2;
        let mut shown = node.kept();
        if shown.len() == added {
            return Ok(windowed);
        }
        shown.extend([added, added + 1]);
        let columns = keep_columns(&windowed, shown);
        Ok(project(windowed, columns))
    }

    pub(super) fn values(&mut self, values: &Values) -> Lower<Lowered> {
        let batch = self.constant_rows(values)?;
        Ok(constant(batch, values.schema.fields().len(), "VALUES"))
    }

    /// The rows of VALUES, evaluated now.
    pub(super) fn constant_rows(&self, values: &Values) -> Lower<RecordBatch> {
        let schema = values.schema.inner().clone();
        let one = one_row();
        let empty = DFSchema::empty();
        let mut rows = Vec::with_capacity(values.values.len());
        for row in &values.values {
            let mut columns: Vec<ArrayRef> = Vec::with_capacity(row.len());
            for (expr, field) in row.iter().zip(schema.fields()) {
                let value = self
                    .physical(expr, &empty)?
                    .evaluate(&one)
                    .and_then(|value| value.into_array(1))
                    .map_err(|error| self.place.diagnose(&error))?;
                let value = arrow::compute::cast(&value, field.data_type());
                columns.push(value.map_err(|error| self.place.diagnose(&error.into()))?);
            }
            let batch = RecordBatch::try_new(schema.clone(), columns);
            rows.push(batch.map_err(|error| self.place.diagnose(&error.into()))?);
        }
        concat_batches(&schema, &rows).map_err(|error| self.internal(&error.into()))
    }

    pub(super) fn empty(&mut self, empty: &EmptyRelation) -> Lower<Lowered> {
        let width = empty.schema.fields().len();
        if empty.produce_one_row {
            return Ok(constant(one_row(), width, "a constant"));
        }
        let schema = if width == 0 { one_row().schema() } else { empty.schema.inner().clone() };
        Ok(constant(RecordBatch::new_empty(schema), width, "a constant"))
    }

    pub(super) fn internal(&self, error: &DataFusionError) -> Diagnostic {
        let mut mistake = self.place.diagnose(error);
        mistake.code = Code::Internal;
        mistake
    }
}

/// Adds the two window columns.
fn windowed(input: Lowered, time: usize, window: Window) -> Lowered {
    let moment = input.facts.columns[time].time;
    let mut fields: Vec<Field> = input.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    for name in [super::super::window::WINDOW_START, super::super::window::WINDOW_END] {
        fields.push(Field::new(name, timestamp_type(), false));
    }
    let mut facts = input.facts;
    let slide = match window {
        Window::Tumble { size_ms } | Window::Cumulate { size_ms, .. } => size_ms,
        Window::Hop { slide_ms, .. } => slide_ms,
    };
    let start = moment.and_then(|moment| moment.rounded(slide, window.size_ms()));
    let end = match window {
        Window::Cumulate { step_ms, .. } => {
            moment.and_then(|moment| moment.rounded(step_ms, step_ms)).and_then(|step| step.shifted(step_ms))
        }
        Window::Tumble { .. } | Window::Hop { .. } => start.and_then(|start| start.shifted(window.size_ms())),
    };
    for time in [start, end] {
        facts.columns.push(ColumnFacts { time, ..ColumnFacts::default() });
    }
    if let Some(key) = facts.key.as_mut() {
        let start = facts.columns.len() - 2;
        match window {
            Window::Tumble { .. } => {}
            Window::Hop { .. } => key.push(start),
            Window::Cumulate { .. } => key.extend([start, start + 1]),
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let node = Node { kind: NodeKind::Window { input: Box::new(input.node), time, window }, schema };
    Lowered { node, facts }
}

/// Constant rows with `width` columns that the plan knows of.
fn constant(batch: RecordBatch, width: usize, what: &str) -> Lowered {
    let schema = batch.schema();
    Lowered { node: Node { kind: NodeKind::Values { batch }, schema }, facts: table_facts(width, what) }
}

fn table_facts(width: usize, what: &str) -> Facts {
    let finite = ColumnFacts { finite: true, ..ColumnFacts::default() };
    Facts { columns: vec![finite; width], bound: Some(format!("the rows of {what}")), ..Facts::default() }
}

/// One row with one column that nobody reads.
pub(super) fn one_row() -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("one", DataType::Boolean, false)]));
    let column: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    RecordBatch::try_new(schema, vec![column]).expect("one Boolean column fits its schema")
}

fn pick(schema: &SchemaRef, columns: &[usize]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| schema.field(*column).clone()).collect::<Vec<_>>()))
}

/// What is known of a chain table: its first columns are the same in all tables.
fn chain_facts(source: usize, schema: &SchemaRef) -> Facts {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let data_type = field.data_type();
            let solid = !field.is_nullable();
            let name = field.name().as_str();
            let number = (name == "block_number" && *data_type == DataType::Int64 && solid).then_some(source);
            let hash = matches!(name, "block_hash" | "transaction_hash") && *data_type == HASH_TYPE && solid;
            ColumnFacts {
                // A row of time t cannot come any more once all blocks before t + 1 ms are final.
                time: (name == "block_timestamp" && *data_type == timestamp_type())
                    .then_some(Moment { offset_ms: 1, step_ms: 1 }),
                number,
                block: hash || number.is_some(),
                finite: matches!(name, "chain" | "chain_id") || *data_type == DataType::Boolean,
            }
        })
        .collect();
    Facts { columns, linear: true, block_local: true, ..Facts::default() }
}

/// What holds of the rows of both.
fn merge(one: Facts, other: &Facts) -> Facts {
    let columns = one
        .columns
        .iter()
        .zip(&other.columns)
        .map(|(one, other)| ColumnFacts {
            time: one.time.zip(other.time).map(|(one, other)| latest(one, other)),
            number: one.number.filter(|source| other.number == Some(*source)),
            block: false,
            finite: one.finite && other.finite,
        })
        .collect();
    let bound = one.bound.zip(other.bound.clone()).map(|(one, other)| format!("{one} and {other}"));
    let linear = one.linear && other.linear;
    Facts { columns, linear, block_local: false, bound, key: None, order: Vec::new() }
}

/// A moment at which rows of either are final.
fn latest(one: Moment, other: Moment) -> Moment {
    let step_ms = if one.step_ms == other.step_ms { one.step_ms } else { 1 };
    Moment { offset_ms: one.offset_ms.max(other.offset_ms), step_ms }
}

/// The rows with nothing but a constant.
fn marked(input: Node, marker: &Arc<Field>) -> Node {
    let expressions: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Literal::new(ScalarValue::Boolean(Some(true))))];
    let schema = Arc::new(Schema::new(vec![marker.clone()]));
    Node { kind: NodeKind::Project { input: Box::new(input), expressions }, schema }
}
