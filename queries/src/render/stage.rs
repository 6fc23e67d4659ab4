//! The stateless part of a view: filters, projections and windows over whole batches.
//!
//! Neighbouring stages run as one operator. A row whose expressions fail goes to the view's errors:
//! the failing batch is halved until the row stands alone, so that the rows beside it are not lost and
//! the reason names that row. The good rows of a batch stay together, because a block-local operator
//! further on needs its block whole.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, TimestampMillisecondArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat_batches, filter, filter_record_batch, prep_null_mask_filter, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;
use highwater_engine::model::format::write_json_row;
use highwater_engine::model::{Delta, Diffs, error_delta};
use highwater_engine::operator::{BatchOperator, Output};

use crate::plan::Window;

/// One stateless step.
pub(super) enum Stage {
    /// Rows for which the predicate is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// One output column for each expression.
    Project { expressions: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
    /// Each row once for each list of expressions.
    Expand { copies: Vec<Vec<Arc<dyn PhysicalExpr>>>, schema: SchemaRef },
    /// Some of the columns.
    Columns(Vec<usize>),
    /// Appends the instant `column + offset_ms`, `Timestamp(ms, UTC)`.
    Instant { column: usize, offset_ms: i64, schema: SchemaRef },
    /// Appends `window_start` and `window_end`.
    Window { time: usize, window: Window, schema: SchemaRef },
}

impl Stage {
    pub(super) fn apply(&self, delta: &Delta) -> Result<Delta, DataFusionError> {
        match self {
            Stage::Filter(predicate) => keep(delta, predicate.as_ref()),
            Stage::Project { expressions, schema } => project(delta, expressions, schema),
            Stage::Expand { copies, schema } => expand(delta, copies, schema),
            Stage::Columns(columns) => Ok(delta.with_batch(delta.batch.project(columns)?)),
            Stage::Instant { column, offset_ms, schema } => Ok(append_instant(delta, *column, *offset_ms, schema)?),
            Stage::Window { time, window, schema } => Ok(assign_windows(delta, *time, window, schema)?),
        }
    }
}

/// Runs stages one after the other on each delta.
pub(super) struct Stages {
    stages: Vec<Stage>,
}

impl Stages {
    pub(super) fn new(stages: Vec<Stage>) -> Stages {
        Stages { stages }
    }
}

impl BatchOperator for Stages {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        let mut current = input;
        for stage in &self.stages {
            match stage.apply(&current) {
                Ok(next) => current = next,
                Err(error) => match without_failing_rows(stage, &current, &error, output) {
                    Some(next) => current = next,
                    None => return,
                },
            }
            if current.is_empty() {
                return;
            }
        }
        output.deltas.push(current);
    }
}

/// Applies a stage that failed on the whole delta to its parts; rows that fail alone become error rows.
pub(super) fn without_failing_rows(
    stage: &Stage,
    delta: &Delta,
    error: &DataFusionError,
    output: &mut Output,
) -> Option<Delta> {
    let mut good = Vec::new();
    let mut errors = Vec::new();
    let mut diffs = Vec::new();
    bisect(stage, delta, 0, delta.len(), error, &mut good, &mut |row, error| {
        let mut json = String::new();
        write_json_row(&mut json, &delta.batch, row);
        errors.push((reason(error), json));
        diffs.push(delta.diffs.at(row));
    });
    output.errors.push(error_delta(&errors, diffs, delta.origin));
    join(&good)
}

fn bisect(
    stage: &Stage,
    delta: &Delta,
    from: usize,
    to: usize,
    error: &DataFusionError,
    good: &mut Vec<Delta>,
    bad: &mut impl FnMut(usize, &DataFusionError),
) {
    if to - from == 1 {
        bad(from, error);
        return;
    }
    let middle = from + (to - from) / 2;
    for (from, to) in [(from, middle), (middle, to)] {
        match stage.apply(&delta.slice(from, to - from)) {
            Ok(part) => good.push(part),
            Err(error) => bisect(stage, delta, from, to, &error, good, bad),
        }
    }
}

