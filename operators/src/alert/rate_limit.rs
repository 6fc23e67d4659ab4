//! A limit on how much a sink tells: so many notifications in so much block time, bursts of that size allowed.
//!
//! Definition: the generic cell rate algorithm (ITU-T I.371) over the notifications in the order of their time, the
//! more severe first; those over the limit become rows that say so. Suppressed ones take no room.
//!
//! State: one time, and the rows that are not final.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::TimestampMillisecondType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::alert::{Severity, notification_schema};
use highwater_engine::operator::Route;
use highwater_engine::rows::RowCodec;
use serde::{Deserialize, Serialize};

use super::notification::Suppressed;
use super::timeline::{Clock, Horizon, Machine, Moment, ReadSignal, Timelines};

/// So many in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub count: u32,
    /// In how many milliseconds.
    pub period_ms: i64,
}

/// The limit of one sink, or of all.
pub struct RateLimit {
    limit: Limit,
    codec: RowCodec,
}

/// A notification that asks for room.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Asking {
    notified_at_ms: i64,
    severity: Reverse<u8>,
    id: String,
    sends: bool,
    row: Vec<u8>,
}

/// A notification that has room or not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Limited {
    row: Vec<u8>,
    refused: bool,
}

/// How full it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LimitState {
    rows: Vec<Arc<Limited>>,
    /// When all room is free again, in microseconds.
    free_at_us: Option<i64>,
}

impl RateLimit {
    /// The operator; everything meets at one worker.
    ///
    /// # Errors
    /// If notifications cannot be encoded.
    pub fn operator(id: &str, clock: Clock, limit: Limit) -> Result<(Timelines<RateLimit>, Route), ArrowError> {
        let schema = notification_schema();
        let codec = RowCodec::new(&schema, &(0..schema.fields().len()).collect::<Vec<_>>())?;
        let shape = "rate limit".to_owned();
        Ok((Timelines::new(id, shape, RateLimit { limit, codec }, clock, Horizon::Head), Route::First))
    }

    /// Whether one more fits at this time.
    fn admit(&self, state: &mut LimitState, at_ms: i64) -> bool {
        let at_us = at_ms.saturating_mul(1_000);
        let period_us = self.limit.period_ms.saturating_mul(1_000);
        let step_us = period_us / i64::from(self.limit.count.max(1));
        let free_at_us = state.free_at_us.unwrap_or(at_us).max(at_us);
        if free_at_us - at_us > period_us - step_us {
            return false;
        }
        state.free_at_us = Some(free_at_us + step_us);
        true
    }
}

impl Machine for RateLimit {
    type Signal = Asking;
    type State = LimitState;
    type Row = Limited;

    fn read(&self, batch: &RecordBatch) -> Vec<ReadSignal<Asking>> {
        let column = |name: &str| batch.column_by_name(name).expect("the planner gives notifications");
        let times = column("notified_at").as_primitive::<TimestampMillisecondType>();
        let severities = column("severity").as_string::<i32>();
        let ids = column("notification_id").as_string::<i32>();
        let decisions = column("decision").as_string::<i32>();
        let rows = self.codec.encode(batch.columns(), batch.num_rows());
        (0..batch.num_rows())
            .map(|row| {
                let severity = Severity::parse(severities.value(row)).unwrap_or_default();
                let rank = Severity::ALL.iter().zip(0_u8..).find(|(known, _)| **known == severity);
                let asking = Asking {
                    notified_at_ms: times.value(row),
                    severity: Reverse(rank.map_or(0, |(_, rank)| rank)),
                    id: ids.value(row).to_owned(),
                    sends: decisions.value(row) == "send",
                    row: rows.row(row).data().to_vec(),
                };
                Ok((Arc::from([].as_slice()), asking.notified_at_ms, asking))
            })
            .collect()
    }

    fn advance(&self, state: &mut LimitState, now_ms: i64) {
        if state.free_at_us.is_some_and(|free_at| free_at < now_ms.saturating_mul(1_000)) {
            state.free_at_us = None;
        }
    }

    fn apply(&self, state: &mut LimitState, _: Moment, signals: &[(Asking, i64)]) {
        for (asking, _) in signals.iter().filter(|(_, count)| *count > 0) {
            let refused = asking.sends && !self.admit(state, asking.notified_at_ms);
            state.rows.push(Arc::new(Limited { row: asking.row.clone(), refused }));
        }
    }

    fn due(&self, state: &LimitState) -> Option<i64> {
        state.free_at_us.map(|free_at| free_at / 1_000)
    }

    fn rows(&self, state: &LimitState) -> Vec<Arc<Limited>> {
        state.rows.clone()
    }

    fn settled(&self, state: &LimitState) -> usize {
        state.rows.len()
    }

    fn forget(&self, state: &mut LimitState, rows: usize) {
        state.rows.drain(..rows);
    }

    fn batch(&self, rows: &[Arc<Limited>]) -> RecordBatch {
        let batch = self.codec.decode(rows.iter().map(|row| row.row.as_slice()));
        let schema = notification_schema();
        let place = |name: &str| schema.index_of(name).expect("a notification has this column");
        let (decision, reason) = (place("decision"), place("suppressed_by"));
        let mut columns = batch.columns().to_vec();
        let known = columns[decision].as_string::<i32>();
        let decisions = rows.iter().zip(known.iter().flatten());
        let decisions =
            StringArray::from_iter_values(decisions.map(|(row, known)| if row.refused { "suppress" } else { known }));
        let known = columns[reason].as_string::<i32>();
        let reasons = rows.iter().enumerate().map(|(index, row)| match row.refused {
            true => Some(Suppressed::RateLimit.as_str()),
            false => known.is_valid(index).then(|| known.value(index)),
        });
        let reasons = StringArray::from_iter(reasons);
        columns[decision] = Arc::new(decisions);
        columns[reason] = Arc::new(reasons);
        RecordBatch::try_new(schema, columns).expect("only texts were replaced")
    }
}
