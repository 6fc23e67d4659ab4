//! Notifications as rows, ticks of them, and how to open a sink for them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::alert::notification_schema;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::options::Options;
use highwater_engine::sink::{Sink, SinkError, SinkRequest, SinkTick};
use highwater_engine::testing::sink_request;
use highwater_sinks::alert::{Kind, Message};

pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// A notification about a group, made at a block.
pub(crate) fn note(id: &str, group: &str, kind: Kind, block: i64, title: &str) -> Message {
    Message {
        sink: "ops".to_owned(),
        notification_id: id.to_owned(),
        alert: "failing".to_owned(),
        story_id: format!("story {group}"),
        group_key: group.to_owned(),
        kind,
        suppressed_by: None,
        suppressed: 0,
        revision: block,
        status: "active".to_owned(),
        severity: "high".to_owned(),
        score: 4.0,
        confidence: None,
        title: title.to_owned(),
        body: format!("{title} at length"),
        reason: "many fail".to_owned(),
        why: "20 of 40".to_owned(),
        reasons: "[\"many fail\"]".to_owned(),
        entities: "[\"0xab\"]".to_owned(),
        entity_count: 1,
        occurrences: 3,
        opened_at_ms: START_MS,
        last_seen_at_ms: START_MS,
        notified_at_ms: START_MS + block * 1000,
        block_number: block,
        fields: "{\"total\":40,\"volume\":\"115792089237316195423570985008687907853269984665640564039457584007913129639935\"}"
            .to_owned(),
    }
}

pub(crate) fn suppressed(mut message: Message, reason: &str) -> Message {
    message.suppressed_by = Some(reason.to_owned());
    message
}

fn batch(messages: &[&Message]) -> RecordBatch {
    let text = |of: fn(&Message) -> Option<String>| -> ArrayRef {
        Arc::new(StringArray::from_iter(messages.iter().map(|message| of(message))))
    };
    let count = |of: fn(&Message) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(messages.iter().map(|message| of(message))))
    };
    let time = |of: fn(&Message) -> i64| -> ArrayRef {
        let times = TimestampMillisecondArray::from_iter_values(messages.iter().map(|message| of(message)));
        Arc::new(times.with_timezone("UTC"))
    };
    let number = |of: fn(&Message) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(messages.iter().map(|message| of(message))))
    };
    let columns = vec![
        text(|message| Some(message.sink.clone())),
        text(|message| Some(message.notification_id.clone())),
        text(|message| Some(message.alert.clone())),
        text(|message| Some(message.story_id.clone())),
        text(|message| Some(message.group_key.clone())),
        text(|message| serde_json::to_value(message.kind).unwrap().as_str().map(str::to_owned)),
        text(|message| Some(if message.suppressed_by.is_some() { "suppress" } else { "send" }.to_owned())),
        text(|message| message.suppressed_by.clone()),
        count(|message| message.suppressed),
        count(|message| message.revision),
        text(|message| Some(message.status.clone())),
        text(|message| Some(message.severity.clone())),
        number(|message| Some(message.score)),
        number(|message| message.confidence),
        text(|message| Some(message.title.clone())),
        text(|message| Some(message.body.clone())),
        text(|message| Some(message.reason.clone())),
        text(|message| Some(message.why.clone())),
        text(|message| Some(message.reasons.clone())),
        text(|message| Some(message.entities.clone())),
        count(|message| message.entity_count),
        count(|message| message.occurrences),
        time(|message| message.opened_at_ms),
        time(|message| message.last_seen_at_ms),
        time(|message| message.notified_at_ms),
        count(|message| message.block_number),
        text(|message| Some(message.fields.clone())),
    ];
    RecordBatch::try_new(notification_schema(), columns).unwrap()
}

/// The changes of one tick.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    pub(crate) progress: Progress,
    pub(crate) gone: Vec<Message>,
    pub(crate) came: Vec<Message>,
}

pub(crate) fn tick(number: u64, head: u64, gone: &[Message], came: &[Message]) -> Tick {
    let progress = Progress {
        tick: number,
        head_number: head,
        now_ms: START_MS + i64::try_from(head).unwrap() * 1000,
        finalized_number: None,
        finalized_ms: None,
        reorg: None,
        applied_blocks: 1,
        end_of_input: false,
        more_follow: false,
    };
    Tick { progress, gone: gone.to_vec(), came: came.to_vec() }
}

pub(crate) fn commit(sink: &mut dyn Sink, tick: &Tick) -> Result<(), SinkError> {
    let rows: Vec<&Message> = tick.gone.iter().chain(&tick.came).collect();
    let mut diffs = vec![-1; tick.gone.len()];
    diffs.extend(vec![1; tick.came.len()]);
    let changes = if rows.is_empty() { Vec::new() } else { vec![Delta::derived(batch(&rows), diffs)] };
    sink.commit(SinkTick { tick: tick.progress.tick, progress: &tick.progress, changes: &changes })
}

/// A request with a ledger in the folder.
pub(crate) fn request(dir: &Path) -> SinkRequest {
    SinkRequest { ledger: Some(dir.join("alerts.db")), ..sink_request("ops", "failing", notification_schema()) }
}

pub(crate) fn options(dir: &Path, given: &[(&str, &str)]) -> Options {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options::new("sink \"ops\"", dir, given)
}

/// Pauses that a test can wait for, and no limit but those a test is about.
pub(crate) const QUICK: &[(&str, &str)] = &[
    ("retry_initial", "1 ms"),
    ("retry_max_delay", "20 ms"),
    ("retry_max", "1000"),
    ("max_per_minute", "10_000_000"),
    ("breaker_failures", "1_000_000"),
];
