//! Recursion against its definition, over random histories of a chain and of a second relation: reorgs,
//! ticks of several blocks, restarts into any number of workers, at every tick.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;
#[path = "reference/recursion.rs"]
mod reference;

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use harness::{History, Random, Shape};
use highwater_engine::model::{BlockHash, BlockRef, Delta, Progress, error_delta};
use highwater_engine::operator::{BatchOperator, Output, Route, Share, TablesOperator as _};
use highwater_operators::aggregate::{AggregateCall, AggregateFunction, AggregateSpec};
use highwater_operators::broadcast_join::JoinKind;
use highwater_operators::recursion::{
    BatchFactory, Binding, Body, Recursion, RecursionError, RecursionSpec, RecursiveJoin,
};
use proptest::prelude::*;
use reference::{Bag, Batches, Cell, Row, evaluate};

const BATCHES: Batches = Batches { read, write };

fn numbers(width: usize) -> SchemaRef {
    let field = |column: usize| Field::new(format!("c{column}"), DataType::Int64, true);
    Arc::new(Schema::new((0..width).map(field).collect::<Vec<_>>()))
}

fn texts(width: usize) -> SchemaRef {
    let field = |column: usize| Field::new(format!("c{column}"), DataType::Utf8, true);
    Arc::new(Schema::new((0..width).map(field).collect::<Vec<_>>()))
}

fn write(rows: &[Row]) -> RecordBatch {
    write_as(&numbers(rows.first().map_or(2, Vec::len)), rows)
}

fn write_as(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let column = |(index, field): (usize, &Arc<Field>)| -> ArrayRef {
        match field.data_type() {
            DataType::Utf8 => Arc::new(
                rows.iter()
                    .map(|row| if let Cell::Text(text) = &row[index] { Some(text.as_str()) } else { None })
                    .collect::<StringArray>(),
            ),
            _ => Arc::new(
                rows.iter()
                    .map(|row| if let Cell::Int(value) = row[index] { Some(value) } else { None })
                    .collect::<Int64Array>(),
            ),
        }
    };
    let columns = schema.fields().iter().enumerate().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).unwrap()
}

fn read(batch: &RecordBatch) -> Vec<Row> {
    let cell = |column: &ArrayRef, row: usize| match column.data_type() {
        _ if column.is_null(row) => Cell::Null,
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Decimal128(38, 0) => Cell::Decimal(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        other => panic!("no cells of {other}"),
    };
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect()).collect()
}

/// Keeps rows of numbers for which the function is true.
struct Filter<F>(F);

impl<F: Fn(&Row) -> bool + 'static> BatchOperator for Filter<F> {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        let keep: BooleanArray = read(&input.batch).iter().map(|row| Some((self.0)(row))).collect();
        let diffs = (0..input.len()).filter(|row| keep.value(*row)).map(|row| input.diffs.at(row)).collect();
        let batch = filter_record_batch(&input.batch, &keep).unwrap();
        output.deltas.push(Delta::derived(batch, diffs));
    }
}

fn filter(keep: impl Fn(&Row) -> bool + Clone + 'static) -> BatchFactory {
    Rc::new(move || Box::new(Filter(keep.clone())))
}

/// Makes a row of numbers of each, or an error row.
struct Change<F>(F);

impl<F: Fn(&Row) -> Result<Row, String> + 'static> BatchOperator for Change<F> {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        let (mut rows, mut diffs, mut errors, mut error_diffs) = (vec![], vec![], vec![], vec![]);
        for (at, row) in read(&input.batch).iter().enumerate() {
            match (self.0)(row) {
                Ok(row) => {
                    rows.push(row);
                    diffs.push(input.diffs.at(at));
                }
                Err(error) => {
                    errors.push((error, format!("{row:?}")));
                    error_diffs.push(input.diffs.at(at));
                }
            }
        }
        output.deltas.push(Delta::derived(write(&rows), diffs));
        output.errors.push(error_delta(&errors, error_diffs, input.origin));
    }
}

fn change(make: impl Fn(&Row) -> Result<Row, String> + Clone + 'static) -> BatchFactory {
    Rc::new(move || Box::new(Change(make.clone())))
}

fn with(input: Body, operator: BatchFactory, width: usize) -> Body {
    Body::Batch { input: Box::new(input), operator, schema: numbers(width) }
}

fn project(input: Body, columns: &[usize]) -> Body {
    Body::Project { input: Box::new(input), columns: columns.to_vec() }
}

fn join(kind: JoinKind, left: Body, right: Body, keys: &[(usize, usize)], output: &[usize]) -> Body {
    Body::Join(Box::new(RecursiveJoin {
        left,
        right,
        keys: keys.to_vec(),
        null_equals_null: false,
        kind,
        condition: None,
        output: output.to_vec(),
    }))
}

