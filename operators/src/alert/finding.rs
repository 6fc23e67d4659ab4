//! Findings: is it new, or seen before, and how often.
//!
//! Definition: `tests/reference/story.rs`. Signals of one identity within `same_for` of the first are one finding,
//! seen that many times; the next one after that begins a new finding.
//!
//! State: one entry a finding that is not over and final.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::alert::finding_schema;
use highwater_engine::operator::Route;
use serde::{Deserialize, Serialize};

use super::signal::{KeyedBy, Signal, SignalColumns, SignalReader};
use super::story_rows::Columns;
use super::template::{Context, Known, Templates};
use super::timeline::{Clock, Horizon, Machine, Moment, ReadSignal, Timelines};

/// The finding machine of one alert.
pub struct Findings {
    alert: String,
    reader: SignalReader,
    same_for_ms: i64,
    templates: Templates,
}

/// A finding as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct FindingRow {
    first_seen_at_ms: i64,
    signal: Signal,
    finding_id: String,
    title: String,
    body: String,
    reason: String,
    why: String,
    occurrences: i64,
    first_block: Option<i64>,
    last_seen_at_ms: i64,
    last_block: Option<i64>,
}

/// The state of one identity.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FindingState {
    /// Findings that are over.
    rows: Vec<Arc<FindingRow>>,
    live: Option<Arc<FindingRow>>,
}

impl Findings {
    /// The operator of an alert. Findings of one identity are the same for `same_for_ms` from the first one on.
    ///
    /// # Errors
    /// If the columns cannot be keys of state.
    pub fn operator(
        id: &str,
        alert: &str,
        columns: SignalColumns,
        same_for_ms: i64,
        templates: Templates,
    ) -> Result<(Timelines<Findings>, Route), ArrowError> {
        let clock = if columns.time.is_some() { Clock::Row } else { Clock::Block };
        let shape = format!("findings of {:?} by {:?}", columns.input.fields(), columns.finding);
        let reader = SignalReader::new(columns, KeyedBy::Finding)?;
        let route = Route::Key(reader.key().to_vec());
        let machine = Findings { alert: alert.to_owned(), reader, same_for_ms, templates };
        Ok((Timelines::new(id, shape, machine, clock, Horizon::Head), route))
    }

    fn seen(&self, before: Option<&FindingRow>, moment: Moment, signal: &Signal) -> FindingRow {
        let first_seen_at_ms = before.map_or(moment.time_ms, |row| row.first_seen_at_ms);
        let occurrences = before.map_or(0, |row| row.occurrences) + 1;
        let known = Known {
            alert: &self.alert,
            group: &signal.group,
            entity: &signal.entity,
            severity: signal.severity().as_str(),
            status: "active",
            score: signal.score.get(),
            occurrences,
            findings: 1,
            entity_count: 1,
            opened_at_ms: first_seen_at_ms,
            last_seen_at_ms: moment.time_ms,
        };
        let context = Context::new(&signal.fields, known);
        FindingRow {
            first_seen_at_ms,
            finding_id: before.map_or_else(|| format!("{:016x}", signal.finding), |row| row.finding_id.clone()),
            title: self.templates.title(&context),
            body: self.templates.body(&context),
            reason: self.templates.reason(&context),
            why: self.templates.why(&context),
            occurrences,
            first_block: before.map_or(moment.block, |row| row.first_block),
            last_seen_at_ms: moment.time_ms,
            last_block: moment.block,
            signal: signal.clone(),
        }
    }

    fn end(&self, row: &FindingRow) -> i64 {
        row.first_seen_at_ms.saturating_add(self.same_for_ms)
    }
}

impl Machine for Findings {
    type Signal = Signal;
    type State = FindingState;
    type Row = FindingRow;

    fn read(&self, batch: &RecordBatch) -> Vec<ReadSignal<Signal>> {
        self.reader.read(batch)
    }

    fn advance(&self, state: &mut FindingState, now_ms: i64) {
        if state.live.as_ref().is_some_and(|live| self.end(live) < now_ms) {
            state.rows.extend(state.live.take());
        }
    }

    fn apply(&self, state: &mut FindingState, moment: Moment, signals: &[(Signal, i64)]) {
        for (signal, count) in signals.iter().filter(|(signal, _)| !signal.healthy) {
            for _ in 0..*count {
                if state.live.as_ref().is_some_and(|live| self.end(live) <= moment.time_ms) {
                    state.rows.extend(state.live.take());
                }
                state.live = Some(Arc::new(self.seen(state.live.as_deref(), moment, signal)));
            }
        }
    }

    fn due(&self, state: &FindingState) -> Option<i64> {
        state.live.as_ref().map(|live| self.end(live))
    }

    fn rows(&self, state: &FindingState) -> Vec<Arc<FindingRow>> {
        state.rows.iter().chain(&state.live).cloned().collect()
    }

    fn settled(&self, state: &FindingState) -> usize {
        state.rows.len()
    }

    fn forget(&self, state: &mut FindingState, rows: usize) {
        state.rows.drain(..rows);
    }

    fn batch(&self, rows: &[Arc<FindingRow>]) -> RecordBatch {
        Columns::of(rows)
            .text(|_| &self.alert)
            .text(|row| &row.finding_id)
            .text(|row| &row.signal.group)
            .text(|row| &row.signal.entity)
            .text(|row| row.signal.severity().as_str())
            .number(|row| Some(row.signal.score))
            .number(|row| row.signal.confidence)
            .text(|row| &row.title)
            .text(|row| &row.body)
            .text(|row| &row.reason)
            .text(|row| &row.why)
            .count(|row| Some(row.occurrences))
            .time(|row| Some(row.first_seen_at_ms))
            .count(|row| row.first_block)
            .time(|row| Some(row.last_seen_at_ms))
            .count(|row| row.last_block)
            .text(|row| &row.signal.fields)
            .finish(finding_schema())
    }
}
