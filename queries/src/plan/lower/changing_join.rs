//! Joins of relations that both may change.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator};

use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{Node, NodeKind};
use super::super::relational::{ChangingJoin, JoinColumn, JoinNode, Retain};
use super::join::joined_schema;
use super::scalar::{Computed, keep_columns, moved, project};
use super::{Lower, Lowered, Lowerer};
use crate::diagnostic::{Code, Diagnostic};

/// A side with its keys.
struct Side<'p> {
    lowered: Lowered,
    schema: &'p DFSchema,
    /// How many columns the logical plan has.
    width: usize,
    keys: Vec<usize>,
}

/// Expressions that must be equal: of the left side, of the right.
type Pairs<'e> = Vec<(&'e Expr, &'e Expr)>;

/// What bounds the rows that a join keeps.
struct Retained {
    retain: Retain,
    bound: Option<String>,
}

impl Lowerer<'_> {
    pub(super) fn changing_join(&mut self, join: &Join) -> Lower<Lowered> {
        let left = self.lower(&join.left)?;
        let right = self.lower(&join.right)?;
        self.join_of_lowered(join, left, right)
    }

    /// A join whose sides are lowered already.
    pub(super) fn join_of_lowered(&mut self, join: &Join, left: Lowered, right: Lowered) -> Lower<Lowered> {
        let (kind, swapped) = kind_of(join);
        let pairs = join.on.iter().map(|(left, right)| if swapped { (right, left) } else { (left, right) });
        let (mut keys, mut filter) = (pairs.collect::<Vec<_>>(), join.filter.clone());
        let plans = if swapped { [&join.right, &join.left] } else { [&join.left, &join.right] };
        let [first, second] = if swapped { [right, left] } else { [left, right] };
        let mut kind = kind;
        if kind == ChangingJoin::NullAwareAnti && (keys.len() != 1 || filter.is_some()) {
            (keys, filter) = self.not_in_of_some(keys, filter)?;
            kind = ChangingJoin::LeftAnti;
        }
        let exprs: Vec<&Expr> = keys.iter().map(|(key, _)| *key).collect();
        let mut left = self.side(first, plans[0], &exprs, "left_key")?;
        let exprs: Vec<&Expr> = keys.iter().map(|(_, key)| *key).collect();
        let mut right = self.side(second, plans[1], &exprs, "right_key")?;
        (right.lowered, right.keys) = self.as_types_of(&left.lowered, &left.keys, right.lowered, right.keys)?;
        let retained = self.retained(&mut left, &mut right, &keys)?;
        let bound = joined_schema(&left.lowered, left.schema, right.lowered.schema(), right.schema);
        let bound = bound.map_err(|error| self.place.diagnose(&error))?;
        let condition = filter.as_ref().map(|filter| self.physical(filter, &bound)).transpose()?;
        let output = output(kind, &left, &right, swapped, join);
        let mut facts = joined(kind, &left, &right, &output, &retained);
        // A column that only carries the number of rows is none of the plan.
        facts.columns.truncate(join.schema.fields().len());
        let id = self.id("join");
        let names: Vec<&str> = left.keys.iter().map(|key| left.lowered.field(*key).name().as_str()).collect();
        let key = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        self.keep(&id, "join", key, retained.bound, "join")?;
        let schema = joined_fields(kind, &left, &right, &output);
        let keys = left.keys.iter().copied().zip(right.keys.iter().copied()).collect();
        let node = JoinNode {
            id,
            left: left.lowered.node,
            right: right.lowered.node,
            kind,
            keys,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            condition,
            retain: retained.retain,
            output,
        };
        Ok(Lowered { node: Node { kind: NodeKind::Join(Box::new(node)), schema }, facts })
    }

    /// `x NOT IN (…)` where the list depends on the row: there is no match, and nothing that might be one.
    fn not_in_of_some<'e>(&self, mut keys: Pairs<'e>, filter: Option<Expr>) -> Lower<(Pairs<'e>, Option<Expr>)> {
        if keys.is_empty() {
            return Err(self
                .unsupported("this NOT IN", "in")
                .with_hint("write NOT EXISTS (SELECT 1 FROM … WHERE …): a NULL is in no list there"));
        }
        let (value, element) = keys.remove(0);
        let may_equal =
            Expr::BinaryExpr(BinaryExpr::new(Box::new(value.clone()), Operator::Eq, Box::new(element.clone())))
                .is_not_false();
        let filter = match filter {
            Some(filter) => may_equal.and(filter),
            None => may_equal,
        };
        Ok((keys, Some(filter)))
    }

    fn side<'p>(&self, lowered: Lowered, plan: &'p LogicalPlan, keys: &[&Expr], name: &str) -> Lower<Side<'p>> {
        let (width, schema) = (lowered.width(), plan.schema().as_ref());
        let (lowered, keys) = self.with_keys(lowered, keys, schema, name)?;
        let (lowered, keys) = with_one_zero(lowered, keys);
        Ok(Side { lowered, schema, width, keys })
    }

    /// How long the rows of a join are kept; may add the instant at which a key is final to the keys.
    fn retained(&self, left: &mut Side<'_>, right: &mut Side<'_>, exprs: &[(&Expr, &Expr)]) -> Lower<Retained> {
        let fact =
            |side: &Side<'_>, key: usize| side.lowered.facts.columns.get(side.keys[key]).cloned().unwrap_or_default();
        let pairs: Vec<(ColumnFacts, ColumnFacts)> =
            (0..left.keys.len()).map(|key| (fact(left, key), fact(right, key))).collect();
        let linear = left.lowered.facts.linear && right.lowered.facts.linear;
        if linear && pairs.iter().any(|(left, right)| left.block && right.block) {
            let bound = Some("blocks that are not final".to_owned());
            return Ok(Retained { retain: Retain::Block, bound });
        }
        let timed = pairs
            .iter()
            .enumerate()
            .filter_map(|(key, (left, right))| Some((left.time?.offset_ms.max(right.time?.offset_ms), key)));
        if let Some((offset_ms, key)) = timed.min() {
            let name = left.lowered.field(left.keys[key]).name().clone();
            let later = if offset_ms == 0 { String::new() } else { format!(" + {}", super::duration(offset_ms)) };
            let plain = offset_ms == 0 && super::scalar::is_time(left.lowered.field(left.keys[key]).data_type());
            let position = if plain {
                key
            } else {
                self.add_instant(left, exprs[key].0, offset_ms)?;
                self.add_instant(right, exprs[key].1, offset_ms)?;
                left.keys.len() - 1
            };
            let bound = Some(format!("rows until {name}{later} is final"));
            return Ok(Retained { retain: Retain::KeyTime(position), bound });
        }
        let bound = left.lowered.facts.bound.clone().zip(right.lowered.facts.bound.clone());
        let bound = bound.map(|(left, right)| if left == right { left } else { format!("{left}, and {right}") });
        Ok(Retained { retain: Retain::Forever, bound })
    }

    fn add_instant(&self, side: &mut Side<'_>, expr: &Expr, offset_ms: i64) -> Lower<()> {
        let instant = self.computed(&moved(expr.clone(), offset_ms, side.schema), side.schema, &side.lowered.facts)?;
        let field = instant.field.clone().with_name("final_at");
        let mut columns = keep_columns(&side.lowered, 0..side.lowered.schema().fields().len());
        side.keys.push(columns.len());
        columns.push(Computed { field, ..instant });
        side.lowered = project(side.lowered.clone(), columns);
        Ok(())
    }

    /// What to say of a join that keeps rows for ever.
    pub(super) fn unbounded_join(&self) -> Diagnostic {
        Diagnostic::new(
            Code::UnboundedState,
            "this join would keep all rows of both sides for ever",
            self.join_place(),
        )
        .with_hint(
            "join on the block or on the window of both sides, or add WHERE block_timestamp > now() - INTERVAL '1 hour'",
        )
        .with_note("state without bound must be asked for: WITH (unbounded = 'yes')")
    }
}

