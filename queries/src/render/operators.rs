//! From a node of the plan to the operator that computes it.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema, SchemaRef};
use highwater_engine::error::BoxError;
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::operator::{BatchOperator, Route, TickOperator};
use highwater_engine::sink::Closing;
use highwater_operators::aggregate::{self, Aggregate, AggregateSpec, BlockAggregate};
use highwater_operators::block_fold::BlockFold;
use highwater_operators::emit_gate::{EmitGate, EmitPolicy};
use highwater_operators::lookup_join::{LookupJoin, LookupJoinSpec};
use highwater_operators::temporal_filter::{TemporalFilter, TemporalFilterSpec};
use highwater_operators::top_k::{TopK, TopKSpec};

use super::stage::Stage;
use super::{alert, changing, join, recursion};
use crate::plan::{AggregateCall, Emit, Node, NodeKind, PlannedView, SortKey, input_schema};

/// The planner made a node that its operator refuses: a bug.
#[derive(Debug, thiserror::Error)]
#[error("rendering {node} failed")]
pub struct RenderError {
    node: String,
    source: BoxError,
}

impl RenderError {
    pub(super) fn of(node: &str) -> impl FnOnce(BoxError) -> RenderError {
        let node = node.to_owned();
        move |source| RenderError { node, source }
    }
}

/// An operator with state, how rows reach it, and stateless steps around it.
pub(super) struct Stateful {
    pub(super) id: String,
    pub(super) route: Route,
    pub(super) operator: Box<dyn TickOperator>,
    pub(super) before: Option<Stage>,
    pub(super) after: Option<Stage>,
}

