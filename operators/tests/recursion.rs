//! Recursion against its definition, over random histories of a chain and of a second relation: reorgs,
//! ticks of several blocks, restarts into any number of workers, at every tick.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;
mod recursion_bodies;
#[path = "reference/recursion.rs"]
mod reference;

use arrow::datatypes::SchemaRef;
use harness::{History, Random, Shape};
use highwater_engine::model::Delta;
use highwater_operators::aggregate::AggregateFunction;
use highwater_operators::broadcast_join::JoinKind;
use highwater_operators::recursion::{Binding, Body, RecursionSpec, RecursiveJoin};
use proptest::prelude::*;
use recursion_bodies::*;
use reference::{Cell, Row, evaluate};

/// A relation that rows come into and go from.
#[derive(Default)]
struct Table(Vec<Row>);

impl Table {
    fn change(&mut self, random: &mut Random, schema: &SchemaRef, row: fn(&mut Random) -> Row) -> Vec<Delta> {
        let (mut changed, mut diffs) = (Vec::new(), Vec::new());
        for _ in 0..random.index(3) {
            if !self.0.is_empty() {
                changed.push(self.0.swap_remove(random.index(self.0.len())));
                diffs.push(-1);
            }
        }
        for _ in 0..random.index(3) {
            let row = row(random);
            self.0.push(row.clone());
            changed.push(row);
            diffs.push(1);
        }
        if changed.is_empty() { Vec::new() } else { vec![Delta::derived(write_as(schema, &changed), diffs)] }
    }
}

/// Every tick of a history; gives whether it ended with a failure, as the definition says it must.
fn check(shape: Shape, spec: &RecursionSpec, row: fn(&mut Random) -> Row) -> bool {
    let (mut random, schema) = (Random::new(shape.seed ^ 3), spec.inputs[0].clone());
    let block = |random: &mut Random, _, _| {
        let rows: Vec<Row> = (0..random.index(4)).map(|_| row(random)).collect();
        write_as(&schema, &rows)
    };
    let mut history = History::new(shape, schema.clone(), block);
    let (mut workers, mut table) = (Workers::new(spec, random.pick(&[1, 2, 4])), Table::default());
    for tick in 0..shape.ticks {
        let step = history.step(tick + 1 == shape.ticks);
        let changes = table.change(&mut random, &schema, row);
        workers.tick(vec![step.deltas, changes], &step.progress);
        let given = [bag(read(&history.accumulated())), bag(table.0.iter().cloned())];
        let what = || format!("tick {tick} over {given:?} of {:?}", spec.bindings);
        match evaluate(spec, &given, &BATCHES) {
            None => {
                assert!(workers.failure.is_some(), "must not come to an end: {}", what());
                return true;
            }
            Some((rows, errors)) => {
                assert_eq!(workers.failure, None, "{}", what());
                assert_eq!(workers.rows, rows, "{}", what());
                assert_eq!(workers.errors, errors, "errors of {}", what());
            }
        }
        if random.chance(25) {
            workers.restart(random.pick(&[1, 2, 4]));
        }
    }
    false
}

/// An edge between few nodes, sometimes from or to nowhere.
fn edge(random: &mut Random) -> Row {
    let node = |random: &mut Random| if random.chance(5) { Cell::Null } else { int(random.below(9)) };
    vec![node(random), node(random)]
}

/// An edge between names of very different lengths.
fn named(random: &mut Random) -> Row {
    let cell = |cell: Cell| match cell {
        Cell::Int(node) => Cell::Text("x".repeat(usize::try_from(node * node).unwrap())),
        other => other,
    };
    edge(random).into_iter().map(cell).collect()
}

/// An edge that leads to a greater node.
fn forward(random: &mut Random) -> Row {
    let from = random.below(6);
    vec![int(from), int(from + 1 + random.below(3))]
}

fn shapes() -> impl Strategy<Value = Shape> {
    (any::<u64>(), 1..4_u64, 1..5_u64, any::<bool>(), any::<bool>()).prop_map(
        |(seed, max_blocks, max_depth, derived, mixed)| Shape {
            seed,
            ticks: 14,
            max_blocks,
            max_depth,
            reorg_percent: 35,
            lag: 4,
            derived,
            mixed,
        },
    )
}

/// The least number of steps from node 0, each as long as the number of the node it leads to.
fn shortest_paths() -> Vec<Binding> {
    let begin = Body::Values(write(&[vec![Cell::Int(0), Cell::Int(0)]]));
    let step = join(JoinKind::Inner, Body::Variable(0), Body::Input(0), &[(0, 0)], &[3, 1]);
    let longer = change(|row: &Row| match (&row[0], &row[1]) {
        (Cell::Int(node), Cell::Int(length)) => Ok(vec![row[0].clone(), Cell::Int(length + node)]),
        _ => Err("no such node".to_owned()),
    });
    let step = with(step, longer, 2);
    let body = aggregate(Body::Union(vec![begin, step]), 2, &[0], &[(AggregateFunction::Min, Some(1))]);
    vec![binding("distance", 2, false, body)]
}