/// The kind of join in the words of the operator, and whether its sides change places.
fn kind_of(join: &Join) -> (ChangingJoin, bool) {
    use JoinType as J;
    match join.join_type {
        J::Inner => (ChangingJoin::Inner, false),
        J::Left => (ChangingJoin::Left, false),
        J::Right => (ChangingJoin::Right, false),
        J::Full => (ChangingJoin::Full, false),
        J::LeftSemi => (ChangingJoin::LeftSemi, false),
        J::LeftAnti if join.null_aware => (ChangingJoin::NullAwareAnti, false),
        J::LeftAnti => (ChangingJoin::LeftAnti, false),
        J::LeftMark => (ChangingJoin::LeftMark, false),
        J::RightSemi => (ChangingJoin::LeftSemi, true),
        J::RightAnti => (ChangingJoin::LeftAnti, true),
        J::RightMark => (ChangingJoin::LeftMark, true),
    }
}

fn shows_pairs(kind: ChangingJoin) -> bool {
    matches!(kind, ChangingJoin::Inner | ChangingJoin::Left | ChangingJoin::Right | ChangingJoin::Full)
}

/// The columns of the logical join, in its order.
fn output(kind: ChangingJoin, left: &Side<'_>, right: &Side<'_>, swapped: bool, join: &Join) -> Vec<JoinColumn> {
    let mut output: Vec<JoinColumn> = (0..left.width).map(JoinColumn::Left).collect();
    if kind == ChangingJoin::LeftMark {
        output.push(JoinColumn::Mark);
    }
    if shows_pairs(kind) {
        let right = (0..right.width).map(JoinColumn::Right);
        output = if swapped { right.chain(output).collect() } else { output.into_iter().chain(right).collect() };
    }
    if output.is_empty() && join.schema.fields().is_empty() {
        // Nothing is asked for but the number of rows: any column carries it.
        output.push(JoinColumn::Left(0));
    }
    output
}

