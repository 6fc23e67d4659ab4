//! No secret in errors, logs or debug output, whatever a service says.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use highwater_engine::sink::SinkConnector as _;
use highwater_sinks::alert::Kind;
use highwater_sinks::alert::channel::Receipt;
use highwater_sinks::alert::connector::AlertConnector;
use highwater_sinks::alert::discord::DISCORD;
use highwater_sinks::alert::opsgenie::OPSGENIE;
use highwater_sinks::alert::pagerduty::PAGERDUTY;
use highwater_sinks::alert::slack::SLACK;
use highwater_sinks::alert::telegram::TELEGRAM;
use highwater_testnode::ClosedPort;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::server::{Reply, Server};
use crate::world::{amend, channel, deliver, options, request, tell};

/// Everything that is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

const SECRETS: [&str; 3] = ["s3cretToken", "s3cretPath", "s3cretQuery"];

fn given(connector: &AlertConnector, base: &str) -> Vec<(&'static str, String)> {
    let text = str::to_owned;
    let mut given = match connector.name {
        "slack" => vec![("token", text("s3cretToken")), ("channel", text("C1")), ("api_url", text(base))],
        "discord" => vec![("url", format!("{base}/hooks/s3cretPath/s3cretToken?key=s3cretQuery"))],
        "telegram" => vec![("token", text("123456:s3cretToken")), ("chat_id", text("1")), ("api_url", text(base))],
        "pagerduty" => vec![("routing_key", text("s3cretToken")), ("api_url", text(base))],
        _ => vec![("api_key", text("s3cretToken")), ("api_url", text(base))],
    };
    given.push(("allow_private", text("true")));
    given
}

fn borrowed<'a>(given: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    given.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

const CHANNELS: [AlertConnector; 5] = [SLACK, DISCORD, TELEGRAM, PAGERDUTY, OPSGENIE];

#[test]
fn nothing_that_a_service_repeats_comes_out() {
    let repeated: Reply = (
        400,
        "",
        r#"{"ok":false,"error":"s3cretToken","description":"bot123456:s3cretToken","m":"/hooks/s3cretPath?key=s3cretQuery"}"#,
    );
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        for connector in CHANNELS {
            let server = Server::start(&[repeated, repeated, repeated]);
            let closed = ClosedPort::new();
            for base in [server.url(""), format!("http://127.0.0.1:{}", closed.number())] {
                let given = given(&connector, &base);
                let own: Vec<_> = SECRETS
                    .into_iter()
                    .filter(|secret| given.iter().any(|(_, value)| value.contains(secret)))
                    .collect();
                let options_shown = format!("{:?}", options(&borrowed(&given)));
                let channel = channel(&connector, &borrowed(&given));
                let receipt = Receipt(json!({ "ts": "1", "channel": "C1", "id": "1", "message_id": 1 }));
                for outgoing in [tell(Kind::Fire, None), amend(&receipt, &receipt)] {
                    let failure = deliver(&*channel, &outgoing).unwrap_err();
                    let shown = format!("{failure} {failure:?} {} {options_shown}", channel.place());
                    assert!(!own.is_empty() && own.iter().all(|secret| !shown.contains(secret)), "{shown}");
                    assert!(shown.contains("127.0.0.1:"), "{shown}");
                }
            }
        }
    });
    let logged = log.0.lock().unwrap().clone();
    assert!(SECRETS.iter().all(|secret| !logged.contains(secret)), "{logged}");
}

/// A root that cannot be brought up to date is only logged.
#[test]
fn warnings_hold_no_secret() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let posted = (200, "", r#"{"ok":true,"channel":"C1","ts":"2"}"#);
        let server = Server::start(&[posted, (200, "", r#"{"ok":false,"error":"s3cretToken"}"#)]);
        let given = given(&SLACK, &server.url(""));
        let root = Receipt(json!({ "channel": "C1", "ts": "1" }));
        deliver(&*channel(&SLACK, &borrowed(&given)), &tell(Kind::Update, Some(&root))).unwrap();
    });
    let logged = log.0.lock().unwrap().clone();
    assert!(logged.contains("not up to date") && !logged.contains("s3cretToken"), "{logged}");
}

#[test]
fn wrong_options_are_not_repeated() {
    let wrong: [(AlertConnector, &[(&str, &str)]); 5] = [
        (SLACK, &[("url", "ftp://s3cretPath")]),
        (SLACK, &[("token", "s3cretToken")]),
        (DISCORD, &[("url", "s3cretPath")]),
        (TELEGRAM, &[("token", "a/s3cretToken"), ("chat_id", "1")]),
        (OPSGENIE, &[("api_key", "s3cretToken"), ("api_url", "s3cretPath")]),
    ];
    for (connector, given) in wrong {
        let error = connector.check(&request(), options(given)).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{shown}");
    }
}
