//! The broadcast join against a nested loop.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{Delta, Diffs, Origin};
use highwater_engine::operator::{BatchOperator as _, Output};
use highwater_operators::broadcast_join::{BroadcastJoin, JoinColumn, JoinError, JoinKind};
use proptest::prelude::*;

type Side = Vec<(Option<i64>, Option<String>)>;

fn schema(prefix: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(format!("{prefix}_key"), DataType::Int64, true),
        Field::new(format!("{prefix}_text"), DataType::Utf8, true),
    ]))
}

fn batch(prefix: &str, rows: &Side) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(key, _)| *key).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, text)| text.clone()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(prefix), columns).expect("columns fit")
}

/// Input key, input text, table text, change.
type Joined = Vec<(Option<i64>, Option<String>, Option<String>, i64)>;

fn nested_loop(kind: JoinKind, left: &Side, right: &Side, diffs: &[i64]) -> Joined {
    let mut joined = Joined::new();
    for ((key, text), diff) in left.iter().zip(diffs) {
        let matches: Vec<_> = right.iter().filter(|(other, _)| key.is_some() && key == other).collect();
        match kind {
            JoinKind::Inner | JoinKind::LeftOuter => {
                joined.extend(matches.iter().map(|(_, other)| (*key, text.clone(), other.clone(), *diff)));
                if kind == JoinKind::LeftOuter && matches.is_empty() {
                    joined.push((*key, text.clone(), None, *diff));
                }
            }
            JoinKind::Semi if !matches.is_empty() => joined.push((*key, text.clone(), None, *diff)),
            JoinKind::Anti if matches.is_empty() => joined.push((*key, text.clone(), None, *diff)),
            _ => {}
        }
    }
    joined.sort();
    joined
}

fn read(output: &Output, with_table: bool) -> Joined {
    let mut joined = Joined::new();
    for delta in &output.deltas {
        assert_eq!(delta.origin, Origin::Block(7));
        let text = |column: usize, row: usize| {
            let column = delta.batch.column(column).as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let keys = delta.batch.column(0).as_primitive::<Int64Type>();
        for row in 0..delta.len() {
            let key = keys.is_valid(row).then(|| keys.value(row));
            let other = if with_table { text(2, row) } else { None };
            joined.push((key, text(1, row), other, delta.diffs.at(row)));
        }
    }
    joined.sort();
    joined
}

fn side(max: usize) -> impl Strategy<Value = Side> {
    prop::collection::vec((prop::option::weighted(0.8, 0..5_i64), prop::option::of("[ab]{0,2}")), 0..max)
}

proptest! {
    #[test]
    fn equals_a_nested_loop(left in side(20), right in side(8), uniform in any::<bool>(), sign in prop_oneof![Just(1), Just(-1)]) {
        let diffs: Vec<i64> =
            (0..left.len()).map(|row| if uniform || row % 2 == 0 { sign } else { -sign }).collect();
        for kind in [JoinKind::Inner, JoinKind::LeftOuter, JoinKind::Semi, JoinKind::Anti] {
            let with_table = matches!(kind, JoinKind::Inner | JoinKind::LeftOuter);
            let mut columns = vec![JoinColumn::Left(0), JoinColumn::Left(1)];
            columns.extend(with_table.then_some(JoinColumn::Right(1)));
            let mut join = BroadcastJoin::new(schema("left"), vec![0], batch("right", &right), &[0], kind, columns)
                .expect("a valid join");
            let mut delta = Delta::of_block(batch("left", &left), sign, 7);
            if !uniform {
                delta.diffs = Diffs::Rows(diffs.clone().into());
            }
            let mut output = Output::default();
            join.on_delta(delta, &mut output);
            prop_assert_eq!(read(&output, with_table), nested_loop(kind, &left, &right, &diffs));
        }
    }
}

#[test]
fn keys_must_have_one_type() {
    let columns = vec![JoinColumn::Left(0)];
    let table = batch("right", &vec![]);
    let join = BroadcastJoin::new(schema("left"), vec![0], table.clone(), &[1], JoinKind::Inner, columns.clone());
    assert!(matches!(join.err(), Some(JoinError::Keys { .. })));
    let join = BroadcastJoin::new(schema("left"), vec![0], table, &[0], JoinKind::Semi, vec![JoinColumn::Right(0)]);
    assert!(matches!(join.err(), Some(JoinError::TableColumn)));
}