/// Parts of one delta as one delta.
fn join(parts: &[Delta]) -> Option<Delta> {
    let first = parts.first()?;
    let batch = concat_batches(first.batch.schema_ref(), parts.iter().map(|part| &part.batch))
        .expect("parts of one delta have one schema");
    let diffs = match &first.diffs {
        Diffs::Uniform(diff) => Diffs::Uniform(*diff),
        Diffs::Rows(_) => {
            let all = parts.iter().flat_map(|part| (0..part.len()).map(|row| part.diffs.at(row)));
            Diffs::Rows(all.collect::<Vec<_>>().into())
        }
    };
    Some(Delta { batch, diffs, origin: first.origin })
}

/// Why a row failed, without the names of the layers it went through.
pub(super) fn reason(error: &DataFusionError) -> String {
    let root = match error {
        DataFusionError::ArrowError(error, _) => error.to_string(),
        DataFusionError::Context(_, inner) => return reason(inner),
        other => other.strip_backtrace(),
    };
    let layers = ["Execution error: ", "Arrow error: ", "Compute error: ", "Cast error: ", "Arithmetic overflow: "];
    let mut text = root.as_str();
    while let Some(rest) = layers.iter().find_map(|layer| text.strip_prefix(layer)) {
        text = rest;
    }
    match text {
        "Divide by zero error" => "division by zero".to_owned(),
        text => text.to_owned(),
    }
}

fn keep(delta: &Delta, predicate: &dyn PhysicalExpr) -> Result<Delta, DataFusionError> {
    let verdict = predicate.evaluate(&delta.batch)?.into_array(delta.len())?;
    let verdict = verdict.as_boolean_opt().ok_or_else(|| {
        DataFusionError::Internal(format!("the predicate {predicate} gives {}, not Boolean", verdict.data_type()))
    })?;
    // NULL is not true.
    let verdict = if verdict.null_count() > 0 { prep_null_mask_filter(verdict) } else { verdict.clone() };
    if verdict.true_count() == verdict.len() {
        return Ok(delta.clone());
    }
    let batch = filter_record_batch(&delta.batch, &verdict)?;
    let diffs = filter_diffs(&delta.diffs, &verdict)?;
    Ok(Delta { batch, diffs, origin: delta.origin })
}

fn filter_diffs(diffs: &Diffs, verdict: &BooleanArray) -> Result<Diffs, ArrowError> {
    match diffs {
        Diffs::Uniform(diff) => Ok(Diffs::Uniform(*diff)),
        Diffs::Rows(diffs) => {
            let kept = filter(&Int64Array::new(diffs.clone(), None), verdict)?;
            Ok(Diffs::Rows(kept.as_primitive::<Int64Type>().values().clone()))
        }
    }
}

