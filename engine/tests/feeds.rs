//! Relations that change from outside, from a scripted feed to a recording sink.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray as _, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::Tick;
use highwater_engine::error::BoxError;
use highwater_engine::feed::Feed;
use highwater_engine::job::{Job, JobOutput, JobSource, JobState, Observer, TickReport, run};
use highwater_engine::metrics::Registry;
use highwater_engine::model::BlockRun;
use highwater_engine::runtime::Graph;
use highwater_engine::source::SourceEvent;
use highwater_engine::state::StateDir;
use highwater_engine::testing::{RecordingSink, ScriptedReader, block, run_of};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn rows(values: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_new(schema(), vec![column]).unwrap()
}

/// What a feed says when it is asked; at the end nothing changes any more.
type Answers = Vec<Option<Result<Vec<i64>, &'static str>>>;

struct Scripted(VecDeque<Option<Result<Vec<i64>, &'static str>>>);

impl Feed for Scripted {
    fn name(&self) -> &str {
        "list"
    }

    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn poll(&mut self) -> Result<Option<RecordBatch>, BoxError> {
        match self.0.pop_front().flatten() {
            None => Ok(None),
            Some(Ok(values)) => Ok(Some(rows(&values))),
            Some(Err(why)) => Err(why.into()),
        }
    }
}

struct Quiet;

impl Observer for Quiet {
    fn on_tick(&mut self, _: &TickReport<'_>) {}
    fn on_skipped(&mut self, _: u64, _: &str) {}
    fn on_checkpoint(&mut self, _: Tick) {}
}

/// What a run of these blocks sees of the feed: the commits that changed something, each with its changes.
struct Seen {
    commits: Vec<(Tick, Vec<(i64, i64)>)>,
    metrics: Registry,
}

fn execute(runs: &[BlockRun], answers: Answers, one_block_a_tick: bool, state: Option<JobState>) -> Seen {
    let (sink, recorded) = RecordingSink::new();
    let events = (0..)
        .zip(runs)
        .map(|(cursor, run)| SourceEvent::Blocks { run: run.clone(), cursor, finalized: None })
        .collect();
    let source = JobSource {
        name: "eth".to_owned(),
        reader: Box::new(ScriptedReader::new(events)),
        tables: 0,
        blocks_per_tick: 1,
        one_block_a_tick,
    };
    let metrics = Registry::default();
    let job = Job {
        source,
        constants: vec![rows(&[7])],
        feeds: vec![Box::new(Scripted(answers.into()))],
        build: Arc::new(|graph: &mut Graph<'_>| graph.output(graph.table(1), 0)),
        workers: 2,
        in_flight: 3,
        outputs: vec![JobOutput { name: "out".to_owned(), schema: schema(), key: None, sink: Box::new(sink) }],
        state,
        stop: Arc::new(AtomicBool::new(false)),
        metrics: metrics.clone(),
    };
    run(job, &mut Quiet).unwrap();
    let mut commits = Vec::new();
    for (tick, deltas) in recorded.lock().unwrap().iter() {
        let mut changes = Vec::new();
        for delta in deltas {
            let values = delta.batch.column(0).as_primitive::<Int64Type>();
            changes.extend((0..delta.len()).map(|row| (values.value(row), delta.diffs.at(row))));
        }
        if !changes.is_empty() {
            commits.push((*tick, changes));
        }
    }
    Seen { commits, metrics }
}

fn chain(numbers: std::ops::RangeInclusive<u64>) -> Vec<BlockRun> {
    numbers.map(|number| run_of(&[block(b'a', number, None)])).collect()
}

fn open_state(path: &Path) -> JobState {
    let (directory, checkpoint) = StateDir::open(path, "job", false).unwrap();
    JobState { directory, checkpoint, every: Duration::from_secs(3600) }
}

#[test]
fn a_tick_gets_what_changed_and_a_failure_changes_nothing() {
    let answers =
        vec![Some(Ok(vec![1, 2, 2])), None, Some(Ok(vec![2, 3])), Some(Err("half a line")), Some(Ok(vec![2, 3]))];
    let seen = execute(&chain(1..=6), answers, false, None);
    assert_eq!(seen.commits, [(1, vec![(1, 1), (2, 2)]), (3, vec![(1, -1), (2, -1), (3, 1)])]);
    let text = seen.metrics.prometheus();
    assert!(text.contains("highwater_table_reloads_total{table=\"list\"} 2"), "{text}");
    assert!(text.contains("highwater_table_reload_errors_total{table=\"list\"} 1"), "{text}");
}

#[test]
fn nothing_changes_within_a_reorg_worked_off_block_by_block() {
    let mut runs = chain(1..=3);
    let fork = block(b'b', 3, Some(&block(b'a', 2, None)));
    runs.push(run_of(&[fork, block(b'b', 4, None), block(b'b', 5, None)]));
    runs.push(run_of(&[block(b'b', 6, None)]));
    let answers = (1..10).map(|value| Some(Ok(vec![value]))).collect();
    let seen = execute(&runs, answers, true, None);
    let replaced = |value: i64| vec![(value - 1, -1), (value, 1)];
    // Ticks 4 to 6 are one change; the tick after it asks again. The last one says that all is final.
    assert_eq!(
        seen.commits,
        [(1, vec![(1, 1)]), (2, replaced(2)), (3, replaced(3)), (6, replaced(4)), (7, replaced(5)), (8, replaced(6))]
    );
}

#[test]
fn a_restart_feeds_the_difference_to_what_was_known() {
    let folder = tempfile::tempdir().unwrap();
    let first = execute(&chain(1..=3), vec![Some(Ok(vec![1, 2]))], false, Some(open_state(folder.path())));
    assert_eq!(first.commits, [(1, vec![(1, 1), (2, 1)])]);
    let state = open_state(folder.path());
    let saved: BTreeMap<_, _> = state.checkpoint.as_ref().unwrap().feeds.iter().cloned().collect();
    assert_eq!(saved["list"], rows(&[1, 2]));
    let second = execute(&chain(4..=5), vec![Some(Ok(vec![2, 5]))], false, Some(state));
    assert_eq!(second.commits, [(4, vec![(1, -1), (5, 1)])]);
}
