//! Joins of a stream with a reference table that is read again while the job runs.
//!
//! A row of a block is joined with the table as it is when the block comes, so the stream's rows must go only
//! with their block: what an aggregate or a top-k says of many blocks has no such moment.

use datafusion_common::{DFSchema, JoinType, NullEquality};
use datafusion_expr::{Expr, Join, LogicalPlan};
use datafusion_physical_expr::expressions::cast;

use super::super::context::{Relation, RelationSource};
use super::super::facts::Facts;
use super::super::ir::{JoinKind, Node, NodeKind};
use super::super::relational::Retain;
use super::join::{has_table, joined_facts, joined_schema, output_schema, renamed, shown_columns, table_name};
use super::scalar::{Computed, column_of, keep_columns, project};
use super::{Lower, Lowered, Lowerer, ViewInfo, filter_node};
use crate::diagnostic::{Code, Diagnostic};

/// The two sides of a join, told apart.
pub(super) struct LookupSides<'p> {
    stream: &'p LogicalPlan,
    table: &'p LogicalPlan,
    kind: JoinKind,
    /// Pairs of key expressions: of the stream, of the table.
    keys: Vec<(&'p Expr, &'p Expr)>,
    /// Whether the table is written first.
    swapped: bool,
}

impl Lowerer<'_> {
    /// The sides of a join, if one of them is reloaded tables and the other is not constant.
    pub(super) fn lookup_sides<'p>(&self, join: &'p Join) -> Lower<Option<LookupSides<'p>>> {
        use JoinType as J;
        let swapped = match (self.reads_reloaded(&join.left), self.reads_reloaded(&join.right)) {
            (false, false) => return Ok(None),
            // Both change at any time.
            (true, true) => return Ok(None),
            (left, _) => left,
        };
        let (stream, table) = if swapped { (&join.right, &join.left) } else { (&join.left, &join.right) };
        if self.static_rows(stream)?.is_some() {
            return Ok(None);
        }
        let kind = match (join.join_type, swapped) {
            (J::Inner, _) => JoinKind::Inner,
            (J::Left, false) | (J::Right, true) => JoinKind::Left,
            (J::LeftSemi, false) | (J::RightSemi, true) => JoinKind::Semi,
            (J::LeftAnti, false) | (J::RightAnti, true) => JoinKind::Anti,
            _ => return Ok(None),
        };
        let keys = join.on.iter().map(|(left, right)| if swapped { (right, left) } else { (left, right) }).collect();
        Ok(Some(LookupSides { stream, table, kind, keys, swapped }))
    }

    pub(super) fn lookup_join(&mut self, join: &Join, sides: &LookupSides<'_>) -> Lower<Lowered> {
        let name = table_name(sides.table);
        let stream = self.lower(sides.stream)?;
        let of_blocks = stream.facts.linear || goes_with_block(&stream.node, self.views);
        let table = self.lower(sides.table)?;
        if !of_blocks {
            // Rows that later blocks change have no moment to be joined at: they follow the table.
            let (left, right) = if sides.swapped { (table, stream) } else { (stream, table) };
            return self.join_of_lowered(join, left, right);
        }
        let (width, table_width) = (stream.width(), table.width());
        let exprs: Vec<&Expr> = sides.keys.iter().map(|(key, _)| *key).collect();
        let (stream, input_keys) = self.with_keys(stream, &exprs, sides.stream.schema(), "input_key")?;
        let exprs: Vec<&Expr> = sides.keys.iter().map(|(_, key)| *key).collect();
        let (table, table_keys) = self.with_keys(table, &exprs, sides.table.schema(), "table_key")?;
        let (table, table_keys) = self.as_types_of(&stream, &input_keys, table, table_keys)?;
        let nullable = |side: &Lowered, keys: &[usize]| keys.iter().any(|key| side.field(*key).is_nullable());
        if join.null_aware && (nullable(&stream, &input_keys) || nullable(&table, &table_keys)) {
            return Err(self.null_in_list(&name));
        }
        let bound = joined_schema(&stream, sides.stream.schema(), table.schema(), sides.table.schema());
        let bound = bound.map_err(|error| self.place.diagnose(&error))?;
        let residual = join.filter.as_ref().map(|filter| self.physical(filter, &bound)).transpose()?;
        if residual.is_some() && sides.kind != JoinKind::Inner {
            return Err(self.further_condition(&name));
        }
        let names: Vec<&str> = input_keys.iter().map(|key| stream.field(*key).name().as_str()).collect();
        let key = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let id = self.id("lookup-join");
        let state = format!("the rows of {name}, and those that blocks not final were joined with");
        self.keep(&id, "lookup-join", key, Some(state), "join")?;
        let table_width = if has_table(sides.kind) { table_width } else { 0 };
        let shown = shown_columns(width, stream.schema().fields().len(), table_width, sides.swapped);
        let facts = lookup_facts(&stream, &table, sides.kind);
        let schema = output_schema(&stream, table.schema(), sides.kind);
        let kind = NodeKind::LookupJoin {
            id,
            input: Box::new(stream.node),
            table: Box::new(table.node),
            table_name: name,
            join: sides.kind,
            input_keys,
            table_keys,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
        };
        let mut node = Node { kind, schema };
        if let Some(residual) = residual {
            node = filter_node(node, residual);
        }
        Ok(renamed(Lowered { node, facts }, shown, &join.schema))
    }

    /// A side with its computed keys behind its columns, and where the keys are.
    pub(super) fn with_keys(
        &self,
        side: Lowered,
        keys: &[&Expr],
        schema: &DFSchema,
        name: &str,
    ) -> Lower<(Lowered, Vec<usize>)> {
        let width = side.schema().fields().len();
        let mut columns = keep_columns(&side, 0..width);
        let mut places = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            match column_of(key, schema) {
                Some(column) => places.push(column),
                None => {
                    let computed = self.computed(key, schema, &side.facts)?;
                    let field = computed.field.clone().with_name(format!("{name}_{index}"));
                    places.push(columns.len());
                    columns.push(Computed { field, ..computed });
                }
            }
        }
        let side = if columns.len() > width { project(side, columns) } else { side };
        Ok((side, places))
    }

    /// The table with keys of the types of the stream's keys.
    pub(super) fn as_types_of(
        &self,
        stream: &Lowered,
        input_keys: &[usize],
        table: Lowered,
        mut table_keys: Vec<usize>,
    ) -> Lower<(Lowered, Vec<usize>)> {
        let width = table.schema().fields().len();
        let mut columns = keep_columns(&table, 0..width);
        for (index, (input_key, table_key)) in input_keys.iter().zip(&mut table_keys).enumerate() {
            let wanted = stream.field(*input_key).data_type();
            if table.field(*table_key).data_type() == wanted {
                continue;
            }
            let [column] = <[Computed; 1]>::try_from(keep_columns(&table, [*table_key]))
                .unwrap_or_else(|_| unreachable!("one column was asked for"));
            let expression = cast(column.expression, table.schema(), wanted.clone());
            let expression = expression.map_err(|error| self.place.diagnose(&error))?;
            let field = column.field.with_name(format!("table_key_as_{index}")).with_data_type(wanted.clone());
            *table_key = columns.len();
            columns.push(Computed { expression, field, from: None, ..column });
        }
        let table = if columns.len() > width { project(table, columns) } else { table };
        Ok((table, table_keys))
    }

    /// Whether all that a plan reads is reference tables, one of them reloaded.
    fn reads_reloaded(&self, plan: &LogicalPlan) -> bool {
        let mut reloaded = false;
        self.only_tables(plan, &mut reloaded) && reloaded
    }

    fn only_tables(&self, plan: &LogicalPlan, reloaded: &mut bool) -> bool {
        if let LogicalPlan::TableScan(scan) = plan {
            let Some(source) = scan.source.downcast_ref::<RelationSource>() else { return false };
            return match &source.relation {
                Relation::Reference(_) => true,
                Relation::Reloaded(_) | Relation::Watermarked(..) => {
                    *reloaded = true;
                    true
                }
                Relation::View(view) if self.views[*view].of_tables => {
                    *reloaded = true;
                    true
                }
                _ => false,
            };
        }
        plan.inputs().into_iter().all(|input| self.only_tables(input, reloaded))
    }

    fn further_condition(&self, table: &str) -> Diagnostic {
        let message = format!("this join with \"{table}\", which is reloaded, has a condition beyond equal keys");
        Diagnostic::new(Code::UnsupportedJoin, message, self.join_place())
            .with_hint("only JOIN may have further conditions: put them into WHERE, or leave out \"reload\"")
    }

    fn null_in_list(&self, table: &str) -> Diagnostic {
        let message = format!("NOT IN with \"{table}\", which is reloaded, needs sides that are never NULL");
        Diagnostic::new(Code::UnsupportedJoin, message, self.join_place())
            .with_hint("write NOT EXISTS (SELECT 1 FROM table WHERE …): a NULL is in no list there")
    }
}