/// Pairs at an even and at an odd distance.
fn even_and_odd() -> Vec<Binding> {
    let step = |from: usize| join(JoinKind::Inner, Body::Variable(from), Body::Input(0), &[(1, 0)], &[0, 3]);
    vec![binding("odd", 2, true, Body::Union(vec![Body::Input(0), step(1)])), binding("even", 2, true, step(0))]
}

/// Nodes reached from the second relation, over nodes that none of its rows leads to; and a query over them.
fn around_blocked() -> Vec<Binding> {
    let step = join(JoinKind::Inner, Body::Variable(0), Body::Input(0), &[(0, 0)], &[2]);
    let free = join(JoinKind::Anti, step, Body::Input(1), &[(0, 1)], &[0]);
    let found = Body::Union(vec![project(Body::Input(1), &[0]), free]);
    let query = join(JoinKind::LeftOuter, Body::Variable(0), Body::Input(0), &[(0, 0)], &[0, 2]);
    let calls = [(AggregateFunction::CountAll, None), (AggregateFunction::Count, Some(1))];
    vec![binding("found", 1, true, found), binding("query", 2, false, aggregate(query, 2, &[], &calls))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn transitive_closure(shape in shapes()) {
        prop_assert!(!check(shape, &spec(closure(true), 100), edge));
    }

    #[test]
    fn connected_components(shape in shapes()) {
        prop_assert!(!check(shape, &spec(components(numbers), 100), edge));
    }

    #[test]
    fn connected_names(shape in shapes()) {
        let spec = RecursionSpec { inputs: vec![texts(2), texts(2)], ..spec(components(texts), 100) };
        prop_assert!(!check(shape, &spec, named));
    }

    #[test]
    fn shortest_paths_and_their_errors(shape in shapes()) {
        prop_assert!(!check(shape, &spec(shortest_paths(), 100), edge));
    }

    #[test]
    fn mutual_recursion(shape in shapes()) {
        prop_assert!(!check(shape, &spec(even_and_odd(), 100), edge));
    }

    #[test]
    fn joins_that_keep_what_finds_nothing(shape in shapes()) {
        prop_assert!(!check(shape, &spec(around_blocked(), 100), edge));
    }

    #[test]
    fn every_path_counts_without_distinct(shape in shapes()) {
        prop_assert!(!check(shape, &spec(closure(false), 100), forward));
    }

    #[test]
    fn paths_on_cycles_reach_the_limit(shape in shapes()) {
        check(Shape { ticks: 8, ..shape }, &spec(closure(false), 7), edge);
    }
}

/// A body of two columns, made of anything.
fn random_body(random: &mut Random, depth: u64) -> Body {
    if depth == 0 {
        return match random.below(6) {
            0 => Body::Values(write(&[vec![int(random.below(3)), Cell::Null], vec![int(1), int(2)]])),
            1 => Body::Input(1),
            2 | 3 => Body::Input(0),
            other => Body::Variable(usize::try_from(other).unwrap() - 4),
        };
    }
    let next = |random: &mut Random| random_body(random, depth - 1);
    match random.below(10) {
        8 => Body::except(next(random), next(random), 2),
        9 => Body::intersect(next(random), next(random), 2),
        0 => {
            let columns = [random.index(2), random.index(2)];
            project(next(random), &columns)
        }
        1 => Body::Union(vec![next(random), next(random)]),
        2 => Body::Distinct(Box::new(next(random))),
        3 => with(next(random), filter(|row| row[0] != Cell::Int(3)), 2),
        4 => with(next(random), change(|row| Ok(vec![row[1].clone(), row[0].clone()])), 2),
        5 => {
            let function = random.pick(&[AggregateFunction::Min, AggregateFunction::Max, AggregateFunction::Count]);
            aggregate(next(random), 2, &[random.index(2)], &[(function, Some(random.index(2)))])
        }
        _ => random_join(random, depth),
    }
}

fn random_join(random: &mut Random, depth: u64) -> Body {
    let kind = random.pick(&[JoinKind::Inner, JoinKind::LeftOuter, JoinKind::Semi, JoinKind::Anti]);
    let most = if matches!(kind, JoinKind::Inner | JoinKind::LeftOuter) { 4 } else { 2 };
    let keys: Vec<(usize, usize)> = (0..random.index(3)).map(|_| (random.index(2), random.index(2))).collect();
    let condition = random.chance(30).then(|| filter(|row| row[0] <= row[3]));
    Body::Join(Box::new(RecursiveJoin {
        left: random_body(random, depth - 1),
        right: random_body(random, depth - 1),
        keys,
        null_equals_null: random.chance(50),
        kind,
        condition,
        output: vec![random.index(most), random.index(most)],
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_bodies(shape in shapes(), seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let mut next = |name: &str| {
            let depth = 1 + random.below(3);
            binding(name, 2, true, random_body(&mut random, depth))
        };
        let bindings = vec![next("one"), next("other")];
        check(Shape { ticks: 5, ..shape }, &RecursionSpec { result: 0, ..spec(bindings, 12) }, edge);
    }
}