/// The fields as the operator gives them.
fn joined_fields(kind: ChangingJoin, left: &Side<'_>, right: &Side<'_>, output: &[JoinColumn]) -> SchemaRef {
    let optional = |of_left: bool| match kind {
        ChangingJoin::Left => !of_left,
        ChangingJoin::Right => of_left,
        ChangingJoin::Full => true,
        _ => false,
    };
    let fields = output.iter().map(|column| match column {
        JoinColumn::Left(index) => nullable(left.lowered.field(*index), optional(true)),
        JoinColumn::Right(index) => nullable(right.lowered.field(*index), optional(false)),
        JoinColumn::Mark => Field::new("mark", DataType::Boolean, false),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn nullable(field: &Field, optional: bool) -> Field {
    let nullable = field.is_nullable() || optional;
    field.clone().with_nullable(nullable)
}

/// What is known of the rows of a join.
fn joined(kind: ChangingJoin, left: &Side<'_>, right: &Side<'_>, output: &[JoinColumn], retained: &Retained) -> Facts {
    let offset = |side: &Side<'_>, key: usize| side.lowered.facts.columns.get(side.keys[key])?.time;
    let known = |side: &Side<'_>, index: usize, optional: bool| {
        let facts = side.lowered.facts.columns.get(index).cloned().unwrap_or_default();
        let facts = ColumnFacts { block: facts.block && !optional, ..facts };
        let key = side.keys.iter().position(|key| *key == index);
        let time = match (retained.retain, key) {
            _ if optional => None,
            (Retain::Block, _) => facts.time,
            // A pair is final once the later of its sides is.
            (Retain::KeyTime(_), Some(key)) => offset(left, key).zip(offset(right, key)).map(|(one, other)| {
                let step_ms = if one.step_ms == other.step_ms { one.step_ms } else { 1 };
                super::super::facts::Moment { offset_ms: one.offset_ms.max(other.offset_ms), step_ms }
            }),
            _ => None,
        };
        let number = facts.number.filter(|_| retained.retain == Retain::Block && !optional);
        ColumnFacts { time, number, ..facts }
    };
    let (left_optional, right_optional) = match kind {
        ChangingJoin::Left => (false, true),
        ChangingJoin::Right => (true, false),
        ChangingJoin::Full => (true, true),
        _ => (false, false),
    };
    let columns = output.iter().map(|column| match column {
        JoinColumn::Left(index) => known(left, *index, left_optional),
        JoinColumn::Right(index) => known(right, *index, right_optional),
        JoinColumn::Mark => ColumnFacts { finite: true, ..ColumnFacts::default() },
    });
    let columns: Vec<ColumnFacts> = columns.take(output.len()).collect();
    let place = |wanted: JoinColumn| output.iter().position(|column| *column == wanted);
    let left_key = left.lowered.facts.key.as_ref();
    let left_key: Option<Vec<usize>> =
        left_key.and_then(|key| key.iter().map(|column| place(JoinColumn::Left(*column))).collect());
    let right_key = right.lowered.facts.key.as_ref();
    let right_key: Option<Vec<usize>> =
        right_key.and_then(|key| key.iter().map(|column| place(JoinColumn::Right(*column))).collect());
    let single =
        right.lowered.facts.key.as_ref().is_some_and(|key| key.iter().all(|column| right.keys.contains(column)));
    let key = match kind {
        ChangingJoin::Inner | ChangingJoin::Left if single => left_key,
        ChangingJoin::Inner => left_key.zip(right_key).map(|(left, right)| [left, right].concat()),
        kind if shows_pairs(kind) => None,
        _ => left_key,
    };
    let bound = left.lowered.facts.bound.clone();
    let bound = if shows_pairs(kind) {
        bound.zip(right.lowered.facts.bound.clone()).map(|(left, right)| format!("{left}, and {right}"))
    } else {
        bound
    };
    Facts { columns, linear: retained.retain == Retain::Block, block_local: false, bound, key, order: Vec::new() }
}

/// Float keys with one zero: `-0.0` and `0.0` are equal but not the same bytes.
fn with_one_zero(side: Lowered, mut keys: Vec<usize>) -> (Lowered, Vec<usize>) {
    let is_float = |key: &usize| side.field(*key).data_type().is_floating();
    if !keys.iter().any(is_float) {
        return (side, keys);
    }
    let mut columns = keep_columns(&side, 0..side.schema().fields().len());
    for key in &mut keys {
        let field = side.field(*key).clone();
        let zero = match field.data_type() {
            DataType::Float64 => ScalarValue::Float64(Some(0.0)),
            DataType::Float32 => ScalarValue::Float32(Some(0.0)),
            _ => continue,
        };
        let column: Arc<dyn datafusion_physical_expr::PhysicalExpr> =
            Arc::new(datafusion_physical_expr::expressions::Column::new(field.name(), *key));
        let zero = Arc::new(datafusion_physical_expr::expressions::Literal::new(zero));
        let sum = datafusion_physical_expr::expressions::BinaryExpr::new(column, Operator::Plus, zero);
        let field = field.with_name(format!("key_{key}"));
        *key = columns.len();
        columns.push(Computed { expression: Arc::new(sum), field, facts: ColumnFacts::default(), from: None });
    }
    (project(side, columns), keys)
}