/// What is known of the joined rows: keys meet at a worker, so the rows of a block are spread.
fn lookup_facts(stream: &Lowered, table: &Lowered, kind: JoinKind) -> Facts {
    let mut facts = Facts { block_local: false, ..joined_facts(stream, table.schema(), kind) };
    // How many rows of the table have one key may change.
    facts.key = facts.key.filter(|_| !has_table(kind));
    facts
}

/// Whether the rows of a node go only with their block, a view in between or not.
fn goes_with_block(node: &Node, views: &[ViewInfo]) -> bool {
    match &node.kind {
        NodeKind::Scan { .. } | NodeKind::BlockRelation { .. } => true,
        NodeKind::View { view, .. } => views[*view].facts.linear,
        NodeKind::Join(join) => join.retain == Retain::Block,
        NodeKind::Filter { input, .. }
        | NodeKind::Project { input, .. }
        | NodeKind::Window { input, .. }
        | NodeKind::BroadcastJoin { input, .. }
        | NodeKind::LookupJoin { input, .. } => goes_with_block(input, views),
        NodeKind::Union { inputs } => inputs.iter().all(|input| goes_with_block(input, views)),
        _ => false,
    }
}

/// Whether the rows of a node come from reloaded tables and nothing else but constants.
pub(in super::super) fn of_tables(node: &Node, views: &[ViewInfo]) -> bool {
    fn only(node: &Node, views: &[ViewInfo], reloaded: &mut bool) -> bool {
        match &node.kind {
            NodeKind::LiveTable { .. } => *reloaded = true,
            NodeKind::Values { .. } => {}
            NodeKind::View { view, .. } if views[*view].of_tables => *reloaded = true,
            NodeKind::Scan { .. } | NodeKind::View { .. } | NodeKind::Errors { .. } => return false,
            _ => {}
        }
        node.inputs().into_iter().all(|input| only(input, views, reloaded))
    }
    let mut reloaded = false;
    only(node, views, &mut reloaded) && reloaded
}
