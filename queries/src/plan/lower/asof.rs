//! ASOF joins.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use highwater_operators::asof_join::{AsofClosing, AsofColumn};

use super::super::asof::AsofNode;
use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{Node, NodeKind};
use super::super::relational::AsofJoinNode;
use super::{Lower, Lowered, Lowerer};

impl Lowerer<'_> {
    pub(super) fn asof(&mut self, asof: &AsofNode) -> Lower<Lowered> {
        let left = self.lower(&asof.left)?;
        let right = self.lower(&asof.right)?;
        let (left_width, right_width) = (left.width(), right.width());
        let exprs: Vec<_> = asof.side(false).iter().collect();
        let (left, mut left_keys) = self.with_keys(left, &exprs, asof.left.schema(), "left_key")?;
        let exprs: Vec<_> = asof.side(true).iter().collect();
        let (right, right_keys) = self.with_keys(right, &exprs, asof.right.schema(), "right_key")?;
        let (right, mut right_keys) = self.as_types_of(&left, &left_keys, right, right_keys)?;
        let times = (left_keys.pop().unwrap_or_default(), right_keys.pop().unwrap_or_default());
        let moment = |side: &Lowered, column: usize| side.facts.columns.get(column).and_then(|facts| facts.time);
        let closing = moment(&left, times.0).zip(moment(&right, times.1));
        let closing = closing.map(|(one, other)| AsofClosing { left_ms: one.offset_ms, right_ms: other.offset_ms });
        let names: Vec<&str> = left_keys.iter().map(|key| left.field(*key).name().as_str()).collect();
        let key = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let bound = match closing {
            Some(_) if right_keys.iter().all(|key| right.facts.columns.get(*key).is_some_and(|facts| facts.finite)) => {
                Some("rows not final, and the newest final right row of each key".to_owned())
            }
            Some(_) => Some("rows not final, and the newest final right row of each key that ever came".to_owned()),
            None => {
                let both = left.facts.bound.clone().zip(right.facts.bound.clone());
                both.map(|(left, right)| format!("{left}, and {right}"))
            }
        };
        let id = self.id("asof");
        self.keep(&id, "join", key, bound, "join")?;
        let left_columns = (0..left_width).map(AsofColumn::Left);
        let output: Vec<AsofColumn> = left_columns.chain((0..right_width).map(AsofColumn::Right)).collect();
        let of_left = (0..left_width).map(|index| left.field(index).clone());
        let of_right = (0..right_width).map(|index| {
            let field = right.field(index);
            field.clone().with_nullable(field.is_nullable() || asof.outer)
        });
        let fields: Vec<Field> = of_left.chain(of_right).collect();
        let facts = asof_facts(&left, &right, left_width, right_width);
        let node = AsofJoinNode {
            id,
            left: left.node,
            right: right.node,
            keys: left_keys.into_iter().zip(right_keys).collect(),
            times,
            condition: asof.condition.into(),
            outer: asof.outer,
            closing,
            output,
        };
        let schema = Arc::new(Schema::new(fields));
        Ok(Lowered { node: Node { kind: NodeKind::AsofJoin(Box::new(node)), schema }, facts })
    }
}

/// A left row may meet another row until its time is final on both sides: nothing of the row itself says when.
fn asof_facts(left: &Lowered, right: &Lowered, left_width: usize, right_width: usize) -> Facts {
    let plain = |facts: &ColumnFacts| ColumnFacts { finite: facts.finite, ..ColumnFacts::default() };
    let of_left = left.facts.columns.iter().take(left_width).map(plain);
    let of_right = right.facts.columns.iter().take(right_width).map(plain);
    let key = left.facts.key.clone();
    Facts { columns: of_left.chain(of_right).collect(), bound: left.facts.bound.clone(), key, ..Facts::default() }
}
