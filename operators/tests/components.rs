//! Connected components against their definition, over random histories.

mod harness;
#[path = "reference/components.rs"]
mod reference;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Relation, Shape, Step, Workers, assert_same, relation};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress};
use highwater_engine::operator::{Route, TickOperator};
use highwater_operators::components::{Components, ComponentsError, ComponentsSpec};
use proptest::prelude::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("payer", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
        Field::new("payee", DataType::Utf8, true),
    ]))
}

type Ends = (Option<String>, Option<String>);

fn batch(edges: &[Ends]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(edges.iter().map(|(from, _)| from.as_deref()).collect::<StringArray>()),
        Arc::new(Int64Array::from(vec![None; edges.len()])),
        Arc::new(edges.iter().map(|(_, to)| to.as_deref()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

/// Edges between so many nodes; the first are busier, so that some are hubs.
fn block_rows(random: &mut Random, nodes: u64) -> RecordBatch {
    let node = |random: &mut Random| {
        let below = if random.chance(20) { 3.min(nodes) } else { nodes };
        (!random.chance(3)).then(|| format!("n{}", random.below(below)))
    };
    let edges: Vec<Ends> = (0..random.index(6)).map(|_| (node(random), node(random))).collect();
    batch(&edges)
}

fn spec(hub_limit: Option<usize>) -> ComponentsSpec {
    ComponentsSpec { input: schema(), ends: [0, 2], hub_limit }
}

fn workers(spec: &ComponentsSpec, count: usize) -> Workers<impl Fn() -> Box<dyn TickOperator> + use<>> {
    let spec = spec.clone();
    Workers::new(count, None, move || Box::new(Components::new("view", spec.clone()).expect("valid components")))
}

fn hub_limits() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![2 => Just(None), 1 => Just(Some(0)), 4 => (1..8_usize).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn equal_their_definition_at_every_tick(
        seed in any::<u64>(), max_blocks in prop_oneof![Just(1_u64), Just(3), Just(40)], max_depth in 1..=12_u64,
        reorg_percent in 0..60_u64, lag in 4..20_u64, nodes in prop_oneof![Just(4_u64), Just(12), Just(40), Just(150)],
        hub_limit in hub_limits(), derived in any::<bool>(),
    ) {
        let ticks = if max_blocks == 40 { 6 } else { 30 };
        let shape = Shape { seed, ticks, max_blocks, max_depth, reorg_percent, lag, derived, mixed: true };
        let mut random = Random::new(seed ^ 1);
        let spec = spec(hub_limit);
        let mut history = History::new(shape, schema(), |random: &mut Random, _, _| block_rows(random, nodes));
        let mut workers = workers(&spec, 1);
        for tick in 0..ticks {
            workers.tick(&history.step(tick + 1 == ticks));
            let want = reference::components(&spec, &history.accumulated());
            assert_same(&workers.rows, &want, &format!("tick {tick} with hubs above {hub_limit:?}"));
            prop_assert!(workers.errors.is_empty());
            if random.chance(20) {
                workers.restart(random.pick(&[1, 2, 4]));
            }
        }
    }

    #[test]
    fn equal_their_definition_however_edges_come_and_go(
        seed in any::<u64>(), nodes in 2..60_u64, hub_limit in hub_limits(), most in 1..30_usize,
    ) {
        let mut random = Random::new(seed);
        let spec = spec(hub_limit);
        let mut workers = workers(&spec, 1);
        let mut edges: Vec<Ends> = Vec::new();
        for tick in 0..40 {
            let deltas = churn(&mut random, &mut edges, nodes, most);
            workers.tick(&step(tick, deltas));
            let want = reference::components(&spec, &batch(&edges));
            assert_same(&workers.rows, &want, &format!("tick {tick} with hubs above {hub_limit:?}"));
        }
        workers.tick(&step(40, vec![change(&edges, -1)]));
        prop_assert!(workers.rows.is_empty());
        prop_assert_eq!(workers.entries(), 0);
    }

    #[test]
    fn one_tick_or_many_save_the_same(seed in any::<u64>(), hub_limit in hub_limits()) {
        let mut random = Random::new(seed);
        let spec = spec(hub_limit);
        let (mut many, mut one) = (workers(&spec, 1), workers(&spec, 1));
        let mut edges: Vec<Ends> = Vec::new();
        for tick in 0..20 {
            let deltas = churn(&mut random, &mut edges, 20, 8);
            many.tick(&step(tick, deltas));
        }
        random.shuffle(&mut edges);
        one.tick(&step(1, vec![change(&edges, 1)]));
        assert_same(&many.rows, &one.rows, "what is told");
        prop_assert_eq!(many.operators[0].save().expect("saves"), one.operators[0].save().expect("saves"));
        let next = step(30, churn(&mut random, &mut edges, 20, 8));
        let told = |workers: &mut Workers<_>| -> Vec<String> {
            workers.tick_through(&next).iter().map(|delta| format!("{:?} {:?}", delta.batch, delta.diffs)).collect()
        };
        prop_assert_eq!(told(&mut many), told(&mut one), "also in its order");
    }
}

/// Takes edges back and adds others, in one tick.
fn churn(random: &mut Random, edges: &mut Vec<Ends>, nodes: u64, most: usize) -> Vec<Delta> {
    let gone: Vec<Ends> = (0..random.index(most + 1).min(edges.len()))
        .map(|_| {
            let place = random.index(edges.len());
            edges.swap_remove(place)
        })
        .collect();
    // Some of them come again in the same tick.
    let again = gone.iter().filter(|_| random.chance(20)).cloned().collect::<Vec<_>>();
    let node = |random: &mut Random| Some(format!("n{}", random.below(nodes)));
    let new = (0..random.index(most + 1)).map(|_| (node(random), node(random))).collect::<Vec<_>>();
    edges.extend(again.iter().chain(&new).cloned());
    let mut deltas = vec![change(&gone, -1), change(&again, 1), change(&new, 1)];
    random.shuffle(&mut deltas);
    deltas
}

fn change(edges: &[Ends], diff: i64) -> Delta {
    Delta::derived(batch(edges), vec![diff; edges.len()])
}

fn step(tick: u64, deltas: Vec<Delta>) -> Step {
    let hash = BlockHash([0; 32]);
    let block = BlockRef { number: tick, hash, parent: hash, timestamp_ms: 0 };
    Step { deltas, progress: Progress::at(tick, &block) }
}

/// Edges between these nodes, each a letter.
fn edges(pairs: &[&str], diff: i64) -> Delta {
    let ends = |pair: &&str| (Some(pair[..1].to_owned()), Some(pair[1..].to_owned()));
    change(&pairs.iter().map(ends).collect::<Vec<_>>(), diff)
}

/// Rows of nodes and their components, each two letters.
fn rows(pairs: &[&str]) -> Relation {
    relation(pairs.iter().map(|pair| format!("{}|{}", &pair[..1], &pair[1..])))
}

#[test]
fn an_edge_counts_until_its_last_copy_is_gone() {
    let mut workers = workers(&spec(None), 1);
    workers.tick(&step(1, vec![edges(&["ab", "ba", "cc"], 1)]));
    assert_same(&workers.rows, &rows(&["aa", "ba", "cc"]), "two components");
    workers.tick(&step(2, vec![edges(&["ab"], -1)]));
    assert_same(&workers.rows, &rows(&["aa", "ba", "cc"]), "the other direction is the same edge");
    workers.tick(&step(3, vec![edges(&["ba"], -1), edges(&["bb"], 1)]));
    assert_same(&workers.rows, &rows(&["bb", "cc"]), "a node goes with its last edge");
}

#[test]
fn an_edge_taken_back_before_it_came_is_owed() {
    let mut workers = workers(&spec(None), 1);
    workers.tick(&step(1, vec![edges(&["ab", "ab", "cc"], -1)]));
    workers.restart(2);
    workers.tick(&step(2, vec![edges(&["ba", "cc"], 1), edges(&["bd"], 1)]));
    assert_same(&workers.rows, &rows(&["bb", "db"]), "one more is owed");
    workers.tick(&step(3, vec![edges(&["ab"], 1)]));
    assert_same(&workers.rows, &rows(&["bb", "db"]), "none is owed, none is there");
    workers.tick(&step(4, vec![edges(&["ab"], 1)]));
    assert_same(&workers.rows, &rows(&["aa", "ba", "da"]), "one is there");
}

#[test]
fn an_edge_that_replaces_another_changes_nothing_else() {
    let mut workers = workers(&spec(None), 1);
    workers.tick(&step(1, vec![edges(&["ab", "bc", "cd"], 1)]));
    let told = workers.tick_through(&step(2, vec![edges(&["bc"], -1), edges(&["ad"], 1)]));
    assert!(told.is_empty(), "all are still connected");
    let told = workers.tick_through(&step(3, vec![edges(&["ad"], -1)]));
    assert_eq!(told.iter().map(Delta::len).sum::<usize>(), 4, "only c and d are elsewhere now");
}

#[test]
fn a_hub_connects_nothing_until_it_is_none() {
    let mut workers = workers(&spec(Some(3)), 1);
    workers.tick(&step(1, vec![edges(&["xa", "xb", "xc", "xx", "bd"], 1)]));
    assert_same(&workers.rows, &rows(&["aa", "ba", "ca", "da", "xa"]), "three neighbours are not too many");
    workers.tick(&step(2, vec![edges(&["ex", "ea"], 1)]));
    assert_same(&workers.rows, &rows(&["aa", "bb", "cc", "db", "ea", "xx"]), "four are");
    workers.restart(2);
    workers.tick(&step(3, vec![edges(&["xc"], -1)]));
    assert_same(&workers.rows, &rows(&["aa", "ba", "da", "ea", "xa"]), "it connects again");
}

#[test]
fn a_node_with_very_many_neighbours_comes_and_goes() {
    let mut workers = workers(&spec(None), 1);
    let spokes: Vec<Ends> = (0..400).map(|spoke| (Some("hub".to_owned()), Some(format!("spoke{spoke:03}")))).collect();
    for (tick, spoke) in (1..).zip(&spokes) {
        workers.tick(&step(tick, vec![change(std::slice::from_ref(spoke), 1)]));
    }
    workers.restart(1);
    assert_eq!(workers.rows.len(), 401);
    assert!(workers.rows.keys().all(|row| row.ends_with("|hub")));
    for (tick, spoke) in (500..).zip(&spokes[..399]) {
        workers.tick(&step(tick, vec![change(std::slice::from_ref(spoke), -1)]));
    }
    assert_same(&workers.rows, &relation(["hub|hub", "spoke399|hub"].map(str::to_owned)), "the last spoke");
}

#[test]
fn the_ends_must_exist_and_be_of_one_type() {
    let with = |ends: [usize; 2]| Components::new("view", ComponentsSpec { ends, ..spec(None) }).err();
    assert!(matches!(with([0, 3]), Some(ComponentsError::MissingColumn { index: 3 })));
    assert!(matches!(with([0, 1]), Some(ComponentsError::Types { .. })));
    assert_eq!(Components::new("view", spec(None)).expect("valid components").route(), Route::First);
}
