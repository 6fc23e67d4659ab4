//! Notifications, channels and a way to deliver.

use std::future::Future;

use highwater_engine::model::alert::notification_schema;
use highwater_engine::options::Options;
use highwater_engine::sink::SinkRequest;
use highwater_engine::testing::sink_request;
use highwater_sinks::alert::channel::{Action, Channel, Failure, Outgoing, Receipt, Told};
use highwater_sinks::alert::connector::AlertConnector;
use highwater_sinks::alert::{Kind, Message};

pub(crate) fn request() -> SinkRequest {
    sink_request("ops", "large", notification_schema())
}

pub(crate) fn options(given: &[(&str, &str)]) -> Options {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options::new("sink \"ops\"", "/jobs", given)
}

pub(crate) fn channel(connector: &AlertConnector, given: &[(&str, &str)]) -> Box<dyn Channel> {
    connector.channel(&request(), options(given)).unwrap()
}

/// Runs on this thread, so that what is logged is seen by the test.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn deliver(channel: &dyn Channel, outgoing: &Outgoing) -> Result<Receipt, Failure> {
    block_on(channel.deliver(outgoing))
}

pub(crate) fn message(kind: Kind) -> Message {
    Message {
        sink: "ops".to_owned(),
        notification_id: "n1".to_owned(),
        alert: "large_sandwich".to_owned(),
        story_id: "large_sandwich/0xpool".to_owned(),
        group_key: "0xpool".to_owned(),
        kind,
        suppressed_by: None,
        suppressed: 2,
        revision: 1,
        status: if kind == Kind::Resolve { "resolved" } else { "active" }.to_owned(),
        severity: "high".to_owned(),
        score: 4.0,
        confidence: None,
        title: "Sandwich of 12.5 ETH! <!channel> @everyone".to_owned(),
        body: "The victim paid 3.1% more.\n[x](javascript:alert(1)) *_~`".to_owned(),
        reason: "profit 12.5 ETH".to_owned(),
        why: "profit > 10 ETH".to_owned(),
        reasons: "[]".to_owned(),
        entities: "[]".to_owned(),
        entity_count: 0,
        occurrences: 3,
        opened_at_ms: 1_700_000_000_000,
        last_seen_at_ms: 1_700_000_012_000,
        notified_at_ms: 1_700_000_012_000,
        block_number: 18_570_000,
        fields: r#"{"tx_hash":"0xabcd"}"#.to_owned(),
    }
}

pub(crate) fn tell(kind: Kind, story: Option<&Receipt>) -> Outgoing {
    Outgoing {
        message: message(kind),
        idempotency_key: format!("key-{}", if story.is_some() { 2 } else { 1 }),
        action: Action::Tell,
        story: story.cloned(),
        sent_at_s: 1_700_000_100,
    }
}

fn told(receipt: &Receipt) -> Told {
    Told { idempotency_key: "key-1".to_owned(), receipt: receipt.clone() }
}

pub(crate) fn amend(receipt: &Receipt, story: &Receipt) -> Outgoing {
    Outgoing {
        action: Action::Amend(told(receipt)),
        idempotency_key: "key-3".to_owned(),
        ..tell(Kind::Fire, Some(story))
    }
}

pub(crate) fn withdraw(receipt: &Receipt, story: &Receipt) -> Outgoing {
    Outgoing {
        action: Action::Withdraw(told(receipt)),
        idempotency_key: "key-4".to_owned(),
        ..tell(Kind::Fire, Some(story))
    }
}
