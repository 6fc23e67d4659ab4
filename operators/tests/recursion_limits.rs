//! Recursion: where it begins, how far it goes, what it refuses.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod recursion_bodies;
#[path = "reference/recursion.rs"]
#[allow(dead_code, reason = "for the other tests of recursion")]
mod reference;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, TablesOperator as _};
use highwater_operators::recursion::{Binding, Body, Recursion, RecursionError, RecursionSpec};
use recursion_bodies::*;
use reference::{Cell, Row};

fn progress(tick: u64) -> Progress {
    let head = BlockRef { number: tick, hash: BlockHash([0; 32]), parent: BlockHash([0; 32]), timestamp_ms: 0 };
    Progress::at(tick, &head)
}

fn rows(rows: &[&[u64]]) -> Vec<Row> {
    rows.iter().map(|row| row.iter().map(|value| int(*value)).collect()).collect()
}

/// `n AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < last)`.
fn counting(last: i64) -> Vec<Binding> {
    let next = change(|row: &Row| match row[0] {
        Cell::Int(value) => Ok(vec![Cell::Int(value + 1)]),
        _ => Err("no number".to_owned()),
    });
    let step = with(with(Body::Variable(0), filter(move |row| row[0] < Cell::Int(last)), 1), next, 1);
    vec![binding("n", 1, false, Body::Union(vec![Body::Values(write(&rows(&[&[1]]))), step]))]
}

/// A binding reads those before it as they are in the same round: two bindings need no more rounds than one.
#[test]
fn bindings_follow_each_other_within_a_round() {
    let mut bindings = counting(5);
    let Body::Union(parts) = &mut bindings[0].body else { panic!("a union") };
    let next = std::mem::replace(&mut parts[1], Body::Variable(1));
    bindings[0].distinct = true;
    bindings.push(binding("next", 1, false, next));
    for (limit, ends) in [(4, true), (3, false)] {
        let spec = RecursionSpec { result: 0, ..spec(bindings.clone(), limit) };
        let mut workers = Workers::new(&spec, 1);
        workers.tick(vec![Vec::new(), Vec::new()], &progress(1));
        assert_eq!(workers.failure.is_none(), ends, "{limit} rounds: {:?}", workers.failure);
        assert_eq!(workers.rows.len(), if ends { 5 } else { 0 });
    }
}

/// Without any input the rows are there from the first tick on, once.
#[test]
fn counting_needs_no_input() {
    let mut workers = Workers::new(&spec(counting(5), 5), 2);
    for tick in 1..4 {
        workers.tick(vec![Vec::new(), Vec::new()], &progress(tick));
        assert_eq!(workers.rows, bag(rows(&[&[1], &[2], &[3], &[4], &[5]])));
        workers.restart(3);
    }
}

#[test]
fn a_limit_is_as_many_rounds_as_are_needed() {
    let run = |limit: u64| {
        let mut workers = Workers::new(&spec(counting(5), limit), 1);
        workers.tick(vec![Vec::new(), Vec::new()], &progress(1));
        (workers.failure.clone(), workers)
    };
    assert_eq!(run(5).0, None);
    let (failure, mut workers) = run(4);
    assert_eq!(failure.as_deref(), Some("recursion \"n\" did not come to an end after 4 rounds"));
    assert!(workers.rows.is_empty(), "nothing is told that is not true");
    workers.failure = None;
    workers.tick(vec![vec![Delta::derived(write(&rows(&[&[1, 2]])), vec![1])], Vec::new()], &progress(2));
    assert!(workers.failure.is_some(), "it stays so");
}

/// One that never ends says so as soon as one that would end late.
#[test]
fn what_never_ends_is_stopped() {
    let mut workers = Workers::new(&spec(counting(i64::MAX), 200), 1);
    workers.tick(vec![Vec::new(), Vec::new()], &progress(1));
    assert!(workers.failure.is_some());
}