/// What a node needs at run time.
pub(super) enum Made {
    /// Nothing: the renderer wires it itself.
    None,
    Stateless(&'static str, Box<dyn BatchOperator>),
    Stateful(Stateful),
}

/// The stage of a node that is a row-by-row step, and the node's input.
pub(super) fn stage(node: &Node) -> Option<(Stage, &Node)> {
    match &node.kind {
        NodeKind::Filter { input, predicate } => Some((Stage::Filter(predicate.clone()), input)),
        NodeKind::Project { input, expressions } => {
            let stage = Stage::Project { expressions: expressions.clone(), schema: node.schema.clone() };
            Some((stage, input))
        }
        NodeKind::Expand { input, copies } => {
            Some((Stage::Expand { copies: copies.clone(), schema: node.schema.clone() }, input))
        }
        NodeKind::Window { input, time, window } => {
            Some((Stage::Window { time: *time, window: *window, schema: node.schema.clone() }, input))
        }
        _ => None,
    }
}

/// Makes the operator of a node.
pub(super) fn make(node: &Node) -> Result<Made, RenderError> {
    match &node.kind {
        NodeKind::Aggregate { id, input, keys, calls, closing } => {
            let spec = aggregate_spec(input, keys, calls, *closing);
            let route = spec.route();
            let operator = Aggregate::new(id, spec).map_err(|error| RenderError::of(id)(error.into()))?;
            Ok(Made::Stateful(Stateful::new(id, route, Box::new(operator))))
        }
        NodeKind::BlockAggregate { input, keys, calls } => {
            let operator = BlockAggregate::new(aggregate_spec(input, keys, calls, None))
                .map_err(|error| RenderError::of("a block-local aggregate")(error.into()))?;
            Ok(Made::Stateless("block-aggregate", Box::new(operator)))
        }
        NodeKind::TopK { .. } => top_k(node).map(Made::Stateful),
        NodeKind::TemporalFilter { id, input, valid_from, valid_until } => {
            let spec = TemporalFilterSpec {
                input: input.schema.clone(),
                valid_from: *valid_from,
                valid_until: *valid_until,
                output: (0..input.schema.fields().len()).collect(),
            };
            let operator = TemporalFilter::new(id, spec).map_err(|error| RenderError::of(id)(error.into()))?;
            let route = operator.route();
            Ok(Made::Stateful(Stateful::new(id, route, Box::new(operator))))
        }
        NodeKind::BroadcastJoin { .. } => {
            let operator = join::make(node).map_err(RenderError::of("a join to a reference table"))?;
            Ok(Made::Stateless("broadcast-join", operator))
        }
        NodeKind::DecodeEvent { event, input, made, .. } => {
            let operator = event.operator(&input.schema, made);
            let operator = operator.map_err(|error| RenderError::of(&event.id)(error.into()))?;
            Ok(Made::Stateless("decode-event", Box::new(operator)))
        }
        NodeKind::LookupJoin { .. } => lookup_join(node).map(|_| Made::None),
        NodeKind::Join(node) => changing::join(node).map(|_| Made::None),
        NodeKind::Final { id, input, time } => {
            let policy = EmitPolicy::OnFinality { closing: Some(Closing::Time(*time)) };
            let operator =
                EmitGate::new(id, &input.schema, policy).map_err(|error| RenderError::of(id)(error.into()))?;
            Ok(Made::Stateful(Stateful::new(id, operator.route(), Box::new(operator))))
        }
        NodeKind::AsofJoin(node) => changing::asof(node).map(|_| Made::None),
        NodeKind::Recursion(node) => recursion::make(node).map(|_| Made::None),
        NodeKind::Multiset { .. } => changing::multiset(node).map(|_| Made::None),
        NodeKind::Over(node) => changing::over(node).map(Made::Stateful),
        NodeKind::Session(node) => changing::session(node).map(Made::Stateful),
        NodeKind::Components { .. } => changing::components(node).map(Made::Stateful),
        NodeKind::Stories { .. }
        | NodeKind::Findings { .. }
        | NodeKind::Notifications { .. }
        | NodeKind::RateLimit { .. } => alert::make(node).map(Made::Stateful),
        NodeKind::Scan { .. }
        | NodeKind::View { .. }
        | NodeKind::Errors { .. }
        | NodeKind::Values { .. }
        | NodeKind::LiveTable { .. }
        | NodeKind::Filter { .. }
        | NodeKind::Project { .. }
        | NodeKind::Window { .. }
        | NodeKind::Expand { .. }
        | NodeKind::Variable { .. }
        | NodeKind::Outer { .. }
        | NodeKind::BlockRelation { .. }
        | NodeKind::Union { .. } => Ok(Made::None),
    }
}

/// The operator of a join to a table that changes.
pub(super) fn lookup_join(node: &Node) -> Result<LookupJoin, RenderError> {
    let NodeKind::LookupJoin { id, input, table, join, input_keys, table_keys, null_equals_null, .. } = &node.kind
    else {
        unreachable!("called for a lookup join alone")
    };
    let spec = LookupJoinSpec {
        input: input.schema.clone(),
        input_keys: input_keys.clone(),
        table: table.schema.clone(),
        table_keys: table_keys.clone(),
        kind: join::plain_kind(*join),
        null_equals_null: *null_equals_null,
    };
    LookupJoin::new(id, spec).map_err(|error| RenderError::of(id)(error.into()))
}

/// The operator of a relation of a source, and which of its inputs there are.
pub(super) fn block_fold(node: &Node, shown: Vec<usize>) -> Option<(BlockFold, Vec<&Node>)> {
    let NodeKind::BlockRelation { relation, settings, inputs, .. } = &node.kind else { return None };
    let schemas: Option<Vec<SchemaRef>> = relation.inputs.iter().map(input_schema).collect();
    let schemas = schemas.expect("the planner has offered the relation because its inputs are known");
    let present = inputs.iter().enumerate().filter(|(_, input)| input.is_some()).map(|(index, _)| index).collect();
    Some((BlockFold::new((relation.kernel)(settings), &schemas, present, shown), inputs.iter().flatten().collect()))
}

fn top_k(node: &Node) -> Result<Stateful, RenderError> {
    let NodeKind::TopK { id, input, partition, sort, limit, offset, closing, ranking, show_rank } = &node.kind else {
        unreachable!("called for a top-k alone")
    };
    let spec = TopKSpec {
        input: input.schema.clone(),
        partition: partition.clone(),
        sort: sort.iter().map(sort_options).collect(),
        limit: *limit,
        offset: *offset,
        closing: *closing,
        ranking: *ranking,
        show_rank: show_rank.clone(),
    };
    let operator = TopK::new(id, spec).map_err(|error| RenderError::of(id)(error.into()))?;
    let route = operator.route();
    Ok(Stateful::new(id, route, Box::new(operator)))
}

fn sort_options(key: &SortKey) -> (usize, SortOptions) {
    (key.column, SortOptions { descending: key.descending, nulls_first: key.nulls_first })
}

pub(super) fn aggregate_spec(
    input: &Node,
    keys: &[usize],
    calls: &[AggregateCall],
    closing: Option<usize>,
) -> AggregateSpec {
    AggregateSpec { input: input.schema.clone(), keys: keys.to_vec(), calls: aggregate_calls(calls), closing }
}

pub(super) fn aggregate_calls(calls: &[AggregateCall]) -> Vec<aggregate::AggregateCall> {
    let calls = calls.iter().map(|call| aggregate::AggregateCall {
        function: call.function,
        arguments: call.arguments.clone(),
        distinct: call.distinct,
        order_by: call.order_by.iter().map(sort_options).collect(),
        parameters: call.parameters.clone(),
        filter: call.filter,
        name: call.field.name().clone(),
    });
    calls.collect()
}

impl Stateful {
    pub(super) fn new(id: &str, route: Route, operator: Box<dyn TickOperator>) -> Stateful {
        Stateful { id: id.to_owned(), route, operator, before: None, after: None }
    }
}

/// The operator in front of an output, for an emit policy that needs one.
///
/// Where the instant at which a row is final is a column plus an offset, that instant is put beside
/// the row while it waits.
pub(super) fn gate(view: &PlannedView, emit: Emit, output: usize) -> Result<Option<Stateful>, RenderError> {
    let closing = view.closing.map(|closing| (closing.closing, closing.offset_ms));
    let policy = |closing: Option<Closing>| match (emit, closing) {
        (Emit::Changes, _) => None,
        (Emit::OnWindowClose, Some(Closing::Time(time))) => Some(EmitPolicy::OnWindowClose { time }),
        // A row of one block is over as soon as its block is there.
        (Emit::OnWindowClose, _) => None,
        (Emit::OnFinality, closing) => Some(EmitPolicy::OnFinality { closing }),
    };
    let width = view.schema.fields().len();
    let shifted = match closing {
        Some((Closing::Time(column), offset_ms)) if offset_ms != 0 => Some((column, offset_ms)),
        _ => None,
    };
    let (schema, closing) = match shifted {
        Some(_) => (with_instant(&view.schema), Some(Closing::Time(width))),
        None => (view.schema.clone(), closing.map(|(closing, _)| closing)),
    };
    let Some(policy) = policy(closing) else { return Ok(None) };
    let name = format!("{}/emit-{output}", view.name);
    let operator = EmitGate::new(&name, &schema, policy).map_err(|error| RenderError::of(&name)(error.into()))?;
    let mut stateful = Stateful::new(&name, operator.route(), Box::new(operator));
    if let Some((column, offset_ms)) = shifted {
        stateful.before = Some(Stage::Instant { column, offset_ms, schema });
        stateful.after = Some(Stage::Columns((0..width).collect()));
    }
    Ok(Some(stateful))
}

fn with_instant(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("final_at", timestamp_type(), true)));
    Arc::new(Schema::new(fields))
}
