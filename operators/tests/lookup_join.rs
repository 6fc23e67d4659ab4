//! The lookup join against its definition, over random histories of a chain and of the table: reorgs,
//! ticks of several blocks, any number of workers, restarts at random ticks.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;
#[path = "reference/lookup_join.rs"]
mod reference;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use harness::{History, Random, Relation, Shape, Step, add, assert_same, relation, route, text};
use highwater_engine::model::{Delta, Origin, Progress};
use highwater_engine::operator::{Output, Route, Share, TablesOperator as _};
use highwater_operators::broadcast_join::{JoinError, JoinKind};
use highwater_operators::lookup_join::{LookupJoin, LookupJoinSpec};
use proptest::prelude::*;
use reference::{Definition, Row, joined};

const KINDS: [JoinKind; 4] = [JoinKind::Inner, JoinKind::LeftOuter, JoinKind::Semi, JoinKind::Anti];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true), Field::new("text", DataType::Utf8, false)]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(key, _)| *key).collect::<Int64Array>()),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, text)| text))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn read(batch: &RecordBatch) -> Vec<Row> {
    let row = |row: usize| {
        let cells = harness::cells(batch, row);
        (cells[0].parse().ok(), cells[1].clone())
    };
    (0..batch.num_rows()).map(row).collect()
}

fn random_rows(random: &mut Random, most: usize) -> Vec<Row> {
    let count = random.index(most + 1);
    let row = |random: &mut Random| {
        let key = (!random.chance(15)).then(|| i64::try_from(random.below(5)).unwrap());
        (key, random.pick(&["a", "b", "c"]).to_owned())
    };
    (0..count).map(|_| row(random)).collect()
}

fn spec(kind: JoinKind, null_equals_null: bool, keys: &[usize]) -> LookupJoinSpec {
    let keys = keys.to_vec();
    LookupJoinSpec {
        input: schema(),
        input_keys: keys.clone(),
        table: schema(),
        table_keys: keys,
        kind,
        null_equals_null,
    }
}

/// A table that rows come into and go from.
struct Table {
    rows: Vec<Row>,
}

impl Table {
    fn change(&mut self, random: &mut Random) -> Vec<Delta> {
        if !random.chance(50) {
            return Vec::new();
        }
        let (mut changed, mut diffs) = (Vec::new(), Vec::new());
        for _ in 0..random.index(3) {
            if !self.rows.is_empty() {
                changed.push(self.rows.swap_remove(random.index(self.rows.len())));
                diffs.push(-1);
            }
        }
        for row in random_rows(random, 3) {
            self.rows.push(row.clone());
            changed.push(row);
            diffs.push(1);
        }
        vec![Delta::derived(batch(&changed), diffs)]
    }
}

struct Workers {
    spec: LookupJoinSpec,
    joins: Vec<LookupJoin>,
    rows: Relation,
}

impl Workers {
    fn new(spec: LookupJoinSpec, count: usize) -> Workers {
        let mut workers = Workers { spec, joins: Vec::new(), rows: Relation::new() };
        workers.start(count, &[]);
        workers
    }

    fn start(&mut self, count: usize, state: &[RecordBatch]) {
        self.joins = (0..count).map(|_| LookupJoin::new("view/lookup-join-0", self.spec.clone()).unwrap()).collect();
        for (index, join) in self.joins.iter_mut().enumerate() {
            join.load(state, Share { index, peers: count }).unwrap();
        }
    }

    fn restart(&mut self, count: usize) {
        let state: Vec<RecordBatch> = self.joins.iter().flat_map(|join| join.save().unwrap()).collect();
        self.start(count, &state);
    }

    fn entries(&self) -> usize {
        self.joins.iter().map(|join| join.size().entries).sum()
    }

    fn tick(&mut self, stream: &[Delta], table: &[Delta], progress: &Progress) {
        let peers = self.joins.len();
        let mut inputs = vec![vec![Vec::new(), Vec::new()]; peers];
        for (side, (deltas, how)) in [stream, table].into_iter().zip(self.joins[0].routes()).enumerate() {
            for delta in deltas {
                let key = match &how {
                    Route::Key(key) => Some(key.as_slice()),
                    Route::First | Route::Local => None,
                };
                route(delta, key, peers).into_iter().for_each(|(worker, part)| inputs[worker][side].push(part));
            }
        }
        for (join, inputs) in self.joins.iter_mut().zip(inputs) {
            let blocks: Vec<Origin> = inputs[0].iter().map(|delta| delta.origin).collect();
            let mut output = Output::default();
            join.on_tick(inputs, progress, &mut output);
            for delta in &output.deltas {
                assert!(blocks.contains(&delta.origin), "rows stay with their block");
                assert_eq!(delta.batch.schema_ref(), join.output_schema());
                for row in 0..delta.len() {
                    add(&mut self.rows, text(&delta.batch, row), delta.diffs.at(row));
                }
            }
        }
    }
}

/// The canonical blocks before and after a step, told to the definition.
fn tell(
    definition: &mut Definition,
    before: &[(u64, RecordBatch)],
    after: &[(u64, RecordBatch)],
    join: impl Fn(&[Row]) -> Vec<String>,
) {
    let same = before
        .iter()
        .zip(after)
        .take_while(|(one, other)| one.0 == other.0 && Arc::ptr_eq(one.1.column(0), other.1.column(0)));
    let same = same.count();
    before[same..].iter().for_each(|(number, _)| definition.revert(*number));
    after[same..].iter().for_each(|(number, rows)| definition.apply(*number, join(&read(rows))));
}