/// A cycle that came with a block is no longer an obstacle when the block is gone.
#[test]
fn a_path_that_is_gone_needs_no_rounds() {
    let mut workers = Workers::new(&spec(closure(true), 4), 1);
    let path = rows(&[&[1, 2], &[2, 3], &[3, 4]]);
    workers.tick(vec![vec![Delta::of_block(write(&path), 1, 1)], Vec::new()], &progress(1));
    assert_eq!(workers.rows.len(), 6);
    workers.tick(vec![vec![Delta::of_block(write(&path), -1, 1)], Vec::new()], &progress(2));
    assert!(workers.rows.is_empty() && workers.failure.is_none());
    assert_eq!(workers.workers[0].size().entries, 0);
    assert_eq!(workers.workers[0].routes(), vec![Route::First, Route::First]);
}

/// The rows of all rounds are counted, those of the tick before they are merged too; what has come and gone is not.
#[test]
fn the_size_is_that_of_the_rounds() {
    let path: Vec<Row> = (0..50_u64).map(|node| vec![int(node), int(node + 1)]).collect();
    let reached = 50 * 51 / 2;
    let mut workers = Workers::new(&spec(closure(true), 60), 1);
    let mut sizes = Vec::new();
    for tick in 0..40 {
        let diff = if tick % 2 == 0 { 1 } else { -1 };
        workers.tick(vec![vec![Delta::of_block(write(&path), diff, 1)], Vec::new()], &progress(tick + 1));
        assert_eq!(workers.rows.len(), if diff == 1 { reached } else { 0 });
        sizes.push(workers.workers[0].size().bytes);
    }
    // Each pair is in the result, by itself and by its end; in three words a row at the least.
    assert!(sizes[0] > 2 * 24 * reached, "{sizes:?}");
    assert!(sizes[0] < 1_000 * reached, "{sizes:?}");
    // An arrangement may put off merging what cancels, but not for ever.
    assert!(sizes.iter().all(|size| *size < 2 * sizes[0]), "{sizes:?}");
}

/// A few rows that become many within one tick end the job, not the process.
#[test]
fn a_limit_holds_within_a_tick() {
    let path: Vec<Row> = (0..1_000_u64).map(|node| vec![int(node), int(node + 1)]).collect();
    let recursion = Recursion::new("view", spec(closure(true), 2_000)).unwrap();
    let mut recursion = recursion.with_state_limit(Some(4 << 20));
    let mut output = Output::default();
    recursion.on_tick(vec![vec![Delta::of_block(write(&path), 1, 1)], Vec::new()], &progress(1), &mut output);
    let reason = output.failure.expect("half a million pairs take more");
    assert!(reason.contains("4 MB") && reason.contains("state.limit_mb"), "{reason}");
    assert!(output.deltas.is_empty());
}

#[test]
fn what_cannot_run_is_refused() {
    let refused = |bindings: Vec<Binding>| Recursion::new("view", spec(bindings, 10)).err().unwrap();
    let missing = binding("a", 2, true, Body::Input(2));
    assert!(matches!(refused(vec![missing]), RecursionError::Missing { what: "relation", index: 2, count: 2 }));
    let column = binding("a", 1, true, project(Body::Input(0), &[2]));
    assert!(matches!(refused(vec![column]), RecursionError::Missing { what: "column", .. }));
    let types = binding("a", 1, true, Body::Input(0));
    assert_eq!(refused(vec![types]).to_string(), "the definition of \"a\" has the columns (Int64, Int64), not (Int64)");
    assert!(matches!(refused(vec![binding("a", 1, true, Body::Union(Vec::new()))]), RecursionError::EmptyUnion));
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("list", list, true)]));
    let body = Body::Input(0);
    let lists = Binding { name: "a".to_owned(), schema: schema.clone(), body, distinct: true };
    let spec = RecursionSpec { inputs: vec![schema], bindings: vec![lists], result: 0, limit: 10 };
    assert!(matches!(Recursion::new("view", spec), Err(RecursionError::ColumnType { .. })));
}

/// A state of other columns is not taken for one of these.
#[test]
fn a_state_of_another_shape_is_refused() {
    let mut workers = Workers::new(&spec(closure(true), 10), 1);
    workers.tick(vec![vec![Delta::derived(write(&rows(&[&[1, 2]])), vec![1])], Vec::new()], &progress(1));
    let state = workers.workers[0].save().unwrap();
    let other = RecursionSpec { inputs: vec![texts(2)], ..spec(components(texts), 10) };
    let mut other = Recursion::new("view", other).unwrap();
    assert!(other.load(&state, Share::ALL).is_err());
}