fn aggregate(input: Body, width: usize, keys: &[usize], calls: &[(AggregateFunction, Option<usize>)]) -> Body {
    let call = |(function, argument): &(AggregateFunction, Option<usize>)| AggregateCall {
        function: *function,
        argument: *argument,
        filter: None,
        name: "call".to_owned(),
    };
    let calls = calls.iter().map(call).collect();
    Body::Aggregate {
        input: Box::new(input),
        spec: AggregateSpec { input: numbers(width), keys: keys.to_vec(), calls, closing: None },
    }
}

fn binding(name: &str, width: usize, distinct: bool, body: Body) -> Binding {
    Binding { name: name.to_owned(), schema: numbers(width), body, distinct }
}

fn spec(bindings: Vec<Binding>, limit: u64) -> RecursionSpec {
    let result = bindings.len() - 1;
    RecursionSpec { inputs: vec![numbers(2), numbers(2)], bindings, result, limit }
}

/// Several workers of which the first does everything.
struct Workers {
    spec: RecursionSpec,
    workers: Vec<Recursion>,
    rows: Bag,
    errors: Bag,
    failure: Option<String>,
}

impl Workers {
    fn new(spec: &RecursionSpec, count: usize) -> Workers {
        let (rows, errors) = (Bag::new(), Bag::new());
        let mut workers = Workers { spec: spec.clone(), workers: Vec::new(), rows, errors, failure: None };
        workers.start(count, &[]);
        workers
    }

    fn start(&mut self, count: usize, state: &[RecordBatch]) {
        self.workers = (0..count).map(|_| Recursion::new("view/recursion-0", self.spec.clone()).unwrap()).collect();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.load(state, Share { index, peers: count }).unwrap();
        }
    }

    fn restart(&mut self, count: usize) {
        let state: Vec<RecordBatch> = self.workers.iter().flat_map(|worker| worker.save().unwrap()).collect();
        let size = self.workers[0].size();
        self.start(count, &state);
        assert_eq!(self.workers[0].size(), size);
    }

    fn tick(&mut self, inputs: Vec<Vec<Delta>>, progress: &Progress) {
        let nothing = vec![Vec::new(); inputs.len()];
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let mut output = Output::default();
            let given = if index == 0 { inputs.clone() } else { nothing.clone() };
            worker.on_tick(given, progress, &mut output);
            if index > 0 {
                assert!(output.deltas.is_empty() && output.errors.is_empty(), "only the first worker has anything");
                assert!(worker.save().unwrap().is_empty());
            }
            for delta in &output.deltas {
                assert_eq!(delta.batch.schema_ref(), worker.output_schema());
                let rows = read(&delta.batch);
                assert!(rows.is_sorted_by(|one, other| one < other), "each row once, in order");
            }
            take(&mut self.rows, &output.deltas);
            take(&mut self.errors, &output.errors);
            self.failure = self.failure.take().or(output.failure);
        }
    }
}

fn take(bag: &mut Bag, deltas: &[Delta]) {
    for delta in deltas {
        for (at, row) in read(&delta.batch).into_iter().enumerate() {
            assert_ne!(delta.diffs.at(at), 0, "a change of nothing");
            *bag.entry(row).or_default() += delta.diffs.at(at);
        }
    }
    bag.retain(|_, count| *count != 0);
}

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

fn bag(rows: impl IntoIterator<Item = Row>) -> Bag {
    let mut bag = Bag::new();
    rows.into_iter().for_each(|row| *bag.entry(row).or_default() += 1);
    bag
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

fn int(value: u64) -> Cell {
    Cell::Int(i64::try_from(value).unwrap())
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

/// `r AS (base UNION SELECT r.0, e.1 FROM r JOIN edges e ON r.1 = e.0)`.
fn closure(distinct: bool) -> Vec<Binding> {
    let step = join(JoinKind::Inner, Body::Variable(0), Body::Input(0), &[(1, 0)], &[0, 3]);
    vec![binding("reach", 2, distinct, Body::Union(vec![Body::Input(0), step]))]
}

/// The least node that a node is connected with.
fn components(columns: fn(usize) -> SchemaRef) -> Vec<Binding> {
    let both = Body::Union(vec![Body::Input(0), project(Body::Input(0), &[1, 0])]);
    let own = project(both.clone(), &[0, 0]);
    let step = join(JoinKind::Inner, Body::Variable(0), both, &[(0, 0)], &[3, 1]);
    let least =
        AggregateCall { function: AggregateFunction::Min, argument: Some(1), filter: None, name: "label".to_owned() };
    let spec = AggregateSpec { input: columns(2), keys: vec![0], calls: vec![least], closing: None };
    let body = Body::Aggregate { input: Box::new(Body::Union(vec![own, step])), spec };
    vec![Binding { name: "label".to_owned(), schema: columns(2), body, distinct: false }]
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
    let calls = [(AggregateFunction::CountAll, None), (AggregateFunction::CountDistinct, Some(1))];
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
            let function =
                random.pick(&[AggregateFunction::Min, AggregateFunction::Max, AggregateFunction::CountDistinct]);
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
    assert_eq!(workers.workers[0].size().bytes, 0);
    assert_eq!(workers.workers[0].routes(), vec![Route::First, Route::First]);
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
