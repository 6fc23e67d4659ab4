//! Plans as text for people: stable, so that golden files can hold them.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion_physical_expr::PhysicalExpr;
use highwater_engine::sink::Closing;
use highwater_operators::alert::story::Lifecycle;

use super::ir::{
    AggregateCall, JobPlan, JoinKind, Node, NodeKind, PlannedView, SortKey, StateEntry, ViewClosing, Window,
};
use super::lower::duration;
use super::node::Ranking;
use super::prune::OpenSource;
use super::relational::{AsofCondition, AsofJoinNode, JoinNode, OverNode, Retain, SessionNode};
use super::words::{Sql, sql_type};

/// The steps of all views of a job.
pub fn explain(plan: &JobPlan) -> String {
    let names = Names::of_plan(plan);
    let texts: Vec<String> = plan.views.iter().map(|planned| view(planned, &names)).collect();
    texts.join("\n")
}

/// The steps of one view.
pub fn explain_view(plan: &JobPlan, name: &str) -> Option<String> {
    let found = plan.views.iter().find(|view| view.name == name)?;
    Some(view(found, &Names::of_plan(plan)))
}

/// Every piece of state of a job as a table: name, operator, key, bound.
pub fn explain_state(plan: &JobPlan) -> String {
    state_table(&plan.state)
}

/// What the indices of a plan stand for.
pub(super) struct Names {
    tables: Vec<(String, Vec<String>)>,
    views: Vec<String>,
}

impl Names {
    fn of_plan(plan: &JobPlan) -> Names {
        let tables = plan
            .sources
            .iter()
            .map(|source| (source.name.clone(), source.tables.iter().map(|table| table.name.clone()).collect()));
        Names { tables: tables.collect(), views: plan.views.iter().map(|view| view.name.clone()).collect() }
    }

    /// Of a plan whose columns are not pruned yet.
    pub(super) fn of_open(sources: &[OpenSource], views: &[PlannedView]) -> Names {
        let tables = sources
            .iter()
            .map(|source| (source.name.clone(), source.tables.iter().map(|table| table.name.clone()).collect()));
        Names { tables: tables.collect(), views: views.iter().map(|view| view.name.clone()).collect() }
    }
}

/// A view: what it is, then its steps.
pub(super) fn view(view: &PlannedView, names: &Names) -> String {
    let mut text = format!("view {}\n", view.name);
    let columns: Vec<String> = view.schema.fields().iter().map(|field| typed(field)).collect();
    line(&mut text, 1, &format!("columns: {}", columns.join(", ")));
    if let Some(key) = &view.key {
        let key = if key.is_empty() { "one row".to_owned() } else { listed(&view.schema, key) };
        line(&mut text, 1, &format!("key: {key}"));
    }
    let last = match view.closing {
        Some(closing) => final_when(&view.schema, closing),
        None if view.linear => "with their block".to_owned(),
        None => "unknown".to_owned(),
    };
    line(&mut text, 1, &format!("rows are final: {last}"));
    if !view.order.is_empty() {
        let order = view.order.iter().map(|(column, descending)| {
            format!("{}{}", view.schema.field(*column).name(), if *descending { " DESC" } else { "" })
        });
        line(&mut text, 1, &format!("shown by: {}", order.collect::<Vec<_>>().join(", ")));
    }
    write_node(&mut text, 1, &view.root, names);
    text
}

/// The steps alone.
pub(super) fn tree(node: &Node, names: &Names) -> String {
    let mut text = String::new();
    write_node(&mut text, 0, node, names);
    text
}

/// The state of one view.
pub(super) fn state_of(view: &PlannedView, state: &[StateEntry]) -> String {
    let prefix = format!("{}/", view.name);
    let own: Vec<StateEntry> = state.iter().filter(|entry| entry.id.starts_with(&prefix)).cloned().collect();
    state_table(&own)
}

