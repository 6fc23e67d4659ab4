//! Histories of a view, block by block, and the operators of an alert over them.
#![allow(dead_code, missing_docs, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{BlockHash, BlockRef, Delta, Origin, Progress, Reorg};
use highwater_engine::operator::TickOperator;
use highwater_operators::alert::CHANGE;
use highwater_operators::alert::signal::SignalColumns;
use highwater_operators::alert::story::{Lifecycle, Stories};
use highwater_operators::alert::template::{Templates, Texts};

use crate::harness::{Relation, Step, Workers};

/// A row of the view: group, entity, severity, count, healthy.
pub(crate) type Found = (&'static str, &'static str, &'static str, i64, bool);

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("group", DataType::Utf8, false),
        Field::new("entity", DataType::Utf8, false),
        Field::new("count", DataType::Int64, false),
        Field::new("severity", DataType::Utf8, false),
        Field::new("healthy", DataType::Boolean, false),
        Field::new("at", timestamp_type(), false),
    ]))
}

pub(crate) fn columns(by_row: bool) -> SignalColumns {
    SignalColumns {
        input: schema(),
        view_columns: 3,
        entity: vec![1],
        group: vec![0],
        finding: vec![0, 1],
        time: by_row.then_some(5),
        severity: Some(3),
        score: None,
        confidence: None,
        healthy: Some(4),
    }
}

/// Rows with their times.
pub(crate) fn rows(found: &[(Found, i64)]) -> RecordBatch {
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(found.iter().map(|(row, _)| row.0))),
        Arc::new(StringArray::from_iter_values(found.iter().map(|(row, _)| row.1))),
        Arc::new(Int64Array::from_iter_values(found.iter().map(|(row, _)| row.3))),
        Arc::new(StringArray::from_iter_values(found.iter().map(|(row, _)| row.2))),
        Arc::new(BooleanArray::from_iter(found.iter().map(|(row, _)| Some(row.4)))),
        Arc::new(TimestampMillisecondArray::from_iter_values(found.iter().map(|(_, at)| *at)).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), arrays).expect("the columns fit")
}

pub(crate) fn templates() -> Templates {
    let texts = Texts {
        reason: Some("{{ entity }} found {{ count }}".to_owned()),
        body: Some("{{ occurrences }} times, {{ entity_count }} of them".to_owned()),
        ..Texts::default()
    };
    Templates::new(texts, &["group", "entity", "count"]).expect("the names are there")
}

pub(crate) fn stories(lifecycle: &Lifecycle, by_row: bool) -> Box<dyn TickOperator> {
    let made = Stories::operator("alert/stories", "alert", columns(by_row), lifecycle.clone(), templates());
    Box::new(made.expect("the columns are keys").0)
}

/// The view after a block: how often each row stands.
pub(crate) type Contents = BTreeMap<(Found, i64), i64>;

/// A block: its height, its time, and the view after it.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) time_ms: i64,
    pub(crate) view: Contents,
}

/// What changes a view into another.
pub(crate) fn difference(before: &Contents, after: &Contents) -> Vec<Delta> {
    let mut sum = after.clone();
    for (row, count) in before {
        *sum.entry(*row).or_default() -= count;
    }
    let changed: Vec<_> = sum.into_iter().filter(|(_, count)| *count != 0).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let batch = rows(&changed.iter().map(|(row, _)| *row).collect::<Vec<_>>());
    let diffs = changed.iter().map(|(_, count)| *count).collect();
    let mut delta = Delta::derived(batch, diffs);
    delta.origin = Origin::Derived;
    vec![delta]
}

pub(crate) fn step(
    tick: u64,
    block: &Block,
    deltas: Vec<Delta>,
    reorg_to: Option<u64>,
    finalized: Option<&Block>,
) -> Step {
    let place = BlockRef {
        number: block.number,
        hash: BlockHash([0; 32]),
        parent: BlockHash([0; 32]),
        timestamp_ms: block.time_ms,
    };
    let mut progress = Progress::at(tick, &place);
    progress.reorg = reorg_to.map(|ancestor_number| Reorg { ancestor_number, depth: 1, replaced_by: 1 });
    progress.finalized_number = finalized.map(|block| block.number);
    progress.finalized_ms = finalized.map(|block| block.time_ms);
    Step { deltas, progress }
}

/// A pipeline of operators: each reads what the one before emits, the second only changes of stories.
pub(crate) struct Pipeline {
    stages: Vec<Stage>,
}

type Make = Box<dyn Fn() -> Box<dyn TickOperator>>;

struct Stage {
    workers: Workers<Make>,
    only_changes: bool,
}

impl Pipeline {
    pub(crate) fn new() -> Pipeline {
        Pipeline { stages: Vec::new() }
    }

    pub(crate) fn then(
        mut self,
        workers: usize,
        key: Option<Vec<usize>>,
        only_changes: bool,
        make: impl Fn() -> Box<dyn TickOperator> + 'static,
    ) -> Pipeline {
        self.stages.push(Stage { workers: Workers::new(workers, key, Box::new(make)), only_changes });
        self
    }

    pub(crate) fn tick(&mut self, step: Step) {
        let progress = step.progress.clone();
        let mut deltas = step.deltas;
        for stage in &mut self.stages {
            if stage.only_changes {
                deltas = deltas.iter().map(changes_only).collect();
            }
            deltas = stage.workers.tick_through(&Step { deltas, progress: progress.clone() });
        }
    }

    pub(crate) fn restart(&mut self, workers: usize) {
        self.stages.iter_mut().for_each(|stage| stage.workers.restart(workers));
    }

    /// What each stage has emitted, added up.
    pub(crate) fn relations(&self) -> Vec<&Relation> {
        self.stages.iter().map(|stage| &stage.workers.rows).collect()
    }

    pub(crate) fn errors(&self) -> usize {
        self.stages.iter().map(|stage| stage.workers.errors.len()).sum()
    }

    pub(crate) fn entries(&self) -> usize {
        self.stages.iter().map(|stage| stage.workers.entries()).sum()
    }
}

fn changes_only(delta: &Delta) -> Delta {
    let change = delta.batch.column_by_name(CHANGE).expect("a change column").as_string::<i32>();
    let keep = BooleanArray::from_iter((0..delta.len()).map(|row| Some(change.is_valid(row))));
    let diffs = (0..delta.len()).filter(|row| keep.value(*row)).map(|row| delta.diffs.at(row)).collect();
    Delta::derived(filter_record_batch(&delta.batch, &keep).expect("a flag for each row"), diffs)
}
