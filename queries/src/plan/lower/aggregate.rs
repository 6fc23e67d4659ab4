//! GROUP BY and DISTINCT: keys, arguments and filters become plain columns in front of the operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::DFSchema;
use datafusion_expr::{Aggregate, Expr, LogicalPlan};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::cast;
use highwater_engine::model::wide::timestamp_type;

use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{AggregateCall, AggregateFunction, Node, NodeKind};
use super::super::relational::{SessionGroups, SessionKey, SessionNode};
use super::super::window::{WINDOW_END, WINDOW_START};
use super::super::words::sql_text;
use super::scalar::{Computed, is_time, keep_columns, moved, project};
use super::session_groups::session_groups;
use super::{Lower, Lowered, Lowerer};

/// The columns an operator reads: each expression once.
pub(super) struct Inputs<'s> {
    schema: &'s DFSchema,
    exprs: Vec<Expr>,
    columns: Vec<Computed>,
}

impl<'s> Inputs<'s> {
    pub(super) fn new(schema: &'s DFSchema) -> Inputs<'s> {
        Inputs { schema, exprs: Vec::new(), columns: Vec::new() }
    }

    /// The position of an expression, added if it is new.
    pub(super) fn add(&mut self, lowerer: &Lowerer<'_>, expr: &Expr, facts: &Facts) -> Lower<usize> {
        let expr = expr.clone().unalias();
        if let Some(position) = self.exprs.iter().position(|known| *known == expr) {
            return Ok(position);
        }
        let mut computed = lowerer.computed(&expr, self.schema, facts)?;
        if computed.from.is_none() {
            // Only seen in plans: the name that DataFusion gives is for its own look-up.
            let name = sql_text(&computed.expression, self.schema.as_arrow());
            computed.field = computed.field.with_name(name);
        }
        self.columns.push(computed);
        self.exprs.push(expr);
        Ok(self.columns.len() - 1)
    }

    /// The first of these columns that says when it is final, as a millisecond time that needs no
    /// offset; where there is only one with an offset, such a time is added. Gives the column's
    /// position and what it is in words.
    pub(super) fn closing(
        &mut self,
        lowerer: &Lowerer<'_>,
        of: &[usize],
        facts: &Facts,
    ) -> Lower<Option<(usize, String)>> {
        let exact = |column: &&usize| {
            let computed = &self.columns[**column];
            computed.facts.time.is_some_and(|moment| moment.offset_ms == 0) && is_time(computed.field.data_type())
        };
        if let Some(column) = of.iter().find(exact) {
            return Ok(Some((*column, self.columns[*column].field.name().clone())));
        }
        let timed = of.iter().filter_map(|column| Some((self.columns[*column].facts.time?.offset_ms, *column))).min();
        let Some((offset_ms, column)) = timed else { return Ok(None) };
        let words = format!("{} + {}", self.columns[column].field.name(), duration(offset_ms));
        let instant = moved(self.exprs[column].clone(), offset_ms, self.schema);
        let position = self.add(lowerer, &instant, facts)?;
        let added = &mut self.columns[position];
        added.field = added.field.clone().with_name("final_at");
        Ok(Some((position, words)))
    }

    pub(super) fn facts(&self, position: usize) -> &ColumnFacts {
        &self.columns[position].facts
    }

    pub(super) fn field(&self, position: usize) -> &Field {
        &self.columns[position].field
    }

    /// Over the columns of the input.
    pub(super) fn expression(&self, position: usize) -> &Arc<dyn PhysicalExpr> {
        &self.columns[position].expression
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The input with these columns, and where each of them is.
    fn apply(self, input: Lowered) -> (Lowered, Vec<usize>) {
        let plain: Option<Vec<usize>> = self.columns.iter().map(|column| column.from).collect();
        match plain {
            Some(places) => (input, places),
            None => {
                let places = (0..self.columns.len()).collect();
                (project(input, self.columns), places)
            }
        }
    }
}

impl Lowerer<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Lower<Lowered> {
        if let [Expr::GroupingSet(set)] = aggregate.group_expr.as_slice() {
            return self.grouping_sets(aggregate, set);
        }
        let input = self.lower(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let mut inputs = Inputs::new(schema);
        let mut keys = Vec::with_capacity(aggregate.group_expr.len());
        for expr in &aggregate.group_expr {
            keys.push(inputs.add(self, expr, &input.facts)?);
        }
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        let fields = aggregate.schema.fields().iter().skip(keys.len());
        for (expr, field) in aggregate.aggr_expr.iter().zip(fields) {
            calls.push(self.call(expr, field, schema, &input.facts, &mut inputs)?);
        }
        self.grouped(input, inputs, keys, calls, "group")
    }

    pub(super) fn distinct(&mut self, input: &Arc<LogicalPlan>) -> Lower<Lowered> {
        let lowered = self.lower(input)?;
        let mut inputs = Inputs::new(input.schema());
        let mut keys = Vec::new();
        for column in 0..lowered.width() {
            keys.push(inputs.add(self, &super::scalar::column_at(input.schema(), column), &lowered.facts)?);
        }
        self.grouped(lowered, inputs, keys, Vec::new(), "distinct")
    }

    /// The operator over prepared columns.
    pub(super) fn grouped(
        &mut self,
        input: Lowered,
        mut inputs: Inputs<'_>,
        mut keys: Vec<usize>,
        calls: Vec<AggregateCall>,
        word: &str,
    ) -> Lower<Lowered> {
        let shown = keys.len();
        if let Some((sessions, groups)) = session_groups(&input.node, &inputs, &keys, &calls) {
            return self.of_sessions(&input.facts, &inputs, &keys, sessions, groups);
        }
        let block_local = input.facts.block_local && keys.iter().any(|key| inputs.facts(*key).block);
        let closing = if block_local { None } else { inputs.closing(self, &keys, &input.facts)? };
        let names: Vec<String> = keys.iter().map(|key| inputs.field(*key).name().clone()).collect();
        let (closing, until) = closing.unzip();
        let closing = closing.map(|column| position_in(&mut keys, column));
        let columns: Vec<ColumnFacts> = keys.iter().map(|key| inputs.facts(*key).clone()).collect();
        let bound = output_bound(&input.facts, &columns[..shown], &names);
        // Few groups are little state only where each is small.
        let holding = calls.iter().find(|call| holds_values(call, &input.facts));
        let few = if holding.is_some() { input.facts.bound.clone() } else { bound.clone() };
        let kept = until.map(|until| format!("groups until {until} is final")).or(few);
        let of_values = holding.filter(|_| bound.is_some() && kept.is_none());
        let of_values = of_values.map(|call| (call.function.to_string(), call.field.name().clone()));
        let (input, places) = inputs.apply(input);
        let keys: Vec<usize> = keys.iter().map(|key| places[*key]).collect();
        let calls: Vec<AggregateCall> = calls.into_iter().map(|call| call.placed(&places)).collect();
        let wanted: Vec<DataType> = calls.iter().map(|call| call.field.data_type().clone()).collect();
        let calls: Vec<AggregateCall> = calls.into_iter().map(exactly).collect();
        let schema = Arc::new(Schema::new(output_fields(&input, &keys, &calls)));
        let facts = grouped_facts(columns, shown, calls.len(), block_local, bound);
        let input = Box::new(input.node);
        let kind = if block_local {
            NodeKind::BlockAggregate { input, keys, calls }
        } else {
            let id = self.id("aggregate");
            let mut key = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let mut word = word;
            if let Some((function, call)) = &of_values {
                key = format!("{key}, with all values of {call}");
                word = function;
            }
            self.keep(&id, "aggregate", key, kept, word)?;
            NodeKind::Aggregate { id, input, keys, calls, closing }
        };
        let all = facts.columns.len();
        let hidden = facts.columns.len() - shown - facts_calls(&kind);
        let lowered = Lowered { node: Node { kind, schema }, facts };
        let columns = keep_columns(&lowered, (0..shown).chain(shown + hidden..all));
        self.as_called(lowered, columns, &wanted)
    }

    /// Sessions with their results, in the state that the sessions would have kept.
    fn of_sessions(
        &self,
        input: &Facts,
        inputs: &Inputs<'_>,
        keys: &[usize],
        sessions: SessionNode,
        groups: SessionGroups,
    ) -> Lower<Lowered> {
        let wanted: Vec<DataType> = groups.calls.iter().map(|call| call.field.data_type().clone()).collect();
        let calls: Vec<AggregateCall> = groups.calls.into_iter().map(exactly).collect();
        let fields = groups.keys.iter().map(|key| match key {
            SessionKey::Key(index) => sessions.input.schema.field(sessions.key[*index]).clone(),
            SessionKey::WindowStart => Field::new(WINDOW_START, timestamp_type(), false),
            SessionKey::WindowEnd => Field::new(WINDOW_END, timestamp_type(), false),
        });
        let fields = fields.chain(calls.iter().map(|call| call.field.as_ref().clone()));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns: Vec<ColumnFacts> = keys.iter().map(|key| inputs.facts(*key).clone()).collect();
        let names: Vec<String> = keys.iter().map(|key| inputs.field(*key).name().clone()).collect();
        let bound = output_bound(input, &columns, &names);
        let facts = grouped_facts(columns, keys.len(), calls.len(), false, bound);
        let groups = Some(SessionGroups { calls, ..groups });
        let kind = NodeKind::Session(Box::new(SessionNode { groups, ..sessions }));
        let lowered = Lowered { node: Node { kind, schema }, facts };
        let mut columns = keep_columns(&lowered, 0..lowered.width());
        for (column, key) in columns.iter_mut().zip(keys) {
            column.field = column.field.clone().with_name(inputs.field(*key).name());
        }
        self.as_called(lowered, columns, &wanted)
    }

    /// These columns, the last of them with the types that SQL gives the calls.
    fn as_called(&self, lowered: Lowered, mut columns: Vec<Computed>, wanted: &[DataType]) -> Lower<Lowered> {
        let fields = lowered.schema().fields().iter().map(AsRef::as_ref);
        let mut same = columns.iter().map(|column| &column.field).eq(fields);
        let shown = columns.len() - wanted.len();
        for (column, wanted) in columns[shown..].iter_mut().zip(wanted) {
            if column.field.data_type() != wanted {
                column.expression = cast(column.expression.clone(), lowered.schema(), wanted.clone())
                    .map_err(|error| self.place.diagnose(&error))?;
                column.field = column.field.clone().with_data_type(wanted.clone());
                (column.from, same) = (None, false);
            }
        }
        Ok(if same { lowered } else { project(lowered, columns) })
    }
}

/// Whether a call keeps what it has seen in each of its groups.
fn holds_values(call: &AggregateCall, input: &Facts) -> bool {
    let function = call.function;
    (call.distinct && !function.ignores_repetition()) || function.keeps_values(input.linear)
}

/// A call in the type of the operator: sums of integers are exact there, whatever SQL calls their type.
fn exactly(mut call: AggregateCall) -> AggregateCall {
    if call.function == AggregateFunction::Sum && call.field.data_type().is_integer() {
        call.field = Arc::new(call.field.as_ref().clone().with_data_type(DataType::Decimal128(38, 0)));
    }
    call
}

/// The place of a column among the keys, added behind them if it is not one.
pub(super) fn position_in(keys: &mut Vec<usize>, column: usize) -> usize {
    keys.iter().position(|key| *key == column).unwrap_or_else(|| {
        keys.push(column);
        keys.len() - 1
    })
}

fn output_fields(input: &Lowered, keys: &[usize], calls: &[AggregateCall]) -> Vec<Field> {
    let keys = keys.iter().map(|key| input.field(*key).clone());
    keys.chain(calls.iter().map(|call| call.field.as_ref().clone())).collect()
}

fn facts_calls(kind: &NodeKind) -> usize {
    match kind {
        NodeKind::Aggregate { calls, .. } | NodeKind::BlockAggregate { calls, .. } => calls.len(),
        _ => 0,
    }
}

fn grouped_facts(
    mut columns: Vec<ColumnFacts>,
    shown: usize,
    calls: usize,
    block_local: bool,
    bound: Option<String>,
) -> Facts {
    columns.extend(std::iter::repeat_n(ColumnFacts::default(), calls));
    Facts { columns, linear: block_local, block_local, bound, key: Some((0..shown).collect()), order: Vec::new() }
}

/// What bounds the number of groups, whatever comes.
fn output_bound(input: &Facts, keys: &[ColumnFacts], names: &[String]) -> Option<String> {
    if keys.is_empty() {
        return Some("one group".to_owned());
    }
    if keys.iter().all(|key| key.finite) {
        return Some(format!("the values of {}", names.join(", ")));
    }
    input.bound.clone()
}

/// Milliseconds as people say them.
pub(in super::super) fn duration(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let unit = units.into_iter().find(|(size, _)| ms != 0 && ms % size == 0);
    unit.map_or_else(|| format!("{ms} ms"), |(size, name)| format!("{} {name}", ms / size))
}