fn project(delta: &Delta, expressions: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef) -> Result<Delta, DataFusionError> {
    let mut columns = Vec::with_capacity(expressions.len());
    for expression in expressions {
        columns.push(expression.evaluate(&delta.batch)?.into_array(delta.len())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(delta.len()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
    Ok(delta.with_batch(batch))
}

fn expand(delta: &Delta, copies: &[Vec<Arc<dyn PhysicalExpr>>], schema: &SchemaRef) -> Result<Delta, DataFusionError> {
    let mut batches = Vec::with_capacity(copies.len());
    for expressions in copies {
        batches.push(project(delta, expressions, schema)?.batch);
    }
    let batch = concat_batches(schema, &batches)?;
    let diffs = match &delta.diffs {
        Diffs::Uniform(diff) => Diffs::Uniform(*diff),
        Diffs::Rows(diffs) => Diffs::Rows(diffs.iter().copied().cycle().take(batch.num_rows()).collect()),
    };
    Ok(Delta { batch, diffs, origin: delta.origin })
}

fn append_instant(delta: &Delta, column: usize, offset_ms: i64, schema: &SchemaRef) -> Result<Delta, ArrowError> {
    let times = delta.batch.column(column).as_primitive::<TimestampMillisecondType>();
    let instants: TimestampMillisecondArray = times.unary(|time| time.saturating_add(offset_ms));
    let mut columns = delta.batch.columns().to_vec();
    columns.push(Arc::new(instants.with_timezone("UTC")));
    Ok(delta.with_batch(RecordBatch::try_new(schema.clone(), columns)?))
}

/// Gives each row its window; a row of a hopping window comes once for each window it is in. A row
/// without a time is in no window.
fn assign_windows(delta: &Delta, time: usize, window: &Window, schema: &SchemaRef) -> Result<Delta, ArrowError> {
    let times = delta.batch.column(time).as_primitive::<TimestampMillisecondType>();
    match *window {
        Window::Tumble { size_ms } if times.null_count() == 0 => {
            let starts = tumble_starts(times.values(), size_ms);
            let ends = starts.iter().map(|start| start + size_ms).collect();
            with_windows(delta, delta.batch.columns().to_vec(), starts, ends, schema)
        }
        Window::Tumble { size_ms } => hop(delta, times, size_ms, size_ms, schema),
        Window::Hop { slide_ms, size_ms } => hop(delta, times, slide_ms, size_ms, schema),
        Window::Cumulate { step_ms, size_ms } => cumulate(delta, times, step_ms, size_ms, schema),
    }
}

/// Rows of one block have one time, so the division is done once a block, not once a row.
fn tumble_starts(times: &[i64], size_ms: i64) -> Vec<i64> {
    let (mut start, mut end) = (0, 0);
    let window_of = |time: &i64| {
        if *time < start || *time >= end {
            start = time - time.rem_euclid(size_ms);
            end = start + size_ms;
        }
        start
    };
    times.iter().map(window_of).collect()
}

fn hop(
    delta: &Delta,
    times: &TimestampMillisecondArray,
    slide_ms: i64,
    size_ms: i64,
    schema: &SchemaRef,
) -> Result<Delta, ArrowError> {
    let mut rows: Vec<u32> = Vec::with_capacity(delta.len());
    let mut starts: Vec<i64> = Vec::with_capacity(delta.len());
    for (row, time) in (0_u32..).zip(times.iter()) {
        let Some(time) = time else { continue };
        let mut start = time - time.rem_euclid(slide_ms);
        while start > time - size_ms {
            rows.push(row);
            starts.push(start);
            start -= slide_ms;
        }
    }
    let ends = starts.iter().map(|start| start + size_ms).collect();
    repeated(delta, rows, starts, ends, schema)
}

/// Every cut of the window that ends after the row.
fn cumulate(
    delta: &Delta,
    times: &TimestampMillisecondArray,
    step_ms: i64,
    size_ms: i64,
    schema: &SchemaRef,
) -> Result<Delta, ArrowError> {
    let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for (row, time) in (0_u32..).zip(times.iter()) {
        let Some(time) = time else { continue };
        let start = time - time.rem_euclid(size_ms);
        let mut end = time - time.rem_euclid(step_ms) + step_ms;
        while end <= start + size_ms {
            rows.push(row);
            starts.push(start);
            ends.push(end);
            end += step_ms;
        }
    }
    repeated(delta, rows, starts, ends, schema)
}

/// Rows as often as they are named, each with its window.
fn repeated(
    delta: &Delta,
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    schema: &SchemaRef,
) -> Result<Delta, ArrowError> {
    let diffs = match &delta.diffs {
        Diffs::Uniform(diff) => Diffs::Uniform(*diff),
        Diffs::Rows(diffs) => Diffs::Rows(rows.iter().map(|row| diffs[*row as usize]).collect::<ScalarBuffer<i64>>()),
    };
    let batch = take_record_batch(&delta.batch, &UInt32Array::from(rows))?;
    let repeated = Delta { batch: batch.clone(), diffs, origin: delta.origin };
    with_windows(&repeated, batch.columns().to_vec(), starts, ends, schema)
}

fn with_windows(
    delta: &Delta,
    mut columns: Vec<ArrayRef>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    schema: &SchemaRef,
) -> Result<Delta, ArrowError> {
    columns.push(Arc::new(TimestampMillisecondArray::from(starts).with_timezone("UTC")));
    columns.push(Arc::new(TimestampMillisecondArray::from(ends).with_timezone("UTC")));
    Ok(delta.with_batch(RecordBatch::try_new(schema.clone(), columns)?))
}