fn check(shape: Shape, workers: usize, spec: &LookupJoinSpec) {
    let mut random = Random::new(shape.seed ^ 2);
    let mut history = History::new(shape, schema(), |random: &mut Random, _, _| batch(&random_rows(random, 4)));
    let (mut workers, mut table) = (Workers::new(spec.clone(), workers), Table { rows: Vec::new() });
    let mut definition = Definition::default();
    for tick in 0..shape.ticks {
        let canonical = |blocks: &[harness::Block]| -> Vec<(u64, RecordBatch)> {
            blocks.iter().map(|block| (block.number, block.rows.clone())).collect()
        };
        let before = canonical(&history.canonical);
        let Step { deltas, progress } = history.step(tick + 1 == shape.ticks);
        let changes = table.change(&mut random);
        let everything: Vec<Row> = table.rows.clone();
        tell(&mut definition, &before, &canonical(&history.canonical), |block| match spec.input_keys.is_empty() {
            false => joined(spec.kind, spec.null_equals_null, block, &everything),
            true => crossed(block, &everything),
        });
        workers.tick(&deltas, &changes, &progress);
        assert_same(&workers.rows, &relation(definition.rows().cloned()), &format!("tick {tick} of {spec:?}"));
        if random.chance(25) {
            workers.restart(random.pick(&[1, 2, 4]));
        }
    }
    // Everything is final: there is the table and nothing else.
    let mut distinct: Vec<String> = table
        .rows
        .iter()
        .filter(|(key, _)| spec.null_equals_null || spec.input_keys.is_empty() || key.is_some())
        .map(|row| match spec.kind {
            JoinKind::Inner | JoinKind::LeftOuter => format!("{row:?}"),
            JoinKind::Semi | JoinKind::Anti => format!("{:?}", row.0),
        })
        .collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(workers.entries(), distinct.len());
}

/// An inner join without keys.
fn crossed(block: &[Row], table: &[Row]) -> Vec<String> {
    let shown = |(key, text): &Row| format!("{}|{text}", key.map_or("~".to_owned(), |key| key.to_string()));
    block.iter().flat_map(|row| table.iter().map(move |other| format!("{}|{}", shown(row), shown(other)))).collect()
}

fn shapes() -> impl Strategy<Value = (Shape, usize)> {
    let parts = (any::<u64>(), prop_oneof![Just(1_u64), Just(3), Just(50)], 1..=8_u64, 0..60_u64, 0..12_u64);
    (parts, prop_oneof![Just(1_usize), Just(2), Just(4)]).prop_map(
        |((seed, max_blocks, max_depth, reorg_percent, lag), workers)| {
            let ticks = if max_blocks == 50 { 6 } else { 30 };
            let shape = Shape { seed, ticks, max_blocks, max_depth, reorg_percent, lag, derived: false, mixed: true };
            (shape, workers)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equals_its_definition_at_every_tick((shape, workers) in shapes(), kind in 0..4_usize, nulls in any::<bool>()) {
        check(shape, workers, &spec(KINDS[kind], nulls, &[0]));
    }

    #[test]
    fn without_keys_every_row_of_the_table_matches((shape, workers) in shapes()) {
        check(shape, workers, &spec(JoinKind::Inner, false, &[]));
    }
}

/// The example of the module's text: what went out is taken back as it was, what comes is joined with the table of now.
#[test]
fn a_reorg_takes_back_what_was_emitted() {
    let mut workers = Workers::new(spec(JoinKind::Inner, false, &[0]), 2);
    let progress = |tick: u64, finalized: Option<u64>| {
        let mut progress = Progress::at(tick, &highwater_engine::testing::block(b'a', 10, None));
        progress.finalized_number = finalized;
        progress
    };
    let row = |text: &str| batch(&[(Some(1), text.to_owned())]);
    workers.tick(&[Delta::of_block(row("x"), 1, 8)], &[Delta::derived(row("old"), vec![1])], &progress(1, None));
    let changed = [Delta::derived(row("old"), vec![-1]), Delta::derived(row("new"), vec![1])];
    workers.tick(&[Delta::of_block(row("y"), 1, 9)], &changed, &progress(2, None));
    let rows = |workers: &Workers| workers.rows.keys().cloned().collect::<Vec<_>>();
    assert_eq!(rows(&workers), ["1|x|1|old", "1|y|1|new"]);
    let again: Vec<Delta> = [(8, "x"), (9, "y")]
        .into_iter()
        .flat_map(|(block, text)| [-1, 1].map(|diff| Delta::of_block(row(text), diff, block)))
        .collect();
    workers.tick(&again, &[], &progress(3, None));
    assert_eq!(rows(&workers), ["1|x|1|new", "1|y|1|new"]);
    workers.tick(&[], &[], &progress(4, Some(9)));
    assert_eq!(workers.entries(), 1);
}

#[test]
fn keys_must_have_one_type() {
    let wrong = LookupJoinSpec { table_keys: vec![1], ..spec(JoinKind::Inner, false, &[0]) };
    assert!(matches!(LookupJoin::new("join", wrong).err(), Some(JoinError::Keys { .. })));
    let missing = LookupJoinSpec { table_keys: vec![7], ..spec(JoinKind::Inner, false, &[0]) };
    assert!(matches!(
        LookupJoin::new("join", missing).err(),
        Some(JoinError::MissingColumn { side: "table", index: 7 })
    ));
}