/// Pieces of state as an aligned table.
pub(super) fn state_table(state: &[StateEntry]) -> String {
    if state.is_empty() {
        return "no state\n".to_owned();
    }
    let head = ["state", "operator", "key", "bound"].map(str::to_owned);
    let rows = state.iter().map(|entry| {
        let bound = if entry.unbounded { "NONE: grows for ever".to_owned() } else { entry.bound.clone() };
        [entry.id.clone(), entry.operator.to_owned(), entry.key.clone(), bound]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        text.push_str(&row[3]);
        text.push('\n');
    }
    text
}

fn line(text: &mut String, depth: usize, content: &str) {
    let _ = writeln!(text, "{:indent$}{content}", "", indent = depth * 2);
}

fn write_node(text: &mut String, depth: usize, node: &Node, names: &Names) {
    line(text, depth, &describe(node, names));
    if let NodeKind::Recursion(recursion) = &node.kind {
        for binding in &recursion.bindings {
            let how = if binding.distinct { "each row once" } else { "rows counted" };
            line(text, depth + 1, &format!("Binding {} ({how})", binding.name));
            write_node(text, depth + 2, &binding.body, names);
        }
    }
    for input in node.inputs() {
        write_node(text, depth + 1, input, names);
    }
}

fn describe(node: &Node, names: &Names) -> String {
    let all = || node.schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
    match &node.kind {
        NodeKind::Scan { source, table, .. } => {
            let (source, tables) = &names.tables[*source];
            format!("Scan {source}.{} [{}]", tables[*table], all())
        }
        NodeKind::BlockRelation { id, .. } => format!("Relation {} [{}]", id.replace('/', "."), all()),
        NodeKind::DecodeEvent { event, .. } => format!("DecodeEvent {} [{}]", event.described(), all()),
        NodeKind::View { view, .. } => format!("View {} [{}]", names.views[*view], all()),
        NodeKind::Errors { view, .. } => format!("Errors of {} [{}]", names.views[*view], all()),
        NodeKind::Values { batch } => format!("Values {} [{}]", rows(batch.num_rows()), all()),
        NodeKind::LiveTable { name, .. } => format!("LiveTable {name} [{}]", all()),
        NodeKind::Filter { input, predicate } => format!("Filter {}", Sql(predicate, &input.schema)),
        NodeKind::Project { input, expressions } => {
            format!("Project {}", projected(&node.schema, expressions, &input.schema))
        }
        NodeKind::Window { input, time, window } => {
            let time = input.schema.field(*time).name();
            match window {
                Window::Tumble { size_ms } => format!("Window TUMBLE({time}, {})", duration(*size_ms)),
                Window::Hop { slide_ms, size_ms } => {
                    format!("Window HOP({time}, {}, {})", duration(*slide_ms), duration(*size_ms))
                }
                Window::Cumulate { step_ms, size_ms } => {
                    format!("Window CUMULATE({time}, {}, {})", duration(*step_ms), duration(*size_ms))
                }
            }
        }
        NodeKind::Union { .. } => "Union".to_owned(),
        NodeKind::Expand { copies, .. } => format!("Expand {} groupings", copies.len()),
        NodeKind::Multiset { id, operation, .. } => format!("{operation:?} {id}"),
        NodeKind::Over(over) => describe_over(over),
        NodeKind::Final { id, input, time } => format!("Final {id} at {}", input.schema.field(*time).name()),
        NodeKind::Variable { binding, .. } => format!("Variable {binding} [{}]", all()),
        NodeKind::Outer { input } => format!("Input {input} [{}]", all()),
        NodeKind::Recursion(recursion) => {
            let bindings: Vec<&str> = recursion.bindings.iter().map(|binding| binding.name.as_str()).collect();
            let (id, result) = (&recursion.id, bindings[recursion.result]);
            format!("Recursion {id} {result} of [{}] within {} rounds", bindings.join(", "), recursion.limit)
        }
        NodeKind::Session(session) => describe_session(session),
        NodeKind::Components { id, input, ends, hub_limit } => {
            let hubs = hub_limit.map(|limit| format!(", hubs beyond {limit} neighbours")).unwrap_or_default();
            format!("Components {id} of [{}]{hubs}", listed(&input.schema, ends))
        }
        NodeKind::Join(join) => describe_changing_join(join),
        NodeKind::AsofJoin(join) => describe_asof(join),
        NodeKind::Aggregate { .. } | NodeKind::BlockAggregate { .. } => describe_aggregate(node),
        NodeKind::TopK { .. } | NodeKind::TemporalFilter { .. } => describe_stateful(node),
        NodeKind::BroadcastJoin { .. } | NodeKind::LookupJoin { .. } => describe_join(node),
        NodeKind::Stories { .. }
        | NodeKind::Findings { .. }
        | NodeKind::Notifications { .. }
        | NodeKind::RateLimit { .. } => describe_alert(node),
    }
}

fn describe_alert(node: &Node) -> String {
    match &node.kind {
        NodeKind::Stories { id, input, alert } => {
            let Lifecycle { cool_after_ms, resolve_after_ms, .. } = alert.lifecycle;
            format!(
                "Stories {id} by [{}] cooling after {}, resolved after {}",
                listed(&input.schema, &alert.columns.group),
                duration(cool_after_ms),
                duration(resolve_after_ms)
            )
        }
        NodeKind::Findings { id, input, alert } => format!(
            "Findings {id} by [{}] for {}",
            listed(&input.schema, &alert.columns.finding),
            duration(alert.lifecycle.same_for_ms)
        ),
        NodeKind::Notifications { id, sink, alert, dispatch, .. } => {
            let kinds: Vec<&str> = dispatch.kinds.iter().map(|kind| kind.as_str()).collect();
            format!(
                "Notifications {id} of {} to {sink}: {} from {}",
                alert.name,
                kinds.join(", "),
                dispatch.min_severity
            )
        }
        NodeKind::RateLimit { id, limit, .. } => {
            format!("RateLimit {id} {} in {}", limit.count, duration(limit.period_ms))
        }
        _ => String::new(),
    }
}

fn describe_aggregate(node: &Node) -> String {
    match &node.kind {
        NodeKind::Aggregate { id, input, keys, calls, closing } => {
            let closing = closing.map(|position| format!(" final at {}", input.schema.field(keys[position]).name()));
            let parts = aggregate_parts(&input.schema, keys, calls);
            format!("Aggregate {id} {parts}{}", closing.unwrap_or_default())
        }
        NodeKind::BlockAggregate { input, keys, calls } => {
            format!("BlockAggregate {}", aggregate_parts(&input.schema, keys, calls))
        }
        _ => String::new(),
    }
}

fn describe_stateful(node: &Node) -> String {
    match &node.kind {
        NodeKind::TopK { id, input, partition, sort, limit, offset, closing, ranking, .. } => {
            let schema = &input.schema;
            let offset = if *offset == 0 { String::new() } else { format!(" after {offset}") };
            let by: Vec<String> = sort.iter().map(|key| sorted(schema, *key)).collect();
            let closing = closing.map(|position| format!(" final at {}", schema.field(partition[position]).name()));
            let closing = closing.unwrap_or_default();
            let counted = match (*limit, ranking) {
                (super::lower::ALL_ROWS, _) => "all rows".to_owned(),
                (limit, Ranking::RowNumber) => rows(limit),
                (limit, Ranking::Rank) => format!("ranks to {limit}"),
                (limit, Ranking::DenseRank) => format!("dense ranks to {limit}"),
            };
            format!(
                "TopK {id} {counted}{offset} for each [{}] by [{}]{closing}",
                listed(schema, partition),
                by.join(", ")
            )
        }
        NodeKind::TemporalFilter { id, input, valid_from, valid_until } => {
            let name = |column: &Option<usize>, word: &str| {
                column.map(|column| format!(" {word} {}", input.schema.field(column).name())).unwrap_or_default()
            };
            format!("TemporalFilter {id}{}{}", name(valid_from, "from"), name(valid_until, "until"))
        }
        _ => String::new(),
    }
}

fn describe_changing_join(join: &JoinNode) -> String {
    let (left, right) = (&join.left.schema, &join.right.schema);
    let pairs =
        join.keys.iter().map(|(key, other)| format!("{} = {}", left.field(*key).name(), right.field(*other).name()));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    let both: Vec<_> = left.fields().iter().chain(right.fields()).cloned().collect();
    let both = Schema::new(both);
    let condition = join.condition.as_ref().map(|condition| format!(" and {}", Sql(condition, &both)));
    let retain = match join.retain {
        Retain::Forever => String::new(),
        Retain::Block => " within a block".to_owned(),
        Retain::KeyTime(position) => format!(" final at {}", left.field(join.keys[position].0).name()),
    };
    format!("Join {} {:?} on [{pairs}]{}{retain}", join.id, join.kind, condition.unwrap_or_default())
}

fn describe_asof(join: &AsofJoinNode) -> String {
    let (left, right) = (&join.left.schema, &join.right.schema);
    let pairs =
        join.keys.iter().map(|(key, other)| format!("{} = {}", left.field(*key).name(), right.field(*other).name()));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    let operator = match join.condition {
        AsofCondition::AtOrBefore => ">=",
        AsofCondition::Before => ">",
        AsofCondition::AtOrAfter => "<=",
        AsofCondition::After => "<",
    };
    let kind = if join.outer { "Left" } else { "Inner" };
    let (time, other) = (left.field(join.times.0).name(), right.field(join.times.1).name());
    format!("AsofJoin {} {kind} on [{pairs}] where {time} {operator} {other}", join.id)
}

fn describe_over(over: &OverNode) -> String {
    let schema = &over.input.schema;
    let by: Vec<String> = over.sort.iter().map(|key| sorted(schema, *key)).collect();
    let calls: Vec<&str> = over.calls.iter().map(|call| call.name.as_str()).collect();
    let closing = over.closing.map(|position| format!(" final at {}", schema.field(over.partition[position]).name()));
    format!(
        "Over {} [{}] for each [{}] by [{}]{}",
        over.id,
        calls.join(", "),
        listed(schema, &over.partition),
        by.join(", "),
        closing.unwrap_or_default()
    )
}

fn describe_join(node: &Node) -> String {
    let kind = |join: &JoinKind| match join {
        JoinKind::Inner => "Inner",
        JoinKind::Left => "Left",
        JoinKind::Semi => "Semi",
        JoinKind::Anti => "Anti",
    };
    let pairs = |input: &Schema, input_keys: &[usize], table: &Schema, table_keys: &[usize]| {
        let pairs = input_keys.iter().zip(table_keys);
        let pairs = pairs.map(|(key, other)| format!("{} = {}", input.field(*key).name(), table.field(*other).name()));
        pairs.collect::<Vec<_>>().join(", ")
    };
    match &node.kind {
        NodeKind::BroadcastJoin { input, table, table_name, join, input_keys, table_keys, residual, .. } => {
            let kind = kind(join);
            let pairs = pairs(&input.schema, input_keys, table.schema_ref(), table_keys);
            let both: Vec<_> = input.schema.fields().iter().chain(table.schema_ref().fields()).cloned().collect();
            let both = Schema::new(both);
            let residual = residual.as_ref().map(|residual| format!(" and {}", Sql(residual, &both)));
            let residual = residual.unwrap_or_default();
            format!("BroadcastJoin {kind} {table_name} ({}) on [{pairs}]{residual}", rows(table.num_rows()))
        }
        NodeKind::LookupJoin { id, input, table, table_name, join, input_keys, table_keys, .. } => {
            let pairs = pairs(&input.schema, input_keys, &table.schema, table_keys);
            format!("LookupJoin {id} {} {table_name} on [{pairs}]", kind(join))
        }
        _ => String::new(),
    }
}

fn aggregate_parts(schema: &Schema, keys: &[usize], calls: &[AggregateCall]) -> String {
    format!("by [{}] [{}]", listed(schema, keys), call_parts(calls))
}

fn call_parts(calls: &[AggregateCall]) -> String {
    let calls: Vec<&str> = calls.iter().map(|call| call.field.name().as_str()).collect();
    calls.join(", ")
}

fn describe_session(session: &SessionNode) -> String {
    let (id, schema) = (&session.id, &session.input.schema);
    let (time, key, pause) =
        (schema.field(session.time).name(), listed(schema, &session.key), duration(session.gap_ms));
    let parts = format!("{id} of {time} for each [{key}], paused for {pause}");
    match &session.groups {
        None => format!("Session {parts}"),
        Some(groups) => format!("SessionAggregate {parts} [{}]", call_parts(&groups.calls)),
    }
}

/// A number of rows in words.
pub(super) fn rows(count: usize) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

fn sorted(schema: &Schema, key: SortKey) -> String {
    let direction = if key.descending { " DESC" } else { "" };
    // As PostgreSQL has it, NULL is the largest value: only the other way is worth saying.
    let nulls = match (key.descending, key.nulls_first) {
        (true, false) => " NULLS LAST",
        (false, true) => " NULLS FIRST",
        _ => "",
    };
    format!("{}{direction}{nulls}", schema.field(key.column).name())
}

fn projected(schema: &Schema, expressions: &[Arc<dyn PhysicalExpr>], input: &Schema) -> String {
    let parts = schema.fields().iter().zip(expressions).map(|(field, expression)| {
        let text = Sql(expression, input).to_string();
        if text == *field.name() { text } else { format!("{text} AS {}", field.name()) }
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn listed(schema: &Schema, columns: &[usize]) -> String {
    columns.iter().map(|column| schema.field(*column).name().as_str()).collect::<Vec<_>>().join(", ")
}

fn final_when(schema: &Schema, closing: ViewClosing) -> String {
    match closing.closing {
        Closing::Block(column) => format!("with the block {}", schema.field(column).name()),
        Closing::Time(column) if closing.offset_ms == 0 => format!("at {}", schema.field(column).name()),
        Closing::Time(column) => {
            format!("at {} + {}", schema.field(column).name(), duration(closing.offset_ms))
        }
    }
}

fn typed(field: &Field) -> String {
    let optional = if field.is_nullable() { "" } else { " NOT NULL" };
    format!("{} {}{optional}", field.name(), sql_type(field))
}
