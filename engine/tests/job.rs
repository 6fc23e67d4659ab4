//! A job from a scripted source to a recording sink, through real workers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::Tick;
use highwater_engine::error::StateError;
use highwater_engine::job::{Job, JobError, JobOutput, JobSource, JobState, Observer, Summary, TickReport, run};
use highwater_engine::metrics::Registry;
use highwater_engine::model::{BlockRef, BlockRun, Delta, Progress};
use highwater_engine::operator::{Output, Route, Share, StateSize, TickOperator};
use highwater_engine::runtime::Graph;
use highwater_engine::source::SourceEvent;
use highwater_engine::state::StateDir;
use highwater_engine::testing::{Recorded, RecordingSink, ScriptedReader, block, run_with};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, false), Field::new("n", DataType::Int64, false)]))
}

fn rows(values: &[(i64, i64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(values.iter().map(|value| value.0))),
        Arc::new(Int64Array::from_iter_values(values.iter().map(|value| value.1))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn pairs(delta: &Delta) -> Vec<(i64, i64, i64)> {
    let column = |index: usize| delta.batch.column(index).as_any().downcast_ref::<Int64Array>().unwrap().clone();
    let (keys, numbers) = (column(0), column(1));
    (0..delta.len()).map(|row| (keys.value(row), numbers.value(row), delta.diffs.at(row))).collect()
}

/// Rows per key, as one row `(key, count)`: a small operator with state.
struct CountPerKey {
    counts: std::collections::BTreeMap<i64, i64>,
}

impl TickOperator for CountPerKey {
    fn on_tick(&mut self, input: Vec<Delta>, _progress: &Progress, output: &mut Output) {
        let before = self.counts.clone();
        for (key, _, diff) in input.iter().flat_map(pairs) {
            *self.counts.entry(key).or_default() += diff;
        }
        self.counts.retain(|_, count| *count != 0);
        let gone = before.iter().filter(|(key, count)| self.counts.get(key) != Some(count)).map(|(k, n)| (*k, *n));
        let come = self.counts.iter().filter(|(key, count)| before.get(key) != Some(count)).map(|(k, n)| (*k, *n));
        let (gone, come): (Vec<_>, Vec<_>) = (gone.collect(), come.collect());
        let diffs = gone.iter().map(|_| -1).chain(come.iter().map(|_| 1)).collect();
        output.deltas.push(Delta::derived(rows(&[gone, come].concat()), diffs));
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        Ok(vec![rows(&self.counts.iter().map(|(key, count)| (*key, *count)).collect::<Vec<_>>())])
    }

    fn load(&mut self, state: &[RecordBatch], share: Share) -> Result<(), StateError> {
        let converter = arrow::row::RowConverter::new(vec![arrow::row::SortField::new(DataType::Int64)]).unwrap();
        for batch in state {
            let keys = converter.convert_columns(&[batch.column(0).clone()]).unwrap();
            for (index, (key, count, _)) in pairs(&Delta::of_block(batch.clone(), 1, 0)).into_iter().enumerate() {
                if share.owns(keys.row(index).as_ref()) {
                    self.counts.insert(key, count);
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.counts.len(), bytes: self.counts.len() * 16 }
    }
}

struct Quiet;

impl Observer for Quiet {
    fn on_tick(&mut self, _: &TickReport<'_>) {}
    fn on_skipped(&mut self, _: u64, _: &str) {}
    fn on_checkpoint(&mut self, _: Tick) {}
}

/// Blocks 1..=12 of branch a with a fork at 6 (two blocks replaced by three) that goes on as branch b.
/// Block n has n rows of key n % 3.
fn history() -> Vec<BlockRun> {
    let run = |block: BlockRef, salt: i64| {
        let number = i64::try_from(block.number).unwrap();
        run_with(block, vec![rows(&(0..number).map(|index| ((number + salt) % 3, index)).collect::<Vec<_>>())])
    };
    let mut runs: Vec<_> = (1..=7).map(|number| run(block(b'a', number, None), 0)).collect();
    let fork: Vec<_> = [block(b'b', 6, Some(&block(b'a', 5, None))), block(b'b', 7, None), block(b'b', 8, None)]
        .map(|block| run(block, 1))
        .into();
    runs.push(join(&fork));
    runs.extend((9..=12).map(|number| run(block(b'b', number, None), 0)));
    runs
}

fn join(runs: &[BlockRun]) -> BlockRun {
    let batches = runs.iter().map(|run| run.tables[0].batch.clone());
    let batch = concat_batches(&schema(), &batches.collect::<Vec<_>>()).unwrap();
    let mut ends = Vec::new();
    for run in runs {
        ends.push(ends.last().copied().unwrap_or(0) + run.row_count());
    }
    let tables = vec![highwater_engine::model::TableRows { batch, ends }];
    BlockRun { blocks: runs.iter().flat_map(|run| run.blocks.clone()).collect(), tables }
}

fn events(runs: &[BlockRun], finality: u64) -> Vec<SourceEvent> {
    (0..)
        .zip(runs)
        .map(|(cursor, run)| {
            let head = run.blocks.last().unwrap().number;
            SourceEvent::Blocks { run: run.clone(), cursor, finalized: head.checked_sub(finality) }
        })
        .collect()
}

fn job(reader: ScriptedReader, workers: usize, blocks_per_tick: usize, state: Option<JobState>) -> (Job, Recorded) {
    let (sink, recorded) = RecordingSink::new();
    let build = |graph: &mut Graph<'_>| {
        let table = graph.table(0);
        let operator = Box::new(CountPerKey { counts: std::collections::BTreeMap::new() });
        let (counts, _) = graph.tick(table, &Route::Key(vec![0]), "view/count-0", operator);
        graph.output(counts, 0);
    };
    let job = Job {
        source: JobSource {
            name: "eth".to_owned(),
            reader: Box::new(reader),
            tables: 1,
            blocks_per_tick,
            one_block_a_tick: false,
        },
        constants: Vec::new(),
        feeds: Vec::new(),
        build: Arc::new(build),
        workers,
        in_flight: 3,
        outputs: vec![JobOutput { name: "out".to_owned(), schema: schema(), key: Some(vec![0]), sink: Box::new(sink) }],
        state,
        stop: Arc::new(AtomicBool::new(false)),
        metrics: Registry::default(),
    };
    (job, recorded)
}

fn contents(recorded: &Recorded) -> Vec<(i64, i64)> {
    let mut sum = std::collections::BTreeMap::new();
    for (key, count, diff) in recorded.lock().unwrap().iter().flat_map(|(_, deltas)| deltas).flat_map(pairs) {
        *sum.entry((key, count)).or_insert(0) += diff;
    }
    assert!(sum.values().all(|diff| *diff == 0 || *diff == 1), "{sum:?}");
    sum.into_iter().filter(|(_, diff)| *diff == 1).map(|(row, _)| row).collect()
}

fn execute(reader: ScriptedReader, workers: usize, blocks_per_tick: usize) -> (Result<Summary, JobError>, Recorded) {
    let (job, recorded) = job(reader, workers, blocks_per_tick, None);
    (run(job, &mut Quiet), recorded)
}

/// Canonical: blocks 1..=5 (a), 6..=8 (b, key shifted), 9..=12.
const EXPECTED: [(i64, i64); 3] = [(0, 3 + 8 + 9 + 12), (1, 1 + 4 + 6 + 10), (2, 2 + 5 + 7 + 11)];

#[test]
fn any_number_of_workers_and_any_tick_size_end_in_the_canonical_chain() {
    for workers in [1, 2, 4] {
        for blocks_per_tick in [1, 3, 100] {
            let (summary, recorded) = execute(ScriptedReader::new(events(&history(), 4)), workers, blocks_per_tick);
            let summary = summary.unwrap();
            assert_eq!(contents(&recorded), EXPECTED, "{workers} workers, {blocks_per_tick} blocks a tick");
            assert_eq!((summary.reorgs, summary.blocks, summary.blocks_reverted), (1, 14, 2));
        }
    }
}

#[test]
fn the_deltas_of_a_tick_are_the_same_bytes_for_any_number_of_workers() {
    let deltas = |workers| {
        let (_, recorded) = execute(ScriptedReader::new(events(&history(), 4)), workers, 1);
        let recorded = recorded.lock().unwrap();
        recorded
            .iter()
            .map(|(tick, deltas)| (*tick, deltas.iter().flat_map(pairs).collect::<Vec<_>>()))
            .collect::<Vec<_>>()
    };
    let one = deltas(1);
    assert!(one.iter().any(|(_, changes)| !changes.is_empty()));
    assert_eq!(one, deltas(2));
    assert_eq!(one, deltas(4));
}

/// With one block a tick a sink sees the same as without, reorg included: as many commits, each with the same rows.
#[test]
fn a_reorg_worked_off_block_by_block_reaches_sinks_whole() {
    let commits = |one_block_a_tick: bool, workers: usize| {
        let (mut job, recorded) = job(ScriptedReader::new(events(&history(), 4)), workers, 1, None);
        job.source.one_block_a_tick = one_block_a_tick;
        let summary = run(job, &mut Quiet).unwrap();
        let commits: Vec<Vec<(i64, i64, i64)>> =
            recorded.lock().unwrap().iter().map(|(_, deltas)| deltas.iter().flat_map(pairs).collect()).collect();
        (commits, summary)
    };
    let (whole, whole_summary) = commits(false, 1);
    for workers in [1, 3] {
        let (split, summary) = commits(true, workers);
        assert_eq!(split, whole, "{workers} workers");
        // The three blocks of the branch took two ticks more.
        assert_eq!(summary.ticks, whole_summary.ticks + 2);
        assert_eq!((summary.reorgs, summary.blocks, summary.blocks_reverted), (1, 14, 2));
    }
}

#[test]
fn a_failing_source_keeps_what_came_before() {
    let reader = ScriptedReader::new(events(&history()[..4], 4)).then_fail("the file is cut");
    let (outcome, recorded) = execute(reader, 1, 100);
    let error = outcome.unwrap_err();
    assert_eq!(
        highwater_engine::error::chain(&error),
        "source \"eth\" failed: reading the script failed: the file is cut"
    );
    assert_eq!(contents(&recorded), [(0, 3), (1, 5), (2, 2)]);
}

#[test]
fn a_fork_below_finality_stops_the_job_and_keeps_state() {
    let mut runs = history()[..7].to_vec();
    runs.push(run_with(block(b'c', 3, None), vec![rows(&[(9, 9)])]));
    let (outcome, recorded) = execute(ScriptedReader::new(events(&runs, 2)), 1, 1);
    assert!(matches!(outcome, Err(JobError::Chain { .. })), "{outcome:?}");
    assert_eq!(contents(&recorded), [(0, 9), (1, 12), (2, 7)]);
}

fn open_state(path: &Path) -> (JobState, Option<u64>) {
    let (directory, checkpoint) = StateDir::open(path, "job", false).unwrap();
    let cursor = checkpoint.as_ref().and_then(|checkpoint| checkpoint.cursor);
    (JobState { directory, checkpoint, every: Duration::from_secs(3600) }, cursor)
}

/// Stops after every prefix of the history (in the middle of the fork's life too) and goes on with
/// another number of workers.
#[test]
fn a_job_continues_where_it_was() {
    let all = events(&history(), 4).len();
    for cut in 1..all {
        let folder = tempfile::tempdir().unwrap();
        let (state, cursor) = open_state(folder.path());
        assert_eq!(cursor, None);
        let first = ScriptedReader::new(events(&history(), 4).into_iter().take(cut).collect());
        let (first_job, first_out) = job(first, 2, 2, Some(state));
        let first_summary = run(first_job, &mut Quiet).unwrap();
        let (state, cursor) = open_state(folder.path());
        assert_eq!(cursor, Some(u64::try_from(cut - 1).unwrap()));
        let rest = ScriptedReader::new(events(&history(), 4).into_iter().skip(cut).collect());
        let (second_job, second_out) = job(rest, 3, 2, Some(state));
        run(second_job, &mut Quiet).unwrap();
        let second = second_out.lock().unwrap().clone();
        assert_eq!(second.first().map(|(tick, _)| *tick), Some(first_summary.last_tick + 1));
        first_out.lock().unwrap().extend(second);
        assert_eq!(contents(&first_out), EXPECTED, "stopped after event {cut}");
    }
}

struct Breaks;

impl TickOperator for Breaks {
    fn on_tick(&mut self, _: Vec<Delta>, progress: &Progress, _: &mut Output) {
        assert!(progress.head_number < 3, "broken on purpose");
    }

    fn save(&self) -> Result<Vec<RecordBatch>, StateError> {
        Ok(Vec::new())
    }

    fn load(&mut self, _: &[RecordBatch], _: Share) -> Result<(), StateError> {
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize::default()
    }
}

#[test]
fn a_worker_that_panics_ends_the_job() {
    for workers in [1, 2] {
        let (mut job, _) = job(ScriptedReader::new(events(&history(), 4)), workers, 1, None);
        job.build = Arc::new(|graph: &mut Graph<'_>| {
            let table = graph.table(0);
            let (rows, _) = graph.tick(table, &Route::First, "breaks", Box::new(Breaks));
            graph.output(rows, 0);
        });
        let error = run(job, &mut Quiet).unwrap_err();
        assert_eq!(
            highwater_engine::error::chain(&error),
            "running the dataflow failed: a dataflow worker stopped unexpectedly"
        );
    }
}
